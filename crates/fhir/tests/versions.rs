//! Changing resources, repeating requests, crashes, and what a vault must not get away with.

mod setup;

use std::sync::Arc;

use consilium_fhir::testing::MemoryLedger;
use http::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use setup::*;

fn observation(patient: &str, text: &str) -> Value {
    json!({"resourceType": "Observation", "status": "final", "code": {"text": text}, "subject": {"reference": format!("Patient/{patient}")}})
}

#[tokio::test]
async fn a_change_is_a_new_version_and_a_stale_one_is_refused() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let created = world
        .post(
            "/Observation",
            CLINIC,
            &observation(&johnnie.patient, "one"),
        )
        .await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.body["id"].as_str().unwrap().to_owned();
    assert_eq!(
        created.header("location"),
        format!("{BASE}/Observation/{id}/_history/1")
    );
    let mut changed = created.body.clone();
    changed["code"]["text"] = "two".into();
    let path = format!("/Observation/{id}");
    let put = |match_: &'static str, body: Value| {
        let (world, path) = (&world, path.clone());
        async move {
            world
                .send(
                    Method::PUT,
                    &path,
                    CLINIC,
                    &[("if-match", match_)],
                    Some(&body),
                )
                .await
        }
    };
    let second = put("W/\"1\"", changed.clone()).await;
    assert_eq!((second.status, second.header("etag")), (200, "W/\"2\""));
    assert_eq!(
        put("W/\"1\"", changed.clone()).await.refusal(),
        (412, "conflict", "VERSION")
    );
    assert_eq!(
        put("soon", changed.clone()).await.refusal(),
        (400, "invalid", "BAD_IF_MATCH")
    );
    let other = world.put(&path, "HospitalMSP records", &changed).await;
    assert_eq!(other.refusal(), (403, "forbidden", "NOT_CUSTODIAN"));
    let mut moved = changed.clone();
    moved["subject"] =
        json!({"identifier": {"system": "urn:consilium", "value": "LUNALUNALUNALUNALUNALUNALU"}});
    assert_eq!(
        world.put(&path, CLINIC, &moved).await.refusal(),
        (422, "business-rule", "SUBJECT_CHANGED")
    );
    let mut unknown = changed.clone();
    unknown["id"] = "mine".into();
    assert_eq!(
        world
            .put("/Observation/mine", CLINIC, &unknown)
            .await
            .refusal(),
        (405, "not-supported", "NO_CLIENT_IDS")
    );
    assert_eq!(
        world.put(&path, CLINIC, &unknown).await.refusal(),
        (400, "invalid", "WRONG_ID")
    );

    for (version, text) in [(1, "one"), (2, "two")] {
        let read = world
            .get(&format!("{path}/_history/{version}"), CLINIC_DOCTOR)
            .await;
        assert_eq!(ok(&read)["code"]["text"], text);
        assert_eq!(read.body["meta"]["versionId"], version.to_string());
    }
    assert_eq!(
        world
            .get(&format!("{path}/_history/3"), CLINIC_DOCTOR)
            .await
            .status,
        404
    );
    let history = world.get(&format!("{path}/_history"), CLINIC_DOCTOR).await;
    let texts: Vec<_> = ok(&history)["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["resource"]["code"]["text"].clone())
        .collect();
    assert_eq!(texts, ["two", "one"]);
    let proofs = world
        .get(
            &format!("/Provenance?target=Observation/{id}"),
            CLINIC_DOCTOR,
        )
        .await;
    assert_eq!(ok(&proofs)["total"], 2);
    assert_eq!(
        proofs.matches()[0]["target"][0]["reference"],
        format!("Observation/{id}/_history/2")
    );
}

#[tokio::test]
async fn a_repeated_request_is_answered_once_and_a_different_one_refused() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let header = [("x-request-id", "r-1")];
    let body = observation(&johnnie.patient, "one");
    let first = world
        .send(Method::POST, "/Observation", CLINIC, &header, Some(&body))
        .await;
    assert_eq!((first.status, first.header("x-request-id")), (201, "r-1"));
    let height = world.height();
    let second = world
        .send(Method::POST, "/Observation", CLINIC, &header, Some(&body))
        .await;
    assert_eq!(
        (second.status, second.header("location")),
        (201, first.header("location"))
    );
    assert_eq!(world.height(), height);
    let other = world
        .send(
            Method::POST,
            "/Observation",
            CLINIC,
            &header,
            Some(&observation(&johnnie.patient, "two")),
        )
        .await;
    assert_eq!(other.refusal(), (409, "conflict", "REQUEST_ID_REUSED"));
    // A refused request may be corrected under its id.
    let header = [("x-request-id", "r-2")];
    let nobody = world
        .send(
            Method::POST,
            "/Observation",
            CLINIC,
            &header,
            Some(&observation("nobody", "x")),
        )
        .await;
    assert_eq!(nobody.refusal(), (422, "business-rule", "UNKNOWN_PATIENT"));
    assert_eq!(
        world
            .send(Method::POST, "/Observation", CLINIC, &header, Some(&body))
            .await
            .status,
        201
    );
    let long = "r".repeat(65);
    let long = world
        .send(
            Method::POST,
            "/Observation",
            CLINIC,
            &[("x-request-id", &long)],
            Some(&body),
        )
        .await;
    assert_eq!(long.refusal(), (400, "invalid", "BAD_REQUEST_ID"));
    let header = [("x-request-id", "r-3")];
    let mut small = bundle("johnnie");
    small["entry"].as_array_mut().unwrap().truncate(1);
    let first = world
        .send(Method::POST, "/", CLINIC, &header, Some(&small))
        .await;
    let second = world
        .send(Method::POST, "/", CLINIC, &header, Some(&small))
        .await;
    let place = |reply: &Reply| reply.body["entry"][0]["response"]["location"].clone();
    assert!(place(&first).is_string());
    assert_eq!(place(&first), place(&second));
}

#[tokio::test]
async fn conflicts_are_tried_again_and_an_absent_ledger_leaves_nothing() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let body = observation(&johnnie.patient, "one");
    world.ledger.lose(2);
    assert_eq!(world.post("/Observation", CLINIC, &body).await.status, 201);
    world.ledger.lose(3);
    assert_eq!(
        world.post("/Observation", CLINIC, &body).await.refusal(),
        (409, "conflict", "MVCC")
    );
    world.ledger.set_unavailable(true);
    let away = world.post("/Observation", CLINIC, &body).await;
    assert_eq!(away.refusal(), (503, "transient", "UNAVAILABLE"));
    assert_eq!(away.header("retry-after"), "5");
    world.ledger.set_unavailable(false);
    let found = world
        .get(
            &format!("/Observation?patient={}&_summary=count", johnnie.patient),
            CLINIC_DOCTOR,
        )
        .await;
    assert_eq!(found.body["total"], 107, "the refused ones left nothing");
}

#[tokio::test]
async fn an_answer_that_got_lost_is_found_on_the_ledger() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let body = observation(&johnnie.patient, "one");
    let header = [("x-request-id", "r-9")];
    world.ledger.lose_next_answer();
    let pending = world
        .send(Method::POST, "/Observation", CLINIC, &header, Some(&body))
        .await;
    assert_eq!(pending.refusal(), (202, "transient", "PENDING"));
    assert!(
        pending
            .header("content-location")
            .starts_with("Provenance/")
    );
    // The same request again finds out and is answered.
    let again = world
        .send(Method::POST, "/Observation", CLINIC, &header, Some(&body))
        .await;
    assert_eq!(again.status, 201, "{}", again.body);
    let path = again
        .header("location")
        .strip_prefix(BASE)
        .unwrap()
        .to_owned();
    assert_eq!(
        ok(&world.get(&path, CLINIC_DOCTOR).await)["code"]["text"],
        "one"
    );
    // Without an id, recovery does.
    world.ledger.lose_next_answer();
    assert_eq!(world.post("/Observation", CLINIC, &body).await.status, 202);
    assert_eq!(world.fhir.recover().await.unwrap(), (1, 0));
    assert_eq!(world.fhir.recover().await.unwrap(), (0, 0));
}

#[tokio::test]
async fn a_flipped_byte_a_swap_and_a_rollback_are_told_as_tampered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fhir.db");
    let world = world_at(Some(&path), MemoryLedger::new(), Arc::default());
    let johnnie = johnnie(&world).await;
    let ids = &johnnie.by_type["Observation"];
    let mut changed = ok(&world
        .get(&format!("/Observation/{}", ids[3]), CLINIC_DOCTOR)
        .await)
    .clone();
    changed["status"] = "amended".into();
    assert_eq!(
        world
            .put(&format!("/Observation/{}", ids[3]), CLINIC, &changed)
            .await
            .status,
        200
    );

    let file = Connection::open(&path).unwrap();
    let bytes = |id: &str| -> Vec<u8> {
        file.query_row(
            "SELECT ciphertext FROM documents WHERE id = ? AND state = 'current'",
            [id],
            |row| row.get(0),
        )
        .unwrap()
    };
    let set = |id: &str, bytes: &[u8]| {
        file.execute(
            "UPDATE documents SET ciphertext = ? WHERE id = ? AND state = 'current'",
            rusqlite::params![bytes, id],
        )
        .unwrap();
    };
    let mut flipped = bytes(&ids[0]);
    flipped[40] ^= 1;
    set(&ids[0], &flipped);
    let (one, two) = (bytes(&ids[1]), bytes(&ids[2]));
    set(&ids[1], &two);
    set(&ids[2], &one);
    file.execute(
        "DELETE FROM documents WHERE id = ? AND version = 2",
        [&ids[3]],
    )
    .unwrap();
    file.execute(
        "UPDATE documents SET state = 'current' WHERE id = ?",
        [&ids[3]],
    )
    .unwrap();

    for id in &ids[..4] {
        let path = format!("/Observation/{id}");
        for path in [
            path.clone(),
            format!("{path}/$verify"),
            format!("{path}/$verify-integrity"),
        ] {
            let reply = world.get(&path, CLINIC_DOCTOR).await;
            assert_eq!(reply.refusal(), (502, "security", "TAMPERED"), "{path}");
            assert_eq!(reply.body["issue"][0]["severity"], "fatal");
        }
    }
    let events = world.ledger.with(|ledger| {
        ledger
            .events()
            .iter()
            .filter(|(name, _)| name == "records.TamperDetected")
            .count()
    });
    assert_eq!(events, 4, "each read left its alarm");
    ok(&world
        .get(&format!("/Observation/{}", ids[4]), CLINIC_DOCTOR)
        .await);
    ok(&world
        .get(&format!("/Observation/{}/$verify", ids[4]), CLINIC_DOCTOR)
        .await);
    let page = world
        .get(
            &format!(
                "/Observation?patient={}&_id={},{}",
                johnnie.patient, ids[0], ids[4]
            ),
            CLINIC_DOCTOR,
        )
        .await;
    assert_eq!(page.matches().len(), 1);
    assert!(page.body.to_string().contains("TAMPERED"));
}

#[tokio::test]
async fn an_erased_patient_is_gone_and_the_ledger_says_so() {
    let world = world();
    let johnnie = johnnie(&world).await;
    // One attestation names up to 200 records: a smaller patient.
    let mut small = bundle("luna");
    small["entry"].as_array_mut().unwrap().truncate(3);
    let reply = world.post("/", CLINIC, &small).await;
    let location = ok(&reply)["entry"][0]["response"]["location"]
        .as_str()
        .unwrap()
        .to_owned();
    let id = location.split('/').nth(1).unwrap();
    let path = format!("/Patient/{id}/$erase");
    let body = |action: &str, erase: Option<&str>| {
        let mut list = vec![json!({"name": "action", "valueCode": action})];
        list.extend(erase.map(|id| json!({"name": "eraseId", "valueString": id})));
        json!({"resourceType": "Parameters", "parameter": list})
    };
    let sid = consilium_contracts::vault::pseudonym(&[9; 32], "SS", "999-83-9805");
    let asked = world
        .post(
            &path,
            &format!("CitizenMSP patient {sid}"),
            &body("request", None),
        )
        .await;
    ok(&asked);
    let erase = asked.parameter("eraseId").as_str().unwrap().to_owned();
    assert_eq!(
        world
            .post(&path, CLINIC_DOCTOR, &body("accept", Some(&erase)))
            .await
            .refusal(),
        (403, "forbidden", "WRONG_ROLE")
    );
    for action in ["accept", "attest"] {
        ok(&world
            .post(&path, "ClinicMSP dpo", &body(action, Some(&erase)))
            .await);
    }
    assert_eq!(
        world
            .get(&format!("/Patient/{id}"), CLINIC_DOCTOR)
            .await
            .refusal(),
        (410, "deleted", "ERASED")
    );
    assert_eq!(
        world
            .get(&format!("/Patient/{id}/$verify"), CLINIC_DOCTOR)
            .await
            .refusal(),
        (410, "deleted", "ERASED")
    );
    assert_eq!(
        ok(&world
            .get("/Patient?identifier=999-83-9805", CLINIC_DOCTOR)
            .await)["total"],
        0
    );
    ok(&world
        .get(&format!("/Patient/{}", johnnie.patient), CLINIC_DOCTOR)
        .await);
    assert_eq!(
        world
            .post(&path, "ClinicMSP dpo", &body("sing", Some(&erase)))
            .await
            .refusal(),
        (400, "invalid", "BAD_PARAMETER")
    );
}
