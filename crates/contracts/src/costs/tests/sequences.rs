//! Random sequences of calls: whatever is called, states follow the table and sums agree.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::transitions::STATES;
use super::*;
use crate::costs::model::{CHARGE_TRANSITIONS, ChargeState, FIRST, Step, TRANSITIONS};

/// The charges that random sequences are about.
const CHARGES: [(u32, &str, &str, i64); 6] = [
    (1, "2026-11-02", "A0001", 1_250_000),
    (2, "2026-11-03", "A0002", 1_405_200),
    (3, "2026-11-04", "A0003", 100_000),
    (4, "2026-11-05", "P0001", 2_000_000),
    (5, "2026-11-06", "A0001", 1_250_000),
    (6, "2026-11-07", "A0009", 777_777),
];

/// A claim for some of these charges: as a rule for those that are free, under a number of its own
/// and with a total that fits.
fn some(trace: &Value, n: usize, how: usize) -> Value {
    let is_free = |seq: u32| {
        let all = trace["charges"].as_array().unwrap();
        all.iter()
            .any(|one| one["seq"] == seq && one["state"] == "Posted")
    };
    let any = how == 13;
    let chosen: Vec<_> = CHARGES
        .iter()
        .filter(|(seq, ..)| (any || is_free(*seq)) && !((n + how) as u32).is_multiple_of(seq + 1))
        .collect();
    let total: i64 = chosen.iter().map(|(.., net)| net).sum();
    let lines: Vec<_> = chosen
        .iter()
        .map(|(seq, day, code, net)| bills(*seq, day, code, *net))
        .collect();
    let control = if how == 11 { 0 } else { n };
    claim_doc(&format!("n{control}"), &lines, total + i64::from(how == 12))
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

/// [`charged`], and another episode of the patient with a claim for what is charge 3 here.
fn beside_another() -> TestLedger {
    let mut ledger = charged();
    ok(
        &mut ledger,
        open("e2", &billing(), &stay(SID, "2026-11-01")),
    );
    ok(&mut ledger, cover("e2", "2026-01-01", "2026-12-31"));
    let (_, day, code, net) = CHARGES[2];
    ok(&mut ledger, post("e2", 1, &line(day, code, net)));
    let doc = claim_doc("first", &[bills(1, day, code, net)], net);
    ok(&mut ledger, submit("first", "e2", &billing(), &doc));
    ledger
}

/// Which claim a step is about: as a rule the newest that it may happen to.
fn target(trace: &Value, step: usize, any: bool) -> String {
    let step = match step {
        6 => Some(Step::Replace),
        7 => Some(Step::Void),
        8 | 9 => Some(Step::Allow),
        10 => Some(Step::AgreeDrg),
        11 => Some(Step::Dispute),
        12 | 17 => Some(Step::Appeal),
        13 => Some(Step::ResolveAllow),
        14 => Some(Step::Pay),
        15 | 16 => Some(Step::Return),
        _ => None,
    };
    let fits = |claim: &&Value| {
        any || TRANSITIONS
            .iter()
            .any(|(of, from, _)| Some(*of) == step && claim["state"] == from.name())
    };
    let claims = trace["claims"].as_array().unwrap();
    let found = claims.iter().rev().find(fits);
    found.map_or("none".to_owned(), |claim| {
        claim["id"].as_str().unwrap().to_owned()
    })
}

/// The `n`th call of a sequence.
fn proposal(trace: &Value, n: usize, (step, any, how): (usize, bool, usize)) -> Proposal {
    let id = target(trace, step, any);
    let new = format!("c{n:02}");
    let (seq, day, code, price) = CHARGES[how % CHARGES.len()];
    match step {
        0 | 1 => post("e1", seq, &line(day, code, price)),
        2 => {
            let args = json!({"epi": "e1", "seq": seq, "reason": "X"});
            call("ReverseCharge", &billing(), &args)
        }
        3..=5 => submit(&new, "e1", &billing(), &some(trace, n, how)),
        6 => replace(&new, &id, &billing(), &some(trace, n, how)),
        7 => void(&id),
        8 | 9 => adjudicate(&id, &share(trace, &id, how)),
        10 => {
            let side = [billing(), adjudicator()][how % 2].clone();
            drg(&id, &side, ["293", "292"][how % 3 / 2], 10_000, 1_250_000)
        }
        11 => contest("Dispute", &billing(), &id),
        12 | 17 => contest("Appeal", &patient(SID), &id),
        13 => {
            let who = [adjudicator(), inspector()][how % 2].clone();
            resolve(&who, &id, Some(&share(trace, &id, how / 2)))
        }
        14 => pay(&id),
        15 => back("Refund", &billing(), &id, [1, 400_000, 1_250_000][how % 3]),
        _ => back("Recover", &fraud(), &id, [1, 400_000, 1_250_000][how % 3]),
    }
}

/// The same sequences on every run, so that what they reach can be told.
#[test]
fn no_sequence_of_calls_loses_money_or_reaches_a_forbidden_state() {
    let config = ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let any = proptest::bool::weighted(0.2);
    let sequences = proptest::collection::vec((0usize..18, any, 0usize..15), 20..60);
    let seen = RefCell::new(BTreeSet::new());
    let run = |steps: Vec<(usize, bool, usize)>| {
        let mut ledger = beside_another();
        let episode = json!({"epi": "e1"});
        let mut before = ask(&ledger, "TraceCost", &inspector(), &episode);
        for (n, step) in steps.into_iter().enumerate() {
            if step.0 == 17 {
                ledger.advance(20 * DAY);
            }
            let height = ledger.height();
            let response = ledger.submit(proposal(&before, n, step));
            prop_assert!(response.status < 500, "{}", response.message);
            prop_assert_eq!(ledger.height() > height, response.status == 200);
            let after = ask(&ledger, "TraceCost", &inspector(), &episode);
            if response.status == 200 {
                check(&ledger, &before, &after)?;
                let now = states(&after, "claims", "id");
                seen.borrow_mut().extend(now.into_values());
            } else {
                prop_assert_eq!(&before, &after);
            }
            before = after;
        }
        Ok(())
    };
    let outcome = TestRunner::new_with_rng(config, random).run(&sequences, run);
    assert!(outcome.is_ok(), "{outcome:?}");
    let all: BTreeSet<_> = STATES.iter().map(|state| state.name().to_owned()).collect();
    assert_eq!(seen.into_inner(), all);
}
