use serde_json::{Value, json};

use crate::caller::{Caller, NodeRole};
use crate::contract::Response;
use crate::testing::{Proposal, START, TestLedger, Validity};
use crate::vault::{Binding, KeyRing, SUITE, Sealed, hash, pseudonym};

const SID: &str = "JOHNNIEJOHNNIEJOHNNIEJOHNN";
const OTHER_SID: &str = "LUNALUNALUNALUNALUNALUNALU";
const GUARDIAN_SID: &str = "GUARDIANGUARDIANGUARDIANGU";
const DAY: i64 = 86_400;

fn physician() -> Caller {
    Caller::for_tests(
        "HospitalMSP",
        "u1",
        &[("hc.role", "physician"), ("hc.pid", "p-1")],
    )
}
fn clinic_records() -> Caller {
    Caller::for_tests("ClinicMSP", "u2", &[("hc.role", "records")])
}
fn clinic_dpo() -> Caller {
    Caller::for_tests("ClinicMSP", "u3", &[("hc.role", "dpo")])
}
fn patient() -> Caller {
    Caller::for_tests(
        "HospitalMSP",
        "u4",
        &[("hc.role", "patient"), ("hc.sid", SID)],
    )
}
fn stranger() -> Caller {
    Caller::for_tests(
        "HospitalMSP",
        "u5",
        &[("hc.role", "patient"), ("hc.sid", OTHER_SID)],
    )
}
fn guardian() -> Caller {
    Caller::for_tests(
        "CitizenMSP",
        "u6",
        &[("hc.role", "guardian"), ("hc.sid", GUARDIAN_SID)],
    )
}
fn auditor() -> Caller {
    Caller::for_tests("RegulatorMSP", "u7", &[("hc.role", "auditor")])
}
fn certifier() -> Caller {
    Caller::for_tests("RegulatorMSP", "u8", &[("hc.role", "certifier")])
}
fn insurer() -> Caller {
    Caller::for_tests("InsurerMSP", "u9", &[("hc.role", "adjudicator")])
}
fn maker() -> Caller {
    Caller::for_tests("MakerMSP", "u10", &[("hc.role", "regulatory")])
}

fn call(function: &str, caller: &Caller, args: Value) -> Proposal {
    Proposal::new("records", function, caller).json(&args)
}

fn body(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.message);
    serde_json::from_slice(&response.payload).unwrap()
}

fn refused(response: &Response, status: i32, code: &str) {
    let prefix = format!("{code}: ");
    assert!(
        response.status == status && response.message.starts_with(&prefix),
        "expected {status} {code}, got {} {} {}",
        response.status,
        response.message,
        String::from_utf8_lossy(&response.payload)
    );
    assert!(response.payload.is_empty());
}

fn entry(id: &str, kind: &str) -> Value {
    json!({
        "id": id, "sid": SID, "kind": kind,
        "ctHash": hash(id.as_bytes()), "ptCommit": hash(b"salted"),
        "size": 100, "suite": SUITE, "epoch": 0, "vaultRef": format!("v-{id}"),
        "fhir": ["Observation/0d1b3c9e-7a55-4f2a-9d5e-1f6f0a8b7c11"],
    })
}

/// A ledger with a lab, an imaging and a very restricted note of one patient at the clinic.
fn registered() -> TestLedger {
    let mut ledger = TestLedger::new();
    let mut note = entry("note", "clinical-note");
    note["confidentiality"] = json!("V");
    let args = json!({"records": [entry("lab", "lab"), entry("img", "imaging"), note]});
    let answer = body(&ledger.submit(call("RegisterRecords", &clinic_records(), args)));
    assert_eq!(answer["state"], "Current");
    ledger
}

fn consent(id: &str, kinds: Value) -> Value {
    json!({"sid": SID, "consent": {
        "id": id, "period": {"to": START + 30 * DAY},
        "provisions": [{"type": "permit", "orgs": ["HospitalMSP"], "purposes": ["TREAT"], "kinds": kinds, "obligations": ["NO_ONWARD"]}],
    }})
}

fn access(id: &str, record: &str) -> Value {
    json!({"accessId": id, "target": {"records": [record]}, "purpose": "TREAT", "purposeRef": "Encounter/e-1"})
}

#[test]
fn a_refused_request_is_committed_as_evidence() {
    let mut ledger = registered();
    let before = ledger.height();
    let answer = body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))));
    assert_eq!(
        answer,
        json!({"id": "a1", "state": "Denied", "decision": "Denied", "code": "NO_CONSENT"})
    );
    assert_eq!(ledger.height(), before + 1);
    let (name, payload) = ledger.events().last().unwrap();
    assert_eq!(name, "records.AccessDecided");
    let event: Value = serde_json::from_slice(payload).unwrap();
    assert_eq!(
        event,
        json!({"id": "a1", "state": "Denied", "org": "HospitalMSP", "ref": "NO_CONSENT"})
    );
    let read = body(&ledger.evaluate(call("ReadAccess", &auditor(), json!({"accessId": "a1"}))));
    assert_eq!(read["org"], "HospitalMSP");
    assert_eq!(read["role"], "physician");
    assert_eq!(read["pid"], "p-1");
    assert_eq!(read["purpose"], "TREAT");
    assert_eq!(read["profile"], "PIPL");
    assert_eq!(read.get("consent"), None);
}

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
fn a_key_is_released_only_in_time_and_while_the_consent_lasts() {
    let mut ledger = registered();
    body(&ledger.submit(call("PutConsent", &patient(), consent("c1", json!([])))));
    for id in ["a1", "a2", "a3"] {
        body(&ledger.submit(call("RequestAccess", &physician(), access(id, "lab"))));
    }
    let release = |id: &str, caller: &Caller| {
        call(
            "ConfirmRelease",
            caller,
            json!({"accessId": id, "keyFingerprint": hash(b"key")}),
        )
    };
    let hospital = Caller::for_tests("HospitalMSP", "x", &[("hc.role", "records")]);
    refused(
        &ledger.submit(release("a1", &hospital)),
        403,
        "NOT_CUSTODIAN",
    );
    refused(
        &ledger.submit(release("a1", &physician())),
        403,
        "WRONG_ROLE",
    );
    ledger.advance(15 * 60);
    body(&ledger.submit(release("a1", &clinic_records())));
    refused(
        &ledger.submit(release("a1", &clinic_records())),
        409,
        "BAD_STATE",
    );
    ledger.advance(1);
    refused(
        &ledger.submit(release("a2", &clinic_records())),
        422,
        "GRANT_EXPIRED",
    );
    ledger.advance(-1);
    body(&ledger.submit(call(
        "RevokeConsent",
        &patient(),
        json!({"sid": SID, "id": "c1"}),
    )));
    refused(
        &ledger.submit(release("a3", &clinic_records())),
        403,
        "NO_CONSENT",
    );
}

#[test]
fn a_tampered_document_is_found_by_its_fingerprint_and_noted() {
    let mut ledger = TestLedger::new();
    let mut keys = KeyRing::new();
    let sid = pseudonym(b"care sector key", "national", "999-66-6607");
    let subject = Caller::for_tests(
        "HospitalMSP",
        "s",
        &[("hc.role", "patient"), ("hc.sid", &sid)],
    );
    let binding = Binding {
        record_id: "r1",
        version: 1,
        sid: &sid,
    };
    let document =
        br#"{"resourceType":"Patient","name":[{"family":"Hermiston71"}],"birthDate":"2009-03-20"}"#;
    let sealed = keys.seal(0, &binding, document).unwrap();
    let fingerprint = &sealed.fingerprint;
    let args = json!({"records": [{
        "id": "r1", "sid": sid, "kind": "other", "ctHash": fingerprint.ct_hash, "ptCommit": fingerprint.pt_commit,
        "size": fingerprint.size, "suite": SUITE, "vaultRef": "v-1",
    }]});
    body(&ledger.submit(call("RegisterRecords", &clinic_records(), args)));
    let mut put = consent("c1", json!([]));
    put["sid"] = json!(sid);
    body(&ledger.submit(call("PutConsent", &subject, put)));
    for id in ["a1", "a2"] {
        body(&ledger.submit(call("RequestAccess", &physician(), access(id, "r1"))));
        body(&ledger.submit(call(
            "ConfirmRelease",
            &clinic_records(),
            json!({"accessId": id, "keyFingerprint": hash(b"k")}),
        )));
    }
    let receive = |id: &str, bytes: &[u8]| {
        call(
            "ConfirmReceipt",
            &physician(),
            json!({"accessId": id, "received": [{"id": "r1", "ctHash": hash(bytes)}]}),
        )
    };
    // The right bytes.
    assert_eq!(keys.open(0, &binding, &sealed).unwrap(), document);
    assert_eq!(
        body(&ledger.submit(receive("a1", &sealed.ciphertext)))["decision"],
        "Intact"
    );
    // One flipped byte.
    let mut flipped = sealed.clone();
    flipped.ciphertext[40] ^= 1;
    let verify = |bytes: &[u8]| {
        call(
            "Verify",
            &maker(),
            json!({"id": "r1", "ctHash": hash(bytes)}),
        )
    };
    assert_eq!(
        body(&ledger.evaluate(verify(&sealed.ciphertext)))["code"],
        "OK"
    );
    assert_eq!(
        body(&ledger.evaluate(verify(&flipped.ciphertext)))["code"],
        "TAMPERED"
    );
    let answer = body(&ledger.submit(receive("a2", &flipped.ciphertext)));
    assert_eq!(
        answer,
        json!({"id": "a2", "state": "Tampered", "decision": "Tampered", "code": "TAMPERED"})
    );
    assert_eq!(ledger.events().last().unwrap().0, "records.TamperDetected");
    let noted = body(&ledger.evaluate(call("ReadAccess", &auditor(), json!({"accessId": "a2"}))));
    assert_eq!(noted["tampered"], json!(["r1"]));
    refused(
        &ledger.submit(receive("a2", &sealed.ciphertext)),
        409,
        "BAD_STATE",
    );
    // An old version in place of the new one.
    let new = keys
        .seal(
            0,
            &Binding {
                version: 2,
                ..binding
            },
            b"corrected",
        )
        .unwrap();
    let amend = json!({"ifVersion": 1, "entry": {
        "id": "r1", "sid": sid, "kind": "other", "ctHash": new.fingerprint.ct_hash, "ptCommit": new.fingerprint.pt_commit,
        "size": new.fingerprint.size, "suite": SUITE, "vaultRef": "v-2",
    }});
    body(&ledger.submit(call("AmendRecord", &clinic_records(), amend)));
    assert_eq!(
        body(&ledger.evaluate(verify(&sealed.ciphertext)))["code"],
        "TAMPERED"
    );
    // Nothing of the person in anything that the channel has seen.
    let Sealed { ciphertext, .. } = sealed;
    assert!(!contains(&ciphertext, b"Hermiston71"));
    for secret in [
        "Hermiston71",
        "999-66-6607",
        "2009-03-20",
        "care sector key",
        &hash(document),
        &hash(b"999-66-6607"),
    ] {
        assert!(!contains(ledger.published(), secret.as_bytes()), "{secret}");
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
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

#[test]
fn every_refusal_of_a_registration_has_its_code_and_leaves_no_state() {
    let mut ledger = registered();
    let keys = ledger.key_count("records");
    let one = |change: &str, value: Value| {
        let mut entry = entry("new", "lab");
        entry[change] = value;
        json!({"records": [entry]})
    };
    let fine = json!({"records": [entry("new", "lab")]});
    let cases = [
        (
            clinic_records(),
            json!({"records": [entry("lab", "lab")]}),
            409,
            "DUPLICATE",
        ),
        (
            clinic_records(),
            json!({"records": [entry("n", "lab"), entry("n", "lab")]}),
            409,
            "DUPLICATE",
        ),
        (maker(), fine.clone(), 403, "WRONG_ORG"),
        (clinic_dpo(), fine.clone(), 403, "WRONG_ROLE"),
        (
            Caller::for_tests("ClinicMSP", "n", &[]),
            fine,
            403,
            "WRONG_ROLE",
        ),
        (clinic_records(), json!({"records": []}), 400, "MALFORMED"),
        (
            clinic_records(),
            json!({"records": "all"}),
            400,
            "MALFORMED",
        ),
        (clinic_records(), json!([]), 400, "MALFORMED"),
        (
            clinic_records(),
            one("id", json!("with space")),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("sid", json!("999-66-6607")),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("ctHash", json!("abcd")),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("ptCommit", json!(hash(b"x").to_uppercase())),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("kind", json!("4548-4")),
            400,
            "MALFORMED",
        ),
        (clinic_records(), one("size", json!(-1)), 400, "MALFORMED"),
        (clinic_records(), one("size", json!(1.5)), 400, "MALFORMED"),
        (
            clinic_records(),
            one("vaultRef", json!("Johnnie Hermiston")),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("name", json!("Johnnie")),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("fhir", json!(["Observation/a/_history/1"])),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("fhir", json!(["http://x/Observation/a"])),
            400,
            "MALFORMED",
        ),
        (
            clinic_records(),
            one("fhir", json!(["Patient/p1"])),
            422,
            "PERSON_REFERENCE",
        ),
        (
            clinic_records(),
            one("fhir", json!(["Practitioner/p1"])),
            422,
            "PERSON_REFERENCE",
        ),
    ];
    for (caller, args, status, code) in cases {
        refused(
            &ledger.submit(call("RegisterRecords", &caller, args)),
            status,
            code,
        );
    }
    assert_eq!(ledger.key_count("records"), keys);
}

#[test]
fn a_thousand_records_are_one_transaction_and_one_more_is_refused() {
    let mut ledger = TestLedger::new();
    let batch = |count: usize| {
        let records: Vec<_> = (0..count).map(|n| entry(&format!("r{n}"), "lab")).collect();
        call(
            "RegisterRecords",
            &clinic_records(),
            json!({"records": records}),
        )
    };
    refused(&ledger.submit(batch(1001)), 400, "MALFORMED");
    body(&ledger.submit(batch(1000)));
    let first = body(&ledger.evaluate(call("ListRecords", &auditor(), json!({"sid": SID}))));
    assert_eq!(first["entries"].as_array().unwrap().len(), 200);
    let mut seen = 200;
    let mut bookmark = first["bookmark"].clone();
    while !bookmark.is_null() {
        let page = body(&ledger.evaluate(call(
            "ListRecords",
            &auditor(),
            json!({"sid": SID, "bookmark": bookmark}),
        )));
        seen += page["entries"].as_array().unwrap().len();
        bookmark = page["bookmark"].clone();
    }
    assert_eq!(seen, 1000);
    let all = json!({"accessId": "a", "target": {"sid": SID}, "purpose": "TREAT"});
    refused(
        &ledger.submit(call("RequestAccess", &physician(), all)),
        422,
        "TOO_MANY_RECORDS",
    );
}

#[test]
fn malformed_arguments_are_told_what_was_expected() {
    let ledger = TestLedger::new();
    let response =
        ledger.evaluate(Proposal::new("records", "RevokeConsent", &patient()).arg("{\"sid\":"));
    refused(&response, 400, "MALFORMED");
    assert!(
        response
            .message
            .contains(r#"RevokeConsent expects {"sid","id"}"#),
        "{}",
        response.message
    );
    refused(
        &ledger.evaluate(Proposal::new("records", "Nonsense", &patient())),
        400,
        "UNKNOWN_FUNCTION",
    );
    let extra = call("RevokeConsent", &patient(), json!({}))
        .arg("id")
        .arg("extra");
    refused(&ledger.evaluate(extra), 400, "MALFORMED");
    let binary = Proposal::new("records", "RevokeConsent", &patient()).arg([0xff, 0xfe]);
    refused(&ledger.evaluate(binary), 400, "MALFORMED");
}

#[test]
fn amending_follows_versions_and_keeps_the_past() {
    let mut ledger = registered();
    let amend = |version: u32, change: fn(&mut Value)| {
        let mut new = entry("lab", "lab");
        new["ctHash"] = json!(hash(b"second"));
        change(&mut new);
        json!({"ifVersion": version, "entry": new})
    };
    let hospital = Caller::for_tests("HospitalMSP", "h", &[("hc.role", "records")]);
    refused(
        &ledger.submit(call("AmendRecord", &hospital, amend(1, |_| ()))),
        403,
        "NOT_CUSTODIAN",
    );
    refused(
        &ledger.submit(call("AmendRecord", &clinic_records(), amend(2, |_| ()))),
        412,
        "VERSION",
    );
    refused(
        &ledger.submit(call(
            "AmendRecord",
            &clinic_records(),
            amend(1, |e| e["sid"] = json!(OTHER_SID)),
        )),
        422,
        "SUBJECT_CHANGED",
    );
    refused(
        &ledger.submit(call(
            "AmendRecord",
            &clinic_records(),
            amend(1, |e| e["id"] = json!("none")),
        )),
        404,
        "NOT_FOUND",
    );
    body(&ledger.submit(call("AmendRecord", &clinic_records(), amend(1, |_| ()))));
    let now = body(&ledger.evaluate(call("ReadRecord", &auditor(), json!({"id": "lab"}))));
    assert_eq!(now["version"], 2);
    assert_eq!(now["prev"], json!(hash(b"lab")));
    body(&ledger.submit(call(
        "MarkError",
        &clinic_records(),
        json!({"id": "lab", "reasonCode": "WRONG_SUBJECT"}),
    )));
    refused(
        &ledger.submit(call("AmendRecord", &clinic_records(), amend(2, |_| ()))),
        409,
        "BAD_STATE",
    );
    refused(
        &ledger.submit(call(
            "MarkError",
            &clinic_records(),
            json!({"id": "lab", "reasonCode": "X"}),
        )),
        409,
        "BAD_STATE",
    );
    refused(
        &ledger.submit(call(
            "MarkError",
            &clinic_records(),
            json!({"id": "img", "reasonCode": "free text"}),
        )),
        400,
        "MALFORMED",
    );
    let history = body(&ledger.evaluate(call("RecordHistory", &auditor(), json!({"id": "lab"}))));
    let states: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["value"]["state"].clone())
        .collect();
    assert_eq!(states, ["EnteredInError", "Current", "Current"]);
    refused(
        &ledger.evaluate(call("RecordHistory", &auditor(), json!({"id": "none"}))),
        404,
        "NOT_FOUND",
    );
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))))["code"],
        "ENTERED_IN_ERROR"
    );
}

#[test]
fn requests_that_cannot_be_decided_are_plain_errors() {
    let mut ledger = registered();
    let mut others = entry("other", "lab");
    others["sid"] = json!(OTHER_SID);
    body(&ledger.submit(call(
        "RegisterRecords",
        &clinic_records(),
        json!({"records": [others]}),
    )));
    let hospital = Caller::for_tests("HospitalMSP", "h", &[("hc.role", "records")]);
    body(&ledger.submit(call(
        "RegisterRecords",
        &hospital,
        json!({"records": [entry("elsewhere", "lab")]}),
    )));
    body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))));
    let to = |target: Value| json!({"accessId": "a2", "target": target, "purpose": "TREAT"});
    let height = ledger.height();
    let cases = [
        (access("a1", "lab"), 409, "DUPLICATE"),
        (access("a2", "none"), 404, "NOT_FOUND"),
        (
            to(json!({"sid": SID, "kinds": ["claim"]})),
            404,
            "NOT_FOUND",
        ),
        (
            to(json!({"records": ["lab", "other"]})),
            422,
            "MIXED_SUBJECTS",
        ),
        (
            to(json!({"records": ["lab", "elsewhere"]})),
            422,
            "MIXED_CUSTODIANS",
        ),
        (to(json!({})), 400, "MALFORMED"),
        (
            to(json!({"records": ["lab"], "sid": SID})),
            400,
            "MALFORMED",
        ),
        (
            json!({"accessId": "a2", "target": {"records": ["lab"]}, "purpose": "ETREAT"}),
            422,
            "PURPOSE",
        ),
        (
            json!({"accessId": "a2", "target": {"records": ["lab"]}, "purpose": "CURIOSITY"}),
            400,
            "MALFORMED",
        ),
    ];
    for (args, status, code) in cases {
        refused(
            &ledger.submit(call("RequestAccess", &physician(), args)),
            status,
            code,
        );
    }
    assert_eq!(ledger.height(), height, "a plain error orders nothing");
    let fitting = to(json!({"sid": SID, "custodian": "ClinicMSP", "kinds": ["lab"]}));
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), fitting)))["code"],
        "NO_CONSENT"
    );
}

#[test]
fn one_denied_document_denies_the_request() {
    let mut ledger = registered();
    body(&ledger.submit(call(
        "PutConsent",
        &patient(),
        consent("c1", json!(["lab"])),
    )));
    let both = json!({"accessId": "a1", "target": {"records": ["lab", "img"]}, "purpose": "TREAT"});
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), both)))["code"],
        "NO_CONSENT"
    );
    let entry = body(&ledger.evaluate(call("ReadAccess", &physician(), json!({"accessId": "a1"}))));
    let codes: Vec<_> = entry["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["code"].clone())
        .collect();
    assert_eq!(codes, ["NO_CONSENT", "CONSENT"]);
    assert_eq!(entry.get("obligations"), None);
    let dry = json!({"target": {"records": ["lab"]}, "purpose": "TREAT"});
    assert_eq!(
        body(&ledger.evaluate(call("EvaluateAccess", &physician(), dry)))["decision"],
        "Permitted"
    );
}

#[test]
fn breaking_the_glass_opens_a_review_that_the_patient_sees() {
    let mut ledger = registered();
    let glass = |id: &str| json!({"accessId": id, "target": {"sid": SID}, "reasonCode": "UNCONSCIOUS", "placeRef": "ER-1"});
    let nurse = Caller::for_tests("HospitalMSP", "n", &[("hc.role", "nurse")]);
    let answer = body(&ledger.submit(call("BreakGlass", &nurse, glass("g1"))));
    assert_eq!(
        (&answer["state"], &answer["code"]),
        (&json!("Denied"), &json!("CREDENTIAL"))
    );
    assert_eq!(
        body(&ledger.submit(call("BreakGlass", &insurer(), glass("g2"))))["code"],
        "CREDENTIAL"
    );
    // The very restricted note included, and against a denial.
    let deny = json!({"sid": SID, "consent": {"id": "d", "period": {"to": START + DAY}, "provisions": [{"type": "deny", "orgs": ["HospitalMSP"]}]}});
    body(&ledger.submit(call("PutConsent", &patient(), deny)));
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))))["code"],
        "CONSENT_DENY"
    );
    let answer = body(&ledger.submit(call("BreakGlass", &physician(), glass("g3"))));
    assert_eq!(answer["state"], "Emergency");
    let open = body(&ledger.evaluate(call("OpenReviews", &auditor(), json!({}))));
    assert_eq!(open["entries"][0]["id"], "g3");
    assert_eq!(open["entries"][0]["reviewDue"], START + 72 * 3600);
    let review = json!({"accessId": "g3", "verdict": "Justified"});
    refused(
        &ledger.submit(call("ReviewBreakGlass", &physician(), review.clone())),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(call("ReviewBreakGlass", &certifier(), review.clone())),
        403,
        "WRONG_ROLE",
    );
    refused(
        &ledger.submit(call(
            "ReviewBreakGlass",
            &auditor(),
            json!({"accessId": "g1", "verdict": "Abuse"}),
        )),
        409,
        "BAD_STATE",
    );
    body(&ledger.submit(call("ReviewBreakGlass", &auditor(), review.clone())));
    refused(
        &ledger.submit(call("ReviewBreakGlass", &auditor(), review)),
        409,
        "BAD_STATE",
    );
    assert_eq!(
        body(&ledger.evaluate(call("OpenReviews", &auditor(), json!({}))))["entries"],
        json!([])
    );
    let seen = body(&ledger.evaluate(call("Accounting", &patient(), json!({"sid": SID}))));
    let states: Vec<_> = seen["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["id"].as_str().unwrap(), e["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [
            ("a1", "Denied"),
            ("g1", "Denied"),
            ("g2", "Denied"),
            ("g3", "Justified")
        ]
    );
}

#[test]
fn accounting_is_for_the_subject_and_the_auditor_and_comes_in_pages() {
    let mut ledger = registered();
    for n in 0..205 {
        body(&ledger.submit(call(
            "RequestAccess",
            &physician(),
            access(&format!("a{n:03}"), "lab"),
        )));
        ledger.advance(1);
    }
    for caller in [physician(), stranger(), insurer(), certifier()] {
        let response = ledger.evaluate(call("Accounting", &caller, json!({"sid": SID})));
        assert_eq!(response.status, 403, "{}", response.message);
    }
    let first = body(&ledger.evaluate(call("Accounting", &patient(), json!({"sid": SID}))));
    assert_eq!(first["entries"].as_array().unwrap().len(), 200);
    let rest = body(&ledger.evaluate(call(
        "Accounting",
        &patient(),
        json!({"sid": SID, "bookmark": first["bookmark"]}),
    )));
    assert_eq!(rest["entries"].as_array().unwrap().len(), 5);
    assert_eq!(rest.get("bookmark"), None);
    let some = body(&ledger.evaluate(call(
        "Accounting",
        &auditor(),
        json!({"sid": SID, "from": START + 10, "to": START + 12}),
    )));
    let ids: Vec<_> = some["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["id"].clone())
        .collect();
    assert_eq!(ids, ["a010", "a011"]);
}

#[test]
fn an_access_entry_is_invisible_to_those_it_does_not_concern() {
    let mut ledger = registered();
    body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))));
    for (caller, visible) in [
        (physician(), true),
        (clinic_records(), true),
        (auditor(), true),
        (patient(), true),
        (stranger(), false),
        (insurer(), false),
        (maker(), false),
    ] {
        let response = ledger.evaluate(call("ReadAccess", &caller, json!({"accessId": "a1"})));
        let missing = ledger.evaluate(call("ReadAccess", &caller, json!({"accessId": "a2"})));
        refused(&missing, 404, "NOT_FOUND");
        if visible {
            body(&response);
        } else {
            assert_eq!(response.message, missing.message.replace("a2", "a1"));
        }
    }
}

#[test]
fn erasure_is_asked_for_decided_and_attested() {
    let mut ledger = registered();
    let ask = |id: &str| json!({"eraseId": id, "sid": SID, "custodian": "ClinicMSP"});
    refused(
        &ledger.submit(call("RequestErasure", &stranger(), ask("e1"))),
        403,
        "NOT_SUBJECT",
    );
    body(&ledger.submit(call("RequestErasure", &patient(), ask("e1"))));
    refused(
        &ledger.submit(call("RequestErasure", &patient(), ask("e1"))),
        409,
        "DUPLICATE",
    );
    let decide = |id: &str, verdict: &str| json!({"eraseId": id, "verdict": verdict});
    let hospital_dpo = Caller::for_tests("HospitalMSP", "d", &[("hc.role", "dpo")]);
    refused(
        &ledger.submit(call(
            "DecideErasure",
            &hospital_dpo,
            decide("e1", "Accepted"),
        )),
        403,
        "NOT_CUSTODIAN",
    );
    refused(
        &ledger.submit(call(
            "DecideErasure",
            &clinic_records(),
            decide("e1", "Accepted"),
        )),
        403,
        "WRONG_ROLE",
    );
    refused(
        &ledger.submit(call(
            "DecideErasure",
            &clinic_dpo(),
            decide("e1", "Retained"),
        )),
        422,
        "GROUND",
    );
    let retained = json!({"eraseId": "e1", "verdict": "Retained", "ground": "CN-OUTPATIENT-15Y", "until": START + DAY});
    assert_eq!(
        body(&ledger.submit(call("DecideErasure", &clinic_dpo(), retained)))["state"],
        "Retained"
    );
    let attest = |id: &str, ids: Value| json!({"eraseId": id, "ids": ids, "keyIds": ["kek-0"], "method": "KEK_DESTROYED"});
    refused(
        &ledger.submit(call(
            "AttestErasure",
            &clinic_dpo(),
            attest("e1", json!(["lab"])),
        )),
        409,
        "BAD_STATE",
    );
    body(&ledger.submit(call("RequestErasure", &patient(), ask("e2"))));
    body(&ledger.submit(call(
        "DecideErasure",
        &clinic_dpo(),
        decide("e2", "Accepted"),
    )));
    let mut others = entry("other", "lab");
    others["sid"] = json!(OTHER_SID);
    body(&ledger.submit(call(
        "RegisterRecords",
        &clinic_records(),
        json!({"records": [others]}),
    )));
    refused(
        &ledger.submit(call(
            "AttestErasure",
            &clinic_dpo(),
            attest("e2", json!(["lab", "other"])),
        )),
        422,
        "NOT_IN_SCOPE",
    );
    body(&ledger.submit(call(
        "AttestErasure",
        &clinic_dpo(),
        attest("e2", json!(["lab", "img", "note"])),
    )));
    let own = json!({"accessId": "a1", "target": {"records": ["lab"]}, "purpose": "PATRQT"});
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &patient(), own)))["code"],
        "ERASED"
    );
    let glass = json!({"accessId": "a2", "target": {"records": ["lab"]}, "reasonCode": "X", "placeRef": "ER"});
    assert_eq!(
        body(&ledger.submit(call("BreakGlass", &physician(), glass)))["code"],
        "ERASED"
    );
    // The fingerprint stays, so a saved copy can still be shown to be the one that existed.
    assert_eq!(
        body(&ledger.evaluate(call(
            "Verify",
            &auditor(),
            json!({"id": "lab", "ctHash": hash(b"lab")})
        )))["code"],
        "OK"
    );
}

#[test]
fn the_same_request_id_gives_the_first_answer_once() {
    let mut ledger = registered();
    let request = |caller: &Caller, args: Value| call("RequestAccess", caller, args).arg("req-1");
    let first = ledger.submit(request(&physician(), access("a1", "lab")));
    let keys = ledger.key_count("records");
    let events = ledger.events().len();
    let again = ledger.submit(request(&physician(), access("a1", "lab")));
    assert_eq!(first, again);
    assert_eq!(
        (ledger.key_count("records"), ledger.events().len()),
        (keys, events)
    );
    refused(
        &ledger.submit(request(&physician(), access("a2", "lab"))),
        409,
        "REQUEST_ID_REUSED",
    );
    let colleague = Caller::for_tests("HospitalMSP", "other", &[("hc.role", "physician")]);
    refused(
        &ledger.submit(request(&colleague, access("a1", "lab"))),
        409,
        "REQUEST_ID_REUSED",
    );
    // Other organizations number their requests on their own.
    body(&ledger.submit(request(&insurer(), access("a3", "lab"))));
    let long = call("RequestAccess", &physician(), access("a9", "lab")).arg("x".repeat(65));
    refused(&ledger.submit(long), 400, "MALFORMED");
}

#[test]
fn two_racing_requests_with_one_id_commit_once() {
    let mut ledger = registered();
    let request = || call("RequestAccess", &physician(), access("a1", "lab")).arg("req-1");
    let (one, two) = (ledger.endorse(request()), ledger.endorse(request()));
    assert_eq!(ledger.commit(one), Validity::Valid);
    assert_eq!(ledger.commit(two), Validity::MvccReadConflict);
}

#[test]
fn timestamps_far_from_the_endorsers_clock_are_refused() {
    let mut ledger = registered();
    ledger.set_endorser_time(Some(START));
    for (offset, accepted) in [
        (0, true),
        (300, true),
        (-300, true),
        (301, false),
        (-3600, false),
    ] {
        let id = format!("a{}", offset + 5000);
        let simulated = ledger.endorse_at(
            call("RequestAccess", &physician(), access(&id, "lab")),
            START + offset,
        );
        if accepted {
            body(&simulated.response);
        } else {
            refused(&simulated.response, 400, "CLOCK_SKEW");
        }
    }
}

#[test]
fn the_law_profile_is_the_regulators_and_changes_later_decisions_only() {
    let mut ledger = registered();
    refused(
        &ledger.submit(call(
            "SetLawProfile",
            &physician(),
            json!({"profile": "HIPAA"}),
        )),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(call(
            "SetLawProfile",
            &auditor(),
            json!({"profile": "HIPAA"}),
        )),
        403,
        "WRONG_ROLE",
    );
    refused(
        &ledger.submit(call(
            "SetLawProfile",
            &certifier(),
            json!({"profile": "NONE"}),
        )),
        400,
        "MALFORMED",
    );
    let racing = ledger.endorse(call("RequestAccess", &physician(), access("a1", "lab")));
    body(&ledger.submit(call(
        "SetLawProfile",
        &certifier(),
        json!({"profile": "HIPAA"}),
    )));
    assert_eq!(ledger.commit(racing), Validity::MvccReadConflict);
    let answer = body(&ledger.submit(call("RequestAccess", &physician(), access("a2", "lab"))));
    assert_eq!(answer["code"], "LAW");
    assert_eq!(
        body(&ledger.submit(call("RequestAccess", &physician(), access("a3", "note"))))["code"],
        "NO_CONSENT"
    );
}

#[test]
fn organizations_can_be_configured_and_then_only_by_the_regulator() {
    let mut ledger = TestLedger::new();
    let config =
        json!({"providers": ["StMaryMSP"], "regulators": ["BoardMSP"], "citizens": ["StMaryMSP"]});
    refused(
        &ledger.submit(call("Configure", &physician(), config.clone())),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(call("Configure", &certifier(), json!({"regulators": []}))),
        400,
        "MALFORMED",
    );
    refused(
        &ledger.submit(call("Configure", &certifier(), json!({"hospitals": []}))),
        400,
        "MALFORMED",
    );
    let admin = Caller::for_tests("StMaryMSP", "admin", &[]).with_node_role(Some(NodeRole::Admin));
    body(&ledger.submit(call("Configure", &admin, config.clone())));
    refused(
        &ledger.submit(call("Configure", &admin, config.clone())),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(call("Configure", &certifier(), config.clone())),
        403,
        "WRONG_ORG",
    );
    let board = Caller::for_tests("BoardMSP", "b", &[("hc.role", "certifier")]);
    body(&ledger.submit(call("Configure", &board, config)));
    let writer = Caller::for_tests("StMaryMSP", "w", &[("hc.role", "records")]);
    body(&ledger.submit(call(
        "RegisterRecords",
        &writer,
        json!({"records": [entry("r", "lab")]}),
    )));
    refused(
        &ledger.submit(call(
            "RegisterRecords",
            &clinic_records(),
            json!({"records": [entry("s", "lab")]}),
        )),
        403,
        "WRONG_ORG",
    );
    let read = body(&ledger.evaluate(call("ReadConfig", &writer, json!({}))));
    assert_eq!(
        (&read["providers"], &read["lawProfile"]),
        (&json!(["StMaryMSP"]), &json!("PIPL"))
    );
}
