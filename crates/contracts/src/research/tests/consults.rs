//! Consultations, told by who asks and who is asked.

use super::*;

#[test]
fn a_question_is_answered_across_organizations_and_credited() {
    let mut ledger = TestLedger::new();
    let asked = ledger.endorse(consult_request("con-1"));
    let both = ["_implicit_org_ClinicMSP", "_implicit_org_HospitalMSP"];
    assert_eq!(Vec::from_iter(asked.written_collections()), both);
    ledger.commit(asked);
    // The hospital finds it, reads the question and takes it.
    let list = ask(
        &ledger,
        "ListConsults",
        &specialist(),
        json!({"org": "HospitalMSP"}),
    );
    assert_eq!(list["consults"], json!(["con-1"]));
    let thread = ask(
        &ledger,
        "ReadThread",
        &specialist(),
        json!({"con": "con-1"}),
    );
    assert_eq!(thread["question"]["text"], "What do you make of this?");
    assert_eq!(thread["opinion"], Value::Null);
    body(&ledger.submit(consult_accept("con-1")));
    let answered = ledger.endorse(consult_opinion("con-1"));
    assert_eq!(Vec::from_iter(answered.written_collections()), both);
    ledger.commit(answered);
    // The clinic reads the opinion and closes.
    let thread = ask(&ledger, "ReadThread", &physician(), json!({"con": "con-1"}));
    assert_eq!(thread["opinion"]["text"], "Nothing to worry about.");
    body(&ledger.submit(consult_close("con-1")));
    let read = ask(&ledger, "ReadConsult", &auditor(), json!({"con": "con-1"}));
    assert_eq!(
        (
            &read["state"],
            &read["consultant"],
            &read["feeRef"],
            &read["rating"]
        ),
        (
            &json!("Closed"),
            &json!("p-2"),
            &json!("charge-7"),
            &json!(5)
        )
    );
    let opinion = letter("Nothing to worry about.");
    assert_eq!(read["opinionHash"], hash(opinion.as_bytes()));
    let credits = ask(
        &ledger,
        "Credits",
        &auditor(),
        json!({"org": "HospitalMSP"}),
    );
    assert_eq!(credits["consults"], json!(["con-1"]));
    let names: Vec<_> = ledger
        .events()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "research.ConsultRequested",
            "research.ConsultAccepted",
            "research.OpinionPosted",
            "research.ConsultClosed",
        ]
    );
    // Neither words nor salt are in any block.
    let published = String::from_utf8_lossy(ledger.published()).into_owned();
    for secret in ["make of this", "worry", SALT, "rec-1"] {
        assert!(!published.contains(secret), "{secret}");
    }
}

#[test]
fn the_letters_are_for_the_two_parties() {
    let mut ledger = consult_at(State::Answered);
    let con = || json!({"con": "con-1"});
    ok(
        &mut ledger,
        "Configure",
        &with("RegulatorMSP", "certifier", "c-9")
            .with_node_role(Some(crate::caller::NodeRole::Admin)),
        json!({"providers": ["HospitalMSP", "ClinicMSP", "OtherMSP"]}),
    );
    no(
        &mut ledger,
        "ReadThread",
        &with("OtherMSP", "physician", "p-9"),
        con(),
        403,
        "NOT_PARTY",
    );
    no(
        &mut ledger,
        "ReadThread",
        &investigator(),
        con(),
        403,
        "WRONG_ORG",
    );
    no(&mut ledger, "ReadThread", &dpo(), con(), 403, "WRONG_ROLE");
    ledger.hide_collection("_implicit_org_HospitalMSP", true);
    no(
        &mut ledger,
        "ReadThread",
        &specialist(),
        con(),
        404,
        "PRIVATE_DATA_NOT_HERE",
    );
}

#[test]
fn a_thread_gives_no_access_to_records_it_only_says_what_the_records_contract_would() {
    let mut ledger = TestLedger::new();
    body(&ledger.submit(consult_request("con-1")));
    let con = || json!({"con": "con-1"});
    let none = ask(&ledger, "CheckConsultAccess", &specialist(), con());
    assert_eq!(
        none["records"],
        json!([{"id": "rec-1", "decision": "Denied", "code": "NOT_FOUND"}])
    );
    let record = json!({"records": [{"id": "rec-1", "sid": "JOHNNIEJOHNNIEJOHNNIEJOHNN", "kind": "imaging",
        "ctHash": hash(b"ct"), "ptCommit": hash(b"pt"), "size": 1, "suite": "A256GCM", "vaultRef": "v-1"}]});
    let register = Proposal::new("records", "RegisterRecords", &physician()).json(&record);
    body(&ledger.submit(register));
    let denied = ask(&ledger, "CheckConsultAccess", &specialist(), con());
    assert_eq!(
        denied["records"],
        json!([{"id": "rec-1", "decision": "Denied", "code": "NO_CONSENT"}])
    );
    let own = ask(&ledger, "CheckConsultAccess", &physician(), con());
    assert_eq!(
        own["records"],
        json!([{"id": "rec-1", "decision": "Permitted", "code": "LAW"}])
    );
    let request = json!({"accessId": "a-1", "target": {"records": ["rec-1"]}, "purpose": "TREAT", "purposeRef": "con-1"});
    let access = body(
        &ledger.submit(Proposal::new("records", "RequestAccess", &specialist()).json(&request)),
    );
    assert_eq!(access["code"], "NO_CONSENT");
}

#[test]
fn a_question_that_nobody_took_expires() {
    let mut ledger = consult_at(State::Requested);
    no(
        &mut ledger,
        "ExpireConsult",
        &physician(),
        json!({"con": "con-1"}),
        422,
        "NOT_DUE",
    );
    ledger.advance(7 * DAY);
    // Nobody has to mark it first.
    refused(&mut ledger, consult_accept("con-1"), 409, "BAD_STATE");
    let read = ask(
        &ledger,
        "ReadConsult",
        &specialist(),
        json!({"con": "con-1"}),
    );
    assert_eq!(read["state"], "Expired");
    ok(
        &mut ledger,
        "ExpireConsult",
        &specialist(),
        json!({"con": "con-1"}),
    );
}

#[test]
fn a_party_purges_its_letters_and_the_hashes_stay() {
    let mut ledger = consult_at(State::Closed);
    let con = || json!({"con": "con-1"});
    ok(&mut ledger, "ForgetConsult", &dpo(), con());
    no(
        &mut ledger,
        "ForgetConsult",
        &dpo(),
        con(),
        409,
        "DUPLICATE",
    );
    no(
        &mut ledger,
        "ReadThread",
        &specialist(),
        con(),
        404,
        "PRIVATE_DATA_NOT_HERE",
    );
    let thread = ask(&ledger, "ReadThread", &physician(), con());
    assert_eq!(thread["opinion"]["text"], "Nothing to worry about.");
    let read = ask(&ledger, "ReadConsult", &auditor(), con());
    assert_eq!(read["forgotten"], json!(["HospitalMSP"]));
    let question = letter("What do you make of this?");
    assert_eq!(read["questionHash"], hash(question.as_bytes()));
}

/// An order to erase does not wait until a consultation is over.
#[test]
fn a_letter_is_purged_with_a_record_at_any_time() {
    let mut ledger = consult_at(State::Answered);
    let purge = || json!({"keys": ["question-con-1"], "ground": "ERASURE", "reference": "e-1"});
    no(
        &mut ledger,
        "PurgePrivate",
        &specialist(),
        purge(),
        403,
        "WRONG_ROLE",
    );
    let answer = ok(&mut ledger, "PurgePrivate", &dpo(), purge());
    let question = letter("What do you make of this?");
    assert_eq!(
        answer["purged"],
        json!([{"collection": "_implicit_org_HospitalMSP", "keyHash": hash(b"question-con-1"),
            "valueHash": hash(question.as_bytes())}])
    );
    no(
        &mut ledger,
        "PurgePrivate",
        &dpo(),
        purge(),
        404,
        "NOT_FOUND",
    );
    no(
        &mut ledger,
        "ReadThread",
        &specialist(),
        json!({"con": "con-1"}),
        404,
        "PRIVATE_DATA_NOT_HERE",
    );
    let args =
        json!({"org": "HospitalMSP", "keyHash": hash(b"question-con-1"), "reference": "e-1"});
    let status = ask(&ledger, "ReadPurged", &auditor(), args);
    assert_eq!(status["present"], false);
    assert_eq!(status["record"]["by"], "HospitalMSP");
    // The other party has its own copy.
    let thread = ask(&ledger, "ReadThread", &physician(), json!({"con": "con-1"}));
    assert_eq!(thread["question"]["text"], "What do you make of this?");
}

#[test]
fn letters_are_complete_salted_and_what_was_said_they_are() {
    let mut ledger = TestLedger::new();
    let request = |question: String, hashed: &str| {
        let args = json!({"con": "con-1", "to": "HospitalMSP", "specialty": "CARDIOLOGY",
            "questionHash": hash(hashed.as_bytes()), "expires": START + DAY});
        call("RequestConsult", &physician(), args).transient("question", question)
    };
    let good = letter("Q");
    refused(
        &mut ledger,
        request(good.clone(), "another"),
        422,
        "COMMIT_MISMATCH",
    );
    for bad in [
        json!({"text": "Secret", "salt": "00"}).to_string(),
        json!({"text": "Secret", "salt": "z".repeat(32)}).to_string(),
        json!({"text": "", "salt": SALT}).to_string(),
        json!({"text": "Secret", "salt": SALT, "records": ["no id"]}).to_string(),
        json!({"text": "Secret", "salt": SALT, "records": vec!["r"; 33]}).to_string(),
        json!({"text": "Secret".repeat(11_000), "salt": SALT}).to_string(),
        json!({"text": "Secret"}).to_string(),
        "Secret".to_owned(),
    ] {
        let proposal = request(bad.clone(), &bad);
        let message = ledger.evaluate(proposal.clone()).message;
        assert!(!message.contains("Secret"), "{message}");
        refused(&mut ledger, proposal, 400, "MALFORMED");
    }
    let args = json!({"con": "con-1", "to": "HospitalMSP", "specialty": "CARDIOLOGY",
        "questionHash": hash(good.as_bytes()), "expires": START + DAY});
    no(
        &mut ledger,
        "RequestConsult",
        &physician(),
        args,
        400,
        "MALFORMED",
    );
    body(&ledger.submit(consult_request("con-1")));
    let args = json!({"con": "con-1", "questionHash": hash(b"another")});
    no(
        &mut ledger,
        "AcceptConsult",
        &specialist(),
        args,
        422,
        "COMMIT_MISMATCH",
    );
}

#[test]
fn of_two_who_accept_only_the_first_is_consulted() {
    let mut ledger = consult_at(State::Requested);
    let question = letter("What do you make of this?");
    let args = json!({"con": "con-1", "questionHash": hash(question.as_bytes())});
    let one = ledger.endorse(consult_accept("con-1"));
    let other = ledger.endorse(call(
        "AcceptConsult",
        &with("HospitalMSP", "physician", "p-3"),
        args,
    ));
    assert_eq!(other.response.status, 200);
    assert_eq!(ledger.commit(one), Validity::Valid);
    assert_eq!(ledger.commit(other), Validity::MvccReadConflict);
}
