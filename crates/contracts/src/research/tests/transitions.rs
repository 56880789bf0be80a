//! Every pair of state and function.

use super::*;

const STATES: [State; 16] = [
    State::Listed,
    State::Closed,
    State::Draft,
    State::Approved,
    State::Refused,
    State::Asked,
    State::Denied,
    State::Answered,
    State::Submitted,
    State::AutoDenied,
    State::Active,
    State::Expired,
    State::Revoked,
    State::Destroyed,
    State::Requested,
    State::Accepted,
];

/// A thing in a state, `None` where it has no such state.
fn thing_in(thing: Thing, state: State) -> Option<TestLedger> {
    let counted = |ledger: &mut TestLedger| {
        let args = json!({"countId": "n-1", "project": "proj-1", "dataset": "ds-1", "queryHash": hash(b"q")});
        ok(ledger, "Count", &investigator(), args);
    };
    let mut ledger = begun();
    match (thing, state) {
        (Thing::Dataset, State::Listed) | (Thing::Project, State::Draft) => {}
        (Thing::Dataset, State::Closed) => {
            ok(&mut ledger, "CloseDataset", &dpo(), json!({"id": "ds-1"}));
        }
        (Thing::Project, State::Approved) => {
            ok(&mut ledger, "DecideEthics", &ethics(), approval("proj-1"));
        }
        (Thing::Project, State::Refused) => {
            let args = json!({"project": "proj-1", "verdict": "Refused", "docHash": hash(b"vote")});
            ok(&mut ledger, "DecideEthics", &ethics(), args);
        }
        (Thing::Count, State::Asked) => counted(&mut ledger),
        (Thing::Count, State::Answered) => {
            counted(&mut ledger);
            let args = json!({"countId": "n-1", "cells": [{"cell": "c", "band": "<10"}]});
            ok(&mut ledger, "AnswerCount", &dpo(), args);
        }
        (Thing::Count, State::Denied) => {
            for n in 0..100 {
                let args = json!({"countId": format!("m-{n}"), "project": "proj-1", "dataset": "ds-1", "queryHash": hash(b"q")});
                ok(&mut ledger, "Count", &investigator(), args);
            }
            counted(&mut ledger);
        }
        (Thing::Request, State::AutoDenied) => {
            ok(
                &mut ledger,
                "RequestData",
                &investigator(),
                application("dar-1"),
            );
        }
        (Thing::Request, State::Submitted | State::Approved | State::Refused | State::Active)
        | (Thing::Grant, State::Active | State::Expired | State::Revoked | State::Destroyed) => {
            ledger = brought_to(state);
        }
        (
            Thing::Consult,
            State::Requested | State::Accepted | State::Answered | State::Closed | State::Expired,
        ) => ledger = consult_at(state),
        _ => return None,
    }
    Some(ledger)
}

fn state_of(ledger: &TestLedger, thing: Thing) -> Value {
    let (function, args) = match thing {
        Thing::Dataset => ("ReadDataset", json!({"id": "ds-1"})),
        Thing::Project => ("ReadProject", json!({"id": "proj-1"})),
        Thing::Count => ("ReadCount", json!({"countId": "n-1"})),
        Thing::Request => ("ReadRequest", json!({"dar": "dar-1"})),
        Thing::Grant => ("ReadGrant", json!({"grant": "dar-1"})),
        Thing::Consult => ("ReadConsult", json!({"con": "con-1"})),
    };
    ask(ledger, function, &dpo(), args)["state"].clone()
}

/// Whoever may do it, with arguments that fit.
fn attempts() -> Vec<(Thing, &'static str, State, Proposal)> {
    use State::{
        Accepted, Active, Answered, Approved, Closed, Destroyed, Expired, Refused, Revoked,
    };
    let vote = |verdict: &str| {
        let mut args = json!({"project": "proj-1", "verdict": verdict, "docHash": hash(b"vote")});
        if verdict == "Approved" {
            args["until"] = json!(START + DAY);
        }
        call("DecideEthics", &ethics(), args)
    };
    let decide = |verdict: &str| {
        let mut args = json!({"dar": "dar-1", "verdict": verdict});
        if verdict == "Refused" {
            args["reason"] = json!("SCOPE");
        }
        call("DecideRequest", &dpo(), args)
    };
    let con = || json!({"con": "con-1"});
    vec![
        (
            Thing::Dataset,
            "CloseDataset",
            Closed,
            call("CloseDataset", &dpo(), json!({"id": "ds-1"})),
        ),
        (Thing::Project, "DecideEthics", Approved, vote("Approved")),
        (Thing::Project, "DecideEthics", Refused, vote("Refused")),
        (
            Thing::Count,
            "AnswerCount",
            Answered,
            call(
                "AnswerCount",
                &dpo(),
                json!({"countId": "n-1", "cells": [{"cell": "c", "band": "<10"}]}),
            ),
        ),
        (
            Thing::Request,
            "DecideRequest",
            Approved,
            decide("Approved"),
        ),
        (Thing::Request, "DecideRequest", Refused, decide("Refused")),
        (
            Thing::Request,
            "AcceptTerms",
            Active,
            call(
                "AcceptTerms",
                &investigator(),
                json!({"dar": "dar-1", "policyHash": hash(b"policy")}),
            ),
        ),
        (
            Thing::Grant,
            "RecordUse",
            Active,
            call("RecordUse", &curator(), usage("dar-1")),
        ),
        (
            Thing::Grant,
            "RevokeGrant",
            Revoked,
            call(
                "RevokeGrant",
                &dpo(),
                json!({"grant": "dar-1", "reason": "R"}),
            ),
        ),
        (
            Thing::Grant,
            "ConfirmDestruction",
            Destroyed,
            call(
                "ConfirmDestruction",
                &curator(),
                json!({"grant": "dar-1", "proofHash": hash(b"p")}),
            ),
        ),
        (
            Thing::Consult,
            "AcceptConsult",
            Accepted,
            consult_accept("con-1"),
        ),
        (
            Thing::Consult,
            "PostOpinion",
            Answered,
            consult_opinion("con-1"),
        ),
        (
            Thing::Consult,
            "CloseConsult",
            Closed,
            consult_close("con-1"),
        ),
        (
            Thing::Consult,
            "ExpireConsult",
            Expired,
            call("ExpireConsult", &physician(), con()),
        ),
        (
            Thing::Consult,
            "ForgetConsult",
            Closed,
            call("ForgetConsult", &dpo(), con()),
        ),
    ]
}

#[test]
fn each_function_leads_from_the_listed_states_only() {
    let mut tried = 0;
    for (thing, function, to, proposal) in attempts() {
        for state in STATES {
            let Some(mut ledger) = thing_in(thing, state) else {
                continue;
            };
            assert_eq!(state_of(&ledger, thing), state.name());
            if function == "ExpireConsult" {
                ledger.set_time(START + 7 * DAY);
            }
            // What may be forgotten stays in its state.
            let to = if function == "ForgetConsult" {
                state
            } else {
                to
            };
            let listed = TRANSITIONS.iter().any(|(t, from, f, next)| {
                *t == thing && *from == state && *f == function && *next == to
            });
            let response = ledger.submit(proposal.clone());
            if listed {
                assert_eq!(
                    response.status, 200,
                    "{function} in {state:?}: {}",
                    response.message
                );
                assert_eq!(
                    state_of(&ledger, thing),
                    to.name(),
                    "{function} in {state:?}"
                );
            } else {
                let expected = if function == "RecordUse" {
                    // The grant's end has a name of its own.
                    (422, "GRANT_EXPIRED")
                } else {
                    (409, "BAD_STATE")
                };
                let code = response.message.split(':').next().unwrap();
                assert_eq!((response.status, code), expected, "{function} in {state:?}");
            }
            tried += 1;
        }
    }
    // Two for the dataset, three functions by three for project and count, and so on.
    assert_eq!(tried, 2 + 2 * 3 + 3 + 3 * 5 + 3 * 4 + 5 * 5);
    for (thing, _, function, _) in TRANSITIONS {
        let known = attempts()
            .iter()
            .any(|(t, f, ..)| t == thing && f == function);
        assert!(known, "{function} is not tried");
    }
}

#[test]
fn nothing_is_made_twice() {
    let mut ledger = brought_to(State::Active);
    body(&ledger.submit(consult_request("con-1")));
    let count =
        json!({"countId": "n-1", "project": "proj-1", "dataset": "ds-1", "queryHash": hash(b"q")});
    ok(&mut ledger, "Count", &investigator(), count.clone());
    ok(&mut ledger, "RecordUse", &curator(), usage("dar-1"));
    let output = json!({"out": "out-1", "grant": "dar-1", "hash": hash(b"paper")});
    ok(&mut ledger, "ReportOutput", &investigator(), output.clone());
    for (function, caller, args) in [
        ("RegisterDataset", records(), dataset("ds-1")),
        ("RegisterProject", investigator(), project("proj-1")),
        ("Count", investigator(), count),
        ("RequestData", investigator(), application("dar-1")),
        ("ReportOutput", investigator(), output),
    ] {
        no(&mut ledger, function, &caller, args, 409, "DUPLICATE");
    }
    refused(&mut ledger, consult_request("con-1"), 409, "DUPLICATE");
}

#[test]
fn nothing_new_is_about_a_closed_dataset_or_a_refused_project() {
    let mut ledger = brought_to(State::Approved);
    ok(
        &mut ledger,
        "CloseDataset",
        &records(),
        json!({"id": "ds-1"}),
    );
    let found = ask(
        &ledger,
        "FindDatasets",
        &investigator(),
        json!({"duo": "DUO:0000007"}),
    );
    assert_eq!(found["datasets"], json!([]));
    let count =
        json!({"countId": "n-1", "project": "proj-1", "dataset": "ds-1", "queryHash": hash(b"q")});
    no(
        &mut ledger,
        "Count",
        &investigator(),
        count.clone(),
        409,
        "BAD_STATE",
    );
    no(
        &mut ledger,
        "RequestData",
        &investigator(),
        application("dar-2"),
        409,
        "BAD_STATE",
    );
    let accept = json!({"dar": "dar-1", "policyHash": hash(b"policy")});
    no(
        &mut ledger,
        "AcceptTerms",
        &investigator(),
        accept,
        409,
        "BAD_STATE",
    );
    let mut ledger = thing_in(Thing::Project, State::Refused).unwrap();
    no(
        &mut ledger,
        "Count",
        &investigator(),
        count,
        409,
        "BAD_STATE",
    );
    no(
        &mut ledger,
        "RequestData",
        &investigator(),
        application("dar-1"),
        409,
        "BAD_STATE",
    );
}
