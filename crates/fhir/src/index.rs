//! What of a resource can be searched for: tokens and dates, by the published parameters.
//!
//! The custodian's store keeps tokens only as keyed hashes, so that its file names nobody; strings
//! are found by their beginnings, each of which is a token.

use serde_json::Value;

use crate::dates::{self, EARLIEST, LATEST, Span};
use crate::definitions::{self, Parameter, ParameterKind};
use crate::element::{self, text};
use crate::references;

/// Beginnings of a string that are kept.
const MAX_PREFIX: usize = 24;
/// Parameters that are not kept although the definitions have them.
const LEFT_OUT: &[&str] = &["phonetic"];

/// What is kept of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entries {
    /// Parameter and one form in which its value can be asked for.
    pub tokens: Vec<(&'static str, String)>,
    /// Parameter and time.
    pub dates: Vec<(&'static str, Span)>,
}

/// Whether a parameter of a type can be searched for, and how.
pub(crate) fn searchable(kind: &str, name: &str) -> Option<&'static Parameter> {
    if LEFT_OUT.contains(&name) {
        return None;
    }
    definitions::parameter(kind, name)
}

/// Whether a date names a person as much as a number does, and is kept as a token.
pub(crate) fn is_blind_date(kind: &str, name: &str) -> bool {
    matches!(
        (kind, name),
        ("Patient" | "RelatedPerson", "birthdate" | "death-date")
    )
}

/// The entries of a resource.
pub(crate) fn entries(kind: &str, resource: &Value) -> Entries {
    let mut entries = Entries::default();
    for (name, parameter) in definitions::parameters(kind) {
        if LEFT_OUT.contains(&name) {
            continue;
        }
        for path in &parameter.paths {
            for value in element::values(resource, path) {
                match parameter.kind {
                    ParameterKind::Date if is_blind_date(kind, name) => {
                        blind_date(name, value, &mut entries);
                    }
                    ParameterKind::Date => {
                        entries.dates.extend(times(value).map(|span| (name, span)));
                    }
                    ParameterKind::Token => token(name, value, &mut entries),
                    ParameterKind::Reference => {
                        reference(name, value, path.target.as_deref(), &mut entries);
                    }
                    ParameterKind::String => string(name, value, &mut entries),
                }
            }
        }
    }
    entries.tokens.sort();
    entries.tokens.dedup();
    entries
}

/// A year, a year and month, and the day: each can be asked for.
fn blind_date(name: &'static str, value: &Value, entries: &mut Entries) {
    let day = value.as_str().unwrap_or_default();
    for length in [4, 7, 10] {
        if let Some(part) = day.get(..length) {
            entries.tokens.push((name, part.to_owned()));
        }
    }
}

fn times(value: &Value) -> Option<Span> {
    match value {
        Value::String(text) => dates::span(text),
        Value::Object(period) => {
            let end = |name: &str| period.get(name).and_then(Value::as_str);
            let (start, end) = (end("start"), end("end"));
            if start.is_none() && end.is_none() {
                return None;
            }
            Some(Span {
                low: start.map_or(Some(EARLIEST), |t| dates::span(t).map(|s| s.low))?,
                high: end.map_or(Some(LATEST), |t| dates::span(t).map(|s| s.high))?,
            })
        }
        _ => None,
    }
}

/// The forms in which a token can be asked for (R4 §3.1.1.4.10).
fn forms(system: Option<&str>, code: &str) -> Vec<String> {
    match system {
        Some(system) => vec![
            code.to_owned(),
            format!("{system}|{code}"),
            format!("{system}|"),
        ],
        None => vec![code.to_owned(), format!("|{code}")],
    }
}

fn token(name: &'static str, value: &Value, entries: &mut Entries) {
    match value {
        Value::String(code) => entries
            .tokens
            .extend(forms(None, code).into_iter().map(|form| (name, form))),
        Value::Bool(flag) => entries.tokens.push((name, flag.to_string())),
        Value::Object(object) => {
            if let Some(codings) = object.get("coding").and_then(Value::as_array) {
                return codings
                    .iter()
                    .for_each(|coding| token(name, coding, entries));
            }
            let part = |part: &str| object.get(part).and_then(Value::as_str);
            if let Some(code) = part("code").or(part("value")) {
                let forms = forms(part("system"), code);
                entries
                    .tokens
                    .extend(forms.into_iter().map(|form| (name, form)));
            }
        }
        _ => {}
    }
}

fn reference(name: &'static str, value: &Value, target: Option<&str>, entries: &mut Entries) {
    let text = match value {
        Value::String(canonical) => Some(canonical.as_str()),
        object => text(object, &["reference"]),
    };
    let Some(text) = text else { return };
    match references::local(text) {
        Some(local) if target.is_none_or(|target| target == local.kind) => {
            entries.tokens.push((name, local.id.to_owned()));
            entries
                .tokens
                .push((name, format!("{}/{}", local.kind, local.id)));
        }
        Some(_) => {}
        None => entries.tokens.push((name, text.to_owned())),
    }
}

/// As strings are compared: lower case, single spaces.
pub(crate) fn normalized(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}

fn string(name: &'static str, value: &Value, entries: &mut Entries) {
    match value {
        Value::String(text) => {
            let text = normalized(text);
            let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
            for end in ends.take(MAX_PREFIX) {
                entries.tokens.push((name, text[..end].to_owned()));
            }
        }
        // Names and addresses: any of their parts.
        Value::Object(parts) => parts
            .iter()
            .filter(|(part, _)| !matches!(part.as_str(), "use" | "type" | "period" | "extension"))
            .for_each(|(_, part)| string(name, part, entries)),
        Value::Array(items) => items.iter().for_each(|item| string(name, item, entries)),
        _ => {}
    }
}

/// What a string is asked for with: its first characters, as many as are kept.
pub(crate) fn prefix(text: &str) -> String {
    normalized(text).chars().take(MAX_PREFIX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn has(entries: &Entries, name: &str, form: &str) -> bool {
        entries.tokens.iter().any(|(n, f)| *n == name && f == form)
    }

    #[test]
    fn an_observation_is_found_by_code_patient_and_date() {
        let entries = entries(
            "Observation",
            &json!({
                "resourceType": "Observation", "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
                "subject": {"reference": "Patient/p"},
                "effectiveDateTime": "1970-01-02",
            }),
        );
        for form in ["8302-2", "http://loinc.org|8302-2", "http://loinc.org|"] {
            assert!(has(&entries, "code", form), "{form}");
        }
        assert!(has(&entries, "status", "final"));
        assert!(has(&entries, "patient", "Patient/p"));
        assert!(has(&entries, "patient", "p"));
        let day = 86_400_000;
        let expected = Span {
            low: day,
            high: 2 * day,
        };
        assert_eq!(entries.dates, [("date", expected)]);
    }

    #[test]
    fn a_person_is_found_by_number_and_the_beginnings_of_the_name() {
        let entries = entries(
            "Patient",
            &json!({
                "resourceType": "Patient", "birthDate": "2009-03-20", "gender": "female",
                "identifier": [{"system": "s", "value": "v"}],
                "name": [{"use": "official", "family": "Hermiston71", "given": ["Johnnie679"]}],
            }),
        );
        for (name, form) in [
            ("identifier", "s|v"),
            ("identifier", "v"),
            ("family", "her"),
            ("name", "johnnie679"),
            ("birthdate", "2009-03"),
            ("gender", "female"),
        ] {
            assert!(has(&entries, name, form), "{name} {form}");
        }
        assert!(!has(&entries, "name", "official"));
        assert!(entries.dates.is_empty());
    }
}
