//! The stories of the costs contract: hospital, insurer, regulator and patient.

use super::*;

#[test]
fn a_claim_is_traced_from_order_to_payment_and_all_sums_agree() {
    // The claim cc612cca of the sample patient Luna: 687.08 = 125.00 + 4 × 140.52, paid 449.6640.
    let mut ledger = ready();
    ok(
        &mut ledger,
        post("e1", 1, &line("2026-11-02", "A0001", 1_250_000)),
    );
    let mut four = line("2026-11-03", "A0002", 1_405_200);
    four["qty"] = json!(4);
    four["amount"] = json!(5_620_800);
    ok(&mut ledger, post("e1", 2, &four));
    assert_eq!(sums(&ledger, "e1")["unclaimed"], 6_870_800);
    let mut base = bills(1, "2026-11-02", "A0001", 0);
    base.as_object_mut().unwrap().remove("net");
    let doc = claim_doc(
        "c1",
        &[base, bills(2, "2026-11-03", "A0002", 5_620_800)],
        6_870_800,
    );
    let answer = ok(&mut ledger, submit("cc612cca", "e1", &billing(), &doc));
    assert_eq!(answer, json!({"id": "cc612cca", "state": "Submitted"}));
    let open = sums(&ledger, "e1");
    assert_eq!(
        (&open["pending"], &open["hospital"]["open"]),
        (&json!(6_870_800), &json!(6_870_800))
    );
    let answer = ok(
        &mut ledger,
        adjudicate(
            "cc612cca",
            &decision(&[[1_250_000, 0, 1_250_000], [5_620_800, 4_496_640, 1_124_160]]),
        ),
    );
    assert_eq!(answer, json!({"id": "cc612cca", "state": "Adjudicated"}));
    ok(&mut ledger, pay("cc612cca"));
    ok(&mut ledger, back("Refund", &billing(), "cc612cca", 96_640));
    ok(&mut ledger, back("Recover", &fraud(), "cc612cca", 400_000));
    ok(
        &mut ledger,
        call("CloseEpisode", &billing(), &json!({"epi": "e1"})),
    );

    let trace = ask(&ledger, "TraceCost", &billing(), &json!({"epi": "e1"}));
    assert_eq!(
        trace["sums"],
        json!({
            "charged": 6_870_800, "uncharged": 0, "unclaimed": 0, "submitted": 6_870_800, "pending": 0,
            "allowed": 6_870_800, "disallowed": 0,
            "hospital": {"billed": 6_870_800, "received": 4_000_000, "dueFromInsurer": 0,
                "dueFromPatient": 2_374_160, "writtenOff": 496_640, "open": 0},
            "insurer": {"owed": 4_496_640, "paid": 4_496_640, "toPay": 0, "returned": 496_640, "net": 4_000_000},
            "patient": {"share": 2_374_160},
            "residue": [0, 0, 0, 0],
        })
    );
    assert_eq!(
        trace["charges"][1]["line"]["evidence"],
        json!({"record": "rec-1", "order": "ord-1"})
    );
    assert_eq!(trace["charges"][1]["line"]["priceVersion"], "v1");
    assert_eq!(trace["charges"][1]["claim"], "cc612cca");
    let states = |of: &Value| -> Vec<String> {
        of["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| {
                assert_eq!(h["txId"].as_str().unwrap().len(), 64);
                h["state"].as_str().unwrap().to_owned()
            })
            .collect()
    };
    assert_eq!(states(&trace["charges"][1]), ["Posted", "Claimed"]);
    assert_eq!(
        states(&trace["claims"][0]),
        ["Submitted", "Adjudicated", "Paid", "Recovered", "Recovered"]
    );
    assert_eq!(trace["claims"][0]["remitRef"], "EFT-1");
    assert_eq!(trace["claims"][0]["returns"][0]["by"], "Refund");
    // Payer, regulator and the patient see the same; others do not see it.
    for caller in [adjudicator(), inspector(), patient(SID)] {
        assert_eq!(
            ask(&ledger, "TraceCost", &caller, &json!({"epi": "e1"})),
            trace
        );
    }
    for (caller, code) in [
        (clinic(), "NOT_PARTY"),
        (patient(OTHER), "NOT_PATIENT"),
        (with("HospitalMSP", "waste"), "WRONG_ROLE"),
        (with("MakerMSP", "patient"), "WRONG_ORG"),
    ] {
        no(
            &mut ledger,
            call("TraceCost", &caller, &json!({"epi": "e1"})),
            403,
            code,
        );
    }
    let names: Vec<_> = ledger
        .events()
        .iter()
        .map(|(name, _)| name.trim_start_matches("costs."))
        .collect();
    assert_eq!(
        names,
        [
            "PricesPublished",
            "PepperSet",
            "PepperSet",
            "PricesLoaded",
            "EpisodeOpened",
            "CoverageConfirmed",
            "ChargePosted",
            "ChargePosted",
            "ClaimSubmitted",
            "ClaimAdjudicated",
            "ClaimPaid",
            "ClaimRefunded",
            "ClaimRecovered",
            "EpisodeClosed",
        ]
    );
    ledger.hide_collection(COLLECTION, true);
    no(
        &mut ledger,
        call("TraceCost", &billing(), &json!({"epi": "e1"})),
        404,
        "PRIVATE_DATA_NOT_HERE",
    );
}

#[test]
fn no_amount_code_day_or_pseudonym_is_published() {
    let mut ledger = charged();
    ok(
        &mut ledger,
        submit("c1", "e1", &billing(), &both("4742333269")),
    );
    ok(&mut ledger, drg("c1", &billing(), "293", 6_734, 65_000_000));
    ok(
        &mut ledger,
        drg("c1", &adjudicator(), "292", 6_734, 65_000_000),
    );
    ok(
        &mut ledger,
        drg("c1", &adjudicator(), "293", 6_734, 65_000_000),
    );
    ok(
        &mut ledger,
        adjudicate(
            "c1",
            &decision(&[[1_250_000, 1_000_000, 250_000], [1_405_200, 1_405_200, 0]]),
        ),
    );
    ok(&mut ledger, pay("c1"));
    ok(&mut ledger, back("Recover", &fraud(), "c1", 123_456));
    ok(
        &mut ledger,
        post("e1", 3, &line("2026-10-30", "A0003", 100_000)),
    );
    let text = String::from_utf8_lossy(ledger.published()).into_owned();
    for secret in [
        SID,
        SALT,
        "A0001",
        "A0002",
        "A0003",
        "1250000",
        "1405200",
        "2655200",
        "2405200",
        "123456",
        "65000000",
        "6734",
        "2026-11-0",
        "2026-10-30",
        "4742333269",
        "1578387320",
        "rec-1",
        "ord-1",
        "checkin-1",
        "MS-DRG",
        "5a5a5a",
    ] {
        assert!(!text.contains(secret), "{secret} is published");
    }
    assert!(text.contains(COLLECTION) && text.contains("OUTSIDE_STAY"));
}

#[test]
fn a_dispute_goes_to_the_payer_and_an_appeal_to_the_regulator() {
    let mut ledger = charged();
    ok(&mut ledger, submit("c1", "e1", &billing(), &both("c1")));
    assert_eq!(
        ok(
            &mut ledger,
            adjudicate("c1", &decision(&[[0, 0, 0], [0, 0, 0]]))
        )["state"],
        "Denied"
    );
    no(
        &mut ledger,
        contest("Appeal", &billing(), "c1"),
        409,
        "LEVEL",
    );
    assert_eq!(
        ok(&mut ledger, contest("Dispute", &patient(SID), "c1"))["state"],
        "Disputed"
    );
    no(
        &mut ledger,
        call("CloseEpisode", &billing(), &json!({"epi": "e1"})),
        422,
        "OPEN_CLAIMS",
    );
    no(
        &mut ledger,
        contest("Appeal", &billing(), "c1"),
        409,
        "NOT_DUE",
    );
    no(
        &mut ledger,
        resolve(&inspector(), "c1", None),
        403,
        "WRONG_ORG",
    );
    let part = decision(&[[1_250_000, 1_250_000, 0], [0, 0, 0]]);
    assert_eq!(
        ok(&mut ledger, resolve(&adjudicator(), "c1", Some(&part)))["state"],
        "Adjudicated"
    );
    no(
        &mut ledger,
        contest("Dispute", &billing(), "c1"),
        409,
        "LEVEL",
    );
    assert_eq!(
        ok(&mut ledger, contest("Appeal", &billing(), "c1"))["state"],
        "Appealed"
    );
    no(
        &mut ledger,
        resolve(&adjudicator(), "c1", None),
        403,
        "WRONG_ORG",
    );
    no(&mut ledger, pay("c1"), 409, "BAD_STATE");
    let all = decision(&[[1_250_000, 1_250_000, 0], [1_405_200, 1_405_200, 0]]);
    assert_eq!(
        ok(&mut ledger, resolve(&inspector(), "c1", Some(&all)))["state"],
        "Adjudicated"
    );
    no(
        &mut ledger,
        contest("Appeal", &billing(), "c1"),
        409,
        "FINAL",
    );
    no(
        &mut ledger,
        contest("Dispute", &billing(), "c1"),
        409,
        "FINAL",
    );
    ok(&mut ledger, pay("c1"));
    assert_eq!(sums(&ledger, "e1")["insurer"]["paid"], 2_655_200);
    assert_eq!(sums(&ledger, "e1")["residue"], json!([0, 0, 0, 0]));
}

#[test]
fn a_payer_that_does_not_answer_is_listed_and_passed_over() {
    let mut ledger = charged();
    ok(&mut ledger, submit("c1", "e1", &billing(), &both("c1")));
    let due = |ledger: &TestLedger, more: Value| {
        let mut args = json!({"payer": "InsurerMSP"});
        args.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ask(ledger, "ListDue", &billing(), &args)["claims"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(due(&ledger, json!({})), 0);
    assert_eq!(due(&ledger, json!({"until": START + 30 * DAY})), 1);
    assert_eq!(
        due(
            &ledger,
            json!({"until": START + 30 * DAY, "bookmark": {"due": START + 30 * DAY, "id": "c1"}})
        ),
        0
    );
    assert_eq!(
        due(
            &ledger,
            json!({"until": 0, "bookmark": {"due": START, "id": "c1"}})
        ),
        0
    );
    ok(
        &mut ledger,
        adjudicate("c1", &decision(&[[0, 0, 0], [0, 0, 0]])),
    );
    ok(&mut ledger, contest("Dispute", &billing(), "c1"));
    ledger.advance(30 * DAY + 1);
    assert_eq!(due(&ledger, json!({})), 1);
    assert_eq!(
        ok(&mut ledger, contest("Appeal", &billing(), "c1"))["state"],
        "Appealed"
    );
    assert_eq!(due(&ledger, json!({})), 0);
    assert_eq!(
        ok(&mut ledger, resolve(&inspector(), "c1", None))["state"],
        "Denied"
    );
    assert_eq!(due(&ledger, json!({"until": i64::MAX})), 0);
    assert_eq!(
        ok(
            &mut ledger,
            call("CloseEpisode", &billing(), &json!({"epi": "e1"}))
        )["state"],
        "Closed"
    );
    let episode = ask(&ledger, "ReadEpisode", &clinic(), &json!({"epi": "e1"}));
    assert_eq!(
        (&episode["state"], &episode["claims"]),
        (&json!("Closed"), &json!(["c1"]))
    );
}

#[test]
fn a_package_is_paid_when_both_sides_find_the_same() {
    let mut ledger = charged();
    ok(&mut ledger, submit("c1", "e1", &billing(), &both("c1")));
    // 0.1234 × 1 500.0000 = 185.1000 of the 265.5200 submitted.
    assert_eq!(
        ok(&mut ledger, drg("c1", &billing(), "293", 1_234, 15_000_000)),
        json!({"id": "c1", "state": "Submitted"})
    );
    let full = decision(&[[1_250_000, 1_250_000, 0], [601_000, 601_000, 0]]);
    no(&mut ledger, adjudicate("c1", &full), 409, "DRG_OPEN");
    for (code, weight) in [("292", 1_234), ("293", 1_235)] {
        let answer = ok(
            &mut ledger,
            drg("c1", &adjudicator(), code, weight, 15_000_000),
        );
        assert_eq!(
            answer,
            json!({"id": "c1", "state": "Submitted", "decision": "Disagreed", "code": "DRG_DISAGREE"})
        );
    }
    no(&mut ledger, adjudicate("c1", &full), 409, "DRG_OPEN");
    assert_eq!(
        ok(
            &mut ledger,
            drg("c1", &adjudicator(), "293", 1_234, 15_000_000)
        ),
        json!({"id": "c1", "state": "Submitted"})
    );
    no(
        &mut ledger,
        drg("c1", &billing(), "292", 1_234, 15_000_000),
        409,
        "DRG_AGREED",
    );
    let low = decision(&[[1_250_000, 1_250_000, 0], [600_998, 600_998, 0]]);
    no(&mut ledger, adjudicate("c1", &low), 422, "DRG_PAYMENT");
    ok(&mut ledger, adjudicate("c1", &full));
    let trace = ask(&ledger, "TraceCost", &inspector(), &json!({"epi": "e1"}));
    assert_eq!(trace["claims"][0]["packages"][1]["drg"], "293");
    assert_eq!(trace["sums"]["disallowed"], 804_200);
}
