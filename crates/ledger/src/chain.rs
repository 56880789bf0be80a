//! How blocks lie in the database, and the rules by which one block follows another. Shared by the
//! orderer's [`BlockStore`](crate::BlockStore) and the peer's [`Ledger`](crate::Ledger).

use bytes::Bytes;
use consilium_proto::common;
use consilium_protocol::block;
use prost::Message;

use crate::database::{Batch, Database, Family, Snapshot};
use crate::error::LedgerError;

const HEIGHT: &[u8] = b"height";

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    /// Number of blocks, which is the number of the next one.
    pub(crate) height: u64,
    /// Hash of the last block's header; empty without blocks.
    pub(crate) header_hash: Bytes,
    /// The hash that the last block's header names as its predecessor's.
    pub(crate) previous_hash: Bytes,
    /// Commit hash in the last block's metadata.
    pub(crate) commit_hash: Option<[u8; 32]>,
}

impl Tip {
    /// The end of a chain without blocks.
    pub(crate) fn empty() -> Self {
        Tip {
            height: 0,
            header_hash: Bytes::new(),
            previous_hash: Bytes::new(),
            commit_hash: None,
        }
    }

    pub(crate) fn load(database: &Database) -> Result<Self, LedgerError> {
        let Some(height) = database.get(Family::Meta, HEIGHT)? else {
            return Ok(Self::empty());
        };
        let height = be64(&height).ok_or_else(|| LedgerError::damaged("height record"))?;
        let Some(last) = height.checked_sub(1) else {
            return Ok(Self::empty());
        };
        let block = block(database, last)?
            .ok_or_else(|| LedgerError::damaged(format!("block {last} is not there")))?;
        Self::after(&block)
    }

    /// The tip once `block` is the last one.
    pub(crate) fn after(block: &common::Block) -> Result<Self, LedgerError> {
        let header = header(block)?;
        let height = header
            .number
            .checked_add(1)
            .ok_or_else(|| LedgerError::MalformedBlock {
                number: header.number,
                reason: "no number can follow".into(),
            })?;
        Ok(Tip {
            height,
            header_hash: Bytes::copy_from_slice(&block::header_hash(header)),
            previous_hash: header.previous_hash.clone(),
            commit_hash: block::commit_hash(block)
                .and_then(|hash| <[u8; 32]>::try_from(hash.as_ref()).ok()),
        })
    }

    /// Whether `block` may be appended here.
    pub(crate) fn check_next(&self, block: &common::Block) -> Result<(), LedgerError> {
        let header = header(block)?;
        if header.number != self.height {
            return Err(LedgerError::UnexpectedBlock {
                expected: self.height,
                received: header.number,
            });
        }
        if self.height > 0 && header.previous_hash != self.header_hash {
            return Err(LedgerError::BrokenChain(header.number));
        }
        Ok(())
    }
}

pub(crate) fn header(block: &common::Block) -> Result<&common::BlockHeader, LedgerError> {
    block
        .header
        .as_ref()
        .ok_or_else(|| LedgerError::MalformedBlock {
            number: 0,
            reason: "it has no header".into(),
        })
}

/// Adds the block, its hash index and the new height to a batch.
pub(crate) fn put(
    batch: &mut Batch<'_>,
    number: u64,
    header_hash: &[u8],
    encoded: &[u8],
) -> Result<(), LedgerError> {
    batch.put(Family::Blocks, &number.to_be_bytes(), encoded)?;
    batch.put(Family::Index, &hash_key(header_hash), &number.to_be_bytes())?;
    batch.put(Family::Meta, HEIGHT, &(number + 1).to_be_bytes())
}

pub(crate) fn block_bytes(database: &Database, number: u64) -> Result<Option<Bytes>, LedgerError> {
    Ok(database
        .get(Family::Blocks, &number.to_be_bytes())?
        .map(Bytes::from))
}

pub(crate) fn block(
    database: &Database,
    number: u64,
) -> Result<Option<common::Block>, LedgerError> {
    block_bytes(database, number)?
        .map(|bytes| {
            common::Block::decode(bytes)
                .map_err(|error| LedgerError::damaged(format!("block {number}: {error}")))
        })
        .transpose()
}

/// Number of the block with that header hash.
pub(crate) fn number_by_hash(
    database: &Database,
    header_hash: &[u8],
) -> Result<Option<u64>, LedgerError> {
    database
        .get(Family::Index, &hash_key(header_hash))?
        .map(|number| be64(&number).ok_or_else(|| LedgerError::damaged("hash index record")))
        .transpose()
}

fn hash_key(header_hash: &[u8]) -> Vec<u8> {
    [b"h", header_hash].concat()
}

/// A big-endian number that is all of `bytes`.
pub(crate) fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// The height that a snapshot sees.
pub(crate) fn height_in(snapshot: &Snapshot) -> Result<u64, LedgerError> {
    match snapshot.get(Family::Meta, HEIGHT)? {
        Some(height) => be64(&height).ok_or_else(|| LedgerError::damaged("height record")),
        None => Ok(0),
    }
}
