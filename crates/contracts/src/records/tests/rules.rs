//! Rules that hold for every function of a health contract.

use super::*;

#[test]
fn malformed_arguments_are_told_what_was_expected() {
    let ledger = TestLedger::new();
    let response =
        ledger.evaluate(Proposal::new("records", "RevokeConsent", &patient()).arg("{\"sid\":"));
    refused(&response, 400, "MALFORMED");
    assert!(
        response
            .message
            .contains(r#"RevokeConsent expects {"sid","id"}"#),
        "{}",
        response.message
    );
    refused(
        &ledger.evaluate(Proposal::new("records", "Nonsense", &patient())),
        400,
        "UNKNOWN_FUNCTION",
    );
    let extra = call("RevokeConsent", &patient(), json!({}))
        .arg("id")
        .arg("extra");
    refused(&ledger.evaluate(extra), 400, "MALFORMED");
    let binary = Proposal::new("records", "RevokeConsent", &patient()).arg([0xff, 0xfe]);
    refused(&ledger.evaluate(binary), 400, "MALFORMED");
}

#[test]
fn the_same_request_id_gives_the_first_answer_once() {
    let mut ledger = registered();
    let request = |caller: &Caller, args: Value| call("RequestAccess", caller, args).arg("req-1");
    let first = ledger.submit(request(&physician(), access("a1", "lab")));
    let keys = ledger.key_count("records");
    let events = ledger.events().len();
    let again = ledger.submit(request(&physician(), access("a1", "lab")));
    assert_eq!(first, again);
    assert_eq!(
        (ledger.key_count("records"), ledger.events().len()),
        (keys, events)
    );
    refused(
        &ledger.submit(request(&physician(), access("a2", "lab"))),
        409,
        "REQUEST_ID_REUSED",
    );
    let colleague = Caller::for_tests("HospitalMSP", "other", &[("hc.role", "physician")]);
    refused(
        &ledger.submit(request(&colleague, access("a1", "lab"))),
        409,
        "REQUEST_ID_REUSED",
    );
    // Other organizations number their requests on their own.
    body(&ledger.submit(request(&insurer(), access("a3", "lab"))));
    let long = call("RequestAccess", &physician(), access("a9", "lab")).arg("x".repeat(65));
    refused(&ledger.submit(long), 400, "MALFORMED");
}

#[test]
fn two_racing_requests_with_one_id_commit_once() {
    let mut ledger = registered();
    let request = || call("RequestAccess", &physician(), access("a1", "lab")).arg("req-1");
    let (one, two) = (ledger.endorse(request()), ledger.endorse(request()));
    assert_eq!(ledger.commit(one), Validity::Valid);
    assert_eq!(ledger.commit(two), Validity::MvccReadConflict);
}

#[test]
fn timestamps_far_from_the_endorsers_clock_are_refused() {
    let mut ledger = registered();
    ledger.set_endorser_time(Some(START));
    for (offset, accepted) in [
        (0, true),
        (300, true),
        (-300, true),
        (301, false),
        (-3600, false),
    ] {
        let id = format!("a{}", offset + 5000);
        let simulated = ledger.endorse_at(
            call("RequestAccess", &physician(), access(&id, "lab")),
            START + offset,
        );
        if accepted {
            body(&simulated.response);
        } else {
            refused(&simulated.response, 400, "CLOCK_SKEW");
        }
    }
}

#[test]
fn the_law_profile_is_the_regulators_and_changes_later_decisions_only() {
    let mut ledger = registered();
    refused(
        &ledger.submit(call(
            "SetLawProfile",
            &physician(),
            json!({"profile": "HIPAA"}),
        )),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(call(
            "SetLawProfile",
            &auditor(),
            json!({"profile": "HIPAA"}),
        )),
        403,
        "WRONG_ROLE",
    );
    refused(
        &ledger.submit(call(
            "SetLawProfile",
            &certifier(),
            json!({"profile": "NONE"}),
        )),
        400,
        "MALFORMED",
    );
    let racing = ledger.endorse(call("RequestAccess", &physician(), access("a1", "lab")));
    body(&ledger.submit(call(
        "SetLawProfile",
        &certifier(),
        json!({"profile": "HIPAA"}),
    )));
    assert_eq!(ledger.commit(racing), Validity::MvccReadConflict);
    let answer = body(&ledger.submit(call("RequestAccess", &physician(), access("a2", "lab"))));
    assert_eq!(answer["code"], "LAW");
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), access("a3", "note"))))["code"],
        "NO_CONSENT"
    );
}

#[test]
fn organizations_can_be_configured_and_then_only_by_the_regulator() {
    let mut ledger = TestLedger::new();
    let config =
        json!({"providers": ["StMaryMSP"], "regulators": ["BoardMSP"], "citizens": ["StMaryMSP"]});
    refused(
        &ledger.submit(call("Configure", &physician(), config.clone())),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(call("Configure", &certifier(), json!({"regulators": []}))),
        400,
        "MALFORMED",
    );
    refused(
        &ledger.submit(call("Configure", &certifier(), json!({"hospitals": []}))),
        400,
        "MALFORMED",
    );
    let admin = Caller::for_tests("StMaryMSP", "admin", &[]).with_node_role(Some(NodeRole::Admin));
    body(&ledger.submit(call("Configure", &admin, config.clone())));
    refused(
        &ledger.submit(call("Configure", &admin, config.clone())),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(call("Configure", &certifier(), config.clone())),
        403,
        "WRONG_ORG",
    );
    let board = Caller::for_tests("BoardMSP", "b", &[("hc.role", "certifier")]);
    body(&ledger.submit(call("Configure", &board, config)));
    let writer = Caller::for_tests("StMaryMSP", "w", &[("hc.role", "records")]);
    body(&ledger.submit(call(
        "RegisterRecords",
        &writer,
        json!({"records": [entry("r", "lab")]}),
    )));
    refused(
        &ledger.submit(call(
            "RegisterRecords",
            &clinic_records(),
            json!({"records": [entry("s", "lab")]}),
        )),
        403,
        "WRONG_ORG",
    );
    let read = body(&ledger.evaluate(call("ReadConfig", &writer, json!({}))));
    assert_eq!(
        (&read["providers"], &read["lawProfile"]),
        (&json!(["StMaryMSP"]), &json!("PIPL"))
    );
}
