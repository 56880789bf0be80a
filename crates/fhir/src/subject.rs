//! Whom a resource is about: the pseudonym under which it goes on the ledger, and what coarse kind
//! of document it is.

use consilium_contracts::vault::pseudonym;
use serde_json::Value;

use crate::element::text;
use crate::outcome::{Issue, Refusal, Refused};
use crate::references;

/// Makes care pseudonyms of identifiers. A key that stays where it is, or an identity service.
pub trait Pseudonyms: Send + Sync {
    /// The pseudonym of whoever has this number: 26 characters of base32, the same for the same
    /// number everywhere in the consortium.
    ///
    /// # Errors
    /// Why there is none, as a sentence for the operator.
    fn pseudonym(&self, id_type: &str, id_number: &str) -> Result<String, String>;
}

/// The key of the sector `care`.
impl Pseudonyms for [u8; 32] {
    fn pseudonym(&self, id_type: &str, id_number: &str) -> Result<String, String> {
        Ok(pseudonym(self, id_type, id_number))
    }
}

/// Types of identifier that say who somebody is, best first (v2-0203); a hospital's own number
/// only when there is nothing better.
const IDENTITY: &[&str] = &["NNCHN", "NI", "SS", "PPN", "HC", "MR"];

/// The identifier by which a person or an organization is one and the same everywhere: its type
/// and number.
pub(crate) fn identity(resource: &Value) -> Option<(String, String)> {
    let identifiers: Vec<(&Value, &str)> = resource
        .get("identifier")?
        .as_array()?
        .iter()
        .filter_map(|identifier| Some((identifier, text(identifier, &["value"])?)))
        .collect();
    let typed = |wanted: &str| {
        identifiers.iter().find(|(identifier, _)| {
            let codings = identifier.get("type").and_then(|kind| kind.get("coding"));
            codings.and_then(Value::as_array).is_some_and(|codings| {
                codings
                    .iter()
                    .any(|coding| text(coding, &["code"]) == Some(wanted))
            })
        })
    };
    for kind in IDENTITY {
        if let Some((identifier, value)) = typed(kind) {
            // A hospital's number is unique in its system only.
            let id_type = match text(identifier, &["system"]) {
                Some(system) if matches!(*kind, "MR" | "HC") => format!("{kind} {system}"),
                _ => (*kind).to_owned(),
            };
            return Some((id_type, (*value).to_owned()));
        }
    }
    let (identifier, value) = identifiers.first()?;
    let system = text(identifier, &["system"]).unwrap_or_default();
    Some((system.to_owned(), (*value).to_owned()))
}

/// Whom a resource names as its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject<'r> {
    /// The person itself.
    Own,
    /// A reference to a Patient.
    Patient {
        reference: &'r str,
        element: &'static str,
    },
    /// An identifier in place of a reference.
    Identifier { system: &'r str, value: &'r str },
    /// Nobody: an organization, a medicine.
    Nobody,
}

/// The subject of a resource.
///
/// # Errors
/// 422 where one is needed and none is named.
pub(crate) fn of<'r>(kind: &str, resource: &'r Value, at: &str) -> Refused<Subject<'r>> {
    if kind == "Patient" {
        return Ok(Subject::Own);
    }
    for element in ["subject", "patient", "beneficiary", "for", "individual"] {
        let Some(reference) = resource.get(element).filter(|value| value.is_object()) else {
            continue;
        };
        if let Some(text) = text(reference, &["reference"]) {
            let patient = references::local(text).is_none_or(|local| local.kind == "Patient");
            if patient {
                return Ok(Subject::Patient {
                    reference: text,
                    element,
                });
            }
        } else if let Some(value) = text(reference, &["identifier", "value"]) {
            let system = text(reference, &["identifier", "system"]).unwrap_or_default();
            return Ok(Subject::Identifier { system, value });
        }
    }
    if NEEDS_PATIENT.contains(&kind) {
        let issue = Issue::error(
            "business-rule",
            "NO_SUBJECT",
            "a clinical resource names its patient",
        );
        return Err(Refusal::of(
            http::StatusCode::UNPROCESSABLE_ENTITY,
            vec![issue.at(at)],
        ));
    }
    Ok(Subject::Nobody)
}

/// Types that are always about one person.
const NEEDS_PATIENT: &[&str] = &[
    "AllergyIntolerance",
    "CarePlan",
    "ChargeItem",
    "Claim",
    "ClaimResponse",
    "Condition",
    "Coverage",
    "DeviceUseStatement",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "ExplanationOfBenefit",
    "Goal",
    "ImagingStudy",
    "Immunization",
    "MedicationAdministration",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Procedure",
    "RelatedPerson",
];

/// The coarse kind under which a resource is registered (`docs/contracts.md`, records).
pub(crate) fn coarse_kind(kind: &str, resource: &Value) -> &'static str {
    match kind {
        "Observation" => match category(resource) {
            "laboratory" => "lab",
            "imaging" => "imaging",
            "procedure" | "therapy" => "procedure",
            _ => "clinical-note",
        },
        "DiagnosticReport" => match category(resource) {
            "RAD" | "CT" | "NMR" | "RUS" | "IMG" | "imaging" => "imaging",
            _ => "lab",
        },
        "Specimen" => "lab",
        "ImagingStudy" => "imaging",
        "MedicationRequest" | "MedicationAdministration" | "MedicationStatement" => "medication",
        "Immunization" => "immunization",
        "Procedure" => "procedure",
        "Device" | "DeviceUseStatement" => "device",
        "Claim" | "ClaimResponse" | "ExplanationOfBenefit" | "Coverage" | "ChargeItem" => "claim",
        "AllergyIntolerance" | "CarePlan" | "CareTeam" | "Condition" | "DocumentReference"
        | "Encounter" | "Goal" => "clinical-note",
        _ => "other",
    }
}

fn category(resource: &Value) -> &str {
    let first = resource.get("category").and_then(|list| list.get(0));
    first
        .and_then(|category| category.get("coding"))
        .and_then(|codings| codings.get(0))
        .and_then(|coding| text(coding, &["code"]))
        .unwrap_or_default()
}

/// The highest label of v3-Confidentiality that a resource carries: `N`, `R` or `V`.
pub(crate) fn confidentiality(resource: &Value) -> &'static str {
    let labels = resource
        .get("meta")
        .and_then(|meta| meta.get("security"))
        .and_then(Value::as_array);
    let has = |code: &str| {
        labels.is_some_and(|labels| {
            labels
                .iter()
                .any(|label| text(label, &["code"]) == Some(code))
        })
    };
    if has("V") {
        "V"
    } else if has("R") {
        "R"
    } else {
        "N"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_best_identifier_says_who_somebody_is() {
        let typed = |code: &str, value: &str| json!({"type": {"coding": [{"code": code}]}, "system": "s", "value": value});
        for (identifiers, expected) in [
            (json!([typed("MR", "1"), typed("SS", "2")]), ("SS", "2")),
            (json!([typed("MR", "1")]), ("MR s", "1")),
            (json!([{"system": "x", "value": "3"}]), ("x", "3")),
            (json!([{"system": "x"}, {"value": "4"}]), ("", "4")),
        ] {
            let found = identity(&json!({"identifier": identifiers})).unwrap();
            assert_eq!((found.0.as_str(), found.1.as_str()), expected);
        }
        assert_eq!(identity(&json!({})), None);
    }

    #[test]
    fn kinds_are_coarse() {
        for (kind, category, expected) in [
            ("Observation", "laboratory", "lab"),
            ("Observation", "vital-signs", "clinical-note"),
            ("DiagnosticReport", "RAD", "imaging"),
            ("DiagnosticReport", "", "lab"),
            ("Claim", "", "claim"),
            ("Organization", "", "other"),
        ] {
            let resource = json!({"category": [{"coding": [{"code": category}]}]});
            assert_eq!(coarse_kind(kind, &resource), expected, "{kind} {category}");
        }
    }

    #[test]
    fn the_highest_label_counts() {
        for (labels, expected) in [
            (json!([]), "N"),
            (json!([{"code": "R"}]), "R"),
            (json!([{"code": "R"}, {"code": "V"}]), "V"),
        ] {
            assert_eq!(
                confidentiality(&json!({"meta": {"security": labels}})),
                expected
            );
        }
    }

    #[test]
    fn a_clinical_resource_has_a_patient() {
        let named = json!({"subject": {"reference": "Patient/1"}});
        assert_eq!(
            of("Observation", &named, "Observation").unwrap(),
            Subject::Patient {
                reference: "Patient/1",
                element: "subject"
            }
        );
        let group = json!({"subject": {"reference": "Group/1"}});
        assert!(of("Observation", &group, "Observation").is_err());
        assert_eq!(
            of("Medication", &json!({}), "Medication").unwrap(),
            Subject::Nobody
        );
    }
}
