//! A document: a JSON object under a key, and what of it goes back to the chaincode.

use serde_json::{Map, Value};

use crate::field::{FieldPath, Found};

/// The member that holds a document's key.
pub(crate) const ID: &str = "_id";

/// A JSON object with its key as `_id`.
#[derive(Debug, Clone, PartialEq)]
pub struct Document(Value);

impl Document {
    /// The document in `value`, `None` if that is no JSON object: such values take no part in
    /// queries.
    pub fn parse(key: &str, value: &[u8]) -> Option<Self> {
        // Cheaper than parsing what cannot be an object.
        let first = value.iter().find(|byte| !byte.is_ascii_whitespace());
        if first != Some(&b'{') {
            return None;
        }
        let mut members: Map<String, Value> = serde_json::from_slice(value).ok()?;
        members.insert(ID.into(), Value::String(key.into()));
        Some(Self(Value::Object(members)))
    }

    /// The whole document, `_id` included.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// What a query gives back of it: all of it or some fields, without `_id`, in the form in which
    /// Fabric gives documents back: members in byte order, no spaces, and characters escaped as Go
    /// escapes them.
    pub(crate) fn into_result(self, fields: Option<&[FieldPath]>) -> Vec<u8> {
        let mut kept = match (fields, self.0) {
            (None, Value::Object(members)) => members,
            (Some(fields), value) => {
                let mut kept = Map::new();
                for field in fields {
                    if let Found::Value(found) = field.find(&value) {
                        field.put(&mut kept, found.clone());
                    }
                }
                kept
            }
            // Documents are objects by construction.
            (None, _) => Map::new(),
        };
        kept.remove(ID);
        go_json(&Value::Object(kept))
    }
}

/// JSON as Go's encoding/json writes it: `<`, `>`, `&`, U+2028 and U+2029 are escaped.
fn go_json(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    // These characters stand in strings only.
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text.into_bytes();
    }
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(value: &str, fields: Option<&[&str]>) -> String {
        let fields: Option<Vec<FieldPath>> =
            fields.map(|names| names.iter().map(|n| FieldPath::parse(n).unwrap()).collect());
        let document = Document::parse("k", value.as_bytes()).unwrap();
        String::from_utf8(document.into_result(fields.as_deref())).unwrap()
    }

    #[test]
    fn results_look_as_fabric_writes_them() {
        for (value, fields, expected) in [
            (
                r#" {"b": 1, "a": "<&>"}"#,
                None,
                r#"{"a":"\u003c\u0026\u003e","b":1}"#,
            ),
            (
                r#"{"b":{"c":1,"d":2},"a":3}"#,
                Some(&["b.c", "x"][..]),
                r#"{"b":{"c":1}}"#,
            ),
            (
                r#"{"b":{"c":1,"d":2},"a":3}"#,
                Some(&["b.d", "b.c", "_id"]),
                r#"{"b":{"c":1,"d":2}}"#,
            ),
            (r#"{"a.b":1}"#, Some(&[r"a\.b"]), r#"{"a.b":1}"#),
            (r#"{"a":1}"#, Some(&[]), "{}"),
        ] {
            assert_eq!(result(value, fields), expected);
        }
    }

    #[test]
    fn only_objects_are_documents() {
        for value in ["[1]", "1", "null", "\"{}\"", "{", "{} x", "", "{\"a\":1}}"] {
            assert_eq!(Document::parse("k", value.as_bytes()), None, "{value}");
        }
    }
}
