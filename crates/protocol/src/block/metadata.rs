//! The five metadata slots: signatures, last config, validation flags, (unused), commit hash.

use super::{BlockError, METADATA_SLOTS, header_bytes, number};
use crate::envelope::{self, decode};
use bytes::{BufMut, Bytes, BytesMut};
use common::BlockMetadataIndex as Slot;
use consilium_msp::{SignError, SignedData, Signer};
use consilium_proto::common;
use prost::Message;

/// The largest SIGNATURES slot, and the most bytes that all its signatures cover, each on its own: what a
/// signature covers is put together for it, so that many of them over a long value would take thousands
/// of times the room of the block. A hundred orderers need a tenth of either.
const LARGEST_SLOT: usize = 1024 * 1024;
const MOST_COVERED: usize = 16 * 1024 * 1024;

fn slot(block: &common::Block, slot: Slot) -> &Bytes {
    static EMPTY: Bytes = Bytes::new();
    block
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.metadata.get(slot as usize))
        .unwrap_or(&EMPTY)
}

fn set_slot(block: &mut common::Block, slot: Slot, value: Bytes) {
    let slots = &mut block.metadata.get_or_insert_default().metadata;
    if slots.len() < METADATA_SLOTS {
        slots.resize(METADATA_SLOTS, Bytes::new());
    }
    slots[slot as usize] = value;
}

fn parse<M: Message + Default>(
    block: &common::Block,
    message: &'static str,
    bytes: &Bytes,
) -> Result<M, BlockError> {
    decode(message, bytes).map_err(|source| BlockError::Parse {
        number: number(block),
        source,
    })
}

/// Wraps an `etcdraft.BlockMetadata` message as consenter metadata.
pub fn wrap_consenter_metadata(raft: &consilium_proto::etcdraft::BlockMetadata) -> Bytes {
    let value = raft.encode_to_vec().into();
    common::Metadata {
        value,
        signatures: Vec::new(),
    }
    .encode_to_vec()
    .into()
}

/// The inverse of [`wrap_consenter_metadata`].
pub fn unwrap_consenter_metadata(
    bytes: &Bytes,
) -> Result<consilium_proto::etcdraft::BlockMetadata, envelope::ParseError> {
    let wrapper: common::Metadata = decode("Metadata", bytes)?;
    decode("BlockMetadata", &wrapper.value)
}

/// Fills the SIGNATURES and LAST_CONFIG slots, with one signature by `signer`. `consenter_metadata`
/// is what the consensus leaves in the block (for etcdraft: [`wrap_consenter_metadata`]).
pub fn sign(
    block: &mut common::Block,
    last_config: u64,
    consenter_metadata: Bytes,
    signer: &dyn Signer,
) -> Result<(), SignError> {
    let header = block.header.get_or_insert_default();
    let value = signed_value(last_config, consenter_metadata);
    let signature_header = Bytes::from(envelope::signature_header(signer).encode_to_vec());
    let signature =
        signer.sign(&[&value[..], &signature_header, &header_bytes(header)].concat())?;
    let signatures = vec![common::MetadataSignature {
        signature_header,
        signature,
        identifier_header: Bytes::new(),
    }];
    fill(block, last_config, value, signatures);
    Ok(())
}

/// The SIGNATURES slot without any signature, as a genesis block has it.
pub(crate) fn leave_unsigned(block: &mut common::Block) {
    fill(block, 0, signed_value(0, Bytes::new()), Vec::new());
}

fn signed_value(last_config: u64, consenter_metadata: Bytes) -> Bytes {
    // `last_config` is present even when its index is 0: Fabric dereferences it unchecked.
    let value = common::OrdererBlockMetadata {
        last_config: Some(common::LastConfig { index: last_config }),
        consenter_metadata,
    };
    value.encode_to_vec().into()
}

fn fill(
    block: &mut common::Block,
    last_config: u64,
    value: Bytes,
    signatures: Vec<common::MetadataSignature>,
) {
    set_slot(
        block,
        Slot::Signatures,
        common::Metadata { value, signatures }
            .encode_to_vec()
            .into(),
    );
    // Kept for old readers; index 0 encodes to nothing at all.
    let copy = common::LastConfig { index: last_config }
        .encode_to_vec()
        .into();
    #[allow(deprecated, reason = "the slot is still written by every orderer")]
    set_slot(
        block,
        Slot::LastConfig,
        common::Metadata {
            value: copy,
            signatures: Vec::new(),
        }
        .encode_to_vec()
        .into(),
    );
}

/// Who a block signature claims to be by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockSignature {
    /// By a serialized identity (etcdraft).
    Identity(SignedData),
    /// By a number of the consenter mapping (BFT): the identity is to be looked up in the channel's
    /// configuration.
    Consenter {
        /// Id in the mapping.
        id: u32,
        /// The signed bytes.
        data: Bytes,
        /// The signature.
        signature: Bytes,
    },
}

/// Everything that signs this block, in both forms. Nothing is verified.
pub fn signature_parts(block: &common::Block) -> Result<Vec<BlockSignature>, BlockError> {
    let header = header_bytes(block.header.as_ref().ok_or(BlockError::NoHeader)?);
    let encoded = slot(block, Slot::Signatures);
    let too_large = || BlockError::Signatures(number(block));
    if encoded.len() > LARGEST_SLOT {
        return Err(too_large());
    }
    let metadata: common::Metadata = parse(block, "Metadata", encoded)?;
    // The headers of the signatures are in the slot, and so bounded already.
    let each = metadata.value.len() + header.len();
    if metadata.signatures.len().saturating_mul(each) > MOST_COVERED {
        return Err(too_large());
    }
    let mut parts = Vec::with_capacity(metadata.signatures.len());
    for signature in metadata.signatures {
        let by_number =
            signature.signature_header.is_empty() && !signature.identifier_header.is_empty();
        let signer_header = if by_number {
            &signature.identifier_header
        } else {
            &signature.signature_header
        };
        let mut data =
            BytesMut::with_capacity(metadata.value.len() + signer_header.len() + header.len());
        data.put_slice(&metadata.value);
        data.put_slice(signer_header);
        data.put_slice(&header);
        let data = data.freeze();
        parts.push(if by_number {
            let identifier: common::IdentifierHeader =
                parse(block, "IdentifierHeader", signer_header)?;
            BlockSignature::Consenter {
                id: identifier.identifier,
                data,
                signature: signature.signature,
            }
        } else {
            let by: common::SignatureHeader = parse(block, "SignatureHeader", signer_header)?;
            BlockSignature::Identity(SignedData {
                data,
                identity: by.creator,
                signature: signature.signature,
            })
        });
    }
    Ok(parts)
}

fn orderer_metadata(
    block: &common::Block,
) -> Result<Option<common::OrdererBlockMetadata>, BlockError> {
    let metadata: common::Metadata = parse(block, "Metadata", slot(block, Slot::Signatures))?;
    if metadata.value.is_empty() {
        return Ok(None);
    }
    Ok(Some(parse(block, "OrdererBlockMetadata", &metadata.value)?))
}

/// Number of the newest config block at this block. Blocks from before Fabric 1.4.1 have it only in
/// the LAST_CONFIG slot.
pub fn last_config(block: &common::Block) -> Result<u64, BlockError> {
    if let Some(metadata) = orderer_metadata(block)? {
        return metadata
            .last_config
            .map(|last| last.index)
            .ok_or(BlockError::NoLastConfig(number(block)));
    }
    #[allow(deprecated, reason = "old blocks have it only there")]
    let metadata: common::Metadata = parse(block, "Metadata", slot(block, Slot::LastConfig))?;
    let last: common::LastConfig = parse(block, "LastConfig", &metadata.value)?;
    Ok(last.index)
}

/// What the consensus left in this block; empty in a genesis block. Blocks from before Fabric 1.4.1
/// have it in the ORDERER slot.
pub fn consenter_metadata(block: &common::Block) -> Result<Bytes, BlockError> {
    if let Some(metadata) = orderer_metadata(block)? {
        return Ok(metadata.consenter_metadata);
    }
    #[allow(deprecated, reason = "old blocks have it only there")]
    let metadata: common::Metadata = parse(block, "Metadata", slot(block, Slot::Orderer))?;
    Ok(metadata.value)
}

/// Validation codes, one byte per transaction; empty until a peer has validated the block.
pub fn flags(block: &common::Block) -> &[u8] {
    slot(block, Slot::TransactionsFilter)
}

/// Writes the validation codes.
pub fn set_flags(block: &mut common::Block, flags: impl Into<Bytes>) {
    set_slot(block, Slot::TransactionsFilter, flags.into());
}

/// The commit hash that a peer wrote, if there is one.
pub fn commit_hash(block: &common::Block) -> Option<Bytes> {
    let metadata = common::Metadata::decode(slot(block, Slot::CommitHash).clone()).ok()?;
    (!metadata.value.is_empty()).then_some(metadata.value)
}

/// Writes the commit hash.
pub fn set_commit_hash(block: &mut common::Block, hash: &[u8]) {
    let metadata = common::Metadata {
        value: Bytes::copy_from_slice(hash),
        signatures: Vec::new(),
    };
    set_slot(block, Slot::CommitHash, metadata.encode_to_vec().into());
}
