//! What can go wrong in an orderer, apart from refused messages.

use consilium_ledger::LedgerError;
use consilium_msp::SignError;
use consilium_protocol::block::BlockError;
use consilium_protocol::config::ConfigError;

/// An operation of the orderer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrdererError {
    /// The block store failed.
    #[error("block store: {0}")]
    Ledger(#[from] LedgerError),
    /// A block's parts do not fit together.
    #[error("block: {0}")]
    Block(#[from] BlockError),
    /// A channel configuration is not valid.
    #[error("channel configuration: {0}")]
    Config(#[from] ConfigError),
    /// This node's key could not sign.
    #[error("cannot sign: {0}")]
    Sign(#[from] SignError),
    /// Reading or writing the node's folder or Raft log failed.
    #[error("storage: {0}")]
    Storage(#[from] std::io::Error),
    /// The Raft log's database cannot be opened.
    #[error("cannot open the raft log: {0}")]
    RaftLog(#[from] rocksdb::Error),
    /// Raft refused to start or has stopped.
    #[error("raft: {0}")]
    Raft(String),
    /// The chain of a channel is empty.
    #[error("the chain has no genesis block")]
    NoGenesis,
    /// A block that the chain counts is not there.
    #[error("block {number} is missing")]
    MissingBlock {
        /// Its number.
        number: u64,
    },
    /// A block from another orderer is not acceptable.
    #[error("block {number} from another orderer: {reason}")]
    ForeignBlock {
        /// Its number.
        number: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The other orderers' chain is not the one that the node was told to join.
    #[error(
        "block {number} of channel {channel} differs from the block that the channel was joined \
         with: remove the channel and join it again with a block of this consortium"
    )]
    JoinBlock {
        /// The channel.
        channel: String,
        /// The block's number.
        number: u64,
    },
    /// The channel's consenters cannot be read.
    #[error("consenters of channel {channel}: {reason}")]
    Consenters {
        /// The channel.
        channel: String,
        /// What is wrong with them.
        reason: String,
    },
}

impl From<OrdererError> for std::io::Error {
    fn from(error: OrdererError) -> Self {
        match error {
            OrdererError::Storage(error) => error,
            other => std::io::Error::other(other),
        }
    }
}
