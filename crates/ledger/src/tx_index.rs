//! Where transactions are, by id.
//!
//! Every transaction of every block is indexed, valid or not, under the id its header claims, else
//! under the id computed from its nonce and creator; what cannot be parsed that far stands under
//! the empty id. The first position of an id stays. A forged envelope that claims somebody's id
//! thus makes the real transaction a duplicate, as on a Fabric peer.
//! fabric: common/ledger/blkstorage/block_serialization.go, blockindex.go

use bytes::Bytes;
use consilium_proto::{common, decode, protos::TxValidationCode};
use consilium_protocol::hash::sha256;
use consilium_protocol::proposal;

use crate::database::{Batch, Family};
use crate::error::LedgerError;

/// What became of a transaction, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxStatus {
    /// The final validation code.
    pub code: TxValidationCode,
    /// Number of the block.
    pub block: u64,
    /// Index within the block.
    pub index: u32,
}

/// The id under which an encoded envelope is indexed.
pub(crate) fn id_of(envelope: &Bytes) -> String {
    claimed_or_computed(envelope).unwrap_or_default()
}

fn claimed_or_computed(envelope: &Bytes) -> Option<String> {
    let envelope: common::Envelope = decode(envelope).ok()?;
    let header = decode::<common::Payload>(&envelope.payload).ok()?.header?;
    let channel_header: common::ChannelHeader = decode(&header.channel_header).ok()?;
    if !channel_header.tx_id.is_empty() {
        return Some(channel_header.tx_id);
    }
    let signature_header: common::SignatureHeader = decode(&header.signature_header).ok()?;
    Some(proposal::transaction_id(
        &signature_header.nonce,
        &signature_header.creator,
    ))
}

/// Claimed ids may be of any length; the long ones, which cannot be real, are kept by their hash.
///
/// The length comes first: so do short ids in Fabric's index, whose order is a snapshot's.
/// fabric: common/ledger/blkstorage/blockindex.go constructTxIDKey
pub(crate) fn key(tx_id: &str) -> Vec<u8> {
    const REAL: u8 = 64;
    let id = tx_id.as_bytes();
    match u8::try_from(id.len()) {
        Ok(length) if length <= REAL => [b"t", [length].as_slice(), id].concat(),
        _ => {
            // No message is that long.
            let length = u32::try_from(id.len()).unwrap_or(u32::MAX);
            [b"T".as_slice(), &length.to_be_bytes(), &sha256(id)].concat()
        }
    }
}

/// What stands for the place of a transaction that only a snapshot tells of.
const BEFORE_SNAPSHOT: [u8; 13] = [0xff; 13];

/// Keys of ids that are kept as they are, without the empty one: from the first of these up to the
/// second.
pub(crate) fn short_ids() -> (&'static [u8], &'static [u8]) {
    (b"t\x01", b"u")
}

/// The id in such a key.
pub(crate) fn short_id(key: &[u8]) -> &[u8] {
    key.get(2..).unwrap_or_default()
}

/// Keys of ids that are kept by their hash, likewise.
pub(crate) fn long_ids() -> (&'static [u8], &'static [u8]) {
    (b"T", b"U")
}

/// The id of a record under such a key.
pub(crate) fn long_id(record: &[u8]) -> Result<&[u8], LedgerError> {
    record
        .get(BEFORE_SNAPSHOT.len()..)
        .filter(|id| !id.is_empty())
        .ok_or_else(|| LedgerError::damaged("transaction index record without its id"))
}

fn put_record(batch: &mut Batch<'_>, tx_id: &str, status: [u8; 13]) -> Result<(), LedgerError> {
    let key = key(tx_id);
    let mut record = status.to_vec();
    if key.starts_with(b"T") {
        record.extend_from_slice(tx_id.as_bytes());
    }
    batch.put(Family::Index, &key, &record)
}

/// Adds to a batch where a transaction is.
pub(crate) fn put(
    batch: &mut Batch<'_>,
    tx_id: &str,
    status: &TxStatus,
) -> Result<(), LedgerError> {
    put_record(batch, tx_id, status.encode())
}

/// Adds to a batch that there is a transaction of that id in a block before the first one.
pub(crate) fn put_before_snapshot(batch: &mut Batch<'_>, tx_id: &str) -> Result<(), LedgerError> {
    put_record(batch, tx_id, BEFORE_SNAPSHOT)
}

/// Whether a record is of a transaction that only a snapshot tells of.
pub(crate) fn is_before_snapshot(record: &[u8]) -> bool {
    record.starts_with(&BEFORE_SNAPSHOT)
}

impl TxStatus {
    pub(crate) fn encode(&self) -> [u8; 13] {
        let mut record = [0; 13];
        record[..8].copy_from_slice(&self.block.to_be_bytes());
        record[8..12].copy_from_slice(&self.index.to_be_bytes());
        record[12] = self.code as u8;
        record
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Self, LedgerError> {
        let parse = || {
            let (block, rest) = record.split_at_checked(8)?;
            let (index, code) = rest.split_at_checked(4)?;
            Some(TxStatus {
                block: u64::from_be_bytes(block.try_into().ok()?),
                index: u32::from_be_bytes(index.try_into().ok()?),
                code: code_of(*code.first()?)?,
            })
        };
        parse().ok_or_else(|| LedgerError::damaged("transaction index record"))
    }
}

/// A validation code from the byte that stands for it in a block's transactions filter.
pub(crate) fn code_of(byte: u8) -> Option<TxValidationCode> {
    TxValidationCode::try_from(i32::from(byte)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn short_ids_sort_by_length_and_then_as_bytes(a in ".{0,16}", b in ".{0,16}") {
            let (x, y) = (key(&a), key(&b));
            prop_assert_eq!(short_id(&x), a.as_bytes());
            let order = (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes()));
            prop_assert_eq!(x.cmp(&y), order);
        }

        #[test]
        fn long_ids_sort_by_length_behind_their_own_prefix(a in 65..400usize, b in 65..400usize) {
            let (x, y) = (key(&"x".repeat(a)), key(&"y".repeat(b)));
            prop_assert!(a == b || x.cmp(&y) == a.cmp(&b));
            let (start, end) = long_ids();
            prop_assert!(x[..] >= *start && x[..] < *end);
        }
    }
}
