//! Episodes, charges and claims that cannot be.

use super::*;

#[test]
fn an_episode_needs_a_stay_that_can_be() {
    let mut ledger = ready();
    let good = stay(SID, "2026-11-01");
    let opened =
        |change: &dyn Fn(&mut Value)| bad(&|stay| open("e2", &billing(), stay), &good, change);
    for (proposal, status, code) in [
        (
            opened(&|stay| stay["end"] = json!("2026-10-31")),
            422,
            "DATE",
        ),
        (
            opened(&|stay| stay["death"] = json!("2026-10-31")),
            422,
            "DATE",
        ),
        (
            opened(&|stay| stay["start"] = json!("2026-11-24")),
            422,
            "DATE",
        ),
        (
            opened(&|stay| stay["end"] = json!("2026-11-24")),
            422,
            "DATE",
        ),
        (
            opened(&|stay| stay["start"] = json!("2026-13-01")),
            400,
            "MALFORMED",
        ),
        (
            opened(&|stay| stay["sidPay"] = json!("luna")),
            400,
            "MALFORMED",
        ),
        (
            opened(&|stay| stay["reference"] = json!("free text")),
            400,
            "MALFORMED",
        ),
        (
            opened(&|stay| stay["salt"] = json!("x".repeat(40))),
            400,
            "MALFORMED",
        ),
        (
            opened(&|stay| stay["name"] = json!("Luna")),
            400,
            "MALFORMED",
        ),
        (
            call(
                "OpenEpisode",
                &billing(),
                &json!({"epi": "e2", "payer": "InsurerMSP", "type": "inpatient", "currency": "USD"}),
            ),
            400,
            "MALFORMED",
        ),
        (
            call(
                "OpenEpisode",
                &billing(),
                &json!({"epi": "e2", "payer": "InsurerMSP", "type": "spa", "currency": "USD"}),
            ),
            400,
            "MALFORMED",
        ),
        (open("e1", &billing(), &good), 409, "DUPLICATE"),
        (open("e 1", &billing(), &good), 400, "MALFORMED"),
        (
            update("e1", &stay(OTHER, "2026-11-01")),
            422,
            "SUBJECT_CHANGED",
        ),
        (update("e9", &good), 404, "NOT_FOUND"),
        (cover("e1", "2026-02-01", "2026-01-01"), 422, "DATE"),
    ] {
        no(&mut ledger, proposal, status, code);
    }
    let mut bare = TestLedger::new();
    ok(&mut bare, open("e1", &billing(), &good));
    no(
        &mut bare,
        submit("c", "e1", &billing(), &both("n")),
        409,
        "NO_PEPPER",
    );
}

#[test]
fn a_charge_needs_amounts_evidence_and_a_day() {
    let mut ledger = charged();
    let good = line("2026-11-04", "A0003", 100_000);
    let posted = |change: &dyn Fn(&mut Value)| bad(&|line| post("e1", 3, line), &good, change);
    let currency =
        json!({"epi": "yen", "payer": "InsurerMSP", "type": "emergency", "currency": "JPY"});
    ok(
        &mut ledger,
        told(
            "OpenEpisode",
            &billing(),
            &currency,
            "stay",
            &stay(SID, "2026-11-01"),
        ),
    );
    for (proposal, status, code) in [
        (
            posted(&|line| line["amount"] = json!(99_999)),
            422,
            "AMOUNT",
        ),
        (posted(&|line| line["qty"] = json!(0)), 422, "AMOUNT"),
        (posted(&|line| line["qty"] = json!(-1)), 400, "MALFORMED"),
        (
            posted(&|line| (line["unitPrice"], line["amount"]) = (json!(-1), json!(-1))),
            422,
            "AMOUNT",
        ),
        (
            posted(&|line| (line["unitPrice"], line["qty"]) = (json!(i64::MAX), json!(2))),
            422,
            "OVERFLOW",
        ),
        (
            posted(&|line| line["amount"] = json!(10.0)),
            400,
            "MALFORMED",
        ),
        (
            posted(&|line| line["evidence"] = json!({})),
            422,
            "NO_EVIDENCE",
        ),
        (
            posted(&|line| line["evidence"] = json!({"record": "two words"})),
            400,
            "MALFORMED",
        ),
        (
            posted(&|line| line["evidence"] = json!({"unit": {"di": "", "serial": "1"}})),
            400,
            "MALFORMED",
        ),
        (
            posted(&|line| line["date"] = json!("2026-11-24")),
            422,
            "DATE",
        ),
        (
            posted(&|line| line["modifiers"] = json!(["1", "2", "3", "4", "5"])),
            400,
            "MALFORMED",
        ),
        (
            posted(&|line| line["priceVersion"] = json!("v1")),
            400,
            "MALFORMED",
        ),
        (
            posted(&|line| line["code"] = json!("A 1")),
            400,
            "MALFORMED",
        ),
        (post("e1", 0, &good), 400, "MALFORMED"),
        (post("e1", 10_000, &good), 400, "MALFORMED"),
        (post("e1", 1, &good), 409, "DUPLICATE"),
        (post("yen", 1, &good), 422, "CURRENCY"),
        (post("e9", 1, &good), 404, "NOT_FOUND"),
        (
            call(
                "ReverseCharge",
                &billing(),
                &json!({"epi": "e1", "seq": 7, "reason": "X"}),
            ),
            404,
            "NOT_FOUND",
        ),
        (
            call(
                "ReverseCharge",
                &billing(),
                &json!({"epi": "e1", "seq": 1, "reason": "a word"}),
            ),
            400,
            "MALFORMED",
        ),
    ] {
        no(&mut ledger, proposal, status, code);
    }
}

#[test]
fn a_claim_that_makes_no_sense_is_not_taken_in() {
    let mut ledger = charged();
    ok(&mut ledger, submit("c1", "e1", &billing(), &both("n1")));
    ok(&mut ledger, void("c1"));
    ok(&mut ledger, open("k1", &clinic(), &stay(SID, "2026-11-01")));
    let good = both("n2");
    let sent = |change: &dyn Fn(&mut Value)| {
        bad(&|doc| submit("c2", "e1", &billing(), doc), &good, change)
    };
    let clinical = |line: Value| submit("k", "k1", &clinic(), &claim_doc("n", &[line], 1));
    let mut device = foreign("2026-11-02", "D0001", 1);
    device["evidence"] = json!({"unit": {"di": "1", "serial": "1"}});
    let mut bare = foreign("2026-11-02", "D0001", 1);
    bare.as_object_mut().unwrap().remove("evidence");
    for (proposal, status, code) in [
        (
            sent(&|doc| doc["lines"][1]["net"] = json!(1_405_201)),
            422,
            "CHARGE_DIFFERS",
        ),
        (
            sent(&|doc| doc["lines"][1]["code"] = json!("A0003")),
            422,
            "CHARGE_DIFFERS",
        ),
        (
            sent(&|doc| doc["lines"][1]["date"] = json!("2026-11-04")),
            422,
            "CHARGE_DIFFERS",
        ),
        (
            sent(&|doc| doc["lines"][1]["modifiers"] = json!(["76"])),
            422,
            "CHARGE_DIFFERS",
        ),
        (
            sent(&|doc| doc["lines"][1]["charge"] = json!(9)),
            404,
            "NOT_FOUND",
        ),
        (
            sent(&|doc| doc["lines"][1] = foreign("2026-11-03", "A0002", 1_405_200)),
            422,
            "NO_CHARGE",
        ),
        (
            sent(&|doc| doc["lines"][0]["net"] = json!(-1)),
            422,
            "AMOUNT",
        ),
        (sent(&|doc| doc["total"] = json!(-1)), 422, "AMOUNT"),
        (sent(&|doc| doc["total"] = json!("26.55")), 400, "MALFORMED"),
        (
            sent(&|doc| {
                (doc["lines"][0]["net"], doc["lines"][1]["net"]) = (json!(i64::MAX), json!(1))
            }),
            422,
            "OVERFLOW",
        ),
        (
            sent(&|doc| doc["lines"][0]["date"] = json!("2026-12-24")),
            422,
            "DATE",
        ),
        (
            sent(&|doc| {
                doc["lines"][1].as_object_mut().unwrap().remove("net");
            }),
            400,
            "MALFORMED",
        ),
        (sent(&|doc| doc["lines"] = json!([])), 400, "MALFORMED"),
        (
            sent(&|doc| doc["lines"] = json!(vec![doc["lines"][0].clone(); 501])),
            400,
            "MALFORMED",
        ),
        (
            sent(&|doc| doc["diagnoses"] = json!(vec![json!({"system": "S", "code": "1"}); 26])),
            400,
            "MALFORMED",
        ),
        (
            sent(&|doc| doc["diagnoses"] = json!([{"system": "a b", "code": "1"}])),
            400,
            "MALFORMED",
        ),
        (sent(&|doc| doc["control"] = json!("")), 400, "MALFORMED"),
        (sent(&|doc| doc["salt"] = json!("")), 400, "MALFORMED"),
        (clinical(bare), 422, "NO_EVIDENCE"),
        (clinical(device), 422, "NO_CHARGE"),
        (submit("c1", "e1", &billing(), &good), 409, "DUPLICATE"),
        (submit("c 2", "e1", &billing(), &good), 400, "MALFORMED"),
        (submit("c2", "e9", &billing(), &good), 404, "NOT_FOUND"),
        (void("c9"), 404, "NOT_FOUND"),
        (
            call("SubmitClaim", &billing(), &json!({"id": "c2", "epi": "e1"})),
            400,
            "MALFORMED",
        ),
    ] {
        no(&mut ledger, proposal, status, code);
    }
}
