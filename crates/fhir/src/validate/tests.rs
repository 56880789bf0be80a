use std::io::Read;

use serde_json::{Value, json};

use super::{MAX_TOLD, check};

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/data/{name}.json.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&std::fs::read(path).unwrap()[..])
        .read_to_end(&mut text)
        .unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Kind, code and path of every issue.
fn told(resource: &Value) -> Vec<(String, String, String)> {
    let at = resource["resourceType"].as_str().unwrap_or("?");
    check(resource, at)
        .into_iter()
        .map(|issue| {
            (
                issue.kind.to_owned(),
                issue.code,
                issue.expression.unwrap_or_default(),
            )
        })
        .collect()
}

#[test]
fn one_population_bundle_passes_and_the_other_has_exactly_two_mistakes() {
    assert_eq!(told(&fixture("johnnie")), []);
    let paths: Vec<_> = told(&fixture("luna"))
        .into_iter()
        .map(|(kind, _, path)| (kind, path))
        .collect();
    assert_eq!(
        paths,
        [
            (
                "structure".into(),
                "Bundle.entry[16].resource.category".into()
            ),
            (
                "structure".into(),
                "Bundle.entry[221].resource.valueTime".into()
            ),
        ]
    );
}

#[test]
fn resources_of_stu3_are_recognized_and_the_path_is_named() {
    let data = format!("{}/tests/data", env!("CARGO_MANIFEST_DIR"));
    for (file, path) in [
        ("stu3-device.ndjson", "Device.udi"),
        ("stu3-procedures.ndjson", "Procedure.context"),
    ] {
        let text = std::fs::read_to_string(format!("{data}/{file}")).unwrap();
        for line in text.lines() {
            let issues = told(&serde_json::from_str(line).unwrap());
            assert!(
                issues
                    .iter()
                    .any(|(_, code, at)| code == "FHIR_VERSION" && at == path),
                "{file}: {issues:?}"
            );
        }
    }
}

#[test]
fn each_mistake_is_told_where_it_is() {
    let base = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}});
    let with = |name: &str, value: Value| {
        let mut resource = base.clone();
        resource[name] = value;
        resource
    };
    let without = |name: &str| {
        let mut resource = base.clone();
        resource.as_object_mut().unwrap().remove(name);
        resource
    };
    let loinc = |code: &str| json!({"coding": [{"system": "http://loinc.org", "code": code}]});
    for (resource, kind, code, path) in [
        (
            without("status"),
            "required",
            "MISSING",
            "Observation.status",
        ),
        (without("code"), "required", "MISSING", "Observation.code"),
        (
            with("status", json!("done")),
            "code-invalid",
            "UNKNOWN_CODE",
            "Observation.status",
        ),
        (
            with("status", json!(7)),
            "code-invalid",
            "UNKNOWN_CODE",
            "Observation.status",
        ),
        (
            with("colour", json!("red")),
            "structure",
            "UNKNOWN_ELEMENT",
            "Observation.colour",
        ),
        (
            with("comment", json!("red")),
            "structure",
            "FHIR_VERSION",
            "Observation.comment",
        ),
        (
            with("triggeredBy", json!([])),
            "structure",
            "FHIR_VERSION",
            "Observation.triggeredBy",
        ),
        (
            with("category", json!({})),
            "structure",
            "WRONG_SHAPE",
            "Observation.category",
        ),
        (
            with("issued", json!("2020-01-01")),
            "structure",
            "WRONG_FORMAT",
            "Observation.issued",
        ),
        (
            with("effectiveDateTime", json!("2023-02-30")),
            "value",
            "NO_SUCH_DATE",
            "Observation.effectiveDateTime",
        ),
        (
            with(
                "effectivePeriod",
                json!({"start": "2023-02-02", "end": "2023-02-01"}),
            ),
            "value",
            "PERIOD",
            "Observation.effectivePeriod.end",
        ),
        (
            with("code", loinc("8302-3")),
            "code-invalid",
            "BAD_CHECK_DIGIT",
            "Observation.code.coding[0].code",
        ),
        (
            with("subject", json!({"reference": "#p"})),
            "value",
            "BAD_REFERENCE",
            "Observation.subject.reference",
        ),
        (
            with("subject", json!({"reference": "Nobody/1"})),
            "value",
            "BAD_REFERENCE",
            "Observation.subject.reference",
        ),
        (
            with("component", json!([{"valueString": "x"}])),
            "required",
            "MISSING",
            "Observation.component[0].code",
        ),
        (
            with(
                "contained",
                json!([{"resourceType": "Patient", "gender": "x"}]),
            ),
            "code-invalid",
            "UNKNOWN_CODE",
            "Observation.contained[0].gender",
        ),
        (
            json!({"resourceType": "Nothing"}),
            "structure",
            "UNKNOWN_TYPE",
            "Nothing.resourceType",
        ),
        (
            json!({"status": "final"}),
            "structure",
            "NOT_A_RESOURCE",
            "?.resourceType",
        ),
        (json!([1]), "structure", "NOT_A_RESOURCE", "?"),
        (
            json!({"resourceType": "Device", "udiCarrier": [{"issuer": "http://hl7.org/fhir/NamingSystem/gs1-di", "deviceIdentifier": "00844588018924"}]}),
            "value",
            "BAD_CHECK_DIGIT",
            "Device.udiCarrier[0].deviceIdentifier",
        ),
        (
            json!({"resourceType": "Practitioner", "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567890"}]}),
            "value",
            "BAD_IDENTIFIER",
            "Practitioner.identifier[0].value",
        ),
    ] {
        let expected = (kind.to_owned(), code.to_owned(), path.to_owned());
        assert_eq!(told(&resource), [expected], "{resource}");
    }
    assert_eq!(told(&base), []);
    assert_eq!(told(&with("code", loinc("8302-2"))), []);
    assert_eq!(
        told(
            &json!({"resourceType": "Observation", "_status": {"extension": [{"url": "u", "valueCode": "unknown"}]}, "code": {}})
        ),
        []
    );
}

#[test]
fn a_resource_that_contains_itself_without_end_is_refused() {
    let mut resource = json!({"resourceType": "Patient"});
    for _ in 0..8 {
        resource = json!({"resourceType": "Patient", "contained": [resource]});
    }
    assert!(
        told(&resource)
            .iter()
            .any(|(_, code, _)| code == "TOO_DEEP")
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]
    #[test]
    fn no_json_is_too_strange(kind in "(Observation|Patient|Bundle|Claim|.{0,6})", name in "[a-zA-Z]{1,12}", text in ".{0,20}", number in -5i64..5) {
        for value in [json!(text), json!(number), json!([text]), json!({"reference": text, "system": "http://loinc.org", "code": text, "start": text})] {
            let mut resource = json!({"resourceType": kind});
            resource[&name] = value;
            let _ = check(&resource, "X");
        }
    }
}

/// A few megabytes that say nothing take neither long nor many issues.
#[test]
fn what_is_wrong_many_times_is_told_some_times() {
    let name = "n".repeat(200_000);
    let nothing: Vec<Value> = vec![json!({"reference": "urn:uuid:x"}); 50_000];
    let strange = json!({"resourceType": "Basic", &name: nothing});
    let mut observation = json!({
        "resourceType": "Observation", "status": "final", "code": {"text": "x"},
        "contained": [strange],
    });
    assert!(check(&observation, "Observation").is_empty());
    let left = crate::references::unresolved(&observation, "Observation");
    assert_eq!(left.len(), crate::outcome::MAX_ISSUES);
    observation["component"] = vec![json!({}); 100_000].into();
    assert_eq!(check(&observation, "O").len(), crate::outcome::MAX_ISSUES);
    observation["component"] = json!([]);
    observation["contained"] = vec![json!({}); 100_000].into();
    assert_eq!(check(&observation, "O").len(), MAX_TOLD);
    let issues = check(
        &json!({"resourceType": "Patient", &name: nothing}),
        "Patient",
    );
    let told = issues[0].expression.as_ref().map(String::len);
    assert_eq!((issues.len(), told), (1, Some(1000)));
}
