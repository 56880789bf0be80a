//! Who may consent, to what, and until when.

use super::*;

#[test]
fn consent_opens_what_it_names_until_it_is_revoked() {
    let mut ledger = registered();
    body(&ledger.submit(call(
        "PutConsent",
        &patient(),
        consent("c1", json!(["lab"])),
    )));
    let decide = |ledger: &mut TestLedger, id: &str, record: &str| {
        body(&ledger.submit(call("RequestAccess", &physician(), access(id, record))))["code"]
            .clone()
    };
    assert_eq!(decide(&mut ledger, "a1", "lab"), "CONSENT");
    assert_eq!(decide(&mut ledger, "a2", "img"), "NO_CONSENT");
    let a1 = body(&ledger.evaluate(call("ReadAccess", &physician(), json!({"accessId": "a1"}))));
    assert_eq!(a1["consent"], "c1");
    assert_eq!(a1["obligations"], json!(["NO_ONWARD"]));
    body(&ledger.submit(call(
        "RevokeConsent",
        &patient(),
        json!({"sid": SID, "id": "c1"}),
    )));
    assert_eq!(decide(&mut ledger, "a3", "lab"), "NO_CONSENT");
    let again = ledger.submit(call(
        "RevokeConsent",
        &patient(),
        json!({"sid": SID, "id": "c1"}),
    ));
    refused(&again, 409, "BAD_STATE");
    // Neither revocation nor the decision can be undone by putting the same consent again.
    refused(
        &ledger.submit(call(
            "PutConsent",
            &patient(),
            consent("c1", json!(["lab"])),
        )),
        409,
        "DUPLICATE",
    );
}

#[test]
fn consent_ends_with_its_period() {
    let mut ledger = registered();
    body(&ledger.submit(call("PutConsent", &patient(), consent("c1", json!([])))));
    ledger.set_time(START + 30 * DAY - 1);
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))))["code"],
        "CONSENT"
    );
    ledger.advance(1);
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), access("a2", "lab"))))["code"],
        "NO_CONSENT"
    );
}

#[test]
fn a_revocation_wins_against_every_access_endorsed_before_it() {
    let mut ledger = registered();
    body(&ledger.submit(call("PutConsent", &patient(), consent("c1", json!([])))));
    let racers: Vec<_> = (0..50)
        .map(|n| {
            ledger.endorse(call(
                "RequestAccess",
                &physician(),
                access(&format!("a{n}"), "lab"),
            ))
        })
        .collect();
    let revoke = ledger.endorse(call(
        "RevokeConsent",
        &patient(),
        json!({"sid": SID, "id": "c1"}),
    ));
    let mut racers = racers.into_iter();
    for racer in racers.by_ref().take(10) {
        assert_eq!(
            ledger.commit(racer),
            Validity::Valid,
            "accesses do not disturb one another"
        );
    }
    assert_eq!(ledger.commit(revoke), Validity::Valid);
    for racer in racers {
        assert_ne!(ledger.commit(racer), Validity::Valid);
    }
}

#[test]
fn a_consent_given_meanwhile_invalidates_a_decision_made_without_it() {
    let mut ledger = registered();
    let denied = ledger.endorse(call("RequestAccess", &physician(), access("a1", "lab")));
    body(&ledger.submit(call("PutConsent", &patient(), consent("c1", json!([])))));
    assert_eq!(ledger.commit(denied), Validity::PhantomReadConflict);
}

#[test]
fn only_subject_and_guardian_speak_about_consent() {
    let mut ledger = registered();
    for caller in [
        physician(),
        stranger(),
        clinic_records(),
        auditor(),
        guardian(),
        insurer(),
    ] {
        refused(
            &ledger.submit(call("PutConsent", &caller, consent("c1", json!([])))),
            403,
            "NOT_SUBJECT",
        );
    }
    // The right attributes, from an organization that does not identify patients.
    let forged = Caller::for_tests("MakerMSP", "f", &[("hc.role", "patient"), ("hc.sid", SID)]);
    refused(
        &ledger.submit(call("PutConsent", &forged, consent("c1", json!([])))),
        403,
        "NOT_SUBJECT",
    );
    body(&ledger.submit(call("PutConsent", &patient(), consent("c1", json!([])))));
    refused(
        &ledger.submit(call(
            "RevokeConsent",
            &stranger(),
            json!({"sid": SID, "id": "c1"}),
        )),
        403,
        "NOT_SUBJECT",
    );
    let mut other = consent("c2", json!([]));
    other["sid"] = json!(SID);
    refused(
        &ledger.submit(call("PutConsent", &stranger(), other)),
        403,
        "NOT_SUBJECT",
    );
}

#[test]
fn a_guardian_speaks_while_the_link_lasts() {
    let mut ledger = registered();
    let link = |until: i64| json!({"guardianSid": GUARDIAN_SID, "sid": SID, "until": until, "evidenceHash": hash(b"e")});
    refused(
        &ledger.submit(call("LinkGuardian", &guardian(), link(START + DAY))),
        403,
        "WRONG_ROLE",
    );
    refused(
        &ledger.submit(call("LinkGuardian", &maker(), link(START + DAY))),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(call("LinkGuardian", &clinic_records(), link(START))),
        422,
        "PERIOD",
    );
    let own =
        json!({"guardianSid": SID, "sid": SID, "until": START + DAY, "evidenceHash": hash(b"e")});
    refused(
        &ledger.submit(call("LinkGuardian", &clinic_records(), own)),
        422,
        "SELF_GUARDIAN",
    );
    body(&ledger.submit(call("LinkGuardian", &clinic_records(), link(START + DAY))));
    body(&ledger.submit(call("PutConsent", &guardian(), consent("c1", json!([])))));
    let stored = body(&ledger.evaluate(call(
        "ReadConsent",
        &auditor(),
        json!({"sid": SID, "id": "c1"}),
    )));
    assert_eq!(stored["guardian"], GUARDIAN_SID);
    let own_access = json!({"accessId": "a1", "target": {"sid": SID}, "purpose": "PATRQT"});
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &guardian(), own_access)))["code"],
        "SUBJECT"
    );
    let unlink = json!({"guardianSid": GUARDIAN_SID, "sid": SID});
    body(&ledger.submit(call("UnlinkGuardian", &clinic_records(), unlink.clone())));
    refused(
        &ledger.submit(call("UnlinkGuardian", &clinic_records(), unlink)),
        409,
        "BAD_STATE",
    );
    refused(
        &ledger.submit(call(
            "RevokeConsent",
            &guardian(),
            json!({"sid": SID, "id": "c1"}),
        )),
        403,
        "NOT_SUBJECT",
    );
    body(&ledger.submit(call("LinkGuardian", &clinic_records(), link(START + DAY))));
    ledger.set_time(START + DAY);
    refused(
        &ledger.submit(call(
            "RevokeConsent",
            &guardian(),
            json!({"sid": SID, "id": "c1"}),
        )),
        403,
        "NOT_SUBJECT",
    );
}

#[test]
fn bad_consents_are_refused() {
    let mut ledger = registered();
    let with = |provision: Value, period: Value| json!({"sid": SID, "consent": {"id": "c", "period": period, "provisions": [provision]}});
    let later = json!({"to": START + DAY});
    let good = json!({"type": "permit", "orgs": ["HospitalMSP"], "purposes": ["TREAT"]});
    let mixed = json!({"sid": SID, "consent": {"id": "c", "period": later, "provisions": [
        good, {"type": "permit", "roles": ["investigator"], "purposes": ["HRESCH"]}]}});
    let cases = [
        (
            with(
                json!({"type": "permit", "purposes": ["TREAT"]}),
                later.clone(),
            ),
            422,
            "NO_GRANTEE",
        ),
        (
            with(
                json!({"type": "permit", "orgs": ["HospitalMSP"]}),
                later.clone(),
            ),
            422,
            "NO_PURPOSE",
        ),
        (with(good.clone(), json!({"to": START})), 422, "PERIOD"),
        (
            with(
                good.clone(),
                json!({"from": START + 2 * DAY, "to": START + DAY}),
            ),
            422,
            "PERIOD",
        ),
        (mixed.clone(), 422, "SEPARATE_CONSENT"),
        (
            with(
                json!({"type": "permit", "orgs": ["Dr. Smith's"], "purposes": ["TREAT"]}),
                later.clone(),
            ),
            400,
            "MALFORMED",
        ),
        (
            with(json!({"type": "maybe"}), later.clone()),
            400,
            "MALFORMED",
        ),
        (
            with(json!({"type": "deny", "why": "because"}), later.clone()),
            400,
            "MALFORMED",
        ),
        (
            json!({"sid": "short", "consent": {"id": "c", "period": later, "provisions": [good]}}),
            400,
            "MALFORMED",
        ),
        (
            json!({"sid": SID, "consent": {"id": "c", "period": {"to": START + 1}, "provisions": []}}),
            400,
            "MALFORMED",
        ),
    ];
    for (args, status, code) in cases {
        refused(
            &ledger.submit(call("PutConsent", &patient(), args)),
            status,
            code,
        );
    }
    assert_eq!(
        body(&ledger.submit(call(
            "SetLawProfile",
            &certifier(),
            json!({"profile": "HIPAA"})
        )))["state"],
        "HIPAA"
    );
    body(&ledger.submit(call("PutConsent", &patient(), mixed)));
}

#[test]
fn sixty_four_consents_are_enough_and_expired_ones_make_room() {
    let mut ledger = registered();
    for n in 0..64 {
        let mut args = consent(&format!("c{n}"), json!([]));
        args["consent"]["period"] = json!({"to": START + 10 + i64::from(n == 0)});
        body(&ledger.submit(call("PutConsent", &patient(), args)));
    }
    refused(
        &ledger.submit(call("PutConsent", &patient(), consent("more", json!([])))),
        422,
        "TOO_MANY_CONSENTS",
    );
    ledger.advance(10);
    body(&ledger.submit(call("PutConsent", &patient(), consent("more", json!([])))));
    let left = body(&ledger.evaluate(call("ListConsents", &auditor(), json!({"sid": SID}))));
    assert_eq!(left.as_array().unwrap().len(), 2);
}
