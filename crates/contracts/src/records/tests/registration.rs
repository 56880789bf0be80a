//! Fingerprints: register, amend, verify, erase.

use super::*;

#[test]
fn a_tampered_document_is_found_by_its_fingerprint_and_noted() {
    let mut ledger = TestLedger::new();
    let mut keys = KeyRing::new();
    let sid = pseudonym(b"care sector key", "national", "999-66-6607");
    let subject = Caller::for_tests(
        "HospitalMSP",
        "s",
        &[("hc.role", "patient"), ("hc.sid", &sid)],
    );
    let binding = Binding {
        record_id: "r1",
        version: 1,
        sid: &sid,
    };
    let document =
        br#"{"resourceType":"Patient","name":[{"family":"Hermiston71"}],"birthDate":"2009-03-20"}"#;
    let sealed = keys.seal(0, &binding, document).unwrap();
    let fingerprint = &sealed.fingerprint;
    let args = json!({"records": [{
        "id": "r1", "sid": sid, "kind": "other", "ctHash": fingerprint.ct_hash, "ptCommit": fingerprint.pt_commit,
        "size": fingerprint.size, "suite": SUITE, "vaultRef": "v-1",
    }]});
    body(&ledger.submit(call("RegisterRecords", &clinic_records(), args)));
    let mut put = consent("c1", json!([]));
    put["sid"] = json!(sid);
    body(&ledger.submit(call("PutConsent", &subject, put)));
    for id in ["a1", "a2"] {
        body(&ledger.submit(call("RequestAccess", &physician(), access(id, "r1"))));
        body(&ledger.submit(call(
            "ConfirmRelease",
            &clinic_records(),
            json!({"accessId": id, "keyFingerprint": hash(b"k")}),
        )));
    }
    let receive = |id: &str, bytes: &[u8]| {
        call(
            "ConfirmReceipt",
            &physician(),
            json!({"accessId": id, "received": [{"id": "r1", "ctHash": hash(bytes)}]}),
        )
    };
    // The right bytes.
    assert_eq!(keys.open(0, &binding, &sealed).unwrap(), document);
    assert_eq!(
        body(&ledger.submit(receive("a1", &sealed.ciphertext)))["decision"],
        "Intact"
    );
    // One flipped byte.
    let mut flipped = sealed.clone();
    flipped.ciphertext[40] ^= 1;
    let verify = |bytes: &[u8]| {
        call(
            "Verify",
            &maker(),
            json!({"id": "r1", "ctHash": hash(bytes)}),
        )
    };
    assert_eq!(
        body(&ledger.evaluate(verify(&sealed.ciphertext)))["code"],
        "OK"
    );
    assert_eq!(
        body(&ledger.evaluate(verify(&flipped.ciphertext)))["code"],
        "TAMPERED"
    );
    let answer = body(&ledger.submit(receive("a2", &flipped.ciphertext)));
    assert_eq!(
        answer,
        json!({"id": "a2", "state": "Tampered", "decision": "Tampered", "code": "TAMPERED"})
    );
    assert_eq!(ledger.events().last().unwrap().0, "records.TamperDetected");
    let noted = body(&ledger.evaluate(call("ReadAccess", &auditor(), json!({"accessId": "a2"}))));
    assert_eq!(noted["tampered"], json!(["r1"]));
    refused(
        &ledger.submit(receive("a2", &sealed.ciphertext)),
        409,
        "BAD_STATE",
    );
    // An old version in place of the new one.
    let new = keys
        .seal(
            0,
            &Binding {
                version: 2,
                ..binding
            },
            b"corrected",
        )
        .unwrap();
    let amend = json!({"ifVersion": 1, "entry": {
        "id": "r1", "sid": sid, "kind": "other", "ctHash": new.fingerprint.ct_hash, "ptCommit": new.fingerprint.pt_commit,
        "size": new.fingerprint.size, "suite": SUITE, "vaultRef": "v-2",
    }});
    body(&ledger.submit(call("AmendRecord", &clinic_records(), amend)));
    assert_eq!(
        body(&ledger.evaluate(verify(&sealed.ciphertext)))["code"],
        "TAMPERED"
    );
    // Nothing of the person in anything that the channel has seen.
    let Sealed { ciphertext, .. } = sealed;
    assert!(!contains(&ciphertext, b"Hermiston71"));
    for secret in [
        "Hermiston71",
        "999-66-6607",
        "2009-03-20",
        "care sector key",
        &hash(document),
        &hash(b"999-66-6607"),
    ] {
        assert!(!contains(ledger.published(), secret.as_bytes()), "{secret}");
    }
}

#[test]
fn every_refusal_of_a_registration_has_its_code_and_leaves_no_state() {
    let mut ledger = registered();
    let keys = ledger.key_count("records");
    let one = |change: &str, value: Value| {
        let mut entry = entry("new", "lab");
        entry[change] = value;
        json!({"records": [entry]})
    };
    let fine = json!({"records": [entry("new", "lab")]});
    let cases = [
        (
            clinic_records(),
            json!({"records": [entry("lab", "lab")]}),
            409,
            "DUPLICATE",
        ),
        (
            clinic_records(),
            json!({"records": [entry("n", "lab"), entry("n", "lab")]}),
            409,
            "DUPLICATE",
        ),
        (maker(), fine.clone(), 403, "WRONG_ORG"),
        (clinic_dpo(), fine.clone(), 403, "WRONG_ROLE"),
        (
            Caller::for_tests("ClinicMSP", "n", &[]),
            fine,
            403,
            "WRONG_ROLE",
        ),
        (clinic_records(), json!({"records": []}), 400, "MALFORMED"),
        (
            clinic_records(),
            json!({"records": "all"}),
            400,
            "MALFORMED",
        ),
        (clinic_records(), json!([]), 400, "MALFORMED"),
        (
            clinic_records(),
            one("id", json!("with space")),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("sid", json!("999-66-6607")),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("ctHash", json!("abcd")),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("ptCommit", json!(hash(b"x").to_uppercase())),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("kind", json!("4548-4")),
            400,
            "MALFORMED",
        ),
        (clinic_records(), one("size", json!(-1)), 400, "MALFORMED"),
        (clinic_records(), one("size", json!(1.5)), 400, "MALFORMED"),
        (
            clinic_records(),
            one("vaultRef", json!("Johnnie Hermiston")),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("name", json!("Johnnie")),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("fhir", json!(["Observation/a/_history/1"])),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("fhir", json!(["http://x/Observation/a"])),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("fhir", json!(["Patient/p1"])),
            422,
            "PERSON_REFERENCE",
        ),
        (
            clinic_records(),
            one("fhir", json!(["Practitioner/p1"])),
            422,
            "PERSON_REFERENCE",
        ),
    ];
    for (caller, args, status, code) in cases {
        refused(
            &ledger.submit(call("RegisterRecords", &caller, args)),
            status,
            code,
        );
    }
    assert_eq!(ledger.key_count("records"), keys);
}

#[test]
fn a_thousand_records_are_one_transaction_and_one_more_is_refused() {
    let mut ledger = TestLedger::new();
    let batch = |count: usize| {
        let records: Vec<_> = (0..count).map(|n| entry(&format!("r{n}"), "lab")).collect();
        call(
            "RegisterRecords",
            &clinic_records(),
            json!({"records": records}),
        )
    };
    refused(&ledger.submit(batch(1001)), 400, "MALFORMED");
    body(&ledger.submit(batch(1000)));
    let first = body(&ledger.evaluate(call("ListRecords", &auditor(), json!({"sid": SID}))));
    assert_eq!(first["entries"].as_array().unwrap().len(), 200);
    let mut seen = 200;
    let mut bookmark = first["bookmark"].clone();
    while !bookmark.is_null() {
        let page = body(&ledger.evaluate(call(
            "ListRecords",
            &auditor(),
            json!({"sid": SID, "bookmark": bookmark}),
        )));
        seen += page["entries"].as_array().unwrap().len();
        bookmark = page["bookmark"].clone();
    }
    assert_eq!(seen, 1000);
    let all = json!({"accessId": "a", "target": {"sid": SID}, "purpose": "TREAT"});
    refused(
        &ledger.submit(call("RequestAccess", &physician(), all)),
        422,
        "TOO_MANY_RECORDS",
    );
}

#[test]
fn amending_follows_versions_and_keeps_the_past() {
    let mut ledger = registered();
    let amend = |version: u32, change: fn(&mut Value)| {
        let mut new = entry("lab", "lab");
        new["ctHash"] = json!(hash(b"second"));
        change(&mut new);
        json!({"ifVersion": version, "entry": new})
    };
    let hospital = Caller::for_tests("HospitalMSP", "h", &[("hc.role", "records")]);
    refused(
        &ledger.submit(call("AmendRecord", &hospital, amend(1, |_| ()))),
        403,
        "NOT_CUSTODIAN",
    );
    refused(
        &ledger.submit(call("AmendRecord", &clinic_records(), amend(2, |_| ()))),
        412,
        "VERSION",
    );
    refused(
        &ledger.submit(call(
            "AmendRecord",
            &clinic_records(),
            amend(1, |e| e["sid"] = json!(OTHER_SID)),
        )),
        422,
        "SUBJECT_CHANGED",
    );
    refused(
        &ledger.submit(call(
            "AmendRecord",
            &clinic_records(),
            amend(1, |e| e["id"] = json!("none")),
        )),
        404,
        "NOT_FOUND",
    );
    body(&ledger.submit(call("AmendRecord", &clinic_records(), amend(1, |_| ()))));
    let now = body(&ledger.evaluate(call("ReadRecord", &auditor(), json!({"id": "lab"}))));
    assert_eq!(now["version"], 2);
    assert_eq!(now["prev"], json!(hash(b"lab")));
    body(&ledger.submit(call(
        "MarkError",
        &clinic_records(),
        json!({"id": "lab", "reasonCode": "WRONG_SUBJECT"}),
    )));
    refused(
        &ledger.submit(call("AmendRecord", &clinic_records(), amend(2, |_| ()))),
        409,
        "BAD_STATE",
    );
    refused(
        &ledger.submit(call(
            "MarkError",
            &clinic_records(),
            json!({"id": "lab", "reasonCode": "X"}),
        )),
        409,
        "BAD_STATE",
    );
    refused(
        &ledger.submit(call(
            "MarkError",
            &clinic_records(),
            json!({"id": "img", "reasonCode": "free text"}),
        )),
        400,
        "MALFORMED",
    );
    let history = body(&ledger.evaluate(call("RecordHistory", &auditor(), json!({"id": "lab"}))));
    let states: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["value"]["state"].clone())
        .collect();
    assert_eq!(states, ["EnteredInError", "Current", "Current"]);
    refused(
        &ledger.evaluate(call("RecordHistory", &auditor(), json!({"id": "none"}))),
        404,
        "NOT_FOUND",
    );
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))))["code"],
        "ENTERED_IN_ERROR"
    );
}

#[test]
fn erasure_is_asked_for_decided_and_attested() {
    let mut ledger = registered();
    let ask = |id: &str| json!({"eraseId": id, "sid": SID, "custodian": "ClinicMSP"});
    refused(
        &ledger.submit(call("RequestErasure", &stranger(), ask("e1"))),
        403,
        "NOT_SUBJECT",
    );
    body(&ledger.submit(call("RequestErasure", &patient(), ask("e1"))));
    refused(
        &ledger.submit(call("RequestErasure", &patient(), ask("e1"))),
        409,
        "DUPLICATE",
    );
    let decide = |id: &str, verdict: &str| json!({"eraseId": id, "verdict": verdict});
    let hospital_dpo = Caller::for_tests("HospitalMSP", "d", &[("hc.role", "dpo")]);
    refused(
        &ledger.submit(call(
            "DecideErasure",
            &hospital_dpo,
            decide("e1", "Accepted"),
        )),
        403,
        "NOT_CUSTODIAN",
    );
    refused(
        &ledger.submit(call(
            "DecideErasure",
            &clinic_records(),
            decide("e1", "Accepted"),
        )),
        403,
        "WRONG_ROLE",
    );
    refused(
        &ledger.submit(call(
            "DecideErasure",
            &clinic_dpo(),
            decide("e1", "Retained"),
        )),
        422,
        "GROUND",
    );
    let retained = json!({"eraseId": "e1", "verdict": "Retained", "ground": "CN-OUTPATIENT-15Y", "until": START + DAY});
    assert_eq!(
        body(&ledger.submit(call("DecideErasure", &clinic_dpo(), retained)))["state"],
        "Retained"
    );
    let attest = |id: &str, ids: Value| json!({"eraseId": id, "ids": ids, "keyIds": ["kek-0"], "method": "KEK_DESTROYED"});
    refused(
        &ledger.submit(call(
            "AttestErasure",
            &clinic_dpo(),
            attest("e1", json!(["lab"])),
        )),
        409,
        "BAD_STATE",
    );
    body(&ledger.submit(call("RequestErasure", &patient(), ask("e2"))));
    body(&ledger.submit(call(
        "DecideErasure",
        &clinic_dpo(),
        decide("e2", "Accepted"),
    )));
    let mut others = entry("other", "lab");
    others["sid"] = json!(OTHER_SID);
    body(&ledger.submit(call(
        "RegisterRecords",
        &clinic_records(),
        json!({"records": [others]}),
    )));
    refused(
        &ledger.submit(call(
            "AttestErasure",
            &clinic_dpo(),
            attest("e2", json!(["lab", "other"])),
        )),
        422,
        "NOT_IN_SCOPE",
    );
    body(&ledger.submit(call(
        "AttestErasure",
        &clinic_dpo(),
        attest("e2", json!(["lab", "img", "note"])),
    )));
    let own = json!({"accessId": "a1", "target": {"records": ["lab"]}, "purpose": "PATRQT"});
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &patient(), own)))["code"],
        "ERASED"
    );
    let glass = json!({"accessId": "a2", "target": {"records": ["lab"]}, "reasonCode": "X", "placeRef": "ER"});
    assert_eq!(
        body(&ledger.submit(call("BreakGlass", &physician(), glass)))["code"],
        "ERASED"
    );
    // The fingerprint stays, so a saved copy can still be shown to be the one that existed.
    assert_eq!(
        body(&ledger.evaluate(call(
            "Verify",
            &auditor(),
            json!({"id": "lab", "ctHash": hash(b"lab")})
        )))["code"],
        "OK"
    );
}
