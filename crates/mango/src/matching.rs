//! Whether a document matches. couchdb: mango_selector:match/2

use std::cmp::Ordering;

use serde_json::Value;

use crate::collation::compare;
use crate::field::Found;
use crate::selector::{Selector, Test};

impl Selector {
    /// Whether `value` matches. Linear in the sizes of both, but for `$in`, `$all` and their like,
    /// which compare each element with each argument.
    pub fn matches(&self, value: &Value) -> bool {
        match self {
            Self::Anything => true,
            Self::And(conditions) => conditions.iter().all(|one| one.matches(value)),
            Self::Or(conditions) => {
                conditions.is_empty() || conditions.iter().any(|one| one.matches(value))
            }
            Self::Not(condition) => !condition.matches(value),
            Self::Field(path, test) => match path.find(value) {
                Found::Value(value) => test.passes(value),
                // A way that leads nowhere is something else than a member that is missing.
                Found::Nothing => matches!(test, Test::Exists(false)),
                Found::NoWay => false,
            },
        }
    }
}

impl Test {
    fn passes(&self, value: &Value) -> bool {
        let order = |argument: &Value| compare(value, argument);
        match self {
            Self::Lt(argument) => order(argument) == Ordering::Less,
            Self::Lte(argument) => order(argument) != Ordering::Greater,
            Self::Eq(argument) => order(argument) == Ordering::Equal,
            Self::Ne(argument) => order(argument) != Ordering::Equal,
            Self::Gte(argument) => order(argument) != Ordering::Less,
            Self::Gt(argument) => order(argument) == Ordering::Greater,
            Self::In(arguments) => is_in(value, arguments),
            Self::Nin(arguments) => !is_in(value, arguments),
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
                .is_some_and(|values| values.iter().any(|one| condition.matches(one))),
            Self::AllMatch(condition) => value.as_array().is_some_and(|values| {
                !values.is_empty() && values.iter().all(|one| condition.matches(one))
            }),
            Self::KeyMapMatch(condition) => value.as_object().is_some_and(|members| {
                members
                    .keys()
                    .any(|name| condition.matches(&Value::String(name.clone())))
            }),
            Self::Not(test) => !test.passes(value),
        }
    }
}

fn is_in(value: &Value, arguments: &[Value]) -> bool {
    match value {
        Value::Array(values) => values.iter().any(|value| is_one_of(value, arguments)),
        value => is_one_of(value, arguments),
    }
}

fn is_one_of(value: &Value, arguments: &[Value]) -> bool {
    arguments
        .iter()
        .any(|argument| compare(value, argument) == Ordering::Equal)
}

/// Here values are the same, not equal in collation: 1 is not 1.0.
fn has_all(value: &Value, arguments: &[Value]) -> bool {
    let Value::Array(values) = value else {
        return false;
    };
    if arguments.is_empty() {
        return false;
    }
    let whole = matches!(arguments, [Value::Array(only)] if only == values);
    whole || arguments.iter().all(|argument| values.contains(argument))
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
