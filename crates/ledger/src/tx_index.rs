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
pub(crate) fn key(tx_id: &str) -> Vec<u8> {
    const REAL: usize = 64;
    if tx_id.len() <= REAL {
        [b"t", tx_id.as_bytes()].concat()
    } else {
        [b"T".as_slice(), &sha256(tx_id.as_bytes())].concat()
    }
}

/// What stands for the place of a transaction that only a snapshot tells of.
const BEFORE_SNAPSHOT: [u8; 13] = [0xff; 13];

/// Keys of ids that are kept as they are, behind the first of these two.
pub(crate) fn short_ids() -> (&'static [u8], &'static [u8]) {
    (b"t", b"u")
}

/// Keys of ids that are kept by their hash.
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
