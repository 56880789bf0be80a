//! One RocksDB per channel: its column families, its limits, and snapshots that own what they read.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, IteratorMode, Options, ReadOptions, Snapshot as RawSnapshot, WriteBatch,
    WriteOptions,
};

use crate::error::LedgerError;

/// A column family; the name is what stands on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Heights, hashes, names: a handful of small records ("default" must exist in RocksDB).
    Meta,
    /// Block number to encoded block. Values live in blob files, so compaction does not move them.
    Blocks,
    /// Block hash to number, transaction id to its first position.
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
    fn name(self) -> &'static str {
        match self {
            Family::Meta => "default",
            Family::Blocks => "blocks",
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

/// What an orderer needs.
pub(crate) const BLOCK_FAMILIES: &[Family] = &[Family::Meta, Family::Blocks, Family::Index];

/// What a peer needs.
pub(crate) const LEDGER_FAMILIES: &[Family] = &[
    Family::Meta,
    Family::Blocks,
    Family::Index,
    Family::State,
    Family::History,
    Family::PrivateState,
    Family::PrivateData,
    Family::Transient,
    Family::QueryIndex,
];

const MIB: usize = 1024 * 1024;

/// Blocks read from disk by all databases of this process share one cache.
const BLOCK_CACHE_BYTES: usize = 32 * MIB;

fn block_cache() -> &'static Cache {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    CACHE.get_or_init(|| Cache::new_lru_cache(BLOCK_CACHE_BYTES))
}

/// An open database. Cheap operations only: no caching and no locking of its own.
pub(crate) struct Database {
    db: DB,
}

impl Database {
    pub(crate) fn open(path: &Path, families: &[Family]) -> Result<Arc<Self>, LedgerError> {
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
        let descriptors = families
            .iter()
            .map(|family| ColumnFamilyDescriptor::new(family.name(), family_options(*family)));
        let db = DB::open_cf_descriptors(&options, path, descriptors)
            .map_err(LedgerError::storage("opening the database"))?;
        Ok(Arc::new(Self { db }))
    }

    fn family(&self, family: Family) -> Result<Arc<BoundColumnFamily<'_>>, LedgerError> {
        self.db
            .cf_handle(family.name())
            .ok_or_else(|| LedgerError::damaged(format!("no column family {}", family.name())))
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        self.db
            .get_cf(&self.family(family)?, key)
            .map_err(LedgerError::storage("reading"))
    }

    /// Whether the key is there, without copying its value.
    pub(crate) fn contains(&self, family: Family, key: &[u8]) -> Result<bool, LedgerError> {
        self.db
            .get_pinned_cf(&self.family(family)?, key)
            .map(|value| value.is_some())
            .map_err(LedgerError::storage("reading"))
    }

    /// The first record at or after `start` and before `end`.
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
        take(iterator, limit, usize::MAX)
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch {
            database: self,
            batch: WriteBatch::default(),
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

fn family_options(family: Family) -> Options {
    let mut options = Options::default();
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(block_cache());
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if !matches!(family, Family::Blocks | Family::History) {
        table.set_bloom_filter(10.0, false);
    }
    options.set_block_based_table_factory(&table);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_write_buffer_number(2);
    match family {
        Family::Blocks => {
            options.set_write_buffer_size(16 * MIB);
            options.set_enable_blob_files(true);
            options.set_min_blob_size(1024);
            options.set_blob_file_size(256 * MIB as u64);
            options.set_blob_compression_type(DBCompressionType::Lz4);
        }
        Family::State => options.set_write_buffer_size(16 * MIB),
        _ => {
            options.set_write_buffer_size(8 * MIB);
            options.set_arena_block_size(256 * 1024);
        }
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

fn take(
    iterator: impl Iterator<Item = Result<Record, rocksdb::Error>>,
    limit: usize,
    byte_limit: usize,
) -> Result<Vec<Record>, LedgerError> {
    let mut records = Vec::new();
    let mut bytes = 0;
    for record in iterator.take(limit) {
        let record = record.map_err(LedgerError::storage("scanning"))?;
        bytes += record.1.len();
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
}

impl Batch<'_> {
    pub(crate) fn put(
        &mut self,
        family: Family,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), LedgerError> {
        self.batch
            .put_cf(&self.database.family(family)?, key, value);
        Ok(())
    }

    pub(crate) fn delete(&mut self, family: Family, key: &[u8]) -> Result<(), LedgerError> {
        self.batch.delete_cf(&self.database.family(family)?, key);
        Ok(())
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
            .map_err(LedgerError::storage("writing"))
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
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        let cf = self.0.borrow_owner().family(family)?;
        self.0
            .borrow_dependent()
            .get_cf(&cf, key)
            .map_err(LedgerError::storage("reading"))
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
        let cf = self.0.borrow_owner().family(family)?;
        let iterator = self.0.borrow_dependent().iterator_cf_opt(
            &cf,
            bounded(end),
            IteratorMode::From(start, rocksdb::Direction::Forward),
        );
        take(iterator, limit, SCAN_STEP_BYTES)
    }

    /// As [`scan`](Self::scan), from the last record before `end` down to `start`, inclusive.
    pub(crate) fn scan_back(
        &self,
        family: Family,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<Record>, LedgerError> {
        let cf = self.0.borrow_owner().family(family)?;
        let mut read = bounded(Some(end));
        read.set_iterate_lower_bound(start);
        let iterator = self.0.borrow_dependent().iterator_cf_opt(
            &cf,
            read,
            IteratorMode::From(end, rocksdb::Direction::Reverse),
        );
        take(iterator, limit, SCAN_STEP_BYTES)
    }
}
