//! Two transactions that were endorsed on the same state: the second does not count.

use super::*;

fn second_loses(ledger: &mut TestLedger, first: Proposal, second: Proposal) {
    let (first, second) = (ledger.endorse(first), ledger.endorse(second));
    for simulation in [&first, &second] {
        assert_eq!(
            simulation.response.status, 200,
            "{}",
            simulation.response.message
        );
    }
    assert_eq!(ledger.commit(first), Validity::Valid);
    assert_ne!(ledger.commit(second), Validity::Valid);
}

#[test]
fn a_claim_is_paid_by_one_of_two_cashiers() {
    let mut ledger = charged();
    ok(&mut ledger, submit("c1", "e1", &billing(), &both("n1")));
    ok(
        &mut ledger,
        adjudicate(
            "c1",
            &decision(&[[1_250_000, 1_250_000, 0], [1_405_200, 1_405_200, 0]]),
        ),
    );
    second_loses(&mut ledger, pay("c1"), pay("c1"));
    no(&mut ledger, pay("c1"), 409, "ALREADY_PAID");
    second_loses(
        &mut ledger,
        back("Recover", &fraud(), "c1", 2_655_200),
        back("Refund", &billing(), "c1", 1),
    );
    assert_eq!(sums(&ledger, "e1")["insurer"]["net"], 0);
}

#[test]
fn a_charge_and_a_control_number_go_to_one_of_two_claims() {
    let mut ledger = charged();
    let one = |control, seq, day, code, net| claim_doc(control, &[bills(seq, day, code, net)], net);
    let first = || one("n1", 1, "2026-11-02", "A0001", 1_250_000);
    second_loses(
        &mut ledger,
        submit("a", "e1", &billing(), &first()),
        submit(
            "b",
            "e1",
            &billing(),
            &one("n2", 1, "2026-11-02", "A0001", 1_250_000),
        ),
    );
    ok(&mut ledger, void("a"));
    second_loses(
        &mut ledger,
        submit("c", "e1", &billing(), &first()),
        submit(
            "d",
            "e1",
            &billing(),
            &one("n1", 2, "2026-11-03", "A0002", 1_405_200),
        ),
    );
    assert_eq!(
        ask(&ledger, "ReadEpisode", &billing(), &json!({"epi": "e1"}))["claims"],
        json!(["a", "c"])
    );
}

#[test]
fn a_package_and_a_part_or_a_discharge_and_a_charge_do_not_pass_one_another() {
    let mut ledger = ready();
    second_loses(
        &mut ledger,
        post("e1", 1, &line("2026-11-04", "P0001", 2_000_000)),
        post("e1", 2, &line("2026-11-05", "A0002", 1_405_200)),
    );
    let mut ended = stay(SID, "2026-11-01");
    ended["end"] = json!("2026-11-05");
    second_loses(
        &mut ledger,
        update("e1", &ended),
        post("e1", 3, &line("2026-11-06", "A0001", 1_250_000)),
    );
}

#[test]
fn an_episode_is_not_closed_over_a_claim_nor_a_unit_billed_twice() {
    let mut ledger = charged();
    second_loses(
        &mut ledger,
        submit("c1", "e1", &billing(), &both("n1")),
        call("CloseEpisode", &billing(), &json!({"epi": "e1"})),
    );
    ok(
        &mut ledger,
        open("e2", &billing(), &stay(OTHER, "2026-11-01")),
    );
    let device = |epi: &str| {
        let mut line = line("2026-11-04", "D0001", 50_000_000);
        line["evidence"] = json!({"unit": {"di": "00844588018923", "serial": "S1"}});
        post(epi, 9, &line)
    };
    let (first, second) = (device("e1"), device("e2"));
    second_loses(&mut ledger, first, second);
}

#[test]
fn what_both_sides_have_to_endorse_is_written_to_their_collection() {
    let mut ledger = charged();
    ok(&mut ledger, submit("c1", "e1", &billing(), &both("n1")));
    for proposal in [
        void("c1"),
        adjudicate("c1", &decision(&[[0, 0, 0], [0, 0, 0]])),
        drg("c1", &billing(), "293", 1, 1),
        post("e1", 3, &line("2026-11-04", "A0003", 100_000)),
        post("e1", 3, &line("2026-10-04", "A0003", 100_000)),
    ] {
        let simulation = ledger.endorse(proposal);
        assert_eq!(simulation.response.status, 200);
        assert!(simulation.written_collections().contains(COLLECTION));
    }
}
