//! Nothing that says who somebody is, nor its bare hash, is where every member looks.

use super::*;
use crate::contract::Contract;

#[test]
fn no_identifier_and_no_hash_of_one_is_published() {
    let mut world = World::new();
    let number = super::super::number::printed("1100", "987654321").unwrap();
    let mut printed = proof(LI);
    printed["cardNo"] = json!(number);
    let proposal = world.application(&issuer(), "c1", &printed);
    body(&world.ledger.submit(proposal));
    body(&world.ledger.submit(activation("c1")));
    body(&world.apply(&desk(), "c2", WANG));
    body(&world.ledger.submit(activation("c2")));
    // Refusals too, and transactions that become invalid.
    refused(&world.apply(&issuer(), "c3", LI), 409, "ALREADY_OPEN");
    body(&world.apply(&desk(), "c3", LI));
    let race = world.ledger.endorse(activation("c2"));
    refused(&race.response, 409, "BAD_STATE");
    let token = world.token("c1", WARD);
    assert_eq!(world.check_in("v1", "c1", &token), "OK");
    let replacement = world.replacement("c1", "c4");
    body(&world.ledger.submit(replacement));
    let same = body(&world.ledger.evaluate(with_proof(
        "VerifyHolder",
        &issuer(),
        json!({"handle": "c4"}),
        &proof(LI),
    )));
    assert_eq!(same, json!({"id": true, "person": true}));
    let other = body(&world.ledger.evaluate(with_proof(
        "VerifyHolder",
        &issuer(),
        json!({"handle": "c4"}),
        &proof(WANG),
    )));
    assert_eq!(other, json!({"id": false, "person": false}));
    world.ok("CloseCard", &patient(&sid(LI, 1)), json!({"handle": "c4"}));
    world.ok("Revoke", &issuer(), reason("c2", "DEATH"));

    let care = epoch_key(1, "care");
    let identifiers = [
        LI,
        WANG,
        &number,
        "张三",
        "Hermiston71",
        "1949-12-31",
        "1880-01-01",
        SALT,
        &care,
    ];
    let found = leaks(&world.ledger, &identifiers);
    assert!(found.is_empty(), "{found:?}");
    // The scanner sees what is there: the pseudonym is public.
    assert!(!leaks(&world.ledger, &[&sid(LI, 1)]).is_empty());
}

#[test]
fn every_private_value_is_salted_and_no_proof_outlives_its_decision() {
    let mut world = World::with_card("c1");
    body(&world.apply(&desk(), "c2", WANG));
    for collection in ["cardholders", "cardkeys"] {
        let keys = world.ledger.private_keys("card", collection);
        assert!(!keys.is_empty());
        for key in keys {
            let value = world.ledger.private_value("card", collection, key).unwrap();
            let value: Value = serde_json::from_slice(value).unwrap();
            assert_eq!(value["salt"], SALT, "{key}");
        }
    }
    let holder = world
        .ledger
        .private_value("card", "cardholders", "\0holder\0c1\0")
        .unwrap();
    let text = String::from_utf8_lossy(holder);
    assert!(
        !text.contains(LI) && !text.contains("Hermiston71"),
        "{text}"
    );
}

#[test]
fn what_concerns_a_card_is_endorsed_by_bureau_and_regulator() {
    let mut world = World::with_card("c1");
    let link = json!({"guardianSid": sid(WANG, 1), "sid": sid(LI, 1), "until": START + DAY, "evidenceHash": hash(b"e")});
    world.ok("LinkGuardian", &issuer(), link);
    let ward = format!("\0ward\0{}\0{}\0", sid(WANG, 1), sid(LI, 1));
    let active = format!("\0active\0{}\0health-card\0", sid(LI, 1));
    for key in [
        "\0card\0c1\0",
        &ward,
        &active,
        "\0openIn\x000000000001\0c1\0",
        "\0epoch\x000000000001\0",
        "\0liveEpoch\x000000000001\0",
        "\0lastEpoch\0",
    ] {
        assert!(world.ledger.state("card", key).is_some(), "{key:?}");
        assert!(world.ledger.key_policy("card", key).is_some(), "{key:?}");
    }
    let token = world.token("c1", WARD);
    let admission = world.admission(&desk(), "v1", "c1", &token);
    let bind = json!({"handle": "c1", "org": "InsurerMSP"});
    let bind = call("BindFacility", &patient(&sid(LI, 1)), bind);
    for proposal in [admission, bind] {
        let written = world.ledger.endorse(proposal).written_collections();
        assert!(written.contains("_implicit_org_CitizenMSP"));
    }
}

#[test]
fn it_is_deployed_where_bureau_and_regulator_are() {
    let contract = super::super::HealthCards;
    let organizations = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let deployment = contract
        .deployment(&organizations(&[
            "HospitalMSP",
            "RegulatorMSP",
            "CitizenMSP",
        ]))
        .unwrap();
    assert_eq!(
        deployment.policy,
        "OutOf(2,'CitizenMSP.peer','RegulatorMSP.peer','HospitalMSP.peer')"
    );
    let both = "AND('CitizenMSP.peer','RegulatorMSP.peer')";
    let collections: Vec<_> = deployment
        .collections
        .iter()
        .map(|c| {
            (
                c.name.as_str(),
                c.members.join(" "),
                c.endorsement.as_deref(),
                c.open_for_writing,
            )
        })
        .collect();
    let members = "CitizenMSP RegulatorMSP".to_owned();
    assert_eq!(
        collections,
        [
            ("cardholders", members.clone(), Some(both), true),
            ("cardkeys", members, Some(both), false),
        ]
    );
    for names in [
        &["HospitalMSP", "RegulatorMSP"][..],
        &["HospitalMSP", "CitizenMSP"],
        &[],
    ] {
        assert!(contract.deployment(&organizations(names)).is_none());
    }
}
