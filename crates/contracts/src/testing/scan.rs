//! Looks for identifiers of persons in bytes where none may be: blocks, transactions, logs, files
//! of an index. For tests.
//!
//! An identifier is found as it is and in other spellings (upper and lower case, a date or a number
//! written differently), in UTF-8 and UTF-16, in hexadecimal and base64, and hashed without salt:
//! SHA-256, SHA-1 or MD5 of the bare value, as bytes, in hexadecimal or base64. What the suite
//! allows, salted commitments and keyed hashes, is not found. Encryption and compression hide an
//! identifier from the scanner too: give it the content, not the archive.
//!
//! ```
//! use consilium_contracts::testing::scan::{Form, Identifier, Kind, Scanner};
//! let scanner = Scanner::new([Identifier::new(Kind::Mrn, "MRN-0042-77")]).unwrap();
//! assert!(scanner.scan(b"{\"id\":\"a random one\"}").is_empty());
//! let found = scanner.scan(b"log: read mrn-0042-77");
//! assert_eq!((found[0].form, found[0].offset), (Form::Plain, 10));
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use md5::{Digest as _, Md5};
use serde_json::Value;

mod spelling;

/// Shorter values, in bytes of UTF-8, appear by chance.
pub const MIN_VALUE_BYTES: usize = 4;
/// A part of base64 shorter than this, in characters, appears by chance.
const MIN_BASE64_CHARS: usize = 6;

/// What kind of identifier it is; decides in which spellings it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A person's name or a part of it.
    Name,
    /// A number of an identity card, passport or insurance.
    NationalId,
    /// `YYYY-MM-DD`.
    BirthDate,
    /// A telephone number or an e-mail address.
    Telecom,
    /// A line of an address.
    Address,
    /// A hospital's number for a patient.
    Mrn,
}

/// Something that says who a person is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identifier {
    /// What it is.
    pub kind: Kind,
    /// Its value, as it is usually written.
    pub value: String,
}

impl Identifier {
    /// One identifier.
    pub fn new(kind: Kind, value: impl Into<String>) -> Self {
        Identifier {
            kind,
            value: value.into(),
        }
    }

    /// The identifiers of a FHIR R4 Patient: names, identifiers, date of birth, telecom, lines of
    /// addresses, and the resource's own id. Those that are too short to look for are left out.
    pub fn of_patient(patient: &Value) -> Vec<Identifier> {
        let mut found = BTreeSet::new();
        let mut add = |kind, value: &str| {
            if value.trim().len() >= MIN_VALUE_BYTES {
                found.insert(Identifier::new(kind, value.trim()));
            }
        };
        let list = |of: &Value, name: &str| -> Vec<Value> {
            of[name].as_array().cloned().unwrap_or_default()
        };
        for name in list(patient, "name") {
            let family = name["family"].as_str().unwrap_or_default();
            let given = list(&name, "given");
            add(Kind::Name, family);
            for given in given.iter().filter_map(Value::as_str) {
                add(Kind::Name, given);
                add(Kind::Name, &format!("{given} {family}"));
            }
            add(Kind::Name, name["text"].as_str().unwrap_or_default());
        }
        for identifier in list(patient, "identifier") {
            let is_mrn = list(&identifier["type"], "coding")
                .iter()
                .any(|coding| coding["code"] == "MR");
            let kind = if is_mrn { Kind::Mrn } else { Kind::NationalId };
            add(kind, identifier["value"].as_str().unwrap_or_default());
        }
        add(Kind::Mrn, patient["id"].as_str().unwrap_or_default());
        add(
            Kind::BirthDate,
            patient["birthDate"].as_str().unwrap_or_default(),
        );
        for telecom in list(patient, "telecom") {
            add(Kind::Telecom, telecom["value"].as_str().unwrap_or_default());
        }
        for address in list(patient, "address") {
            for line in list(&address, "line").iter().filter_map(Value::as_str) {
                add(Kind::Address, line);
            }
        }
        found.into_iter().collect()
    }
}

/// How an identifier was written where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// UTF-8, in any case and spelling.
    Plain,
    /// UTF-16 of either byte order.
    Utf16,
    /// Its bytes in hexadecimal.
    Hex,
    /// Its bytes in base64 or base64url, also as a part of something longer.
    Base64,
    /// Its bare hash, by algorithm and writing.
    Hashed(Algorithm, Writing),
}

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
    /// MD5.
    Md5,
}

/// How a hash is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writing {
    /// Its bytes.
    Raw,
    /// Hexadecimal, in either case.
    Hex,
    /// Base64 or base64url.
    Base64,
}

/// An identifier in one form; further occurrences in the same form are only counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was found.
    pub identifier: Identifier,
    /// How it was written.
    pub form: Form,
    /// Where it begins first, in bytes.
    pub offset: usize,
    /// How often it was found in this form.
    pub count: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:?} at byte {} as {:?}, {} times",
            self.identifier.kind, self.identifier.value, self.offset, self.form, self.count
        )
    }
}

/// Why there is no scanner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Nothing to look for: a scanner that never finds anything proves nothing.
    #[error("no identifiers to look for")]
    Nothing,
    /// Would be found by chance.
    #[error(
        "{kind:?} {value:?} is shorter than {MIN_VALUE_BYTES} bytes and would be found by chance"
    )]
    TooShort {
        /// Its kind.
        kind: Kind,
        /// Its value.
        value: String,
    },
    /// More patterns than a search can hold.
    #[error("too many identifiers for one scanner: {0}")]
    TooMany(String),
}

/// Patterns to look for in one pass, each with the identifier and the form it stands for.
struct Patterns {
    search: AhoCorasick,
    means: Vec<(usize, Form)>,
}

impl Patterns {
    fn new(patterns: BTreeMap<Vec<u8>, (usize, Form)>, any_case: bool) -> Result<Self, ScanError> {
        let (patterns, means): (Vec<_>, Vec<_>) = patterns.into_iter().unzip();
        let search = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .ascii_case_insensitive(any_case)
            .build(patterns)
            .map_err(|error| ScanError::TooMany(error.to_string()))?;
        Ok(Patterns { search, means })
    }
}

/// Looks for identifiers in bytes. Takes some 200 patterns an identifier: good for the identifiers
/// of some hundred persons at once.
pub struct Scanner {
    identifiers: Vec<Identifier>,
    any_case: Patterns,
    exact: Patterns,
}

impl Scanner {
    /// A scanner for these identifiers.
    ///
    /// # Errors
    /// [`ScanError`] when there are none, or one is too short.
    pub fn new(identifiers: impl IntoIterator<Item = Identifier>) -> Result<Self, ScanError> {
        let identifiers: Vec<_> = identifiers.into_iter().collect();
        if identifiers.is_empty() {
            return Err(ScanError::Nothing);
        }
        let (mut any_case, mut exact) = (BTreeMap::new(), BTreeMap::new());
        for (index, identifier) in identifiers.iter().enumerate() {
            if identifier.value.trim().len() < MIN_VALUE_BYTES {
                return Err(ScanError::TooShort {
                    kind: identifier.kind,
                    value: identifier.value.clone(),
                });
            }
            for spelling in spelling::of(identifier) {
                add_spelling(index, &spelling, &mut any_case, &mut exact);
            }
        }
        Ok(Scanner {
            identifiers,
            any_case: Patterns::new(any_case, true)?,
            exact: Patterns::new(exact, false)?,
        })
    }

    /// Everything that is found, by identifier and form.
    pub fn scan(&self, bytes: &[u8]) -> Vec<Finding> {
        let mut found: BTreeMap<(usize, Form), (usize, usize)> = BTreeMap::new();
        for patterns in [&self.any_case, &self.exact] {
            for hit in patterns.search.find_overlapping_iter(bytes) {
                let means = patterns.means[hit.pattern().as_usize()];
                let (offset, count) = found.entry(means).or_insert((hit.start(), 0));
                *offset = (*offset).min(hit.start());
                *count += 1;
            }
        }
        found
            .into_iter()
            .map(|((index, form), (offset, count))| Finding {
                identifier: self.identifiers[index].clone(),
                form,
                offset,
                count,
            })
            .collect()
    }
}

type PatternMap = BTreeMap<Vec<u8>, (usize, Form)>;

fn add_spelling(index: usize, text: &str, any_case: &mut PatternMap, exact: &mut PatternMap) {
    let add = |map: &mut PatternMap, pattern: Vec<u8>, form| {
        // Two identifiers that look alike: the first speaks for both.
        map.entry(pattern).or_insert((index, form));
    };
    let bytes = text.as_bytes();
    add(any_case, folded(bytes), Form::Plain);
    add(any_case, folded(hex::encode(bytes).as_bytes()), Form::Hex);
    let utf16: Vec<u16> = text.encode_utf16().collect();
    let little: Vec<u8> = utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big: Vec<u8> = utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    add(any_case, folded(&little), Form::Utf16);
    add(any_case, folded(&big), Form::Utf16);
    for part in base64_parts(bytes) {
        add(exact, part, Form::Base64);
    }
    for (algorithm, hash) in hashes(bytes) {
        let form = |writing| Form::Hashed(algorithm, writing);
        add(
            any_case,
            hex::encode(&hash).into_bytes(),
            form(Writing::Hex),
        );
        for part in base64_parts(&hash) {
            add(exact, part, form(Writing::Base64));
        }
        add(exact, hash, form(Writing::Raw));
    }
}

/// One pattern for all cases of ASCII letters.
fn folded(bytes: &[u8]) -> Vec<u8> {
    bytes.to_ascii_lowercase()
}

fn hashes(bytes: &[u8]) -> [(Algorithm, Vec<u8>); 3] {
    let with = |algorithm| digest::digest(algorithm, bytes).as_ref().to_vec();
    [
        (Algorithm::Sha256, with(&SHA256)),
        (Algorithm::Sha1, with(&SHA1_FOR_LEGACY_USE_ONLY)),
        (Algorithm::Md5, Md5::digest(bytes).to_vec()),
    ]
}

/// What base64 and base64url of anything that contains these bytes must contain: the characters
/// that depend on them alone, for each of the three places within a group of three bytes.
fn base64_parts(bytes: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut parts = BTreeSet::new();
    for shift in 0..3usize {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(bytes);
        // Whole groups of six bits between the first and the last bit of the value.
        let first = (shift * 8).div_ceil(6);
        let last = shifted.len() * 8 / 6;
        for text in [
            STANDARD_NO_PAD.encode(&shifted),
            URL_SAFE_NO_PAD.encode(&shifted),
        ] {
            if let Some(part) = text.as_bytes().get(first..last)
                && part.len() >= MIN_BASE64_CHARS
            {
                parts.insert(part.to_vec());
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests;
