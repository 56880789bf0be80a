//! Deliver streams against a chain in memory: what a client sends, and what it gets.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use consilium_deliver::{
    BlockReply, BlockSource, Frame, FullBlocks, Options, Render, Sources, TlsBinding, serve,
};
use consilium_proto::common::{self, Envelope, Status};
use consilium_proto::orderer::seek_info::{SeekBehavior, SeekContentType, SeekErrorResponse};
use consilium_proto::orderer::{
    DeliverResponse, SeekInfo, SeekNewest, SeekNextCommit, SeekOldest, SeekPosition, SeekSpecified,
    deliver_response, seek_position,
};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::{block, envelope};
use consilium_testkit::{NodeOu, Organization, network};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;

const CHANNEL: &str = "mychannel";
/// No test waits that long unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Chain {
    config: Mutex<Arc<ChannelConfig>>,
    blocks: Mutex<Vec<Bytes>>,
    height: watch::Sender<u64>,
    healthy: Mutex<bool>,
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
        Ok(self.blocks.lock().get(number as usize).cloned())
    }
    fn config(&self) -> Arc<ChannelConfig> {
        self.config.lock().clone()
    }
    fn healthy(&self) -> Result<(), String> {
        if *self.healthy.lock() {
            Ok(())
        } else {
            Err("no Raft leader".into())
        }
    }
}

struct Only(Arc<Chain>);

impl Sources for Only {
    fn source(&self, channel: &str) -> Option<Arc<dyn BlockSource>> {
        (channel == CHANNEL).then(|| self.0.clone() as Arc<dyn BlockSource>)
    }
}

struct Bench {
    organization: Organization,
    chain: Arc<Chain>,
}

/// What a client saw on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Saw {
    Block(u64),
    Header(u64),
    Status(Status),
}

impl Bench {
    /// A channel of one organization, with `height` blocks of which block 0 is its configuration.
    fn new(height: u64) -> Self {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let genesis = network::genesis(CHANNEL, &[&organization], Vec::new());
        let config = ChannelConfig::from_block(&genesis).expect("own genesis block");
        let chain = Chain {
            config: Mutex::new(Arc::new(config)),
            blocks: Mutex::new(vec![genesis.encode_to_vec().into()]),
            height: watch::Sender::new(1),
            healthy: Mutex::new(true),
        };
        let bench = Self {
            organization,
            chain: Arc::new(chain),
        };
        for _ in 1..height {
            bench.grow();
        }
        bench
    }

    fn grow(&self) {
        let mut blocks = self.chain.blocks.lock();
        let number = blocks.len() as u64;
        let transaction = Envelope {
            payload: Bytes::from_static(b"payload"),
            signature: Bytes::from_static(b"signature"),
        };
        let data = vec![transaction.encode_to_vec().into()];
        let block = block::new_block(number, Bytes::from_static(&[1; 32]), data);
        blocks.push(block.encode_to_vec().into());
        self.chain.height.send_replace(number + 1);
    }

    fn ask(&self, seek: SeekInfo) -> Envelope {
        self.ask_at(seek, SystemTime::now())
    }

    fn ask_at(&self, seek: SeekInfo, time: SystemTime) -> Envelope {
        let signer = self.organization.signer("reader", NodeOu::Client);
        let timestamp = envelope::timestamp(time);
        envelope::seek(CHANNEL, seek, &*signer, timestamp, Bytes::new()).expect("signed")
    }

    fn options() -> Options {
        Options::new(Arc::new(|_| "/Channel/Readers".into()))
    }

    /// Sends the envelopes, closes the sending side, and collects what comes until the stream ends.
    async fn run(&self, envelopes: Vec<Envelope>) -> Vec<Saw> {
        self.run_with(envelopes, Self::options()).await
    }

    async fn run_with(&self, envelopes: Vec<Envelope>, options: Options) -> Vec<Saw> {
        let requests = stream::iter(envelopes.into_iter().map(Ok));
        let sources = Arc::new(Only(self.chain.clone()));
        let frames = serve(requests, sources, options, Arc::new(FullBlocks));
        let frames = tokio::time::timeout(PATIENCE, frames.collect::<Vec<_>>()).await;
        frames
            .expect("the stream ends")
            .into_iter()
            .map(|frame| saw(&frame.expect("a frame")))
            .collect()
    }
}

fn saw(frame: &Frame) -> Saw {
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

fn oldest() -> Option<SeekPosition> {
    Some(SeekPosition {
        r#type: Some(seek_position::Type::Oldest(SeekOldest {})),
    })
}
fn newest() -> Option<SeekPosition> {
    Some(SeekPosition {
        r#type: Some(seek_position::Type::Newest(SeekNewest {})),
    })
}
fn next_commit() -> Option<SeekPosition> {
    Some(SeekPosition {
        r#type: Some(seek_position::Type::NextCommit(SeekNextCommit {})),
    })
}
fn at(number: u64) -> Option<SeekPosition> {
    Some(SeekPosition {
        r#type: Some(seek_position::Type::Specified(SeekSpecified { number })),
    })
}
fn seek(start: Option<SeekPosition>, stop: Option<SeekPosition>) -> SeekInfo {
    SeekInfo {
        start,
        stop,
        ..Default::default()
    }
}
fn at_once(start: Option<SeekPosition>, stop: Option<SeekPosition>) -> SeekInfo {
    SeekInfo {
        behavior: SeekBehavior::FailIfNotReady as i32,
        ..seek(start, stop)
    }
}

#[tokio::test]
async fn a_seek_gives_its_blocks_and_then_a_status() {
    let bench = Bench::new(4);
    let blocks = |numbers: std::ops::RangeInclusive<u64>, status| {
        numbers
            .map(Saw::Block)
            .chain([Saw::Status(status)])
            .collect::<Vec<_>>()
    };
    let status = |status| vec![Saw::Status(status)];
    let cases = [
        (seek(oldest(), newest()), blocks(0..=3, Status::Success)),
        (seek(newest(), newest()), blocks(3..=3, Status::Success)),
        (seek(at(1), at(2)), blocks(1..=2, Status::Success)),
        (seek(at(2), oldest()), blocks(2..=2, Status::Success)),
        (at_once(at(2), at(9)), blocks(2..=3, Status::NotFound)),
        (at_once(next_commit(), at(9)), status(Status::NotFound)),
        (at_once(at(4), at(9)), status(Status::NotFound)),
        (seek(at(5), at(9)), status(Status::NotFound)),
        (
            at_once(at(1), next_commit()),
            blocks(1..=3, Status::NotFound),
        ),
        (seek(at(2), at(1)), status(Status::BadRequest)),
        (seek(None, newest()), status(Status::BadRequest)),
        (seek(oldest(), None), status(Status::BadRequest)),
        (SeekInfo::default(), status(Status::BadRequest)),
    ];
    for (seek, expected) in cases {
        assert_eq!(bench.run(vec![bench.ask(seek)]).await, expected, "{seek:?}");
    }
}

#[tokio::test]
async fn after_success_the_next_seek_is_served_and_after_anything_else_none() {
    let bench = Bench::new(2);
    let good = || bench.ask(seek(newest(), newest()));
    let bad = bench.ask(seek(at(7), at(9)));
    let expected = [
        Saw::Block(1),
        Saw::Status(Status::Success),
        Saw::Block(1),
        Saw::Status(Status::Success),
        Saw::Status(Status::NotFound),
    ];
    assert_eq!(bench.run(vec![good(), good(), bad, good()]).await, expected);
}

#[tokio::test]
async fn an_open_ended_stream_pushes_blocks_as_they_come() {
    let bench = Bench::new(2);
    let request = bench.ask(seek(at(2), at(u64::MAX)));
    let sources = Arc::new(Only(bench.chain.clone()));
    let requests = stream::iter([Ok(request)]);
    let mut frames = serve(requests, sources, Bench::options(), Arc::new(FullBlocks));
    for number in 2..6 {
        bench.grow();
        let frame = tokio::time::timeout(PATIENCE, frames.next())
            .await
            .expect("in time");
        assert_eq!(
            saw(&frame.expect("goes on").expect("a frame")),
            Saw::Block(number)
        );
    }
    drop(frames);
    // The task behind the stream notices that nobody reads and lets go of the chain.
    let gone = async {
        while Arc::strong_count(&bench.chain) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("the stream is given up");
}

#[tokio::test]
async fn headers_are_asked_for_but_config_blocks_come_whole() {
    let bench = Bench::new(3);
    let headers = SeekInfo {
        content_type: SeekContentType::HeaderWithSig as i32,
        ..seek(oldest(), newest())
    };
    let expected = [
        Saw::Block(0),
        Saw::Header(1),
        Saw::Header(2),
        Saw::Status(Status::Success),
    ];
    assert_eq!(bench.run(vec![bench.ask(headers)]).await, expected);
}

#[tokio::test]
async fn only_readers_of_the_channel_get_blocks() {
    let bench = Bench::new(2);
    let stranger = Organization::new("Org1MSP", "org1.example.com");
    let signer = stranger.signer("reader", NodeOu::Client);
    let timestamp = envelope::timestamp(SystemTime::now());
    let request = envelope::seek(
        CHANNEL,
        seek(oldest(), newest()),
        &*signer,
        timestamp,
        Bytes::new(),
    )
    .unwrap();
    assert_eq!(
        bench.run(vec![request]).await,
        [Saw::Status(Status::Forbidden)]
    );

    let mut forged = bench.ask(seek(oldest(), newest()));
    forged.signature = Bytes::from_static(b"no signature");
    assert_eq!(
        bench.run(vec![forged]).await,
        [Saw::Status(Status::Forbidden)]
    );
}

#[tokio::test]
async fn requests_are_refused_in_the_documented_order() {
    let bench = Bench::new(2);
    let good = || seek(oldest(), newest());
    let signer = bench.organization.signer("reader", NodeOu::Client);
    let now = || envelope::timestamp(SystemTime::now());
    let hour = Duration::from_secs(3600);
    let elsewhere = envelope::seek("other", good(), &*signer, now(), Bytes::new()).unwrap();
    let mut spec = envelope::HeaderSpec::new(common::HeaderType::DeliverSeekInfo, CHANNEL, now());
    spec.version = 1;
    let malformed =
        envelope::create_signed(spec, Bytes::from_static(&[0xff; 9]), &*signer).unwrap();
    let untimed = {
        let mut payload = common::Payload::decode(bench.ask(good()).payload).unwrap();
        let header = payload.header.as_mut().unwrap();
        let mut channel = common::ChannelHeader::decode(header.channel_header.clone()).unwrap();
        channel.timestamp = None;
        header.channel_header = channel.encode_to_vec().into();
        Envelope {
            payload: payload.encode_to_vec().into(),
            signature: Bytes::new(),
        }
    };
    let cases = [
        ("empty", Envelope::default(), Status::BadRequest),
        (
            "garbage",
            Envelope {
                payload: Bytes::from_static(&[7; 40]),
                ..Envelope::default()
            },
            Status::BadRequest,
        ),
        ("no timestamp", untimed, Status::BadRequest),
        (
            "an hour ago",
            bench.ask_at(good(), SystemTime::now() - hour),
            Status::BadRequest,
        ),
        (
            "in an hour",
            bench.ask_at(good(), SystemTime::now() + hour),
            Status::BadRequest,
        ),
        ("unknown channel", elsewhere, Status::NotFound),
        ("malformed seek", malformed, Status::BadRequest),
    ];
    for (name, request, status) in cases {
        assert_eq!(
            bench.run(vec![request]).await,
            [Saw::Status(status)],
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_sick_orderer_serves_only_those_who_asked_for_best_effort() {
    let bench = Bench::new(2);
    *bench.chain.healthy.lock() = false;
    let strict = bench.ask(seek(newest(), newest()));
    assert_eq!(
        bench.run(vec![strict]).await,
        [Saw::Status(Status::ServiceUnavailable)]
    );
    let effort = SeekInfo {
        error_response: SeekErrorResponse::BestEffort as i32,
        ..seek(newest(), newest())
    };
    let expected = [Saw::Block(1), Saw::Status(Status::Success)];
    assert_eq!(bench.run(vec![bench.ask(effort)]).await, expected);
}

#[tokio::test]
async fn with_mutual_tls_a_request_must_name_its_connection() {
    let bench = Bench::new(2);
    let certificate = [9_u8; 32];
    let signer = bench.organization.signer("reader", NodeOu::Client);
    let ask = |hash: &[u8]| {
        let now = envelope::timestamp(SystemTime::now());
        let hash = Bytes::copy_from_slice(hash);
        envelope::seek(CHANNEL, seek(newest(), newest()), &*signer, now, hash).unwrap()
    };
    let good = vec![Saw::Block(1), Saw::Status(Status::Success)];
    let bad = vec![Saw::Status(Status::BadRequest)];
    let cases = [
        (true, Some(certificate), &certificate[..], &good),
        (true, Some(certificate), &[], &bad),
        (true, Some(certificate), &[8; 32], &bad),
        (true, None, &certificate, &bad),
        (false, None, &[8; 32], &good),
    ];
    for (required, client_certificate_hash, claimed, expected) in cases {
        let mut options = Bench::options();
        options.tls = TlsBinding {
            required,
            client_certificate_hash,
        };
        let seen = bench.run_with(vec![ask(claimed)], options).await;
        assert_eq!(&seen, expected, "required {required}, claimed {claimed:?}");
    }
}

#[tokio::test]
async fn losing_the_right_to_read_ends_the_stream() {
    let bench = Bench::new(2);
    let request = bench.ask(seek(at(1), at(u64::MAX)));
    let sources = Arc::new(Only(bench.chain.clone()));
    let mut frames = serve(
        stream::iter([Ok(request)]),
        sources,
        Bench::options(),
        Arc::new(FullBlocks),
    );
    assert_eq!(saw(&frames.next().await.unwrap().unwrap()), Saw::Block(1));

    // The next configuration knows another organization only.
    let other = Organization::new("Org2MSP", "org2.example.com");
    let genesis = network::genesis(CHANNEL, &[&other], Vec::new());
    let (_, next) = block::config_envelope(&genesis).unwrap();
    let mut next = next.config.unwrap();
    next.sequence = 1;
    *bench.chain.config.lock() = Arc::new(ChannelConfig::new(CHANNEL, next).unwrap());
    bench.grow();
    let rest = tokio::time::timeout(PATIENCE, frames.collect::<Vec<_>>())
        .await
        .expect("it ends");
    let rest: Vec<Saw> = rest.into_iter().map(|frame| saw(&frame.unwrap())).collect();
    assert_eq!(rest, [Saw::Status(Status::Forbidden)]);
}

#[tokio::test]
async fn a_block_that_cannot_be_rendered_ends_the_stream_with_an_error_status() {
    struct Refuses;
    impl Render for Refuses {
        fn block(&self, _: BlockReply<'_>) -> Result<Frame, String> {
            Err("no".into())
        }
    }
    let bench = Bench::new(2);
    let sources = Arc::new(Only(bench.chain.clone()));
    let requests = stream::iter([Ok(bench.ask(seek(oldest(), newest())))]);
    let frames = serve(requests, sources, Bench::options(), Arc::new(Refuses));
    let seen: Vec<Saw> = frames.map(|frame| saw(&frame.unwrap())).collect().await;
    assert_eq!(seen, [Saw::Status(Status::InternalServerError)]);
}
