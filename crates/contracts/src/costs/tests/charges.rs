//! Charges: within the stay, once, not beside their package, at the price of the day.

use super::*;

#[test]
fn a_bill_for_somebody_who_is_dead_or_gone_is_refused_and_stays_as_evidence() {
    let mut ledger = charged();
    let mut left = stay(SID, "2026-11-01");
    left["end"] = json!("2026-11-05");
    left["death"] = json!("2026-11-05");
    ok(&mut ledger, update("e1", &left));
    for (seq, day, code) in [
        (3, "2026-11-06", "AFTER_DEATH"),
        (4, "2026-10-31", "OUTSIDE_STAY"),
    ] {
        let answer = ok(&mut ledger, post("e1", seq, &line(day, "A0003", 100_000)));
        assert_eq!(
            answer,
            json!({"id": format!("e1/{seq}"), "state": "Refused", "decision": "Refused", "code": code})
        );
    }
    // The discharge is corrected to a day before the second charge: the claim for it is rejected.
    left["end"] = json!("2026-11-02");
    left["death"] = json!("2026-11-02");
    ok(&mut ledger, update("e1", &left));
    let answer = ok(&mut ledger, submit("c1", "e1", &billing(), &both("c1")));
    assert_eq!(
        answer,
        json!({"id": "c1", "state": "Rejected", "decision": "Rejected", "code": "AFTER_DEATH"})
    );
    left.as_object_mut().unwrap().remove("death");
    ok(&mut ledger, update("e1", &left));
    assert_eq!(
        ok(&mut ledger, submit("c2", "e1", &billing(), &both("c1")))["code"],
        "OUTSIDE_STAY"
    );
    let trace = ask(&ledger, "TraceCost", &adjudicator(), &json!({"epi": "e1"}));
    let refused: Vec<_> = trace["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["code"].as_str().unwrap())
        .collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.contains(&"AFTER_DEATH") && refused.contains(&"OUTSIDE_STAY"));
    assert_eq!(
        (&trace["sums"]["unclaimed"], &trace["sums"]["submitted"]),
        (&json!(2_655_200), &json!(0))
    );
    assert!(
        ledger
            .events()
            .iter()
            .any(|(name, _)| name == "costs.ChargeRefused")
    );
}

#[test]
fn a_package_and_its_parts_are_not_both_charged_on_one_episode() {
    let mut ledger = charged();
    // A part is there.
    assert_eq!(
        ok(
            &mut ledger,
            post("e1", 3, &line("2026-11-04", "P0001", 2_000_000))
        )["code"],
        "UNBUNDLED"
    );
    ok(
        &mut ledger,
        call(
            "ReverseCharge",
            &billing(),
            &json!({"epi": "e1", "seq": 2, "reason": "PACKAGE"}),
        ),
    );
    assert_eq!(
        ok(
            &mut ledger,
            post("e1", 3, &line("2026-11-04", "P0001", 2_000_000))
        )["state"],
        "Posted"
    );
    // The package is there.
    assert_eq!(
        ok(
            &mut ledger,
            post("e1", 4, &line("2026-11-05", "A0003", 100_000))
        )["code"],
        "UNBUNDLED"
    );
    // On another episode of the same patient it is another matter.
    ok(
        &mut ledger,
        open("e2", &billing(), &stay(SID, "2026-11-01")),
    );
    assert_eq!(
        ok(
            &mut ledger,
            post("e2", 1, &line("2026-11-05", "A0003", 100_000))
        )["state"],
        "Posted"
    );
    // Without the package its parts may be charged again.
    ok(
        &mut ledger,
        call(
            "ReverseCharge",
            &billing(),
            &json!({"epi": "e1", "seq": 3, "reason": "NOT_DONE"}),
        ),
    );
    assert_eq!(
        ok(
            &mut ledger,
            post("e1", 4, &line("2026-11-05", "A0003", 100_000))
        )["state"],
        "Posted"
    );
}

#[test]
fn the_same_service_is_charged_twice_a_day_only_as_a_repetition() {
    let mut ledger = charged();
    let again = line("2026-11-02", "A0001", 1_250_000);
    assert_eq!(
        ok(&mut ledger, post("e1", 3, &again))["code"],
        "DOUBLE_CHARGE"
    );
    let mut repeated = again.clone();
    repeated["modifiers"] = json!(["76"]);
    assert_eq!(ok(&mut ledger, post("e1", 3, &repeated))["state"], "Posted");
    assert_eq!(
        ok(
            &mut ledger,
            post("e1", 4, &line("2026-11-04", "A0001", 1_250_000))
        )["state"],
        "Posted"
    );
}

#[test]
fn a_price_is_that_of_the_list_in_force_on_the_day() {
    let mut ledger = ready();
    let mut second = page();
    second["entries"][0]["price"] = json!(1_300_000);
    let args = json!({"version": "v2", "from": "2026-11-23", "currency": "USD", "pages": [page_hash(&second)]});
    ok(&mut ledger, call("PublishPrices", &billing(), &args));
    let args = json!({"payer": "InsurerMSP", "version": "v2", "page": 0});
    ok(
        &mut ledger,
        told("LoadPrices", &billing(), &args, "page", &second),
    );
    no(
        &mut ledger,
        post("e1", 1, &line("2026-11-22", "A0001", 1_300_000)),
        422,
        "PRICE",
    );
    no(
        &mut ledger,
        post("e1", 1, &line("2026-11-23", "A0001", 1_250_000)),
        422,
        "PRICE",
    );
    ok(
        &mut ledger,
        post("e1", 1, &line("2026-11-22", "A0001", 1_250_000)),
    );
    ok(
        &mut ledger,
        post("e1", 2, &line("2026-11-23", "A0001", 1_300_000)),
    );
    // A ceiling.
    ok(
        &mut ledger,
        post("e1", 3, &line("2026-11-20", "A0009", 1_999_999)),
    );
    no(
        &mut ledger,
        post("e1", 4, &line("2026-11-20", "A0009", 2_000_001)),
        422,
        "PRICE",
    );
    // Not on the list, on no such page, and before any list.
    no(
        &mut ledger,
        post("e1", 4, &line("2026-11-20", "Z0001", 1)),
        422,
        "PRICE",
    );
    let mut elsewhere = line("2026-11-20", "A0003", 100_000);
    elsewhere["page"] = json!(1);
    no(&mut ledger, post("e1", 4, &elsewhere), 422, "PRICE");
    no(
        &mut ledger,
        post("e1", 4, &line("2025-12-31", "A0003", 100_000)),
        422,
        "PRICE",
    );
}
