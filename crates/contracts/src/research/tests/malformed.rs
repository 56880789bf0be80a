//! What may not be said: terms, dates, and what is written otherwise than it should be.

use super::*;

#[test]
fn periods_terms_and_dates_are_kept() {
    let mut ledger = begun();
    for until in [json!(START), json!(null)] {
        let mut vote = approval("proj-1");
        vote["until"] = until;
        no(&mut ledger, "DecideEthics", &ethics(), vote, 422, "PERIOD");
    }
    let mut ledger = brought_to(State::Approved);
    let accept = |policy: &[u8]| json!({"dar": "dar-1", "policyHash": hash(policy)});
    no(
        &mut ledger,
        "AcceptTerms",
        &investigator(),
        accept(b"other"),
        422,
        "TERMS_MISMATCH",
    );
    ledger.advance(720 * DAY);
    no(
        &mut ledger,
        "AcceptTerms",
        &investigator(),
        accept(b"policy"),
        422,
        "NO_ETHICS",
    );
    // The last year that calendars have.
    let mut ledger = begun();
    let november_9999 = 253_398_000_000;
    ledger.set_time(november_9999);
    let mut vote = approval("proj-1");
    vote["until"] = json!(i64::MAX);
    ok(&mut ledger, "DecideEthics", &ethics(), vote);
    ok(
        &mut ledger,
        "RequestData",
        &investigator(),
        application("dar-1"),
    );
    let approved = json!({"dar": "dar-1", "verdict": "Approved"});
    ok(&mut ledger, "DecideRequest", &dpo(), approved);
    no(
        &mut ledger,
        "AcceptTerms",
        &investigator(),
        accept(b"policy"),
        422,
        "PERIOD",
    );
    let mut ledger = TestLedger::new();
    let question = letter("Q");
    for (to, expires, code) in [
        ("HospitalMSP", START, "PERIOD"),
        ("HospitalMSP", START + 91 * DAY, "PERIOD"),
        ("MakerMSP", START + DAY, "UNKNOWN_ORG"),
    ] {
        let args = json!({"con": "con-1", "to": to, "specialty": "S",
            "questionHash": hash(question.as_bytes()), "expires": expires});
        let proposal =
            call("RequestConsult", &physician(), args).transient("question", question.as_bytes());
        refused(&mut ledger, proposal, 422, code);
    }
}

#[test]
fn a_moratorium_holds_back_publications() {
    let mut ledger = TestLedger::new();
    let mut late = dataset("ds-1");
    late["dataset"]["use"]["modifiers"] =
        json!([{"code": "DUO:0000024", "until": START + 90 * DAY}]);
    ok(&mut ledger, "RegisterDataset", &records(), late);
    ok(
        &mut ledger,
        "RegisterProject",
        &investigator(),
        project("proj-1"),
    );
    let mut asked = application("dar-1");
    asked["terms"]["accepts"] = json!(["DUO:0000024"]);
    ok(&mut ledger, "RequestData", &investigator(), asked);
    ok(
        &mut ledger,
        "DecideRequest",
        &dpo(),
        json!({"dar": "dar-1", "verdict": "Approved"}),
    );
    ok(
        &mut ledger,
        "AcceptTerms",
        &investigator(),
        json!({"dar": "dar-1", "policyHash": hash(b"policy")}),
    );
    let publish =
        json!({"grant": "dar-1", "kind": "publish", "inHash": hash(b"i"), "outHash": hash(b"o")});
    no(
        &mut ledger,
        "RecordUse",
        &curator(),
        publish.clone(),
        422,
        "MORATORIUM",
    );
    let paper = json!({"out": "out-1", "grant": "dar-1", "doi": "10.1234/x", "hash": hash(b"p")});
    no(
        &mut ledger,
        "ReportOutput",
        &curator(),
        paper.clone(),
        422,
        "NO_USE",
    );
    ok(&mut ledger, "RecordUse", &curator(), usage("dar-1"));
    no(
        &mut ledger,
        "ReportOutput",
        &curator(),
        paper.clone(),
        422,
        "MORATORIUM",
    );
    ledger.advance(90 * DAY);
    ok(&mut ledger, "RecordUse", &curator(), publish);
    ok(&mut ledger, "ReportOutput", &curator(), paper);
}

#[test]
fn what_is_malformed_is_told_with_what_was_expected() {
    let mut ledger = brought_to(State::Active);
    let changed = |mut value: Value, pointer: &str, to: Value| {
        *value.pointer_mut(pointer).unwrap() = to;
        value
    };
    let project_with = |pointer: &str, to: Value| changed(project("p"), pointer, to);
    let dataset_with = |pointer: &str, to: Value| changed(dataset("d"), pointer, to);
    for (function, caller, args) in [
        ("RegisterDataset", records(), json!({})),
        (
            "RegisterDataset",
            records(),
            dataset_with("/dataset/id", json!("no id")),
        ),
        (
            "RegisterDataset",
            records(),
            dataset_with("/dataset/schema", json!("free text")),
        ),
        (
            "RegisterDataset",
            records(),
            dataset_with("/dataset/policyHash", json!("AB")),
        ),
        (
            "RegisterDataset",
            records(),
            dataset_with("/dataset/contributors", json!(vec!["M"; 33])),
        ),
        (
            "RegisterDataset",
            records(),
            dataset_with("/dataset/use/diseases/0/code", json!("diabetes")),
        ),
        (
            "RegisterProject",
            investigator(),
            project_with("/project/purpose", json!("profit")),
        ),
        (
            "RegisterProject",
            investigator(),
            project_with("/project/diseases", json!([])),
        ),
        (
            "RegisterProject",
            investigator(),
            project_with("/project/diseases", json!(["ICD10:E10-E14"])),
        ),
        (
            "RegisterProject",
            investigator(),
            project_with("/project/countries", json!([])),
        ),
        (
            "RegisterProject",
            investigator(),
            project_with("/project/countries", json!(["China"])),
        ),
        (
            "RequestData",
            investigator(),
            changed(application("d"), "/terms/months", json!(0)),
        ),
        (
            "RequestData",
            investigator(),
            changed(application("d"), "/terms/months", json!(121)),
        ),
        (
            "DecideRequest",
            dpo(),
            json!({"dar": "dar-1", "verdict": "Maybe"}),
        ),
        (
            "RecordUse",
            curator(),
            changed(usage("dar-1"), "/kind", json!("sell")),
        ),
        (
            "RecordUse",
            curator(),
            changed(usage("dar-1"), "/kind", json!("export")),
        ),
        (
            "RecordUse",
            curator(),
            changed(export("dar-1", 0), "/kind", json!("compute")),
        ),
        (
            "ReportOutput",
            curator(),
            json!({"out": "o", "grant": "dar-1", "doi": "doi:10.1/x", "hash": hash(b"p")}),
        ),
        (
            "ReportOutput",
            curator(),
            json!({"out": "o", "grant": "dar-1", "doi": "10.1234/", "hash": hash(b"p")}),
        ),
        (
            "WithdrawSubject",
            issuer(),
            json!({"dataset": "ds-1", "token": "short"}),
        ),
        (
            "CloseConsult",
            physician(),
            json!({"con": "c", "rating": 6}),
        ),
    ] {
        no(&mut ledger, function, &caller, args, 400, "MALFORMED");
    }
    let mut asked = application("d");
    asked["terms"]["accepts"] = json!(["PUB"]);
    no(
        &mut ledger,
        "RequestData",
        &investigator(),
        asked,
        422,
        "UNKNOWN_DUO",
    );
    no(
        &mut ledger,
        "FindDatasets",
        &dpo(),
        json!({}),
        400,
        "MALFORMED",
    );
    no(
        &mut ledger,
        "FindDatasets",
        &dpo(),
        json!({"duo": "DUO:1"}),
        422,
        "UNKNOWN_DUO",
    );
    no(
        &mut ledger,
        "RegisterDataset",
        &records(),
        dataset_with("/dataset/use/permission", json!("GRU")),
        422,
        "UNKNOWN_DUO",
    );
    let decided = json!({"dar": "dar-1", "verdict": "Refused"});
    no(
        &mut ledger,
        "DecideRequest",
        &dpo(),
        decided,
        409,
        "BAD_STATE",
    );
    let mut ledger = brought_to(State::Submitted);
    for args in [
        json!({"dar": "dar-1", "verdict": "Refused"}),
        json!({"dar": "dar-1", "verdict": "Approved", "reason": "WHY"}),
        json!({"dar": "dar-1", "verdict": "Refused", "reason": "free text"}),
    ] {
        no(&mut ledger, "DecideRequest", &dpo(), args, 400, "MALFORMED");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let mut ledger = TestLedger::new();
    for (function, args) in [
        ("ReadDataset", json!({"id": "x-1"})),
        ("ReadProject", json!({"id": "x-1"})),
        ("ReadCount", json!({"countId": "x-1"})),
        ("ReadRequest", json!({"dar": "x-1"})),
        ("ReadGrant", json!({"grant": "x-1"})),
        ("UseLog", json!({"grant": "x-1"})),
        ("ReadOutput", json!({"out": "x-1"})),
        ("ListOutputs", json!({"dataset": "x-1"})),
        ("ReadConsult", json!({"con": "x-1"})),
    ] {
        let response = ledger.evaluate(call(function, &dpo(), args.clone()));
        assert!(response.message.contains("x-1"), "{}", response.message);
        no(&mut ledger, function, &dpo(), args, 404, "NOT_FOUND");
    }
}
