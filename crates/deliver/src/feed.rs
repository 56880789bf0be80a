//! What the streams of a channel share: one watch over its source, and its newest blocks.
//!
//! Whoever appends blocks wakes one task per channel, however many streams wait. That task reads
//! the new blocks once, and wakes the streams.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use crate::recent::{KEPT_BLOCKS, RecentBlock, RecentBlocks};
use crate::source::{BlockSource, Sources};

/// How often is looked whether consensus is healthy, and the channel is still there.
const HEALTH_INTERVAL: Duration = Duration::from_millis(500);

/// Receivers of a feed's moments from which on blocks are kept: the feed's own, and two streams'.
const RECEIVERS_TO_SHARE: usize = 3;

/// The channels of a node, for streams. One for all of a node's Deliver services.
pub struct Feeds {
    sources: Arc<dyn Sources>,
    /// Feeds that somebody follows.
    feeds: Mutex<HashMap<String, Weak<Feed>>>,
}

impl Feeds {
    /// Streams over these channels.
    pub fn new(sources: Arc<dyn Sources>) -> Arc<Self> {
        Arc::new(Self {
            sources,
            feeds: Mutex::default(),
        })
    }

    /// The channel's feed, or `None` when this node does not have the channel.
    pub(crate) fn feed(&self, channel: &str) -> Option<Arc<Feed>> {
        let source = self.sources.source(channel)?;
        let mut feeds = self.feeds.lock();
        let known = feeds.get(channel).and_then(Weak::upgrade);
        // A channel that was removed and joined again has another source.
        if let Some(feed) = known.filter(|feed| same(&feed.shared.source, &source)) {
            return Some(feed);
        }
        feeds.retain(|_, feed| feed.strong_count() > 0);
        let feed = Arc::new(Feed::follow(channel, source, &self.sources));
        feeds.insert(channel.to_owned(), Arc::downgrade(&feed));
        Some(feed)
    }
}

fn same(one: &Arc<dyn BlockSource>, other: &Arc<dyn BlockSource>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

/// How a channel is at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Number of the next block to come.
    pub(crate) height: u64,
    /// Sequence of the configuration in force.
    pub(crate) sequence: u64,
    /// Why consensus does not work, if it does not.
    pub(crate) sick: Option<Arc<str>>,
}

impl Moment {
    /// How the source is now.
    fn of(source: &dyn BlockSource) -> Self {
        // In this order: a configuration is in force before its block is counted.
        let height = source.height();
        Self {
            height,
            sequence: source.config().sequence(),
            sick: source.healthy().err().map(Into::into),
        }
    }
}

/// A channel as its streams follow it. Its task ends with the last of them.
pub(crate) struct Feed {
    shared: Arc<Shared>,
    moments: watch::Receiver<Moment>,
    follower: AbortHandle,
}

struct Shared {
    channel: String,
    source: Arc<dyn BlockSource>,
    recent: RecentBlocks,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Feed {
    fn follow(channel: &str, source: Arc<dyn BlockSource>, sources: &Arc<dyn Sources>) -> Self {
        let (sender, moments) = watch::channel(Moment::of(&*source));
        let shared = Arc::new(Shared {
            channel: channel.to_owned(),
            source,
            recent: RecentBlocks::default(),
        });
        let following = follow(shared.clone(), sources.clone(), sender);
        let follower = tokio::spawn(following).abort_handle();
        Self {
            shared,
            moments,
            follower,
        }
    }

    pub(crate) fn source(&self) -> &Arc<dyn BlockSource> {
        &self.shared.source
    }

    /// How the channel is, watched. It closes when the source does.
    pub(crate) fn moments(&self) -> watch::Receiver<Moment> {
        self.moments.clone()
    }

    /// A block that is in memory.
    pub(crate) fn recent(&self, number: u64) -> Option<Arc<RecentBlock>> {
        self.shared.recent.get(number)
    }
}

/// Tells how the source is, whenever that changes, until the source ends or the node has the channel
/// no more.
async fn follow(shared: Arc<Shared>, sources: Arc<dyn Sources>, moments: watch::Sender<Moment>) {
    let mut heights = shared.source.subscribe();
    let mut tick = tokio::time::interval(HEALTH_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = moments.borrow().height;
    loop {
        tokio::select! {
            changed = heights.changed() => if changed.is_err() {
                return;
            },
            _ = tick.tick() => {
                let source = sources.source(&shared.channel);
                if !source.is_some_and(|source| same(&source, &shared.source)) {
                    return;
                }
            }
        }
        let next = Moment::of(&*shared.source);
        if next.height > told {
            // A stream that is alone reads for itself.
            if moments.receiver_count() >= RECEIVERS_TO_SHARE {
                shared.clone().read(told, next.height).await;
            } else {
                shared.recent.clear();
            }
            told = next.height;
        }
        moments.send_if_modified(|moment| {
            let changed = *moment != next;
            *moment = next;
            changed
        });
    }
}

impl Shared {
    /// Reads the newest of the blocks up to `height` into memory. What cannot be read is left to
    /// the streams, which tell their readers.
    async fn read(self: Arc<Self>, told: u64, height: u64) {
        let first = told.max(height.saturating_sub(KEPT_BLOCKS as u64));
        let read = tokio::task::spawn_blocking(move || {
            for number in first..height {
                match self.source.block_bytes(number) {
                    Ok(Some(block)) => self.recent.push(number, block),
                    Ok(None) => {
                        tracing::error!(channel = self.channel, number, "block is missing");
                    }
                    Err(error) => {
                        let channel = &self.channel;
                        tracing::error!(channel, number, error, "cannot read block");
                    }
                }
            }
        });
        if let Err(error) = read.await {
            tracing::error!(%error, "cannot read new blocks");
        }
    }
}
