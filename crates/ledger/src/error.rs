//! What can go wrong in the ledger.

use std::path::{Path, PathBuf};

/// Whose chain it is; decides what repairs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A peer's ledger.
    Peer,
    /// An orderer's chain.
    Orderer,
}

impl Owner {
    pub(crate) fn repair_of_database(self) -> &'static str {
        match self {
            Owner::Peer => "`consilium ledger rebuild` makes it again from the block files",
            Owner::Orderer => "delete this folder: it is made again from the block files beside it",
        }
    }

    /// For a damaged block, if its number is known.
    pub(crate) fn repair_of_blocks(self, block: Option<u64>) -> String {
        match (self, block.map(|block| block.checked_sub(1))) {
            (Owner::Peer, Some(Some(before))) => format!(
                "`consilium ledger rollback --block {before}` cuts the chain back, \
                 and the peer pulls the rest again"
            ),
            (Owner::Peer, Some(None)) => {
                "`consilium ledger unjoin` removes the channel; then join it again".into()
            }
            (Owner::Peer, None) => "`consilium ledger verify` says which block it is, \
                 `consilium ledger rollback` cuts the chain back to the one before"
                .into(),
            (Owner::Orderer, _) => "remove the channel from this orderer and join it again: \
                 it pulls the blocks from the others"
                .into(),
        }
    }
}

/// A failure of a block store or of a channel's ledger.
///
/// The `Display` text of the simulation variants is what a Fabric peer answers; clients and
/// chaincode shims see it, so it is part of the interface.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// RocksDB refused or failed; the text says what was being done.
    #[error("{doing}: {source}")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// RocksDB's own error.
        #[source]
        source: rocksdb::Error,
    },
    /// The operating system refused or failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// There is no room; it is worth trying again later, nothing has changed.
    #[error("no room on the disk of {}: {reason}", path.display())]
    DiskFull {
        /// A file or folder on it.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// Another process has the ledger open.
    #[error("{} is in use by another process: stop the node first", .0.display())]
    InUse(PathBuf),
    /// The database cannot be read.
    #[error("{doing} the database {}: {source}; {repair}", path.display())]
    CorruptDatabase {
        /// What was being done.
        doing: &'static str,
        /// Its folder.
        path: PathBuf,
        /// RocksDB's own error, which names the file.
        #[source]
        source: rocksdb::Error,
        /// What repairs it.
        repair: &'static str,
    },
    /// A block file cannot be read.
    #[error(
        "block file {}, offset {offset}{}: {reason}; {repair}",
        file.display(),
        block.map(|block| format!(", block {block}")).unwrap_or_default()
    )]
    CorruptBlockFile {
        /// The file.
        file: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// The block, if it is known.
        block: Option<u64>,
        /// What is wrong.
        reason: String,
        /// What repairs it.
        repair: String,
    },
    /// Something that this crate wrote earlier cannot be read back.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// `open` found no ledger there.
    #[error("no ledger at {0}: create it from a genesis block")]
    Missing(PathBuf),
    /// `create` found a ledger there already.
    #[error("ledger [{0}] already exists")]
    Exists(String),
    /// The block to append is not the next one.
    #[error("expected block number {expected}, but received block number {received}")]
    UnexpectedBlock {
        /// The height, which is the number of the next block.
        expected: u64,
        /// The number in the header.
        received: u64,
    },
    /// The block to append does not continue the chain.
    #[error("block {0} does not name the hash of its predecessor")]
    BrokenChain(u64),
    /// The block cannot be used: no header, no data, not a config block where one is needed.
    #[error("block {number} is malformed: {reason}")]
    MalformedBlock {
        /// The number in the header, 0 without one.
        number: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// As many validation codes as transactions are needed.
    #[error(
        "block {number} has {transactions} transactions, but {codes} validation codes were given"
    )]
    CodesMismatch {
        /// The block's number.
        number: u64,
        /// Transactions in the block.
        transactions: usize,
        /// Codes given.
        codes: usize,
    },
    /// A simulation asked for something that Fabric refuses; the text is Fabric's.
    #[error("{0}")]
    Refused(String),
    /// A rollback to the last block or behind it. fabric: common/ledger/blkstorage/rollback.go
    /// ValidateRollbackParams
    #[error("target block number [{target}] should be less than the biggest block number [{last}]")]
    NotBeforeLast {
        /// The block asked for.
        target: u64,
        /// The last one.
        last: u64,
    },
    /// A private value is not on this peer, or not in the version that the channel agreed on.
    #[error(
        "private data matching public hash version is not available. Public hash version = {public}, Private data version = {private}"
    )]
    PrivateDataUnavailable {
        /// Version of the hashed key as Fabric prints it, `<nil>` if there is none.
        public: String,
        /// Version of the clear key on this peer, likewise.
        private: String,
    },
    /// A cursor that the simulation never gave out, or that was closed.
    #[error("query iterator not found")]
    UnknownCursor,
    /// A snapshot cannot be made, or is not one that can be taken over.
    #[error("{0}")]
    Snapshot(String),
    /// More private data waits for its transactions than this peer keeps.
    #[error("the transient store is full: {0} bytes wait for their transactions")]
    TransientFull(u64),
}

impl LedgerError {
    /// Whether it is worth trying again when there is room on the disk.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, LedgerError::DiskFull { .. })
    }

    /// Whether files of the database in the folder `path` are damaged or missing; anything else that
    /// fails (no rights, too many open files) says nothing about what is stored.
    pub(crate) fn is_damaged_database(&self, path: &Path) -> bool {
        match self {
            LedgerError::CorruptDatabase { .. } => true,
            LedgerError::Storage { source, .. } => {
                // RocksDB passes the system's words and the file's name on, and nothing else.
                let text = source.to_string();
                let is_missing = match source.kind() {
                    rocksdb::ErrorKind::IOError => text.contains("No such file or directory"),
                    rocksdb::ErrorKind::InvalidArgument => text.contains("does not exist"),
                    _ => false,
                };
                let is_incomplete = text.contains("Column family not found");
                is_incomplete || is_missing && text.contains(&*path.to_string_lossy())
            }
            _ => false,
        }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> LedgerError {
        LedgerError::Damaged(what.into())
    }

    /// For `map_err`: a file of a snapshot.
    pub(crate) fn snapshot_file(path: &Path) -> impl Fn(std::io::Error) -> LedgerError + use<> {
        let path = path.to_owned();
        move |source| LedgerError::io("at the snapshot's file", &path, source)
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> LedgerError {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let path = path.to_owned();
        if matches!(source.kind(), StorageFull | QuotaExceeded) {
            let reason = format!("{doing}: {source}");
            return LedgerError::DiskFull { path, reason };
        }
        LedgerError::Io {
            doing,
            path,
            source,
        }
    }

    /// A failure of the database in the folder `path`.
    pub(crate) fn database(
        doing: &'static str,
        path: &Path,
        owner: Owner,
        source: rocksdb::Error,
    ) -> LedgerError {
        let path = path.to_owned();
        // RocksDB passes the system's own words on, and nothing else.
        let text = source.to_string();
        if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
            let reason = format!("{doing}: {text}");
            return LedgerError::DiskFull { path, reason };
        }
        if text.contains("lock file") || text.contains("lock hold by current process") {
            return LedgerError::InUse(path);
        }
        if source.kind() == rocksdb::ErrorKind::Corruption {
            return LedgerError::CorruptDatabase {
                doing,
                path,
                source,
                repair: owner.repair_of_database(),
            };
        }
        LedgerError::Storage { doing, source }
    }
}
