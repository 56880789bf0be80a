//! Decoding as Go decodes: fields of a known number in an unexpected wire type.
//!
//! Go's decoder treats such a field as an unknown one and goes on; prost calls the whole message
//! malformed. Because that decides which code a transaction gets, a message that prost refuses for that
//! reason alone is decoded again without those fields (`protobuf-go: internal/impl/decode.go`, errUnknown).

use bytes::{Buf, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use prost::{DecodeError, Message};

use crate::wire;

/// How deep in a message unexpected fields are looked for; what has one deeper is malformed. The work grows
/// with size and depth, and policies and configuration groups nest as deep as their author likes. A channel's
/// configuration is ten levels deep, a read-write set six; gates of a policy take two each.
const DEEPEST: usize = 16;

/// Decodes `bytes` as `M`. Byte fields of the result are slices of `bytes`. As Go does, a field of an
/// unexpected wire type is passed over.
///
/// For every message that comes from elsewhere and that all peers must read alike.
///
/// # Errors
/// prost's, when Go refuses the message too.
pub fn decode<M: Message + Default>(bytes: &Bytes) -> Result<M, DecodeError> {
    M::decode(bytes.clone()).or_else(|refused| without_unexpected(bytes, &refused).ok_or(refused))
}

/// What prost makes of one field of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It, or something inside it, has another wire type than declared.
    Unexpected,
    Bad,
}

fn verdict(decoded: Result<(), &DecodeError>) -> Verdict {
    match decoded {
        Ok(()) => Verdict::Good,
        // prost has no kinds of errors to ask for.
        Err(error) if error.to_string().contains("invalid wire type") => Verdict::Unexpected,
        Err(_) => Verdict::Bad,
    }
}

/// Decodes as Go would what prost refused; `None` when Go refuses it too.
fn without_unexpected<M: Message + Default>(bytes: &Bytes, refused: &DecodeError) -> Option<M> {
    if verdict(Err(refused)) != Verdict::Unexpected {
        return None;
    }
    let judge = |place: &[u32], part: &[u8]| {
        let frame = frame(place, part.len());
        let decoded = M::decode(frame.chain(part));
        verdict(decoded.as_ref().map(|_| ()))
    };
    let kept = kept(bytes, &mut Vec::new(), &judge)?;
    M::decode(Bytes::from(kept)).ok()
}

/// What stands before a part of `length` bytes that lies in the messages with these field numbers, outermost
/// first, and is all that they hold.
fn frame(place: &[u32], length: usize) -> Bytes {
    let mut lengths = Vec::with_capacity(place.len());
    let mut inner = length;
    for number in place.iter().rev() {
        lengths.push(inner);
        inner += key_len(*number) + encoded_len_varint(inner as u64);
    }
    let mut frame = Vec::with_capacity(inner - length);
    for (number, length) in place.iter().zip(lengths.iter().rev()) {
        encode_key(*number, WireType::LengthDelimited, &mut frame);
        encode_varint(*length as u64, &mut frame);
    }
    frame.into()
}

/// `content` of the message at `place` without unexpected fields, at any depth; `judge` decodes one field in
/// its place.
fn kept(
    content: &[u8],
    place: &mut Vec<u32>,
    judge: &dyn Fn(&[u32], &[u8]) -> Verdict,
) -> Option<Vec<u8>> {
    if place.len() > DEEPEST {
        return None;
    }
    let mut good = Vec::with_capacity(content.len());
    let mut rest = content;
    while !rest.is_empty() {
        let field = wire::next_field(&mut rest)?;
        match judge(place, field.raw) {
            Verdict::Good => good.extend_from_slice(field.raw),
            Verdict::Bad => return None,
            Verdict::Unexpected => {
                let Some(inner) = field.bytes else { continue };
                place.push(field.number);
                // A message of another type than declared is unexpected also when it is empty.
                if judge(place, &[]) == Verdict::Good {
                    let inner = kept(inner, place, judge)?;
                    good.extend_from_slice(&frame(&[field.number], inner.len()));
                    good.extend_from_slice(&inner);
                }
                place.pop();
            }
        }
    }
    Some(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{common, kvrwset};

    fn parse<M: Message + Default>(bytes: &[u8]) -> Option<M> {
        decode(&Bytes::copy_from_slice(bytes)).ok()
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

    /// Gates in gates (two messages each); the innermost has `n` 3, and before it `n` as bytes.
    fn gates(count: usize) -> Option<common::SignaturePolicy> {
        let mut gate = b"\x0a\x01x\x08\x03".to_vec();
        let wrap = |number: u32, inner: &[u8]| [&frame(&[number], inner.len()), inner].concat();
        for _ in 1..count {
            gate = wrap(2, &wrap(2, &gate));
        }
        parse(&wrap(2, &gate))
    }

    #[test]
    fn an_unexpected_field_far_down_makes_the_message_malformed() {
        use common::signature_policy::Type;
        let mut policy = gates(DEEPEST / 2).expect("within the bound");
        for _ in 1..DEEPEST / 2 {
            let Some(Type::NOutOf(gate)) = policy.r#type else {
                panic!("a gate");
            };
            assert_eq!((gate.n, gate.rules.len()), (0, 1));
            policy = gate.rules[0].clone();
        }
        let Some(Type::NOutOf(innermost)) = policy.r#type else {
            panic!("a gate");
        };
        assert_eq!((innermost.n, innermost.rules.len()), (3, 0));
        assert_eq!(gates(DEEPEST / 2 + 1), None);
        assert_eq!(gates(45), None);
    }
}
