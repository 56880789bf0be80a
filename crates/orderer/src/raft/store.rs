//! The store that all channels of a node share for their Raft logs, and the one writer of it.
//!
//! Writes of all channels that have queued up go into one batch with one sync of the write-ahead
//! log, so that many channels cost hardly more syncs than one, and no reactor thread ever waits
//! for a disk.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use consilium_proto::consilium::replication as wire;
use prost::Message;
use tokio::sync::{mpsc, oneshot};

use super::codec;
use super::types::Entry;
#[cfg(feature = "simulation")]
use crate::rt;
use crate::storage::{LogDisk, Op};

/// Writes that may queue up before appending waits.
const QUEUE: usize = 1024;
/// Bytes after which a batch is written though more is queued.
const BATCH_BYTES: usize = 32 << 20;

/// One record of a channel besides its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// This node's Raft id.
    Node,
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
            Record::Node => b'n',
            Record::Vote => b'v',
            Record::Purged => b'p',
            Record::Snapshot => b's',
        }
    }
}

/// The shared store.
pub(crate) struct Store {
    disk: Arc<dyn LogDisk>,
    /// `None` only while the store is dropped.
    writes: Option<mpsc::Sender<Write>>,
    writer: Option<JoinHandle<()>>,
}

/// One channel's writes that belong together, and whom to tell.
pub(crate) struct Write {
    pub(crate) changes: Vec<Change>,
    pub(crate) done: Done,
}

pub(crate) enum Change {
    /// Encoded by the writer.
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

impl Change {
    fn channel(&self) -> &Arc<str> {
        match self {
            Change::Entries { channel, .. }
            | Change::Put { channel, .. }
            | Change::Remove { channel, .. }
            | Change::Forget { channel } => channel,
        }
    }
}

pub(crate) enum Done {
    /// Nobody waits, and it need not be durable by itself.
    Nobody,
    /// Called by the writer once the write is durable, or has failed.
    Call(Box<dyn FnOnce(io::Result<()>) + Send>),
}

impl Write {
    /// A write that somebody waits for.
    pub(crate) fn durable(changes: Vec<Change>) -> (Self, Written) {
        let (done, finished) = oneshot::channel();
        let done = Done::Call(Box::new(move |outcome| {
            // Whoever waited may be gone.
            let _ = done.send(outcome);
        }));
        (Self { changes, done }, Written(finished))
    }
}

/// What becomes of a write.
pub(crate) struct Written(oneshot::Receiver<io::Result<()>>);

impl Written {
    /// Resolves once the write is durable, or has failed.
    pub(crate) async fn outcome(self) -> io::Result<()> {
        self.0.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Store {
    /// Starts the writer; it ends when the store is dropped and the queue is empty.
    pub(crate) fn new(disk: Arc<dyn LogDisk>) -> Arc<Self> {
        let (writes, queue) = mpsc::channel(QUEUE);
        let writes = Some(writes);
        let mut writer = Writer {
            disk: disk.clone(),
            failed: None,
        };
        #[cfg(feature = "simulation")]
        if rt::is_simulated() {
            rt::spawn(writer.run_simulated(queue));
            let writer = None;
            return Arc::new(Self {
                disk,
                writes,
                writer,
            });
        }
        let spawned = std::thread::Builder::new()
            .name("raft-log-writer".into())
            .spawn(move || writer.run(queue));
        let writer = match spawned {
            Ok(writer) => Some(writer),
            Err(error) => {
                // Without its thread every write fails, which stops the channels with an error.
                tracing::error!(%error, "cannot start the thread that writes raft logs");
                None
            }
        };
        Arc::new(Self {
            disk,
            writes,
            writer,
        })
    }

    /// Queues writes; they become durable in the order of the calls.
    pub(crate) async fn write(&self, write: Write) -> io::Result<()> {
        self.place().await?.send(write);
        Ok(())
    }

    /// Waits for a place in the queue, to be filled later without waiting.
    pub(crate) async fn place(&self) -> io::Result<mpsc::Permit<'_, Write>> {
        let writes = self.writes.as_ref().ok_or_else(stopped)?;
        writes.reserve().await.map_err(|_| stopped())
    }

    /// Queues changes and waits until they are durable.
    pub(crate) async fn write_durably(&self, changes: Vec<Change>) -> io::Result<()> {
        let (write, written) = Write::durable(changes);
        self.write(write).await?;
        written.outcome().await
    }

    /// What keeps writes waiting, if they wait for room on the disk.
    pub(crate) fn missing_room(&self) -> Option<String> {
        self.disk.missing_room()
    }

    /// Writes wait for room no more, now and later: they fail.
    pub(crate) fn give_up(&self) {
        self.disk.give_up();
    }

    /// A record of a channel. Blocks on the disk.
    pub(crate) fn record(&self, channel: &str, record: Record) -> io::Result<Option<Bytes>> {
        self.disk.get(&record_key(channel, record))
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
        let (from, until) = (entry_key(channel, start), entry_key(channel, end));
        let mut expected = start;
        self.disk.scan(&from, &until, &mut |key, value| {
            if entry_index(key) != Some(expected) {
                return Ok(false);
            }
            expected += 1;
            size += value.len();
            found.push(codec::decode_entry(value)?);
            Ok(size <= bytes)
        })?;
        Ok(found)
    }

    /// The last entry of a channel's log. Blocks on the disk.
    pub(crate) fn last(&self, channel: &str) -> io::Result<Option<Entry>> {
        let (from, until) = (entry_key(channel, 0), entry_key(channel, u64::MAX));
        match self.disk.last(&from, &until)? {
            Some((_, value)) => Ok(Some(codec::decode_entry(value)?)),
            None => Ok(None),
        }
    }
}

impl Drop for Store {
    /// Waits for the last write: the process must not end while the database is being closed.
    fn drop(&mut self) {
        self.writes = None;
        self.disk.give_up();
        if let Some(writer) = self.writer.take()
            && writer.thread().id() != std::thread::current().id()
        {
            // A writer that panicked has nothing more to write.
            let _ = writer.join();
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the raft log writer has stopped")
}

/// Waits for a write, adds what else is queued, syncs once, tells everybody.
struct Writer {
    disk: Arc<dyn LogDisk>,
    /// Why nothing is written any more.
    failed: Option<String>,
}

/// Queued writes that go to the disk together.
struct Gathered {
    channels: BTreeSet<Arc<str>>,
    batch: Vec<Op>,
    waiting: Vec<Done>,
    sync: bool,
}

impl Writer {
    fn run(&mut self, mut queue: mpsc::Receiver<Write>) {
        while let Some(first) = queue.blocking_recv() {
            let gathered = gather(first, &mut queue);
            let (waiting, outcome) = self.write(gathered);
            tell(waiting, &outcome);
        }
    }

    #[cfg(feature = "simulation")]
    async fn run_simulated(mut self, mut queue: mpsc::Receiver<Write>) {
        use crate::simulation::disk::latency;
        while let Some(first) = queue.recv().await {
            rt::sleep(latency()).await;
            let gathered = gather(first, &mut queue);
            let (waiting, outcome) = self.write(gathered);
            // It is on the disk, and nobody knows yet.
            rt::sleep(latency()).await;
            tell(waiting, &outcome);
        }
    }

    fn write(&mut self, gathered: Gathered) -> (Vec<Done>, Result<(), String>) {
        let Gathered {
            channels,
            batch,
            waiting,
            sync,
        } = gathered;
        // After a failed write nothing may follow: the log would have a hole.
        if self.failed.is_none() {
            let started = std::time::Instant::now();
            if let Err(error) = self.disk.write(batch, sync) {
                tracing::error!(%error, "cannot write raft log");
                self.failed = Some(error.to_string());
            }
            crate::metrics::log_written(&channels, waiting.len(), sync, started.elapsed());
        }
        (waiting, self.failed.clone().map_or(Ok(()), Err))
    }
}

fn gather(first: Write, queue: &mut mpsc::Receiver<Write>) -> Gathered {
    let mut gathered = Gathered {
        channels: BTreeSet::new(),
        batch: Vec::new(),
        waiting: Vec::new(),
        sync: false,
    };
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(write) = next {
        for change in write.changes {
            gathered.channels.insert(change.channel().clone());
            bytes += add(&mut gathered.batch, change);
        }
        gathered.sync |= !matches!(write.done, Done::Nobody);
        gathered.waiting.push(write.done);
        next = if bytes < BATCH_BYTES {
            queue.try_recv().ok()
        } else {
            None
        };
    }
    gathered
}

fn tell(waiting: Vec<Done>, outcome: &Result<(), String>) {
    for done in waiting {
        match done {
            Done::Nobody => {}
            Done::Call(call) => call(outcome.clone().map_err(io::Error::other)),
        }
    }
}

/// Gives about how many bytes were added.
fn add(batch: &mut Vec<Op>, change: Change) -> usize {
    match change {
        Change::Entries { channel, entries } => {
            let mut bytes = 0;
            for entry in entries {
                let value = codec::entry(&entry).encode_to_vec();
                bytes += value.len();
                batch.push(Op::Put(entry_key(&channel, entry.log_id.index()), value));
            }
            return bytes;
        }
        Change::Put {
            channel,
            record,
            value,
        } => batch.push(Op::Put(record_key(&channel, record), value)),
        Change::Remove {
            channel,
            first,
            last,
        } => batch.push(Op::DeleteRange(
            entry_key(&channel, first),
            entry_key(&channel, last.saturating_add(1)),
        )),
        Change::Forget { channel } => {
            batch.push(Op::DeleteRange(
                entry_key(&channel, 0),
                entry_key(&channel, u64::MAX),
            ));
            for record in [Record::Node, Record::Vote, Record::Purged, Record::Snapshot] {
                batch.push(Op::Delete(record_key(&channel, record)));
            }
        }
    }
    64
}

/// Channel names hold no zero byte, so no key of one channel lies among another's.
pub(crate) fn entry_key(channel: &str, index: u64) -> Vec<u8> {
    [b"l", channel.as_bytes(), &[0], &index.to_be_bytes()].concat()
}

/// Whether this is the key of a log entry.
pub(crate) fn is_entry_key(key: &[u8]) -> bool {
    key.first() == Some(&b'l')
}

/// The index of the entry with this key; of other keys nothing that means anything.
pub(crate) fn entry_index(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk()?))
}

pub(crate) fn record_key(channel: &str, record: Record) -> Vec<u8> {
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
