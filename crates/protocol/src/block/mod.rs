//! Blocks: hashes, metadata slots, signatures, and what a block must look like before it is used
//! (hashing-and-signing, section 7).

mod metadata;
mod structure;

pub(crate) use metadata::leave_unsigned;
pub use metadata::{
    BlockSignature, commit_hash, consenter_metadata, flags, last_config, set_commit_hash,
    set_flags, sign, signature_parts, unwrap_consenter_metadata, wrap_consenter_metadata,
};
pub use structure::{
    check_envelopes, check_structure, check_successor, config_envelope, is_config,
};

use crate::envelope::ParseError;
use crate::hash::sha256;
use bytes::Bytes;
use consilium_proto::common;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Number of metadata slots.
pub const METADATA_SLOTS: usize = 5;

/// What is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    /// No header.
    #[error("block header is missing")]
    NoHeader,
    /// No envelope.
    #[error("empty block")]
    Empty,
    /// No metadata, or fewer slots than five.
    #[error("block [{0}] does not have metadata or contains too few entries")]
    Metadata(u64),
    /// The data is not what the header says.
    #[error("Header.DataHash is different from Hash(block.Data) for block [{0}]")]
    DataHash(u64),
    /// The block is not the successor of the one it is checked against.
    #[error("block [{number}] does not continue the chain: {reason}")]
    Chain {
        /// Number of the refused block.
        number: u64,
        /// Which link does not fit.
        reason: String,
    },
    /// A message inside does not parse.
    #[error("block [{number}]: {source}")]
    Parse {
        /// Number of the block.
        number: u64,
        /// What does not parse.
        source: ParseError,
    },
    /// The signed part of the metadata names no last config block.
    #[error("block [{0}] names no last config block")]
    NoLastConfig(u64),
    /// More signatures, or more that each of them covers, than any ordering service makes.
    #[error("block [{0}] has too many or too large signatures")]
    Signatures(u64),
    /// Not a config block where one is needed.
    #[error("block is not a config block")]
    NotConfig,
    /// An envelope that does not parse.
    #[error("transaction {index} is invalid: {source}")]
    Envelope {
        /// Index in the block.
        index: usize,
        /// What does not parse.
        source: ParseError,
    },
    /// An envelope without payload.
    #[error("transaction {0} has no payload")]
    NoPayload(usize),
    /// An envelope without signature.
    #[error("transaction {0} has no signature")]
    NoSignature(usize),
    /// An envelope that is longer than its canonical form.
    #[error("transaction {index} has {count} trailing bytes")]
    TrailingBytes {
        /// Index in the block.
        index: usize,
        /// How many bytes too many.
        count: usize,
    },
    /// An envelope that is not in its canonical form.
    #[error("transaction {0} does not match its raw form")]
    NotCanonical(usize),
}

/// DER of `SEQUENCE { INTEGER number, OCTET STRING previous_hash, OCTET STRING data_hash }`: what is
/// hashed and signed of a block's header.
pub fn header_bytes(header: &common::BlockHeader) -> Vec<u8> {
    let mut number = &header.number.to_be_bytes()[..];
    while let [0, rest @ ..] = number {
        if rest.is_empty() {
            break;
        }
        number = rest;
    }
    // The integer is unsigned: a set top bit needs a zero byte before it.
    let sign: &[u8] = if number[0] & 0x80 == 0 { &[] } else { &[0] };
    let mut content =
        Vec::with_capacity(10 + 4 + header.previous_hash.len() + header.data_hash.len());
    put_der(&mut content, 0x02, &[sign, number]);
    put_der(&mut content, 0x04, &[&header.previous_hash]);
    put_der(&mut content, 0x04, &[&header.data_hash]);
    let mut sequence = Vec::with_capacity(content.len() + 4);
    put_der(&mut sequence, 0x30, &[&content]);
    sequence
}

fn put_der(buffer: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    buffer.push(tag);
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        buffer.push(short);
    } else {
        let bytes = length.to_be_bytes();
        let digits = &bytes[length.leading_zeros() as usize / 8..];
        buffer.push(0x80 | digits.len() as u8); // at most 8
        buffer.extend_from_slice(digits);
    }
    for part in parts {
        buffer.extend_from_slice(part);
    }
}

/// The block's hash: SHA-256 of [`header_bytes`].
pub fn header_hash(header: &common::BlockHeader) -> [u8; 32] {
    sha256(&header_bytes(header))
}

/// SHA-256 of all envelopes, one after the other without lengths.
pub fn data_hash(data: &common::BlockData) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for envelope in &data.data {
        hasher.update(envelope);
    }
    hasher.finalize().into()
}

/// A block around encoded envelopes, with five empty metadata slots. `previous_hash` is empty for
/// block 0.
pub fn new_block(number: u64, previous_hash: Bytes, data: Vec<Bytes>) -> common::Block {
    let data = common::BlockData { data };
    let data_hash = Bytes::copy_from_slice(&data_hash(&data));
    common::Block {
        header: Some(common::BlockHeader {
            number,
            previous_hash,
            data_hash,
        }),
        data: Some(data),
        metadata: Some(common::BlockMetadata {
            metadata: vec![Bytes::new(); METADATA_SLOTS],
        }),
    }
}

/// Number of a block (0 when it has no header).
pub fn number(block: &common::Block) -> u64 {
    block.header.as_ref().map_or(0, |header| header.number)
}

/// The encoded envelopes.
pub fn envelopes(block: &common::Block) -> &[Bytes] {
    block.data.as_ref().map_or(&[], |data| &data.data)
}

#[cfg(test)]
mod tests;
