//! Disease codes of DUO conditions, and when one is equal to or below another.
//!
//! A code is `SYSTEM:code`. Which codes lie below which is decided without an ontology at hand:
//! - ICD codes say it themselves: every further character of `ICD10:E11.9` narrows. A dataset may
//!   also name a block of categories, `ICD10:E10-E14`.
//! - MONDO and DOID numbers say nothing: a dataset lists those below, as its custodian found them
//!   in the release of the ontology that the dataset was described with.
//!
//! Codes of different systems never match: a map between systems is somebody's opinion.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::fields;

/// Codes that a dataset lists below one of its own.
const MAX_BELOW: usize = 256;

/// A disease that a dataset may be used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disease {
    pub code: String,
    /// What else the code includes, for systems whose codes do not say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<String>,
}

/// A code taken apart; ICD codes without their dot.
#[derive(Debug, PartialEq, Eq)]
enum Code<'a> {
    /// MONDO or DOID: the whole code counts.
    Numbered(&'a str),
    /// System and code.
    Icd(&'a str, String),
    /// System, first and last category.
    Block(&'a str, &'a str, &'a str),
}

/// ICD categories have a letter and two further characters.
const CATEGORY: usize = 3;

fn is_icd(code: &str) -> bool {
    let bytes = code.as_bytes();
    (CATEGORY..=7).contains(&bytes.len())
        && bytes[0].is_ascii_uppercase()
        && bytes[1].is_ascii_digit()
        && bytes
            .iter()
            .skip(2)
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

fn parse(code: &str) -> Option<Code<'_>> {
    let (system, rest) = code.split_once(':')?;
    match system {
        "MONDO" | "DOID" => {
            let digits = if system == "MONDO" { 7..=7 } else { 1..=8 };
            (digits.contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_digit()))
                .then_some(Code::Numbered(code))
        }
        "ICD10" | "ICD10CM" => {
            if let Some((first, last)) = rest.split_once('-') {
                let whole = |part: &str| part.len() == CATEGORY && is_icd(part);
                return (whole(first) && whole(last) && first <= last)
                    .then_some(Code::Block(system, first, last));
            }
            let plain = match rest.split_once('.') {
                Some((category, detail)) if category.len() == CATEGORY && !detail.is_empty() => {
                    format!("{category}{detail}")
                }
                Some(_) => return None,
                None => rest.to_owned(),
            };
            is_icd(&plain).then_some(Code::Icd(system, plain))
        }
        _ => None,
    }
}

fn malformed(name: &str) -> Failure {
    Failure::malformed(format!(
        "{name} is a disease as MONDO:0005148, DOID:9352, ICD10:E11.9 or ICD10CM:E11.65"
    ))
}

/// Whether a project's disease is written as it should be.
///
/// # Errors
/// 400 `MALFORMED` for anything else, blocks of categories included.
pub(crate) fn check_one(name: &str, code: &str) -> Result<(), Failure> {
    match parse(code) {
        Some(Code::Numbered(_) | Code::Icd(..)) => Ok(()),
        _ => Err(malformed(name)),
    }
}

/// Whether a dataset's disease is written as it should be.
///
/// # Errors
/// 400 `MALFORMED`, also when codes of another system, or any below an ICD code, are listed.
pub(crate) fn check(name: &str, disease: &Disease) -> Result<(), Failure> {
    let Some(code) = parse(&disease.code) else {
        return Err(malformed(name));
    };
    if disease.below.is_empty() {
        return Ok(());
    }
    fields::count(&format!("{name}.below"), disease.below.len(), MAX_BELOW)?;
    let system = disease.code.split(':').next();
    let fits = |below: &String| parse(below).is_some() && below.split(':').next() == system;
    if matches!(code, Code::Numbered(_)) && disease.below.iter().all(fits) {
        return Ok(());
    }
    Err(Failure::malformed(format!(
        "{name}.below lists codes of the same system, and only for MONDO and DOID: ICD codes say themselves what is below them"
    )))
}

/// Whether a project's disease is the dataset's, or below it.
pub(crate) fn covers(disease: &Disease, asked: &str) -> bool {
    match (parse(&disease.code), parse(asked)) {
        (Some(Code::Numbered(own)), Some(Code::Numbered(asked))) => {
            own == asked || disease.below.iter().any(|below| below == asked)
        }
        (Some(Code::Icd(system, own)), Some(Code::Icd(other, asked))) => {
            system == other && asked.starts_with(&own)
        }
        (Some(Code::Block(system, first, last)), Some(Code::Icd(other, asked))) => {
            // Parsed codes are ASCII of at least a category.
            let category = asked.get(..CATEGORY).unwrap_or_default();
            system == other && first <= category && category <= last
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disease(code: &str, below: &[&str]) -> Disease {
        Disease {
            code: code.to_owned(),
            below: below.iter().map(|code| (*code).to_owned()).collect(),
        }
    }

    #[test]
    fn a_disease_covers_itself_and_what_is_below() {
        for (own, below, asked, covered) in [
            ("ICD10:E11", &[][..], "ICD10:E11", true),
            ("ICD10:E11", &[], "ICD10:E11.9", true),
            ("ICD10:E11", &[], "ICD10:E119", true),
            ("ICD10:E11.2", &[], "ICD10:E11.21", true),
            ("ICD10:E11.2", &[], "ICD10:E11", false),
            ("ICD10:E11.2", &[], "ICD10:E11.3", false),
            ("ICD10:E11", &[], "ICD10CM:E11.9", false),
            ("ICD10:E10-E14", &[], "ICD10:E11.9", true),
            ("ICD10:E10-E14", &[], "ICD10:E14", true),
            ("ICD10:E10-E14", &[], "ICD10:E15.1", false),
            ("ICD10CM:E08-E13", &[], "ICD10:E11", false),
            ("MONDO:0005148", &[], "MONDO:0005148", true),
            ("MONDO:0005015", &["MONDO:0005148"], "MONDO:0005148", true),
            ("MONDO:0005015", &[], "MONDO:0005148", false),
            ("MONDO:0005148", &[], "DOID:9352", false),
            ("DOID:9351", &["DOID:9352"], "DOID:9352", true),
            ("DOID:9351", &["DOID:9352"], "DOID:9744", false),
        ] {
            assert_eq!(
                covers(&disease(own, below), asked),
                covered,
                "{asked} below {own}"
            );
        }
    }

    #[test]
    fn codes_are_read_strictly() {
        for code in [
            "MONDO:0005148",
            "DOID:9352",
            "ICD10:E11",
            "ICD10CM:S72.141A",
        ] {
            check_one("d", code).unwrap();
        }
        for code in [
            "",
            "diabetes",
            "MONDO:5148",
            "MONDO:00051480",
            "DOID:",
            "DOID:x",
            "ICD10:E1",
            "ICD10:e11",
            "ICD10:E11.",
            "ICD10:E1.19",
            "ICD10:1E1",
            "ICD10:E10-E14",
            "SNOMED:73211009",
            "ICD10:E11.98765",
            "ICD10:É11",
        ] {
            assert_eq!(
                check_one("d", code).unwrap_err().code,
                "MALFORMED",
                "{code}"
            );
        }
        for (code, below, good) in [
            ("ICD10:E10-E14", &[][..], true),
            ("ICD10:E14-E10", &[], false),
            ("ICD10:E10-E14.9", &[], false),
            ("ICD10:E11", &["ICD10:E11.9"], false),
            ("MONDO:0005015", &["MONDO:0005148"], true),
            ("MONDO:0005015", &["DOID:9352"], false),
            ("MONDO:0005015", &["MONDO:x"], false),
        ] {
            assert_eq!(check("d", &disease(code, below)).is_ok(), good, "{code}");
        }
    }
}
