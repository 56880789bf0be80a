//! Who may not, and what is not accepted.

use super::*;
use crate::caller::NodeRole;

#[test]
fn a_proof_that_is_none_is_refused_without_repeating_it() {
    let mut world = World::new();
    let with = |changes: Value| {
        let mut proof = proof(LI);
        for (name, value) in changes.as_object().unwrap() {
            proof[name] = value.clone();
        }
        proof
    };
    for (proof, status, expected) in [
        (with(json!({"idNo": "110105194912310021"})), 422, "BAD_ID"),
        (with(json!({"idNo": "990105194912310029"})), 422, "BAD_ID"),
        (with(json!({"idNo": "11010519490231002X"})), 422, "BAD_ID"),
        (with(json!({"idNo": "110105491231002"})), 422, "BAD_ID"),
        (with(json!({"birth": "1949-12-30"})), 422, "BAD_ID"),
        (
            with(json!({"idType": "passport", "idNo": "E12345678"})),
            422,
            "BAD_ID",
        ),
        (
            with(json!({"idType": "passport", "idNo": "CHN:E12345678", "birth": "2026-11-24"})),
            422,
            "BAD_ID",
        ),
        (with(json!({"idType": "library-card"})), 422, "BAD_ID"),
        (
            with(json!({"idNo": resident("2099-01-01", 1), "birth": "2099-01-01"})),
            422,
            "BAD_ID",
        ),
        (
            with(json!({"cardNo": "8015611000123456780"})),
            422,
            "BAD_CARD_NO",
        ),
        (with(json!({"salt": "5a17"})), 400, "MALFORMED"),
        (with(json!({"salt": "x".repeat(32)})), 400, "MALFORMED"),
        (with(json!({"name": " "})), 400, "MALFORMED"),
        (with(json!({"name": "a\nb"})), 400, "MALFORMED"),
        (with(json!({"birth": "1949-13-01"})), 400, "MALFORMED"),
        (with(json!({"diagnosis": "E11"})), 400, "MALFORMED"),
        (with(json!({"sid": "x"})), 400, "MALFORMED"),
    ] {
        for caller in [issuer(), desk()] {
            let proposal = world.application(&caller, "c1", &proof);
            let response = world.ledger.submit(proposal);
            refused(&response, status, expected);
            for name in ["idNo", "name", "birth", "salt", "cardNo"] {
                let value = proof[name].as_str().unwrap_or("\0");
                assert!(
                    value.trim().len() < 5 || !response.message.contains(value),
                    "{}",
                    response.message
                );
            }
        }
    }
    let args = json!({"handle": "c1", "scheme": "health-card", "cardKey": world.key("c1")});
    world.no("Apply", &issuer(), args, 400, "MALFORMED");
}

#[test]
fn every_scheme_opens_a_card() {
    let mut world = World::new();
    for (n, (id_type, number)) in [
        ("passport", "CHN:E12345678"),
        ("passport", "FRA:E12345678"),
        ("hk-macao-permit", "H12345678"),
        ("taiwan-permit", "12345678"),
        ("permanent-residence", "91100019491231002"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut number = number.to_owned();
        if id_type == "permanent-residence" {
            let check =
                super::super::identity::check_character(number.as_bytes().try_into().unwrap());
            number.push(char::from(check.unwrap()));
        }
        let mut proof = proof(LI);
        proof["idType"] = json!(id_type);
        proof["idNo"] = json!(number);
        let handle = format!("c{n}");
        let proposal = world.application(&issuer(), &handle, &proof);
        body(&world.ledger.submit(proposal));
        body(&world.ledger.submit(activation(&handle)));
    }
    // The old form of the same permit is the same person.
    let mut proof = proof(LI);
    proof["idType"] = json!("hk-macao-permit");
    proof["idNo"] = json!("h1234567803");
    let proposal = world.application(&issuer(), "c9", &proof);
    refused(&world.ledger.submit(proposal), 409, "ALREADY_OPEN");
}

#[test]
fn what_an_opening_and_a_replacement_do_not_accept() {
    let mut world = World::with_card("c1");
    refused(&world.apply(&issuer(), "c1", WANG), 409, "DUPLICATE");
    let used = json!({"handle": "c2", "scheme": "health-card", "cardKey": world.key("c1")});
    refused(
        &world
            .ledger
            .submit(with_proof("Apply", &issuer(), used, &proof(WANG))),
        409,
        "KEY_IN_USE",
    );
    let mut bad = world.key("c2");
    bad["y"] = bad["x"].clone();
    let args = json!({"handle": "c2", "scheme": "health-card", "cardKey": bad});
    refused(
        &world
            .ledger
            .submit(with_proof("Apply", &issuer(), args, &proof(WANG))),
        422,
        "BAD_KEY",
    );
    let args = json!({"handle": "c2", "scheme": "gold", "cardKey": world.key("c2")});
    refused(
        &world
            .ledger
            .submit(with_proof("Apply", &issuer(), args, &proof(WANG))),
        400,
        "MALFORMED",
    );
    body(&world.apply(&issuer(), "c2", WANG));
    let activate = |level: u8, valid_to: i64, evidence: &str| json!({"handle": "c2", "evidenceHash": evidence, "level": level, "validTo": valid_to});
    let evidence = hash(b"form");
    world.no(
        "Activate",
        &issuer(),
        activate(1, START + DAY, &evidence),
        422,
        "PROOF_LEVEL",
    );
    world.no(
        "Activate",
        &issuer(),
        activate(2, START, &evidence),
        422,
        "PERIOD",
    );
    world.no(
        "Activate",
        &issuer(),
        activate(2, START + DAY, "seen"),
        400,
        "MALFORMED",
    );
    let replace = |handle: &str, new: &str, key: Value, valid_to: i64| json!({"handle": handle, "newHandle": new, "newKey": key, "validTo": valid_to});
    let (old, new) = (world.key("c1"), world.key("c3"));
    for (args, status, code) in [
        (
            replace("c1", "c1", new.clone(), START + DAY),
            409,
            "DUPLICATE",
        ),
        (
            replace("c1", "c2", new.clone(), START + DAY),
            409,
            "DUPLICATE",
        ),
        (replace("c1", "c3", old, START + DAY), 409, "KEY_IN_USE"),
        (replace("c1", "c3", bad, START + DAY), 422, "BAD_KEY"),
        (replace("c1", "c3", new.clone(), START), 422, "PERIOD"),
        (
            replace("c7", "c3", new.clone(), START + DAY),
            404,
            "NOT_FOUND",
        ),
    ] {
        world.no("Replace", &issuer(), args, status, code);
    }
    let args = replace("c1", "c3", new, START + DAY);
    let print = |number: &str, salt: &str| {
        call("Replace", &issuer(), args.clone())
            .transient("print", json!({"cardNo": number, "salt": salt}).to_string())
    };
    let number = super::super::number::printed("1100", "012345678").unwrap();
    refused(
        &world.ledger.submit(print("8015611000123456780", SALT)),
        422,
        "BAD_CARD_NO",
    );
    refused(&world.ledger.submit(print(&number, "00")), 400, "MALFORMED");
    body(&world.ledger.submit(print(&number, SALT)));
    let holder = world
        .ledger
        .private_value("card", "cardholders", "\0holder\0c3\0")
        .unwrap();
    assert!(String::from_utf8_lossy(holder).contains(&number));
    assert!(leaks(&world.ledger, &[&number]).is_empty());
}

#[test]
fn who_may_call_what() {
    let mut world = World::with_card("c1");
    let holder = patient(&sid(LI, 1));
    let admin = with("HospitalMSP", &[]).with_node_role(Some(NodeRole::Admin));
    let clerk = with("CitizenMSP", &[("hc.role", "clerk")]);
    let false_issuer = with("HospitalMSP", &[("hc.role", "issuer")]);
    let epoch = json!({"epoch": 2});
    let replace = json!({"handle": "c1", "newHandle": "c2", "newKey": world.key("c2"), "validTo": START + DAY});
    let activate =
        json!({"handle": "c1", "evidenceHash": hash(b"e"), "level": 2, "validTo": START + DAY});
    let link = json!({"guardianSid": sid(WANG, 1), "sid": sid(LI, 1), "until": START + DAY, "evidenceHash": hash(b"e")});
    let unlink = json!({"guardianSid": sid(WANG, 1), "sid": sid(LI, 1)});
    for (function, args) in [
        ("SetEpochKey", epoch.clone()),
        ("RetireEpoch", epoch),
        ("Activate", activate),
        ("Replace", replace),
        ("Revoke", reason("c1", "FRAUD")),
        ("PurgeHolder", json!({"handle": "c1"})),
        ("LinkGuardian", link),
        ("UnlinkGuardian", unlink),
        ("DerivePseudonym", json!({"sector": "care"})),
        ("VerifyHolder", json!({"handle": "c1"})),
    ] {
        for (caller, code) in [
            (&desk(), "WRONG_ORG"),
            (&auditor(), "WRONG_ORG"),
            (&admin, "WRONG_ORG"),
            (&false_issuer, "WRONG_ORG"),
            (&holder, "WRONG_ROLE"),
            (&clerk, "WRONG_ROLE"),
        ] {
            world.no(function, caller, args.clone(), 403, code);
        }
    }
    let key = world.key("c3");
    let apply = json!({"handle": "c3", "scheme": "health-card", "cardKey": key});
    for (caller, code) in [
        (&clerk, "WRONG_ROLE"),
        (&holder, "WRONG_ROLE"),
        (&insurer(), "WRONG_ORG"),
        (&clinic(), "WRONG_ROLE"),
        (&false_issuer, "WRONG_ROLE"),
    ] {
        world.no("Apply", caller, apply.clone(), 403, code);
    }
    let token = world.token("c1", WARD);
    let check_in = json!({"checkInId": "v1", "handle": "c1", "token": token});
    for (caller, code) in [
        (&issuer(), "WRONG_ORG"),
        (&insurer(), "WRONG_ORG"),
        (&with("HospitalMSP", &[("hc.role", "supply")]), "WRONG_ROLE"),
    ] {
        world.no("CheckIn", caller, check_in.clone(), 403, code);
    }
    // For the holder: not for another, nor for who only says so.
    let stranger = patient(&sid(WANG, 1));
    let made_up = with(
        "MakerMSP",
        &[("hc.role", "patient"), ("hc.sid", &sid(LI, 1))],
    );
    let nurse = with(
        "HospitalMSP",
        &[("hc.role", "nurse"), ("hc.sid", &sid(LI, 1))],
    );
    for caller in [
        &stranger,
        &made_up,
        &nurse,
        &desk(),
        &guardian(&sid(WANG, 1)),
    ] {
        world.no("Suspend", caller, reason("c1", "LOST"), 403, "NOT_HOLDER");
        world.no("Resume", caller, reason("c1", "LOST"), 403, "NOT_HOLDER");
        world.no(
            "CloseCard",
            caller,
            json!({"handle": "c1"}),
            403,
            "NOT_HOLDER",
        );
        world.no(
            "CardUses",
            caller,
            json!({"handle": "c1"}),
            403,
            "NOT_HOLDER",
        );
    }
    world.no(
        "CloseCard",
        &issuer(),
        json!({"handle": "c1"}),
        403,
        "NOT_HOLDER",
    );
    let odd = guardian("\u{0}");
    world.no("Suspend", &odd, reason("c1", "LOST"), 400, "MALFORMED");
    world.ask("CardUses", &auditor(), json!({"handle": "c1"}));
    let inspector = with("RegulatorMSP", &[("hc.role", "inspector")]);
    world.no(
        "CardUses",
        &inspector,
        json!({"handle": "c1"}),
        403,
        "NOT_HOLDER",
    );
}

#[test]
fn nothing_unknown_malformed_or_missing_passes() {
    let mut world = World::with_card("c1");
    let holder = patient(&sid(LI, 1));
    for (function, caller, args) in [
        ("Suspend", issuer(), reason("c9", "LOST")),
        ("Revoke", issuer(), reason("c9", "LOST")),
        ("CloseCard", holder.clone(), json!({"handle": "c9"})),
        (
            "Activate",
            issuer(),
            json!({"handle": "c9", "evidenceHash": hash(b"e"), "level": 2, "validTo": START + 1}),
        ),
        ("ReadCard", holder.clone(), json!({"handle": "c9"})),
        ("CardHistory", holder.clone(), json!({"handle": "c9"})),
        ("CardUses", holder.clone(), json!({"handle": "c9"})),
        ("Bindings", holder.clone(), json!({"handle": "c9"})),
        ("ReadCheckIn", holder.clone(), json!({"checkInId": "v9"})),
        (
            "CheckIn",
            desk(),
            json!({"checkInId": "v9", "handle": "c9", "token": world.token("c1", WARD)}),
        ),
        (
            "VerifyToken",
            desk(),
            json!({"facility": "f", "handle": "c9", "token": world.token("c1", WARD)}),
        ),
    ] {
        world.no(function, &caller, args, 404, "NOT_FOUND");
    }
    for (function, caller, args) in [
        ("Suspend", issuer(), reason("c1", "lost in the bus")),
        ("Revoke", issuer(), reason("c 1", "LOST")),
        ("ReadCard", holder.clone(), json!({"handle": LI.repeat(4)})),
        ("CardsOf", holder.clone(), json!({"sid": LI})),
        (
            "CardUses",
            holder,
            json!({"handle": "c1", "bookmark": "\u{0}useOf\u{0}c2\u{0}"}),
        ),
        (
            "BindFacility",
            issuer(),
            json!({"handle": "c1", "org": "a b"}),
        ),
        ("RetireEpoch", issuer(), json!({"epoch": -1})),
        (
            "CheckIn",
            desk(),
            json!({"checkInId": "", "handle": "c1", "token": ""}),
        ),
    ] {
        world.no(function, &caller, args, 400, "MALFORMED");
    }
    let token = world.token("c1", WARD);
    assert_eq!(world.check_in("v1", "c1", &token), "OK");
    let again = json!({"checkInId": "v1", "handle": "c1", "token": world.token("c1", WARD)});
    world.no("CheckIn", &desk(), again, 409, "DUPLICATE");
}

/// A bureau that is also a provider would know both who somebody is and what is done to him.
#[test]
fn without_a_bureau_nobody_opens_cards() {
    let mut world = World::new();
    let admin = with("RegulatorMSP", &[]).with_node_role(Some(NodeRole::Admin));
    let config = json!({"citizens": ["HospitalMSP"]});
    world.ok("Configure", &admin, config);
    refused(&world.apply(&issuer(), "c1", LI), 422, "NO_BUREAU");
    refused(&world.ledger.submit(set_epoch(2)), 422, "NO_BUREAU");
}

#[test]
fn an_unlicensed_hospital_neither_applies_nor_admits_nor_is_bound() {
    let mut world = World::with_card("c1");
    let admin = with("RegulatorMSP", &[]).with_node_role(Some(NodeRole::Admin));
    world.ledger.install(std::sync::Arc::new(NobodyLicensed));
    world.ok("Configure", &admin, json!({"registry": "nobody"}));
    refused(&world.apply(&desk(), "c2", WANG), 403, "CREDENTIAL");
    let token = world.token("c1", WARD);
    let check_in = json!({"checkInId": "v1", "handle": "c1", "token": token});
    world.no("CheckIn", &desk(), check_in, 403, "CREDENTIAL");
    let bind = json!({"handle": "c1", "org": "HospitalMSP"});
    world.no(
        "BindFacility",
        &patient(&sid(LI, 1)),
        bind,
        422,
        "UNLICENSED",
    );
}

/// A registry in which every licence is suspended.
struct NobodyLicensed;

impl crate::contract::Contract for NobodyLicensed {
    fn name(&self) -> &'static str {
        "nobody"
    }
    fn invoke(&self, _stub: &mut dyn crate::stub::Stub) -> Response {
        Response::success(r#"{"active":false,"reason":"SUSPENDED"}"#)
    }
}

#[test]
fn a_repeated_request_is_answered_once() {
    let mut world = World::new();
    let apply = |world: &mut World, id: &str| {
        let proposal = world.application(&issuer(), "c1", &proof(id)).arg("r-1");
        world.ledger.submit(proposal)
    };
    let first = body(&apply(&mut world, LI));
    assert_eq!(body(&apply(&mut world, LI)), first);
    refused(&apply(&mut world, WANG), 409, "REQUEST_ID_REUSED");
}
