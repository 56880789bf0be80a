//! Messages as bytes, always the same for the same message: entries of maps are sorted by their keys,
//! and have key and value even when they are empty, as Go writes them.

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};

/// A message's bytes.
pub fn encode(message: &DynamicMessage) -> Vec<u8> {
    let mut out = Vec::new();
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(|(field, _)| field.number());
    for (field, value) in fields {
        match value {
            Value::Message(inner) => delimited(&mut out, field.number(), &encode(inner)),
            Value::List(items) if matches!(field.kind(), Kind::Message(_)) => {
                for item in items.iter().filter_map(Value::as_message) {
                    delimited(&mut out, field.number(), &encode(item));
                }
            }
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                for (key, value) in entries {
                    delimited(&mut out, field.number(), &entry(&field, key, value));
                }
            }
            other => put(&mut out, message, &field, other),
        }
    }
    out
}

fn delimited(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// A field alone; nothing when it is empty.
fn put(out: &mut Vec<u8>, of: &DynamicMessage, field: &FieldDescriptor, value: &Value) {
    let mut alone = DynamicMessage::new(of.descriptor());
    alone.set_field(field, value.clone());
    out.extend_from_slice(&alone.encode_to_vec());
}

fn entry(field: &FieldDescriptor, key: &MapKey, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    // A map's field has such a type.
    let Kind::Message(entry) = field.kind() else {
        return out;
    };
    let message = DynamicMessage::new(entry.clone());
    let sides = [
        (entry.map_entry_key_field(), Value::from(key.clone())),
        (entry.map_entry_value_field(), value.clone()),
    ];
    for (side, value) in sides {
        if let Value::Message(inner) = &value {
            delimited(&mut out, side.number(), &encode(inner));
            continue;
        }
        let before = out.len();
        put(&mut out, &message, &side, &value);
        if out.len() == before {
            empty(&mut out, &side);
        }
    }
    out
}

/// A field with its default value, spelled out.
fn empty(out: &mut Vec<u8>, field: &FieldDescriptor) {
    let (wire_type, length) = match field.kind() {
        Kind::String | Kind::Bytes | Kind::Message(_) => (WireType::LengthDelimited, 1),
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => (WireType::SixtyFourBit, 8),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => (WireType::ThirtyTwoBit, 4),
        _ => (WireType::Varint, 1),
    };
    encode_key(field.number(), wire_type, out);
    out.resize(out.len() + length, 0);
}
