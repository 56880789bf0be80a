//! Every pair of state and function, and random sequences of calls.

use proptest::prelude::*;

use super::*;
use crate::privacy::model::{State, TRANSITIONS, after};

const EPOCH_STATES: [Option<State>; 4] = [
    None,
    Some(State::Open),
    Some(State::Retired),
    Some(State::Destroyed),
];
const PURGE_STATES: [Option<State>; 4] = [
    None,
    Some(State::Requested),
    Some(State::Refused),
    Some(State::Destroyed),
];
const INVESTIGATION_STATES: [Option<State>; 3] = [None, Some(State::Open), Some(State::Closed)];

/// A call that fits in every respect but perhaps the state, for subject `1`.
fn fitting(function: &str) -> Proposal {
    let print = hash(b"key");
    let dpo = hospital_dpo();
    match function {
        "OpenEpoch" => call(
            function,
            &dpo,
            json!({"sector": "care", "epoch": 1, "fingerprint": print}),
        ),
        "RetireEpoch" => call(function, &dpo, json!({"sector": "care", "epoch": 1})),
        "AttestEpochDestroyed" => call(
            function,
            &dpo,
            json!({"sector": "care", "epoch": 1, "fingerprint": print, "method": "M"}),
        ),
        "RequestPurge" => call(
            function,
            &dpo,
            json!({"id": "x", "holder": "HospitalMSP", "ground": "ERROR"}),
        ),
        "RefusePurge" => call(
            function,
            &dpo,
            json!({"id": "x", "reason": "LAW", "until": START + 1000 * DAY}),
        ),
        "AttestDestruction" => call(
            function,
            &dpo,
            json!({"id": "x", "vaultKeys": [print], "method": "M"}),
        ),
        "OpenInvestigation" => call(
            function,
            &auditor(),
            json!({"id": "i", "query": {"org": "HospitalMSP"}}),
        ),
        "CloseInvestigation" => call(function, &auditor(), json!({"id": "i", "finding": "F"})),
        _ => panic!("{function} has no call"),
    }
}

/// The calls that lead to a state.
fn way_to(state: Option<State>, functions: &[&'static str]) -> Vec<&'static str> {
    let Some(wanted) = state else {
        return Vec::new();
    };
    let (function, from, _) = TRANSITIONS
        .iter()
        .find(|(function, _, to)| *to == wanted && functions.contains(function))
        .unwrap();
    let mut way = way_to(*from, functions);
    way.push(function);
    way
}

fn check_all(states: &[Option<State>], functions: &[&'static str]) {
    for state in states {
        for function in functions {
            let mut ledger = TestLedger::new();
            ok(&mut ledger, "Append", &physician(), event("e-1"));
            for step in way_to(*state, functions) {
                body(&ledger.submit(fitting(step)));
            }
            let response = ledger.submit(fitting(function));
            match (after(function, *state), state) {
                (Some(next), _) => assert_eq!(body(&response)["state"], next.name()),
                (None, None) => refused(&response, 404, "NOT_FOUND"),
                (None, Some(_)) if after(function, None).is_some() => {
                    refused(&response, 409, "DUPLICATE");
                }
                (None, Some(_)) => refused(&response, 409, "BAD_STATE"),
            }
        }
    }
}

#[test]
fn every_pair_of_state_and_function() {
    check_all(
        &EPOCH_STATES,
        &["OpenEpoch", "RetireEpoch", "AttestEpochDestroyed"],
    );
    check_all(
        &PURGE_STATES,
        &["RequestPurge", "RefusePurge", "AttestDestruction"],
    );
    check_all(
        &INVESTIGATION_STATES,
        &["OpenInvestigation", "CloseInvestigation"],
    );
}

#[test]
fn the_table_names_functions_that_exist() {
    for (function, from, to) in TRANSITIONS {
        assert!(
            crate::privacy::FUNCTIONS
                .iter()
                .any(|known| known.name == *function)
        );
        assert_eq!(after(function, *from), Some(*to));
    }
    assert_eq!(after("RetireEpoch", Some(State::Destroyed)), None);
    assert_eq!(after("Nothing", None), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// No sequence of calls gives a sector two open epochs, brings a destroyed key back, or
    /// skips a number.
    #[test]
    fn epochs_stay_in_order(calls in proptest::collection::vec((0usize..3, 1u32..5), 0..40)) {
        let mut ledger = TestLedger::new();
        let mut destroyed = std::collections::BTreeSet::new();
        for (function, epoch) in calls {
            let print = hash(&epoch.to_be_bytes());
            let mut args = json!({"sector": "care", "epoch": epoch});
            let function = ["OpenEpoch", "RetireEpoch", "AttestEpochDestroyed"][function];
            if function != "RetireEpoch" {
                args["fingerprint"] = json!(print);
            }
            if function == "AttestEpochDestroyed" {
                args["method"] = json!("M");
            }
            let response = ledger.submit(call(function, &hospital_dpo(), args));
            prop_assert!([200, 404, 409, 422].contains(&response.status), "{}", response.message);
            if response.status == 200 && function == "AttestEpochDestroyed" {
                prop_assert!(destroyed.insert(epoch));
            }
            let epochs = ask(&ledger, "ListEpochs", &auditor(), json!({"org": "HospitalMSP"}));
            let epochs = epochs.as_array().unwrap();
            let open = epochs.iter().filter(|epoch| epoch["state"] == "Open").count();
            prop_assert!(open <= 1);
            for (n, epoch) in (1u32..).zip(epochs) {
                prop_assert_eq!(&epoch["epoch"], &json!(n));
                prop_assert_eq!(destroyed.contains(&n), epoch["state"] == "Destroyed");
            }
        }
    }

    /// No sequence of calls loses a private value without a record, or keeps a record of one that
    /// was never there.
    #[test]
    fn what_is_purged_is_recorded(calls in proptest::collection::vec((0u8..4, 0usize..3, 0usize..3), 0..25)) {
        let mut ledger = keeping(&["k-0", "k-1", "k-2"]);
        let mut purged = std::collections::BTreeSet::new();
        for (what, id, key) in calls {
            let id = format!("x-{id}");
            let key = format!("k-{key}");
            let dpo = hospital_dpo();
            let response = match what {
                0 => ledger.submit(call("RequestPurge", &dpo,
                    json!({"id": id, "holder": "HospitalMSP", "ground": "ERROR"}))),
                1 => ledger.submit(call("RefusePurge", &dpo,
                    json!({"id": id, "reason": "LAW", "until": START + DAY}))),
                _ => ledger.submit(call("AttestDestruction", &dpo,
                    json!({"id": id, "private": [{"chaincode": "keeper", "keys": [key]}], "method": "M"}))),
            };
            if what >= 2 && response.status == 200 {
                prop_assert!(purged.insert(key));
                let verified = ask(&ledger, "VerifyErasure", &auditor(), json!({"id": id}));
                prop_assert_eq!(&verified["erased"], &json!(true));
            }
        }
        for key in ["k-0", "k-1", "k-2"] {
            let recorded = (0..3).filter(|id| {
                let args = json!({"org": "HospitalMSP", "keyHash": hash(key.as_bytes()), "reference": format!("x-{id}")});
                ledger.evaluate(Proposal::new("keeper", "ReadPurged", &auditor()).json(&args)).status == 200
            });
            prop_assert_eq!(recorded.count(), usize::from(purged.contains(key)));
        }
    }
}
