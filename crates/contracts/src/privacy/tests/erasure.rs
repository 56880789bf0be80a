//! From the wish to the proof, from the view of the subject, the holder, and whoever doubts it.

use super::*;

fn request(id: &str, ground: &str) -> Value {
    json!({"id": id, "holder": "HospitalMSP", "ground": ground})
}

fn attest(id: &str, keys: &[&str], vault_keys: &[String]) -> Value {
    let private = if keys.is_empty() {
        json!([])
    } else {
        json!([{"chaincode": "keeper", "keys": keys}])
    };
    json!({"id": id, "private": private, "vaultKeys": vault_keys, "method": "SHRED"})
}

#[test]
fn a_patient_is_erased_and_the_proof_stays() {
    let mut ledger = keeping(&["k-1", "k-2", "k-3"]);
    let vault = EmbeddedVault::new();
    let binding = Binding {
        record_id: "rec-1",
        version: 1,
        sid: SID,
    };
    let sealed = vault.seal(1, &binding, b"a result").unwrap();

    // The subject's right is asked for and decided in `records`.
    let records = |function: &str, caller: &Caller, args: Value| {
        Proposal::new("records", function, caller).json(&args)
    };
    let wish = json!({"eraseId": "e-1", "sid": SID, "custodian": "HospitalMSP"});
    body(&ledger.submit(records("RequestErasure", &patient(SID), wish)));

    let mut ask_for = request("x-1", "ERASURE");
    ask_for["reference"] = json!("e-1");
    ask_for["subject"] = json!(SID);
    ok(&mut ledger, "RequestPurge", &hospital_dpo(), ask_for);
    let question = json!({"id": "x-1", "records": "records"});
    let verified = ask(&ledger, "VerifyErasure", &patient(SID), question.clone());
    assert_eq!(
        (&verified["erased"], &verified["decision"]),
        (&json!(false), &json!("Requested"))
    );

    // The decision is not for everybody to read.
    for (who, status) in [
        (hospital_dpo(), 200),
        (auditor(), 200),
        (clinic_dpo(), 404),
        (patient(OTHER_SID), 404),
    ] {
        let read = records("ReadErasure", &who, json!({"eraseId": "e-1"}));
        assert_eq!(ledger.evaluate(read).status, status, "{}", who.msp_id());
    }
    let accepted = json!({"eraseId": "e-1", "verdict": "Accepted"});
    body(&ledger.submit(records("DecideErasure", &hospital_dpo(), accepted)));
    let destroyed = vault.shred(SID).unwrap();
    let answer = ok(
        &mut ledger,
        "AttestDestruction",
        &hospital_dpo(),
        attest("x-1", &["k-1", "k-2", "k-1"], &destroyed),
    );
    assert_eq!(answer, json!({"id": "x-1", "state": "Destroyed"}));

    // The document is gone, its fingerprint proves that it was there.
    assert!(vault.open(1, &binding, &sealed).is_err());
    assert!(crate::vault::verify(&sealed.ciphertext, &sealed.fingerprint.ct_hash).is_ok());

    let verified = ask(&ledger, "VerifyErasure", &patient(SID), question);
    assert_eq!(verified["erased"], true);
    assert_eq!(verified["decision"], "Accepted");
    assert_eq!(verified["vaultKeys"], json!(destroyed));
    let checks = verified["private"].as_array().unwrap();
    assert_eq!(checks.len(), 2);
    for check in checks {
        assert_eq!(
            (&check["recorded"], &check["gone"]),
            (&json!(true), &json!(true))
        );
    }
    let keyed = [hash(b"k-1"), hash(b"k-2")];
    for (check, key) in checks.iter().zip(keyed) {
        assert_eq!(check["keyHash"], json!(key));
    }
    let record = ask(&ledger, "ReadPurge", &auditor(), json!({"id": "x-1"}));
    assert_eq!(record["state"], "Destroyed");
    assert_eq!(record["holder"], "HospitalMSP");
    assert_eq!(record["method"], "SHRED");
    assert_eq!(record["ended"], START);
    // The third value is still there.
    let again = ledger.evaluate(
        Proposal::new("keeper", "ReadPurged", &auditor())
            .json(&json!({"org": "HospitalMSP", "keyHash": hash(b"k-3"), "reference": "x-1"})),
    );
    refused(&again, 404, "NOT_FOUND");
    let (name, payload) = ledger.events().last().unwrap();
    assert_eq!(name, "privacy.DestructionAttested");
    assert!(!payload.windows(SID.len()).any(|w| w == SID.as_bytes()));
    assert_clean(&ledger);
}

#[test]
fn a_value_that_comes_back_is_noticed() {
    let mut ledger = keeping(&["k-1"]);
    ok(
        &mut ledger,
        "RequestPurge",
        &hospital_dpo(),
        request("x-1", "RETENTION"),
    );
    ok(
        &mut ledger,
        "AttestDestruction",
        &hospital_dpo(),
        attest("x-1", &["k-1"], &[]),
    );
    let verify =
        |ledger: &TestLedger| ask(ledger, "VerifyErasure", &auditor(), json!({"id": "x-1"}));
    assert_eq!(verify(&ledger)["erased"], true);
    keep_again(&mut ledger, "k-1");
    let verified = verify(&ledger);
    assert_eq!(verified["erased"], false);
    assert_eq!(verified["private"][0]["gone"], false);
    // Purged again under another request, both have their record.
    ok(
        &mut ledger,
        "RequestPurge",
        &hospital_dpo(),
        request("x-2", "ERROR"),
    );
    ok(
        &mut ledger,
        "AttestDestruction",
        &hospital_dpo(),
        attest("x-2", &["k-1"], &[]),
    );
    for id in ["x-1", "x-2"] {
        let verified = ask(&ledger, "VerifyErasure", &auditor(), json!({"id": id}));
        assert_eq!(verified["erased"], true, "{id}");
    }
    keep_again(&mut ledger, "k-1");
    let again = Proposal::new("keeper", "PurgePrivate", &hospital_dpo())
        .json(&json!({"keys": ["k-1"], "ground": "ERROR", "reference": "x-2"}));
    refused(&ledger.submit(again), 409, "DUPLICATE");
}

#[test]
fn a_value_is_purged_by_its_contract_alone_with_a_record_too() {
    let mut ledger = keeping(&["k-1"]);
    let purge = |caller: &Caller, key: &str| {
        Proposal::new("keeper", "PurgePrivate", caller)
            .json(&json!({"keys": [key], "ground": "ERROR", "reference": "case-1"}))
    };
    refused(
        &ledger.submit(purge(&physician(), "k-1")),
        403,
        "WRONG_ROLE",
    );
    refused(&ledger.submit(purge(&outsider(), "k-1")), 403, "WRONG_ORG");
    refused(
        &ledger.submit(purge(&hospital_dpo(), "k-9")),
        404,
        "NOT_FOUND",
    );
    refused(&ledger.submit(purge(&hospital_dpo(), "")), 400, "MALFORMED");
    // Another organization's collection has no such value.
    refused(
        &ledger.submit(purge(&clinic_dpo(), "k-1")),
        404,
        "NOT_FOUND",
    );
    assert_eq!(ledger.submit(purge(&hospital_dpo(), "k-1")).status, 200);
    refused(
        &ledger.submit(purge(&hospital_dpo(), "k-1")),
        404,
        "NOT_FOUND",
    );
    let status =
        body(&ledger.evaluate(
            Proposal::new("keeper", "ReadPurged", &clinic_dpo()).json(
                &json!({"org": "HospitalMSP", "keyHash": hash(b"k-1"), "reference": "case-1"}),
            ),
        ));
    assert_eq!(status["present"], false);
    assert_eq!(status["record"]["ground"], "ERROR");
    assert_eq!(status["record"]["by"], "HospitalMSP");
}

#[test]
fn who_may_ask() {
    let mut ledger = TestLedger::new();
    let mut try_it = |caller: &Caller, args: Value, status, code| {
        refused(
            &ledger.submit(call("RequestPurge", caller, args)),
            status,
            code,
        );
    };
    let mut of_subject = request("x-1", "ERASURE");
    of_subject["subject"] = json!(SID);
    try_it(&patient(OTHER_SID), of_subject.clone(), 403, "NOT_SUBJECT");
    try_it(&patient(SID), request("x-1", "ERASURE"), 403, "NOT_SUBJECT");
    try_it(&physician(), request("x-1", "ERROR"), 403, "WRONG_ROLE");
    try_it(&clinic_dpo(), request("x-1", "ERROR"), 403, "WRONG_ORG");
    try_it(&outsider(), request("x-1", "ERROR"), 403, "WRONG_ORG");
    let unknown = json!({"id": "x-1", "holder": "StrangerMSP", "ground": "ORDER"});
    try_it(&auditor(), unknown, 422, "UNKNOWN_HOLDER");
    try_it(&auditor(), request("x-1", "WHIM"), 400, "MALFORMED");
    ok(
        &mut ledger,
        "RequestPurge",
        &patient(SID),
        of_subject.clone(),
    );
    refused(
        &ledger.submit(call("RequestPurge", &patient(SID), of_subject)),
        409,
        "DUPLICATE",
    );
    // Others do not learn that it exists.
    for stranger in [patient(OTHER_SID), clinic_dpo()] {
        let read = call("ReadPurge", &stranger, json!({"id": "x-1"}));
        refused(&ledger.evaluate(read), 404, "NOT_FOUND");
    }
    ask(&ledger, "ReadPurge", &patient(SID), json!({"id": "x-1"}));
}

#[test]
fn who_may_refuse_and_attest() {
    let mut ledger = keeping(&["k-1"]);
    ok(
        &mut ledger,
        "RequestPurge",
        &auditor(),
        request("order", "ORDER"),
    );
    ok(
        &mut ledger,
        "RequestPurge",
        &auditor(),
        request("wish", "RETENTION"),
    );
    let mut try_it = |function: &str, caller: &Caller, args: Value, status, code| {
        refused(&ledger.submit(call(function, caller, args)), status, code);
    };
    let refuse = |id: &str, until: i64| json!({"id": id, "reason": "TAX-LAW", "until": until});
    let dpo = hospital_dpo();
    try_it(
        "RefusePurge",
        &dpo,
        refuse("order", START + DAY),
        422,
        "ORDERED",
    );
    try_it("RefusePurge", &dpo, refuse("wish", START), 422, "PERIOD");
    try_it(
        "RefusePurge",
        &clinic_dpo(),
        refuse("wish", START + DAY),
        403,
        "NOT_HOLDER",
    );
    try_it(
        "RefusePurge",
        &dpo,
        refuse("none", START + DAY),
        404,
        "NOT_FOUND",
    );
    try_it(
        "AttestDestruction",
        &physician(),
        attest("order", &["k-1"], &[]),
        403,
        "WRONG_ROLE",
    );
    try_it(
        "AttestDestruction",
        &clinic_dpo(),
        attest("order", &["k-1"], &[]),
        403,
        "NOT_HOLDER",
    );
    try_it(
        "AttestDestruction",
        &dpo,
        attest("order", &[], &[]),
        422,
        "NOTHING_DESTROYED",
    );
    try_it(
        "AttestDestruction",
        &dpo,
        attest("order", &["k-9"], &[]),
        404,
        "PURGE_REFUSED",
    );
    let many: Vec<String> = (0..201).map(|n: u32| hash(&n.to_be_bytes())).collect();
    try_it(
        "AttestDestruction",
        &dpo,
        attest("order", &[], &many),
        400,
        "MALFORMED",
    );
    let other =
        json!({"id": "order", "private": [{"chaincode": "records", "keys": ["k"]}], "method": "M"});
    try_it("AttestDestruction", &dpo, other, 400, "PURGE_REFUSED");
    let odd =
        json!({"id": "order", "private": [{"chaincode": "kv", "keys": ["k"]}], "method": "M"});
    try_it("AttestDestruction", &dpo, odd, 400, "PURGE_REFUSED");

    ok(
        &mut ledger,
        "RefusePurge",
        &dpo,
        refuse("wish", START + DAY),
    );
    refused(
        &ledger.submit(call(
            "AttestDestruction",
            &dpo,
            attest("wish", &["k-1"], &[]),
        )),
        409,
        "BAD_STATE",
    );
    let key = hash(b"a key");
    ok(
        &mut ledger,
        "AttestDestruction",
        &dpo,
        attest("order", &[], std::slice::from_ref(&key)),
    );
    ok(&mut ledger, "RequestPurge", &dpo, request("more", "ERROR"));
    refused(
        &ledger.submit(call("AttestDestruction", &dpo, attest("more", &[], &[key]))),
        409,
        "ALREADY_DESTROYED",
    );
}

#[test]
fn two_attestations_at_once_are_one() {
    let mut ledger = keeping(&["k-1"]);
    ok(
        &mut ledger,
        "RequestPurge",
        &hospital_dpo(),
        request("x-1", "ERROR"),
    );
    let one = ledger.endorse(call(
        "AttestDestruction",
        &hospital_dpo(),
        attest("x-1", &["k-1"], &[]),
    ));
    let two = ledger.endorse(call(
        "RefusePurge",
        &hospital_dpo(),
        json!({"id": "x-1", "reason": "TAX-LAW", "until": START + DAY}),
    ));
    assert_eq!(ledger.commit(one), Validity::Valid);
    assert_eq!(ledger.commit(two), Validity::MvccReadConflict);
}

#[test]
fn a_salted_commitment_passes_the_scanner_and_a_bare_hash_does_not() {
    let salt = Salt::from_hex("00112233445566778899aabbccddeeff").unwrap();
    let salted = commit("identity 1", &salt, &[b"11010519491231002X"]);
    let mut ledger = TestLedger::new();
    let epoch = |n: u32, print: &str| json!({"sector": "care", "epoch": n, "fingerprint": print});
    ok(&mut ledger, "OpenEpoch", &hospital_dpo(), epoch(1, &salted));
    assert_clean(&ledger);
    ok(
        &mut ledger,
        "OpenEpoch",
        &clinic_dpo(),
        epoch(1, &hash(b"11010519491231002X")),
    );
    let found = Scanner::new([Identifier::new(Kind::NationalId, "11010519491231002X")])
        .unwrap()
        .scan(ledger.published());
    assert!(!found.is_empty());
}
