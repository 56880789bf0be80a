//! What can go wrong in the ledger.

use std::path::PathBuf;

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
    /// More private data waits for its transactions than this peer keeps.
    #[error("the transient store is full: {0} bytes wait for their transactions")]
    TransientFull(u64),
}

impl LedgerError {
    /// For `map_err`: names what was being done.
    pub(crate) fn storage(doing: &'static str) -> impl Fn(rocksdb::Error) -> LedgerError {
        move |source| LedgerError::Storage { doing, source }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> LedgerError {
        LedgerError::Damaged(what.into())
    }
}
