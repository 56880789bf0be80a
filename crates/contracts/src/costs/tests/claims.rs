//! Claims that come in: totals, codes, control numbers, duplicates, devices.

use super::*;
use crate::costs::CodeList;

/// A covered episode of the clinic, which has no price list.
fn at_clinic(ledger: &mut TestLedger, epi: &str, sid: &str) {
    ok(ledger, open(epi, &clinic(), &stay(sid, "2018-04-01")));
    ok(ledger, cover(epi, "2018-01-01", "2026-12-31"));
}

fn codes_of(ledger: &TestLedger, id: &str) -> Value {
    ask(ledger, "ReadClaim", &clinic(), &json!({"id": id}))["codes"].clone()
}

#[test]
fn a_total_is_the_sum_and_only_an_unpriced_first_line_carries_the_rest() {
    let mut ledger = ready();
    at_clinic(&mut ledger, "k1", SID);
    let unpriced = |day: &str| {
        let mut line = foreign(day, "A0001", 0);
        line.as_object_mut().unwrap().remove("net");
        line
    };
    let cases = [
        (
            vec![unpriced("2018-04-02"), foreign("2018-04-03", "A0002", 100)],
            150,
            "Submitted",
        ),
        (
            vec![unpriced("2018-05-02"), foreign("2018-05-03", "A0002", 100)],
            100,
            "Submitted",
        ),
        (
            vec![unpriced("2018-06-02"), foreign("2018-06-03", "A0002", 100)],
            99,
            "Rejected",
        ),
        (vec![foreign("2018-07-02", "A0002", 100)], 101, "Rejected"),
        (vec![foreign("2018-08-02", "A0002", 100)], 99, "Rejected"),
        (vec![foreign("2018-09-02", "A0002", 0)], 0, "Submitted"),
    ];
    for (n, (lines, total, state)) in cases.into_iter().enumerate() {
        let id = format!("c{n}");
        let answer = ok(
            &mut ledger,
            submit(&id, "k1", &clinic(), &claim_doc(&id, &lines, total)),
        );
        assert_eq!(answer["state"], state, "{lines:?}");
        if state == "Rejected" {
            assert_eq!(
                (&answer["decision"], &answer["code"]),
                (&json!("Rejected"), &json!("TOTAL"))
            );
        }
    }
    let sums = sums(&ledger, "k1");
    assert_eq!(
        (&sums["submitted"], &sums["uncharged"], &sums["residue"]),
        (&json!(250), &json!(250), &json!([0, 0, 0, 0]))
    );
}

#[test]
fn a_control_number_is_used_once_and_a_replacement_takes_its_place() {
    let mut ledger = ready();
    at_clinic(&mut ledger, "k1", SID);
    at_clinic(&mut ledger, "k2", OTHER);
    let first = claim_doc(
        "4742333269",
        &[foreign("2018-04-02", "H0003", 2_970_000)],
        2_970_000,
    );
    assert_eq!(
        ok(&mut ledger, submit("a", "k1", &clinic(), &first))["state"],
        "Submitted"
    );
    let other = claim_doc(
        "4742333269",
        &[foreign("2018-04-09", "H0003", 1_570_000)],
        1_570_000,
    );
    let answer = ok(&mut ledger, submit("b", "k1", &clinic(), &other));
    assert_eq!(
        answer,
        json!({"id": "b", "state": "Rejected", "decision": "Rejected", "code": "DUPLICATE"})
    );
    assert_eq!(
        ok(&mut ledger, submit("c", "k2", &clinic(), &other))["code"],
        "DUPLICATE"
    );
    assert_eq!(
        codes_of(&ledger, "c"),
        json!(["DUPLICATE", "CONTROL_NUMBER_REUSED"])
    );
    // Another biller may have the same number.
    let mut elsewhere = other.clone();
    elsewhere["billing"] = json!("1234567893");
    assert_eq!(
        ok(&mut ledger, submit("d", "k2", &clinic(), &elsewhere))["state"],
        "Submitted"
    );
    // With frequency 7 it replaces the first.
    assert_eq!(
        ok(&mut ledger, replace("e", "a", &clinic(), &other)),
        json!({"id": "e", "state": "Submitted"})
    );
    assert_eq!(
        (
            state_of(&ledger, "a").as_str(),
            sums(&ledger, "k1")["submitted"].clone()
        ),
        ("Replaced", json!(1_570_000))
    );
    // A replacement that is itself rejected leaves the original alone.
    let short = claim_doc("4742333269", &[foreign("2018-04-09", "H0003", 2)], 1);
    assert_eq!(
        ok(&mut ledger, replace("f", "e", &clinic(), &short))["code"],
        "TOTAL"
    );
    assert_eq!(state_of(&ledger, "e"), "Submitted");
    no(
        &mut ledger,
        replace("g", "none", &clinic(), &other),
        422,
        "NO_ORIGINAL",
    );
    no(
        &mut ledger,
        replace("g", "a", &clinic(), &other),
        409,
        "BAD_STATE",
    );
}

#[test]
fn the_same_service_under_another_number_waits_for_a_look() {
    let mut ledger = ready();
    at_clinic(&mut ledger, "k1", SID);
    // Two days of one service are two services.
    let two = claim_doc(
        "n1",
        &[
            foreign("2018-04-28", "H0003", 200_000),
            foreign("2018-04-27", "H0003", 200_000),
        ],
        400_000,
    );
    assert_eq!(
        ok(&mut ledger, submit("a", "k1", &clinic(), &two))["state"],
        "Submitted"
    );
    let again = claim_doc("n2", &[foreign("2018-04-27", "H0003", 200_000)], 200_000);
    let answer = ok(&mut ledger, submit("b", "k1", &clinic(), &again));
    assert_eq!(
        answer,
        json!({"id": "b", "state": "Pended", "decision": "Pended", "code": "SUSPECT_DUPLICATE"})
    );
    let mut line = foreign("2018-04-27", "H0003", 200_000);
    line["modifiers"] = json!(["77"]);
    assert_eq!(
        ok(
            &mut ledger,
            submit("c", "k1", &clinic(), &claim_doc("n3", &[line], 200_000))
        )["state"],
        "Submitted"
    );
    // Twice on one claim as well, and in another episode of the patient.
    let twice = foreign("2018-05-01", "H0003", 1);
    let doc = claim_doc("n4", &[twice.clone(), twice], 2);
    assert_eq!(
        ok(&mut ledger, submit("d", "k1", &clinic(), &doc))["code"],
        "SUSPECT_DUPLICATE"
    );
    at_clinic(&mut ledger, "k3", SID);
    let doc = claim_doc("n5", &[foreign("2018-04-28", "H0003", 200_000)], 200_000);
    assert_eq!(
        ok(&mut ledger, submit("e", "k3", &clinic(), &doc))["code"],
        "SUSPECT_DUPLICATE"
    );
    // Of another patient it is none.
    at_clinic(&mut ledger, "k2", OTHER);
    let doc = claim_doc("n6", &[foreign("2018-04-28", "H0003", 200_000)], 200_000);
    assert_eq!(
        ok(&mut ledger, submit("f", "k2", &clinic(), &doc))["state"],
        "Submitted"
    );
    // The payer looks and decides.
    assert_eq!(
        ok(&mut ledger, adjudicate("b", &decision(&[[0, 0, 0]])))["state"],
        "Denied"
    );
}

#[test]
fn a_charge_is_billed_on_one_live_claim() {
    let mut ledger = charged();
    ok(&mut ledger, submit("a", "e1", &billing(), &both("n1")));
    let answer = ok(&mut ledger, submit("b", "e1", &billing(), &both("n2")));
    assert_eq!(
        (&answer["state"], &answer["code"]),
        (&json!("Rejected"), &json!("DOUBLE_BILLED"))
    );
    no(
        &mut ledger,
        call(
            "ReverseCharge",
            &billing(),
            &json!({"epi": "e1", "seq": 1, "reason": "X"}),
        ),
        409,
        "BAD_STATE",
    );
    // Voided, its number and charges are free again; replaced, they go over.
    assert_eq!(ok(&mut ledger, void("a"))["state"], "Voided");
    assert_eq!(
        ok(&mut ledger, submit("c", "e1", &billing(), &both("n1"))),
        json!({"id": "c", "state": "Submitted"})
    );
    let one = claim_doc(
        "n1",
        &[bills(2, "2026-11-03", "A0002", 1_405_200)],
        1_405_200,
    );
    assert_eq!(
        ok(&mut ledger, replace("d", "c", &billing(), &one)),
        json!({"id": "d", "state": "Submitted"})
    );
    let trace = ask(&ledger, "TraceCost", &billing(), &json!({"epi": "e1"}));
    let charges: Vec<_> = (0..2)
        .map(|n| {
            (
                trace["charges"][n]["state"].clone(),
                trace["charges"][n]["claim"].clone(),
            )
        })
        .collect();
    assert_eq!(
        charges,
        [
            (json!("Posted"), Value::Null),
            (json!("Claimed"), json!("d"))
        ]
    );
    ok(
        &mut ledger,
        call(
            "ReverseCharge",
            &billing(),
            &json!({"epi": "e1", "seq": 1, "reason": "X"}),
        ),
    );
    no(
        &mut ledger,
        submit("f", "e1", &billing(), &both("n3")),
        409,
        "BAD_STATE",
    );
    let twice = bills(2, "2026-11-03", "A0002", 1_405_200);
    let doc = claim_doc("n4", &[twice.clone(), twice], 2_810_400);
    ok(&mut ledger, void("d"));
    assert_eq!(
        ok(&mut ledger, submit("g", "e1", &billing(), &doc))["code"],
        "DOUBLE_BILLED"
    );
}

#[test]
fn a_code_is_known_when_the_published_list_has_it() {
    let mut ledger = ready();
    at_clinic(&mut ledger, "k1", SID);
    let diagnosed = |control: &str, day: &str, code: &str, proof: Option<Value>| {
        let mut doc = claim_doc(control, &[foreign(day, "H0003", 1)], 1);
        doc["diagnoses"] = json!([{"system": "ICD-10-CM", "code": code}]);
        if let Some(proof) = proof {
            doc["diagnoses"][0]["proof"] = proof;
        }
        doc
    };
    // Without a list syntax alone decides, and says so in the documentation.
    assert_eq!(
        ok(
            &mut ledger,
            submit(
                "a",
                "k1",
                &clinic(),
                &diagnosed("n1", "2018-04-02", "I109", None)
            )
        )["state"],
        "Submitted"
    );
    assert_eq!(
        ok(
            &mut ledger,
            submit(
                "b",
                "k1",
                &clinic(),
                &diagnosed("n2", "2018-04-03", "1I0", None)
            )
        )["code"],
        "CODE"
    );
    let list = CodeList::new(["I10", "I11.0", "I11.9", "I50.20", "E11.65"]);
    let args = json!({"system": "ICD-10-CM", "version": "2019", "from": "2018-10-01", "root": list.root(), "count": list.count()});
    ok(&mut ledger, call("PublishCodes", &certifier(), &args));
    let proof = |code: &str| Some(serde_json::to_value(list.prove(code).unwrap()).unwrap());
    for (n, (code, proof, state)) in [
        ("I10", proof("I10"), "Submitted"),
        ("E1165", proof("E11.65"), "Submitted"),
        ("I109", proof("I10"), "Rejected"),
        ("I109", None, "Rejected"),
        ("I10", None, "Rejected"),
    ]
    .into_iter()
    .enumerate()
    {
        let doc = diagnosed(
            &format!("m{n}"),
            &format!("2018-11-{:02}", n + 1),
            code,
            proof,
        );
        let answer = ok(&mut ledger, submit(&format!("d{n}"), "k1", &clinic(), &doc));
        assert_eq!(answer["state"], state, "{code}");
        if state == "Rejected" {
            assert_eq!(answer["code"], "CODE");
        }
    }
    // A line's code that is none.
    let doc = claim_doc("n9", &[foreign("2018-04-04", "H003", 1)], 1);
    assert_eq!(
        ok(&mut ledger, submit("z", "k1", &clinic(), &doc))["code"],
        "CODE"
    );
}

#[test]
fn who_is_not_covered_on_the_day_is_not_paid_for() {
    let mut ledger = ready();
    ok(&mut ledger, open("k1", &clinic(), &stay(SID, "2018-04-01")));
    let doc = claim_doc("n1", &[foreign("2018-04-02", "H0003", 1)], 1);
    assert_eq!(
        ok(&mut ledger, submit("a", "k1", &clinic(), &doc))["code"],
        "COVERAGE"
    );
    ok(&mut ledger, cover("k1", "2018-04-03", "2018-12-31"));
    assert_eq!(
        ok(&mut ledger, submit("b", "k1", &clinic(), &doc))["code"],
        "COVERAGE"
    );
    ok(&mut ledger, cover("k1", "2018-04-02", "2018-12-31"));
    assert_eq!(
        ok(&mut ledger, submit("c", "k1", &clinic(), &doc))["state"],
        "Submitted"
    );
}

#[test]
fn a_replacement_is_not_a_way_around_the_answers_to_a_dispute() {
    let mut ledger = charged();
    let full = decision(&[[1_250_000, 1_250_000, 0], [1_405_200, 0, 1_405_200]]);
    ok(&mut ledger, submit("a", "e1", &billing(), &both("n1")));
    ok(&mut ledger, adjudicate("a", &full));
    ok(&mut ledger, contest("Dispute", &billing(), "a"));
    ok(&mut ledger, resolve(&adjudicator(), "a", None));
    ok(&mut ledger, replace("b", "a", &billing(), &both("n1")));
    ok(&mut ledger, adjudicate("b", &full));
    no(
        &mut ledger,
        contest("Dispute", &billing(), "b"),
        409,
        "LEVEL",
    );
    ok(&mut ledger, contest("Appeal", &billing(), "b"));
    ok(&mut ledger, resolve(&inspector(), "b", None));
    ok(&mut ledger, replace("c", "b", &billing(), &both("n1")));
    ok(&mut ledger, adjudicate("c", &full));
    no(
        &mut ledger,
        contest("Appeal", &billing(), "c"),
        409,
        "FINAL",
    );
    ok(&mut ledger, pay("c"));
}
