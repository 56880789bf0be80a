//! What a node keeps on its disk, behind narrow traits: a key-value store for all Raft logs, and a
//! chain of blocks for each channel. In production both are RocksDB; a simulator has its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::{BlockStore, LedgerError, Room};
use consilium_proto::common;
use consilium_protocol::block;
use prost::Message;
use rocksdb::{DB, Direction, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};
use tokio::sync::watch;

use crate::error::OrdererError;
use crate::raft::store::is_entry_key;

/// The key under which a chain keeps the block that it was joined with, if that is not its first.
pub(crate) const JOIN_BLOCK: &[u8] = b"join/block";

/// The disk of a node.
pub trait NodeDisk: Send + Sync {
    /// Opens the store of all Raft logs. Blocks on the disk.
    fn open_log(&self) -> Result<Arc<dyn LogDisk>, OrdererError>;

    /// Names of the chains that are there; clears away what a join or a removal left half-done.
    fn chains(&self) -> io::Result<Vec<String>>;

    /// Makes the chain of a channel, all or nothing, and gives its name. A genesis block becomes
    /// its first block; a later one is kept under [`JOIN_BLOCK`] until the blocks before it are
    /// pulled.
    fn create_chain(&self, channel: &str, join: &common::Block) -> Result<String, OrdererError>;

    /// Opens a chain. Blocks on the disk.
    fn open_chain(&self, name: &str) -> Result<Arc<dyn BlockDisk>, OrdererError>;

    /// Deletes a chain; whoever still reads it may go on.
    fn remove_chain(&self, name: &str) -> Result<(), OrdererError>;
}

/// One write to a [`LogDisk`].
#[derive(Clone, Debug)]
pub enum Op {
    /// Sets a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key.
    Delete(Vec<u8>),
    /// Removes the keys from the first on, before the second.
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// Called with each key and value of a scan; the scan ends when it gives false.
pub type Visit<'a> = dyn FnMut(&[u8], Bytes) -> io::Result<bool> + 'a;

/// An ordered key-value store. Everything blocks on the disk.
pub trait LogDisk: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>>;

    /// Visits the keys from `from` on, before `until`, in order.
    fn scan(&self, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> io::Result<()>;

    /// The last key from `from` on, before `until`, and its value.
    fn last(&self, from: &[u8], until: &[u8]) -> io::Result<Option<(Vec<u8>, Bytes)>>;

    /// Writes all or nothing. With `sync` it and everything before it is on disk when this returns.
    /// On a full disk it waits.
    fn write(&self, batch: Vec<Op>, sync: bool) -> io::Result<()>;

    /// What keeps a write waiting, if one waits for room.
    fn missing_room(&self) -> Option<String> {
        None
    }

    /// Writes wait for room no more, now and later: they fail.
    fn give_up(&self) {}
}

/// A chain of blocks. Everything but `height`, `last_header_hash` and `subscribe` blocks on the
/// disk.
pub trait BlockDisk: Send + Sync {
    /// Number of blocks.
    fn height(&self) -> u64;

    /// Header hash of the last block.
    fn last_header_hash(&self) -> Option<Bytes>;

    /// Appends the next block and records with it, all or nothing. On a full disk it waits, and so
    /// does [`put_extra`](Self::put_extra).
    fn append(
        &self,
        block: &common::Block,
        extra: &[(Vec<u8>, Vec<u8>)],
        sync: bool,
    ) -> Result<(), LedgerError>;

    /// Stores records; with `sync`, everything before is on disk too when this returns.
    fn put_extra(&self, extra: &[(Vec<u8>, Vec<u8>)], sync: bool) -> Result<(), LedgerError>;

    /// A record.
    fn extra(&self, key: &[u8]) -> Result<Option<Bytes>, LedgerError>;

    /// An encoded block.
    fn block_bytes(&self, number: u64) -> Result<Option<Bytes>, LedgerError>;

    /// A block.
    fn block(&self, number: u64) -> Result<Option<common::Block>, LedgerError>;

    /// Follows the height.
    fn subscribe(&self) -> watch::Receiver<u64>;

    /// What keeps a write waiting, if one waits for room.
    fn missing_room(&self) -> Option<String> {
        None
    }

    /// Writes wait for room no more, now and later: they fail.
    fn give_up(&self) {}
}

/// Block files, which wait for room.
struct FileChain {
    store: Arc<BlockStore>,
    path: PathBuf,
    room: Room,
}

impl FileChain {
    fn open(path: PathBuf) -> Result<Self, LedgerError> {
        Ok(Self {
            store: BlockStore::open(&path)?,
            path,
            room: Room::default(),
        })
    }
}

impl BlockDisk for FileChain {
    fn height(&self) -> u64 {
        self.store.height()
    }

    fn last_header_hash(&self) -> Option<Bytes> {
        self.store.last_header_hash()
    }

    fn append(
        &self,
        block: &common::Block,
        extra: &[(Vec<u8>, Vec<u8>)],
        sync: bool,
    ) -> Result<(), LedgerError> {
        let append = || self.store.append(block, extra, sync);
        self.room
            .wait_for(self.path.display(), LedgerError::is_disk_full, append)
    }

    fn put_extra(&self, extra: &[(Vec<u8>, Vec<u8>)], sync: bool) -> Result<(), LedgerError> {
        let put = || self.store.put_extra(extra, sync);
        self.room
            .wait_for(self.path.display(), LedgerError::is_disk_full, put)
    }

    fn extra(&self, key: &[u8]) -> Result<Option<Bytes>, LedgerError> {
        self.store.extra(key)
    }

    fn block_bytes(&self, number: u64) -> Result<Option<Bytes>, LedgerError> {
        self.store.block_bytes(number)
    }

    fn block(&self, number: u64) -> Result<Option<common::Block>, LedgerError> {
        self.store.block(number)
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.store.subscribe()
    }

    fn missing_room(&self) -> Option<String> {
        self.room.missing()
    }

    fn give_up(&self) {
        self.room.give_up();
    }
}

/// What a new chain begins with.
pub(crate) fn begin_chain(disk: &dyn BlockDisk, join: &common::Block) -> Result<(), LedgerError> {
    if block::number(join) == 0 {
        disk.append(join, &[], true)
    } else {
        disk.put_extra(&[(JOIN_BLOCK.to_vec(), join.encode_to_vec())], true)
    }
}

/// A folder: `raft/` for the logs, `chains/` with a folder for each chain.
pub(crate) struct FileDisk {
    folder: PathBuf,
}

impl FileDisk {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let disk = Self {
            folder: folder.to_owned(),
        };
        std::fs::create_dir_all(disk.chains_dir())?;
        Ok(disk)
    }

    fn chains_dir(&self) -> PathBuf {
        self.folder.join("chains")
    }
}

impl NodeDisk for FileDisk {
    fn open_log(&self) -> Result<Arc<dyn LogDisk>, OrdererError> {
        Ok(Arc::new(RocksLog::open(&self.folder.join("raft"))?))
    }

    fn chains(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.chains_dir())? {
            let entry = entry?;
            match entry.file_name().into_string() {
                Ok(name) if name.ends_with(".chain") => names.push(name),
                _ => std::fs::remove_dir_all(entry.path())?,
            }
        }
        Ok(names)
    }

    fn create_chain(&self, channel: &str, join: &common::Block) -> Result<String, OrdererError> {
        // A name that no chain of this process ever had: readers of a removed channel may hold
        // its old folder's database open for a while.
        let now = std::time::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default()
            .as_nanos();
        let name = format!("{channel}.{now}.chain");
        let path = self.chains_dir().join(&name);
        let staging = path.with_extension("joining");
        if staging.exists() {
            std::fs::remove_dir_all(&staging)?;
        }
        let chain = FileChain::open(staging.clone())?;
        // Whoever joins on a full disk is told so.
        chain.give_up();
        begin_chain(&chain, join)?;
        drop(chain);
        std::fs::rename(&staging, &path)?;
        Ok(name)
    }

    fn open_chain(&self, name: &str) -> Result<Arc<dyn BlockDisk>, OrdererError> {
        Ok(Arc::new(FileChain::open(self.chains_dir().join(name))?))
    }

    fn remove_chain(&self, name: &str) -> Result<(), OrdererError> {
        let path = self.chains_dir().join(name);
        let leaving = path.with_extension("removing");
        std::fs::rename(&path, &leaving)?;
        std::fs::remove_dir_all(&leaving)?;
        Ok(())
    }
}

/// Bytes that log entries leave free, for what makes room again or keeps a node in its group: votes,
/// removals, and what RocksDB itself has to write.
const LOG_RESERVE: u64 = 32 << 20;

/// RocksDB, which waits for room.
struct RocksLog {
    database: DB,
    path: PathBuf,
    room: Room,
}

impl RocksLog {
    fn open(path: &Path) -> Result<Self, rocksdb::Error> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(32 << 20);
        options.set_max_write_buffer_number(2);
        options.set_max_total_wal_size(128 << 20);
        options.set_keep_log_file_num(2);
        options.set_max_open_files(64);
        Ok(Self {
            database: DB::open(&options, path)?,
            path: path.to_owned(),
            room: Room::default(),
        })
    }

    fn try_write(&self, batch: &[Op], sync: bool) -> io::Result<()> {
        let brings_entries = batch
            .iter()
            .any(|op| matches!(op, Op::Put(key, _) if is_entry_key(key)));
        if brings_entries {
            let free = rustix::fs::statvfs(&self.path)?;
            let free = free.f_bavail.saturating_mul(free.f_frsize);
            if free < LOG_RESERVE {
                let reason = format!("{free} bytes are free, {LOG_RESERVE} are kept free");
                return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
            }
        }
        let mut writes = WriteBatch::default();
        for op in batch {
            match op {
                Op::Put(key, value) => writes.put(key, value),
                Op::Delete(key) => writes.delete(key),
                Op::DeleteRange(from, until) => writes.delete_range(from, until),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.database.write_opt(writes, &options).map_err(|error| {
            // RocksDB passes the system's own words on, and nothing else.
            let text = error.to_string();
            let full = ["No space left on device", "Disk quota exceeded"];
            match full.iter().any(|words| text.contains(words)) {
                true => io::Error::new(io::ErrorKind::StorageFull, text),
                false => io::Error::other(error),
            }
        })
    }
}

impl LogDisk for RocksLog {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let value = self.database.get(key).map_err(io::Error::other)?;
        Ok(value.map(Bytes::from))
    }

    fn scan(&self, from: &[u8], until: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(until.to_vec());
        let from = IteratorMode::From(from, Direction::Forward);
        for item in self.database.iterator_opt(from, read) {
            let (key, value) = item.map_err(io::Error::other)?;
            if !visit(&key, value.into_vec().into())? {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, from: &[u8], until: &[u8]) -> io::Result<Option<(Vec<u8>, Bytes)>> {
        let mut read = ReadOptions::default();
        read.set_iterate_lower_bound(from.to_vec());
        read.set_iterate_upper_bound(until.to_vec());
        let Some(item) = self.database.iterator_opt(IteratorMode::End, read).next() else {
            return Ok(None);
        };
        let (key, value) = item.map_err(io::Error::other)?;
        Ok(Some((key.into_vec(), value.into_vec().into())))
    }

    fn write(&self, batch: Vec<Op>, sync: bool) -> io::Result<()> {
        let is_full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
        let write = || self.try_write(&batch, sync);
        self.room.wait_for(self.path.display(), is_full, write)
    }

    fn missing_room(&self) -> Option<String> {
        self.room.missing()
    }

    fn give_up(&self) {
        self.room.give_up();
    }
}
