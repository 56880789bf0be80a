//! Where transactions are, by id.
//!
//! Every transaction of every block is indexed, valid or not, under the id its header claims, else
//! under the id computed from its nonce and creator; what cannot be parsed that far stands under
//! the empty id. The first position of an id stays. A forged envelope that claims somebody's id
//! thus makes the real transaction a duplicate, as on a Fabric peer.
//! fabric: common/ledger/blkstorage/block_serialization.go, blockindex.go

use bytes::Bytes;
use consilium_proto::{common, protos::TxValidationCode};
use consilium_protocol::hash::sha256;
use consilium_protocol::proposal;
use prost::Message;

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
    let envelope = common::Envelope::decode(envelope.clone()).ok()?;
    let header = common::Payload::decode(envelope.payload).ok()?.header?;
    let channel_header = common::ChannelHeader::decode(header.channel_header).ok()?;
    if !channel_header.tx_id.is_empty() {
        return Some(channel_header.tx_id);
    }
    let signature_header = common::SignatureHeader::decode(header.signature_header).ok()?;
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
