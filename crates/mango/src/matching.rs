//! Whether a document matches. couchdb: mango_selector:match/2

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{self, AtomicBool};

use serde_json::Value;

use crate::collation::{compare, encoded};
use crate::field::Found;
use crate::selector::{Selector, Test};

impl Selector {
    /// Whether `value` matches: each condition goes through what it looks at once. Ends soon once
    /// `stopped` is set; the answer says nothing then.
    pub(crate) fn matches(&self, value: &Value, stopped: &AtomicBool) -> bool {
        if is_set(stopped) {
            return false;
        }
        match self {
            Self::Anything => true,
            Self::And(conditions) => conditions.iter().all(|one| one.matches(value, stopped)),
            Self::Or(conditions) => {
                conditions.is_empty() || conditions.iter().any(|one| one.matches(value, stopped))
            }
            Self::Not(condition) => !condition.matches(value, stopped),
            Self::Field(path, test) => match path.find(value) {
                Found::Value(value) => test.passes(value, stopped),
                // A way that leads nowhere is something else than a member that is missing.
                Found::Nothing => matches!(test, Test::Exists(false)),
                Found::NoWay => false,
            },
        }
    }
}

impl Test {
    fn passes(&self, value: &Value, stopped: &AtomicBool) -> bool {
        let order = |argument: &Value| compare(value, argument);
        match self {
            Self::Lt(argument) => order(argument) == Ordering::Less,
            Self::Lte(argument) => order(argument) != Ordering::Greater,
            Self::Eq(argument) => order(argument) == Ordering::Equal,
            Self::Ne(argument) => order(argument) != Ordering::Equal,
            Self::Gte(argument) => order(argument) != Ordering::Less,
            Self::Gt(argument) => order(argument) == Ordering::Greater,
            Self::In(arguments) => is_in(value, arguments, stopped),
            Self::Nin(arguments) => !is_in(value, arguments, stopped),
            Self::Exists(exists) => *exists,
            Self::Type(name) => type_name(value) == name,
            Self::Mod(divisor, remainder) => {
                let integer = value
                    .as_i64()
                    .map(i128::from)
                    .or_else(|| value.as_u64().map(i128::from));
                integer
                    .is_some_and(|integer| integer % i128::from(*divisor) == i128::from(*remainder))
            }
            Self::Regex(regex) => value.as_str().is_some_and(|text| regex.is_match(text)),
            Self::BeginsWith(prefix) => value.as_str().is_some_and(|text| text.starts_with(prefix)),
            Self::All(arguments) => has_all(value, arguments),
            Self::Size(size) => value
                .as_array()
                .is_some_and(|values| values.len() as u64 == *size),
            Self::ElemMatch(condition) => value
                .as_array()
                .is_some_and(|values| values.iter().any(|one| condition.matches(one, stopped))),
            Self::AllMatch(condition) => value.as_array().is_some_and(|values| {
                !values.is_empty() && values.iter().all(|one| condition.matches(one, stopped))
            }),
            Self::KeyMapMatch(condition) => value.as_object().is_some_and(|members| {
                members
                    .keys()
                    .any(|name| condition.matches(&Value::String(name.clone()), stopped))
            }),
            Self::Not(test) => !test.passes(value, stopped),
        }
    }
}

fn is_set(stopped: &AtomicBool) -> bool {
    stopped.load(atomic::Ordering::Relaxed)
}

fn is_in(value: &Value, arguments: &BTreeSet<Vec<u8>>, stopped: &AtomicBool) -> bool {
    let is_one = |value: &Value| arguments.contains(&encoded(value));
    match value {
        Value::Array(values) => values.iter().take_while(|_| !is_set(stopped)).any(is_one),
        value => is_one(value),
    }
}

/// Here values are the same, not equal in collation: 1 is not 1.0.
fn has_all(value: &Value, arguments: &[Value]) -> bool {
    let Value::Array(values) = value else {
        return false;
    };
    if arguments.is_empty() {
        return false;
    }
    if matches!(arguments, [Value::Array(only)] if only == values) {
        return true;
    }
    let present: HashSet<&Value> = values.iter().collect();
    arguments.iter().all(|argument| present.contains(argument))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
