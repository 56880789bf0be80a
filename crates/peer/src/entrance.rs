//! The one door through which blocks enter a running channel, whoever brings them: orderers, peers that
//! push, peers that were asked. Behind it stands one task, which takes the next block from whom has it
//! first. What is pushed early waits in a bounded place and is checked before; whoever brings the next
//! block on request waits until it was taken.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use consilium_gossip::{Offered, Taken};
use consilium_proto::common;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{Notify, mpsc, oneshot, watch};
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
        let next = self.next();
        if let Some(offered) = refused(self.waiting.lock().room(next, number, size)) {
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
            // If it is still its turn, no other configuration comes before it.
            Some(Err(error @ VerifyError::Signature { .. })) if number != self.next() => {
                return Offered::Doubtful(error.to_string());
            }
            Some(Err(error)) => return Offered::Refused(error.to_string()),
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

/// The block, if it is one and has the number that its peer says.
fn decode(number: u64, bytes: Bytes) -> Result<common::Block, String> {
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
