//! Is a block the next one of the chain, whole, and signed by the ordering service? Whoever brings it,
//! an orderer or another peer, it has to pass the same checks.

use consilium_proto::common::{self, BlockMetadataIndex};
use consilium_protocol::{
    block::{self, BlockError},
    config::ChannelConfig,
};

/// The policy that a block's signatures have to meet.
const BLOCK_VALIDATION: &str = "/Channel/Orderer/BlockValidation";

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
pub struct CheckedBlock {
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
    pub fn new(block: common::Block, config: &ChannelConfig) -> Result<Self, VerifyError> {
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

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Checks the rest now that it is its turn; the signatures again if the configuration has changed.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn follow(
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
    #[error("block [{number}] does not satisfy policy {BLOCK_VALIDATION}: {reason}")]
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
    let signatures =
        block::signatures(block).map_err(|source| VerifyError::Structure { number, source })?;
    config
        .policies()
        .policy(BLOCK_VALIDATION)
        .evaluate(&signatures)
        .map_err(|error| VerifyError::Signature {
            number,
            reason: error.to_string(),
        })?;
    Ok(())
}
