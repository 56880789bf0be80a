//! Disks of simulated nodes: what was written and not synced is lost, up to a random point, when
//! the machine loses power, and survives when only the process is killed.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_ledger::LedgerError;
use consilium_proto::common;
use consilium_proto::consilium::replication as wire;
use consilium_protocol::block;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;

use crate::error::OrdererError;
use crate::raft::store::{Record, entry_index, record_key};
use crate::storage::{BlockDisk, LogDisk, NodeDisk, Op, Visit, begin_chain};

/// How long one write takes.
pub(crate) fn latency() -> Duration {
    let random = crate::rt::random();
    // Now and then a disk takes its time.
    let longest = if random.is_multiple_of(50) {
        200_000
    } else {
        3_000
    };
    Duration::from_micros((random >> 8) % longest)
}

/// Block numbers and header hashes that any node has ever appended.
#[derive(Default)]
pub struct Witness {
    blocks: Mutex<BTreeMap<u64, Bytes>>,
    violations: Mutex<Vec<String>>,
}

impl Witness {
    fn saw(&self, number: u64, hash: &Bytes) {
        let mut blocks = self.blocks.lock();
        let first = blocks.entry(number).or_insert_with(|| hash.clone());
        if first != hash {
            self.report(format!("two different blocks {number} were appended"));
        }
    }

    /// Something that must not happen was seen.
    pub fn report(&self, violation: String) {
        self.violations.lock().push(violation);
    }

    /// What must not have happened, and did.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }
}

/// A log's content, and the writes that are not synced yet.
#[derive(Default)]
struct Log {
    current: BTreeMap<Vec<u8>, Bytes>,
    durable: BTreeMap<Vec<u8>, Bytes>,
    unsynced: Vec<Vec<Op>>,
}

/// A chain's content.
#[derive(Clone, Default)]
struct Blocks {
    blocks: Vec<Bytes>,
    last_hash: Option<Bytes>,
    extra: BTreeMap<Vec<u8>, Bytes>,
}

struct ChainWrite {
    block: Option<(Bytes, Bytes)>,
    extra: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Default)]
struct ChainContent {
    current: Blocks,
    durable: Blocks,
    unsynced: Vec<ChainWrite>,
}

#[derive(Default)]
struct Content {
    log: Log,
    chains: BTreeMap<String, Arc<Mutex<ChainContent>>>,
    created: u64,
    full: bool,
    fail_scan: bool,
    failed_scans: u64,
}

/// One node's disk; clones share it, and it outlives the node's process.
#[derive(Clone)]
pub struct Disk {
    content: Arc<Mutex<Content>>,
    witness: Arc<Witness>,
}

impl Disk {
    /// An empty disk.
    pub fn new(witness: Arc<Witness>) -> Self {
        Self {
            content: Arc::default(),
            witness,
        }
    }

    /// The machine loses power: of what was not synced a random part is left.
    pub fn lose_power(&self) {
        let mut content = self.content.lock();
        let log = &mut content.log;
        let kept = keep(log.unsynced.len());
        for batch in log.unsynced.drain(..).take(kept) {
            apply(&mut log.durable, batch);
        }
        log.current = log.durable.clone();
        for chain in content.chains.values() {
            let mut chain = chain.lock();
            let kept = keep(chain.unsynced.len());
            let writes: Vec<ChainWrite> = chain.unsynced.drain(..).take(kept).collect();
            for write in writes {
                chain.durable.apply(write);
            }
            chain.current = chain.durable.clone();
        }
    }

    /// A new, empty disk takes this one's place.
    pub fn wipe(&self) {
        let mut content = self.content.lock();
        content.log = Log::default();
        content.chains.clear();
    }

    /// Writes fail while it is full.
    pub fn set_full(&self, full: bool) {
        self.content.lock().full = full;
    }

    /// The next scan of the log fails.
    pub fn fail_next_scan(&self) {
        self.content.lock().fail_scan = true;
    }

    /// How many scans have failed.
    pub fn failed_scans(&self) -> u64 {
        self.content.lock().failed_scans
    }

    /// Entries of the only log on it that do not follow the one before.
    pub fn log_gaps(&self) -> Vec<(u64, u64)> {
        let content = self.content.lock();
        let keys = content.log.current.keys();
        let entries = keys.filter(|key| key.first() == Some(&b'l'));
        let indexes: Vec<u64> = entries.filter_map(|key| entry_index(key)).collect();
        let pairs = indexes.windows(2).map(|pair| (pair[0], pair[1]));
        pairs.filter(|(one, next)| one + 1 != *next).collect()
    }

    /// The snapshot of a channel's log.
    pub(crate) fn snapshot(&self, channel: &str) -> Option<wire::Snapshot> {
        let content = self.content.lock();
        let bytes = content
            .log
            .current
            .get(&record_key(channel, Record::Snapshot))?;
        wire::Snapshot::decode(bytes.clone()).ok()
    }

    /// The blocks of the only chain on it.
    pub fn blocks(&self) -> Vec<Bytes> {
        let content = self.content.lock();
        let chain = content.chains.values().next();
        chain.map_or_else(Vec::new, |chain| chain.lock().current.blocks.clone())
    }

    fn check_space(&self) -> io::Result<()> {
        if self.content.lock().full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

fn keep(unsynced: usize) -> usize {
    usize::try_from(crate::rt::random() % (unsynced as u64 + 1)).unwrap_or_default()
}

fn apply(to: &mut BTreeMap<Vec<u8>, Bytes>, batch: Vec<Op>) {
    for op in batch {
        match op {
            Op::Put(key, value) => {
                to.insert(key, value.into());
            }
            Op::Delete(key) => {
                to.remove(&key);
            }
            Op::DeleteRange(from, until) => {
                let gone: Vec<Vec<u8>> =
                    to.range(from..until).map(|(key, _)| key.clone()).collect();
                for key in gone {
                    to.remove(&key);
                }
            }
        }
    }
}

impl Blocks {
    fn apply(&mut self, write: ChainWrite) {
        if let Some((block, hash)) = write.block {
            self.blocks.push(block);
            self.last_hash = Some(hash);
        }
        for (key, value) in write.extra {
            self.extra.insert(key, value.into());
        }
    }
}

impl LogDisk for Disk {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.content.lock().log.current.get(key).cloned())
    }

    fn scan(&self, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        let mut content = self.content.lock();
        if std::mem::take(&mut content.fail_scan) {
            content.failed_scans += 1;
            return Err(io::Error::other("the disk cannot be read"));
        }
        let range = (Bound::Included(from), Bound::Excluded(until));
        for (key, value) in content.log.current.range::<[u8], _>(range) {
            if !visit(key, value.clone())? {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, from: &[u8], until: &[u8]) -> io::Result<Option<(Vec<u8>, Bytes)>> {
        let content = self.content.lock();
        let range = (Bound::Included(from), Bound::Excluded(until));
        let last = content.log.current.range::<[u8], _>(range).next_back();
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn write(&self, batch: Vec<Op>, sync: bool) -> io::Result<()> {
        self.check_space()?;
        let mut content = self.content.lock();
        let log = &mut content.log;
        apply(&mut log.current, batch.clone());
        log.unsynced.push(batch);
        if sync {
            for batch in log.unsynced.drain(..) {
                apply(&mut log.durable, batch);
            }
        }
        Ok(())
    }
}

impl NodeDisk for Disk {
    fn open_log(&self) -> Result<Arc<dyn LogDisk>, OrdererError> {
        Ok(Arc::new(self.clone()))
    }

    fn chains(&self) -> io::Result<Vec<String>> {
        Ok(self.content.lock().chains.keys().cloned().collect())
    }

    fn create_chain(&self, channel: &str, join: &common::Block) -> Result<String, OrdererError> {
        self.check_space()?;
        let chain = Chain::open(Arc::default(), self);
        begin_chain(&chain, join)?;
        let mut content = self.content.lock();
        content.created += 1;
        let name = format!("{channel}.{}", content.created);
        content.chains.insert(name.clone(), chain.content.clone());
        Ok(name)
    }

    fn open_chain(&self, name: &str) -> Result<Arc<dyn BlockDisk>, OrdererError> {
        let content = self.content.lock().chains.get(name).cloned();
        let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Arc::new(Chain::open(content, self)))
    }

    fn remove_chain(&self, name: &str) -> Result<(), OrdererError> {
        self.content.lock().chains.remove(name);
        Ok(())
    }
}

/// One process's view of a chain.
struct Chain {
    content: Arc<Mutex<ChainContent>>,
    height: watch::Sender<u64>,
    disk: Disk,
}

impl Chain {
    fn open(content: Arc<Mutex<ChainContent>>, disk: &Disk) -> Self {
        let height = content.lock().current.blocks.len() as u64;
        Self {
            content,
            height: watch::Sender::new(height),
            disk: disk.clone(),
        }
    }

    fn write(&self, write: ChainWrite, sync: bool) {
        let mut content = self.content.lock();
        let copy = ChainWrite {
            block: write.block.clone(),
            extra: write.extra.clone(),
        };
        content.current.apply(copy);
        content.unsynced.push(write);
        if sync {
            let writes = std::mem::take(&mut content.unsynced);
            for write in writes {
                content.durable.apply(write);
            }
        }
    }

    fn check_space(&self) -> Result<(), LedgerError> {
        self.disk
            .check_space()
            .map_err(|error| LedgerError::Damaged(error.to_string()))
    }
}

impl BlockDisk for Chain {
    fn height(&self) -> u64 {
        self.content.lock().current.blocks.len() as u64
    }

    fn last_header_hash(&self) -> Option<Bytes> {
        self.content.lock().current.last_hash.clone()
    }

    fn append(
        &self,
        block: &common::Block,
        extra: &[(Vec<u8>, Vec<u8>)],
        sync: bool,
    ) -> Result<(), LedgerError> {
        self.check_space()?;
        let (number, expected) = (block::number(block), self.height());
        if number != expected {
            return Err(LedgerError::UnexpectedBlock {
                expected,
                received: number,
            });
        }
        let header = block.header.clone().unwrap_or_default();
        if number > 0 && Some(&header.previous_hash) != self.last_header_hash().as_ref() {
            return Err(LedgerError::BrokenChain(number));
        }
        let hash = Bytes::copy_from_slice(&block::header_hash(&header));
        self.disk.witness.saw(number, &hash);
        let write = ChainWrite {
            block: Some((block.encode_to_vec().into(), hash)),
            extra: extra.to_vec(),
        };
        self.write(write, sync);
        self.height.send_replace(number + 1);
        Ok(())
    }

    fn put_extra(&self, extra: &[(Vec<u8>, Vec<u8>)], sync: bool) -> Result<(), LedgerError> {
        self.check_space()?;
        let write = ChainWrite {
            block: None,
            extra: extra.to_vec(),
        };
        self.write(write, sync);
        Ok(())
    }

    fn extra(&self, key: &[u8]) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.content.lock().current.extra.get(key).cloned())
    }

    fn block_bytes(&self, number: u64) -> Result<Option<Bytes>, LedgerError> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        Ok(self.content.lock().current.blocks.get(index).cloned())
    }

    fn block(&self, number: u64) -> Result<Option<common::Block>, LedgerError> {
        let bytes = self.block_bytes(number)?;
        let decoded = bytes.map(common::Block::decode).transpose();
        decoded.map_err(|error| LedgerError::Damaged(error.to_string()))
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }
}
