//! Tokens that are shown, spent, forged and shown again.

use super::super::checkin::{Verdict, judge};
use super::super::model::Card;
use super::super::token::Token;
use super::*;

#[test]
fn the_first_reason_that_applies_is_the_verdict() {
    let mut world = World::with_card("c1");
    let now = world.ledger.now();
    let card: Card =
        serde_json::from_value(world.ask("ReadCard", &desk(), json!({"handle": "c1"}))).unwrap();
    let ended = Card {
        valid_to: Some(now),
        ..card.clone()
    };
    let token = world.token("c1", WARD);
    let token = Token::parse(&token).unwrap();
    let foreign = {
        let claims = Claims {
            sub: "c2".into(),
            aud: WARD.into(),
            iat: now,
            exp: now + 60,
            jti: "n".into(),
        };
        Token::parse(&world.sign("c1", &claims)).unwrap()
    };
    world.key("c2");
    let other = Card {
        key: world.keys["c2"].1.clone(),
        ..card.clone()
    };
    for (token, card, audience, used, now, expected) in [
        (&token, &other, "x", true, now + 60, Verdict::BadSignature),
        (&foreign, &ended, "x", true, now + 60, Verdict::WrongCard),
        (&token, &ended, "x", true, now + 60, Verdict::WrongAudience),
        (&token, &ended, WARD, true, now + 60, Verdict::TokenReplay),
        (&token, &ended, WARD, false, now + 60, Verdict::TokenExpired),
        (&token, &ended, WARD, false, now + 59, Verdict::CardInactive),
        (&token, &card, WARD, false, now + 59, Verdict::Ok),
        (&token, &card, WARD, false, now - 10, Verdict::Ok),
        (&token, &card, WARD, false, now - 11, Verdict::TokenExpired),
    ] {
        assert_eq!(judge(token, card, audience, used, now), expected);
    }
}

#[test]
fn a_refusal_is_evidence_and_spends_nothing() {
    let mut world = World::with_card("c1");
    world.open("c2", WANG);
    let token = world.token("c1", WARD);
    // Shown to the clinic, which has no business with it, and with another card.
    let elsewhere = world.admission(&clinic(), "v1", "c1", &token);
    let answer = body(&world.ledger.submit(elsewhere));
    assert_eq!(
        answer,
        json!({"id": "v1", "state": "Refused", "decision": "Refused", "code": "WRONG_AUDIENCE"})
    );
    assert_eq!(world.check_in("v2", "c2", &token), "BAD_SIGNATURE");
    assert_eq!(
        world
            .ask("ReadCheckIn", &auditor(), json!({"checkInId": "v2"}))
            .get("jti"),
        None
    );
    let dry = json!({"handle": "c1", "token": token, "facility": WARD});
    assert_eq!(
        world.ask("VerifyToken", &clinic(), dry.clone()),
        json!({"decision": "Admitted", "code": "OK"})
    );
    world.ledger.advance(59);
    assert_eq!(world.check_in("v3", "c1", &token), "OK");
    assert_eq!(
        world.ask("VerifyToken", &clinic(), dry)["code"],
        "TOKEN_REPLAY"
    );
    world.ledger.advance(1);
    // Where both apply, that it is shown again says more than that it is late.
    assert_eq!(world.check_in("v4", "c1", &token), "TOKEN_REPLAY");
    let late = world.token("c1", WARD);
    world.ledger.advance(60);
    assert_eq!(world.check_in("v5", "c1", &late), "TOKEN_EXPIRED");
    // A certificate without a facility: the token is for the organization.
    let token = world.token("c1", "ClinicMSP");
    let clinics = world.admission(&clinic(), "v6", "c1", &token);
    assert_eq!(body(&world.ledger.submit(clinics))["code"], "OK");
}

#[test]
fn what_is_no_token_is_not_ordered() {
    let mut world = World::with_card("c1");
    let good = world.token("c1", WARD);
    let none = {
        use base64::Engine;
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .encode(r#"{"alg":"none","typ":"hc-card+jwt","kid":"k"}"#);
        format!("{header}.{}.", good.split('.').nth(1).unwrap())
    };
    for token in [
        "",
        "garbage",
        "a.b.c",
        &none,
        &"A".repeat(2_000),
        &format!("{good}."),
    ] {
        let proposal = world.admission(&desk(), "v1", "c1", token);
        let response = world.ledger.submit(proposal);
        refused(&response, 400, "BAD_TOKEN");
        assert!(token.len() < 5 || !response.message.contains(token));
    }
}

#[test]
fn a_card_that_ran_out_admits_nobody_until_replaced() {
    let mut world = World::with_card("c1");
    world.ledger.advance(365 * DAY);
    let token = world.token("c1", WARD);
    assert_eq!(world.check_in("v1", "c1", &token), "CARD_INACTIVE");
    assert_eq!(
        world.ask("CardsOf", &desk(), json!({"sid": sid(LI, 1)}))[0]["inForce"],
        false
    );
    refused(&world.apply(&issuer(), "c2", LI), 409, "ALREADY_OPEN");
    let replacement = world.replacement("c1", "c3");
    body(&world.ledger.submit(replacement));
    let token = world.token("c3", WARD);
    assert_eq!(world.check_in("v2", "c3", &token), "OK");
}

#[test]
fn one_token_shown_at_two_doors_at_once_opens_one() {
    let mut world = World::with_card("c1");
    let token = world.token("c1", WARD);
    let one = world.admission(&desk(), "v1", "c1", &token);
    let two = world.admission(&desk(), "v2", "c1", &token);
    let (one, two) = (world.ledger.endorse(one), world.ledger.endorse(two));
    assert_eq!(body(&two.response)["code"], "OK");
    assert_eq!(world.ledger.commit(one), Validity::Valid);
    assert_eq!(world.ledger.commit(two), Validity::MvccReadConflict);
}

#[test]
fn a_card_that_is_suspended_meanwhile_does_not_admit() {
    let mut world = World::with_card("c1");
    for (function, caller) in [("Suspend", patient(&sid(LI, 1))), ("Revoke", issuer())] {
        let token = world.token("c1", WARD);
        let admission = world.admission(&desk(), "v1", "c1", &token);
        let admission = world.ledger.endorse(admission);
        assert_eq!(body(&admission.response)["code"], "OK");
        world.ok(function, &caller, reason("c1", "LOST"));
        assert_eq!(world.ledger.commit(admission), Validity::MvccReadConflict);
        if function == "Suspend" {
            world.ok("Resume", &issuer(), reason("c1", "FOUND"));
        }
    }
}

#[test]
fn two_tokens_of_one_card_do_not_conflict() {
    let mut world = World::with_card("c1");
    let (first, second) = (world.token("c1", WARD), world.token("c1", WARD));
    let one = world.admission(&desk(), "v1", "c1", &first);
    let two = world.admission(&desk(), "v2", "c1", &second);
    let (one, two) = (world.ledger.endorse(one), world.ledger.endorse(two));
    assert!(
        one.written_collections()
            .contains("_implicit_org_CitizenMSP")
    );
    assert_eq!(world.ledger.commit(one), Validity::Valid);
    assert_eq!(world.ledger.commit(two), Validity::Valid);
}

#[test]
fn the_ledgers_key_is_enough_to_verify_offline() {
    let mut world = World::with_card("c1");
    let card = world.ask("ReadCard", &clinic(), json!({"handle": "c1"}));
    let key: CardKey = serde_json::from_value(card["key"].clone()).unwrap();
    let token = world.token("c1", WARD);
    let now = world.ledger.now();
    assert_eq!(
        token::verify_offline(&token, &key, WARD, now).unwrap().sub,
        "c1"
    );
    assert_eq!(
        token::verify_offline(&token, &key, "fac-2", now),
        Err(token::TokenError::Audience)
    );
}
