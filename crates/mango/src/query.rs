//! A query as a chaincode sends it, after what Fabric does to it on its way to CouchDB.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value};

use crate::document::Document;
use crate::error::{MangoError, term};
use crate::field::FieldPath;
use crate::selector::Selector;

/// How long a query's text may be.
const QUERY_BYTES: usize = 1024 * 1024;

/// How many names `fields`, `sort` and the columns of an index may have.
const NAMES: usize = 256;

/// A parsed query. `limit` is missing: Fabric overwrites it with its own limits, whatever it is.
#[derive(Debug, Clone)]
pub struct Query {
    pub(crate) selector: Selector,
    /// Sort fields, all in one direction.
    pub(crate) sort: Vec<FieldPath>,
    pub(crate) descending: bool,
    fields: Option<Vec<FieldPath>>,
    /// Matches that are passed over at the beginning of every page.
    pub skip: u64,
    /// The bookmark to go on from, "" without.
    pub bookmark: String,
    pub(crate) use_index: Option<IndexHint>,
    pub(crate) allow_fallback: bool,
}

/// `use_index`: a design document and maybe one index in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexHint {
    /// Without `_design/`.
    pub(crate) ddoc: String,
    pub(crate) name: Option<String>,
}

impl Query {
    /// Whether the whole selector is an `$and` or an `$or` of nothing. Such a query finds nothing, though
    /// as a part of another one the former holds for everything.
    /// couchdb: src/mango/src/mango_cursor.erl maybe_noop_range
    pub fn asks_for_nothing(&self) -> bool {
        matches!(&self.selector, Selector::And(all) | Selector::Or(all) if all.is_empty())
    }

    /// Parses a query. `bookmark` is the one of a paginated call; it comes before the query's own.
    ///
    /// # Errors
    /// Whatever Fabric and CouchDB refuse, in their words.
    pub fn parse(text: &str, bookmark: &str) -> Result<Self, MangoError> {
        let mut members = read(text)?;
        if !bookmark.is_empty() {
            members.insert("bookmark".into(), bookmark.into());
        }
        // Fabric needs an array here before CouchDB sees it.
        if members
            .get("fields")
            .is_some_and(|fields| !fields.is_array())
        {
            return Err(MangoError::Unreadable(
                "fields definition must be an array".into(),
            ));
        }
        members.remove("limit");
        let mut take = |name: &str| members.remove(name);
        // In CouchDB's order, as the first mistake is the one that is told.
        let selector = take("selector").ok_or_else(|| {
            MangoError::refused("missing_required_key", "Missing required key: selector")
        })?;
        let selector = Selector::parse(&selector)?;
        let use_index = take("use_index").map_or(Ok(None), |value| hint(&value))?;
        let bookmark = match take("bookmark") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text,
            Some(other) => {
                return Err(MangoError::refused(
                    "invalid_bookmark",
                    format!("Invalid bookmark value: {other}"),
                ));
            }
        };
        let skip = take("skip").map_or(Ok(0), |value| whole(&value))?;
        let (sort, descending) =
            take("sort").map_or(Ok((Vec::new(), false)), |value| sort_fields(&value))?;
        let fields = take("fields").map(|value| projection(&value)).transpose()?;
        if let Some(readers) = take("r") {
            positive(&readers)?;
        }
        flag(take("conflicts"), false)?;
        if let Some(stale) = take("stale")
            && stale != "ok"
            && stale != "false"
            && stale != Value::Bool(false)
        {
            return Err(MangoError::refused(
                "invalid_ok_or_false_value",
                format!("Invalid ok_or_false value: {}", term(&stale)),
            ));
        }
        flag(take("update"), true)?;
        flag(take("stable"), false)?;
        flag(take("execution_stats"), false)?;
        let allow_fallback = flag(take("allow_fallback"), true)?;
        if let Some(name) = members.keys().next() {
            return Err(MangoError::refused(
                "invalid_key",
                format!("Invalid key {name} for this request."),
            ));
        }
        Ok(Self {
            selector,
            sort,
            descending,
            fields,
            skip,
            bookmark,
            use_index,
            allow_fallback,
        })
    }

    /// Whether the document belongs to the results. Index ranges may hold more than that. Ends soon
    /// once `stopped` is set; the answer says nothing then.
    pub fn matches(&self, document: &Document, stopped: &AtomicBool) -> bool {
        self.selector.matches(document.value(), stopped)
    }

    /// What the chaincode gets of a document that matches.
    pub fn result(&self, document: Document) -> Vec<u8> {
        document.into_result(self.fields.as_deref())
    }
}

/// The first JSON value of the text, which has to be an object. The texts are those of Go's
/// encoding/json where they can be told.
fn read(text: &str) -> Result<Map<String, Value>, MangoError> {
    let refused = |reason: String| MangoError::Unreadable(reason);
    if text.len() > QUERY_BYTES {
        return Err(refused(format!(
            "a query of {} bytes exceeds {QUERY_BYTES}",
            text.len()
        )));
    }
    let Some(first) = text.trim_start().chars().next() else {
        return Err(refused("EOF".into()));
    };
    if !matches!(first, '{' | '[' | '"' | '-' | '0'..='9' | 't' | 'f' | 'n') {
        return Err(refused(format!(
            "invalid character '{first}' looking for beginning of value"
        )));
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let kind = match values.next() {
        Some(Ok(Value::Object(members))) => return Ok(members),
        Some(Err(error)) if error.is_eof() => return Err(refused("unexpected EOF".into())),
        Some(Err(error)) => return Err(refused(error.to_string())),
        None => return Err(refused("EOF".into())),
        Some(Ok(Value::Array(_))) => "array",
        Some(Ok(Value::String(_))) => "string",
        Some(Ok(Value::Number(_))) => "number",
        Some(Ok(Value::Bool(_))) => "bool",
        Some(Ok(Value::Null)) => "null",
    };
    Err(refused(format!(
        "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    )))
}

/// couchdb: mango_opts:validate_use_index/1
fn hint(value: &Value) -> Result<Option<IndexHint>, MangoError> {
    let invalid = || {
        MangoError::refused(
            "invalid_index_name",
            format!("Invalid index name: {}", term(value)),
        )
    };
    let parts: Vec<&str> = match value {
        Value::Null => return Ok(None),
        Value::String(name) => {
            let parts: Vec<&str> = name.split('/').collect();
            match parts.as_slice() {
                ["_design", rest @ ..] if !rest.is_empty() => rest.to_vec(),
                _ => parts,
            }
        }
        Value::Array(names) if names.is_empty() => return Ok(None),
        Value::Array(names) => names
            .iter()
            .map(|name| name.as_str().ok_or_else(invalid))
            .collect::<Result<_, _>>()?,
        _ => return Err(invalid()),
    };
    let (ddoc, name) = match parts.as_slice() {
        [ddoc] => (ddoc, None),
        [ddoc, name] => (ddoc, Some((*name).to_owned())),
        _ => return Err(invalid()),
    };
    let ddoc = ddoc.strip_prefix("_design/").unwrap_or(ddoc).to_owned();
    Ok(Some(IndexHint { ddoc, name }))
}

fn whole(value: &Value) -> Result<u64, MangoError> {
    value.as_u64().ok_or_else(|| {
        MangoError::refused(
            "invalid_non_neg_integer",
            format!(
                "{} is not an integer greater than or equal to zero",
                term(value)
            ),
        )
    })
}

fn positive(value: &Value) -> Result<(), MangoError> {
    if value.as_u64().is_some_and(|number| number > 0) {
        return Ok(());
    }
    Err(MangoError::refused(
        "invalid_pos_integer",
        format!("{} is not an integer greater than zero", term(value)),
    ))
}

fn flag(value: Option<Value>, default: bool) -> Result<bool, MangoError> {
    match value {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(other) => Err(MangoError::refused(
            "invalid_boolean",
            format!("Invalid boolean value: {}", term(&other)),
        )),
    }
}

/// Field names with one common direction. couchdb: mango_sort:new/1
pub(crate) fn sort_fields(value: &Value) -> Result<(Vec<FieldPath>, bool), MangoError> {
    let Value::Array(items) = value else {
        return Err(MangoError::refused(
            "invalid_sort_json",
            format!("Sort must be an array of sort specs, not: {}", term(value)),
        ));
    };
    if items.len() > NAMES {
        return Err(MangoError::refused(
            "invalid_sort_json",
            format!("Sort must be an array of sort specs, not of more than {NAMES}"),
        ));
    }
    let mut fields = Vec::new();
    let mut directions = Vec::new();
    for item in items {
        let invalid = || {
            MangoError::refused(
                "invalid_sort_field",
                format!("Invalid sort field: {}", term(item)),
            )
        };
        let (name, descending) = match item {
            Value::String(name) if !name.is_empty() => (name, false),
            Value::Object(members) if members.len() == 1 => {
                let (name, direction) = members.iter().next().ok_or_else(invalid)?;
                match direction.as_str() {
                    Some("asc") => (name, false),
                    Some("desc") => (name, true),
                    _ => return Err(invalid()),
                }
            }
            _ => return Err(invalid()),
        };
        fields.push(FieldPath::parse(name)?);
        directions.push(descending);
    }
    // What a field was sorted by already has no order left.
    once(&mut fields);
    directions.dedup();
    match directions.as_slice() {
        [] => Ok((fields, false)),
        [descending] => Ok((fields, *descending)),
        _ => Err(MangoError::refused(
            "unsupported_mixed_sort",
            "Sorts currently only support a single direction for all fields.",
        )),
    }
}

fn projection(value: &Value) -> Result<Vec<FieldPath>, MangoError> {
    let fields = value.as_array().map(Vec::as_slice).unwrap_or_default();
    if fields.len() > NAMES {
        return Err(MangoError::refused(
            "invalid_fields_json",
            format!("Fields must be an array of strings, not of more than {NAMES}"),
        ));
    }
    let mut paths = fields
        .iter()
        .map(|field| match field {
            Value::String(name) => FieldPath::parse(name),
            other => Err(MangoError::refused(
                "invalid_field",
                format!("Invalid JSON for field spec: {}", term(other)),
            )),
        })
        .collect::<Result<_, _>>()?;
    once(&mut paths);
    Ok(paths)
}

/// Leaves the first of equal paths.
fn once(paths: &mut Vec<FieldPath>) {
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
}

#[cfg(test)]
mod tests;
