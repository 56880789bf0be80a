//! One person and one card, from the view of each actor.

use super::*;

#[test]
fn a_card_is_opened_used_lost_replaced_and_closed() {
    let mut world = World::new();
    let answer = body(&world.apply(&issuer(), "c1", LI));
    assert_eq!(answer, json!({"id": "c1", "state": "Applied"}));
    let answer = body(&world.ledger.submit(activation("c1")));
    assert_eq!(answer, json!({"id": "c1", "state": "Active"}));
    let (name, event) = world.last_event();
    assert_eq!(name, "card.CardActivated");
    assert_eq!(
        event,
        json!({"id": "c1", "state": "Active", "org": "CitizenMSP", "ref": ""})
    );
    let card = world.ask("ReadCard", &insurer(), json!({"handle": "c1"}));
    assert_eq!(card["sid"], sid(LI, 1));
    assert_eq!(card["epoch"], 1);
    assert_eq!(card["key"], world.key("c1"));

    // A second card of the same scheme: refused; of the other scheme, and for another person: not.
    refused(&world.apply(&issuer(), "c2", LI), 409, "ALREADY_OPEN");
    refused(
        &world.apply(&issuer(), "c2", &LI.to_lowercase()),
        409,
        "ALREADY_OPEN",
    );
    let other = json!({"handle": "c3", "scheme": "social-security", "cardKey": world.key("c3")});
    body(
        &world
            .ledger
            .submit(with_proof("Apply", &issuer(), other, &proof(LI))),
    );
    body(&world.ledger.submit(activation("c3")));
    world.open("c4", WANG);
    let mut cards = world.ask("CardsOf", &desk(), json!({"sid": sid(LI, 1)}));
    let handles: Vec<_> = cards
        .as_array_mut()
        .unwrap()
        .iter()
        .map(|c| c["handle"].clone())
        .collect();
    assert_eq!(handles, ["c1", "c3"]);

    // At the hospital's desk.
    let token = world.token("c1", WARD);
    assert_eq!(world.check_in("v1", "c1", &token), "OK");
    let (name, event) = world.last_event();
    assert_eq!(name, "card.CheckedIn");
    assert_eq!(
        event,
        json!({"id": "v1", "state": "Admitted", "org": "HospitalMSP", "ref": "OK"})
    );
    assert_eq!(world.check_in("v2", "c1", &token), "TOKEN_REPLAY");
    assert_eq!(world.last_event().0, "card.CheckInRefused");

    // Lost: the holder suspends it, the bureau gives another.
    let holder = patient(&sid(LI, 1));
    world.ok(
        "BindFacility",
        &holder,
        json!({"handle": "c1", "org": "InsurerMSP"}),
    );
    world.ok("Suspend", &holder, reason("c1", "LOST"));
    let token = world.token("c1", WARD);
    assert_eq!(world.check_in("v3", "c1", &token), "CARD_INACTIVE");
    let replacement = world.replacement("c1", "c5");
    let answer = body(&world.ledger.submit(replacement));
    assert_eq!(answer, json!({"id": "c1", "state": "Replaced"}));
    assert_eq!(world.last_event().1["ref"], "c5");
    let old = world.token("c1", WARD);
    assert_eq!(world.check_in("v4", "c1", &old), "CARD_INACTIVE");
    assert_eq!(world.check_in("v5", "c5", &old), "BAD_SIGNATURE");
    let new = world.token("c5", WARD);
    assert_eq!(world.check_in("v6", "c5", &new), "OK");
    let card = world.ask("ReadCard", &insurer(), json!({"handle": "c5"}));
    assert_eq!(
        (&card["sid"], &card["replaces"]),
        (&json!(sid(LI, 1)), &json!("c1"))
    );
    let bound = world.ask("Bindings", &insurer(), json!({"handle": "c5"}));
    assert_eq!(bound[0]["org"], "InsurerMSP");
    assert_eq!(
        world.ask("Bindings", &insurer(), json!({"handle": "c1"})),
        json!([])
    );
    refused(&world.apply(&issuer(), "c6", LI), 409, "ALREADY_OPEN");

    // The holder sees every use, of either card.
    let uses = world.ask("CardUses", &holder, json!({"handle": "c1"}));
    let codes: Vec<_> = uses["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                entry["id"].as_str().unwrap(),
                entry["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        codes,
        [
            ("v1", "OK"),
            ("v2", "TOKEN_REPLAY"),
            ("v3", "CARD_INACTIVE"),
            ("v4", "CARD_INACTIVE")
        ]
    );
    assert_eq!(
        world.ask("ReadCheckIn", &auditor(), json!({"checkInId": "v1"}))["jti"],
        "n-1"
    );

    // Closed by the holder: nothing is kept, and another card may be opened.
    assert_eq!(
        body(&world.ledger.evaluate(with_proof(
            "VerifyHolder",
            &issuer(),
            json!({"handle": "c5"}),
            &proof(LI)
        ))),
        json!({"id": true, "person": true})
    );
    world.ok("CloseCard", &holder, json!({"handle": "c5"}));
    refused(
        &world.ledger.evaluate(with_proof(
            "VerifyHolder",
            &issuer(),
            json!({"handle": "c5"}),
            &proof(LI),
        )),
        404,
        "NOT_FOUND",
    );
    let history = world.ask("CardHistory", &auditor(), json!({"handle": "c5"}));
    assert_eq!(history.as_array().unwrap().len(), 2);
    world.open("c7", LI);
}

#[test]
fn a_desk_applies_and_the_bureau_computes_the_pseudonym() {
    let mut world = World::new();
    let height = world.ledger.height();
    // A hospital's client may not read the keys: its application must not need them.
    world.ledger.hide_collection("cardkeys", true);
    body(&world.apply(&desk(), "c1", LI));
    world.ledger.hide_collection("cardkeys", false);
    let card = world.ask("ReadCard", &desk(), json!({"handle": "c1"}));
    assert_eq!(
        (card.get("sid"), &card["appliedAt"]),
        (None, &json!("HospitalMSP"))
    );
    body(&world.ledger.submit(activation("c1")));
    assert_eq!(world.ledger.height(), height + 2);
    let card = world.ask("ReadCard", &desk(), json!({"handle": "c1"}));
    assert_eq!(card["sid"], sid(LI, 1));
    // Whoever applies at two desks gets one card.
    body(&world.apply(&desk(), "c2", LI));
    refused(&world.ledger.submit(activation("c2")), 409, "ALREADY_OPEN");
    world.ok("Revoke", &issuer(), reason("c2", "SECOND"));
    // A pseudonym that came with the application has to be the person's.
    let mut wrong = proof(WANG);
    wrong["sid"] = json!(sid(LI, 1));
    let proposal = world.application(&desk(), "c3", &wrong);
    body(&world.ledger.submit(proposal));
    refused(&world.ledger.submit(activation("c3")), 422, "SID_MISMATCH");
    let proposal = world.application(&issuer(), "c4", &wrong);
    refused(&world.ledger.submit(proposal), 422, "SID_MISMATCH");
    wrong["sid"] = json!(sid(WANG, 1));
    let proposal = world.application(&issuer(), "c4", &wrong);
    body(&world.ledger.submit(proposal));
}

#[test]
fn a_peer_without_the_keys_does_not_endorse() {
    let mut world = World::new();
    world.ledger.hide_collection("cardkeys", true);
    refused(
        &world.apply(&issuer(), "c1", LI),
        404,
        "PRIVATE_DATA_NOT_HERE",
    );
}

#[test]
fn what_the_bureau_suspends_the_bureau_resumes() {
    let mut world = World::with_card("c1");
    let holder = patient(&sid(LI, 1));
    world.ok("Suspend", &holder, reason("c1", "LOST"));
    world.ok("Resume", &holder, reason("c1", "FOUND"));
    world.ok("Suspend", &issuer(), reason("c1", "FROZEN"));
    world.no("Resume", &holder, reason("c1", "FOUND"), 403, "ISSUER_HOLD");
    world.ok("Resume", &issuer(), reason("c1", "CLEARED"));
    world.ok("Suspend", &holder, reason("c1", "LOST"));
    world.ok("Resume", &issuer(), reason("c1", "FOUND"));
    let card = world.ask("ReadCard", &auditor(), json!({"handle": "c1"}));
    assert_eq!(
        (card.get("suspendedBy"), &card["reason"]),
        (None, &json!("FOUND"))
    );
}

#[test]
fn the_bureau_derives_pseudonyms_that_two_sectors_do_not_share() {
    let mut world = World::new();
    body(&world.ledger.submit(set_epoch(2)));
    let ask = |sector: &str, epoch: Option<u32>| {
        let args = json!({"sector": sector, "epoch": epoch});
        world
            .ledger
            .evaluate(with_proof("DerivePseudonym", &issuer(), args, &proof(LI)))
    };
    assert_eq!(
        body(&ask("care", None)),
        json!({"epoch": 2, "sid": sid(LI, 2)})
    );
    assert_eq!(body(&ask("care", Some(1)))["sid"], sid(LI, 1));
    let pay = body(&ask("pay", Some(1)))["sid"].clone();
    let device = body(&ask("device", Some(1)))["sid"].clone();
    assert!(pay != device && pay != sid(LI, 1));
    refused(&ask("care", Some(3)), 422, "NO_EPOCH");
    let args = json!({"sector": "care"});
    refused(
        &world
            .ledger
            .evaluate(with_proof("DerivePseudonym", &desk(), args, &proof(LI))),
        403,
        "WRONG_ORG",
    );
}
