//! Measures what subscribers cost whoever appends blocks.
//!
//! `cargo run --release -p consilium-deliver --example fanout`
//!
//! Subscribers wait on one channel in memory, whose reads copy the block as a database does. For
//! every block it prints how long appending took (which wakes those who wait), and how long until
//! all subscribers had the block.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use consilium_deliver::{BlockSource, Feeds, FullBlocks, Options, Sources, serve};
use consilium_proto::common::Envelope;
use consilium_proto::orderer::{SeekInfo, SeekPosition, SeekSpecified, seek_position};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::{block, envelope};
use consilium_testkit::{NodeOu, Organization, network};
use futures_util::{StreamExt, stream};
use parking_lot::RwLock;
use prost::Message;
use tokio::sync::watch;

const CHANNEL: &str = "mychannel";
const BLOCKS: u64 = 200;
const TRANSACTIONS: usize = 100;
const TRANSACTION_BYTES: usize = 3000;

struct Chain {
    config: Arc<ChannelConfig>,
    blocks: RwLock<Vec<Vec<u8>>>,
    height: watch::Sender<u64>,
    reads: AtomicU64,
}

impl BlockSource for Chain {
    fn channel_id(&self) -> &str {
        CHANNEL
    }
    fn height(&self) -> u64 {
        *self.height.borrow()
    }
    fn subscribe(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }
    fn block_bytes(&self, number: u64) -> Result<Option<Bytes>, String> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let blocks = self.blocks.read();
        Ok(blocks.get(number as usize).cloned().map(Bytes::from))
    }
    fn config(&self) -> Arc<ChannelConfig> {
        self.config.clone()
    }
    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }
}

struct Node(Arc<Chain>);

impl Sources for Node {
    fn source(&self, _: &str) -> Option<Arc<dyn BlockSource>> {
        Some(self.0.clone())
    }
}

#[tokio::main]
async fn main() {
    println!("subscribers  append mean   p99   all have it: mean   p99   reads per block");
    for subscribers in [0, 1, 100, 2000] {
        measure(subscribers).await;
    }
}

async fn measure(subscribers: u64) {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let genesis = network::genesis(CHANNEL, &[&organization], Vec::new());
    let chain = Arc::new(Chain {
        config: Arc::new(ChannelConfig::from_block(&genesis).expect("own genesis block")),
        blocks: RwLock::new(vec![genesis.encode_to_vec()]),
        height: watch::Sender::new(1),
        reads: AtomicU64::new(0),
    });
    let position = |number| {
        Some(SeekPosition {
            r#type: Some(seek_position::Type::Specified(SeekSpecified { number })),
        })
    };
    let seek = SeekInfo {
        start: position(1),
        stop: position(u64::MAX),
        ..Default::default()
    };
    let signer = organization.signer("reader", NodeOu::Client);
    let now = envelope::timestamp(SystemTime::now());
    let request = envelope::seek(CHANNEL, seek, &*signer, now, Bytes::new()).expect("signed");
    let feeds = Feeds::new(Arc::new(Node(chain.clone())));
    let policy = Arc::new(|_: &ChannelConfig| "/Channel/Readers".to_owned());
    let received = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    for _ in 0..subscribers {
        let requests = stream::iter([Ok(request.clone())]).chain(stream::pending());
        let options = Options::new(policy.clone());
        let mut frames = serve(requests, feeds.clone(), options, Arc::new(FullBlocks));
        let received = received.clone();
        readers.push(tokio::spawn(async move {
            while frames.next().await.is_some() {
                received.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let appender = chain.clone();
    let (appends, arrivals) = tokio::task::spawn_blocking(move || {
        // The first block waits for all to be admitted, which is not what is measured.
        let (mut appends, mut arrivals) = (Vec::new(), Vec::new());
        for number in 1..=BLOCKS {
            let encoded = encode(number);
            let started = Instant::now();
            appender.blocks.write().push(encoded);
            appender.height.send_replace(number + 1);
            let appended = started.elapsed();
            while received.load(Ordering::Relaxed) < number * subscribers {
                std::thread::sleep(Duration::from_micros(50));
            }
            if number > 1 {
                appends.push(appended);
                arrivals.push(started.elapsed());
            }
        }
        (appends, arrivals)
    })
    .await
    .expect("appends");
    for reader in readers {
        reader.abort();
    }
    let reads = chain.reads.load(Ordering::Relaxed) as f64 / BLOCKS as f64;
    let [append, append_p99] = summary(appends);
    let [all, all_p99] = summary(arrivals);
    println!(
        "{subscribers:>11} {append:>9.1} µs {append_p99:>7.1} {all:>14.1} µs {all_p99:>8.1} \
         {reads:>9.2}"
    );
}

/// Mean and 99th percentile in microseconds.
fn summary(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mean = times.iter().copied().map(micros).sum::<f64>() / times.len() as f64;
    [mean, micros(times[times.len() * 99 / 100])]
}

fn encode(number: u64) -> Vec<u8> {
    let transaction = Envelope {
        payload: vec![7; TRANSACTION_BYTES].into(),
        signature: Bytes::from_static(&[1; 72]),
    };
    let data = vec![transaction.encode_to_vec().into(); TRANSACTIONS];
    block::new_block(number, Bytes::from_static(&[1; 32]), data).encode_to_vec()
}
