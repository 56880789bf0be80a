//! Events are sealed, and proved to be under the seal.

use proptest::prelude::*;

use super::*;
use crate::merkle;

#[test]
fn checkpoints_follow_one_another_and_are_recomputed() {
    let mut ledger = TestLedger::new();
    append(&mut ledger, &physician(), event("e-1"));
    ledger.advance(10);
    append(&mut ledger, &physician(), event("e-2"));
    ledger.advance(1000);
    let args = |from: i64, to: i64, root: &Value| json!({"from": from, "to": to, "root": root});
    let root = root_of(&ledger, 0, START + 100);
    let try_it = |ledger: &mut TestLedger, caller: &Caller, args: Value, status, code| {
        refused(
            &ledger.submit(call("Checkpoint", caller, args)),
            status,
            code,
        );
    };
    let to = START + 100;
    try_it(
        &mut ledger,
        &hospital_dpo(),
        args(0, to, &root),
        403,
        "WRONG_ORG",
    );
    try_it(&mut ledger, &auditor(), args(1, to, &root), 422, "GAP");
    try_it(&mut ledger, &auditor(), args(0, 0, &root), 422, "GAP");
    try_it(
        &mut ledger,
        &auditor(),
        args(0, START + 900, &root),
        422,
        "TOO_EARLY",
    );
    try_it(
        &mut ledger,
        &auditor(),
        args(0, to, &json!(hash(b"x"))),
        422,
        "ROOT_MISMATCH",
    );
    // A root without the second event.
    let partial = root_of(&ledger, 0, START + 10);
    try_it(
        &mut ledger,
        &auditor(),
        args(0, to, &partial),
        422,
        "ROOT_MISMATCH",
    );
    seal(&mut ledger, 0, to);
    try_it(&mut ledger, &auditor(), args(0, to, &root), 422, "GAP");
    // A time in which nothing happened is sealed as well.
    seal(&mut ledger, to, to + 100);
    let one = ask(&ledger, "ReadCheckpoint", &physician(), json!({"n": 1}));
    assert_eq!(
        (&one["count"], &one["root"], &one["prev"]),
        (&json!(2), &root, &Value::Null)
    );
    let two = ask(&ledger, "ReadCheckpoint", &physician(), json!({}));
    assert_eq!(two["n"], 2);
    assert_eq!(two["root"], json!(hash(b"")));
    let key = crate::composite_key("check", &["0000000001"]).unwrap();
    let stored = ledger.state("privacy", &key).unwrap();
    assert_eq!(two["prev"], json!(hash(stored)));
    refused(
        &ledger.evaluate(call("ReadCheckpoint", &physician(), json!({"n": 3}))),
        404,
        "NOT_FOUND",
    );
    assert_eq!(
        TestLedger::new()
            .evaluate(call("ReadCheckpoint", &physician(), json!({})))
            .status,
        404
    );
}

#[test]
fn nothing_comes_under_a_closed_seal() {
    let mut ledger = TestLedger::new();
    ledger.advance(1000);
    seal(&mut ledger, 0, START + 500);
    let late = ledger.endorse_at(call("Append", &physician(), event("late")), START + 499);
    refused(&late.response, 409, "SEALED");
    // Endorsed before the seal, committed after it.
    let early = ledger.endorse_at(call("Append", &physician(), event("early")), START + 600);
    assert_eq!(early.response.status, 200);
    seal(&mut ledger, START + 500, START + 650);
    assert_eq!(ledger.commit(early), Validity::MvccReadConflict);
    // And the other way round: the seal was made without an event that is committed first.
    let root = root_of(&ledger, START + 650, START + 690);
    let args = json!({"from": START + 650, "to": START + 690, "root": root});
    let sealing = ledger.endorse(call("Checkpoint", &auditor(), args));
    let event = ledger.endorse_at(call("Append", &physician(), event("first")), START + 660);
    assert_eq!(ledger.commit(event), Validity::Valid);
    assert_eq!(ledger.commit(sealing), Validity::PhantomReadConflict);
}

#[test]
fn more_events_than_one_seal_takes_need_an_earlier_one() {
    let mut ledger = TestLedger::new();
    for n in 0..=10_000 {
        append(&mut ledger, &physician(), event(&format!("e-{n:05}")));
        if n == 5_000 {
            ledger.advance(10);
        }
    }
    ledger.advance(1000);
    let preview = |to: i64| {
        call(
            "PreviewCheckpoint",
            &auditor(),
            json!({"from": 0, "to": to}),
        )
    };
    refused(
        &ledger.evaluate(preview(START + 100)),
        422,
        "TOO_MANY_EVENTS",
    );
    let args = json!({"from": 0, "to": START + 100, "root": hash(b"")});
    refused(
        &ledger.submit(call("Checkpoint", &auditor(), args)),
        422,
        "TOO_MANY_EVENTS",
    );
    seal(&mut ledger, 0, START + 10);
    seal(&mut ledger, START + 10, START + 100);
}

#[test]
fn an_event_is_proved_without_the_ledger() {
    let mut ledger = TestLedger::new();
    for n in 0..7 {
        append(&mut ledger, &physician(), event(&format!("e-{n}")));
        ledger.advance(50);
    }
    ledger.advance(1000);
    let prove = |id: &str, caller: &Caller| call("ProveEvent", caller, json!({"id": id}));
    refused(
        &ledger.evaluate(prove("e-3", &patient(SID))),
        409,
        "NOT_SEALED",
    );
    seal(&mut ledger, 0, START + 120);
    seal(&mut ledger, START + 120, START + 400);
    for n in 0..7 {
        let id = format!("e-{n}");
        let proof = body(&ledger.evaluate(prove(&id, &patient(SID))));
        assert_eq!(proof["checkpoint"], if n < 3 { 1 } else { 2 });
        let hash_of = |value: &Value| -> merkle::Hash {
            hex::decode(value.as_str().unwrap())
                .unwrap()
                .try_into()
                .unwrap()
        };
        let path: Vec<_> = proof["path"]
            .as_array()
            .unwrap()
            .iter()
            .map(hash_of)
            .collect();
        let entry = proof["entry"].as_str().unwrap();
        let holds = |entry: &str| {
            merkle::verify(
                &merkle::leaf_hash(entry.as_bytes()),
                proof["index"].as_u64().unwrap(),
                proof["size"].as_u64().unwrap(),
                &path,
                &hash_of(&proof["root"]),
            )
        };
        assert!(holds(entry), "{id}");
        assert!(!holds(&entry.replace("TREAT", "HPAYMT")));
        let key = format!("\0ev\0{id}\0");
        assert_eq!(ledger.state("privacy", &key).unwrap(), entry);
    }
    refused(
        &ledger.evaluate(prove("e-1", &patient(OTHER_SID))),
        404,
        "NOT_FOUND",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is appended and sealed when: every event is under exactly one seal and is proved
    /// there, or under none and not.
    #[test]
    fn every_event_is_under_one_seal(steps in proptest::collection::vec((0i64..400, 0u8..4), 1..30)) {
        let mut ledger = TestLedger::new();
        let mut events = Vec::new();
        let mut sealed = 0;
        for (n, (wait, what)) in steps.into_iter().enumerate() {
            ledger.advance(wait);
            if what == 0 {
                let to = ledger.now() - 300;
                if to > sealed {
                    seal(&mut ledger, sealed, to);
                    sealed = to;
                }
            } else {
                let id = format!("e-{n}");
                append(&mut ledger, &physician(), event(&id));
                events.push((id, ledger.now()));
            }
        }
        let mut counted = 0;
        let mut checkpoints = 0;
        for n in 1.. {
            let read = ledger.evaluate(call("ReadCheckpoint", &auditor(), json!({"n": n})));
            if read.status != 200 { break; }
            counted += body(&read)["count"].as_u64().unwrap();
            checkpoints += 1;
        }
        let under = events.iter().filter(|(_, at)| *at < sealed).count();
        prop_assert_eq!(counted, under as u64, "{} checkpoints", checkpoints);
        for (id, at) in events {
            let proof = ledger.evaluate(call("ProveEvent", &auditor(), json!({"id": id})));
            prop_assert_eq!(proof.status, if at < sealed { 200 } else { 409 });
        }
    }
}
