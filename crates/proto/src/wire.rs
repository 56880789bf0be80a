//! Fields of a message as they lie in the buffer, for those who must look at bytes before they look at
//! messages.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// One field of a message as it lies in the buffer.
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// The content, when the field is length-delimited.
    pub bytes: Option<&'a [u8]>,
    /// Key and content as encoded.
    pub raw: &'a [u8],
}

/// Takes the first field off `message`; `None` when what is there is not a field.
pub fn next_field<'a>(message: &mut &'a [u8]) -> Option<Field<'a>> {
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
        let mut rest = &b"\x0a\x03abc\x18\x01"[..];
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
