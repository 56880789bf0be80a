//! The order of JSON values, and its encoding into bytes that compare alike.
//!
//! `null < false < true < numbers < strings < arrays < objects`. Strings go by the root collation
//! of Unicode (ICU in CouchDB, ICU4X here), so two strings may be equal without having the same
//! bytes. Arrays compare element by element, objects member by member in the byte order of their
//! names (Fabric stores documents so); what ends first is less. Numbers compare exactly, integers
//! with fractions too. couchdb: src/couch/src/couch_ejson_compare.erl

use std::cmp::Ordering;
use std::sync::OnceLock;

use icu_collator::options::CollatorOptions;
use icu_collator::{Collator, CollatorBorrowed, CollatorPreferences};
use serde_json::{Number, Value};

const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const STRING: u8 = 5;
const ARRAY: u8 = 6;
const OBJECT: u8 = 7;
/// Ends arrays and objects; less than every tag.
const END: u8 = 0;

/// Greater than every byte that can follow an encoded value.
pub(crate) const AFTER: u8 = 0xff;

fn collator() -> &'static CollatorBorrowed<'static> {
    static COLLATOR: OnceLock<CollatorBorrowed<'static>> = OnceLock::new();
    COLLATOR.get_or_init(|| {
        // The data of the root collation is compiled into this binary.
        Collator::try_new(CollatorPreferences::default(), CollatorOptions::default())
            .expect("the root collation needs no data from outside")
    })
}

/// Compares as CouchDB does.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => parts(a).cmp(&parts(b)),
        (Value::String(a), Value::String(b)) => collator().compare(a, b),
        (Value::Array(a), Value::Array(b)) => a
            .iter()
            .zip(b)
            .map(|(a, b)| compare(a, b))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
        (Value::Object(a), Value::Object(b)) => a
            .iter()
            .zip(b)
            .map(|((name, value), (other_name, other))| {
                collator()
                    .compare(name, other_name)
                    .then_with(|| compare(value, other))
            })
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
        _ => tag(a).cmp(&tag(b)),
    }
}

/// Appends the encoding of a value: encodings compare as [`compare`] does, and no encoding is the
/// beginning of another one, so that they can be strung together.
pub fn encode(value: &Value, bytes: &mut Vec<u8>) {
    bytes.push(tag(value));
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            let (nearest, rest) = parts(number);
            bytes.extend_from_slice(&nearest.to_be_bytes());
            bytes.extend_from_slice(&rest.to_be_bytes());
        }
        Value::String(string) => encode_string(string, bytes),
        Value::Array(values) => {
            for value in values {
                encode(value, bytes);
            }
            bytes.push(END);
        }
        Value::Object(members) => {
            for (name, value) in members {
                bytes.push(STRING);
                encode_string(name, bytes);
                encode(value, bytes);
            }
            bytes.push(END);
        }
    }
}

/// The encoding of one value.
pub fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    bytes
}

/// Where encoded strings begin, and what lies behind the last of them.
pub(crate) const STRINGS: (u8, u8) = (STRING, ARRAY);

fn encode_string(string: &str, bytes: &mut Vec<u8>) {
    let mut key = Vec::with_capacity(string.len() + 8);
    // A vector takes every write.
    let Ok(()) = collator().write_sort_key_to(string, &mut key);
    // Sort keys hold no zero byte; escaping one costs nothing and keeps ends apart in any case.
    for byte in key {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(AFTER);
        }
    }
    bytes.extend_from_slice(&[0, 0]);
}

fn tag(value: &Value) -> u8 {
    match value {
        Value::Null => NULL,
        Value::Bool(false) => FALSE,
        Value::Bool(true) => TRUE,
        Value::Number(_) => NUMBER,
        Value::String(_) => STRING,
        Value::Array(_) => ARRAY,
        Value::Object(_) => OBJECT,
    }
}

/// A number as the nearest double, in a form that orders like it, and what the double lacks: large
/// integers that share a double differ in the second part.
fn parts(number: &Number) -> (u64, u16) {
    let integer = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    let (double, rest) = match integer {
        Some(integer) => {
            let double = integer as f64;
            // Doubles near 64-bit integers are at most 2048 apart.
            (double, integer - double as i128)
        }
        None => (number.as_f64().unwrap_or(f64::MAX), 0),
    };
    // One zero only.
    let bits = (double + 0.0).to_bits();
    let ordered = if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    };
    (ordered, (rest + 0x8000) as u16)
}

/// What follows the first encoded value.
pub(crate) fn skip(bytes: &[u8]) -> Option<&[u8]> {
    let (tag, mut rest) = bytes.split_first()?;
    match *tag {
        NULL | FALSE | TRUE => Some(rest),
        NUMBER => rest.get(10..),
        STRING => loop {
            let zero = rest.iter().position(|byte| *byte == 0)?;
            let escape = *rest.get(zero + 1)?;
            rest = rest.get(zero + 2..)?;
            if escape == 0 {
                return Some(rest);
            }
        },
        ARRAY | OBJECT => loop {
            if *rest.first()? == END {
                return rest.get(1..);
            }
            rest = skip(rest)?;
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
