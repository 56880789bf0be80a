//! Rules that no schema states: dates of the calendar, periods that end after they begin, check
//! digits, and references that can be followed.

use std::collections::BTreeSet;

use consilium_contracts::gs1::gtin;
use serde_json::{Map, Value};

use super::list;
use crate::code_digits::{is_loinc, is_npi, is_sctid};
use crate::dates;
use crate::definitions;
use crate::devices::GS1;
use crate::element::{self, text};
use crate::outcome::{Issue, MAX_ISSUES};

pub(super) fn check(kind: &str, resource: &Value, at: &str, issues: &mut Vec<Issue>) {
    let inner: BTreeSet<&str> = list(resource, "contained")
        .iter()
        .filter_map(|contained| text(contained, &["id"]))
        .collect();
    let before = issues.len();
    walk(resource, at, &mut |path, object| {
        if issues.len() >= before + MAX_ISSUES {
            return;
        }
        dates_exist(path, object, issues);
        period(path, object, issues);
        coding(path, object, issues);
        reference(path, object, &inner, issues);
    });
    if matches!(kind, "Practitioner" | "Organization" | "Device") {
        identifiers(kind, resource, at, issues);
    }
}

/// As [`element::walk`], but not into resources within: those are judged by themselves.
fn walk<'v>(resource: &'v Value, at: &str, visit: &mut impl FnMut(&str, &'v Map<String, Value>)) {
    let Some(object) = resource.as_object() else {
        return;
    };
    visit(at, object);
    for (name, child) in object {
        let entries = name == "entry" && text(resource, &["resourceType"]) == Some("Bundle");
        if name != "contained" && !entries {
            element::walk(child, &format!("{at}.{name}"), visit);
        }
    }
}

fn value_issue(code: &'static str, sentence: impl Into<String>) -> Issue {
    Issue::error("value", code, sentence)
}

/// The schema's pattern lets the 30th of February pass.
fn dates_exist(path: &str, object: &Map<String, Value>, issues: &mut Vec<Issue>) {
    for (name, value) in object {
        let is_date = name.ends_with("Date")
            || name.ends_with("DateTime")
            || matches!(
                name.as_str(),
                "start"
                    | "end"
                    | "date"
                    | "issued"
                    | "created"
                    | "recorded"
                    | "authoredOn"
                    | "started"
            );
        let Some(text) = value.as_str().filter(|text| is_date && is_day(text)) else {
            continue;
        };
        // Leap seconds are in the pattern, and in no calendar.
        if dates::span(&text.replace(":60", ":59")).is_none() {
            issues.push(
                value_issue("NO_SUCH_DATE", "no calendar has this date")
                    .at(format!("{path}.{name}")),
            );
        }
    }
}

/// Whether a text begins as a day does, `2020-02-30`, and ends or goes on with a time.
fn is_day(text: &str) -> bool {
    let bytes = text.as_bytes();
    let day = bytes.get(..10).is_some_and(|day| {
        day.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    });
    day && bytes.get(10).is_none_or(|byte| *byte == b'T')
}

fn period(path: &str, object: &Map<String, Value>, issues: &mut Vec<Issue>) {
    let span = |name: &str| {
        object
            .get(name)
            .and_then(Value::as_str)
            .and_then(dates::span)
    };
    if let (Some(start), Some(end)) = (span("start"), span("end"))
        && start.low >= end.high
    {
        issues
            .push(value_issue("PERIOD", "a period ends after it begins").at(format!("{path}.end")));
    }
}

fn coding(path: &str, object: &Map<String, Value>, issues: &mut Vec<Issue>) {
    let (Some(Value::String(system)), Some(Value::String(code))) =
        (object.get("system"), object.get("code"))
    else {
        return;
    };
    let (good, what) = match system.as_str() {
        "http://loinc.org" => (is_loinc(code), "LOINC"),
        "http://snomed.info/sct" => (is_sctid(code), "SNOMED CT"),
        _ => return,
    };
    if !good {
        issues.push(
            Issue::error(
                "code-invalid",
                "BAD_CHECK_DIGIT",
                format!("the check digit says that this is no code of {what}"),
            )
            .at(format!("{path}.code")),
        );
    }
}

fn reference(
    path: &str,
    object: &Map<String, Value>,
    inner: &BTreeSet<&str>,
    issues: &mut Vec<Issue>,
) {
    let Some(Value::String(reference)) = object.get("reference") else {
        return;
    };
    let problem = if let Some(id) = reference.strip_prefix('#') {
        (!id.is_empty() && !inner.contains(id)).then_some("nothing with this id is contained")
    } else if reference.contains(':') || reference.starts_with('/') {
        None
    } else {
        let kind = reference.split(['/', '?']).next().unwrap_or_default();
        (!definitions::is_type(kind)).then_some("a relative reference is 'Type/id'")
    };
    if let Some(problem) = problem {
        issues.push(value_issue("BAD_REFERENCE", problem).at(format!("{path}.reference")));
    }
}

/// What stands alone says who or what something is, and has to be right.
fn identifiers(kind: &str, resource: &Value, at: &str, issues: &mut Vec<Issue>) {
    for (place, carrier) in list(resource, "udiCarrier").iter().enumerate() {
        let issuer = text(carrier, &["issuer"]);
        let di = text(carrier, &["deviceIdentifier"]);
        if let (Some(di), true) = (
            di,
            issuer.is_none_or(|issuer| issuer == GS1 || issuer.contains("gs1")),
        ) && let Err(error) = gtin::normalize(di)
        {
            // Other agencies' identifiers are no GTINs: without an issuer only digits are judged.
            if issuer.is_some() || matches!(error, gtin::GtinError::CheckDigit { .. }) {
                issues.push(
                    value_issue("BAD_CHECK_DIGIT", error.to_string())
                        .at(format!("{at}.udiCarrier[{place}].deviceIdentifier")),
                );
            }
        }
    }
    if kind == "Device" {
        return;
    }
    for (place, identifier) in list(resource, "identifier").iter().enumerate() {
        let Some("http://hl7.org/fhir/sid/us-npi") = text(identifier, &["system"]) else {
            continue;
        };
        // Synthetic populations number their practitioners from 0; only ten digits claim to be one.
        let value = text(identifier, &["value"]).unwrap_or_default();
        if value.len() == 10 && !is_npi(value) {
            issues.push(
                value_issue("BAD_IDENTIFIER", "the check digit says that this is no NPI")
                    .at(format!("{at}.identifier[{place}].value")),
            );
        }
    }
}
