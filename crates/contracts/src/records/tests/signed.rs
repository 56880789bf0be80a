//! Consents of a patient who has a health card and no certificate.

use super::*;
use crate::card::tests::{LI, World, issuer, reason, sid};
use crate::card::token::sign_content;

/// Li has the card `c1`, and records asks the contract `card`.
fn world() -> World {
    let mut world = World::with_card("c1");
    let admin = Caller::for_tests("RegulatorMSP", "a", &[]).with_node_role(Some(NodeRole::Admin));
    let configure = call("Configure", &admin, json!({"cardContract": "card"}));
    body(&world.ledger.submit(configure));
    world
}

fn text(act: &str, at: i64, content: Value) -> Value {
    json!({"act": act, "channel": "health", "sid": sid(LI, 1), "at": at, "content": content})
}

fn given(id: &str) -> Value {
    consent(id, json!([]))["consent"].clone()
}

/// A text signed by a card, brought by the clinic's clerk.
fn brought(world: &World, function: &str, card: &str, text: &Value) -> Proposal {
    let signed = text.to_string();
    let jws = sign_content(&world.keys[card].0, signed.as_bytes()).unwrap();
    call(
        function,
        &clinic_records(),
        json!({"signed": signed, "jws": jws}),
    )
}

#[test]
fn a_clerk_brings_what_the_card_signed() {
    let mut world = world();
    let put = brought(
        &world,
        "PutConsent",
        "c1",
        &text("PutConsent", START, given("k1")),
    );
    let answer = body(&world.ledger.submit(put.clone()));
    assert_eq!(answer, json!({"id": "k1", "state": "Active"}));
    let read = call(
        "ReadConsent",
        &physician(),
        json!({"sid": sid(LI, 1), "id": "k1"}),
    );
    let stored = body(&world.ledger.evaluate(read));
    assert_eq!(
        (&stored["card"], stored.get("guardian")),
        (&json!("c1"), None)
    );
    // The same again is no second consent, and it is not revoked by what gave it.
    refused(&world.ledger.submit(put.clone()), 409, "DUPLICATE");
    let revoke = text("RevokeConsent", START, json!({"id": "k1"}));
    let revoke = brought(&world, "RevokeConsent", "c1", &revoke);
    assert_eq!(
        body(&world.ledger.submit(revoke.clone()))["state"],
        "Revoked"
    );
    refused(&world.ledger.submit(revoke), 409, "BAD_STATE");
    refused(&world.ledger.submit(put), 409, "DUPLICATE");
}

#[test]
fn what_was_not_signed_for_this_is_refused() {
    let mut world = world();
    let good = text("PutConsent", START, given("k1"));
    let with = |name: &str, value: Value| {
        let mut text = good.clone();
        text[name] = value;
        text
    };
    for (text, status, code) in [
        (with("act", json!("RevokeConsent")), 403, "NOT_SUBJECT"),
        (with("channel", json!("other")), 403, "NOT_SUBJECT"),
        (with("sid", json!(SID)), 403, "NOT_SUBJECT"),
        (with("sid", json!("x")), 400, "MALFORMED"),
        (with("at", json!(START - DAY - 1)), 422, "SIGNATURE_AGE"),
        (with("at", json!(START + 301)), 422, "SIGNATURE_AGE"),
        (with("at", json!(i64::MIN)), 422, "SIGNATURE_AGE"),
        (with("content", json!({"id": "k1"})), 400, "MALFORMED"),
        (with("more", json!(1)), 400, "MALFORMED"),
    ] {
        let proposal = brought(&world, "PutConsent", "c1", &text);
        refused(&world.ledger.submit(proposal), status, code);
    }
    let signed = good.to_string();
    let jws = sign_content(&world.keys["c1"].0, signed.as_bytes()).unwrap();
    let (other, _) = crate::card::token::generate().unwrap();
    let others = sign_content(&other, signed.as_bytes()).unwrap();
    let changed = signed.replace("HospitalMSP", "InsurerMSP");
    let long = " ".repeat(64 * 1024) + &signed;
    let by = |caller: Caller, args: Value| call("PutConsent", &caller, args);
    for (proposal, status, code) in [
        (
            by(clinic_records(), json!({"signed": changed, "jws": jws})),
            403,
            "NOT_SUBJECT",
        ),
        (
            by(clinic_records(), json!({"signed": signed, "jws": others})),
            403,
            "NOT_SUBJECT",
        ),
        (
            by(clinic_records(), json!({"signed": signed, "jws": "a.b.c"})),
            400,
            "BAD_JWS",
        ),
        (
            by(clinic_records(), json!({"signed": signed})),
            400,
            "MALFORMED",
        ),
        (
            by(clinic_records(), json!({"signed": long, "jws": jws})),
            400,
            "MALFORMED",
        ),
        (
            by(
                clinic_records(),
                json!({"sid": SID, "signed": signed, "jws": jws}),
            ),
            400,
            "MALFORMED",
        ),
        (
            by(insurer(), json!({"signed": signed, "jws": jws})),
            403,
            "WRONG_ORG",
        ),
        (
            by(clinic_dpo(), json!({"signed": signed, "jws": jws})),
            403,
            "WRONG_ROLE",
        ),
    ] {
        refused(&world.ledger.submit(proposal), status, code);
    }
    let revoke = call("RevokeConsent", &clinic_records(), json!({"jws": jws}));
    refused(&world.ledger.submit(revoke), 400, "MALFORMED");
}

#[test]
fn a_card_that_is_not_in_force_signs_nothing() {
    let mut world = world();
    let put = |world: &World, card: &str, id: &str| {
        brought(
            world,
            "PutConsent",
            card,
            &text("PutConsent", START, given(id)),
        )
    };
    let raced = world.ledger.endorse(put(&world, "c1", "k1"));
    body(&raced.response);
    world.ok("Suspend", &issuer(), reason("c1", "LOST"));
    assert_eq!(world.ledger.commit(raced), Validity::MvccReadConflict);
    let suspended = put(&world, "c1", "k1");
    refused(&world.ledger.submit(suspended), 403, "NOT_SUBJECT");
    let replacement = world.replacement("c1", "c2");
    body(&world.ledger.submit(replacement));
    let old = put(&world, "c1", "k1");
    refused(&world.ledger.submit(old), 403, "NOT_SUBJECT");
    let new = put(&world, "c2", "k1");
    body(&world.ledger.submit(new));
}

#[test]
fn without_a_contract_of_cards_only_certificates_count() {
    let mut world = World::with_card("c1");
    let put = brought(
        &world,
        "PutConsent",
        "c1",
        &text("PutConsent", START, given("k1")),
    );
    refused(&world.ledger.submit(put.clone()), 422, "NO_CARDS");
    let admin = Caller::for_tests("RegulatorMSP", "a", &[]).with_node_role(Some(NodeRole::Admin));
    for cards in ["kv", "nothing"] {
        let configure = call("Configure", &admin, json!({"cardContract": cards}));
        body(&world.ledger.submit(configure));
        assert_eq!(world.ledger.submit(put.clone()).status, 500);
    }
}
