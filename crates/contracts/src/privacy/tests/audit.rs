//! Events come in, are seen by those whom they concern, and are looked into.

use super::*;
use crate::merkle;

fn ids(answer: &Value) -> Vec<&str> {
    answer["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect()
}

#[test]
fn an_event_is_recorded_with_its_reporter_and_its_agent() {
    let mut ledger = TestLedger::new();
    append(&mut ledger, &physician(), event("e-1"));
    let read = ask(&ledger, "ReadEvent", &patient(SID), json!({"id": "e-1"}));
    assert_eq!(read["org"], "HospitalMSP");
    assert_eq!(read["agent"], json!({"pid": "p-3", "role": "physician"}));
    assert_eq!(read["certHash"], json!(hash(b"")));
    assert_eq!(read["recorded"], START);
    // A gateway reports for somebody else.
    let reported = changed("e-2", "agent", json!({"pid": "p-77", "role": "nurse"}));
    append(&mut ledger, &hospital_dpo(), reported);
    let read = ask(&ledger, "ReadEvent", &auditor(), json!({"id": "e-2"}));
    assert_eq!(read["agent"], json!({"pid": "p-77", "role": "nurse"}));
    for stranger in [clinic_dpo(), patient(OTHER_SID)] {
        let read = call("ReadEvent", &stranger, json!({"id": "e-1"}));
        refused(&ledger.evaluate(read), 404, "NOT_FOUND");
    }
    let (name, payload) = &ledger.events()[0];
    assert_eq!(name, "privacy.Recorded");
    assert!(!payload.windows(SID.len()).any(|w| w == SID.as_bytes()));
    assert_clean(&ledger);
}

#[test]
fn what_an_event_may_not_hold() {
    let mut ledger = TestLedger::new();
    let free = json!("Johnnie Hermiston was seen");
    for (field, value, status, code) in [
        ("type", free.clone(), 422, "FREE_TEXT"),
        ("entities", json!([free.clone()]), 422, "FREE_TEXT"),
        ("entities", json!(["Patient/p1"]), 422, "PERSON_REFERENCE"),
        ("entities", json!(["nothing"]), 400, "MALFORMED"),
        (
            "entities",
            json!(vec!["Observation/1"; 201]),
            400,
            "MALFORMED",
        ),
        ("agent", json!({"role": free.clone()}), 422, "FREE_TEXT"),
        ("agent", json!({"pid": free.clone()}), 422, "FREE_TEXT"),
        ("agent", json!({"name": "x"}), 400, "MALFORMED"),
        ("decision", free.clone(), 422, "FREE_TEXT"),
        ("outcomeDesc", free.clone(), 400, "MALFORMED"),
        ("subject", free.clone(), 400, "MALFORMED"),
        ("action", json!("X"), 400, "MALFORMED"),
        ("outcome", json!("1"), 400, "MALFORMED"),
        ("purpose", json!("CURIOSITY"), 400, "MALFORMED"),
        ("at", json!(START + 301), 422, "EVENT_TIME"),
        ("at", json!(-1), 422, "EVENT_TIME"),
        ("id", json!(""), 400, "MALFORMED"),
    ] {
        let proposal = call("Append", &physician(), changed("e-1", field, value));
        let response = ledger.submit(proposal);
        refused(&response, status, code);
        assert!(!response.message.contains("Hermiston"), "{field}");
    }
    let by = |caller: &Caller| call("Append", caller, event("e-1"));
    refused(&ledger.submit(by(&outsider())), 403, "WRONG_ORG");
    refused(&ledger.submit(by(&patient(SID))), 403, "WRONG_ROLE");
    append(&mut ledger, &physician(), event("e-1"));
    refused(&ledger.submit(by(&physician())), 409, "DUPLICATE");
}

#[test]
fn each_sees_what_concerns_it_page_by_page() {
    let mut ledger = TestLedger::new();
    for n in 0..205 {
        append(&mut ledger, &physician(), event(&format!("h-{n:03}")));
        if n % 50 == 0 {
            ledger.advance(1);
        }
    }
    append(
        &mut ledger,
        &clinic_dpo(),
        changed("c-1", "subject", json!(OTHER_SID)),
    );
    append(
        &mut ledger,
        &clinic_dpo(),
        changed("c-2", "outcome", json!("8")),
    );

    let page = ask(&ledger, "Query", &patient(SID), json!({}));
    assert_eq!(ids(&page).len(), 200);
    let rest = json!({"subject": SID, "bookmark": page["bookmark"]});
    let rest = ask(&ledger, "Query", &patient(SID), rest);
    assert_eq!(
        ids(&rest),
        ["h-200", "c-2", "h-201", "h-202", "h-203", "h-204"]
    );
    assert_eq!(rest["bookmark"], Value::Null);

    assert_eq!(
        ids(&ask(&ledger, "Query", &clinic_dpo(), json!({}))),
        ["c-1", "c-2"]
    );
    let by_outcome = ask(&ledger, "Query", &auditor(), json!({"outcome": "8"}));
    assert_eq!(ids(&by_outcome), ["c-2"]);
    let by_subject = ask(&ledger, "Query", &auditor(), json!({"subject": OTHER_SID}));
    assert_eq!(ids(&by_subject), ["c-1"]);
    let first_second = ask(
        &ledger,
        "Query",
        &auditor(),
        json!({"from": START, "to": START + 1}),
    );
    assert_eq!(ids(&first_second), ["h-000"]);
    let nothing = ask(
        &ledger,
        "Query",
        &auditor(),
        json!({"from": START + 9, "to": START}),
    );
    assert_eq!(ids(&nothing).len(), 0);

    let try_it = |caller: &Caller, args: Value, status, code| {
        refused(&ledger.evaluate(call("Query", caller, args)), status, code);
    };
    try_it(
        &patient(OTHER_SID),
        json!({"subject": SID}),
        403,
        "NOT_SUBJECT",
    );
    try_it(
        &patient(SID),
        json!({"org": "ClinicMSP"}),
        403,
        "NOT_SUBJECT",
    );
    try_it(&clinic_dpo(), json!({"org": "HospitalMSP"}), 403, "NOT_OWN");
    try_it(&clinic_dpo(), json!({"subject": SID}), 403, "NOT_OWN");
    try_it(&physician(), json!({}), 403, "WRONG_ROLE");
    try_it(
        &auditor(),
        json!({"org": "ClinicMSP", "outcome": "8"}),
        400,
        "MALFORMED",
    );
    try_it(&auditor(), json!({"bookmark": "?"}), 400, "MALFORMED");
}

#[test]
fn an_investigation_fixes_its_events() {
    let mut ledger = TestLedger::new();
    append(&mut ledger, &physician(), event("e-1"));
    append(
        &mut ledger,
        &physician(),
        changed("e-2", "outcome", json!("8")),
    );
    append(
        &mut ledger,
        &physician(),
        changed("e-3", "outcome", json!("8")),
    );
    let open = |query: Value| json!({"id": "i-1", "query": query});
    let failures = open(json!({"outcome": "8", "from": START, "to": START + 10}));
    refused(
        &ledger.submit(call("OpenInvestigation", &hospital_dpo(), failures.clone())),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(call(
            "OpenInvestigation",
            &auditor(),
            open(json!({"outcome": "12"})),
        )),
        422,
        "SELECTION",
    );
    ok(
        &mut ledger,
        "OpenInvestigation",
        &auditor(),
        failures.clone(),
    );
    refused(
        &ledger.submit(call("OpenInvestigation", &auditor(), failures)),
        409,
        "DUPLICATE",
    );
    append(
        &mut ledger,
        &physician(),
        changed("e-4", "outcome", json!("8")),
    );
    let read = ask(
        &ledger,
        "ReadInvestigation",
        &auditor(),
        json!({"id": "i-1"}),
    );
    assert_eq!(read["ids"], json!(["e-2", "e-3"]));
    let leaves: Vec<_> = ["e-2", "e-3"]
        .map(|id| merkle::leaf_hash(ledger.state("privacy", &format!("\0ev\0{id}\0")).unwrap()))
        .into();
    assert_eq!(read["root"], json!(hex::encode(merkle::root(&leaves))));

    let close =
        |finding: &str| json!({"id": "i-1", "finding": finding, "docHash": hash(b"report")});
    refused(
        &ledger.submit(call("CloseInvestigation", &auditor(), close("they did it"))),
        400,
        "MALFORMED",
    );
    let mut config = ask(&ledger, "ReadConfig", &auditor(), json!({}));
    config["regulators"] = json!(["RegulatorMSP", "WatchMSP"]);
    ok(
        &mut ledger,
        "Configure",
        &caller("RegulatorMSP", "p-9", "certifier"),
        config,
    );
    let another = caller("WatchMSP", "p-10", "auditor");
    refused(
        &ledger.submit(call("CloseInvestigation", &another, close("ABUSE"))),
        403,
        "NOT_OPENER",
    );
    ok(
        &mut ledger,
        "CloseInvestigation",
        &auditor(),
        close("ABUSE"),
    );
    refused(
        &ledger.submit(call("CloseInvestigation", &auditor(), close("ABUSE"))),
        409,
        "BAD_STATE",
    );
    let missing = call(
        "CloseInvestigation",
        &auditor(),
        json!({"id": "i-2", "finding": "X"}),
    );
    refused(&ledger.submit(missing), 404, "NOT_FOUND");
    let read = call("ReadInvestigation", &hospital_dpo(), json!({"id": "i-1"}));
    refused(&ledger.evaluate(read), 403, "WRONG_ORG");
}
