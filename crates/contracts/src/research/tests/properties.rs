//! Random sequences of calls, and what holds after each of them.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// Everything that can be done to the grant of `dar-1`, by whom it may and by whom it may not.
fn data_call(step: usize, who: usize) -> Proposal {
    let everybody = [
        investigator(),
        ethics(),
        curator(),
        dpo(),
        clinic_dpo(),
        // One person with two certificates.
        with("HospitalMSP", "dpo", "i-1"),
        with("ResearchMSP", "ethics", "i-1"),
    ];
    let usual = [6, 1, 1, 0, 0, 3, 3, 0, 2, 2, 3, 2];
    // Half of the calls come from whoever should make them.
    let caller = everybody
        .get(who)
        .unwrap_or(&everybody[usual[step % usual.len()]]);
    match step {
        0 => call("DecideEthics", caller, approval("proj-1")),
        1 => call("DecideEthics", caller, approval("proj-1")),
        2 => call(
            "DecideEthics",
            caller,
            json!({"project": "proj-1", "verdict": "Refused", "docHash": hash(b"v")}),
        ),
        3 => call("RequestData", caller, application("dar-1")),
        4 => call("RequestData", caller, application("dar-1")),
        5 => call(
            "DecideRequest",
            caller,
            json!({"dar": "dar-1", "verdict": "Approved"}),
        ),
        6 => call(
            "DecideRequest",
            caller,
            json!({"dar": "dar-1", "verdict": "Refused", "reason": "R"}),
        ),
        7 => call(
            "AcceptTerms",
            caller,
            json!({"dar": "dar-1", "policyHash": hash(b"policy")}),
        ),
        8 => call("RecordUse", caller, usage("dar-1")),
        9 => call("RecordUse", caller, export("dar-1", 0)),
        10 => call(
            "RevokeGrant",
            caller,
            json!({"grant": "dar-1", "reason": "R"}),
        ),
        _ => call(
            "ConfirmDestruction",
            caller,
            json!({"grant": "dar-1", "proofHash": hash(b"p")}),
        ),
    }
}

fn look(ledger: &TestLedger, function: &str, args: Value) -> Option<Value> {
    let response = ledger.evaluate(call(function, &dpo(), args));
    (response.status == 200).then(|| serde_json::from_slice(&response.payload).unwrap())
}

fn may_follow(thing: Thing, before: &Value, after: &Value) -> bool {
    before == after
        || TRANSITIONS
            .iter()
            .any(|(t, from, _, to)| *t == thing && *before == from.name() && *after == to.name())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn a_grant_never_permits_beyond_its_end_and_nobody_approves_oneself(
        reached in 0usize..4,
        steps in proptest::collection::vec((0usize..12, 0usize..14, 0i64..60), 1..24),
    ) {
        let mut ledger = match reached {
            0 => begun(),
            1 => brought_to(State::Submitted),
            2 => brought_to(State::Approved),
            _ => brought_to(State::Active),
        };
        let states = |ledger: &TestLedger| [
            (Thing::Project, look(ledger, "ReadProject", json!({"id": "proj-1"}))),
            (Thing::Request, look(ledger, "ReadRequest", json!({"dar": "dar-1"}))),
            (Thing::Grant, look(ledger, "ReadGrant", json!({"grant": "dar-1"}))),
        ];
        for (step, who, days) in steps {
            ledger.advance(days * DAY / 2);
            let before = states(&ledger);
            let response = ledger.submit(data_call(step, who));
            let after = states(&ledger);
            // Only listed pairs follow one another.
            for ((thing, old), (_, new)) in before.iter().zip(&after) {
                if let (Some(old), Some(new)) = (old, new) {
                    prop_assert!(may_follow(*thing, &old["state"], &new["state"]),
                        "{:?}: {} to {}", thing, old["state"], new["state"]);
                }
            }
            // A use happened: the grant was active, within its period, and not revoked.
            if matches!(step, 8 | 9) && response.status == 200 {
                let grant = before[2].1.as_ref().unwrap();
                prop_assert_eq!(&grant["state"], "Active");
                prop_assert!(ledger.now() < grant["until"].as_i64().unwrap());
            }
            if let Some(grant) = &after[2].1 {
                // A grant has an approved request and an ethics decision behind it.
                let request = after[1].1.as_ref().unwrap();
                prop_assert_eq!(&request["state"], "Active");
                prop_assert_eq!(&after[0].1.as_ref().unwrap()["state"], "Approved");
                prop_assert!(grant["until"].as_i64() <= after[0].1.as_ref().unwrap()["ethicsUntil"].as_i64());
                // Copies are due within thirty days of the end.
                prop_assert!(grant["destroyBy"].as_i64().unwrap() <= grant["until"].as_i64().unwrap() + 30 * DAY);
            }
            if let Some(request) = &after[1].1 {
                prop_assert_ne!(&request["decidedBy"], &request["pid"]);
                prop_assert_ne!(&request["decidedBy"], "i-1");
            }
            let project = after[0].1.as_ref().unwrap();
            prop_assert_ne!(&project["ethicsBy"], &project["investigator"]);
        }
    }

    #[test]
    fn no_answer_to_a_count_tells_a_number_below_the_minimum(
        larger in any::<bool>(),
        answers in proptest::collection::vec((0u64..2000, 0usize..3), 1..20),
    ) {
        let minimum = if larger { 50 } else { 10 };
        let mut ledger = begun();
        let mut other = dataset("ds-2");
        other["dataset"]["minimum"] = json!(minimum);
        other["dataset"]["size"] = json!("1000+");
        ok(&mut ledger, "RegisterDataset", &records(), other);
        for (n, (people, form)) in answers.into_iter().enumerate() {
            let id = format!("n-{n}");
            let args = json!({"countId": id, "project": "proj-1", "dataset": "ds-2", "queryHash": hash(b"q")});
            ok(&mut ledger, "Count", &investigator(), args);
            let band = match form {
                0 => crate::research::band(people, minimum),
                1 => people.to_string(),
                _ => format!("<{people}"),
            };
            let args = json!({"countId": id, "cells": [{"cell": "c", "band": band}]});
            ledger.submit(call("AnswerCount", &dpo(), args));
            let read = ask(&ledger, "ReadCount", &auditor(), json!({"countId": id}));
            if let Some(told) = read["cells"][0]["band"].as_str() {
                prop_assert_eq!(told.starts_with('<'), told == format!("<{minimum}"));
                let lower = told.trim_start_matches('<').split(['-', '+']).next().unwrap();
                prop_assert!(lower.parse::<u32>().unwrap() >= minimum);
                if form == 0 && people < u64::from(minimum) {
                    prop_assert_eq!(told, format!("<{minimum}"));
                }
            } else {
                prop_assert_ne!(form, 0);
            }
        }
    }

    #[test]
    fn a_consultation_keeps_to_its_path_and_both_parties_hold_the_same(
        steps in proptest::collection::vec((0usize..7, 0i64..40), 1..16),
    ) {
        let mut ledger = TestLedger::new();
        for (step, hours) in steps {
            ledger.advance(hours * 3600);
            let con = || json!({"con": "con-1"});
            let before = look(&ledger, "ReadConsult", con());
            let proposal = match step {
                0 => consult_request("con-1"),
                1 => consult_accept("con-1"),
                2 => consult_opinion("con-1"),
                3 => consult_close("con-1"),
                4 => call("ExpireConsult", &physician(), con()),
                // The one who asks does not answer.
                5 => {
                    let question = letter("What do you make of this?");
                    call("AcceptConsult", &physician(), json!({"con": "con-1", "questionHash": hash(question.as_bytes())}))
                }
                _ => call("ForgetConsult", &dpo(), con()),
            };
            ledger.submit(proposal);
            let after = look(&ledger, "ReadConsult", con());
            if let (Some(old), Some(new)) = (&before, &after) {
                prop_assert!(may_follow(Thing::Consult, &old["state"], &new["state"]));
            }
            if let Some(new) = &after {
                prop_assert_ne!(&new["consultant"], "p-1");
                let read = |who: &Caller| {
                    let response = ledger.evaluate(call("ReadThread", who, con()));
                    (response.status == 200).then(|| serde_json::from_slice::<Value>(&response.payload).unwrap())
                };
                let asking = read(&physician()).unwrap();
                match read(&specialist()) {
                    Some(asked) => prop_assert_eq!(asking, asked),
                    None => prop_assert_eq!(&new["forgotten"], &json!(["HospitalMSP"])),
                }
            }
        }
    }
}
