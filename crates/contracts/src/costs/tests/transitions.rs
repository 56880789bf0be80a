//! Every pair of state and function, and random sequences of calls.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::costs::model::{CHARGE_TRANSITIONS, ChargeState, ClaimState, FIRST, TRANSITIONS};

use ClaimState::{
    Adjudicated, Appealed, Denied, Disputed, Paid, Pended, Recovered, Rejected, Replaced,
    Submitted, Voided,
};

const STATES: [ClaimState; 11] = [
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

/// The charges that random sequences are about.
const CHARGES: [(u32, &str, &str, i64); 4] = [
    (1, "2026-11-02", "A0001", 1_250_000),
    (2, "2026-11-03", "A0002", 1_405_200),
    (3, "2026-11-04", "A0003", 100_000),
    (4, "2026-11-05", "P0001", 2_000_000),
];

/// A claim for some of them; sometimes with a total that does not fit.
fn some(control: usize, which: usize) -> Value {
    let chosen: Vec<_> = CHARGES
        .iter()
        .filter(|(seq, ..)| (which + 1) >> (seq - 1) & 1 == 1)
        .collect();
    let total: i64 = chosen.iter().map(|(.., net)| net).sum();
    let lines: Vec<_> = chosen
        .iter()
        .map(|(seq, day, code, net)| bills(*seq, day, code, *net))
        .collect();
    let wrong = i64::from(which == 12);
    claim_doc(&format!("n{control}"), &lines, total + wrong)
}

/// A decision on a claim as it stands: a share of each line, of which a part is paid.
fn share(trace: &Value, id: &str, which: usize) -> Value {
    let claim = trace["claims"]
        .as_array()
        .unwrap()
        .iter()
        .find(|claim| claim["id"] == id);
    let lines: Vec<[i64; 3]> = claim
        .and_then(|claim| claim["document"]["lines"].as_array())
        .map(|lines| {
            lines
                .iter()
                .map(|line| {
                    let allowed = line["net"].as_i64().unwrap() * [0, 1, 2, 3][which % 4] / 3;
                    let paid = allowed * [0, 7, 10][which % 3] / 10;
                    [allowed, paid, allowed - paid]
                })
                .collect()
        })
        .unwrap_or_default();
    decision(&lines)
}

type Seen = BTreeMap<String, String>;

fn states(trace: &Value, what: &str, id: &str) -> Seen {
    trace[what]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one[id].to_string(),
                one["state"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

fn check(ledger: &TestLedger, before: &Value, after: &Value) -> Result<(), TestCaseError> {
    // Sums.
    let sums = &after["sums"];
    let amount = |path: &str| sums.pointer(path).and_then(Value::as_i64).unwrap();
    prop_assert_eq!(&sums["residue"], &json!([0, 0, 0, 0]));
    prop_assert_eq!(
        amount("/submitted"),
        amount("/pending") + amount("/allowed") + amount("/disallowed")
    );
    prop_assert_eq!(
        amount("/allowed"),
        amount("/insurer/owed") + amount("/patient/share")
    );
    prop_assert_eq!(amount("/insurer/net"), amount("/hospital/received"));
    prop_assert!(
        amount("/insurer/returned") <= amount("/insurer/paid") && amount("/hospital/open") >= 0
    );
    // States.
    let was = states(before, "claims", "id");
    for (id, now) in states(after, "claims", "id") {
        let listed = match was.get(&id) {
            Some(then) => {
                *then == now
                    || TRANSITIONS
                        .iter()
                        .any(|(_, from, to)| from.name() == then && to.name() == now)
            }
            None => FIRST.iter().any(|state| state.name() == now),
        };
        prop_assert!(listed, "{} from {:?} to {}", id, was.get(&id), now);
    }
    let was = states(before, "charges", "seq");
    for (seq, now) in states(after, "charges", "seq") {
        let listed = match was.get(&seq) {
            // Void and replacement may let a charge go and take it again in one transaction.
            Some(then) => {
                *then == now
                    || CHARGE_TRANSITIONS
                        .iter()
                        .any(|(_, from, to)| from.name() == then && to.name() == now)
            }
            None => now == ChargeState::Posted.name(),
        };
        prop_assert!(listed, "charge {} from {:?} to {}", seq, was.get(&seq), now);
    }
    // Each charge is on one live claim at most, and says so.
    let mut on = BTreeMap::new();
    let mut paid = BTreeMap::new();
    for claim in after["claims"].as_array().unwrap() {
        if matches!(
            claim["state"].as_str(),
            Some("Rejected" | "Replaced" | "Voided")
        ) {
            continue;
        }
        for line in claim["document"]["lines"].as_array().unwrap() {
            prop_assert_eq!(
                on.insert(line["charge"].to_string(), claim["id"].clone()),
                None
            );
        }
        let steps = claim["history"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|change| change["state"] == "Paid")
            .count();
        prop_assert!(steps <= 1);
        paid.insert(claim["id"].to_string(), steps);
    }
    for charge in after["charges"].as_array().unwrap() {
        prop_assert_eq!(on.get(&charge["seq"].to_string()), charge.get("claim"));
    }
    let payments = ledger
        .events()
        .iter()
        .filter(|(name, _)| name == "costs.ClaimPaid")
        .count();
    prop_assert_eq!(payments, paid.values().sum::<usize>());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn no_sequence_of_calls_loses_money_or_reaches_a_forbidden_state(steps in proptest::collection::vec((0usize..18, 0usize..3, 0usize..15), 10..45)) {
        let mut ledger = charged();
        let episode = json!({"epi": "e1"});
        let mut before = ask(&ledger, "TraceCost", &inspector(), &episode);
        for (n, (step, which, how)) in steps.into_iter().enumerate() {
            let known: Vec<_> = before["claims"].as_array().unwrap().iter().map(|claim| claim["id"].as_str().unwrap().to_owned()).collect();
            // The newest claims are where something can happen.
            let id = known.iter().rev().nth(which).cloned().unwrap_or_else(|| "c0".to_owned());
            let (seq, day, code, price) = CHARGES[how % 4];
            let proposal = match step {
                0 | 1 => post("e1", seq, &line(day, code, price)),
                2 => call("ReverseCharge", &billing(), &json!({"epi": "e1", "seq": seq, "reason": "X"})),
                3..=5 => submit(&format!("c{n}"), "e1", &billing(), &some(which, how)),
                6 => replace(&format!("c{n}"), &id, &billing(), &some(which, how)),
                7 => void(&id),
                8 | 9 => adjudicate(&id, &share(&before, &id, how)),
                10 => drg(&id, &[billing(), adjudicator()][how % 2], ["293", "292"][how % 3 / 2], 10_000, 1_250_000),
                11 => contest("Dispute", &billing(), &id),
                12 => contest("Appeal", &patient(SID), &id),
                13 => resolve(&[adjudicator(), inspector()][how % 2], &id, Some(&share(&before, &id, how))),
                14 | 15 => pay(&id),
                16 => back(["Refund", "Recover"][how % 2], &[billing(), fraud()][how % 2], &id, [1, 400_000, 1_250_000][how % 3]),
                _ => {
                    ledger.advance(20 * DAY);
                    contest("Appeal", &billing(), &id)
                }
            };
            let height = ledger.height();
            let response = ledger.submit(proposal);
            prop_assert!(response.status < 500, "{}", response.message);
            prop_assert_eq!(ledger.height() > height, response.status == 200);
            let after = ask(&ledger, "TraceCost", &inspector(), &episode);
            if response.status == 200 {
                check(&ledger, &before, &after)?;
            } else {
                prop_assert_eq!(&before, &after);
            }
            before = after;
        }
    }
}
