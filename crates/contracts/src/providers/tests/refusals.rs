//! Every way in which the registry says no to organizations, licences and facilities.

use super::*;

fn grant(no: &str) -> Value {
    json!({"msp": "HospitalMSP", "no": no, "scopes": ["research"],
        "validTo": START + 30 * DAY, "sourceHash": hash(b"permit")})
}

#[test]
fn refusals_of_organizations() {
    let mut ledger = TestLedger::new();
    let hospital =
        json!({"msp": "HospitalMSP", "scheme": "USCC", "identifier": "121100004000000014"});
    no(
        &mut ledger,
        "RegisterOrg",
        &clerk(),
        hospital.clone(),
        403,
        "WRONG_ORG",
    );
    no(
        &mut ledger,
        "RegisterOrg",
        &inspector(),
        hospital.clone(),
        403,
        "WRONG_ROLE",
    );
    for (scheme, identifier) in [
        ("USCC", "121100004000000013"),
        ("USCC", "1578387320"),
        ("USCC", "11010519491231002X"),
        ("NPI", "290"),
        ("NPI", "46290"),
        ("NPI", "1234567890"),
        ("NPI", "121100004000000014"),
    ] {
        let args = json!({"msp": "HospitalMSP", "scheme": scheme, "identifier": identifier});
        no(
            &mut ledger,
            "RegisterOrg",
            &certifier(),
            args,
            422,
            "BAD_IDENTIFIER",
        );
    }
    let stranger = changed(hospital.clone(), "msp", json!("NobodyMSP"));
    no(
        &mut ledger,
        "RegisterOrg",
        &certifier(),
        stranger,
        422,
        "UNKNOWN_ORG",
    );
    let odd = changed(hospital.clone(), "msp", json!("Hospital MSP"));
    no(
        &mut ledger,
        "RegisterOrg",
        &certifier(),
        odd,
        400,
        "MALFORMED",
    );
    let other_scheme = changed(hospital.clone(), "scheme", json!("DUNS"));
    no(
        &mut ledger,
        "RegisterOrg",
        &certifier(),
        other_scheme,
        400,
        "MALFORMED",
    );
    ok(&mut ledger, "RegisterOrg", &certifier(), hospital.clone());
    no(
        &mut ledger,
        "RegisterOrg",
        &certifier(),
        hospital.clone(),
        409,
        "DUPLICATE",
    );
    let same_number = changed(hospital, "msp", json!("ClinicMSP"));
    no(
        &mut ledger,
        "RegisterOrg",
        &certifier(),
        same_number,
        409,
        "DUPLICATE",
    );
    let reason = json!({"msp": "HospitalMSP", "reasonCode": "not a code"});
    no(
        &mut ledger,
        "SuspendOrg",
        &certifier(),
        reason,
        400,
        "MALFORMED",
    );
    let missing = json!({"msp": "ClinicMSP", "reasonCode": "X"});
    no(
        &mut ledger,
        "SuspendOrg",
        &certifier(),
        missing.clone(),
        404,
        "NOT_FOUND",
    );
    no(
        &mut ledger,
        "ReadOrg",
        &certifier(),
        json!({"msp": "ClinicMSP"}),
        404,
        "NOT_FOUND",
    );
    let own = json!({"msp": "HospitalMSP", "reasonCode": "X"});
    no(&mut ledger, "ReinstateOrg", &clerk(), own, 403, "WRONG_ORG");
}

#[test]
fn refusals_of_licences() {
    let mut ledger = practice();
    no(
        &mut ledger,
        "GrantLicence",
        &clerk(),
        grant("L-2"),
        403,
        "WRONG_ORG",
    );
    for (name, value, status, code) in [
        ("msp", json!("ClinicMSP"), 404, "NOT_FOUND"),
        ("no", json!("L-1"), 409, "DUPLICATE"),
        ("scopes", json!([]), 400, "MALFORMED"),
        ("scopes", json!(["free text"]), 400, "MALFORMED"),
        ("validTo", json!(START), 422, "PERIOD"),
        ("validFrom", json!(START + 31 * DAY), 422, "PERIOD"),
        ("validTo", json!(1.5), 400, "MALFORMED"),
        ("sourceHash", json!("ab"), 400, "MALFORMED"),
    ] {
        let args = changed(grant("L-2"), name, value);
        no(
            &mut ledger,
            "GrantLicence",
            &certifier(),
            args,
            status,
            code,
        );
    }
    for n in 2..=64 {
        ok(
            &mut ledger,
            "GrantLicence",
            &certifier(),
            grant(&format!("L-{n}")),
        );
    }
    no(
        &mut ledger,
        "GrantLicence",
        &certifier(),
        grant("L-65"),
        422,
        "TOO_MANY_LICENCES",
    );
    let renewal = json!({"msp": "HospitalMSP", "no": "L-2", "validTo": START + 30 * DAY,
        "sourceHash": hash(b"2")});
    no(
        &mut ledger,
        "RenewLicence",
        &certifier(),
        renewal,
        422,
        "PERIOD",
    );
    let reason = json!({"msp": "HospitalMSP", "reasonCode": "AUDIT"});
    ok(&mut ledger, "SuspendOrg", &certifier(), reason);
    no(
        &mut ledger,
        "GrantLicence",
        &certifier(),
        grant("L-65"),
        422,
        "ORG_INACTIVE",
    );
}

#[test]
fn refusals_of_facilities() {
    let mut ledger = practice();
    let second = json!({"id": "f-2", "area": "110105", "scopes": ["care"]});
    no(
        &mut ledger,
        "RegisterFacility",
        &certifier(),
        second.clone(),
        403,
        "WRONG_ORG",
    );
    no(
        &mut ledger,
        "RegisterFacility",
        &physician(),
        second.clone(),
        403,
        "WRONG_ROLE",
    );
    no(
        &mut ledger,
        "RegisterFacility",
        &clinic_clerk(),
        second.clone(),
        404,
        "NOT_FOUND",
    );
    for (name, value, status, code) in [
        ("area", json!("990105"), 422, "BAD_IDENTIFIER"),
        ("area", json!("110000"), 422, "BAD_IDENTIFIER"),
        ("area", json!("US-MA"), 422, "BAD_IDENTIFIER"),
        ("scopes", json!(["841-001-01"]), 422, "UNLICENSED"),
        ("id", json!("HospitalMSP.1"), 409, "DUPLICATE"),
    ] {
        let args = changed(second.clone(), name, value);
        no(
            &mut ledger,
            "RegisterFacility",
            &clerk(),
            args,
            status,
            code,
        );
    }
    licensed(&mut ledger, "ClinicMSP", &["care"]);
    let reason = json!({"id": "HospitalMSP.1", "reasonCode": "CLOSED"});
    no(
        &mut ledger,
        "RevokeFacility",
        &clinic_clerk(),
        reason.clone(),
        403,
        "NOT_OWN_FACILITY",
    );
    no(
        &mut ledger,
        "SuspendFacility",
        &clerk(),
        reason.clone(),
        403,
        "WRONG_ORG",
    );
    no(
        &mut ledger,
        "RevokeFacility",
        &physician(),
        reason.clone(),
        403,
        "WRONG_ROLE",
    );
    // The regulator first takes the licence, then the organization, then a facility closes.
    let licence = json!({"msp": "HospitalMSP", "no": "L-1", "reasonCode": "AUDIT"});
    ok(&mut ledger, "SuspendLicence", &certifier(), licence);
    no(
        &mut ledger,
        "RegisterFacility",
        &clerk(),
        second.clone(),
        422,
        "UNLICENSED",
    );
    let org = json!({"msp": "HospitalMSP", "reasonCode": "AUDIT"});
    ok(&mut ledger, "SuspendOrg", &certifier(), org);
    no(
        &mut ledger,
        "RegisterFacility",
        &clerk(),
        second,
        422,
        "ORG_INACTIVE",
    );
    ok(&mut ledger, "RevokeFacility", &clerk(), reason);
}

#[test]
fn a_facility_in_the_united_states_names_its_state() {
    let mut ledger = TestLedger::new();
    let npi = json!({"msp": "ClinicMSP", "scheme": "NPI", "identifier": "1578387320"});
    ok(&mut ledger, "RegisterOrg", &certifier(), npi);
    let licence = json!({"msp": "ClinicMSP", "no": "L-1", "scopes": ["care"],
        "validTo": START + DAY, "sourceHash": hash(b"permit")});
    ok(&mut ledger, "GrantLicence", &certifier(), licence);
    let facility = |area: &str| json!({"id": "f-1", "area": area, "scopes": ["care"]});
    for area in ["110105", "US-XX", "MA"] {
        no(
            &mut ledger,
            "RegisterFacility",
            &clinic_clerk(),
            facility(area),
            422,
            "BAD_IDENTIFIER",
        );
    }
    ok(
        &mut ledger,
        "RegisterFacility",
        &clinic_clerk(),
        facility("US-MA"),
    );
}
