//! Two transactions endorsed on the same state: the second does not commit.

use super::*;

#[test]
fn a_number_is_given_to_one_organization() {
    let mut ledger = TestLedger::new();
    let register = |msp: &str| {
        let args = json!({"msp": msp, "scheme": "NPI", "identifier": "1578387320"});
        call("RegisterOrg", &certifier(), args)
    };
    let one = ledger.endorse(register("HospitalMSP"));
    let two = ledger.endorse(register("ClinicMSP"));
    assert_eq!(ledger.commit(one), Validity::Valid);
    assert_eq!(ledger.commit(two), Validity::MvccReadConflict);
}

#[test]
fn two_decisions_about_a_credential_are_one_after_the_other() {
    let mut ledger = practice();
    let reason = json!({"credId": "c-1", "reasonCode": "X"});
    let renewal = json!({"credId": "c-1", "validTo": START + 730 * DAY, "sourceHash": hash(b"2")});
    let renewing = ledger.endorse(call("RenewCredential", &certifier(), renewal.clone()));
    let revoking = ledger.endorse(call("RevokeCredential", &inspector(), reason));
    assert_eq!(ledger.commit(revoking), Validity::Valid);
    assert_eq!(ledger.commit(renewing), Validity::MvccReadConflict);
    no(
        &mut ledger,
        "RenewCredential",
        &certifier(),
        renewal,
        409,
        "BAD_STATE",
    );
}

#[test]
fn nobody_is_employed_at_a_facility_that_closes_meanwhile() {
    let mut ledger = practice();
    let hiring = ledger.endorse(application("c-2", "p-2", "HospitalMSP", "nurse"));
    let closing = json!({"id": "HospitalMSP.1", "reasonCode": "CLOSED"});
    ok(&mut ledger, "RevokeFacility", &clerk(), closing);
    assert_eq!(ledger.commit(hiring), Validity::MvccReadConflict);
}

#[test]
fn a_question_reads_what_it_depends_on_and_nothing_else() {
    let mut ledger = practice();
    let question = json!({"pid": "p-1", "org": "HospitalMSP", "role": "physician"});
    let asked = ledger.endorse(call("Check", &insurer(), question));
    assert!(asked.written_keys().is_empty());
    // Another practitioner's credential does not matter.
    employ(&mut ledger, "c-2", "p-2", "HospitalMSP", "physician");
    suspend(&mut ledger, "c-2");
    assert_eq!(ledger.commit(asked), Validity::Valid);
}
