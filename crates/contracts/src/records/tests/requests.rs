//! Decisions on access, and their evidence.

use super::*;

#[test]
fn a_refused_request_is_committed_as_evidence() {
    let mut ledger = registered();
    let before = ledger.height();
    let answer = body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))));
    assert_eq!(
        answer,
        json!({"id": "a1", "state": "Denied", "decision": "Denied", "code": "NO_CONSENT"})
    );
    assert_eq!(ledger.height(), before + 1);
    let (name, payload) = ledger.events().last().unwrap();
    assert_eq!(name, "records.AccessDecided");
    let event: Value = serde_json::from_slice(payload).unwrap();
    assert_eq!(
        event,
        json!({"id": "a1", "state": "Denied", "org": "HospitalMSP", "ref": "NO_CONSENT"})
    );
    let read = body(&ledger.evaluate(call("ReadAccess", &auditor(), json!({"accessId": "a1"}))));
    assert_eq!(read["org"], "HospitalMSP");
    assert_eq!(read["role"], "physician");
    assert_eq!(read["pid"], "p-1");
    assert_eq!(read["purpose"], "TREAT");
    assert_eq!(read["profile"], "PIPL");
    assert_eq!(read.get("consent"), None);
}

#[test]
fn a_key_is_released_only_in_time_and_while_the_consent_lasts() {
    let mut ledger = registered();
    body(&ledger.submit(call("PutConsent", &patient(), consent("c1", json!([])))));
    for id in ["a1", "a2", "a3"] {
        body(&ledger.submit(call("RequestAccess", &physician(), access(id, "lab"))));
    }
    let release = |id: &str, caller: &Caller| {
        call(
            "ConfirmRelease",
            caller,
            json!({"accessId": id, "keyFingerprint": hash(b"key")}),
        )
    };
    let hospital = Caller::for_tests("HospitalMSP", "x", &[("hc.role", "records")]);
    refused(
        &ledger.submit(release("a1", &hospital)),
        403,
        "NOT_CUSTODIAN",
    );
    refused(
        &ledger.submit(release("a1", &physician())),
        403,
        "WRONG_ROLE",
    );
    ledger.advance(15 * 60);
    body(&ledger.submit(release("a1", &clinic_records())));
    refused(
        &ledger.submit(release("a1", &clinic_records())),
        409,
        "BAD_STATE",
    );
    ledger.advance(1);
    refused(
        &ledger.submit(release("a2", &clinic_records())),
        422,
        "GRANT_EXPIRED",
    );
    ledger.advance(-1);
    body(&ledger.submit(call(
        "RevokeConsent",
        &patient(),
        json!({"sid": SID, "id": "c1"}),
    )));
    refused(
        &ledger.submit(release("a3", &clinic_records())),
        403,
        "NO_CONSENT",
    );
}

#[test]
fn requests_that_cannot_be_decided_are_plain_errors() {
    let mut ledger = registered();
    let mut others = entry("other", "lab");
    others["sid"] = json!(OTHER_SID);
    body(&ledger.submit(call(
        "RegisterRecords",
        &clinic_records(),
        json!({"records": [others]}),
    )));
    let hospital = Caller::for_tests("HospitalMSP", "h", &[("hc.role", "records")]);
    body(&ledger.submit(call(
        "RegisterRecords",
        &hospital,
        json!({"records": [entry("elsewhere", "lab")]}),
    )));
    body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))));
    let to = |target: Value| json!({"accessId": "a2", "target": target, "purpose": "TREAT"});
    let height = ledger.height();
    let cases = [
        (access("a1", "lab"), 409, "DUPLICATE"),
        (access("a2", "none"), 404, "NOT_FOUND"),
        (
            to(json!({"sid": SID, "kinds": ["claim"]})),
            404,
            "NOT_FOUND",
        ),
        (
            to(json!({"records": ["lab", "other"]})),
            422,
            "MIXED_SUBJECTS",
        ),
        (
            to(json!({"records": ["lab", "elsewhere"]})),
            422,
            "MIXED_CUSTODIANS",
        ),
        (to(json!({})), 400, "MALFORMED"),
        (
            to(json!({"records": ["lab"], "sid": SID})),
            400,
            "MALFORMED",
        ),
        (
            json!({"accessId": "a2", "target": {"records": ["lab"]}, "purpose": "ETREAT"}),
            422,
            "PURPOSE",
        ),
        (
            json!({"accessId": "a2", "target": {"records": ["lab"]}, "purpose": "CURIOSITY"}),
            400,
            "MALFORMED",
        ),
    ];
    for (args, status, code) in cases {
        refused(
            &ledger.submit(call("RequestAccess", &physician(), args)),
            status,
            code,
        );
    }
    assert_eq!(ledger.height(), height, "a plain error orders nothing");
    let fitting = to(json!({"sid": SID, "custodian": "ClinicMSP", "kinds": ["lab"]}));
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), fitting)))["code"],
        "NO_CONSENT"
    );
}

#[test]
fn one_denied_document_denies_the_request() {
    let mut ledger = registered();
    body(&ledger.submit(call(
        "PutConsent",
        &patient(),
        consent("c1", json!(["lab"])),
    )));
    let both = json!({"accessId": "a1", "target": {"records": ["lab", "img"]}, "purpose": "TREAT"});
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), both)))["code"],
        "NO_CONSENT"
    );
    let entry = body(&ledger.evaluate(call("ReadAccess", &physician(), json!({"accessId": "a1"}))));
    let codes: Vec<_> = entry["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["code"].clone())
        .collect();
    assert_eq!(codes, ["NO_CONSENT", "CONSENT"]);
    assert_eq!(entry.get("obligations"), None);
    let dry = json!({"target": {"records": ["lab"]}, "purpose": "TREAT"});
    assert_eq!(
        body(&ledger.evaluate(call("EvaluateAccess", &physician(), dry)))["decision"],
        "Permitted"
    );
}

#[test]
fn breaking_the_glass_opens_a_review_that_the_patient_sees() {
    let mut ledger = registered();
    let glass = |id: &str| json!({"accessId": id, "target": {"sid": SID}, "reasonCode": "UNCONSCIOUS", "placeRef": "ER-1"});
    let nurse = Caller::for_tests("HospitalMSP", "n", &[("hc.role", "nurse")]);
    let answer = body(&ledger.submit(call("BreakGlass", &nurse, glass("g1"))));
    assert_eq!(
        (&answer["state"], &answer["code"]),
        (&json!("Denied"), &json!("CREDENTIAL"))
    );
    assert_eq!(
        body(&ledger.submit(call("BreakGlass", &insurer(), glass("g2"))))["code"],
        "CREDENTIAL"
    );
    // The very restricted note included, and against a denial.
    let deny = json!({"sid": SID, "consent": {"id": "d", "period": {"to": START + DAY}, "provisions": [{"type": "deny", "orgs": ["HospitalMSP"]}]}});
    body(&ledger.submit(call("PutConsent", &patient(), deny)));
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))))["code"],
        "CONSENT_DENY"
    );
    let answer = body(&ledger.submit(call("BreakGlass", &physician(), glass("g3"))));
    assert_eq!(answer["state"], "Emergency");
    let open = body(&ledger.evaluate(call("OpenReviews", &auditor(), json!({}))));
    assert_eq!(open["entries"][0]["id"], "g3");
    assert_eq!(open["entries"][0]["reviewDue"], START + 72 * 3600);
    let review = json!({"accessId": "g3", "verdict": "Justified"});
    refused(
        &ledger.submit(call("ReviewBreakGlass", &physician(), review.clone())),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(call("ReviewBreakGlass", &certifier(), review.clone())),
        403,
        "WRONG_ROLE",
    );
    refused(
        &ledger.submit(call(
            "ReviewBreakGlass",
            &auditor(),
            json!({"accessId": "g1", "verdict": "Abuse"}),
        )),
        409,
        "BAD_STATE",
    );
    body(&ledger.submit(call("ReviewBreakGlass", &auditor(), review.clone())));
    refused(
        &ledger.submit(call("ReviewBreakGlass", &auditor(), review)),
        409,
        "BAD_STATE",
    );
    assert_eq!(
        body(&ledger.evaluate(call("OpenReviews", &auditor(), json!({}))))["entries"],
        json!([])
    );
    let seen = body(&ledger.evaluate(call("Accounting", &patient(), json!({"sid": SID}))));
    let states: Vec<_> = seen["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["id"].as_str().unwrap(), e["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [
            ("a1", "Denied"),
            ("g1", "Denied"),
            ("g2", "Denied"),
            ("g3", "Justified")
        ]
    );
}

#[test]
fn accounting_is_for_the_subject_and_the_auditor_and_comes_in_pages() {
    let mut ledger = registered();
    for n in 0..205 {
        body(&ledger.submit(call(
            "RequestAccess",
            &physician(),
            access(&format!("a{n:03}"), "lab"),
        )));
        ledger.advance(1);
    }
    for caller in [physician(), stranger(), insurer(), certifier()] {
        let response = ledger.evaluate(call("Accounting", &caller, json!({"sid": SID})));
        assert_eq!(response.status, 403, "{}", response.message);
    }
    let first = body(&ledger.evaluate(call("Accounting", &patient(), json!({"sid": SID}))));
    assert_eq!(first["entries"].as_array().unwrap().len(), 200);
    let rest = body(&ledger.evaluate(call(
        "Accounting",
        &patient(),
        json!({"sid": SID, "bookmark": first["bookmark"]}),
    )));
    assert_eq!(rest["entries"].as_array().unwrap().len(), 5);
    assert_eq!(rest.get("bookmark"), None);
    let some = body(&ledger.evaluate(call(
        "Accounting",
        &auditor(),
        json!({"sid": SID, "from": START + 10, "to": START + 12}),
    )));
    let ids: Vec<_> = some["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["id"].clone())
        .collect();
    assert_eq!(ids, ["a010", "a011"]);
}

#[test]
fn an_access_entry_is_invisible_to_those_it_does_not_concern() {
    let mut ledger = registered();
    body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))));
    for (caller, visible) in [
        (physician(), true),
        (clinic_records(), true),
        (auditor(), true),
        (patient(), true),
        (stranger(), false),
        (insurer(), false),
        (maker(), false),
    ] {
        let response = ledger.evaluate(call("ReadAccess", &caller, json!({"accessId": "a1"})));
        let missing = ledger.evaluate(call("ReadAccess", &caller, json!({"accessId": "a2"})));
        refused(&missing, 404, "NOT_FOUND");
        if visible {
            body(&response);
        } else {
            assert_eq!(response.message, missing.message.replace("a2", "a1"));
        }
    }
}
