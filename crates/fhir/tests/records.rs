//! From a bundle to what others may read of it.

mod setup;

use std::collections::BTreeSet;

use consilium_fhir::Call;
use http::Method;
use serde_json::{Value, json};
use setup::*;

#[tokio::test]
async fn a_bundle_with_two_mistakes_is_refused_whole_and_the_paths_are_named() {
    let world = world();
    let reply = world.post("/", CLINIC, &bundle("luna")).await;
    assert_eq!(reply.status, 400);
    let paths: Vec<_> = reply.body["issue"]
        .as_array()
        .unwrap()
        .iter()
        .map(|issue| issue["expression"][0].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "Bundle.entry[16].resource.category",
            "Bundle.entry[221].resource.valueTime"
        ]
    );
    assert_eq!(world.height(), 0, "nothing is ordered");
}

#[tokio::test]
async fn the_same_bundle_as_a_batch_stores_the_other_221() {
    let world = world();
    let mut luna = bundle("luna");
    luna["type"] = "batch".into();
    let reply = world.post("/", CLINIC, &luna).await;
    let statuses: Vec<_> = ok(&reply)["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["status"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(statuses.len(), 223);
    assert_eq!(statuses.iter().filter(|s| *s == "201 Created").count(), 221);
    for place in [16, 221] {
        assert_eq!(statuses[place], "400 Bad Request");
        let outcome = &reply.body["entry"][place]["response"]["outcome"];
        assert_eq!(outcome["resourceType"], "OperationOutcome");
    }
    assert_eq!(world.height(), 1);
}

#[tokio::test]
async fn a_population_bundle_is_one_transaction_that_names_nobody() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let total: usize = johnnie.by_type.values().map(Vec::len).sum();
    assert_eq!(total, 237);
    assert_eq!(world.height(), 1, "one ledger transaction");
    let mut words = BTreeSet::from([
        "Hermiston71".to_owned(),
        "Johnnie679".into(),
        "999-66-6607".into(),
        "2009-03-20".into(),
    ]);
    let text = bundle("johnnie");
    collect_loinc(&text, &mut words);
    assert!(words.len() > 20);
    for word in words {
        assert!(!world.published_contains(&word), "{word} is on the ledger");
    }
    assert!(world.published_contains(&johnnie.sid), "the pseudonym is");
}

fn collect_loinc(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if object
                .get("system")
                .is_some_and(|s| s == "http://loinc.org")
            {
                words.insert(object["code"].as_str().unwrap().to_owned());
            }
            object
                .values()
                .for_each(|child| collect_loinc(child, words));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_loinc(item, words)),
        _ => {}
    }
}

#[tokio::test]
async fn references_follow_the_entries_and_search_finds_them() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let id = johnnie.first("Observation");
    let reply = world
        .get(&format!("/Observation/{id}"), CLINIC_DOCTOR)
        .await;
    let observation = ok(&reply);
    assert_eq!(observation["id"], *id);
    assert_eq!(
        observation["subject"]["reference"],
        format!("Patient/{}", johnnie.patient)
    );
    assert!(
        observation["encounter"]["reference"]
            .as_str()
            .unwrap()
            .starts_with("Encounter/")
    );
    assert_eq!(observation["meta"]["versionId"], "1");
    let tag = observation["meta"]["tag"][0].clone();
    assert_eq!(tag["system"], "urn:consilium:ledger-tx");
    assert_eq!(reply.header("etag"), "W/\"1\"");
    assert!(reply.header("link").contains(tag["code"].as_str().unwrap()));

    let all = world
        .get(
            &format!(
                "/Observation?patient={}&_count=10&_sort=date",
                johnnie.patient
            ),
            CLINIC_DOCTOR,
        )
        .await;
    assert_eq!(ok(&all)["total"], 106);
    assert_eq!(all.matches().len(), 10);
    let dates: Vec<_> = all
        .matches()
        .iter()
        .map(|o| o["effectiveDateTime"].as_str().unwrap().to_owned())
        .collect();
    let mut sorted = dates.clone();
    sorted.sort();
    assert_eq!(dates, sorted);
    // Following `next` leads through all of them, once.
    let mut seen = BTreeSet::new();
    let mut page = all;
    loop {
        for found in page.matches() {
            assert!(seen.insert(found["id"].as_str().unwrap().to_owned()));
        }
        let links = page.body["link"].as_array().unwrap();
        let Some(next) = links.iter().find(|link| link["relation"] == "next") else {
            break;
        };
        let path = next["url"]
            .as_str()
            .unwrap()
            .strip_prefix(BASE)
            .unwrap()
            .to_owned();
        page = world.get(&path, CLINIC_DOCTOR).await;
    }
    assert_eq!(seen.len(), 106);

    for (query, expected) in [
        ("code=http://loinc.org|8302-2", Some(true)),
        ("code=8302-2&date=ge2015", Some(true)),
        ("code=8302-2&date=lt1990", Some(false)),
        ("code=9999-9", Some(false)),
        ("category=laboratory", Some(true)),
        ("status=final", Some(true)),
        ("status=amended,entered-in-error", Some(false)),
        ("_lastUpdated=gt2100", Some(false)),
    ] {
        let reply = world
            .get(
                &format!("/Observation?patient=Patient/{}&{query}", johnnie.patient),
                CLINIC_DOCTOR,
            )
            .await;
        let total = ok(&reply)["total"].as_u64().unwrap();
        assert_eq!(Some(total > 0), expected, "{query}: {total}");
    }
    let count = world
        .get(
            &format!("/Observation?patient={}&_summary=count", johnnie.patient),
            CLINIC_DOCTOR,
        )
        .await;
    assert_eq!(
        (count.body["total"].as_u64(), count.matches().len()),
        (Some(106), 0)
    );
    for query in [
        "identifier=999-66-6607",
        "family=hermi",
        "name=Johnnie679",
        "birthdate=2009-03-20",
        "identifier=http://hl7.org/fhir/sid/us-ssn|999-66-6607",
    ] {
        let reply = world.get(&format!("/Patient?{query}"), CLINIC_DOCTOR).await;
        assert_eq!(ok(&reply)["total"], 1, "{query}");
        assert_eq!(reply.matches()[0]["name"][0]["family"], "Hermiston71");
    }
    let posted = axum::body::Body::from(format!("patient={}&code=8302-2", johnnie.patient));
    let request = http::Request::post("/Observation/_search")
        .header("authorization", format!("Bearer {CLINIC_DOCTOR}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(posted)
        .unwrap();
    assert!(!world.raw(request).await.matches().is_empty());
    let proven = world
        .get(
            &format!(
                "/Condition?patient={}&_revinclude=Provenance:target",
                johnnie.patient
            ),
            CLINIC_DOCTOR,
        )
        .await;
    assert_eq!(
        proven
            .matches()
            .iter()
            .filter(|r| r["resourceType"] == "Provenance")
            .count(),
        1
    );
}

fn consent(johnnie: &Johnnie, classes: Value) -> Value {
    json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": format!("Patient/{}", johnnie.patient)},
        "policyRule": {"text": "x"},
        "provision": {
            "type": "permit",
            // The ledger in memory starts on this day.
            "period": {"start": "2026-11-23", "end": "2026-12-23"},
            "actor": [{"role": {"coding": [{"code": "IRCP"}]}, "reference": {"identifier": {"system": "urn:consilium:msp", "value": "HospitalMSP"}}}],
            "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
            "class": classes,
        },
    })
}

#[tokio::test]
async fn without_consent_a_read_is_denied_and_the_denial_is_an_audit_event() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let reply = world
        .get(
            &format!("/Observation/{}", johnnie.first("Observation")),
            DOCTOR,
        )
        .await;
    assert_eq!(reply.refusal(), (403, "forbidden", "NO_CONSENT"));
    let told = reply.body["issue"][0]["diagnostics"].as_str().unwrap();
    let access = told
        .split("access ")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    for token in [
        AUDITOR.to_owned(),
        format!("CitizenMSP patient {}", johnnie.sid),
    ] {
        let audit = world
            .get(
                &format!("/AuditEvent?patient={}&outcome=8", johnnie.sid),
                &token,
            )
            .await;
        let event = audit
            .matches()
            .into_iter()
            .find(|event| event["id"] == access)
            .unwrap();
        assert_eq!(
            event["agent"][0]["who"]["identifier"]["value"],
            "HospitalMSP"
        );
        assert_eq!(
            event["agent"][0]["role"][0]["coding"][0]["code"],
            "physician"
        );
        assert_eq!(event["purposeOfEvent"][0]["coding"][0]["code"], "TREAT");
        let details = event["entity"][0]["detail"].as_array().unwrap();
        assert!(details.contains(&json!({"type": "consent", "valueString": "none"})));
    }
    let one = world.get(&format!("/AuditEvent/{access}"), DOCTOR).await;
    assert_eq!(ok(&one)["outcome"], "8");
    // Others learn nothing of it.
    let insurer = world
        .get(&format!("/AuditEvent/{access}"), "InsurerMSP adjudicator")
        .await;
    assert_eq!(insurer.refusal(), (404, "not-found", "NOT_FOUND"));
    let accounting = world
        .get(&format!("/AuditEvent?patient={}", johnnie.sid), DOCTOR)
        .await;
    assert_eq!(accounting.status, 403);
}

#[tokio::test]
async fn a_consent_opens_what_it_names_until_it_is_withdrawn() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let patient = format!("CitizenMSP patient {}", johnnie.sid);
    let lab = world
        .get(
            &format!(
                "/Observation?patient={}&category=laboratory&_count=1",
                johnnie.patient
            ),
            CLINIC_DOCTOR,
        )
        .await;
    let lab = lab.matches()[0]["id"].as_str().unwrap().to_owned();
    let given = consent(&johnnie, json!([{"code": "lab"}]));
    let stranger = world
        .post(
            "/Consent",
            "CitizenMSP patient LUNALUNALUNALUNALUNALUNALU",
            &given,
        )
        .await;
    assert_eq!(stranger.refusal(), (403, "forbidden", "NOT_SUBJECT"));
    let created = world.post("/Consent", &patient, &given).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.body["id"].as_str().unwrap();

    let read = world.get(&format!("/Observation/{lab}"), DOCTOR).await;
    let tx = ok(&read)["meta"]["tag"][0]["code"]
        .as_str()
        .unwrap()
        .to_owned();
    let provenance = world.get(&format!("/Provenance/{tx}"), DOCTOR).await;
    assert_eq!(
        ok(&provenance)["agent"][0]["who"]["identifier"]["value"],
        "ClinicMSP"
    );
    let verified = world
        .get(&format!("/Observation/{lab}/$verify"), DOCTOR)
        .await;
    ok(&verified);
    assert_eq!(verified.parameter("result"), "Intact");
    assert_eq!(verified.parameter("channel"), "health");
    let imaging = world
        .get(
            &format!("/ImagingStudy/{}", johnnie.first("ImagingStudy")),
            DOCTOR,
        )
        .await;
    assert_eq!(imaging.refusal(), (403, "forbidden", "NO_CONSENT"));

    let events: Vec<String> = world.ledger.with(|ledger| {
        ledger
            .events()
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    });
    for event in [
        "records.KeyReleased",
        "records.ReceiptConfirmed",
        "records.AccessDecided",
    ] {
        assert!(events.iter().any(|name| name == event), "{event}");
    }

    let mut withdrawn = ok(&world.get(&format!("/Consent/{id}"), &patient).await).clone();
    assert_eq!(withdrawn["status"], "active");
    let unchanged = world
        .put(&format!("/Consent/{id}"), &patient, &withdrawn)
        .await;
    assert_eq!(unchanged.refusal(), (422, "business-rule", "CONSENT"));
    withdrawn["status"] = "inactive".into();
    let listed = world
        .get(
            &format!("/Consent?patient={}&status=active", johnnie.sid),
            &patient,
        )
        .await;
    assert_eq!(ok(&listed)["total"], 1);
    let gone = world
        .put(&format!("/Consent/{id}"), &patient, &withdrawn)
        .await;
    assert_eq!(ok(&gone)["status"], "inactive");
    assert_eq!(
        ok(&world
            .get(&format!("/Consent?patient={}", johnnie.sid), &patient)
            .await)["total"],
        0
    );
    let again = world.get(&format!("/Observation/{lab}"), DOCTOR).await;
    assert_eq!(again.refusal(), (403, "forbidden", "NO_CONSENT"));
    let twice = world
        .put(&format!("/Consent/{id}"), &patient, &withdrawn)
        .await;
    assert_eq!(twice.refusal(), (409, "conflict", "BAD_STATE"));
}

#[tokio::test]
async fn the_subject_reads_everything_and_the_auditor_nothing() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let patient = format!("CitizenMSP patient {}", johnnie.sid);
    let mut seen = 0;
    let mut path = format!("/Patient/{}/$everything", johnnie.patient);
    loop {
        let page = world.get(&path, &patient).await;
        ok(&page);
        seen += page.matches().len();
        let Some(next) = page.body["link"]
            .as_array()
            .unwrap()
            .iter()
            .find(|link| link["relation"] == "next")
        else {
            break;
        };
        path = next["url"]
            .as_str()
            .unwrap()
            .strip_prefix(BASE)
            .unwrap()
            .to_owned();
    }
    // All but the organization and the practitioner, which are nobody's.
    assert_eq!(seen, 235);
    let other = world
        .get(
            &format!("/Observation?patient={}", johnnie.sid),
            "CitizenMSP patient LUNALUNALUNALUNALUNALUNALU",
        )
        .await;
    assert_eq!(other.refusal(), (403, "forbidden", "NO_CONSENT"));
    let auditor = world
        .get(
            &format!("/Observation/{}", johnnie.first("Observation")),
            AUDITOR,
        )
        .await;
    assert_eq!(auditor.refusal().0, 403);
    let elsewhere = world
        .get(
            &format!("/DocumentReference?patient={}", johnnie.sid),
            "InsurerMSP adjudicator",
        )
        .await;
    assert!(ok(&elsewhere)["total"].as_u64().unwrap() > 100);
    assert_eq!(
        elsewhere.matches()[0]["category"][0]["coding"][0]["system"],
        "urn:consilium:record-kind"
    );
    let codes = world
        .get(
            &format!("/Observation?patient={}", johnnie.sid),
            "InsurerMSP adjudicator",
        )
        .await;
    assert_eq!(codes.refusal(), (403, "forbidden", "NOT_CUSTODIAN"));
}

#[tokio::test]
async fn breaking_the_glass_opens_and_is_told() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let path = format!("/Observation/{}", johnnie.first("Observation"));
    let purpose = [("x-purpose-of-use", "ETREAT")];
    let without = world.send(Method::GET, &path, DOCTOR, &purpose, None).await;
    assert_eq!(without.refusal(), (422, "business-rule", "NO_REASON"));
    let headers = [
        purpose[0],
        ("x-emergency-reason", "UNCONSCIOUS"),
        ("x-emergency-place", "ER-1"),
    ];
    ok(&world.send(Method::GET, &path, DOCTOR, &headers, None).await);
    let nurse = world
        .send(Method::GET, &path, "HospitalMSP nurse", &headers, None)
        .await;
    assert_eq!(nurse.refusal(), (403, "forbidden", "CREDENTIAL"));
    let audit = world
        .get(
            &format!("/AuditEvent/$accounting?patient={}", johnnie.sid),
            &format!("CitizenMSP patient {}", johnnie.sid),
        )
        .await;
    let emergency = audit
        .matches()
        .into_iter()
        .filter(|event| event["purposeOfEvent"][0]["coding"][0]["code"] == "ETREAT")
        .count();
    assert_eq!(emergency, 2);
}

#[tokio::test]
async fn one_person_is_one_match_at_either_organization() {
    let world = world();
    johnnie(&world).await;
    let mut again = bundle("johnnie");
    again["entry"].as_array_mut().unwrap().truncate(1);
    assert_eq!(
        world.post("/", "HospitalMSP records", &again).await.status,
        200
    );
    assert_eq!(world.post("/", CLINIC, &again).await.status, 200);
    let patient = again["entry"][0]["resource"].clone();
    for token in [CLINIC_DOCTOR, DOCTOR] {
        let found = world.post("/Patient/$match", token, &json!({"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": patient}]})).await;
        assert_eq!(ok(&found)["total"], 1);
        assert_eq!(found.body["entry"][0]["search"]["score"], 1);
    }
    let namesake = json!({"resourceType": "Patient", "name": patient["name"], "birthDate": patient["birthDate"]});
    let found = world
        .post("/Patient/$match", CLINIC_DOCTOR, &namesake)
        .await;
    assert_eq!(ok(&found)["total"], 0, "a name is no identity");
}

#[tokio::test]
async fn a_withdrawal_in_between_stops_the_key() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let patient = format!("CitizenMSP patient {}", johnnie.sid);
    let created = world
        .post("/Consent", &patient, &consent(&johnnie, json!([])))
        .await;
    let id = created.body["id"].as_str().unwrap().to_owned();
    let path = format!("/Observation/{}", johnnie.first("Observation"));
    ok(&world.get(&path, DOCTOR).await);
    // Permitted, then withdrawn before the custodian releases the key.
    let revoke = Call::new(
        "records",
        "RevokeConsent",
        json!({"sid": johnnie.sid, "id": id}),
    );
    world
        .ledger
        .before_next("ConfirmRelease", identity(&patient), revoke);
    let raced = world.get(&path, DOCTOR).await;
    assert_eq!(raced.refusal(), (403, "forbidden", "NO_CONSENT"));
    let audit = world
        .get(&format!("/AuditEvent?patient={}", johnnie.sid), &patient)
        .await;
    let states: Vec<_> = audit
        .matches()
        .iter()
        .map(|event| {
            event["entity"][0]["detail"][2]["valueString"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        states.iter().filter(|state| *state == "Received").count(),
        1
    );
    assert_eq!(
        states.iter().filter(|state| *state == "Permitted").count(),
        1,
        "never Released"
    );
}
