//! The database that all channels of a node share for their Raft logs, and the one thread that
//! writes it.
//!
//! Writes of all channels that have queued up go into one batch with one sync of the write-ahead
//! log, so that many channels cost hardly more syncs than one, and no reactor thread ever waits
//! for a disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::consilium::replication as wire;
use prost::Message;
use rocksdb::{DB, Direction, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};
use tokio::sync::{mpsc, oneshot};

use super::codec;
use super::types::Entry;

/// Writes that may queue up before appending waits.
const QUEUE: usize = 1024;
/// Bytes after which a batch is written though more is queued.
const BATCH_BYTES: usize = 32 << 20;

/// One record of a channel besides its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The vote.
    Vote,
    /// The last purged position.
    Purged,
    /// The last snapshot.
    Snapshot,
}

impl Record {
    fn tag(self) -> u8 {
        match self {
            Record::Vote => b'v',
            Record::Purged => b'p',
            Record::Snapshot => b's',
        }
    }
}

/// The shared database.
pub(crate) struct Store {
    database: Arc<DB>,
    writes: mpsc::Sender<Write>,
}

/// One channel's writes that belong together, and whom to tell.
pub(crate) struct Write {
    pub(crate) changes: Vec<Change>,
    pub(crate) done: Done,
}

pub(crate) enum Change {
    /// Encoded on the writing thread.
    Entries {
        channel: Arc<str>,
        entries: Vec<Entry>,
    },
    Put {
        channel: Arc<str>,
        record: Record,
        value: Vec<u8>,
    },
    /// Removes log entries from `first` up to and including `last`.
    Remove {
        channel: Arc<str>,
        first: u64,
        last: u64,
    },
    /// Removes everything of a channel.
    Forget { channel: Arc<str> },
}

pub(crate) enum Done {
    /// Nobody waits, and it need not be durable by itself.
    Nobody,
    /// Called on the writing thread once the write is durable, or has failed.
    Call(Box<dyn FnOnce(io::Result<()>) + Send>),
}

impl Store {
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>, rocksdb::Error> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(32 << 20);
        options.set_max_write_buffer_number(2);
        options.set_max_total_wal_size(128 << 20);
        options.set_keep_log_file_num(2);
        options.set_max_open_files(64);
        let database = Arc::new(DB::open(&options, path)?);
        let (writes, queue) = mpsc::channel(QUEUE);
        let writer = database.clone();
        // Ends when the store is dropped and the queue is empty.
        let spawned = std::thread::Builder::new()
            .name("raft-log-writer".into())
            .spawn(move || write_all(&writer, queue));
        if let Err(error) = spawned {
            // Without its thread every write fails, which stops the channels with an error.
            tracing::error!(%error, "cannot start the thread that writes raft logs");
        }
        Ok(Arc::new(Self { database, writes }))
    }

    /// Queues writes; they become durable in the order of the calls.
    pub(crate) async fn write(&self, write: Write) -> io::Result<()> {
        self.writes.send(write).await.map_err(|_| stopped())
    }

    /// Queues changes and waits until they are durable.
    pub(crate) async fn write_durably(&self, changes: Vec<Change>) -> io::Result<()> {
        let (done, finished) = oneshot::channel();
        let done = Done::Call(Box::new(move |outcome| {
            // Whoever waited may be gone.
            let _ = done.send(outcome);
        }));
        self.write(Write { changes, done }).await?;
        finished.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// A record of a channel. Blocks on the disk.
    pub(crate) fn record(&self, channel: &str, record: Record) -> io::Result<Option<Bytes>> {
        let value = self
            .database
            .get(record_key(channel, record))
            .map_err(io::Error::other)?;
        Ok(value.map(Bytes::from))
    }

    /// Entries from `start` on, before `end`, until one does not follow or `bytes` are exceeded
    /// (the entry that exceeds them is still there). Blocks on the disk.
    pub(crate) fn entries(
        &self,
        channel: &str,
        start: u64,
        end: u64,
        bytes: usize,
    ) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut size = 0;
        let first = entry_key(channel, start);
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(entry_key(channel, end));
        let from = IteratorMode::From(&first, Direction::Forward);
        for (item, expected) in self.database.iterator_opt(from, read).zip(start..end) {
            let (key, value) = item.map_err(io::Error::other)?;
            if entry_index(&key) != Some(expected) {
                break;
            }
            size += value.len();
            found.push(codec::decode_entry(value.into_vec().into())?);
            if size > bytes {
                break;
            }
        }
        Ok(found)
    }

    /// The last entry of a channel's log. Blocks on the disk.
    pub(crate) fn last(&self, channel: &str) -> io::Result<Option<Entry>> {
        let (low, high) = (entry_key(channel, 0), entry_key(channel, u64::MAX));
        let backward = IteratorMode::From(&high, Direction::Reverse);
        let Some(item) = self.database.iterator(backward).next() else {
            return Ok(None);
        };
        let (key, value) = item.map_err(io::Error::other)?;
        if *key < low[..] {
            return Ok(None);
        }
        Ok(Some(codec::decode_entry(value.into_vec().into())?))
    }
}

fn stopped() -> io::Error {
    io::Error::other("the raft log writer has stopped")
}

/// The writing thread: waits for a write, adds what else is queued, syncs once, tells everybody.
fn write_all(database: &DB, mut queue: mpsc::Receiver<Write>) {
    let mut failed: Option<String> = None;
    while let Some(first) = queue.blocking_recv() {
        let mut batch = WriteBatch::default();
        let mut waiting = Vec::new();
        let mut next = Some(first);
        let mut sync = false;
        while let Some(write) = next {
            for change in &write.changes {
                add(&mut batch, change);
            }
            sync |= !matches!(write.done, Done::Nobody);
            waiting.push(write.done);
            next = if batch.size_in_bytes() < BATCH_BYTES {
                queue.try_recv().ok()
            } else {
                None
            };
        }
        // After a failed write nothing may follow: the log would have a hole.
        if failed.is_none() {
            let started = std::time::Instant::now();
            let mut options = WriteOptions::default();
            options.set_sync(sync);
            if let Err(error) = database.write_opt(batch, &options) {
                tracing::error!(%error, "cannot write raft log");
                failed = Some(error.to_string());
            }
            metrics::histogram!("consensus_etcdraft_data_persist_duration")
                .record(started.elapsed().as_secs_f64());
        }
        for done in waiting {
            let outcome = failed
                .clone()
                .map_or(Ok(()), |error| Err(io::Error::other(error)));
            match done {
                Done::Nobody => {}
                Done::Call(call) => call(outcome),
            }
        }
    }
}

fn add(batch: &mut WriteBatch, change: &Change) {
    match change {
        Change::Entries { channel, entries } => {
            for entry in entries {
                let key = entry_key(channel, entry.log_id.index());
                batch.put(key, codec::entry(entry).encode_to_vec());
            }
        }
        Change::Put {
            channel,
            record,
            value,
        } => batch.put(record_key(channel, *record), value),
        Change::Remove {
            channel,
            first,
            last,
        } => {
            batch.delete_range(
                entry_key(channel, *first),
                entry_key(channel, last.saturating_add(1)),
            );
        }
        Change::Forget { channel } => {
            batch.delete_range(entry_key(channel, 0), entry_key(channel, u64::MAX));
            for record in [Record::Vote, Record::Purged, Record::Snapshot] {
                batch.delete(record_key(channel, record));
            }
        }
    }
}

/// Channel names hold no zero byte, so no key of one channel lies among another's.
fn entry_key(channel: &str, index: u64) -> Vec<u8> {
    [b"l", channel.as_bytes(), &[0], &index.to_be_bytes()].concat()
}

fn entry_index(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk()?))
}

fn record_key(channel: &str, record: Record) -> Vec<u8> {
    [&[record.tag()], channel.as_bytes()].concat()
}

/// The vote as it is stored.
pub(crate) fn encode_vote(vote: &super::types::Vote) -> Vec<u8> {
    codec::vote(vote).encode_to_vec()
}

/// The vote as it was stored.
pub(crate) fn decode_vote(bytes: Bytes) -> io::Result<super::types::Vote> {
    let vote = wire::Vote::decode(bytes).map_err(codec::CodecError::from)?;
    Ok(codec::read_vote(Some(&vote))?)
}
