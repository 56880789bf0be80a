//! With a registry: who may no longer practise is refused, and the refusal is evidence.

use super::*;
use crate::providers::tests as registry;

/// A clinic's documents, a consent for the hospital, and a registry that knows of physician p-1
/// at the hospital (credential c-1).
fn guarded() -> TestLedger {
    let mut ledger = registry::practice();
    let args = json!({"records": [entry("lab", "lab"), entry("img", "imaging")]});
    body(&ledger.submit(call("RegisterRecords", &clinic_records(), args)));
    body(&ledger.submit(call("PutConsent", &patient(), consent("c1", json!([])))));
    registry::use_registry(&mut ledger, "records");
    ledger
}

fn break_glass(id: &str) -> Value {
    json!({"accessId": id, "target": {"records": ["lab"]}, "reasonCode": "UNCONSCIOUS",
        "placeRef": "Location/er"})
}

/// The code of a committed verdict, and what the entry says of the requester's standing.
fn decided(ledger: &mut TestLedger, function: &str, who: &Caller, args: Value) -> (Value, Value) {
    let id = args["accessId"].clone();
    let height = ledger.height();
    let verdict = body(&ledger.submit(call(function, who, args)));
    assert_eq!(ledger.height(), height + 1);
    let read = call("ReadAccess", &auditor(), json!({"accessId": id}));
    let entry = body(&ledger.evaluate(read));
    assert_eq!(entry["code"], verdict["code"]);
    (verdict["code"].clone(), entry["standing"].clone())
}

#[test]
fn a_suspended_physician_is_denied_and_the_denial_is_kept() {
    let mut ledger = guarded();
    let who = physician();
    let (code, standing) = decided(&mut ledger, "RequestAccess", &who, access("a1", "lab"));
    assert_eq!((code, standing), (json!("CONSENT"), json!(null)));
    let (code, _) = decided(&mut ledger, "BreakGlass", &who, break_glass("b1"));
    assert_eq!(code, "EMERGENCY");
    registry::suspend(&mut ledger, "c-1");
    for (function, args) in [
        ("RequestAccess", access("a2", "lab")),
        ("BreakGlass", break_glass("b2")),
    ] {
        let (code, standing) = decided(&mut ledger, function, &who, args);
        assert_eq!((code, standing), (json!("CREDENTIAL"), json!("SUSPENDED")));
    }
    let dry = json!({"target": {"records": ["lab"]}, "purpose": "TREAT"});
    let dry = body(&ledger.evaluate(call("EvaluateAccess", &who, dry)));
    assert_eq!(
        (&dry["decision"], &dry["code"]),
        (&json!("Denied"), &json!("CREDENTIAL"))
    );
    // The patient sees the attempt.
    let accounts = body(&ledger.evaluate(call("Accounting", &patient(), json!({"sid": SID}))));
    let denied = accounts["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["standing"] == "SUSPENDED")
        .count();
    assert_eq!(denied, 2);
}

#[test]
fn the_registry_says_why() {
    let mut ledger = guarded();
    let at = |attributes: &[(&str, &str)]| Caller::for_tests("HospitalMSP", "u20", attributes);
    let role = ("hc.role", "physician");
    for (id, who, expected) in [
        ("a1", at(&[role]), "NO_PID"),
        ("a2", at(&[role, ("hc.pid", "p-2")]), "UNKNOWN"),
        (
            "a3",
            at(&[("hc.role", "nurse"), ("hc.pid", "p-1")]),
            "UNKNOWN",
        ),
        (
            "a4",
            at(&[role, ("hc.pid", "p-1"), ("hc.facility", "elsewhere")]),
            "OTHER_FACILITY",
        ),
        ("a5", insurer(), "UNKNOWN"),
    ] {
        let (code, standing) = decided(&mut ledger, "RequestAccess", &who, access(id, "lab"));
        assert_eq!(
            (code, standing),
            (json!("CREDENTIAL"), json!(expected)),
            "{id}"
        );
    }
    let here = at(&[role, ("hc.pid", "p-1"), ("hc.facility", "HospitalMSP.1")]);
    let (code, _) = decided(&mut ledger, "RequestAccess", &here, access("a6", "lab"));
    assert_eq!(code, "CONSENT");
    ledger.advance(365 * DAY);
    let (_, standing) = decided(
        &mut ledger,
        "RequestAccess",
        &physician(),
        access("a7", "lab"),
    );
    assert_eq!(standing, "EXPIRED");
}

#[test]
fn patients_need_no_credential_payers_a_registered_organization() {
    let mut ledger = guarded();
    let mut own = access("a1", "lab");
    own["purpose"] = json!("PATRQT");
    let (code, _) = decided(&mut ledger, "RequestAccess", &patient(), own);
    assert_eq!(code, "SUBJECT");
    let (code, standing) = decided(
        &mut ledger,
        "RequestAccess",
        &auditor(),
        access("a2", "lab"),
    );
    assert_eq!((code, standing), (json!("NO_CONSENT"), json!(null)));
    registry::register_org(&mut ledger, "InsurerMSP");
    let (code, standing) = decided(
        &mut ledger,
        "RequestAccess",
        &insurer(),
        access("a3", "lab"),
    );
    assert_eq!((code, standing), (json!("NO_CONSENT"), json!(null)));
}

#[test]
fn a_suspension_between_endorsement_and_commit_invalidates_the_access() {
    let org = json!({"msp": "HospitalMSP", "reasonCode": "AUDIT"});
    let licence = json!({"msp": "HospitalMSP", "no": "L-1", "reasonCode": "AUDIT"});
    let facility = json!({"id": "HospitalMSP.1", "reasonCode": "FIRE"});
    let credential = json!({"credId": "c-1", "reasonCode": "MISCONDUCT"});
    for (function, args) in [
        ("SuspendCredential", credential.clone()),
        ("RevokeCredential", credential),
        ("SuspendOrg", org),
        ("SuspendLicence", licence),
        ("SuspendFacility", facility),
    ] {
        let mut ledger = guarded();
        let request = ledger.endorse(call("RequestAccess", &physician(), access("a1", "lab")));
        let glass = ledger.endorse(call("BreakGlass", &physician(), break_glass("b1")));
        assert_eq!(body(&request.response)["decision"], "Permitted");
        assert_eq!(body(&glass.response)["code"], "EMERGENCY");
        registry::ok(&mut ledger, function, &registry::certifier(), args);
        for simulation in [request, glass] {
            let validity = ledger.commit(simulation);
            assert!(
                matches!(
                    validity,
                    Validity::MvccReadConflict | Validity::PhantomReadConflict
                ),
                "{function}: {validity:?}"
            );
        }
        for id in ["a1", "b1"] {
            let read = call("ReadAccess", &auditor(), json!({"accessId": id}));
            refused(&ledger.evaluate(read), 404, "NOT_FOUND");
        }
    }
}

#[test]
fn a_suspension_after_the_decision_stops_the_key() {
    let mut ledger = guarded();
    body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))));
    let release = || {
        let args = json!({"accessId": "a1", "keyFingerprint": hash(b"key")});
        call("ConfirmRelease", &clinic_records(), args)
    };
    let racing = ledger.endorse(release());
    assert_eq!(racing.response.status, 200);
    registry::suspend(&mut ledger, "c-1");
    assert_eq!(ledger.commit(racing), Validity::MvccReadConflict);
    refused(&ledger.submit(release()), 403, "CREDENTIAL");
    let reinstate = json!({"credId": "c-1", "reasonCode": "CLEARED"});
    registry::ok(
        &mut ledger,
        "ReinstateCredential",
        &registry::certifier(),
        reinstate,
    );
    assert_eq!(body(&ledger.submit(release()))["state"], "Released");
}

#[test]
fn whoever_registers_documents_needs_a_credential() {
    let mut ledger = guarded();
    registry::licensed(&mut ledger, "ClinicMSP", &["care"]);
    let clerk = |pid: &str| {
        let attributes = [("hc.role", "records"), ("hc.pid", pid)];
        Caller::for_tests("ClinicMSP", "u21", &attributes)
    };
    let register = |who: &Caller, id: &str| {
        let args = json!({"records": [entry(id, "lab")]});
        call("RegisterRecords", who, args)
    };
    let amend = json!({"ifVersion": 1, "entry": entry("lab", "lab")});
    let error = json!({"id": "img", "reasonCode": "WRONG_PATIENT"});
    refused(
        &ledger.submit(register(&clinic_records(), "r1")),
        403,
        "CREDENTIAL",
    );
    let who = clerk("p-9");
    for proposal in [
        register(&who, "r1"),
        call("AmendRecord", &who, amend.clone()),
        call("MarkError", &who, error.clone()),
    ] {
        refused(&ledger.submit(proposal), 403, "CREDENTIAL");
    }
    registry::employ(&mut ledger, "c-9", "p-9", "ClinicMSP", "records");
    for proposal in [
        register(&who, "r1"),
        call("AmendRecord", &who, amend),
        call("MarkError", &who, error),
    ] {
        body(&ledger.submit(proposal));
    }
    let racing = ledger.endorse(register(&who, "r2"));
    registry::suspend(&mut ledger, "c-9");
    assert_eq!(ledger.commit(racing), Validity::MvccReadConflict);
    refused(&ledger.submit(register(&who, "r2")), 403, "CREDENTIAL");
}

#[test]
fn a_registry_that_does_not_answer_lets_nobody_in() {
    let mut ledger = guarded();
    for (registry, code) in [
        ("elsewhere", "LEDGER"),
        ("kv", "REGISTRY"),
        ("devices", "REGISTRY"),
    ] {
        let admin = certifier().with_node_role(Some(NodeRole::Admin));
        let args = json!({"registry": registry});
        body(&ledger.submit(call("Configure", &admin, args)));
        let response = ledger.submit(call("RequestAccess", &physician(), access("a1", "lab")));
        refused(&response, 500, code);
    }
}
