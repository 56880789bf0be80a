//! One channel's Raft log: a view of the shared [`Store`], with the newest entries in memory.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use consilium_proto::consilium::replication as wire;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use prost::Message;

use super::codec;
use super::store::{self, Change, Done, Record, Store, Write};
use super::types::{Entry, LogId, Proposal, TypeConfig, Vote};
use crate::rt;

/// Bytes of entries that stay in memory though they are on disk: enough for applying and for
/// followers that keep up.
const CACHE_BYTES: usize = 8 << 20;
/// Bytes of entries in one append to a follower, the last one excepted.
const APPEND_BYTES: usize = 2 << 20;

/// A channel's log. Clones share everything.
#[derive(Clone)]
pub(crate) struct ChannelLog {
    shared: Arc<Shared>,
}

struct Shared {
    channel: Arc<str>,
    store: Arc<Store>,
    recent: Arc<Mutex<Recent>>,
    node: Mutex<Option<u64>>,
    /// Position of the newest snapshot that is stored, or queued to be.
    newest_snapshot: Mutex<Option<LogId>>,
}

/// The end of the log, and the entries near it.
#[derive(Default)]
struct Recent {
    /// Consecutive entries up to the last one; empty only when the log is, or after a start.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Entries up to here are on disk.
    durable: Option<u64>,
    /// Counts truncations: what was appended before one is not what is there now.
    truncations: u64,
    last: Option<LogId>,
    purged: Option<LogId>,
}

impl ChannelLog {
    /// Opens a channel's log. Blocks on the disk.
    pub(crate) fn open(store: Arc<Store>, channel: &str) -> io::Result<Self> {
        let purged = match store.record(channel, Record::Purged)? {
            None => None,
            Some(bytes) => {
                let id = wire::LogId::decode(bytes).map_err(codec::CodecError::from)?;
                Some(codec::read_log_id(&id))
            }
        };
        let last = store.last(channel)?.map(|last| last.log_id).max(purged);
        let recent = Recent {
            durable: last.map(|id| id.index()),
            last,
            purged,
            ..Recent::default()
        };
        let node = store.record(channel, Record::Node)?;
        let node = node.map(|bytes| bytes[..].try_into().map(u64::from_be_bytes));
        let node = node.transpose().map_err(io::Error::other)?;
        let snapshot = store.record(channel, Record::Snapshot)?;
        let newest_snapshot = snapshot.map(position_of).transpose()?.flatten();
        let shared = Shared {
            channel: channel.into(),
            store,
            recent: Arc::new(Mutex::new(recent)),
            node: Mutex::new(node),
            newest_snapshot: Mutex::new(newest_snapshot),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Whether nothing was ever written: no entry, no vote. Blocks on the disk.
    pub(crate) fn is_pristine(&self) -> io::Result<bool> {
        let vote = self
            .shared
            .store
            .record(&self.shared.channel, Record::Vote)?;
        Ok(vote.is_none() && self.shared.recent.lock().last.is_none())
    }

    /// The Raft id that this disk has in the channel.
    pub(crate) fn node(&self) -> Option<u64> {
        *self.shared.node.lock()
    }

    /// Stores it durably.
    pub(crate) async fn save_node(&self, node: u64) -> io::Result<()> {
        self.put(Record::Node, node.to_be_bytes().to_vec()).await?;
        *self.shared.node.lock() = Some(node);
        Ok(())
    }

    /// What keeps writes waiting, if they wait for room on the disk.
    pub(crate) fn missing_room(&self) -> Option<String> {
        self.shared.store.missing_room()
    }

    /// The last position of the log.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.shared.recent.lock().last
    }

    /// The last position that was removed from the log.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.shared.recent.lock().purged
    }

    /// The stored snapshot. Blocks on the disk.
    pub(crate) fn snapshot(&self) -> io::Result<Option<bytes::Bytes>> {
        self.shared
            .store
            .record(&self.shared.channel, Record::Snapshot)
    }

    /// Stores a snapshot durably, unless a newer one is stored: one that is being built may end
    /// after one from the leader was installed, and the log before that one is gone by then.
    pub(crate) async fn save_snapshot(&self, snapshot: &wire::Snapshot) -> io::Result<()> {
        let id = snapshot.id.as_ref().map(codec::read_log_id);
        let (write, written) = Write::durable(vec![Change::Put {
            channel: self.shared.channel.clone(),
            record: Record::Snapshot,
            value: snapshot.encode_to_vec(),
        }]);
        let place = self.shared.store.place().await?;
        {
            // Compared and queued in one step, so that what is stored last is the newest. One that
            // is only queued is durable before any removal of log entries that relies on it.
            let mut newest = self.shared.newest_snapshot.lock();
            if id <= *newest {
                return Ok(());
            }
            *newest = id;
            place.send(write);
        }
        written.outcome().await
    }

    /// Removes everything of the channel.
    pub(crate) async fn forget(&self) -> io::Result<()> {
        let channel = self.shared.channel.clone();
        self.shared
            .store
            .write_durably(vec![Change::Forget { channel }])
            .await?;
        *self.shared.recent.lock() = Recent::default();
        *self.shared.node.lock() = None;
        *self.shared.newest_snapshot.lock() = None;
        Ok(())
    }

    async fn put(&self, record: Record, value: Vec<u8>) -> io::Result<()> {
        let channel = self.shared.channel.clone();
        self.shared
            .store
            .write_durably(vec![Change::Put {
                channel,
                record,
                value,
            }])
            .await
    }

    /// Entries of `start..end`, from memory where possible, up to about `bytes`.
    async fn read(&self, start: u64, end: u64, bytes: usize) -> io::Result<Vec<Entry>> {
        let (cached, missing) = {
            let recent = self.shared.recent.lock();
            let next = recent.last.map_or(0, |last| last.index() + 1);
            let end = end.min(next);
            let start = start.max(recent.purged.map_or(0, |purged| purged.index() + 1));
            if start >= end {
                return Ok(Vec::new());
            }
            // Entries in memory are consecutive and end at the last one.
            let cached_from = next - recent.entries.len() as u64;
            let skip = usize::try_from(start.saturating_sub(cached_from)).unwrap_or(usize::MAX);
            let take = end.saturating_sub(start.max(cached_from));
            let mut size = 0;
            let cached: Vec<Entry> = recent
                .entries
                .iter()
                .skip(skip)
                .take(usize::try_from(take).unwrap_or(usize::MAX))
                .take_while(|entry| {
                    let fits = size <= bytes;
                    size += size_of_entry(entry);
                    fits
                })
                .cloned()
                .collect();
            (cached, start..end.min(cached_from))
        };
        if missing.is_empty() {
            return Ok(cached);
        }
        let shared = self.shared.clone();
        let wanted = missing.clone();
        let read = rt::blocking(move || {
            shared
                .store
                .entries(&shared.channel, wanted.start, wanted.end, bytes)
        });
        let mut entries = read.await??;
        let complete = entries.len() as u64 == missing.end - missing.start;
        if complete {
            entries.extend(cached);
        } else if bytes == usize::MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "raft log of {} lacks entries of {missing:?}",
                    self.shared.channel
                ),
            ));
        }
        Ok(entries)
    }
}

impl Recent {
    fn push(&mut self, entry: Entry) {
        self.bytes += size_of_entry(&entry);
        self.last = Some(entry.log_id);
        self.entries.push_back(entry);
    }

    /// Lets go of the oldest entries that are on disk while there is too much in memory.
    fn evict(&mut self) {
        while self.bytes > CACHE_BYTES
            && let Some(oldest) = self.entries.front()
            && Some(oldest.log_id.index()) <= self.durable
        {
            self.bytes -= size_of_entry(oldest);
            self.entries.pop_front();
        }
    }
}

/// The position that a stored snapshot ends at.
fn position_of(snapshot: bytes::Bytes) -> io::Result<Option<LogId>> {
    let snapshot = wire::Snapshot::decode(snapshot).map_err(codec::CodecError::from)?;
    Ok(snapshot.id.as_ref().map(codec::read_log_id))
}

/// About how much memory an entry takes.
fn size_of_entry(entry: &Entry) -> usize {
    128 + match &entry.payload {
        EntryPayload::Normal(Proposal::Batch(envelopes)) => {
            envelopes.iter().map(|envelope| envelope.len() + 32).sum()
        }
        EntryPayload::Normal(Proposal::Config(envelope)) => envelope.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftLogReader<TypeConfig> for ChannelLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let shared = self.shared.clone();
        let read = rt::blocking(move || shared.store.record(&shared.channel, Record::Vote));
        read.await??.map(store::decode_vote).transpose()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, APPEND_BYTES).await
    }
}

impl RaftLogStorage<TypeConfig> for ChannelLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let recent = self.shared.recent.lock();
        Ok(LogState {
            last_purged_log_id: recent.purged,
            last_log_id: recent.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        if crate::deliberate::VOTE_UNSYNCED.is_on() {
            let channel = self.shared.channel.clone();
            let put = Change::Put {
                channel,
                record: Record::Vote,
                value: store::encode_vote(vote),
            };
            let (changes, done) = (vec![put], Done::Nobody);
            return self.shared.store.write(Write { changes, done }).await;
        }
        self.put(Record::Vote, store::encode_vote(vote)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| entry.log_id) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let truncations = {
            let mut recent = self.shared.recent.lock();
            for entry in &entries {
                recent.push(entry.clone());
            }
            recent.truncations
        };
        let recent = self.shared.recent.clone();
        let done = Done::Call(Box::new(move |outcome| {
            if outcome.is_ok() {
                let mut recent = recent.lock();
                if recent.truncations == truncations {
                    recent.durable = recent.durable.max(Some(last.index()));
                    recent.evict();
                }
            }
            callback.io_completed(outcome);
        }));
        let channel = self.shared.channel.clone();
        let changes = vec![Change::Entries { channel, entries }];
        self.shared.store.write(Write { changes, done }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let first = last.map_or(0, |last| last.index() + 1);
        {
            let mut recent = self.shared.recent.lock();
            let recent = &mut *recent;
            while let Some(entry) = recent.entries.back()
                && entry.log_id.index() >= first
            {
                recent.bytes -= size_of_entry(entry);
                recent.entries.pop_back();
            }
            recent.last = last;
            recent.truncations += 1;
            recent.durable = recent.durable.min(last.map(|last| last.index()));
        }
        let channel = self.shared.channel.clone();
        let remove = Change::Remove {
            channel,
            first,
            last: u64::MAX - 1,
        };
        self.shared.store.write_durably(vec![remove]).await
    }

    async fn purge(&mut self, id: LogId) -> io::Result<()> {
        {
            let mut recent = self.shared.recent.lock();
            let recent = &mut *recent;
            while let Some(entry) = recent.entries.front()
                && entry.log_id.index() <= id.index()
            {
                recent.bytes -= size_of_entry(entry);
                recent.entries.pop_front();
            }
            recent.purged = recent.purged.max(Some(id));
            if recent.last < Some(id) {
                recent.last = Some(id);
                recent.durable = Some(id.index());
            }
        }
        let channel = self.shared.channel.clone();
        let value = codec::log_id(&id).encode_to_vec();
        let changes = vec![
            Change::Put {
                channel: channel.clone(),
                record: Record::Purged,
                value,
            },
            Change::Remove {
                channel,
                first: 0,
                last: id.index(),
            },
        ];
        self.shared
            .store
            .write(Write {
                changes,
                done: Done::Nobody,
            })
            .await
    }
}

#[cfg(test)]
mod tests;
