//! The one door through which blocks enter a running channel, whoever brings them: orderers, peers that
//! push, peers that were asked. Behind it stands one task, which takes the next block from whom has it
//! first. What is pushed early waits in a bounded place and is checked before; whoever brings the next
//! block on request waits until it was taken.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use consilium_gossip::{Offered, Taken, wire::fields};
use consilium_proto::common;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    channel::{ChannelError, PeerChannel},
    crypto::VerificationPool,
    feed::{BlockFeed, FeedError},
    reorder::{Reorder, Room},
    verify::{CheckedBlock, VerifyError},
};

/// Bytes of blocks of a channel that wait for their turn.
const WAITING: usize = 64 * 1024 * 1024;
/// Blocks that may stand before the door; whoever brings more waits.
const ARRIVALS: usize = 2;

/// Told when the channel's configuration has changed.
pub(crate) type OnConfig = Box<dyn Fn() + Send + Sync>;
/// Told whose block was a bad one, and why.
pub(crate) type Blame = Box<dyn Fn(&Bytes, &VerifyError) + Send + Sync>;

/// What became of a block that was brought on request.
#[derive(Debug)]
pub(crate) enum Brought {
    /// It is on its way into the ledger.
    New,
    /// It was there already.
    Known,
}

/// A block of whose peer we know.
struct Waiting {
    block: CheckedBlock,
    from: Bytes,
}

struct Arrival {
    block: common::Block,
    done: oneshot::Sender<Result<Brought, FeedError>>,
}

/// The outside of the door.
pub(crate) struct Entrance {
    name: String,
    /// Which has this.
    channel: Weak<PeerChannel>,
    pool: Arc<VerificationPool>,
    next: watch::Sender<u64>,
    waiting: Mutex<Reorder<Waiting>>,
    /// For the one pushed block that is checked.
    checking: Semaphore,
    pushed: Notify,
    arrivals: mpsc::Sender<Arrival>,
}

/// The inside.
pub(crate) struct Doorkeeper {
    entrance: Arc<Entrance>,
    channel: Arc<PeerChannel>,
    feed: BlockFeed,
    arrivals: mpsc::Receiver<Arrival>,
    on_config: OnConfig,
    blame: Blame,
}

/// A door and who stands behind it; `window` is how far ahead a pushed block may be.
pub(crate) fn open(
    channel: Arc<PeerChannel>,
    pool: Arc<VerificationPool>,
    feed: BlockFeed,
    window: u64,
    on_config: OnConfig,
    blame: Blame,
) -> (Arc<Entrance>, Doorkeeper) {
    let (sender, arrivals) = mpsc::channel(ARRIVALS);
    let entrance = Arc::new(Entrance {
        name: channel.name().to_owned(),
        channel: Arc::downgrade(&channel),
        pool,
        next: watch::Sender::new(feed.next()),
        waiting: Mutex::new(Reorder::new(window, WAITING)),
        checking: Semaphore::new(1),
        pushed: Notify::new(),
        arrivals: sender,
    });
    let doorkeeper = Doorkeeper {
        entrance: entrance.clone(),
        channel,
        feed,
        arrivals,
        on_config,
        blame,
    };
    (entrance, doorkeeper)
}

impl Entrance {
    /// Number of the block to bring next.
    pub(crate) fn next(&self) -> u64 {
        *self.next.borrow()
    }

    /// Brings a block and waits until it was taken or refused.
    pub(crate) async fn bring(&self, block: common::Block) -> Result<Brought, FeedError> {
        let (done, outcome) = oneshot::channel();
        if self.arrivals.send(Arrival { block, done }).await.is_err() {
            return Err(self.closed());
        }
        outcome.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// Brings a block as it is on the wire, which its peer calls so.
    pub(crate) async fn take(&self, number: u64, bytes: Bytes) -> Taken {
        let block = match decode(number, bytes) {
            Ok(block) => block,
            Err(reason) => return Taken::Refused(reason),
        };
        match self.bring(block).await {
            Ok(Brought::New) => Taken::New,
            Ok(Brought::Known) => Taken::Known,
            Err(FeedError::Block(error)) => Taken::Refused(error.to_string()),
            Err(FeedError::Channel(_) | FeedError::Check(_)) => Taken::Closed,
        }
    }

    /// Keeps a block that a peer pushes until its turn, if it is a good one as far as can be told.
    pub(crate) async fn offer(&self, from: &Bytes, number: u64, bytes: Bytes) -> Offered {
        if self.arrivals.is_closed() {
            return Offered::Closed;
        }
        let size = bytes.len();
        let refused = |room| match room {
            Room::Free => None,
            Room::Known => Some(Offered::Known),
            Room::TooFar => Some(Offered::TooFar),
        };
        let room = || refused(self.waiting.lock().room(self.next(), number, size));
        if let Some(offered) = room() {
            return offered;
        }
        // In turn: of a block that many push at once one is checked, and the pool stays free for blocks
        // that were asked for. The semaphore is never closed.
        let _turn = self.checking.acquire().await;
        let next = self.next();
        if let Some(offered) = room() {
            return offered;
        }
        let block = match decode(number, bytes) {
            Ok(block) => block,
            Err(reason) => return Offered::Refused(reason),
        };
        let Some(config) = self.channel.upgrade().map(|channel| channel.config()) else {
            return Offered::Closed;
        };
        let checking = self.pool.run(move || CheckedBlock::new(block, &config));
        let block = match checking.await {
            Some(Ok(block)) => block,
            Some(Err(error)) => return unfit(number, next, &error),
            None => return Offered::Refused(format!("the check of block {number} did not end")),
        };
        let waiting = Waiting {
            block,
            // A copy: it must not hold the message that it came in.
            from: Bytes::copy_from_slice(from),
        };
        let kept = {
            let mut place = self.waiting.lock();
            let kept = place.keep(self.next(), number, size, waiting);
            self.report(place.len());
            kept
        };
        if let Some(offered) = refused(kept) {
            return offered;
        }
        self.pushed.notify_one();
        Offered::New
    }

    fn closed(&self) -> FeedError {
        let channel = self.channel.upgrade();
        let reason = channel.as_ref().and_then(|channel| channel.halted());
        FeedError::Channel(ChannelError::Halted {
            channel: self.name.clone(),
            reason: reason.unwrap_or("it takes no blocks any more").to_owned(),
        })
    }

    fn report(&self, waiting: usize) {
        metrics::gauge!("gossip_payload_buffer_size", "channel" => self.name.clone())
            .set(waiting as f64);
    }
}

/// What is said of a pushed block that failed its check, which began after the blocks below `next` were
/// taken. Only when it was its turn then, no other configuration comes before it.
fn unfit(number: u64, next: u64, error: &VerifyError) -> Offered {
    match error {
        VerifyError::Signature { .. } if number != next => Offered::Doubtful(error.to_string()),
        _ => Offered::Refused(error.to_string()),
    }
}

/// Whether a block would take far more memory decoded than it has bytes: each envelope and each metadata
/// slot then has some for itself, and may be empty here.
fn is_sparse(block: &[u8]) -> bool {
    /// Number, hashes and slots: so few do not matter.
    const FEW: usize = 64;
    let most = block.len() / size_of::<Bytes>() + FEW;
    // What is no field shows in decoding.
    let parts = fields(block).map_while(Result::ok);
    let entries = parts.flat_map(|part| fields(part.bytes).map(|_| ()).chain([()]));
    entries.take(most + 1).count() > most
}

/// The block, if it is one and has the number that its peer says.
fn decode(number: u64, bytes: Bytes) -> Result<common::Block, String> {
    // A signed transaction is always longer.
    if is_sparse(&bytes) {
        return Err(format!(
            "block [{number}] consists of too short transactions"
        ));
    }
    let block = common::Block::decode(bytes)
        .map_err(|error| format!("block [{number}] is unreadable: {error}"))?;
    match &block.header {
        Some(header) if header.number == number => Ok(block),
        Some(header) => Err(format!(
            "claimed block number is [{number}] but the block's is [{}]",
            header.number
        )),
        None => Err(VerifyError::NoHeader.to_string()),
    }
}

impl Doorkeeper {
    /// Takes blocks until told to stop or until the channel halts; then lets queued ones finish.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.take_for_ever() => {}
        }
        let Self { feed, arrivals, .. } = self;
        // Whoever brings a block from now on hears that the door is closed.
        drop(arrivals);
        feed.drain().await;
    }

    async fn take_for_ever(&mut self) {
        let mut sequence = self.channel.config().sequence();
        loop {
            let next = self.feed.next();
            let waiting = {
                let mut place = self.entrance.waiting.lock();
                let waiting = place.take(next);
                self.entrance.report(place.len());
                waiting
            };
            if let Some(Waiting { block, from }) = waiting {
                match self.feed.take_checked(block).await {
                    Ok(()) => {}
                    Err(FeedError::Block(error)) => (self.blame)(&from, &error),
                    Err(FeedError::Check(number)) => {
                        tracing::error!(number, "the check of a block did not end");
                    }
                    Err(FeedError::Channel(error)) => {
                        // `halt` has logged why.
                        tracing::debug!(channel = self.channel.name(), %error, "no blocks are taken");
                        return;
                    }
                }
                self.after(&mut sequence);
                continue;
            }
            let entrance = self.entrance.clone();
            let arrival = tokio::select! {
                () = entrance.pushed.notified() => continue,
                arrival = self.arrivals.recv() => arrival,
            };
            let Some(Arrival { block, done }) = arrival else {
                return;
            };
            let outcome = self.admit(block).await;
            let is_over = matches!(outcome, Err(FeedError::Channel(_)));
            self.after(&mut sequence);
            // Whoever brought it may be gone.
            let _ = done.send(outcome);
            if is_over {
                return;
            }
        }
    }

    async fn admit(&mut self, block: common::Block) -> Result<Brought, FeedError> {
        let number = block.header.as_ref().map(|header| header.number);
        if number.is_some_and(|number| number < self.feed.next()) {
            return Ok(Brought::Known);
        }
        self.feed.take(block).await.map(|()| Brought::New)
    }

    /// Tells what a block may have changed.
    fn after(&self, sequence: &mut u64) {
        self.entrance.next.send_replace(self.feed.next());
        let now = self.channel.config().sequence();
        if now != *sequence {
            *sequence = now;
            (self.on_config)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::Pin};

    use consilium_ledger::{Ledger, StoreOptions};
    use consilium_testkit::validation::Generator;
    use futures_util::poll;

    use super::*;
    use crate::crypto::SignatureMemory;

    #[tokio::test]
    async fn a_block_that_many_push_at_once_is_checked_once() {
        let generator = Generator::new();
        let chain = generator.chain(1, 10);
        let data = tempfile::tempdir().unwrap();
        let genesis = generator.genesis();
        let ledger = Ledger::create_with(data.path(), genesis, &StoreOptions::default()).unwrap();
        let local_msp = generator.people().organizations[0].msp();
        let channel = PeerChannel::open(ledger, local_msp).unwrap();
        let pool = Arc::new(VerificationPool::new(1).unwrap());
        let memory = Arc::new(SignatureMemory::new(10));
        let feed = BlockFeed::start(channel.clone(), pool.clone(), memory).unwrap();
        let nobody = Box::new(|_: &Bytes, _: &VerifyError| {});
        let (entrance, doorkeeper) = open(
            channel.clone(),
            pool.clone(),
            feed,
            20,
            Box::new(|| {}),
            nobody,
        );
        let config = channel.config();

        // Nothing is checked until this is through; each check that waits has the configuration.
        let (go, held) = std::sync::mpsc::channel::<()>();
        let busy = pool.start(move || held.recv());
        let users = Arc::strong_count(&config);
        let bytes = Bytes::from(chain.blocks[0].encode_to_vec());
        let from = Bytes::from_static(b"peer");
        let mut offers: Vec<Pin<Box<dyn Future<Output = Offered>>>> = Vec::new();
        for _ in 0..5 {
            offers.push(Box::pin(entrance.offer(&from, 1, bytes.clone())));
        }
        for offer in &mut offers {
            assert!(poll!(offer).is_pending());
        }
        assert_eq!(Arc::strong_count(&config), users + 1);
        go.send(()).unwrap();
        busy.recv().unwrap().unwrap();
        let mut offered = Vec::new();
        for offer in offers {
            offered.push(offer.await);
        }
        let known = vec![Offered::Known; 4];
        assert_eq!(offered, [vec![Offered::New], known].concat());

        let stop = CancellationToken::new();
        stop.cancel();
        doorkeeper.run(stop).await;
    }

    fn block(count: usize, length: usize, slots: usize) -> Vec<u8> {
        let block = common::Block {
            header: Some(common::BlockHeader {
                number: 7,
                ..Default::default()
            }),
            data: Some(common::BlockData {
                data: vec![vec![1; length].into(); count],
            }),
            metadata: Some(common::BlockMetadata {
                metadata: vec![Bytes::new(); slots],
            }),
        };
        block.encode_to_vec()
    }

    #[test]
    fn a_block_that_would_take_many_times_its_bytes_is_not_decoded() {
        for (what, bytes, is_good) in [
            ("no transactions", block(0, 0, 5), true),
            ("one", block(1, 1, 5), true),
            ("many", block(10_000, 40, 5), true),
            ("empty ones", block(10_000, 0, 5), false),
            ("short ones", block(10_000, 10, 5), false),
            ("slots", block(1, 1, 10_000), false),
            // Lists of the same message that come one after the other become one.
            ("in parts", block(30, 0, 30).repeat(100), false),
            ("garbage", vec![0xff; 1000], false),
        ] {
            let decoded = decode(7, bytes.into());
            assert_eq!(decoded.is_ok(), is_good, "{what}");
        }
    }

    #[test]
    fn whose_block_came_before_its_configuration_is_not_to_blame() {
        let signature = || VerifyError::Signature {
            number: 7,
            reason: "nobody's".to_owned(),
        };
        for (next, error, is_refused) in [
            (7, signature(), true),
            (6, signature(), false),
            (6, VerifyError::NoHeader, true),
        ] {
            let offered = unfit(7, next, &error);
            assert_eq!(matches!(offered, Offered::Refused(_)), is_refused);
            assert_eq!(matches!(offered, Offered::Doubtful(_)), !is_refused);
        }
    }
}
