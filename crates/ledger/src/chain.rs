//! How blocks are stored and found again, and the rules by which one block follows another. Shared
//! by the orderer's [`BlockStore`](crate::BlockStore) and the peer's [`Ledger`](crate::Ledger).

use bytes::Bytes;
use consilium_proto::common;
use consilium_protocol::block;
use prost::Message;

use crate::blockfile::{Appended, BlockFiles, Location, Position};
use crate::database::{Batch, Database, Family, Snapshot};
use crate::error::LedgerError;
use crate::failpoint::Point;

const HEIGHT: &[u8] = b"height";
/// Where in the block files that part ends which the database reflects.
const TAKEN: &[u8] = b"files/taken";
/// Everything in the block files before this place is on disk.
const SYNCED: &[u8] = b"files/synced";
const BASE: &[u8] = b"base";

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
    fn empty(base: &Base) -> Self {
        Tip {
            height: base.first,
            header_hash: base.header_hash.clone(),
            previous_hash: base.previous_hash.clone(),
            commit_hash: base.commit_hash,
        }
    }

    pub(crate) fn load(database: &Database) -> Result<Self, LedgerError> {
        let base = Base::load(database)?;
        let height = height(database)?;
        if height <= base.first {
            return Ok(Self::empty(&base));
        }
        let last = height - 1;
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

/// Where a chain begins: with block 0, or behind a snapshot that stands for the blocks before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    /// Number of the first block that this chain has or will have.
    pub(crate) first: u64,
    /// Hash of the header of the block before.
    pub(crate) header_hash: Bytes,
    /// The hash that this header names as its predecessor's.
    pub(crate) previous_hash: Bytes,
    /// Commit hash of the block before.
    pub(crate) commit_hash: Option<[u8; 32]>,
}

impl Base {
    pub(crate) fn load(database: &Database) -> Result<Self, LedgerError> {
        match database.get(Family::Meta, BASE)? {
            Some(record) => {
                Self::decode(&record).ok_or_else(|| LedgerError::damaged("record of the snapshot"))
            }
            None => Ok(Self::default()),
        }
    }

    /// Hashes are 32 bytes, or none.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut record = self.first.to_be_bytes().to_vec();
        let commit_hash = self.commit_hash.as_ref().map(<[u8; 32]>::as_slice);
        for part in [
            &self.header_hash[..],
            &self.previous_hash,
            commit_hash.unwrap_or_default(),
        ] {
            record.push(part.len() as u8);
            record.extend_from_slice(part);
        }
        record
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (first, mut rest) = record.split_at_checked(8)?;
        let mut part = || {
            let (length, behind) = rest.split_first()?;
            let (part, behind) = behind.split_at_checked(usize::from(*length))?;
            rest = behind;
            Some(part)
        };
        let (header_hash, previous_hash, commit_hash) = (part()?, part()?, part()?);
        let commit_hash = match commit_hash {
            [] => None,
            hash => Some(hash.try_into().ok()?),
        };
        Some(Base {
            first: be64(first)?,
            header_hash: Bytes::copy_from_slice(header_hash),
            previous_hash: Bytes::copy_from_slice(previous_hash),
            commit_hash,
        })
    }
}

/// Adds to a batch that the chain begins behind a snapshot.
pub(crate) fn put_base(batch: &mut Batch<'_>, base: &Base) -> Result<(), LedgerError> {
    batch.put(Family::Meta, BASE, &base.encode())
}

/// Adds to a batch where a block lies, how it is found, and the new height.
pub(crate) fn put(
    batch: &mut Batch<'_>,
    number: u64,
    header_hash: &[u8],
    location: Location,
) -> Result<(), LedgerError> {
    let place = [&location.encode(), header_hash].concat();
    batch.put(Family::Index, &number_key(number), &place)?;
    batch.put(Family::Index, &hash_key(header_hash), &number.to_be_bytes())?;
    batch.put(Family::Meta, HEIGHT, &(number + 1).to_be_bytes())
}

/// Adds to a batch that the database reflects the block files up to the end of a record.
pub(crate) fn put_taken(batch: &mut Batch<'_>, appended: &Appended) -> Result<(), LedgerError> {
    let taken = appended.location.end().encode();
    batch.put(Family::Meta, TAKEN, &taken)?;
    batch.put(Family::Meta, SYNCED, &appended.synced.encode())
}

/// Writes the batch that makes an appended record visible.
pub(crate) fn write(database: &Database, batch: Batch<'_>, sync: bool) -> Result<(), LedgerError> {
    database.point(Point::BatchWrite)?;
    batch.write(sync)?;
    database.files.taken();
    database.point(Point::BatchWritten)
}

/// The refusal of what does not fit in a record.
pub(crate) fn too_large(number: u64) -> LedgerError {
    LedgerError::MalformedBlock {
        number,
        reason: "it is larger than 4 GiB".into(),
    }
}

/// Takes a block at the end of the chain out of the index.
pub(crate) fn remove_last(
    database: &Database,
    batch: &mut Batch<'_>,
    number: u64,
) -> Result<(), LedgerError> {
    if let Some(place) = database.get(Family::Index, &number_key(number))? {
        batch.delete(
            Family::Index,
            &hash_key(place.get(16..).unwrap_or_default()),
        )?;
    }
    batch.delete(Family::Index, &number_key(number))?;
    batch.put(Family::Meta, HEIGHT, &number.to_be_bytes())
}

/// Adds to a batch that the database reflects the block files up to `taken`.
pub(crate) fn put_taken_at(batch: &mut Batch<'_>, taken: Position) -> Result<(), LedgerError> {
    batch.put(Family::Meta, TAKEN, &taken.encode())
}

/// Adds to a batch that the block files are on disk up to `synced`.
pub(crate) fn put_synced(batch: &mut Batch<'_>, synced: Position) -> Result<(), LedgerError> {
    batch.put(Family::Meta, SYNCED, &synced.encode())
}

/// Adds to a batch that the database reflects no block.
pub(crate) fn forget(batch: &mut Batch<'_>) -> Result<(), LedgerError> {
    batch.delete(Family::Meta, HEIGHT)?;
    batch.delete(Family::Meta, TAKEN)
}

fn position(database: &Database, key: &[u8]) -> Result<Option<Position>, LedgerError> {
    let record = database.get(Family::Meta, key)?;
    let decode = |record: Vec<u8>| {
        Position::decode(&record).ok_or_else(|| LedgerError::damaged("place in block files"))
    };
    record.map(decode).transpose()
}

/// Up to where the database reflects the block files.
pub(crate) fn taken(database: &Database) -> Result<Position, LedgerError> {
    Ok(position(database, TAKEN)?.unwrap_or(Position::first_of(0)))
}

/// Up to where the block files are known to be on disk; `None` if nothing is known.
pub(crate) fn synced(database: &Database) -> Result<Option<Position>, LedgerError> {
    position(database, SYNCED)
}

/// Number of the next block.
pub(crate) fn height(database: &Database) -> Result<u64, LedgerError> {
    match database.get(Family::Meta, HEIGHT)? {
        Some(height) => be64(&height).ok_or_else(|| LedgerError::damaged("height record")),
        None => Ok(Base::load(database)?.first),
    }
}

fn parse_place(place: Option<Vec<u8>>) -> Result<Option<Location>, LedgerError> {
    place
        .map(|place| {
            place
                .get(..16)
                .and_then(Location::decode)
                .ok_or_else(|| LedgerError::damaged("block index record"))
        })
        .transpose()
}

/// Where a block lies.
pub(crate) fn location(database: &Database, number: u64) -> Result<Option<Location>, LedgerError> {
    parse_place(database.get(Family::Index, &number_key(number))?)
}

/// Where a block lies, as a snapshot sees it.
pub(crate) fn location_in(
    snapshot: &Snapshot,
    number: u64,
) -> Result<Option<Location>, LedgerError> {
    parse_place(snapshot.get(Family::Index, &number_key(number))?)
}

pub(crate) fn block_bytes(database: &Database, number: u64) -> Result<Option<Bytes>, LedgerError> {
    location(database, number)?
        .map(|location| Ok(database.files.read(location, number)?.block))
        .transpose()
}

pub(crate) fn block(
    database: &Database,
    number: u64,
) -> Result<Option<common::Block>, LedgerError> {
    block_bytes(database, number)?
        .map(|bytes| decode(number, bytes))
        .transpose()
}

/// The block in a record whose checksums are right.
pub(crate) fn decode(number: u64, bytes: Bytes) -> Result<common::Block, LedgerError> {
    common::Block::decode(bytes)
        .map_err(|error| LedgerError::damaged(format!("block {number}: {error}")))
}

/// One encoded transaction.
pub(crate) fn transaction(
    files: &BlockFiles,
    location: Option<Location>,
    number: u64,
    index: u32,
) -> Result<Bytes, LedgerError> {
    let found = match location {
        Some(location) => files.read_transaction(location, number, index)?,
        None => None,
    };
    found.ok_or_else(|| {
        LedgerError::damaged(format!("there is no transaction {index} in block {number}"))
    })
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

fn number_key(number: u64) -> Vec<u8> {
    [b"n".as_slice(), &number.to_be_bytes()].concat()
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
        None => match snapshot.get(Family::Meta, BASE)? {
            Some(base) => Base::decode(&base)
                .map(|base| base.first)
                .ok_or_else(|| LedgerError::damaged("record of the snapshot")),
            None => Ok(0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_chain_begins_reads_back() {
        let hash = Bytes::from_static(&[7; 32]);
        let bases = [
            Base::default(),
            Base {
                first: 67,
                header_hash: hash.clone(),
                previous_hash: hash,
                commit_hash: Some([9; 32]),
            },
        ];
        for base in bases {
            assert_eq!(Base::decode(&base.encode()), Some(base));
        }
    }
}
