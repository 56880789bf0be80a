//! One folder per channel: `blocks/` with the block files, `database/` with RocksDB, its column
//! families and limits; snapshots that own what they read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, IteratorMode, Options, ReadOptions, Snapshot as RawSnapshot, WriteBatch,
    WriteOptions,
};

use crate::blockfile::{BlockFiles, sync_folder};
use crate::error::{LedgerError, Owner};
use crate::failpoint::Point;
use crate::options::StoreOptions;

/// A column family; the name is what stands on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Heights, hashes, names: a handful of small records ("default" must exist in RocksDB).
    Meta,
    /// Block number to place in the block files and header hash, header hash to number, transaction
    /// id to its first position.
    Index,
    /// Public and hashed state.
    State,
    /// (namespace, key) to the transactions that wrote it.
    History,
    /// Clear values of collections.
    PrivateState,
    /// Clear read-write sets by block, and what expires when.
    PrivateData,
    /// Clear read-write sets whose transactions are not committed yet.
    Transient,
    /// Definitions and records of JSON indexes.
    QueryIndex,
}

impl Family {
    /// Whether all of it can be made again from the block files and the rest. Indexes are declared
    /// again by whoever opens the ledger.
    fn follows_from_blocks(self) -> bool {
        match self {
            Family::Index
            | Family::State
            | Family::History
            | Family::PrivateState
            | Family::QueryIndex => true,
            Family::Meta | Family::PrivateData | Family::Transient => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Family::Meta => "default",
            Family::Index => "index",
            Family::State => "state",
            Family::History => "history",
            Family::PrivateState => "private_state",
            Family::PrivateData => "private_data",
            Family::Transient => "transient",
            Family::QueryIndex => "query_index",
        }
    }
}

/// Folder of RocksDB within a channel's.
const DATABASE: &str = "database";
/// Folder of the block files.
const BLOCKS: &str = "blocks";

/// How often opening beside another process is tried again.
const BESIDE_ATTEMPTS: u32 = 10;

/// What an orderer needs.
const BLOCK_FAMILIES: &[Family] = &[Family::Meta, Family::Index];

/// What a peer needs.
const LEDGER_FAMILIES: &[Family] = &[
    Family::Meta,
    Family::Index,
    Family::State,
    Family::History,
    Family::PrivateState,
    Family::PrivateData,
    Family::Transient,
    Family::QueryIndex,
];

fn families(owner: Owner) -> &'static [Family] {
    match owner {
        Owner::Peer => LEDGER_FAMILIES,
        Owner::Orderer => BLOCK_FAMILIES,
    }
}

const MIB: usize = 1024 * 1024;

/// Blocks read from disk by all databases of this process share one cache.
const BLOCK_CACHE_BYTES: usize = 32 * MIB;

fn block_cache() -> &'static Cache {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    CACHE.get_or_init(|| Cache::new_lru_cache(BLOCK_CACHE_BYTES))
}

/// An open folder. Cheap operations only: no caching and no locking of its own.
pub(crate) struct Database {
    db: DB,
    owner: Owner,
    pub(crate) files: Arc<BlockFiles>,
    pub(crate) options: StoreOptions,
}

impl Database {
    /// Opens the folder, and makes what is missing in it.
    pub(crate) fn open(
        folder: &Path,
        owner: Owner,
        options: &StoreOptions,
    ) -> Result<Arc<Self>, LedgerError> {
        let path = folder.join(DATABASE);
        std::fs::create_dir_all(&path)
            .map_err(|source| LedgerError::io("making", &path, source))?;
        let families = families(owner).iter();
        let descriptors = families.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(*family, block_cache()))
        });
        let db = DB::open_cf_descriptors(&database_options(), &path, descriptors)
            .map_err(|source| LedgerError::database("opening", &path, owner, source))?;
        // The database before the files: its lock says that nobody else has them.
        let files = BlockFiles::open(&folder.join(BLOCKS), owner, options)?;
        sync_folder(folder)?;
        Ok(Arc::new(Self {
            db,
            owner,
            files: Arc::new(files),
            options: options.clone(),
        }))
    }

    /// Opens the folder of a peer to read it as it is now, whether another process has it open or
    /// not; RocksDB writes its log to `log`. There are no snapshots of such a database.
    pub(crate) fn open_beside(folder: &Path, log: &Path) -> Result<Arc<Self>, LedgerError> {
        let (path, owner) = (folder.join(DATABASE), Owner::Peer);
        let mut options = database_options();
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        // Files that the other process deletes stay readable as long as they are open; RocksDB
        // supports no bound here.
        options.set_max_open_files(-1);
        // What is in memory says nothing about the disk.
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let open = || {
            let families = families(owner).iter();
            let descriptors = families.map(|family| {
                ColumnFamilyDescriptor::new(family.name(), family_options(*family, &cache))
            });
            DB::open_cf_descriptors_as_secondary(&options, path.as_path(), log, descriptors)
        };
        // A file may go between the moment when it is listed and when it is opened.
        let mut opened = open();
        for _ in 0..BESIDE_ATTEMPTS {
            if opened.is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            opened = open();
        }
        let db = opened.map_err(|source| LedgerError::database("opening", &path, owner, source))?;
        Ok(Arc::new(Self {
            db,
            owner,
            files: Arc::new(Self::files_of(folder, owner)),
            options: StoreOptions::default(),
        }))
    }

    /// A new database of a peer over block files that are only read.
    pub(crate) fn open_scratch(
        path: &Path,
        files: Arc<BlockFiles>,
        options: &StoreOptions,
    ) -> Result<Arc<Self>, LedgerError> {
        let owner = Owner::Peer;
        let families = families(owner).iter();
        let descriptors = families.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(*family, block_cache()))
        });
        let db = DB::open_cf_descriptors(&database_options(), path, descriptors)
            .map_err(|source| LedgerError::database("opening", path, owner, source))?;
        Ok(Arc::new(Self {
            db,
            owner,
            files,
            options: options.clone(),
        }))
    }

    /// The block files of a chain, for reading, without its database.
    pub(crate) fn files_of(folder: &Path, owner: Owner) -> BlockFiles {
        BlockFiles::open_read_only(&folder.join(BLOCKS), owner, &StoreOptions::default())
    }

    /// Folder of RocksDB within a channel's.
    pub(crate) fn path_in(folder: &Path) -> PathBuf {
        folder.join(DATABASE)
    }

    /// Whether a folder holds a chain.
    pub(crate) fn exists(folder: &Path) -> bool {
        folder.join(BLOCKS).is_dir()
    }

    /// For `map_err`: names what was being done.
    fn failed(&self, doing: &'static str) -> impl Fn(rocksdb::Error) -> LedgerError {
        move |source| LedgerError::database(doing, self.db.path(), self.owner, source)
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Folder of RocksDB.
    pub(crate) fn path(&self) -> &Path {
        self.db.path()
    }

    /// A place where tests stop.
    pub(crate) fn point(&self, point: Point) -> Result<(), LedgerError> {
        let hit = self.options.failpoints.hit(point);
        hit.map_err(|source| LedgerError::io("at a point in", self.db.path(), source))
    }

    /// Lets RocksDB save what it can of a database that it does not open.
    pub(crate) fn repair(folder: &Path) -> Result<(), LedgerError> {
        let path = folder.join(DATABASE);
        DB::repair(&database_options(), &path)
            .map_err(|source| LedgerError::database("repairing", &path, Owner::Peer, source))
    }

    /// Moves a database that does not open out of the way; gives its new place.
    pub(crate) fn set_aside(folder: &Path) -> Result<PathBuf, LedgerError> {
        let path = folder.join(DATABASE);
        let names = (0..).map(|number| folder.join(format!("{DATABASE}.damaged{number}")));
        // There is always another number.
        let aside = names.into_iter().find(|name| !name.exists());
        let aside = aside.unwrap_or_else(|| folder.join("database.damaged"));
        std::fs::rename(&path, &aside)
            .map_err(|source| LedgerError::io("moving", &path, source))?;
        sync_folder(folder)?;
        Ok(aside)
    }

    /// Drops the families that can be made again from the block files, without reading them, and
    /// those others that cannot be read; gives the names of these.
    pub(crate) fn drop_what_follows_from_blocks(&self) -> Result<Vec<&'static str>, LedgerError> {
        let mut lost = Vec::new();
        for family in families(self.owner).iter().copied() {
            if !family.follows_from_blocks() {
                if family == Family::Meta || self.is_readable(family)? {
                    continue;
                }
                lost.push(family.name());
            }
            self.db
                .drop_cf(family.name())
                .map_err(self.failed("emptying"))?;
            self.db
                .create_cf(family.name(), &family_options(family, block_cache()))
                .map_err(self.failed("emptying"))?;
        }
        Ok(lost)
    }

    fn is_readable(&self, family: Family) -> Result<bool, LedgerError> {
        let cf = self.family(family)?;
        for record in self.db.iterator_cf(&cf, IteratorMode::Start) {
            match record.map_err(self.failed("reading")) {
                Ok(_) => {}
                Err(LedgerError::CorruptDatabase { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Deletes the keys from `start` on, before `end`.
    pub(crate) fn delete_range(
        &self,
        family: Family,
        start: &[u8],
        end: &[u8],
    ) -> Result<(), LedgerError> {
        self.db
            .delete_range_cf(&self.family(family)?, start, end)
            .map_err(self.failed("deleting"))
    }

    fn family(&self, family: Family) -> Result<Arc<BoundColumnFamily<'_>>, LedgerError> {
        self.db
            .cf_handle(family.name())
            .ok_or_else(|| LedgerError::damaged(format!("no column family {}", family.name())))
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.db
            .get_cf(&self.family(family)?, key)
            .map_err(self.failed("reading"))
    }

    /// Whether the key is there, without copying its value.
    pub(crate) fn contains(&self, family: Family, key: &[u8]) -> Result<bool, LedgerError> {
        self.db
            .get_pinned_cf(&self.family(family)?, key)
            .map(|value| value.is_some())
            .map_err(self.failed("reading"))
    }

    /// The first records at or after `start` and before `end`, however large.
    pub(crate) fn scan(
        &self,
        family: Family,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let cf = self.family(family)?;
        let iterator = self.db.iterator_cf_opt(
            &cf,
            bounded(end),
            IteratorMode::From(start, rocksdb::Direction::Forward),
        );
        take(self, iterator, limit, usize::MAX)
    }

    /// Up to `limit` records at or after `start`; fewer if they are large. An empty answer means that
    /// there are no more.
    pub(crate) fn step(
        &self,
        family: Family,
        start: &[u8],
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let cf = self.family(family)?;
        let from = IteratorMode::From(start, rocksdb::Direction::Forward);
        let iterator = self.db.iterator_cf_opt(&cf, bounded(None), from);
        take(self, iterator, limit, SCAN_STEP_BYTES)
    }

    /// The first keys at or after `start` and before `end`, without copying their values.
    pub(crate) fn keys(
        &self,
        family: Family,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<Box<[u8]>>, LedgerError> {
        let cf = self.family(family)?;
        let mut records = self.db.raw_iterator_cf_opt(&cf, bounded(Some(end)));
        records.seek(start);
        let mut keys = Vec::new();
        while let Some(key) = records.key()
            && keys.len() < limit
        {
            keys.push(key.into());
            records.next();
        }
        records.status().map_err(self.failed("scanning"))?;
        Ok(keys)
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch {
            database: self,
            batch: WriteBatch::default(),
            is_irreplaceable: false,
        }
    }

    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot {
        Snapshot(SnapshotCell::new(self.clone(), |database| {
            database.db.snapshot()
        }))
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.db.path())
            .finish()
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A commit is one batch in one WAL, so after a crash every family is at the same block.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_max_total_wal_size(64 * MIB as u64);
    options.set_db_write_buffer_size(32 * MIB);
    options.set_max_background_jobs(2);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(MIB);
    options.set_stats_dump_period_sec(0);
    options
}

fn family_options(family: Family, cache: &Cache) -> Options {
    let mut options = Options::default();
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if family != Family::History {
        table.set_bloom_filter(10.0, false);
    }
    options.set_block_based_table_factory(&table);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_write_buffer_number(2);
    match family {
        Family::State => options.set_write_buffer_size(16 * MIB),
        _ => {
            options.set_write_buffer_size(8 * MIB);
            options.set_arena_block_size(256 * 1024);
        }
    }
    if family == Family::Index {
        // Nearly every transaction is asked for and is not there: the filter answers without a walk
        // through what is not yet in a file.
        options.set_memtable_prefix_bloom_ratio(0.1);
        options.set_memtable_whole_key_filtering(true);
    }
    options
}

fn bounded(end: Option<&[u8]>) -> ReadOptions {
    let mut read = ReadOptions::default();
    if let Some(end) = end {
        read.set_iterate_upper_bound(end);
    }
    read
}

/// A key and its value.
pub(crate) type Record = (Box<[u8]>, Box<[u8]>);

/// Where a scan goes on after some records: at the smallest key behind the last of them. `None`
/// after none.
pub(crate) fn behind(records: &[Record]) -> Option<Vec<u8>> {
    records.last().map(|(last, _)| successor(last.to_vec()))
}

/// The smallest key that is greater.
pub(crate) fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

fn take(
    database: &Database,
    iterator: impl Iterator<Item = Result<Record, rocksdb::Error>>,
    limit: usize,
    byte_limit: usize,
) -> Result<Vec<Record>, LedgerError> {
    let mut records = Vec::new();
    let mut bytes = 0;
    for record in iterator.take(limit) {
        let record = record.map_err(database.failed("scanning"))?;
        bytes += record.0.len() + record.1.len();
        records.push(record);
        if bytes >= byte_limit {
            break;
        }
    }
    Ok(records)
}

/// Writes that become visible and durable together.
pub(crate) struct Batch<'a> {
    database: &'a Database,
    batch: WriteBatch,
    is_irreplaceable: bool,
}

impl Batch<'_> {
    pub(crate) fn put(
        &mut self,
        family: Family,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), LedgerError> {
        // Clear private data is nowhere else; all the rest follows from the block files.
        self.is_irreplaceable |= family == Family::PrivateData;
        self.batch
            .put_cf(&self.database.family(family)?, key, value);
        Ok(())
    }

    pub(crate) fn delete(&mut self, family: Family, key: &[u8]) -> Result<(), LedgerError> {
        self.batch.delete_cf(&self.database.family(family)?, key);
        Ok(())
    }

    /// Whether it holds what could not be made again from the block files.
    pub(crate) fn is_irreplaceable(&self) -> bool {
        self.is_irreplaceable
    }

    /// Deletes all keys in `[start, end)`.
    pub(crate) fn delete_range(
        &mut self,
        family: Family,
        start: &[u8],
        end: &[u8],
    ) -> Result<(), LedgerError> {
        let cf = self.database.family(family)?;
        self.batch.delete_range_cf(&cf, start, end);
        Ok(())
    }

    /// Applies the batch; with `sync` it is on disk when this returns.
    pub(crate) fn write(self, sync: bool) -> Result<(), LedgerError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.database
            .db
            .write_opt(self.batch, &options)
            .map_err(self.database.failed("writing"))
    }
}

self_cell::self_cell!(
    struct SnapshotCell {
        owner: Arc<Database>,
        #[covariant]
        dependent: RawSnapshot,
    }
);

/// The database as it was at one moment. Owns the database, so it may outlive whoever took it and
/// move between threads; compaction keeps what it sees, so it should not be held for ever.
pub(crate) struct Snapshot(SnapshotCell);

/// How much one step of a scan reads at most, so that a scan over large values stays small.
const SCAN_STEP_BYTES: usize = MIB;

impl Snapshot {
    /// Many records at once, in the order of `keys`; fastest when those are sorted.
    pub(crate) fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        let database = self.0.borrow_owner();
        let cf = database.family(family)?;
        self.0
            .borrow_dependent()
            .multi_get_cf(keys.iter().map(|key| (&cf, key)))
            .into_iter()
            .map(|record| record.map_err(database.failed("reading")))
            .collect()
    }

    /// The block files, which are never changed where a snapshot may look.
    pub(crate) fn files(&self) -> &BlockFiles {
        &self.0.borrow_owner().files
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        let database = self.0.borrow_owner();
        self.0
            .borrow_dependent()
            .get_cf(&database.family(family)?, key)
            .map_err(database.failed("reading"))
    }

    /// Up to `limit` records from `start` up to, not including, `end`; fewer if they are large.
    /// An empty answer means that there are no more.
    pub(crate) fn scan(
        &self,
        family: Family,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let database = self.0.borrow_owner();
        let cf = database.family(family)?;
        let iterator = self.0.borrow_dependent().iterator_cf_opt(
            &cf,
            bounded(end),
            IteratorMode::From(start, rocksdb::Direction::Forward),
        );
        take(database, iterator, limit, SCAN_STEP_BYTES)
    }

    /// As [`scan`](Self::scan), from the last record before `end` down to `start`, inclusive.
    pub(crate) fn scan_back(
        &self,
        family: Family,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let database = self.0.borrow_owner();
        let cf = database.family(family)?;
        let mut read = bounded(Some(end));
        read.set_iterate_lower_bound(start);
        let iterator = self.0.borrow_dependent().iterator_cf_opt(
            &cf,
            read,
            IteratorMode::From(end, rocksdb::Direction::Reverse),
        );
        take(database, iterator, limit, SCAN_STEP_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_a_scan_is_small_whether_keys_or_values_are_large() {
        let folder = tempfile::tempdir().unwrap();
        let database =
            Database::open(folder.path(), Owner::Peer, &StoreOptions::default()).unwrap();
        let large = vec![b'x'; SCAN_STEP_BYTES / 2];
        let mut batch = database.batch();
        for number in 0..6 {
            let key = [b"key".as_slice(), &[number], &large].concat();
            batch.put(Family::QueryIndex, &key, &[]).unwrap();
            batch.put(Family::State, &[number], &large).unwrap();
        }
        batch.write(false).unwrap();
        let snapshot = database.snapshot();
        for family in [Family::QueryIndex, Family::State] {
            let forward = snapshot.scan(family, b"", None, 6).unwrap();
            assert_eq!(forward.len(), 2);
            let rest = snapshot.scan(family, &behind(&forward).unwrap(), None, 6);
            assert_eq!(rest.unwrap().len(), 2);
            let back = snapshot.scan_back(family, b"", b"z", 6).unwrap();
            assert_eq!(back.len(), 2);
        }
    }
}
