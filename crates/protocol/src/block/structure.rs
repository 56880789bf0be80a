//! What a block must look like before anything in it is believed.

use super::{BlockError, METADATA_SLOTS, data_hash, envelopes, header_hash};
use crate::envelope::{self, ParseError, decode};
use crate::wire;
use bytes::Bytes;
use consilium_proto::common;
use prost::Message;

/// Checks header, metadata slots, data hash, and that every envelope is canonical. Signatures and
/// the place in the chain are not looked at ([`check_successor`] does the latter).
pub fn check_structure(block: &common::Block) -> Result<(), BlockError> {
    let header = block.header.as_ref().ok_or(BlockError::NoHeader)?;
    let data = block
        .data
        .as_ref()
        .filter(|data| !data.data.is_empty())
        .ok_or(BlockError::Empty)?;
    let slots = block
        .metadata
        .as_ref()
        .map_or(0, |metadata| metadata.metadata.len());
    if slots < METADATA_SLOTS {
        return Err(BlockError::Metadata(header.number));
    }
    if header.data_hash != data_hash(data)[..] {
        return Err(BlockError::DataHash(header.number));
    }
    check_envelopes(data)
}

/// Checks that `block` follows on the block with header `previous`.
pub fn check_successor(
    block: &common::Block,
    previous: &common::BlockHeader,
) -> Result<(), BlockError> {
    let header = block.header.as_ref().ok_or(BlockError::NoHeader)?;
    let reason = if previous.number.checked_add(1) != Some(header.number) {
        format!("expected the successor of [{}]", previous.number)
    } else if header.previous_hash != header_hash(previous)[..] {
        format!(
            "its previous hash is {}",
            hex::encode(&header.previous_hash)
        )
    } else {
        return Ok(());
    };
    Err(BlockError::Chain {
        number: header.number,
        reason,
    })
}

/// Checks that every envelope has payload and signature and is encoded canonically. The data hash
/// has no separators between envelopes; without this check other cuts of the same bytes would have
/// the same hash. A lone CONFIG envelope is exempt: there is nothing to cut.
pub fn check_envelopes(data: &common::BlockData) -> Result<(), BlockError> {
    if data.data.is_empty() {
        return Err(BlockError::Empty);
    }
    if let [single] = &data.data[..]
        && is_config_envelope(single)
    {
        return Ok(());
    }
    data.data
        .iter()
        .enumerate()
        .try_for_each(|(index, raw)| check_envelope(index, raw))
}

fn check_envelope(index: usize, raw: &Bytes) -> Result<(), BlockError> {
    let parsed: common::Envelope =
        decode("Envelope", raw).map_err(|source| BlockError::Envelope { index, source })?;
    if parsed.payload.is_empty() {
        return Err(BlockError::NoPayload(index));
    }
    if parsed.signature.is_empty() {
        return Err(BlockError::NoSignature(index));
    }
    // Go's encoder writes the known fields in order and then, untouched, all unknown ones. `raw` is
    // canonical if it starts with the former and everything after is unknown fields.
    let known = parsed.encoded_len();
    let mut rest = &raw[..];
    let mut unknown = 0;
    while !rest.is_empty() {
        let Some(field) = wire::next_field(&mut rest) else {
            return Err(BlockError::NotCanonical(index));
        };
        if !matches!(field.number, 1 | 2) {
            unknown += field.raw.len();
        }
    }
    if known + unknown < raw.len() {
        return Err(BlockError::TrailingBytes {
            index,
            count: raw.len() - known - unknown,
        });
    }
    let mut head = &raw[..];
    let canonical = [(1, &parsed.payload), (2, &parsed.signature)]
        .into_iter()
        .all(|(number, content)| {
            let mut expected = Vec::with_capacity(12);
            wire::put_prefix(&mut expected, number, content.len());
            wire::next_field(&mut head).is_some_and(|field| {
                field.number == number
                    && field.bytes == Some(content)
                    && field.raw.starts_with(&expected)
            })
        });
    if canonical {
        Ok(())
    } else {
        Err(BlockError::NotCanonical(index))
    }
}

fn is_config_envelope(envelope: &Bytes) -> bool {
    header_type(envelope).is_ok_and(|kind| kind == common::HeaderType::Config as i32)
}

/// Header type of an envelope, without taking the rest apart.
fn header_type(bytes: &Bytes) -> Result<i32, ParseError> {
    let envelope: common::Envelope = decode("Envelope", bytes)?;
    let payload: common::Payload = decode("Payload", &envelope.payload)?;
    let header = payload.header.ok_or(ParseError::NoHeader)?;
    let header: common::ChannelHeader = decode("ChannelHeader", &header.channel_header)?;
    Ok(header.r#type)
}

/// Whether the block carries a configuration: exactly one envelope, of type CONFIG.
pub fn is_config(block: &common::Block) -> bool {
    matches!(envelopes(block), [single] if is_config_envelope(single))
}

/// The configuration of a config block, with the channel name of its header.
pub fn config_envelope(
    block: &common::Block,
) -> Result<(String, common::ConfigEnvelope), BlockError> {
    let number = super::number(block);
    let [single] = envelopes(block) else {
        return Err(BlockError::NotConfig);
    };
    let error = |source| BlockError::Parse { number, source };
    let parsed = envelope::parse_bytes(single).map_err(error)?;
    if parsed.kind() != Some(common::HeaderType::Config) {
        return Err(BlockError::NotConfig);
    }
    let config = decode("ConfigEnvelope", &parsed.data).map_err(error)?;
    Ok((parsed.channel_header.channel_id, config))
}
