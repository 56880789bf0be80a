//! JSON as Go's `encoding/json` makes it of protobuf's generated structs: fields in the order of their
//! declaration under their names in the schema, empty ones left out, a oneof as an object with the
//! name of its variant, enums as numbers.
//!
//! source: google.golang.org/protobuf: compiler/protogen (struct tags), encoding/json

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use prost_reflect::{DynamicMessage, MapKey, ReflectMessage, Value};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::{declared, dynamic};

/// `json.Marshal` of a message of the type `name`.
///
/// # Errors
/// The bytes are no such message.
pub fn json(name: &str, encoded: &[u8]) -> anyhow::Result<String> {
    written(&Struct(&dynamic(name, encoded)?), CompactFormatter)
}

/// `json.MarshalIndent` of a message of the type `name`, with tabs.
///
/// # Errors
/// The bytes are no such message.
pub fn json_indented(name: &str, encoded: &[u8]) -> anyhow::Result<String> {
    indented(&Struct(&dynamic(name, encoded)?))
}

/// `json.MarshalIndent` of any value, with tabs.
///
/// # Errors
/// It is no JSON, for instance by keys that are no text.
pub fn indented(value: &impl Serialize) -> anyhow::Result<String> {
    written(value, PrettyFormatter::with_indent(b"\t"))
}

/// `json.Marshal` of any value.
///
/// # Errors
/// It is no JSON, for instance by keys that are no text.
pub fn compact(value: &impl Serialize) -> anyhow::Result<String> {
    written(value, CompactFormatter)
}

/// `json.Indent` of a document, with tabs: what is in it stays as it is, blanks behind it as well.
///
/// # Errors
/// It is no JSON.
pub fn indent(document: &str) -> anyhow::Result<String> {
    let _: serde::de::IgnoredAny = serde_json::from_str(document)?;
    let mut out = String::with_capacity(document.len() * 2);
    let mut depth = 0_usize;
    let content = document.trim_end();
    let mut characters = content.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n('\t', depth));
    };
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                out.push('"');
                while let Some(inner) = characters.next() {
                    out.push(inner);
                    match inner {
                        '"' => break,
                        '\\' => out.extend(characters.next()),
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|next| next.is_whitespace()).is_some() {}
                match characters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            blank if blank.is_whitespace() => {}
            other => out.push(other),
        }
    }
    out.push_str(document.get(content.len()..).unwrap_or_default());
    Ok(out)
}

fn written(value: &impl Serialize, formatter: impl Formatter) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer)?;
    let text = String::from_utf8(bytes)?;
    // Go writes these so that JSON may stand in HTML and JavaScript. Outside of strings JSON has none.
    Ok([
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ]
    .iter()
    .fold(text, |text, (character, escape)| {
        text.replace(character, escape)
    }))
}

/// A message as a Go struct.
struct Struct<'a>(&'a DynamicMessage);

impl Serialize for Struct<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = self.0;
        let mut fields = serializer.serialize_map(None)?;
        for field in declared(&of.descriptor()) {
            if let Some(oneof) = field.containing_oneof().filter(|one| !one.is_synthetic()) {
                // One struct field stands for all variants, where the first is declared.
                if oneof.fields().map(|field| field.number()).min() != Some(field.number()) {
                    continue;
                }
                let name = capitalized(oneof.name());
                match oneof.fields().find(|field| of.has_field(field)) {
                    Some(chosen) => {
                        let inner = of.get_field(&chosen);
                        let variant = BTreeMap::from([(capitalized(chosen.name()), Item(&inner))]);
                        fields.serialize_entry(&name, &variant)?;
                    }
                    None => fields.serialize_entry(&name, &())?,
                }
            } else if of.has_field(&field) {
                fields.serialize_entry(field.name(), &Item(&of.get_field(&field)))?;
            }
        }
        fields.end()
    }
}

/// A field's value, or one of several.
struct Item<'a>(&'a Value);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(value) => value.serialize(serializer),
            Value::I32(value) | Value::EnumNumber(value) => value.serialize(serializer),
            Value::I64(value) => value.serialize(serializer),
            Value::U32(value) => value.serialize(serializer),
            Value::U64(value) => value.serialize(serializer),
            Value::F32(value) => value.serialize(serializer),
            Value::F64(value) => value.serialize(serializer),
            Value::String(value) => value.serialize(serializer),
            Value::Bytes(value) => BASE64_STANDARD.encode(value).serialize(serializer),
            Value::Message(value) => Struct(value).serialize(serializer),
            Value::List(values) => serializer.collect_seq(values.iter().map(Item)),
            Value::Map(entries) => {
                let sorted = entries.iter().map(|(key, item)| (name_of(key), Item(item)));
                serializer.collect_map(sorted.collect::<BTreeMap<_, _>>())
            }
        }
    }
}

/// A map's key as a name.
pub fn name_of(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// `n_out_of` as the name of a Go field: `NOutOf`.
fn capitalized(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use consilium_proto::{common, lifecycle, protos};
    use prost::Message;

    use super::*;

    #[test]
    fn a_document_is_indented_and_keeps_its_order_and_numbers() {
        let document = r#" {"b":1.50,"a":[1,{"c":"x, {\"}"}],"d":{},"e":[ ], "f":null}"#;
        let expected = "{\n\t\"b\": 1.50,\n\t\"a\": [\n\t\t1,\n\t\t{\n\t\t\t\"c\": \"x, {\\\"}\"\n\t\t}\n\t],\n\t\"d\": {},\n\t\"e\": [],\n\t\"f\": null\n}";
        assert_eq!(indent(document).unwrap(), expected);
        assert_eq!(indent("[1] \n").unwrap(), "[\n\t1\n] \n");
        assert!(indent("{").is_err());
    }

    #[test]
    fn a_chains_height_and_hashes_are_one_line() {
        let info = common::BlockchainInfo {
            height: 7,
            current_block_hash: vec![1, 2, 3].into(),
            previous_block_hash: vec![255].into(),
            bootstrapping_snapshot_info: None,
        };
        assert_eq!(
            json("common.BlockchainInfo", &info.encode_to_vec()).unwrap(),
            r#"{"height":7,"currentBlockHash":"AQID","previousBlockHash":"/w=="}"#
        );
    }

    #[test]
    fn empty_fields_are_left_out_and_absent_oneofs_are_null() {
        let approved = lifecycle::QueryApprovedChaincodeDefinitionResult {
            sequence: 1,
            version: "<1>".into(),
            source: Some(lifecycle::ChaincodeSource { r#type: None }),
            ..Default::default()
        };
        let name = "lifecycle.QueryApprovedChaincodeDefinitionResult";
        assert_eq!(
            json(name, &approved.encode_to_vec()).unwrap(),
            r#"{"sequence":1,"version":"\u003c1\u003e","source":{"Type":null}}"#
        );
        assert_eq!(json_indented(name, &[]).unwrap(), "{}");
    }

    #[test]
    fn oneofs_name_their_variant_and_maps_are_sorted() {
        let policy = protos::ApplicationPolicy {
            r#type: Some(protos::application_policy::Type::SignaturePolicy(
                consilium_msp::dsl::parse("OR('A.peer')").unwrap(),
            )),
        };
        assert_eq!(
            json("protos.ApplicationPolicy", &policy.encode_to_vec()).unwrap(),
            concat!(
                r#"{"Type":{"SignaturePolicy":{"rule":{"Type":{"NOutOf":{"n":1,"rules":["#,
                r#"{"Type":{"SignedBy":0}}]}}},"identities":[{"principal":"CgFBEAM="}]}}}"#
            )
        );
        let readiness = lifecycle::CheckCommitReadinessResult {
            approvals: [("B".to_owned(), false), ("A".to_owned(), true)].into(),
            ..Default::default()
        };
        assert_eq!(
            json_indented(
                "lifecycle.CheckCommitReadinessResult",
                &readiness.encode_to_vec()
            )
            .unwrap(),
            "{\n\t\"approvals\": {\n\t\t\"A\": true,\n\t\t\"B\": false\n\t}\n}"
        );
    }
}
