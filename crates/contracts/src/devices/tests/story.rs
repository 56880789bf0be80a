//! The stories of the devices contract, told from maker to patient and back.

use super::*;

#[test]
fn a_unit_goes_from_maker_to_patient_and_one_query_tells_it() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    implant(&mut ledger, "S1", &surgeon(), SID);
    let trace = ask(
        &ledger,
        "TraceUnit",
        &with("InsurerMSP", "fraud"),
        json!({"unit": unit("S1")}),
    );
    let story: Vec<_> = trace["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| {
            (
                h["unit"]["state"].as_str().unwrap(),
                h["unit"]["holder"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        story,
        [
            ("Manufactured", "MakerMSP"),
            ("InTransit", "MakerMSP"),
            ("InStock", "HospitalMSP"),
            ("Implanted", "HospitalMSP"),
        ]
    );
    assert_eq!(trace["product"]["certificate"]["no"], format!("CERT-{DI}"));
    assert_eq!(trace["lot"]["expires"], "2027-12-31");
    assert_eq!(trace["unit"]["procedure"], "Procedure/p1");
    let commit = implant_commitment(
        &hex::decode(SALT).unwrap(),
        SID,
        "Procedure/p1",
        "2026-11-23",
    );
    assert_eq!(trace["unit"]["patientCommit"], commit);
    let names: Vec<_> = ledger
        .events()
        .iter()
        .map(|(name, _)| name.trim_start_matches("devices."))
        .collect();
    assert_eq!(
        names,
        [
            "ProductRegistered",
            "CertificationSubmitted",
            "ProductCertified",
            "LotRegistered",
            "UnitsRegistered",
            "UnitsShipped",
            "UnitsReceived",
            "UnitImplanted",
        ]
    );
}

#[test]
fn the_patient_is_seen_by_the_custodian_alone() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    implant(&mut ledger, "S1", &surgeon(), SID);
    let question = || json!({"unit": unit("S1")});
    assert_eq!(
        ask(&ledger, "ReadPatient", &surgeon(), question())["patient"]["sid"],
        SID
    );
    for (caller, status, code) in [
        (clinic_surgeon(), 403, "NOT_HOLDER"),
        (supply(), 403, "WRONG_ROLE"),
        (vigilance(), 403, "WRONG_ORG"),
        (with("HospitalMSP", "patient"), 403, "WRONG_ROLE"),
    ] {
        no(
            &mut ledger,
            "ReadPatient",
            &caller,
            question(),
            status,
            code,
        );
    }
    let text = String::from_utf8_lossy(ledger.published()).into_owned();
    assert!(
        !text.contains(SID) && !text.contains(SALT) && text.contains("_implicit_org_HospitalMSP")
    );
    ledger.hide_collection("_implicit_org_HospitalMSP", true);
    no(
        &mut ledger,
        "ReadPatient",
        &surgeon(),
        question(),
        404,
        "PRIVATE_DATA_NOT_HERE",
    );
}

#[test]
fn the_commitment_may_be_made_by_the_hospital_and_is_checked_when_the_patient_comes_along() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    let args = |commit: Value| json!({"unit": unit("S1"), "procedureRef": "Procedure/p1", "patientCommit": commit});
    let link = |salt: &str| {
        json!({"sid": SID, "procedure": "Procedure/p1", "date": "2026-11-23", "salt": salt})
            .to_string()
    };
    let refused = |ledger: &mut TestLedger, proposal: Proposal, status: i32, code: &str| {
        let response = ledger.submit(proposal);
        assert!(
            response.status == status && response.message.starts_with(code),
            "{}",
            response.message
        );
        assert!(!response.message.contains(SID));
    };
    let plain = json!({"unit": unit("S1"), "procedureRef": "Procedure/p1"});
    refused(
        &mut ledger,
        call("Implant", &surgeon(), plain.clone()),
        400,
        "MALFORMED",
    );
    refused(
        &mut ledger,
        call("Implant", &surgeon(), plain.clone()).transient("implant", link("00")),
        400,
        "MALFORMED",
    );
    refused(
        &mut ledger,
        call("Implant", &surgeon(), plain.clone()).transient("implant", link(&"z".repeat(32))),
        400,
        "MALFORMED",
    );
    refused(
        &mut ledger,
        call("Implant", &surgeon(), plain).transient("implant", format!("\"{SID}\"")),
        400,
        "MALFORMED",
    );
    let other = args(json!(hash(b"somebody else")));
    refused(
        &mut ledger,
        call("Implant", &surgeon(), other).transient("implant", link(SALT)),
        422,
        "COMMIT_MISMATCH",
    );
    ok(
        &mut ledger,
        "Implant",
        &surgeon(),
        args(json!(hash(b"commitment"))),
    );
    no(
        &mut ledger,
        "ReadPatient",
        &surgeon(),
        json!({"unit": unit("S1")}),
        404,
        "PRIVATE_DATA_NOT_HERE",
    );
}

#[test]
fn an_erased_patient_leaves_the_unit_and_the_proof_but_no_name() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    implant(&mut ledger, "S1", &surgeon(), SID);
    let salt = hex::decode(SALT).unwrap();
    let question = || call("ReadPatient", &surgeon(), json!({"unit": unit("S1")}));
    assert_eq!(ledger.evaluate(question()).status, 200);
    let commit = implant_commitment(&salt, SID, "Procedure/p1", "2026-11-23");
    // The data protection officer purges it through `privacy`, which calls this contract.
    let dpo = with("HospitalMSP", "dpo");
    let privacy =
        |function: &str, args: Value| Proposal::new("privacy", function, &dpo).json(&args);
    let request = json!({"id": "x-1", "holder": "HospitalMSP", "ground": "ERASURE"});
    body(&ledger.submit(privacy("RequestPurge", request)));
    let attest = json!({"id": "x-1", "private": [{"chaincode": "devices", "keys": [commit]}], "method": "PURGE"});
    body(&ledger.submit(privacy("AttestDestruction", attest)));
    let verified = body(&ledger.evaluate(privacy("VerifyErasure", json!({"id": "x-1"}))));
    assert_eq!(verified["erased"], true);
    let answer = ledger.evaluate(question());
    assert_eq!(answer.status, 404, "{}", answer.message);
    assert_eq!(state_of(&ledger, "S1"), "Implanted");
}

#[test]
fn the_same_request_with_another_patient_is_another_request() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    let implant = |sid: &str| {
        let link =
            json!({"sid": sid, "procedure": "Procedure/p1", "date": "2026-11-23", "salt": SALT});
        call(
            "Implant",
            &surgeon(),
            json!({"unit": unit("S1"), "procedureRef": "Procedure/p1"}),
        )
        .arg("request-1")
        .transient("implant", link.to_string())
    };
    let first = ledger.submit(implant(SID));
    body(&first);
    assert_eq!(ledger.submit(implant(SID)), first);
    let other = ledger.submit(implant("LUNALUNALUNALUNALUNALUNALU"));
    assert_eq!(
        (other.status, &other.message[..17]),
        (409, "REQUEST_ID_REUSED")
    );
}

#[test]
fn a_published_package_that_contains_nothing_known_is_refused() {
    let mut ledger = made();
    let package = |pkg: &str, inner: &str| json!({"pkgDi": pkg, "containsDi": inner, "qty": 25});
    no(
        &mut ledger,
        "RegisterPackage",
        &regulatory(),
        package("00844868017264", "00844868017288"),
        422,
        "UNKNOWN_CONTAINED_DI",
    );
    no(
        &mut ledger,
        "RegisterPackage",
        &regulatory(),
        package("00844868017265", DI),
        422,
        "BAD_CHECK_DIGIT",
    );
    ok(
        &mut ledger,
        "RegisterPackage",
        &regulatory(),
        package("00844868017264", DI),
    );
    no(
        &mut ledger,
        "RegisterPackage",
        &regulatory(),
        package("00844868017264", DI),
        409,
        "DUPLICATE",
    );
    ok(
        &mut ledger,
        "RegisterPackage",
        &regulatory(),
        package("00844868017288", "00844868017264"),
    );
}

#[test]
fn a_certificate_rules_what_is_made_and_what_leaves_the_maker() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    ok(
        &mut ledger,
        "SuspendProduct",
        &certifier(),
        json!({"di": DI, "reason": "AUDIT-7"}),
    );
    let lot = json!({"di": DI, "lot": "L2", "exp": "2027-12-31", "qty": 5});
    no(
        &mut ledger,
        "RegisterLot",
        &shipping(),
        lot.clone(),
        422,
        "NOT_CERTIFIED",
    );
    no(
        &mut ledger,
        "RegisterUnits",
        &shipping(),
        json!({"di": DI, "lot": "L1", "serials": ["S4"]}),
        422,
        "NOT_CERTIFIED",
    );
    no(
        &mut ledger,
        "Ship",
        &shipping(),
        json!({"units": [unit("S2")], "to": "HospitalMSP"}),
        422,
        "NOT_CERTIFIED",
    );
    no(
        &mut ledger,
        "Implant",
        &surgeon(),
        json!({"unit": unit("S1"), "procedureRef": "Procedure/p", "patientCommit": hash(b"c")}),
        422,
        "NOT_CERTIFIED",
    );
    assert_eq!(
        ask(
            &ledger,
            "CheckUdi",
            &supply(),
            json!({"carrier": carrier("S1")})
        )["code"],
        "NOT_CERTIFIED"
    );
    no(
        &mut ledger,
        "SubmitCertification",
        &regulatory(),
        json!({"di": DI, "certNo": format!("CERT-{DI}"), "type": "T", "docHashes": [hash(b"f")]}),
        409,
        "DUPLICATE",
    );
    ok(
        &mut ledger,
        "SubmitCertification",
        &regulatory(),
        json!({"di": DI, "certNo": "CERT-2", "type": "T", "docHashes": [hash(b"f")]}),
    );
    no(
        &mut ledger,
        "Certify",
        &certifier(),
        json!({"di": DI, "certNo": "CERT-3", "validTo": START + DAY}),
        422,
        "OTHER_CERTIFICATE",
    );
    no(
        &mut ledger,
        "Certify",
        &certifier(),
        json!({"di": DI, "certNo": "CERT-2", "validTo": START}),
        422,
        "PERIOD",
    );
    ok(
        &mut ledger,
        "Certify",
        &certifier(),
        json!({"di": DI, "certNo": "CERT-2", "validTo": START + DAY}),
    );
    ok(&mut ledger, "RegisterLot", &shipping(), lot);
    // Run out: nothing new, but what was made in time may still be used.
    ledger.advance(DAY);
    no(
        &mut ledger,
        "RegisterLot",
        &shipping(),
        json!({"di": DI, "lot": "L3", "exp": "2027-12-31", "qty": 5}),
        422,
        "NOT_CERTIFIED",
    );
    no(
        &mut ledger,
        "Ship",
        &shipping(),
        json!({"units": [unit("S2")], "to": "HospitalMSP"}),
        422,
        "NOT_CERTIFIED",
    );
    implant(&mut ledger, "S1", &surgeon(), SID);
    ok(
        &mut ledger,
        "WithdrawProduct",
        &certifier(),
        json!({"di": DI, "reason": "END"}),
    );
    no(
        &mut ledger,
        "SuspendProduct",
        &certifier(),
        json!({"di": DI, "reason": "X"}),
        409,
        "BAD_STATE",
    );
}

#[test]
fn units_without_serial_numbers_are_numbered_within_their_lot() {
    let mut ledger = TestLedger::new();
    let mut screws = product(DI);
    screws["product"]["label"] = json!({"lot": true});
    certified(&mut ledger, screws);
    ok(
        &mut ledger,
        "RegisterLot",
        &shipping(),
        json!({"di": DI, "lot": "L1", "qty": 3}),
    );
    no(
        &mut ledger,
        "RegisterUnits",
        &shipping(),
        json!({"di": DI, "lot": "L1", "serials": ["S1"]}),
        400,
        "MALFORMED",
    );
    ok(
        &mut ledger,
        "RegisterUnits",
        &shipping(),
        json!({"di": DI, "lot": "L1", "count": 2}),
    );
    ok(
        &mut ledger,
        "RegisterUnits",
        &shipping(),
        json!({"di": DI, "lot": "L1", "count": 1}),
    );
    no(
        &mut ledger,
        "RegisterUnits",
        &shipping(),
        json!({"di": DI, "lot": "L1", "count": 1}),
        422,
        "LOT_OVERRUN",
    );
    ok(
        &mut ledger,
        "Ship",
        &shipping(),
        json!({"units": [unit("#3")], "to": "HospitalMSP"}),
    );
    let answer = ok(
        &mut ledger,
        "Receive",
        &supply(),
        json!({"units": [unit("#3")], "scans": [format!("(01){DI}(10)L1")]}),
    );
    assert_eq!(answer["code"], "OK");
}

#[test]
fn adverse_events_are_reported_by_those_who_see_them() {
    let mut ledger = made();
    let report = |id: &str| json!({"eventId": id, "di": DI, "lot": "L1", "serial": "S1", "severity": "serious", "docHash": hash(b"d")});
    for (n, caller) in [surgeon(), vigilance(), with("CitizenMSP", "patient")]
        .iter()
        .enumerate()
    {
        ok(&mut ledger, "ReportEvent", caller, report(&format!("e{n}")));
    }
    no(
        &mut ledger,
        "ReportEvent",
        &surgeon(),
        report("e0"),
        409,
        "DUPLICATE",
    );
    no(
        &mut ledger,
        "ReportEvent",
        &certifier(),
        report("e9"),
        403,
        "WRONG_ORG",
    );
    no(
        &mut ledger,
        "ReportEvent",
        &surgeon(),
        json!({"eventId": "e9", "di": "09504000059118", "severity": "minor", "docHash": hash(b"d")}),
        404,
        "NOT_FOUND",
    );
}

#[test]
fn two_hospitals_cannot_use_one_unit() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    let args = |commit: &[u8]| json!({"unit": unit("S1"), "procedureRef": "Procedure/p", "patientCommit": hash(commit)});
    let one = ledger.endorse(call("Implant", &surgeon(), args(b"a")));
    let two = ledger.endorse(call("Implant", &surgeon(), args(b"b")));
    assert_eq!(ledger.commit(one), Validity::Valid);
    assert_eq!(ledger.commit(two), Validity::MvccReadConflict);
    no(
        &mut ledger,
        "Implant",
        &surgeon(),
        args(b"b"),
        409,
        "ALREADY_USED",
    );
    no(
        &mut ledger,
        "Implant",
        &clinic_surgeon(),
        args(b"b"),
        409,
        "ALREADY_USED",
    );
}
