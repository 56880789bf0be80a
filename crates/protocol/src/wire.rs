//! The few protobuf primitives that are written or read by hand: where a hash covers an encoding
//! (so that nothing has to be copied into a message first) and where bytes must be compared with
//! what Go's protobuf library would produce.

use bytes::BufMut;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};

/// Appends `value` as length-delimited `field`, or nothing when it is empty (proto3).
pub(crate) fn put_bytes(buffer: &mut impl BufMut, field: u32, value: &[u8]) {
    if !value.is_empty() {
        put_prefix(buffer, field, value.len());
        buffer.put_slice(value);
    }
}

/// Appends key and length of a length-delimited `field` whose content the caller writes next.
pub(crate) fn put_prefix(buffer: &mut impl BufMut, field: u32, length: usize) {
    encode_key(field, WireType::LengthDelimited, buffer);
    encode_varint(length as u64, buffer);
}

/// Appends a true bool as `field`, or nothing when false (proto3).
pub(crate) fn put_bool(buffer: &mut impl BufMut, field: u32, value: bool) {
    if value {
        encode_key(field, WireType::Varint, buffer);
        buffer.put_u8(1);
    }
}

/// One field of a message as it lies in the buffer.
pub(crate) struct Field<'a> {
    pub number: u32,
    /// The content, when the field is length-delimited.
    pub bytes: Option<&'a [u8]>,
    /// Key and content as encoded.
    pub raw: &'a [u8],
}

/// Takes the first field off `message`; `None` when what is there is not a field.
pub(crate) fn next_field<'a>(message: &mut &'a [u8]) -> Option<Field<'a>> {
    let start = *message;
    let (number, wire_type) = decode_key(message).ok()?;
    let bytes = if wire_type == WireType::LengthDelimited {
        let length = usize::try_from(decode_varint(message).ok()?).ok()?;
        let content = message.get(..length)?;
        *message = &message[length..];
        Some(content)
    } else {
        skip_field(wire_type, number, message, DecodeContext::default()).ok()?;
        None
    };
    Some(Field {
        number,
        bytes,
        raw: &start[..start.len() - message.len()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_off_one_by_one_with_their_raw_bytes() {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, b"abc");
        put_bytes(&mut message, 2, b"");
        put_bool(&mut message, 3, true);
        put_bool(&mut message, 4, false);
        let mut rest = &message[..];
        let first = next_field(&mut rest).unwrap();
        assert_eq!(
            (first.number, first.bytes, first.raw),
            (1, Some(&b"abc"[..]), &b"\x0a\x03abc"[..])
        );
        let second = next_field(&mut rest).unwrap();
        assert_eq!(
            (second.number, second.bytes, second.raw),
            (3, None, &b"\x18\x01"[..])
        );
        assert!(rest.is_empty());
        assert!(
            next_field(&mut &b"\x0a\x05abc"[..]).is_none(),
            "longer than the buffer"
        );
    }
}
