//! Fields of a known number in an unexpected wire type.
//!
//! Go's decoder treats such a field as an unknown one and goes on; prost calls the whole message
//! malformed. Because that decides which code a transaction gets, a message that prost refuses for that
//! reason alone is decoded again without those fields (`protobuf-go: internal/impl/decode.go`, errUnknown).

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::wire;

/// What prost makes of one field of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It, or something inside it, has another wire type than declared.
    Unexpected,
    Bad,
}

fn verdict(error: Result<(), prost::DecodeError>) -> Verdict {
    match error {
        Ok(()) => Verdict::Good,
        // prost has no kinds of errors to ask for.
        Err(error) if error.to_string().contains("invalid wire type") => Verdict::Unexpected,
        Err(_) => Verdict::Bad,
    }
}

/// Decodes as Go would what prost refused; `None` when Go refuses it too.
pub(crate) fn decode_without_unexpected<M: Message + Default>(
    bytes: &Bytes,
    refused: &prost::DecodeError,
) -> Option<M> {
    if verdict(Err(refused.clone())) != Verdict::Unexpected {
        return None;
    }
    let judge = |field: &[u8]| verdict(M::decode(field).map(|_| ()));
    let kept = without_unexpected(bytes, &judge)?;
    M::decode(Bytes::from(kept)).ok()
}

/// `content` without unexpected fields, at any depth; `judge` decodes one field in its place.
fn without_unexpected(content: &[u8], judge: &dyn Fn(&[u8]) -> Verdict) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(content.len());
    let mut rest = content;
    while !rest.is_empty() {
        let field = wire::next_field(&mut rest)?;
        match judge(field.raw) {
            Verdict::Good => kept.extend_from_slice(field.raw),
            Verdict::Bad => return None,
            Verdict::Unexpected => {
                let framed = |inner: &[u8]| {
                    let mut framed = Vec::with_capacity(inner.len() + 12);
                    encode_key(field.number, WireType::LengthDelimited, &mut framed);
                    encode_varint(inner.len() as u64, &mut framed);
                    framed.extend_from_slice(inner);
                    framed
                };
                // A message of another type than declared is unexpected also when it is empty.
                if let Some(inner) = field.bytes
                    && judge(&framed(&[])) == Verdict::Good
                {
                    let inner = without_unexpected(inner, &|part| judge(&framed(part)))?;
                    kept.extend_from_slice(&framed(&inner));
                }
            }
        }
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use consilium_proto::{common, kvrwset};

    use super::*;
    use crate::envelope::decode;

    fn parse<M: Message + Default>(bytes: &[u8]) -> Option<M> {
        decode("message", &Bytes::copy_from_slice(bytes)).ok()
    }

    #[test]
    fn a_field_of_another_wire_type_is_unknown() {
        // Payload.header as a number, then data.
        let payload: common::Payload = parse(b"\x08\x01\x12\x01x").unwrap();
        assert_eq!(payload.header, None);
        assert_eq!(payload.data, "x");
        // ChannelHeader.type as bytes.
        let header: common::ChannelHeader = parse(b"\x0a\x02hi\x10\x03").unwrap();
        assert_eq!((header.r#type, header.version), (0, 3));
    }

    #[test]
    fn what_is_right_around_it_stays_at_any_depth() {
        // KVRWSet.reads[0] = {key as a number, version {block_num as bytes, tx_num 7}}.
        let rwset: kvrwset::KvrwSet = parse(b"\x0a\x09\x08\x01\x12\x05\x0a\x01x\x10\x07").unwrap();
        assert_eq!(rwset.reads.len(), 1);
        assert_eq!(rwset.reads[0].key, "");
        let version = rwset.reads[0].version.unwrap();
        assert_eq!((version.block_num, version.tx_num), (0, 7));
    }

    #[test]
    fn what_is_malformed_in_another_way_stays_so() {
        for bytes in [
            // After an unexpected field: a length beyond the end, text that is no UTF-8.
            &b"\x08\x01\x12\x05x"[..],
            b"\x08\x01\xff\xff\xff\xff",
        ] {
            assert_eq!(parse::<common::Payload>(bytes), None, "{bytes:?}");
        }
        assert_eq!(parse::<kvrwset::KvRead>(b"\x10\x01\x0a\x01\xff"), None);
    }
}
