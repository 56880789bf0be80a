//! Every pair of state and function.

use super::*;
use crate::costs::model::ClaimState;

use ClaimState::{
    Adjudicated, Appealed, Denied, Disputed, Paid, Pended, Recovered, Rejected, Replaced,
    Submitted, Voided,
};

pub(super) const STATES: [ClaimState; 11] = [
    Submitted,
    Pended,
    Rejected,
    Adjudicated,
    Denied,
    Disputed,
    Appealed,
    Paid,
    Recovered,
    Replaced,
    Voided,
];

fn all() -> Value {
    decision(&[[1_250_000, 1_250_000, 0], [1_405_200, 1_405_200, 0]])
}

fn nothing() -> Value {
    decision(&[[0, 0, 0], [0, 0, 0]])
}

/// A ledger whose claim `c` has been brought into a state.
fn claim_in(state: ClaimState) -> TestLedger {
    let mut ledger = charged();
    if state == Pended {
        ok(
            &mut ledger,
            open("e2", &billing(), &stay(SID, "2026-11-01")),
        );
        ok(&mut ledger, cover("e2", "2026-01-01", "2026-12-31"));
        ok(
            &mut ledger,
            post("e2", 1, &line("2026-11-02", "A0001", 1_250_000)),
        );
        let doc = claim_doc(
            "first",
            &[bills(1, "2026-11-02", "A0001", 1_250_000)],
            1_250_000,
        );
        ok(&mut ledger, submit("first", "e2", &billing(), &doc));
    }
    let mut doc = both("n1");
    if state == Rejected {
        doc["total"] = json!(1);
    }
    ok(&mut ledger, submit("c", "e1", &billing(), &doc));
    let steps: Vec<Proposal> = match state {
        Submitted | Pended | Rejected => vec![],
        Adjudicated => vec![adjudicate("c", &all())],
        Denied => vec![adjudicate("c", &nothing())],
        Disputed => vec![adjudicate("c", &all()), contest("Dispute", &billing(), "c")],
        Appealed => vec![
            adjudicate("c", &all()),
            contest("Dispute", &billing(), "c"),
            resolve(&adjudicator(), "c", None),
            contest("Appeal", &billing(), "c"),
        ],
        Paid => vec![adjudicate("c", &all()), pay("c")],
        Recovered => vec![
            adjudicate("c", &all()),
            pay("c"),
            back("Recover", &fraud(), "c", 1),
        ],
        Replaced => vec![replace("c2", "c", &billing(), &both("n1"))],
        Voided => vec![void("c")],
    };
    for step in steps {
        ok(&mut ledger, step);
    }
    assert_eq!(state_of(&ledger, "c"), state.name());
    ledger
}

/// What is tried, the states that allow it and where it leads; elsewhere 409, with these codes.
fn attempts(state: ClaimState) -> Vec<(&'static str, Proposal, Option<ClaimState>)> {
    let open = matches!(state, Submitted | Pended);
    let resolver = if state == Appealed {
        inspector()
    } else {
        adjudicator()
    };
    let answered = matches!(state, Disputed | Appealed);
    let settled = matches!(state, Paid | Recovered);
    let loose = open || state == Adjudicated;
    vec![
        (
            "ReplaceClaim",
            replace("c9", "c", &billing(), &both("n1")),
            loose.then_some(Replaced),
        ),
        ("VoidClaim", void("c"), loose.then_some(Voided)),
        (
            "Adjudicate",
            adjudicate("c", &all()),
            open.then_some(Adjudicated),
        ),
        (
            "Adjudicate nothing",
            adjudicate("c", &nothing()),
            open.then_some(Denied),
        ),
        (
            "CheckDrg",
            drg("c", &billing(), "293", 1, 1),
            (state == Submitted).then_some(Submitted),
        ),
        (
            "Dispute",
            contest("Dispute", &billing(), "c"),
            matches!(state, Adjudicated | Denied).then_some(Disputed),
        ),
        (
            "Appeal",
            contest("Appeal", &billing(), "c"),
            (state == Disputed).then_some(Appealed),
        ),
        (
            "Resolve",
            resolve(&resolver, "c", None),
            answered.then_some(Adjudicated),
        ),
        (
            "Resolve to nothing",
            resolve(&resolver, "c", Some(&nothing())),
            answered.then_some(Denied),
        ),
        ("Pay", pay("c"), (state == Adjudicated).then_some(Paid)),
        (
            "Refund",
            back("Refund", &billing(), "c", 1),
            settled.then_some(Recovered),
        ),
        (
            "Recover",
            back("Recover", &fraud(), "c", 1),
            settled.then_some(Recovered),
        ),
    ]
}

#[test]
fn each_function_leads_from_the_listed_states_only() {
    for state in STATES {
        for (name, proposal, expected) in attempts(state) {
            let mut ledger = claim_in(state);
            if name == "Appeal" {
                ledger.advance(31 * DAY);
            }
            let response = ledger.submit(proposal);
            match expected {
                Some(next) => {
                    assert_eq!(
                        response.status, 200,
                        "{name} in {state:?}: {}",
                        response.message
                    );
                    assert_eq!(state_of(&ledger, "c"), next.name(), "{name} in {state:?}");
                }
                None => {
                    let code = response.message.split(':').next().unwrap_or_default();
                    let expected = match (name, state) {
                        ("Pay", Paid | Recovered) => "ALREADY_PAID",
                        // The payer is asked first.
                        ("Appeal", Adjudicated | Denied) => "LEVEL",
                        _ => "BAD_STATE",
                    };
                    assert_eq!(
                        (response.status, code),
                        (409, expected),
                        "{name} in {state:?}"
                    );
                    assert_eq!(state_of(&ledger, "c"), state.name(), "{name} in {state:?}");
                }
            }
        }
    }
}

#[test]
fn a_charge_and_an_episode_move_between_the_listed_states_only() {
    let reverse = || {
        call(
            "ReverseCharge",
            &billing(),
            &json!({"epi": "e1", "seq": 1, "reason": "X"}),
        )
    };
    let doc = claim_doc(
        "n1",
        &[bills(1, "2026-11-02", "A0001", 1_250_000)],
        1_250_000,
    );
    let state = |ledger: &TestLedger| {
        ask(ledger, "TraceCost", &billing(), &json!({"epi": "e1"}))["charges"][0]["state"].clone()
    };
    // Posted.
    let mut ledger = charged();
    no(
        &mut ledger,
        post("e1", 1, &line("2026-11-04", "A0003", 100_000)),
        409,
        "DUPLICATE",
    );
    ok(&mut ledger, submit("c", "e1", &billing(), &doc));
    // Claimed.
    assert_eq!(state(&ledger), "Claimed");
    no(&mut ledger, reverse(), 409, "BAD_STATE");
    ok(&mut ledger, void("c"));
    assert_eq!(state(&ledger), "Posted");
    ok(&mut ledger, reverse());
    // Reversed.
    assert_eq!(state(&ledger), "Reversed");
    no(&mut ledger, reverse(), 409, "BAD_STATE");
    no(
        &mut ledger,
        submit("d", "e1", &billing(), &doc),
        409,
        "BAD_STATE",
    );
    no(
        &mut ledger,
        post("e1", 1, &line("2026-11-04", "A0003", 100_000)),
        409,
        "DUPLICATE",
    );
    // Closed.
    let second = claim_doc(
        "n2",
        &[bills(2, "2026-11-03", "A0002", 1_405_200)],
        1_405_200,
    );
    ok(&mut ledger, submit("e", "e1", &billing(), &second));
    ok(&mut ledger, adjudicate("e", &decision(&[[0, 0, 0]])));
    let close = || call("CloseEpisode", &billing(), &json!({"epi": "e1"}));
    ok(&mut ledger, close());
    for proposal in [
        close(),
        update("e1", &stay(SID, "2026-11-01")),
        cover("e1", "2026-01-01", "2026-12-31"),
        post("e1", 3, &line("2026-11-04", "A0003", 100_000)),
        reverse(),
        submit("f", "e1", &billing(), &second),
        contest("Dispute", &billing(), "e"),
        contest("Appeal", &billing(), "e"),
    ] {
        no(&mut ledger, proposal, 409, "BAD_STATE");
    }
}
