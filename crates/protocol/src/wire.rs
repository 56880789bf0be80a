//! The few protobuf primitives that are written or read by hand: where a hash covers an encoding
//! (so that nothing has to be copied into a message first) and where bytes must be compared with
//! what Go's protobuf library would produce.

use bytes::BufMut;
pub(crate) use consilium_proto::wire::next_field;
use prost::encoding::{WireType, encode_key, encode_varint};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_they_are_read() {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, b"abc");
        put_bytes(&mut message, 2, b"");
        put_bool(&mut message, 3, true);
        put_bool(&mut message, 4, false);
        assert_eq!(message, b"\x0a\x03abc\x18\x01");
        let mut rest = &message[..];
        let first = next_field(&mut rest).unwrap();
        assert_eq!((first.number, first.bytes), (1, Some(&b"abc"[..])));
    }
}
