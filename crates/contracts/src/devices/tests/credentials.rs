//! With a registry: who receives devices is licensed, and who implants them has a credential.

use super::*;
use crate::providers::tests as registry;

/// Units S1 to S3 at the maker, and a registry that knows of the hospital and of its physician
/// p-1, who is no surgeon.
fn guarded() -> TestLedger {
    let mut ledger = made();
    registry::licensed(&mut ledger, "HospitalMSP", &["care", "implant"]);
    registry::employ(&mut ledger, "c-1", "p-1", "HospitalMSP", "physician");
    registry::use_registry(&mut ledger, "devices");
    ledger
}

fn ship(to: &str) -> Value {
    json!({"units": [unit("S1")], "to": to})
}

#[test]
fn nothing_is_shipped_to_who_is_not_registered_or_suspended() {
    let mut ledger = guarded();
    no(
        &mut ledger,
        "Ship",
        &shipping(),
        ship("ClinicMSP"),
        422,
        "ORG_INACTIVE",
    );
    let racing = ledger.endorse(call("Ship", &shipping(), ship("HospitalMSP")));
    let reason = json!({"msp": "HospitalMSP", "reasonCode": "AUDIT"});
    registry::ok(
        &mut ledger,
        "SuspendOrg",
        &registry::certifier(),
        reason.clone(),
    );
    assert_eq!(ledger.commit(racing), Validity::MvccReadConflict);
    no(
        &mut ledger,
        "Ship",
        &shipping(),
        ship("HospitalMSP"),
        422,
        "ORG_INACTIVE",
    );
    registry::ok(&mut ledger, "ReinstateOrg", &registry::certifier(), reason);
    deliver(&mut ledger, "S1", &supply());
}

#[test]
fn only_whose_credential_for_implants_is_in_force_implants() {
    let mut ledger = guarded();
    deliver(&mut ledger, "S1", &supply());
    deliver(&mut ledger, "S2", &supply());
    let surgeon = |pid: &str| {
        let attributes = [("hc.role", "physician"), ("hc.pid", pid)];
        Caller::for_tests("HospitalMSP", "u30", &attributes)
    };
    let operation = |serial: &str| json!({"unit": unit(serial), "procedureRef": "Procedure/p", "patientCommit": hash(b"c")});
    let anonymous = super::surgeon();
    no(
        &mut ledger,
        "Implant",
        &anonymous,
        operation("S1"),
        403,
        "CREDENTIAL",
    );
    no(
        &mut ledger,
        "Implant",
        &surgeon("p-1"),
        operation("S1"),
        403,
        "CREDENTIAL",
    );
    registry::employ(&mut ledger, "c-2", "p-1", "HospitalMSP", "implant");
    ok(&mut ledger, "Implant", &surgeon("p-1"), operation("S1"));

    let racing = ledger.endorse(call("Implant", &surgeon("p-1"), operation("S2")));
    registry::suspend(&mut ledger, "c-2");
    assert_eq!(ledger.commit(racing), Validity::MvccReadConflict);
    no(
        &mut ledger,
        "Implant",
        &surgeon("p-1"),
        operation("S2"),
        403,
        "CREDENTIAL",
    );
    assert_eq!(state_of(&ledger, "S2"), "InStock");

    // What has to come out, any physician takes out.
    let explant = json!({"unit": unit("S1"), "procedureRef": "Procedure/q"});
    no(
        &mut ledger,
        "Explant",
        &surgeon("p-7"),
        explant.clone(),
        403,
        "CREDENTIAL",
    );
    ok(&mut ledger, "Explant", &surgeon("p-1"), explant);
}

#[test]
fn a_hospital_without_a_licence_for_implants_implants_nothing() {
    let mut ledger = guarded();
    registry::employ(&mut ledger, "c-2", "p-1", "HospitalMSP", "implant");
    deliver(&mut ledger, "S1", &supply());
    let licence = json!({"msp": "HospitalMSP", "no": "L-1", "reasonCode": "AUDIT"});
    registry::ok(
        &mut ledger,
        "SuspendLicence",
        &registry::certifier(),
        licence,
    );
    let attributes = [("hc.role", "physician"), ("hc.pid", "p-1")];
    let who = Caller::for_tests("HospitalMSP", "u30", &attributes);
    let args =
        json!({"unit": unit("S1"), "procedureRef": "Procedure/p", "patientCommit": hash(b"c")});
    no(&mut ledger, "Implant", &who, args, 403, "CREDENTIAL");
}
