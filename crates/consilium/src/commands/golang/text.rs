//! Messages as Go's `%v` prints them: `status:500 message:"not found"`.
//!
//! source: google.golang.org/protobuf: internal/encoding/text. Go puts one blank or two between
//! fields, by chance and on purpose, so that nobody relies on it; here it is one.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};

use super::{declared, dynamic, json::name_of};

/// A message of the type `name` on one line.
///
/// # Errors
/// The bytes are no such message.
pub fn text(name: &str, encoded: &[u8]) -> anyhow::Result<String> {
    Ok(fields(&dynamic(name, encoded)?))
}

fn fields(of: &DynamicMessage) -> String {
    let mut parts = Vec::new();
    for field in declared(&of.descriptor()) {
        if !of.has_field(&field) {
            continue;
        }
        let name = field.name();
        match &*of.get_field(&field) {
            Value::List(values) => {
                parts.extend(values.iter().map(|item| part(name, item, &field.kind())));
            }
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|(key, _)| name_of(key));
                parts.extend(
                    entries
                        .iter()
                        .map(|(key, item)| format!("{name}:{{{}}}", entry(&field, key, item))),
                );
            }
            single => parts.push(part(name, single, &field.kind())),
        }
    }
    parts.join(" ")
}

fn entry(field: &FieldDescriptor, key: &MapKey, item: &Value) -> String {
    let key = match key {
        MapKey::String(key) => quoted(key.as_bytes()),
        other => name_of(other),
    };
    let kind = match field.kind() {
        Kind::Message(entry) => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    format!("key:{key} {}", part("value", item, &kind))
}

fn part(name: &str, of: &Value, kind: &Kind) -> String {
    let value = match of {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::String(value) => quoted(value.as_bytes()),
        Value::Bytes(value) => quoted(value),
        Value::EnumNumber(number) => {
            let known = kind.as_enum().and_then(|known| known.get_value(*number));
            known.map_or_else(|| number.to_string(), |known| known.name().to_owned())
        }
        Value::Message(value) => format!("{{{}}}", fields(value)),
        // Lists and maps are taken apart before.
        Value::List(_) | Value::Map(_) => String::new(),
    };
    format!("{name}:{value}")
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\0'..' ' | '\x7f' => {
                    out.push_str(&format!("\\x{:02x}", u32::from(character)));
                }
                '\u{80}'..='\u{9f}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use consilium_proto::{lifecycle, protos};
    use prost::Message;

    use super::*;

    #[test]
    fn a_response_reads_as_go_prints_it() {
        let response = protos::Response {
            status: 500,
            message: "no \"key\"\nä".into(),
            payload: vec![b'a', 0, 0xff, b'\\'].into(),
        };
        assert_eq!(
            text("protos.Response", &response.encode_to_vec()).unwrap(),
            r#"status:500 message:"no \"key\"\nä" payload:"a\x00\xff\\""#
        );
        assert_eq!(text("protos.Response", &[]).unwrap(), "");
    }

    #[test]
    fn messages_lists_maps_and_enums_stand_in_braces_and_by_name() {
        let result = lifecycle::CheckCommitReadinessResult {
            approvals: [("A".to_owned(), true)].into(),
            mismatches: [(
                "B".to_owned(),
                lifecycle::check_commit_readiness_result::Mismatches {
                    items: vec!["x".into(), "y".into()],
                },
            )]
            .into(),
        };
        assert_eq!(
            text(
                "lifecycle.CheckCommitReadinessResult",
                &result.encode_to_vec()
            )
            .unwrap(),
            r#"approvals:{key:"A" value:true} mismatches:{key:"B" value:{items:"x" items:"y"}}"#
        );
        let transaction = protos::FilteredTransaction {
            txid: "t".into(),
            r#type: 3,
            tx_validation_code: 10,
            data: None,
        };
        assert_eq!(
            text("protos.FilteredTransaction", &transaction.encode_to_vec()).unwrap(),
            r#"txid:"t" type:ENDORSER_TRANSACTION tx_validation_code:ENDORSEMENT_POLICY_FAILURE"#
        );
    }
}
