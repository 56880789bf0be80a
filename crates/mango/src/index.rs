//! Index definitions, as they lie in `META-INF/statedb/couchdb/indexes`, and the records that they
//! make of documents.

use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::collation::encode;
use crate::document::Document;
use crate::field::{FieldPath, Found};
use crate::query::sort_fields;
use crate::selector::Selector;

/// The form of index records. It has to change with every change of their bytes, also with one that
/// comes from new collation data: a test of `collation` notices.
pub(crate) const RECORD_FORM: u32 = 2;

/// A definition that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IndexError(String);

/// A declared index. It covers the documents that have a value for each of its fields and match its
/// filter.
#[derive(Debug, Clone)]
pub struct Index {
    /// The design document, without `_design/`.
    pub ddoc: String,
    /// The name within the design document.
    pub name: String,
    pub(crate) columns: Vec<FieldPath>,
    pub(crate) filter: Option<Selector>,
    id: [u8; 8],
}

impl Index {
    /// Parses the content of an index file: `index`, and maybe `ddoc`, `name` and `type`.
    ///
    /// # Errors
    /// What Fabric's packager refuses (fabric: internal/ccmetadata/validators.go) and CouchDB after
    /// it.
    pub fn parse(definition: &[u8]) -> Result<Self, IndexError> {
        let invalid = |reason: &str| IndexError(reason.into());
        let members: Map<String, Value> =
            serde_json::from_slice(definition).map_err(|_| invalid("not a valid JSON"))?;
        let mut inner = None;
        let (mut ddoc, mut name) = (None, None);
        for (member, value) in &members {
            let text = || {
                let text = value.as_str().filter(|text| !text.is_empty());
                text.map(str::to_owned).ok_or_else(|| {
                    IndexError(format!("Invalid entry, \"{member}\" must be a string"))
                })
            };
            match member.as_str() {
                "index" => {
                    let object = value.as_object();
                    inner = Some(
                        object.ok_or_else(|| invalid("Invalid entry, \"index\" must be a JSON"))?,
                    );
                }
                "ddoc" => ddoc = Some(text()?),
                "name" => name = Some(text()?),
                "type" if value == "json" => {}
                "type" => return Err(invalid("Index type must be json")),
                other => return Err(IndexError(format!("Invalid Entry.  Entry {other}"))),
            }
        }
        let inner = inner
            .ok_or_else(|| invalid("Index definition must include a \"fields\" definition"))?;
        let (columns, filter) = definition_of(inner)?;
        // CouchDB makes names of the definition, too; only that they are stable matters.
        let text = Value::Object(inner.clone()).to_string();
        let derived = || hex::encode(Sha256::digest(&text));
        let ddoc = ddoc.unwrap_or_else(derived);
        let ddoc = ddoc.strip_prefix("_design/").unwrap_or(&ddoc).to_owned();
        let name = name.unwrap_or_else(derived);
        let mut hash = Sha256::new();
        for part in [&ddoc, &name, &text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(RECORD_FORM.to_be_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&hash.finalize()[..8]);
        Ok(Self {
            ddoc,
            name,
            columns,
            filter,
            id,
        })
    }

    /// Names definition and form of records: records under one id can be used with each other.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// The record of a document, to which its key is appended; `None` if the index does not cover
    /// it. Records order as their documents do.
    pub fn entry(&self, document: &Document) -> Option<Vec<u8>> {
        let value = document.value();
        if let Some(filter) = &self.filter
            && !filter.matches(value, &AtomicBool::new(false))
        {
            return None;
        }
        let mut record = Vec::new();
        for column in &self.columns {
            let Found::Value(found) = column.find(value) else {
                return None;
            };
            encode(found, &mut record);
        }
        Some(record)
    }

    /// The document's key at the end of a record with its key.
    pub fn key_of<'a>(&self, record: &'a [u8]) -> Option<&'a str> {
        let mut rest = record;
        for _ in &self.columns {
            rest = crate::collation::skip(rest)?;
        }
        std::str::from_utf8(rest).ok()
    }
}

fn definition_of(
    members: &Map<String, Value>,
) -> Result<(Vec<FieldPath>, Option<Selector>), IndexError> {
    let told = |error: crate::MangoError| IndexError(error.to_string());
    let mut filter = None;
    let mut columns = Vec::new();
    for (member, value) in members {
        match member.as_str() {
            "fields" => {
                if !value.is_array() {
                    return Err(IndexError("Expecting a JSON array of fields".into()));
                }
                // Records can be read in both directions, so the declared one does not matter.
                columns = sort_fields(value).map_err(told)?.0;
            }
            "partial_filter_selector" => filter = Some(Selector::parse(value).map_err(told)?),
            other => return Err(IndexError(format!("Invalid Entry.  Entry {other}"))),
        }
    }
    if columns.is_empty() {
        return Err(IndexError("an index needs fields".into()));
    }
    let filter = filter.filter(|filter| !matches!(filter, Selector::Anything));
    Ok((columns, filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_checked_as_fabric_checks_them() {
        for (definition, reason) in [
            ("[]", "not a valid JSON"),
            (
                "{}",
                "Index definition must include a \"fields\" definition",
            ),
            (r#"{"index":1}"#, "Invalid entry, \"index\" must be a JSON"),
            (
                r#"{"index":{"fields":"a"}}"#,
                "Expecting a JSON array of fields",
            ),
            (r#"{"index":{"fields":[]}}"#, "an index needs fields"),
            (
                r#"{"index":{"fields":["a"]},"ddoc":1}"#,
                "Invalid entry, \"ddoc\" must be a string",
            ),
            (
                r#"{"index":{"fields":["a"]},"type":"text"}"#,
                "Index type must be json",
            ),
            (
                r#"{"index":{"fields":["a"]},"more":1}"#,
                "Invalid Entry.  Entry more",
            ),
            (
                r#"{"index":{"fields":["a"],"selector":{}}}"#,
                "Invalid Entry.  Entry selector",
            ),
        ] {
            let refused = Index::parse(definition.as_bytes()).unwrap_err();
            assert_eq!(refused.to_string(), reason, "{definition}");
        }
        for wrong in [
            r#"{"index":{"fields":[{"a":"up"}]}}"#,
            r#"{"index":{"fields":[{"a":"asc"},{"b":"desc"}]}}"#,
            r#"{"index":{"fields":["a"],"partial_filter_selector":{"$what":1}}}"#,
        ] {
            assert!(Index::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_index_covers_documents_with_all_its_fields_that_match_its_filter() {
        let index = Index::parse(
            br#"{"index":{"fields":["a.b",{"c":"asc"}],"partial_filter_selector":{"c":{"$gt":1}}},
                "ddoc":"_design/d","name":"n","type":"json"}"#,
        )
        .unwrap();
        assert_eq!((index.ddoc.as_str(), index.name.as_str()), ("d", "n"));
        for (value, covered) in [
            (r#"{"a":{"b":null},"c":2}"#, true),
            (r#"{"a":{"b":1},"c":1}"#, false),
            (r#"{"a":{"b":1}}"#, false),
            (r#"{"a":1,"c":2}"#, false),
        ] {
            let entry = index.entry(&Document::parse("key", value.as_bytes()).unwrap());
            assert_eq!(entry.is_some(), covered, "{value}");
            if let Some(mut record) = entry {
                record.extend_from_slice("kéy".as_bytes());
                assert_eq!(index.key_of(&record), Some("kéy"));
            }
        }
    }
}
