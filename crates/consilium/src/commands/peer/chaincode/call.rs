//! The call in `-c` and the data in `--transient`.

use std::collections::BTreeMap;

use anyhow::Context;
use base64::{DecodeError, Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use consilium_client::Call;
use serde_json::Value;

const KEYS: &str =
    "JSON chaincode parameters must contain the following keys: 'Args' or 'Function' and 'Args'";

/// The call of a chaincode in `{"Args":["function","argument"]}` or
/// `{"Function":"function","Args":["argument"]}`; the keys in any case.
///
/// # Errors
/// The name is empty, or the text is not of one of these forms.
pub fn parse(name: &str, ctor: &str) -> anyhow::Result<Call> {
    anyhow::ensure!(
        !name.is_empty(),
        "must supply value for chaincode name parameter"
    );
    anyhow::ensure!(ctor != "{}", "empty {KEYS}");
    let parsed: Value = serde_json::from_str(ctor).map_err(|error| argument(&reason(&error)))?;
    let Value::Object(fields) = parsed else {
        return Err(argument("expected a JSON object"));
    };
    let count = fields.len();
    let fields: BTreeMap<String, Value> = fields
        .into_iter()
        .map(|(key, value)| (key.to_lowercase(), value))
        .collect();
    let (function, args) = (fields.get("function"), fields.get("args"));
    let known = usize::from(function.is_some()) + usize::from(args.is_some());
    anyhow::ensure!(args.is_some() && count == known, "non-empty {KEYS}");
    let mut all = Vec::new();
    let function = text("Function", function.unwrap_or(&Value::Null))?;
    if !function.is_empty() {
        all.push(Bytes::from(function));
    }
    match args {
        Some(Value::Array(args)) => {
            for arg in args {
                all.push(Bytes::from(text("Args", arg)?));
            }
        }
        Some(Value::Null) | None => {}
        Some(other) => return Err(mistyped(other, "Args", "[]string")),
    }
    Ok(Call {
        chaincode: name.to_owned(),
        args: all,
        ..Call::default()
    })
}

/// Transient data: a JSON object whose values are in base64.
///
/// # Errors
/// It is none.
pub fn transient(json: &str) -> anyhow::Result<BTreeMap<String, Bytes>> {
    if json.is_empty() {
        return Ok(BTreeMap::new());
    }
    decoded(json).context("error parsing transient string")
}

fn decoded(json: &str) -> anyhow::Result<BTreeMap<String, Bytes>> {
    let entries: BTreeMap<String, Option<String>> =
        serde_json::from_str(json).map_err(|error| anyhow::anyhow!(reason(&error)))?;
    let decoded = entries.into_iter().map(|(key, value)| {
        let value = BASE64_STANDARD.decode(value.unwrap_or_default());
        let value = value.map_err(|error| anyhow::anyhow!(illegal(&error)))?;
        Ok((key, Bytes::from(value)))
    });
    decoded.collect()
}

fn illegal(error: &DecodeError) -> String {
    match error {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => {
            format!("illegal base64 data at input byte {at}")
        }
        other => format!("illegal base64 data: {other}"),
    }
}

fn text(field: &str, value: &Value) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        other => Err(mistyped(other, field, "string")),
    }
}

fn mistyped(value: &Value, field: &str, expected: &str) -> anyhow::Error {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    argument(&format!(
        "json: cannot unmarshal {found} into Go struct field .{field} of type {expected}"
    ))
}

fn argument(reason: &str) -> anyhow::Error {
    anyhow::anyhow!("chaincode argument error: {reason}")
}

/// Where Go has words for it, in Go's.
fn reason(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Eof => "unexpected end of JSON input".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_arguments_or_a_function_with_arguments() {
        for (ctor, expected) in [
            (r#"{"Args":["get","color"]}"#, &["get", "color"][..]),
            (r#"{"function":"get","args":["color"]}"#, &["get", "color"]),
            (r#"{"Function":"get","Args":[]}"#, &["get"]),
            (r#"{"Args":[]}"#, &[]),
            (r#"{"Args":null}"#, &[]),
        ] {
            let call = parse("kv", ctor).unwrap();
            assert_eq!(call.chaincode, "kv");
            assert_eq!(call.args, expected, "{ctor}");
        }
    }

    #[test]
    fn what_is_no_call_is_refused_in_fabrics_words() {
        for (name, ctor, reason) in [
            ("", "{}", "must supply value for chaincode name parameter"),
            ("kv", "{}", "empty JSON chaincode parameters must contain"),
            (
                "kv",
                r#"{"Function":"get"}"#,
                "non-empty JSON chaincode parameters must",
            ),
            (
                "kv",
                r#"{"Args":["get"],"Other":1}"#,
                "non-empty JSON chaincode parameters must",
            ),
            (
                "kv",
                r#"{"Args":["get"],"Function":"f","Other":1}"#,
                "non-empty JSON chaincode parameters must",
            ),
            (
                "kv",
                r#"{"Args":["get""#,
                "chaincode argument error: unexpected end of JSON input",
            ),
            ("kv", "get", "chaincode argument error: "),
            (
                "kv",
                "[1]",
                "chaincode argument error: expected a JSON object",
            ),
            (
                "kv",
                r#"{"Args":[1]}"#,
                "chaincode argument error: json: cannot unmarshal number into Go struct field .Args of type string",
            ),
            (
                "kv",
                r#"{"Args":"get"}"#,
                "chaincode argument error: json: cannot unmarshal string into Go struct field .Args of type []string",
            ),
        ] {
            let error = parse(name, ctor).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{ctor}: {error}");
        }
    }

    #[test]
    fn transient_data_is_base64_in_json() {
        assert!(transient("").unwrap().is_empty());
        let read = transient(r#"{"a":"aGVsbG8=","b":null}"#).unwrap();
        assert_eq!(read["a"], "hello");
        assert_eq!(read["b"], "");
        for json in [
            "{",
            "[]",
            r#"{"a":1}"#,
            r#"{"a":"?"}"#,
            r#"{"a":"aGVsbG8"}"#,
        ] {
            let error = format!("{:#}", transient(json).unwrap_err());
            assert!(
                error.starts_with("error parsing transient string: "),
                "{error}"
            );
        }
    }
}
