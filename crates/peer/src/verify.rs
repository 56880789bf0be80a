//! Is a block the next one of the chain, whole, and signed by the ordering service? Whoever brings it,
//! an orderer or another peer, it has to pass the same checks.

use consilium_proto::common::{self, BlockMetadataIndex};
use consilium_protocol::{
    block::{self, BlockError},
    config::{ChannelConfig, ConfigError},
};

/// A block that passed [`verify`]: only such a block enters the pipeline.
pub struct VerifiedBlock {
    block: common::Block,
    number: u64,
    header_hash: [u8; 32],
}

impl VerifiedBlock {
    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Hash of its header: the next block's previous hash.
    pub fn header_hash(&self) -> [u8; 32] {
        self.header_hash
    }

    /// Whether it changes the channel's configuration.
    pub fn is_config(&self) -> bool {
        block::is_config(&self.block)
    }

    /// The block, with the metadata slots of peers empty.
    pub fn into_block(self) -> common::Block {
        self.block
    }
}

/// A block that is whole and signed by the ordering service, as a configuration has it. Whether it
/// continues the chain is not known before its turn.
pub(crate) struct CheckedBlock {
    block: common::Block,
    number: u64,
    /// Sequence of the configuration.
    under: u64,
}

impl CheckedBlock {
    /// Checks what can be told of a block before its turn.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn new(block: common::Block, config: &ChannelConfig) -> Result<Self, VerifyError> {
        let header = block.header.as_ref().ok_or(VerifyError::NoHeader)?;
        let number = header.number;
        block::check_structure(&block)
            .map_err(|source| VerifyError::Structure { number, source })?;
        check_signatures(&block, number, config)?;
        Ok(Self {
            block,
            number,
            under: config.sequence(),
        })
    }

    /// Checks the rest now that it is its turn; the signatures again if the configuration has changed.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn follow(
        self,
        expected: u64,
        previous: &[u8],
        config: &ChannelConfig,
    ) -> Result<VerifiedBlock, VerifyError> {
        let header = self.block.header.as_ref().ok_or(VerifyError::NoHeader)?;
        check_place(header, expected, previous)?;
        if config.sequence() != self.under {
            check_signatures(&self.block, self.number, config)?;
        }
        let header_hash = block::header_hash(header);
        let number = self.number;
        let mut block = self.block;
        // What peers write there is ours to say.
        if let Some(metadata) = &mut block.metadata {
            for slot in [
                BlockMetadataIndex::TransactionsFilter,
                BlockMetadataIndex::CommitHash,
            ] {
                if let Some(entry) = metadata.metadata.get_mut(slot as usize) {
                    entry.clear();
                }
            }
        }
        Ok(VerifiedBlock {
            block,
            number,
            header_hash,
        })
    }
}

/// Why a block is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No header.
    #[error("block has no header")]
    NoHeader,
    /// Out of sequence.
    #[error("expected block number [{expected}] but got [{got}]")]
    Number {
        /// The next number of our chain.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// It continues another chain.
    #[error("previous hash of block [{number}] does not match the hash of the block before")]
    PreviousHash {
        /// Number of the block.
        number: u64,
    },
    /// Data hash, envelopes or metadata slots are wrong.
    #[error("block [{number}] is malformed: {source}")]
    Structure {
        /// Number of the block.
        number: u64,
        /// What is wrong.
        source: BlockError,
    },
    /// The ordering service did not sign it.
    #[error("block [{number}] does not satisfy policy /Channel/Orderer/BlockValidation: {reason}")]
    Signature {
        /// Number of the block.
        number: u64,
        /// What the policy lacks.
        reason: String,
    },
}

/// Checks a block that should become number `expected` after a header with hash `previous`
/// (`fabric: common/deliverclient/block_verification.go`).
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(
    block: common::Block,
    expected: u64,
    previous: &[u8],
    config: &ChannelConfig,
) -> Result<VerifiedBlock, VerifyError> {
    // Costs nothing, so it comes first.
    let header = block.header.as_ref().ok_or(VerifyError::NoHeader)?;
    check_place(header, expected, previous)?;
    CheckedBlock::new(block, config)?.follow(expected, previous, config)
}

fn check_place(
    header: &common::BlockHeader,
    expected: u64,
    previous: &[u8],
) -> Result<(), VerifyError> {
    let number = header.number;
    if number != expected {
        return Err(VerifyError::Number {
            expected,
            got: number,
        });
    }
    if header.previous_hash != previous {
        return Err(VerifyError::PreviousHash { number });
    }
    Ok(())
}

fn check_signatures(
    block: &common::Block,
    number: u64,
    config: &ChannelConfig,
) -> Result<(), VerifyError> {
    config
        .verify_block_signatures(block)
        .map_err(|error| match error {
            ConfigError::Block(source) => VerifyError::Structure { number, source },
            error => VerifyError::Signature {
                number,
                reason: error.to_string(),
            },
        })
}
