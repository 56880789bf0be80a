//! Every way in which the registry says no to credentials and to questions.

use super::*;

fn apply(ledger: &mut TestLedger, by: &Caller, name: &str, value: Value) -> Response {
    let args = json!({"credId": "c-2", "pid": "p-2", "role": "nurse", "facility": "HospitalMSP.1",
        "attestHash": hash(b"diploma")});
    let proposal = call("ApplyCredential", by, changed(args, name, value))
        .transient("person", person().to_string());
    ledger.submit(proposal)
}

#[test]
fn refusals_of_credentials() {
    let mut ledger = practice();
    licensed(&mut ledger, "ClinicMSP", &["care"]);
    for (by, name, value, status, code) in [
        (certifier(), "pid", json!("p-2"), 403, "WRONG_ORG"),
        (physician(), "pid", json!("p-2"), 403, "WRONG_ROLE"),
        (clinic_clerk(), "pid", json!("p-2"), 403, "NOT_OWN_FACILITY"),
        (clerk(), "pid", json!("Dr Frami"), 400, "MALFORMED"),
        (clerk(), "role", json!("head of surgery"), 400, "MALFORMED"),
        (clerk(), "attestHash", json!("ab"), 400, "MALFORMED"),
        (
            clerk(),
            "specialty",
            json!("heart surgery"),
            400,
            "MALFORMED",
        ),
        (clerk(), "facility", json!("f-9"), 404, "NOT_FOUND"),
        (clerk(), "credId", json!("c-1"), 409, "DUPLICATE"),
        (clerk(), "name", json!("Frami"), 400, "MALFORMED"),
    ] {
        refused(&apply(&mut ledger, &by, name, value), status, code);
    }
    // The clinic is not licensed for implants.
    let surgeon = json!({"credId": "c-3", "pid": "p-3", "role": "implant",
        "facility": "ClinicMSP.1", "attestHash": hash(b"diploma")});
    let proposal =
        call("ApplyCredential", &clinic_clerk(), surgeon).transient("person", person().to_string());
    refused(&ledger.submit(proposal), 422, "UNLICENSED");
    let missing = verification("c-9");
    no(
        &mut ledger,
        "VerifyCredential",
        &certifier(),
        missing,
        404,
        "NOT_FOUND",
    );
    body(&apply(
        &mut ledger,
        &clerk(),
        "specialty",
        json!("394579002"),
    ));
    for (name, value) in [
        ("validTo", json!(START)),
        ("validFrom", json!(START + 365 * DAY)),
    ] {
        let args = changed(verification("c-2"), name, value);
        no(
            &mut ledger,
            "VerifyCredential",
            &certifier(),
            args,
            422,
            "PERIOD",
        );
    }
    no(
        &mut ledger,
        "VerifyCredential",
        &inspector(),
        verification("c-2"),
        403,
        "WRONG_ROLE",
    );
    no(
        &mut ledger,
        "VerifyCredential",
        &clerk(),
        verification("c-2"),
        403,
        "WRONG_ORG",
    );
    let same_end = verification("c-1");
    no(
        &mut ledger,
        "RenewCredential",
        &certifier(),
        same_end,
        422,
        "PERIOD",
    );
    for (down, up, args, code) in [
        (
            "SuspendFacility",
            "ReinstateFacility",
            json!({"id": "HospitalMSP.1", "reasonCode": "FIRE"}),
            "FACILITY_INACTIVE",
        ),
        (
            "SuspendOrg",
            "ReinstateOrg",
            json!({"msp": "HospitalMSP", "reasonCode": "AUDIT"}),
            "ORG_INACTIVE",
        ),
    ] {
        ok(&mut ledger, down, &certifier(), args.clone());
        refused(
            &apply(&mut ledger, &clerk(), "credId", json!("c-5")),
            422,
            code,
        );
        ok(&mut ledger, up, &certifier(), args);
    }
}

#[test]
fn the_credentials_of_one_practitioner_at_one_organization_are_bounded() {
    let mut ledger = practice();
    licensed(&mut ledger, "ClinicMSP", &["care"]);
    for n in 2..=64 {
        body(&ledger.submit(application(
            &format!("c-{n}"),
            "p-1",
            "HospitalMSP",
            "nurse",
        )));
    }
    let more = ledger.submit(application("c-65", "p-1", "HospitalMSP", "nurse"));
    refused(&more, 422, "TOO_MANY_CREDENTIALS");
    // Which stands in nobody else's way.
    body(&ledger.submit(application("c-66", "p-1", "ClinicMSP", "nurse")));
    assert_eq!(physician_standing(&ledger), "ACTIVE");
}

#[test]
fn questions_that_cannot_be_answered() {
    let ledger = practice();
    for (function, args, status, code) in [
        (
            "Check",
            json!({"pid": "p-1", "org": "HospitalMSP"}),
            400,
            "MALFORMED",
        ),
        (
            "Check",
            json!({"pid": "p 1", "org": "HospitalMSP", "role": "physician"}),
            400,
            "MALFORMED",
        ),
        (
            "Check",
            json!({"pid": "p-1", "org": "HospitalMSP", "role": "physician", "at": "now"}),
            400,
            "MALFORMED",
        ),
        ("CheckOrganization", json!({"msp": ""}), 400, "MALFORMED"),
        (
            "CheckOrganization",
            json!({"msp": "A", "scope": "a b"}),
            400,
            "MALFORMED",
        ),
        ("ListCredentials", json!({}), 400, "MALFORMED"),
        (
            "ListCredentials",
            json!({"org": "A", "pid": "p"}),
            400,
            "MALFORMED",
        ),
        (
            "ListCredentials",
            json!({"org": "A", "bookmark": "\u{0}"}),
            400,
            "MALFORMED",
        ),
        ("ReadCredential", json!({"credId": "c-9"}), 404, "NOT_FOUND"),
        ("ReadFacility", json!({"id": "f-9"}), 404, "NOT_FOUND"),
        ("ReadPerson", json!({"credId": "c-9"}), 404, "NOT_FOUND"),
        (
            "ReadField",
            json!({"pid": "p-1", "field": "email"}),
            404,
            "NOT_FOUND",
        ),
    ] {
        refused(
            &ledger.evaluate(call(function, &certifier(), args)),
            status,
            code,
        );
    }
}

#[test]
fn the_configuration_names_who_may_keep_the_registry() {
    let mut ledger = TestLedger::new();
    let admin = with("StateMSP", "certifier").with_node_role(Some(NodeRole::Admin));
    let config = json!({"regulators": ["StateMSP"], "providers": ["GeneralMSP"]});
    ok(&mut ledger, "Configure", &admin, config);
    let general = json!({"msp": "GeneralMSP", "scheme": "NPI", "identifier": "1578387320"});
    no(
        &mut ledger,
        "RegisterOrg",
        &certifier(),
        general.clone(),
        403,
        "WRONG_ORG",
    );
    ok(
        &mut ledger,
        "RegisterOrg",
        &with("StateMSP", "certifier"),
        general,
    );
    let read = ask(&ledger, "ReadConfig", &clerk(), json!({}));
    assert_eq!(read["providers"], json!(["GeneralMSP"]));
}
