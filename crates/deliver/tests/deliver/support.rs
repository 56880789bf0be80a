//! A chain in memory, and clients of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use consilium_deliver::{
    BlockSource, Feeds, Frame, FrameStream, FullBlocks, Options, Render, Sources, serve,
};
use consilium_proto::common::{Envelope, Status};
use consilium_proto::orderer::seek_info::SeekBehavior;
use consilium_proto::orderer::{
    DeliverResponse, SeekInfo, SeekNewest, SeekNextCommit, SeekOldest, SeekPosition, SeekSpecified,
    deliver_response, seek_position,
};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::{block, envelope};
use consilium_testkit::{Credential, NodeOu, Organization, network};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;

pub const CHANNEL: &str = "mychannel";
/// No test waits that long unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Chain {
    pub config: Mutex<Arc<ChannelConfig>>,
    pub blocks: Mutex<Vec<Bytes>>,
    pub height: watch::Sender<u64>,
    pub healthy: AtomicBool,
    /// Blocks from this number on cannot be read.
    pub unreadable: AtomicU64,
    /// How many blocks were read.
    pub reads: AtomicU64,
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
        if number >= self.unreadable.load(Ordering::SeqCst) {
            return Err("the disk is gone".into());
        }
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(self.blocks.lock().get(number as usize).cloned())
    }
    fn config(&self) -> Arc<ChannelConfig> {
        self.config.lock().clone()
    }
    fn healthy(&self) -> Result<(), String> {
        if self.healthy.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err("no Raft leader".into())
        }
    }
}

/// A node with at most one channel.
pub struct Node(pub Mutex<Option<Arc<Chain>>>);

impl Sources for Node {
    fn source(&self, channel: &str) -> Option<Arc<dyn BlockSource>> {
        let chain = self.0.lock().clone()?;
        (channel == CHANNEL).then_some(chain as Arc<dyn BlockSource>)
    }
}

pub struct Bench {
    pub organization: Organization,
    pub chain: Arc<Chain>,
    pub node: Arc<Node>,
    pub feeds: Arc<Feeds>,
}

/// What a client saw on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saw {
    Block(u64),
    Header(u64),
    Status(Status),
}

impl Bench {
    /// A channel of one organization, with `height` blocks of which block 0 is its configuration.
    pub fn new(height: u64) -> Self {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let genesis = network::genesis(CHANNEL, &[&organization], Vec::new());
        let config = ChannelConfig::from_block(&genesis).expect("own genesis block");
        let chain = Chain {
            config: Mutex::new(Arc::new(config)),
            blocks: Mutex::new(vec![genesis.encode_to_vec().into()]),
            height: watch::Sender::new(1),
            healthy: AtomicBool::new(true),
            unreadable: AtomicU64::new(u64::MAX),
            reads: AtomicU64::new(0),
        };
        let chain = Arc::new(chain);
        let node = Arc::new(Node(Mutex::new(Some(chain.clone()))));
        let feeds = Feeds::new(node.clone());
        let bench = Self {
            organization,
            chain,
            node,
            feeds,
        };
        for _ in 1..height {
            bench.grow();
        }
        bench
    }

    /// Appends a block.
    pub fn grow(&self) {
        let number = self.chain.blocks.lock().len() as u64;
        let transaction = Envelope {
            payload: Bytes::from_static(b"payload"),
            signature: Bytes::from_static(b"signature"),
        };
        let data = vec![transaction.encode_to_vec().into()];
        let block = block::new_block(number, Bytes::from_static(&[1; 32]), data);
        self.append(block.encode_to_vec());
    }

    /// Appends an encoded block.
    pub fn append(&self, block: Vec<u8>) {
        let mut blocks = self.chain.blocks.lock();
        blocks.push(block.into());
        self.chain.height.send_replace(blocks.len() as u64);
    }

    /// Puts the next configuration in force, of a channel of these organizations.
    pub fn configure(&self, organizations: &[&Organization]) {
        let genesis = network::genesis(CHANNEL, organizations, Vec::new());
        let (_, next) = block::config_envelope(&genesis).expect("own genesis block");
        let mut next = next.config.expect("own genesis block");
        let mut config = self.chain.config.lock();
        next.sequence = config.sequence() + 1;
        *config = Arc::new(ChannelConfig::new(CHANNEL, next).expect("own genesis block"));
    }

    pub fn ask(&self, seek: SeekInfo) -> Envelope {
        self.ask_at(seek, SystemTime::now())
    }

    pub fn ask_at(&self, seek: SeekInfo, time: SystemTime) -> Envelope {
        let reader = self.organization.issue("reader", NodeOu::Client);
        self.ask_as(&reader, seek, time)
    }

    pub fn ask_as(&self, reader: &Credential, seek: SeekInfo, time: SystemTime) -> Envelope {
        let signer = self.organization.signer_of(reader);
        let timestamp = envelope::timestamp(time);
        envelope::seek(CHANNEL, seek, &*signer, timestamp, Bytes::new()).expect("signed")
    }

    pub fn options() -> Options {
        Options::new(Arc::new(|_| "/Channel/Readers".into()))
    }

    /// A stream that stays open on the client's side.
    pub fn open(&self, request: Envelope) -> FrameStream {
        self.open_with(request, Self::options(), Arc::new(FullBlocks))
    }

    pub fn open_with(
        &self,
        request: Envelope,
        options: Options,
        render: Arc<dyn Render>,
    ) -> FrameStream {
        let requests = stream::iter([Ok(request)]).chain(stream::pending());
        serve(requests, self.feeds.clone(), options, render)
    }

    /// Sends the envelopes, closes the sending side, and collects what comes until the stream ends.
    pub async fn run(&self, envelopes: Vec<Envelope>) -> Vec<Saw> {
        self.run_with(envelopes, Self::options()).await
    }

    pub async fn run_with(&self, envelopes: Vec<Envelope>, options: Options) -> Vec<Saw> {
        let requests = stream::iter(envelopes.into_iter().map(Ok));
        rest(serve(
            requests,
            self.feeds.clone(),
            options,
            Arc::new(FullBlocks),
        ))
        .await
    }
}

/// What comes next.
pub async fn next(frames: &mut FrameStream) -> Saw {
    let frame = tokio::time::timeout(PATIENCE, frames.next()).await;
    let frame = frame.expect("something comes in time");
    saw(&frame.expect("the stream goes on").expect("a frame"))
}

/// All that comes until the stream ends.
pub async fn rest(frames: FrameStream) -> Vec<Saw> {
    let frames = tokio::time::timeout(PATIENCE, frames.collect::<Vec<_>>()).await;
    let frames = frames.expect("the stream ends");
    frames
        .into_iter()
        .map(|frame| saw(&frame.expect("a frame")))
        .collect()
}

pub fn saw(frame: &Frame) -> Saw {
    let response = DeliverResponse::decode(frame.to_bytes()).expect("a response");
    match response.r#type.expect("one of them") {
        deliver_response::Type::Status(status) => {
            Saw::Status(Status::try_from(status).expect("known"))
        }
        deliver_response::Type::Block(block) => {
            let number = block.header.expect("a header").number;
            if block.data.is_some() {
                Saw::Block(number)
            } else {
                Saw::Header(number)
            }
        }
    }
}

pub fn oldest() -> Option<SeekPosition> {
    Some(SeekPosition {
        r#type: Some(seek_position::Type::Oldest(SeekOldest {})),
    })
}
pub fn newest() -> Option<SeekPosition> {
    Some(SeekPosition {
        r#type: Some(seek_position::Type::Newest(SeekNewest {})),
    })
}
pub fn next_commit() -> Option<SeekPosition> {
    Some(SeekPosition {
        r#type: Some(seek_position::Type::NextCommit(SeekNextCommit {})),
    })
}
pub fn at(number: u64) -> Option<SeekPosition> {
    Some(SeekPosition {
        r#type: Some(seek_position::Type::Specified(SeekSpecified { number })),
    })
}
pub fn seek(start: Option<SeekPosition>, stop: Option<SeekPosition>) -> SeekInfo {
    SeekInfo {
        start,
        stop,
        ..Default::default()
    }
}
pub fn at_once(start: Option<SeekPosition>, stop: Option<SeekPosition>) -> SeekInfo {
    SeekInfo {
        behavior: SeekBehavior::FailIfNotReady as i32,
        ..seek(start, stop)
    }
}
