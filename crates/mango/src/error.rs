//! What a query can be refused for, in the words that a chaincode gets from a Fabric peer.

use std::fmt::Write;

use serde_json::Value;

/// A query that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MangoError {
    /// CouchDB would refuse it. fabric: statecouchdb/couchdb.go handleRequest
    #[error(
        "error handling CouchDB request. Error:{error},  Status Code:{status},  Reason:{reason}"
    )]
    Refused {
        /// HTTP status that CouchDB would answer with.
        status: u16,
        /// CouchDB's short name of the error, for example `no_usable_index`.
        error: &'static str,
        /// CouchDB's sentence. couchdb: src/mango/src/mango_error.erl
        reason: String,
    },
    /// Fabric refuses it before CouchDB sees it.
    #[error("{0}")]
    Unreadable(String),
}

impl MangoError {
    pub(crate) fn refused(error: &'static str, reason: impl Into<String>) -> Self {
        Self::Refused {
            status: 400,
            error,
            reason: reason.into(),
        }
    }

    pub(crate) fn bad_argument(operator: &str, argument: &Value) -> Self {
        let argument = term(argument);
        Self::refused(
            "bad_arg",
            format!("Bad argument for operator {operator}: {argument}"),
        )
    }

    /// The refusal of an argument for which a query has no room left.
    pub(crate) fn too_much(operator: &str, limit: usize, what: &str) -> Self {
        Self::refused(
            "bad_arg",
            format!(
                "Bad argument for operator {operator}: more than {limit} {what} in one selector"
            ),
        )
    }

    pub(crate) fn no_usable_index() -> Self {
        Self::refused(
            "no_usable_index",
            "No index exists for this sort, try indexing by the sort fields.",
        )
    }
}

/// How CouchDB prints a JSON value inside of a sentence: as an Erlang term, strings as their bytes.
pub(crate) fn term(value: &Value) -> String {
    let mut text = String::new();
    print(value, &mut text);
    text
}

fn print(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        // Writing to a string cannot fail.
        Value::Number(number) => drop(write!(text, "{number}")),
        Value::String(string) => print_binary(string, text),
        Value::Array(values) => {
            text.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                print(value, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push_str("{[");
            for (place, (name, value)) in members.iter().enumerate() {
                text.push_str(if place > 0 { ",{" } else { "{" });
                print_binary(name, text);
                text.push(',');
                print(value, text);
                text.push('}');
            }
            text.push_str("]}");
        }
    }
}

fn print_binary(string: &str, text: &mut String) {
    let bytes: Vec<String> = string.bytes().map(|byte| byte.to_string()).collect();
    text.push_str("<<");
    text.push_str(&bytes.join(","));
    text.push_str(">>");
}
