//! Elements by which resources of other releases of FHIR are recognized.

use serde_json::Value;

const STU3: &str = "STU3 (3.0)";
const R5: &str = "R5 (5.0)";

/// Type, element, release. From the published lists of changes (R4 and R5, "R3 Diff" and "R4 Diff"
/// of each resource's page), as far as the types are served.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("AllergyIntolerance", "assertedDate", STU3),
    ("CarePlan", "context", STU3),
    ("CarePlan", "definition", STU3),
    ("CareTeam", "context", STU3),
    ("Claim", "employmentImpacted", STU3),
    ("Claim", "hospitalization", STU3),
    ("Claim", "information", STU3),
    ("Claim", "organization", STU3),
    ("Condition", "assertedDate", STU3),
    ("Condition", "context", STU3),
    ("Consent", "except", STU3),
    ("Consent", "consentingParty", STU3),
    ("Coverage", "grouping", STU3),
    ("Device", "udi", STU3),
    ("DiagnosticReport", "codedDiagnosis", STU3),
    ("DiagnosticReport", "context", STU3),
    ("DiagnosticReport", "image", STU3),
    ("DocumentReference", "class", STU3),
    ("DocumentReference", "created", STU3),
    ("DocumentReference", "indexed", STU3),
    ("Encounter", "reason", STU3),
    ("ExplanationOfBenefit", "information", STU3),
    ("ExplanationOfBenefit", "organization", STU3),
    ("Immunization", "date", STU3),
    ("Immunization", "notGiven", STU3),
    ("Immunization", "practitioner", STU3),
    ("Immunization", "vaccinationProtocol", STU3),
    ("MedicationRequest", "context", STU3),
    ("MedicationRequest", "definition", STU3),
    ("Observation", "comment", STU3),
    ("Observation", "context", STU3),
    ("Observation", "related", STU3),
    ("Patient", "animal", STU3),
    ("Procedure", "context", STU3),
    ("Procedure", "definition", STU3),
    ("Procedure", "notDone", STU3),
    ("Condition", "participant", R5),
    ("Consent", "controller", R5),
    ("Consent", "grantee", R5),
    ("Consent", "subject", R5),
    ("Device", "biologicalSourceEvent", R5),
    ("Device", "name", R5),
    ("DocumentReference", "attester", R5),
    ("Encounter", "actualPeriod", R5),
    ("Encounter", "admission", R5),
    ("Immunization", "administeredProduct", R5),
    ("MedicationRequest", "medication", R5),
    ("Observation", "bodyStructure", R5),
    ("Observation", "instantiatesCanonical", R5),
    ("Observation", "triggeredBy", R5),
    ("Procedure", "focus", R5),
    ("Procedure", "occurrenceDateTime", R5),
    ("Procedure", "occurrencePeriod", R5),
    ("Procedure", "recorded", R5),
    ("Procedure", "reported", R5),
];

/// The release that has this element, directly in a resource, where R4 has none.
pub(super) fn foreign(kind: &str, pointer: &str, name: &str) -> Option<&'static str> {
    if !pointer.is_empty() {
        return None;
    }
    FOREIGN
        .iter()
        .find(|(of, element, _)| *of == kind && *element == name)
        .map(|(_, _, release)| *release)
}

/// The release in which an element of R4's name has this other shape.
pub(super) fn foreign_shape(kind: &str, pointer: &str, value: &Value) -> Option<&'static str> {
    match (kind, pointer, value) {
        (
            "Condition" | "AllergyIntolerance",
            "/clinicalStatus" | "/verificationStatus",
            Value::String(_),
        ) => Some(STU3),
        ("Encounter", "/class", Value::Array(_)) => Some(R5),
        _ => None,
    }
}
