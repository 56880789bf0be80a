//! Counts, and subjects who leave.

use super::*;

fn count(id: &str) -> Value {
    json!({"countId": id, "project": "proj-1", "dataset": "ds-1", "queryHash": hash(b"salted query")})
}

#[test]
fn a_count_is_asked_on_the_ledger_and_answered_in_bands() {
    let mut ledger = begun();
    let asked = ok(&mut ledger, "Count", &investigator(), count("n-1"));
    assert_eq!(
        asked,
        json!({"id": "n-1", "state": "Asked", "decision": "Permitted", "code": "OK"})
    );
    let cells = json!([{"cell": "diabetes", "band": crate::research::band(12, 10)},
        {"cell": "hba1c-7", "band": crate::research::band(7, 10)}]);
    let answer = |cells: Value| json!({"countId": "n-1", "cells": cells});
    for band in ["7", "12", "9-11", "", "<11", "10-50"] {
        let cells = json!([{"cell": "hba1c-7", "band": band}]);
        no(
            &mut ledger,
            "AnswerCount",
            &dpo(),
            answer(cells),
            422,
            "BAND",
        );
    }
    ok(&mut ledger, "AnswerCount", &dpo(), answer(cells.clone()));
    let read = ask(
        &ledger,
        "ReadCount",
        &investigator(),
        json!({"countId": "n-1"}),
    );
    assert_eq!(
        (&read["state"], &read["cells"]),
        (&json!("Answered"), &cells)
    );
    assert_eq!(read["cells"][0]["band"], "10-49");
    assert_eq!(read["cells"][1]["band"], "<10");
}

#[test]
fn a_dataset_may_ask_for_larger_groups() {
    let mut ledger = begun();
    let mut large = dataset("ds-2");
    large["dataset"]["minimum"] = json!(50);
    no(
        &mut ledger,
        "RegisterDataset",
        &records(),
        large.clone(),
        422,
        "BAND",
    );
    large["dataset"]["size"] = json!("100-499");
    ok(&mut ledger, "RegisterDataset", &records(), large);
    let mut asked = count("n-1");
    asked["dataset"] = json!("ds-2");
    ok(&mut ledger, "Count", &investigator(), asked);
    let answer = |band: &str| json!({"countId": "n-1", "cells": [{"cell": "c", "band": band}]});
    no(
        &mut ledger,
        "AnswerCount",
        &dpo(),
        answer("10-49"),
        422,
        "BAND",
    );
    ok(&mut ledger, "AnswerCount", &dpo(), answer("<50"));
}

#[test]
fn the_hundred_and_first_count_of_a_day_is_denied_and_left_as_evidence() {
    let mut ledger = begun();
    for n in 0..100 {
        let answer = ok(
            &mut ledger,
            "Count",
            &investigator(),
            count(&format!("n-{n}")),
        );
        assert_eq!(answer["code"], "OK");
    }
    let denied = ok(&mut ledger, "Count", &investigator(), count("n-100"));
    assert_eq!(
        denied,
        json!({"id": "n-100", "state": "Denied", "decision": "Denied", "code": "BUDGET"})
    );
    no(
        &mut ledger,
        "AnswerCount",
        &dpo(),
        json!({"countId": "n-100", "cells": [{"cell": "c", "band": "<10"}]}),
        409,
        "BAD_STATE",
    );
    // Another project, and another day.
    ok(
        &mut ledger,
        "RegisterProject",
        &investigator(),
        project("proj-2"),
    );
    let mut other = count("n-101");
    other["project"] = json!("proj-2");
    assert_eq!(
        ok(&mut ledger, "Count", &investigator(), other)["code"],
        "OK"
    );
    ledger.advance(DAY);
    assert_eq!(
        ok(&mut ledger, "Count", &investigator(), count("n-102"))["code"],
        "OK"
    );
}

#[test]
fn concurrent_counts_do_not_get_past_the_budget() {
    let mut ledger = begun();
    let first = ledger.endorse(call("Count", &investigator(), count("n-1")));
    let second = ledger.endorse(call("Count", &investigator(), count("n-2")));
    assert_eq!(ledger.commit(first), Validity::Valid);
    assert_eq!(ledger.commit(second), Validity::MvccReadConflict);
}

#[test]
fn who_leaves_is_in_no_later_release() {
    let mut ledger = brought_to(State::Active);
    ok(&mut ledger, "RecordUse", &curator(), export("dar-1", 0));
    let leave = json!({"dataset": "ds-1", "token": TOKEN});
    let answer = ok(&mut ledger, "WithdrawSubject", &issuer(), leave.clone());
    assert_eq!(
        answer,
        json!({"id": "ds-1", "state": "Withdrawn", "releases": 1})
    );
    no(
        &mut ledger,
        "WithdrawSubject",
        &issuer(),
        leave,
        409,
        "DUPLICATE",
    );
    no(
        &mut ledger,
        "RecordUse",
        &curator(),
        export("dar-1", 0),
        422,
        "EXCLUDE",
    );
    let list = ask(
        &ledger,
        "Withdrawals",
        &curator(),
        json!({"dataset": "ds-1"}),
    );
    assert_eq!(list["tokens"], json!([TOKEN]));
    ok(&mut ledger, "RecordUse", &curator(), export("dar-1", 1));
    let read = ask(&ledger, "ReadDataset", &dpo(), json!({"id": "ds-1"}));
    assert_eq!(
        (&read["releases"], &read["withdrawn"]),
        (&json!(2), &json!(1))
    );
    // No pseudonym in the event.
    let (_, event) = ledger
        .events()
        .iter()
        .find(|(name, _)| name == "research.SubjectWithdrawn")
        .unwrap();
    assert!(!String::from_utf8_lossy(event).contains(TOKEN));
}

#[test]
fn a_withdrawal_overtakes_a_release_that_did_not_know_of_it() {
    let mut ledger = brought_to(State::Active);
    let release = ledger.endorse(call("RecordUse", &curator(), export("dar-1", 0)));
    ok(
        &mut ledger,
        "WithdrawSubject",
        &issuer(),
        json!({"dataset": "ds-1", "token": TOKEN}),
    );
    assert_eq!(ledger.commit(release), Validity::MvccReadConflict);
}

#[test]
fn care_and_research_pseudonyms_never_stand_in_one_block() {
    let mut ledger = begun();
    let patient = Caller::for_tests(
        "CitizenMSP",
        "u1",
        &[
            ("hc.role", "patient"),
            ("hc.sid", "JOHNNIEJOHNNIEJOHNNIEJOHNN"),
        ],
    );
    let leave = json!({"dataset": "ds-1", "token": TOKEN});
    no(
        &mut ledger,
        "WithdrawSubject",
        &patient,
        leave,
        422,
        "LINKABLE",
    );
}
