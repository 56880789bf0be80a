//! Children and guardians, bindings, and the epochs of the pseudonyms.

use super::*;

/// Thirteen years old on the ledger's first day, and fourteen the day after.
const CHILD: &str = "2012-11-24";
const MOTHER: &str = "MOTHERMOTHERMOTHERMOTHERMO";

fn link(child: &str) -> Value {
    json!({"guardianSid": MOTHER, "sid": sid(child, 1), "until": START + 90 * DAY, "evidenceHash": hash(b"birth")})
}

#[test]
fn a_child_has_a_card_once_a_guardian_is_linked() {
    let mut world = World::new();
    let child = resident(CHILD, 1);
    body(&world.apply(&issuer(), "c1", &child));
    refused(
        &world.ledger.submit(activation("c1")),
        422,
        "GUARDIAN_REQUIRED",
    );
    world.ok("LinkGuardian", &issuer(), link(&child));
    assert_eq!(world.last_event().0, "card.GuardianLinked");
    body(&world.ledger.submit(activation("c1")));
    // The guardian speaks for the child, while linked and in time.
    world.ok("Suspend", &guardian(MOTHER), reason("c1", "LOST"));
    world.no(
        "Resume",
        &guardian(&sid(WANG, 1)),
        reason("c1", "FOUND"),
        403,
        "NOT_HOLDER",
    );
    world.ok("Resume", &guardian(MOTHER), reason("c1", "FOUND"));
    world.ask("CardUses", &guardian(MOTHER), json!({"handle": "c1"}));
    let unlink = json!({"guardianSid": MOTHER, "sid": sid(&child, 1)});
    world.ok("UnlinkGuardian", &issuer(), unlink.clone());
    world.no("UnlinkGuardian", &issuer(), unlink, 409, "BAD_STATE");
    world.no(
        "Suspend",
        &guardian(MOTHER),
        reason("c1", "LOST"),
        403,
        "NOT_HOLDER",
    );
    world.ok("LinkGuardian", &issuer(), link(&child));
    world.ledger.advance(90 * DAY);
    world.no(
        "CloseCard",
        &guardian(MOTHER),
        json!({"handle": "c1"}),
        403,
        "NOT_HOLDER",
    );
}

#[test]
fn a_guardianship_that_is_over_or_ended_opens_no_childs_card() {
    let mut world = World::new();
    let child = resident("2020-02-29", 7);
    body(&world.apply(&issuer(), "c1", &child));
    world.ok("LinkGuardian", &issuer(), link(&child));
    let unlink = json!({"guardianSid": MOTHER, "sid": sid(&child, 1)});
    world.ok("UnlinkGuardian", &issuer(), unlink);
    refused(
        &world.ledger.submit(activation("c1")),
        422,
        "GUARDIAN_REQUIRED",
    );
    world.ok("LinkGuardian", &issuer(), link(&child));
    world.ledger.advance(91 * DAY);
    refused(
        &world.ledger.submit(activation("c1")),
        422,
        "GUARDIAN_REQUIRED",
    );
}

#[test]
fn at_fourteen_nobody_has_to_be_linked() {
    let mut world = World::new();
    let child = resident(CHILD, 1);
    body(&world.apply(&issuer(), "c1", &child));
    refused(
        &world.ledger.submit(activation("c1")),
        422,
        "GUARDIAN_REQUIRED",
    );
    world.ledger.advance(DAY);
    body(&world.ledger.submit(activation("c1")));
}

#[test]
fn a_person_has_no_crowd_of_guardians() {
    let mut world = World::new();
    let link = |n: char| {
        let guardian: String = std::iter::repeat_n(n, 26).collect();
        json!({"guardianSid": guardian, "sid": sid(LI, 1), "until": START + DAY, "evidenceHash": hash(b"e")})
    };
    for n in 'A'..'I' {
        world.ok("LinkGuardian", &issuer(), link(n));
    }
    world.no(
        "LinkGuardian",
        &issuer(),
        link('I'),
        422,
        "TOO_MANY_GUARDIANS",
    );
    // Prolonging one is not another.
    world.ok("LinkGuardian", &issuer(), link('A'));
    let own = json!({"guardianSid": MOTHER, "sid": MOTHER, "until": START + DAY, "evidenceHash": hash(b"e")});
    world.no("LinkGuardian", &issuer(), own, 422, "SELF_GUARDIAN");
    let past = json!({"guardianSid": MOTHER, "sid": sid(LI, 1), "until": START, "evidenceHash": hash(b"e")});
    world.no("LinkGuardian", &issuer(), past, 422, "PERIOD");
    let nobody = json!({"guardianSid": MOTHER, "sid": sid(WANG, 1)});
    world.no("UnlinkGuardian", &issuer(), nobody, 404, "NOT_FOUND");
}

#[test]
fn a_card_is_bound_by_its_holder_or_by_showing_it() {
    let mut world = World::with_card("c1");
    let holder = patient(&sid(LI, 1));
    let bind = |org: &str, facility: Option<&str>, token: Option<&str>| json!({"handle": "c1", "org": org, "facility": facility, "token": token});
    world.ok(
        "BindFacility",
        &holder,
        bind("HospitalMSP", Some(WARD), None),
    );
    assert_eq!(world.last_event().0, "card.FacilityBound");
    world.no(
        "BindFacility",
        &holder,
        bind("HospitalMSP", Some(WARD), None),
        409,
        "DUPLICATE",
    );
    world.no(
        "BindFacility",
        &holder,
        bind("MakerMSP", None, None),
        422,
        "UNKNOWN_ORG",
    );
    world.no(
        "BindFacility",
        &patient(&sid(WANG, 1)),
        bind("ClinicMSP", None, None),
        403,
        "NOT_HOLDER",
    );
    // The insurer itself needs the card.
    world.no(
        "BindFacility",
        &insurer(),
        bind("InsurerMSP", None, None),
        403,
        "NO_TOKEN",
    );
    world.no(
        "BindFacility",
        &insurer(),
        bind("ClinicMSP", None, None),
        403,
        "NOT_HOLDER",
    );
    let cashier = with("InsurerMSP", &[("hc.role", "fraud")]);
    world.no(
        "BindFacility",
        &cashier,
        bind("InsurerMSP", None, None),
        403,
        "WRONG_ROLE",
    );
    let elsewhere = world.token("c1", WARD);
    world.no(
        "BindFacility",
        &insurer(),
        bind("InsurerMSP", None, Some(&elsewhere)),
        403,
        "WRONG_AUDIENCE",
    );
    world.no(
        "BindFacility",
        &insurer(),
        bind("InsurerMSP", None, Some("x")),
        400,
        "BAD_TOKEN",
    );
    let token = world.token("c1", "InsurerMSP");
    world.ok(
        "BindFacility",
        &insurer(),
        bind("InsurerMSP", None, Some(&token)),
    );
    let unbind = json!({"handle": "c1", "org": "InsurerMSP"});
    world.no("UnbindFacility", &desk(), unbind.clone(), 403, "NOT_HOLDER");
    world.ok("UnbindFacility", &insurer(), unbind.clone());
    assert_eq!(world.last_event().0, "card.FacilityUnbound");
    world.no("UnbindFacility", &holder, unbind, 404, "NOT_FOUND");
    world.no(
        "BindFacility",
        &insurer(),
        bind("InsurerMSP", None, Some(&token)),
        403,
        "TOKEN_REPLAY",
    );
    for n in 1..5 {
        world.ok(
            "BindFacility",
            &holder,
            bind("ClinicMSP", Some(&format!("f-{n}")), None),
        );
    }
    world.no(
        "BindFacility",
        &holder,
        bind("ClinicMSP", Some("f-5"), None),
        422,
        "TOO_MANY_BINDINGS",
    );
    world.ok("BindFacility", &holder, bind("InsurerMSP", None, None));
    assert_eq!(
        world
            .ask("Bindings", &auditor(), json!({"handle": "c1"}))
            .as_array()
            .unwrap()
            .len(),
        6
    );
    world.ok("Revoke", &issuer(), reason("c1", "DEATH"));
    assert_eq!(
        world.ask("Bindings", &auditor(), json!({"handle": "c1"})),
        json!([])
    );
}

#[test]
fn a_new_epoch_does_not_give_a_second_card() {
    let mut world = World::with_card("c1");
    body(&world.ledger.submit(set_epoch(2)));
    refused(&world.apply(&issuer(), "c2", LI), 409, "ALREADY_OPEN");
    body(&world.apply(&desk(), "c2", LI));
    refused(&world.ledger.submit(activation("c2")), 409, "ALREADY_OPEN");
    world.no(
        "RetireEpoch",
        &issuer(),
        json!({"epoch": 1}),
        422,
        "EPOCH_IN_USE",
    );
    // An application of the old epoch, and one that is decided in the new.
    world.open("c3", WANG);
    assert_eq!(
        world.ask("ReadCard", &desk(), json!({"handle": "c3"}))["epoch"],
        2
    );
    world.ok("CloseCard", &patient(&sid(LI, 1)), json!({"handle": "c1"}));
    body(&world.ledger.submit(activation("c2")));
    assert_eq!(
        world.ask("ReadCard", &desk(), json!({"handle": "c2"}))["sid"],
        sid(LI, 2)
    );
    world.ok("RetireEpoch", &issuer(), json!({"epoch": 1}));
    assert_eq!(world.last_event().0, "card.EpochRetired");
    assert_eq!(
        world.ask("ReadEpochs", &desk(), json!({})),
        json!({"live": [2], "last": 2})
    );
    assert_eq!(
        world.ledger.private_keys("card", "cardkeys"),
        ["\0epoch\x000000000002\0"]
    );
    world.no(
        "RetireEpoch",
        &issuer(),
        json!({"epoch": 1}),
        409,
        "BAD_STATE",
    );
    world.no(
        "RetireEpoch",
        &issuer(),
        json!({"epoch": 3}),
        404,
        "NOT_FOUND",
    );
}

#[test]
fn an_application_of_an_epoch_that_is_over_is_made_again() {
    let mut world = World::new();
    body(&world.apply(&issuer(), "c1", LI));
    body(&world.ledger.submit(set_epoch(2)));
    world.ok("RetireEpoch", &issuer(), json!({"epoch": 1}));
    refused(&world.ledger.submit(activation("c1")), 422, "EPOCH_RETIRED");
    world.ok("RetireEpoch", &issuer(), json!({"epoch": 2}));
    refused(&world.ledger.submit(activation("c1")), 422, "NO_EPOCH");
    body(&world.ledger.submit(set_epoch(3)));
    world.ok("Revoke", &issuer(), reason("c1", "EPOCH"));
    world.open("c2", LI);
}

#[test]
fn epochs_follow_one_another_with_keys_of_their_own() {
    let mut world = World::new();
    let set = |epoch: u32, keys: &Value| {
        call("SetEpochKey", &issuer(), json!({"epoch": epoch})).transient("keys", keys.to_string())
    };
    let good = json!({"care": hash(b"1"), "pay": hash(b"2"), "device": hash(b"3"), "salt": SALT});
    for epoch in [0, 1, 3] {
        refused(&world.ledger.submit(set(epoch, &good)), 409, "EPOCH_ORDER");
    }
    let mut same = good.clone();
    same["pay"] = json!(hash(b"1").to_uppercase());
    refused(&world.ledger.submit(set(2, &same)), 422, "SAME_KEY");
    same["pay"] = json!(epoch_key(1, "care"));
    refused(&world.ledger.submit(set(2, &same)), 422, "SAME_KEY");
    for wrong in [
        json!({"care": "00", "pay": hash(b"2"), "device": hash(b"3"), "salt": SALT}),
        json!({"care": hash(b"1"), "pay": hash(b"2"), "device": hash(b"3"), "salt": "00"}),
        json!({"care": hash(b"1"), "pay": hash(b"2"), "device": hash(b"3")}),
    ] {
        let response = world.ledger.submit(set(2, &wrong));
        refused(&response, 400, "MALFORMED");
        assert!(
            !response.message.contains(&hash(b"2")),
            "{}",
            response.message
        );
    }
    refused(
        &world
            .ledger
            .submit(call("SetEpochKey", &issuer(), json!({"epoch": 2}))),
        400,
        "MALFORMED",
    );
    for epoch in 2..=8 {
        body(&world.ledger.submit(set_epoch(epoch)));
    }
    refused(&world.ledger.submit(set_epoch(9)), 422, "TOO_MANY_EPOCHS");
    world.ok("RetireEpoch", &issuer(), json!({"epoch": 1}));
    body(&world.ledger.submit(set_epoch(9)));
}

#[test]
fn an_epoch_that_ends_while_a_card_opens_is_one_or_the_other() {
    for retire_first in [true, false] {
        let mut world = World::new();
        body(&world.apply(&issuer(), "c1", LI));
        let retire = world
            .ledger
            .endorse(call("RetireEpoch", &issuer(), json!({"epoch": 1})));
        let activate = world.ledger.endorse(activation("c1"));
        body(&retire.response);
        body(&activate.response);
        let (first, second) = if retire_first {
            (retire, activate)
        } else {
            (activate, retire)
        };
        assert_eq!(world.ledger.commit(first), Validity::Valid);
        assert_ne!(world.ledger.commit(second), Validity::Valid);
    }
}

#[test]
fn of_two_cards_that_open_at_once_one_does() {
    let mut world = World::new();
    body(&world.apply(&issuer(), "c1", LI));
    body(&world.apply(&desk(), "c2", LI));
    let (one, two) = (
        world.ledger.endorse(activation("c1")),
        world.ledger.endorse(activation("c2")),
    );
    body(&two.response);
    assert_eq!(world.ledger.commit(one), Validity::Valid);
    assert_eq!(world.ledger.commit(two), Validity::MvccReadConflict);
    assert_eq!(
        (world.state("c1"), world.state("c2")),
        ("Active".into(), "Applied".into())
    );
}
