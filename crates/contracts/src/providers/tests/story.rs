//! The registry from the view of each who uses it.

use super::*;

#[test]
fn a_physician_from_the_application_to_the_end() {
    let mut ledger = TestLedger::new();
    assert_eq!(physician_standing(&ledger), "ORG_UNKNOWN");
    licensed(&mut ledger, "HospitalMSP", &["care", "implant"]);
    assert_eq!(physician_standing(&ledger), "UNKNOWN");

    let answer = body(&ledger.submit(application("c-1", "p-1", "HospitalMSP", "physician")));
    assert_eq!(answer, json!({"id": "c-1", "state": "Applied"}));
    assert_eq!(physician_standing(&ledger), "NOT_VERIFIED");

    let mut args = verification("c-1");
    args["validFrom"] = json!(START + DAY);
    ok(&mut ledger, "VerifyCredential", &certifier(), args);
    assert_eq!(physician_standing(&ledger), "NOT_YET");
    ledger.advance(DAY);
    assert_eq!(physician_standing(&ledger), "ACTIVE");

    suspend(&mut ledger, "c-1");
    assert_eq!(physician_standing(&ledger), "SUSPENDED");
    let reason = json!({"credId": "c-1", "reasonCode": "CLEARED"});
    ok(&mut ledger, "ReinstateCredential", &inspector(), reason);
    assert_eq!(physician_standing(&ledger), "ACTIVE");

    ledger.set_time(START + 365 * DAY - 1);
    assert_eq!(physician_standing(&ledger), "ACTIVE");
    ledger.advance(1);
    assert_eq!(physician_standing(&ledger), "EXPIRED");
    let renewal = json!({"credId": "c-1", "validTo": START + 730 * DAY, "sourceHash": hash(b"2")});
    ok(&mut ledger, "RenewCredential", &certifier(), renewal);
    assert_eq!(physician_standing(&ledger), "ACTIVE");

    let reason = json!({"credId": "c-1", "reasonCode": "RETIRED"});
    ok(&mut ledger, "RevokeCredential", &inspector(), reason);
    assert_eq!(physician_standing(&ledger), "REVOKED");

    let credential = ask(
        &ledger,
        "ReadCredential",
        &insurer(),
        json!({"credId": "c-1"}),
    );
    assert_eq!(credential["state"], "Revoked");
    assert_eq!(credential["reason"], "RETIRED");
    let states: Vec<_> = credential["before"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| phase["state"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        ["Applied", "Active", "Suspended", "Active", "Active"]
    );
    let events: Vec<_> = ledger
        .events()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        events,
        [
            "providers.OrgRegistered",
            "providers.LicenceGranted",
            "providers.FacilityRegistered",
            "providers.CredentialApplied",
            "providers.CredentialActive",
            "providers.CredentialSuspended",
            "providers.CredentialReinstated",
            "providers.CredentialRenewed",
            "providers.CredentialRevoked",
        ]
    );
}

#[test]
fn the_registry_answers_about_the_past_by_what_was_committed_then() {
    let mut ledger = practice();
    ledger.advance(10 * DAY);
    suspend(&mut ledger, "c-1");
    ledger.advance(10 * DAY);
    let reason = json!({"credId": "c-1", "reasonCode": "CLEARED"});
    ok(&mut ledger, "ReinstateCredential", &certifier(), reason);
    ledger.advance(10 * DAY);
    for (day, expected) in [
        (-1, "ORG_UNKNOWN"),
        (0, "ACTIVE"),
        (9, "ACTIVE"),
        (10, "SUSPENDED"),
        (19, "SUSPENDED"),
        (20, "ACTIVE"),
        (364, "ACTIVE"),
        (365, "EXPIRED"),
    ] {
        let at = START + day * DAY;
        let args = json!({"pid": "p-1", "org": "HospitalMSP", "role": "physician", "at": at});
        assert_eq!(standing(&ledger, "Check", args), expected, "day {day}");
    }
}

/// A client whose clock is behind the regulator's does not slip in before a suspension.
#[test]
fn a_suspension_counts_from_its_block_on_not_from_its_timestamp() {
    let mut ledger = practice();
    ledger.advance(120);
    suspend(&mut ledger, "c-1");
    ledger.advance(-110);
    assert_eq!(physician_standing(&ledger), "SUSPENDED");
}

#[test]
fn an_organization_its_licences_and_its_facilities_carry_its_practitioners() {
    let mut ledger = practice();
    employ(&mut ledger, "c-2", "p-1", "HospitalMSP", "implant");
    let org = json!({"msp": "HospitalMSP", "reasonCode": "AUDIT"});
    let licence = json!({"msp": "HospitalMSP", "no": "L-1", "reasonCode": "AUDIT"});
    let facility = json!({"id": "HospitalMSP.1", "reasonCode": "FIRE"});
    for (down, up, args, of_physician, of_org, of_scope) in [
        (
            "SuspendOrg",
            "ReinstateOrg",
            org,
            "ORG_SUSPENDED",
            "SUSPENDED",
            "SUSPENDED",
        ),
        (
            "SuspendLicence",
            "ReinstateLicence",
            licence,
            "LICENCE_SUSPENDED",
            "ACTIVE",
            "LICENCE_SUSPENDED",
        ),
        (
            "SuspendFacility",
            "ReinstateFacility",
            facility,
            "FACILITY_SUSPENDED",
            "ACTIVE",
            "ACTIVE",
        ),
    ] {
        let scope = |ledger: &TestLedger, scope: &str| {
            let args = json!({"msp": "HospitalMSP", "scope": scope});
            standing(ledger, "CheckOrganization", args)
        };
        ok(&mut ledger, down, &inspector(), args.clone());
        assert_eq!(physician_standing(&ledger), of_physician);
        assert_eq!(scope(&ledger, ""), of_org);
        assert_eq!(scope(&ledger, "implant"), of_scope);
        ok(&mut ledger, up, &inspector(), args);
        assert_eq!(physician_standing(&ledger), "ACTIVE");
        assert_eq!(scope(&ledger, "implant"), "ACTIVE");
        assert_eq!(scope(&ledger, "841-001-01"), "UNLICENSED");
    }
    let unknown = json!({"msp": "ClinicMSP"});
    assert_eq!(standing(&ledger, "CheckOrganization", unknown), "UNKNOWN");
}

#[test]
fn a_credential_is_for_one_role_at_one_facility_of_one_organization() {
    let mut ledger = practice();
    let second = json!({"id": "HospitalMSP.2", "area": "110101", "scopes": ["care"]});
    ok(&mut ledger, "RegisterFacility", &clerk(), second);
    licensed(&mut ledger, "ClinicMSP", &["care"]);
    for (args, expected) in [
        (json!({"facility": "HospitalMSP.1"}), "ACTIVE"),
        (json!({"facility": "HospitalMSP.2"}), "OTHER_FACILITY"),
        (json!({"role": "implant"}), "UNKNOWN"),
        (json!({"org": "ClinicMSP"}), "UNKNOWN"),
        (json!({"pid": "p-2"}), "UNKNOWN"),
        (json!({"org": "MakerMSP"}), "ORG_UNKNOWN"),
    ] {
        let mut question = json!({"pid": "p-1", "org": "HospitalMSP", "role": "physician"});
        question
            .as_object_mut()
            .unwrap()
            .extend(args.as_object().unwrap().clone());
        assert_eq!(standing(&ledger, "Check", question), expected, "{args}");
    }
    // The same person at another organization is verified for itself.
    body(&ledger.submit(application("c-9", "p-1", "ClinicMSP", "physician")));
    let at_clinic = json!({"pid": "p-1", "org": "ClinicMSP", "role": "physician"});
    assert_eq!(standing(&ledger, "Check", at_clinic), "NOT_VERIFIED");
    assert_eq!(physician_standing(&ledger), "ACTIVE");
}

#[test]
fn a_second_credential_in_force_is_enough() {
    let mut ledger = practice();
    suspend(&mut ledger, "c-1");
    employ(&mut ledger, "c-2", "p-1", "HospitalMSP", "physician");
    assert_eq!(physician_standing(&ledger), "ACTIVE");
    suspend(&mut ledger, "c-2");
    assert_eq!(physician_standing(&ledger), "SUSPENDED");
}

#[test]
fn everything_is_listed_page_by_page() {
    let mut ledger = practice();
    licensed(&mut ledger, "ClinicMSP", &["care"]);
    register_org(&mut ledger, "MakerMSP");
    let orgs = ask(&ledger, "ListOrgs", &physician(), json!({}));
    let names: Vec<_> = orgs["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|org| org["msp"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ClinicMSP", "HospitalMSP", "MakerMSP"]);
    let hospital = ask(
        &ledger,
        "ReadOrg",
        &physician(),
        json!({"msp": "HospitalMSP"}),
    );
    assert_eq!(hospital["identifier"], "121100004000000014");
    assert_eq!(
        hospital["licences"][0]["scopes"],
        json!(["care", "implant"])
    );
    assert_eq!(hospital["licences"][0]["issuer"], "RegulatorMSP");
    let places = ask(
        &ledger,
        "ListFacilities",
        &physician(),
        json!({"msp": "HospitalMSP"}),
    );
    let place = ask(
        &ledger,
        "ReadFacility",
        &physician(),
        json!({"id": "HospitalMSP.1"}),
    );
    assert_eq!(places, json!({"entries": [place]}));

    for n in 0..205 {
        let (id, pid) = (format!("n-{n:03}"), format!("q-{n:03}"));
        body(&ledger.submit(application(&id, &pid, "HospitalMSP", "nurse")));
    }
    for (args, expected) in [
        (json!({"org": "HospitalMSP"}), 206),
        (json!({"role": "nurse"}), 205),
        (json!({"role": "physician"}), 1),
        (json!({"pid": "p-1"}), 1),
        (json!({"pid": "nobody"}), 0),
        (json!({"org": "ClinicMSP"}), 0),
    ] {
        let mut seen = std::collections::BTreeSet::new();
        let mut question = args.clone();
        loop {
            let page = ask(&ledger, "ListCredentials", &insurer(), question.clone());
            let entries = page["entries"].as_array().unwrap();
            assert!(entries.len() <= 200);
            for entry in entries {
                assert!(seen.insert(entry["id"].as_str().unwrap().to_owned()));
            }
            match page.get("bookmark") {
                Some(bookmark) => question["bookmark"] = bookmark.clone(),
                None => break,
            }
        }
        assert_eq!(seen.len(), expected, "{args}");
    }
}

#[test]
fn the_definition_asks_for_the_regulator_and_keeps_persons_from_others() {
    use crate::contract::Contract;
    let all: Vec<String> = [
        "CitizenMSP",
        "ClinicMSP",
        "HospitalMSP",
        "InsurerMSP",
        "MakerMSP",
        "RegulatorMSP",
    ]
    .map(str::to_owned)
    .to_vec();
    let deployment = super::super::Providers.deployment(&all).unwrap();
    assert_eq!(
        deployment.policy,
        "AND('RegulatorMSP.peer',OutOf(1,'HospitalMSP.peer','ClinicMSP.peer','InsurerMSP.peer','MakerMSP.peer'))"
    );
    let [collection] = &deployment.collections[..] else {
        panic!("one collection");
    };
    assert_eq!(
        collection.members,
        ["RegulatorMSP", "HospitalMSP", "ClinicMSP", "InsurerMSP"]
    );
    assert_eq!(
        collection.endorsement.as_deref(),
        Some("AND('RegulatorMSP.peer',OutOf(1,'HospitalMSP.peer','ClinicMSP.peer'))")
    );
    for without in [
        &["HospitalMSP"][..],
        &["RegulatorMSP"],
        &["RegulatorMSP", "CitizenMSP"],
    ] {
        let there: Vec<String> = without.iter().map(|msp| (*msp).to_owned()).collect();
        assert_eq!(
            super::super::Providers.deployment(&there),
            None,
            "{without:?}"
        );
    }
}
