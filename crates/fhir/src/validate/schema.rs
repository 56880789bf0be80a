//! The published schema's judgement, told as issues.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::version;
use crate::definitions;
use crate::element::Path;
use crate::outcome::{Issue, MAX_ISSUES};

pub(super) fn check(kind: &str, resource: &Value, at: &str, issues: &mut Vec<Issue>) {
    let Some(validator) = definitions::validator(kind) else {
        return;
    };
    let mut found = Vec::new();
    for error in validator.iter_errors(resource).take(MAX_ISSUES) {
        tell(kind, &error, at, &mut found);
    }
    if let Some(object) = resource.as_object() {
        missing(&mut Path::new(kind), object, &mut Path::new(at), &mut found);
    }
    found.sort_by(|a: &Issue, b: &Issue| a.expression.cmp(&b.expression));
    // An element that is missing is told once, whoever misses it.
    found.dedup_by(|a, b| a.expression == b.expression && a.kind == b.kind);
    found.truncate(MAX_ISSUES);
    issues.extend(found);
}

fn tell(kind: &str, error: &ValidationError<'_>, at: &str, found: &mut Vec<Issue>) {
    let pointer = error.instance_path().to_string();
    let path = expression(at, &pointer);
    let issue = |code: &'static str, sentence: String| Issue::error("structure", code, sentence);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for name in unexpected.iter().take(MAX_ISSUES) {
                let here = format!("{path}.{name}");
                found.push(match version::foreign(kind, &pointer, name) {
                    Some(release) => issue(
                        "FHIR_VERSION",
                        format!("this element is of {release}; this server speaks R4 (4.0.1)"),
                    )
                    .at(here),
                    None => {
                        issue("UNKNOWN_ELEMENT", "R4 has no such element here".to_owned()).at(here)
                    }
                });
            }
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            found.push(required(&path, name));
        }
        ValidationErrorKind::Type { .. } => {
            let is = shape(error.instance());
            found.push(match version::foreign_shape(kind, &pointer, error.instance()) {
                Some(release) => issue(
                    "FHIR_VERSION",
                    format!("an element that is {is} here is of {release}; this server speaks R4 (4.0.1)"),
                )
                .at(path),
                None => issue("WRONG_SHAPE", format!("R4 does not have {is} here")).at(path),
            });
        }
        ValidationErrorKind::Pattern { .. } => found.push(
            issue(
                "WRONG_FORMAT",
                "the text does not have the format of this element's type".to_owned(),
            )
            .at(path),
        ),
        ValidationErrorKind::Enum { options } => found.push(
            Issue::error(
                "code-invalid",
                "UNKNOWN_CODE",
                format!("the code is none of {options}"),
            )
            .at(path),
        ),
        other => found.push(
            issue(
                "WRONG_SHAPE",
                format!("the element breaks the schema's rule '{}'", other.keyword()),
            )
            .at(path),
        ),
    }
}

fn required(path: &str, name: &str) -> Issue {
    Issue::error("required", "MISSING", "R4 requires this element").at(format!("{path}.{name}"))
}

fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A JSON pointer as a FHIRPath: `/entry/0/resource` below `Bundle` is `Bundle.entry[0].resource`.
fn expression(at: &str, pointer: &str) -> String {
    let mut path = at.to_owned();
    for part in pointer.split('/').skip(1) {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{part}]"));
        } else {
            path.push('.');
            path.push_str(&part.replace("~1", "/").replace("~0", "~"));
        }
    }
    path
}

/// The elements with a minimum of one that are not there. The schema knows this of complex
/// elements only: a primitive may be replaced by its extension `_name`.
fn missing(path: &mut Path, object: &Map<String, Value>, at: &mut Path, found: &mut Vec<Issue>) {
    for name in definitions::required(path.as_str()) {
        let there = match name.strip_suffix("[x]") {
            Some(stem) => object.keys().any(|key| {
                let key = key.strip_prefix('_').unwrap_or(key);
                key.strip_prefix(stem)
                    .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
            }),
            None => object.contains_key(name) || object.contains_key(&format!("_{name}")),
        };
        if !there {
            found.push(required(at.as_str(), name));
        }
    }
    for (name, child) in object {
        path.within(name, |path| {
            at.within(name, |at| match child {
                Value::Object(inner) => missing(path, inner, at, found),
                Value::Array(items) => {
                    for (place, item) in items.iter().enumerate() {
                        if found.len() < 2 * MAX_ISSUES
                            && let Some(inner) = item.as_object()
                        {
                            at.at(place, |at| missing(path, inner, at, found));
                        }
                    }
                }
                _ => {}
            });
        });
    }
}
