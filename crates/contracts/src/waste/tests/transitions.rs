//! Every pair of state and function, and what happens when two come at once.

use super::super::model::{ManifestState, TRANSITIONS};
use super::*;

const STATES: [ManifestState; 12] = [
    ManifestState::Scheduled,
    ManifestState::HandedOver,
    ManifestState::InTransit,
    ManifestState::Delivered,
    ManifestState::Accepted,
    ManifestState::Discrepant,
    ManifestState::Referred,
    ManifestState::Rejected,
    ManifestState::Returned,
    ManifestState::Disposed,
    ManifestState::Certified,
    ManifestState::Cancelled,
];

/// The way into a state for a manifest of two bags and two carriers; the number of the manifest
/// that is in it, and how many carriers took it.
fn manifest_in(state: ManifestState) -> (TestLedger, &'static str, usize) {
    use ManifestState::*;
    let mut ledger = ledger();
    for bag in ["b1", "b2"] {
        seal(&mut ledger, bag, INFECTIOUS, 1000);
    }
    ok(
        &mut ledger,
        "CreateManifest",
        &ward(),
        json!({"no": NO, "carriers": ["WasteMSP", "HaulerMSP"], "disposer": "BurnerMSP", "bags": ["b1", "b2"]}),
    );
    let mut carried = 0;
    let mut number = NO;
    let give = json!({"no": NO, "count": 2, "grams": 2000});
    let take = json!({"no": NO, "vehicle": "V", "count": 2, "grams": 2000});
    match state {
        Scheduled => {}
        Cancelled => {
            ok(&mut ledger, "CancelManifest", &ward(), json!({"no": NO}));
        }
        HandedOver => {
            ok(&mut ledger, "HandOver", &ward(), give);
        }
        InTransit => {
            carried = 1;
            ok(&mut ledger, "HandOver", &ward(), give);
            ok(&mut ledger, "AcceptCarriage", &carrier(), take);
        }
        _ => {
            carried = 2;
            ok(&mut ledger, "HandOver", &ward(), give.clone());
            ok(&mut ledger, "AcceptCarriage", &carrier(), take.clone());
            ok(&mut ledger, "HandOver", &carrier(), give);
            ok(&mut ledger, "AcceptCarriage", &hauler(), take);
            ok(&mut ledger, "Deliver", &hauler(), json!({"no": NO}));
        }
    }
    let accept = |ledger: &mut TestLedger, count: usize| {
        let args = json!({"no": NO, "bags": weighed(count, 1000)});
        ok(ledger, "AcceptAtFacility", &burner(), args);
    };
    let now = ledger.now();
    match state {
        Accepted | Disposed | Certified => accept(&mut ledger, 2),
        Discrepant | Referred => accept(&mut ledger, 1),
        Rejected | Returned => {
            let args = json!({"no": NO, "newNo": NEXT, "reason": "CLOSED"});
            ok(&mut ledger, "RejectLoad", &burner(), args);
        }
        _ => {}
    }
    if matches!(state, Disposed | Certified) {
        let args = json!({"no": NO, "method": "steam", "batch": "B", "start": now, "end": now});
        ok(&mut ledger, "Dispose", &burner(), args);
    }
    if state == Certified {
        let args = json!({"no": NO, "certHash": hash(b"c")});
        ok(&mut ledger, "Certify", &burner(), args);
    }
    if state == Referred {
        let signed = json!({"no": NO, "n": 1, "finding": "F"});
        ok(&mut ledger, "ResolveFlag", &ward(), signed.clone());
        ok(&mut ledger, "ResolveFlag", &burner(), signed);
        let verdict = json!({"no": NO, "n": 1, "finding": "F", "verdict": "Referred"});
        ok(&mut ledger, "ResolveFlag", &environment(), verdict);
    }
    if state == Returned {
        number = NEXT;
        carried = 1;
        let take = json!({"no": NEXT, "vehicle": "V", "count": 2, "grams": 2000});
        ok(&mut ledger, "AcceptCarriage", &hauler(), take);
        ok(&mut ledger, "Deliver", &hauler(), json!({"no": NEXT}));
        let args = json!({"no": NEXT, "bags": weighed(2, 1000)});
        ok(&mut ledger, "AcceptAtFacility", &ward(), args);
    }
    assert_eq!(state_of(&ledger, number), state.name());
    (ledger, number, carried)
}

/// Whoever may do it, with arguments that fit, and where it leads from this state.
fn attempts(
    state: ManifestState,
    number: &str,
    carried: usize,
    now: i64,
) -> Vec<(Proposal, &'static str, Option<ManifestState>)> {
    use ManifestState::*;
    let holder = match carried {
        0 => ward(),
        1 if number == NO => carrier(),
        _ => hauler(),
    };
    let taker = if carried == 0 { carrier() } else { hauler() };
    let driver = if carried == 0 {
        carrier()
    } else {
        holder.clone()
    };
    let facility = if number == NO { burner() } else { ward() };
    let give = json!({"no": number, "count": 2, "grams": 2000});
    let take = json!({"no": number, "vehicle": "V", "count": 2, "grams": 2000});
    let only = |from: ManifestState, to: ManifestState| (state == from).then_some(to);
    let dispose = json!({"no": number, "method": "steam", "batch": "B", "start": now, "end": now});
    let all = json!({"no": number, "newNo": "20261101000009", "reason": "R"});
    let part = json!({"no": number, "newNo": "20261101000009", "reason": "R", "bags": ["b1"]});
    vec![
        (
            call("CancelManifest", &ward(), json!({"no": number})),
            "CancelManifest",
            only(Scheduled, Cancelled),
        ),
        (
            call("HandOver", &holder, give),
            "HandOver",
            matches!(state, Scheduled | InTransit).then_some(HandedOver),
        ),
        (
            call("AcceptCarriage", &taker, take),
            "AcceptCarriage",
            only(HandedOver, InTransit),
        ),
        (
            call("Deliver", &driver, json!({"no": number})),
            "Deliver",
            only(InTransit, Delivered),
        ),
        (
            call(
                "AcceptAtFacility",
                &facility,
                json!({"no": number, "bags": weighed(2, 1000)}),
            ),
            "AcceptAtFacility",
            only(Delivered, Accepted),
        ),
        (
            call(
                "AcceptAtFacility",
                &facility,
                json!({"no": number, "bags": weighed(1, 1000)}),
            ),
            "AcceptAtFacility, one missing",
            only(Delivered, Discrepant),
        ),
        (
            call("RejectLoad", &burner(), all),
            "RejectLoad",
            only(Delivered, Rejected),
        ),
        (
            call("RejectLoad", &burner(), part),
            "RejectLoad, a part",
            only(Delivered, Delivered),
        ),
        (
            call("Dispose", &burner(), dispose),
            "Dispose",
            only(Accepted, Disposed),
        ),
        (
            call(
                "Certify",
                &burner(),
                json!({"no": number, "certHash": hash(b"c")}),
            ),
            "Certify",
            only(Disposed, Certified),
        ),
    ]
}

#[test]
fn each_function_leads_from_the_listed_states_only() {
    for state in STATES {
        let (ledger, number, carried) = manifest_in(state);
        for (proposal, name, expected) in attempts(state, number, carried, ledger.now()) {
            let (mut ledger, ..) = manifest_in(state);
            let response = ledger.submit(proposal);
            if let Some(next) = expected {
                assert_eq!(
                    response.status, 200,
                    "{name} in {state:?}: {}",
                    response.message
                );
                assert_eq!(
                    state_of(&ledger, number),
                    next.name(),
                    "{name} in {state:?}"
                );
            } else {
                // Parties of what has not come so far are asked first.
                let code = response.message.split(':').next().unwrap_or_default();
                assert!(
                    matches!(
                        (response.status, code),
                        (409, "BAD_STATE") | (403, "NOT_PARTY" | "WRONG_ROLE")
                    ),
                    "{name} in {state:?}: {} {}",
                    response.status,
                    response.message
                );
                assert_eq!(state_of(&ledger, number), state.name());
            }
        }
    }
}

#[test]
fn every_state_can_be_reached_and_only_ends_have_no_way_on() {
    for state in STATES {
        let leads_on = TRANSITIONS.iter().any(|(_, from, _)| *from == state);
        let is_end = matches!(
            state,
            ManifestState::Certified
                | ManifestState::Cancelled
                | ManifestState::Rejected
                | ManifestState::Returned
        );
        assert_eq!(leads_on, !is_end, "{state:?}");
    }
}

#[test]
fn of_two_at_once_one_counts() {
    // The same bag on two manifests.
    let mut ledger = ledger();
    seal(&mut ledger, "b1", INFECTIOUS, 1000);
    let bags = ["b1".to_owned()];
    let first = ledger.endorse(call("CreateManifest", &ward(), manifest_args(NO, &bags)));
    let second = ledger.endorse(call("CreateManifest", &ward(), manifest_args(NEXT, &bags)));
    assert_eq!(ledger.commit(first), Validity::Valid);
    assert_eq!(ledger.commit(second), Validity::MvccReadConflict);

    // Cancelled while the carrier takes it.
    ok(
        &mut ledger,
        "HandOver",
        &ward(),
        json!({"no": NO, "count": 1, "grams": 1000}),
    );
    let take = json!({"no": NO, "vehicle": "V", "count": 1, "grams": 1000});
    let taken = ledger.endorse(call("AcceptCarriage", &carrier(), take.clone()));
    let twice = ledger.endorse(call("AcceptCarriage", &carrier(), take));
    assert_eq!(ledger.commit(taken), Validity::Valid);
    assert_eq!(ledger.commit(twice), Validity::MvccReadConflict);

    // Accepted and refused.
    ok(&mut ledger, "Deliver", &carrier(), json!({"no": NO}));
    let accepted = ledger.endorse(call(
        "AcceptAtFacility",
        &disposer(),
        json!({"no": NO, "bags": weighed(1, 1000)}),
    ));
    let refused = ledger.endorse(call(
        "RejectLoad",
        &disposer(),
        json!({"no": NO, "newNo": NEXT, "reason": "R"}),
    ));
    assert_eq!(ledger.commit(accepted), Validity::Valid);
    assert_eq!(ledger.commit(refused), Validity::MvccReadConflict);

    // The licence is lost while a manifest is made: it was read, so the manifest is not.
    seal(&mut ledger, "b2", INFECTIOUS, 1000);
    let made = ledger.endorse(call(
        "CreateManifest",
        &ward(),
        manifest_args(NEXT, &["b2".to_owned()]),
    ));
    lose(&mut ledger, "WasteMSP", INFECTIOUS);
    assert_eq!(ledger.commit(made), Validity::MvccReadConflict);
}

#[test]
fn the_same_request_is_answered_once() {
    let mut ledger = ledger();
    let seal = |grams: u64| {
        call(
            "SealBag",
            &ward(),
            json!({"id": "b", "code": INFECTIOUS, "grams": grams, "dept": "W"}),
        )
        .arg("r1")
    };
    let first = ledger.submit(seal(5));
    assert_eq!(ledger.submit(seal(5)), first);
    let other = ledger.submit(seal(6));
    assert!(
        other.message.starts_with("REQUEST_ID_REUSED: "),
        "{}",
        other.message
    );
}
