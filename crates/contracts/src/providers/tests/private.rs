//! Who a practitioner is, and who gets to know.

use super::*;

#[test]
fn nothing_of_the_person_is_published() {
    let mut ledger = practice();
    suspend(&mut ledger, "c-1");
    for secret in ["Abe", "Frami", "110110000012345", "abe@example.org", SALT] {
        assert!(
            !contains(ledger.published(), secret.as_bytes()),
            "{secret} is in a block"
        );
    }
    for unsalted in [person().to_string(), "110110000012345".to_owned()] {
        let digest = hash(unsalted.as_bytes());
        assert!(!contains(ledger.published(), digest.as_bytes()));
    }
    let simulation = ledger.endorse(application("c-2", "p-2", "HospitalMSP", "nurse"));
    assert_eq!(
        simulation
            .written_collections()
            .into_iter()
            .collect::<Vec<_>>(),
        ["providers"]
    );
}

#[test]
fn the_regulator_and_the_applicant_read_who_it_is() {
    let mut ledger = practice();
    licensed(&mut ledger, "ClinicMSP", &["care"]);
    let args = json!({"credId": "c-1"});
    for reader in [clerk(), certifier(), inspector()] {
        assert_eq!(ask(&ledger, "ReadPerson", &reader, args.clone()), person());
    }
    let refusals = [
        (clinic_clerk(), 403, "NOT_APPLICANT"),
        (insurer(), 403, "WRONG_ORG"),
        (physician(), 403, "WRONG_ROLE"),
    ];
    for (reader, status, code) in refusals {
        refused(
            &ledger.evaluate(call("ReadPerson", &reader, args.clone())),
            status,
            code,
        );
    }
    ledger.hide_collection("providers", true);
    refused(
        &ledger.evaluate(call("ReadPerson", &clerk(), args)),
        404,
        "PRIVATE_DATA_NOT_HERE",
    );
}

#[test]
fn after_the_end_the_person_is_purged_and_the_credential_stays() {
    let mut ledger = practice();
    let args = json!({"credId": "c-1"});
    no(
        &mut ledger,
        "PurgePerson",
        &certifier(),
        args.clone(),
        409,
        "BAD_STATE",
    );
    let reason = json!({"credId": "c-1", "reasonCode": "RETIRED"});
    ok(&mut ledger, "RevokeCredential", &certifier(), reason);
    no(
        &mut ledger,
        "PurgePerson",
        &clerk(),
        args.clone(),
        403,
        "WRONG_ORG",
    );
    // The endorser may be one that holds only the hash.
    ledger.hide_collection("providers", true);
    let answer = ok(&mut ledger, "PurgePerson", &certifier(), args.clone());
    assert_eq!(answer, json!({"id": "c-1", "state": "Revoked"}));
    ledger.hide_collection("providers", false);
    refused(
        &ledger.evaluate(call("ReadPerson", &clerk(), args.clone())),
        404,
        "PRIVATE_DATA_NOT_HERE",
    );
    no(
        &mut ledger,
        "PurgePerson",
        &certifier(),
        args,
        404,
        "PRIVATE_DATA_NOT_HERE",
    );
    assert_eq!(physician_standing(&ledger), "REVOKED");
}

#[test]
fn a_person_that_is_incomplete_is_refused_without_being_repeated() {
    let mut ledger = practice();
    let args = json!({"credId": "c-2", "pid": "p-2", "role": "nurse", "facility": "HospitalMSP.1",
        "attestHash": hash(b"diploma")});
    let bare = ledger.submit(call("ApplyCredential", &clerk(), args.clone()));
    refused(&bare, 400, "MALFORMED");
    for (change, value) in [
        ("salt", json!("0011")),
        ("salt", json!("zz112233445566778899aabbccddeeff")),
        ("salt", json!(null)),
        ("name", json!("")),
        ("name", json!("Secret\nName")),
        ("licenceNo", json!("x".repeat(201))),
        ("contact", json!("")),
        ("birth", json!("Secret 2009-03-20")),
    ] {
        let mut person = person();
        person[change] = value;
        let proposal =
            call("ApplyCredential", &clerk(), args.clone()).transient("person", person.to_string());
        let response = ledger.submit(proposal);
        refused(&response, 400, "MALFORMED");
        for secret in ["Secret", "Frami", "xxxx", "0011"] {
            assert!(!response.message.contains(secret), "{}", response.message);
        }
    }
}

/// R12 with transient input: the same request again is answered, another person is not taken.
#[test]
fn a_repeated_application_counts_once() {
    let mut ledger = practice();
    let apply = |person: Value| {
        let args = json!({"credId": "c-2", "pid": "p-2", "role": "nurse",
            "facility": "HospitalMSP.1", "attestHash": hash(b"diploma")});
        call("ApplyCredential", &clerk(), args)
            .arg("req-1")
            .transient("person", person.to_string())
    };
    let first = ledger.submit(apply(person()));
    let height = ledger.events().len();
    assert_eq!(ledger.submit(apply(person())), first);
    assert_eq!(ledger.events().len(), height);
    let mut other = person();
    other["name"] = json!("Another");
    refused(&ledger.submit(apply(other)), 409, "REQUEST_ID_REUSED");
}
