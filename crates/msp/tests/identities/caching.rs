//! What a manager and its identities remember.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::{MspError, MspManager, Signer};
use consilium_proto::msp::SerializedIdentity;
use consilium_testkit::{NodeOu, Organization};
use prost::Message as _;

use crate::msp;

#[test]
fn a_manager_finds_the_msp_and_keeps_what_it_read() {
    let organizations = [
        Organization::new("Org1MSP", "org1.example.com"),
        Organization::new("Org2MSP", "org2.example.com"),
    ];
    let manager =
        MspManager::new(organizations.iter().map(Organization::msp).collect()).expect("manager");
    let signer = organizations[1].signer("user", NodeOu::Client);
    let first = manager.deserialize(signer.serialized()).expect("identity");
    let second = manager
        .clone()
        .deserialize(signer.serialized())
        .expect("identity");
    assert!(
        Arc::ptr_eq(&first, &second),
        "the second time it comes from the cache"
    );
    assert_eq!(first.msp_id(), "Org2MSP");
    assert_eq!(first.serialized(), signer.serialized());
    assert_eq!(manager.validate(&first), Ok(()));

    let serialized = |mspid: &str, id_bytes: &[u8]| -> Bytes {
        SerializedIdentity {
            mspid: mspid.into(),
            id_bytes: Bytes::copy_from_slice(id_bytes),
        }
        .encode_to_vec()
        .into()
    };
    let unknown = manager.deserialize(&serialized(
        "Org3MSP",
        signer.certificate().pem().as_bytes(),
    ));
    assert_eq!(
        unknown.expect_err("unknown").to_string(),
        "MSP Org3MSP is not defined on channel"
    );
    let wrong = manager.deserialize(&serialized(
        "Org1MSP",
        signer.certificate().pem().as_bytes(),
    ));
    assert!(wrong.is_err(), "another organization's certificate");
    assert!(
        manager
            .deserialize(&Bytes::from_static(b"\xff\xff"))
            .is_err()
    );
    assert!(manager.deserialize(&Bytes::new()).is_err());

    let twice = MspManager::new(vec![organizations[0].msp(), organizations[0].msp()]);
    assert_eq!(
        twice.map(|_| ()),
        Err(MspError::DuplicateMsp("Org1MSP".into()))
    );
}

#[test]
fn a_verdict_is_kept_by_the_msp_that_gave_it_only() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let (before, signer) = (
        organization.msp(),
        organization.signer("user", NodeOu::Client),
    );
    let identity = before.deserialize(signer.serialized()).expect("identity");
    assert_eq!(before.validate(&identity), Ok(()));
    let mut config = organization.msp_config();
    config.revocation_list = vec![
        organization
            .ca()
            .revocation_list(&[signer.certificate().serial()], true)
            .into(),
    ];
    assert_eq!(
        msp(&config).validate(&identity),
        Err(MspError::Revoked),
        "a later configuration judges anew"
    );
    assert_eq!(before.validate(&identity), Ok(()));
}

#[test]
fn many_threads_may_read_the_same_and_different_identities() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let manager = MspManager::new(vec![organization.msp()]).expect("manager");
    let signers: Vec<_> = (0..8)
        .map(|number| organization.signer(&format!("user{number}"), NodeOu::Client))
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (manager, signers) = (manager.clone(), &signers);
            scope.spawn(move || {
                for turn in 0..200 {
                    let signer = &signers[(thread + turn) % signers.len()];
                    let identity = manager.deserialize(signer.serialized()).expect("identity");
                    assert_eq!(identity.serialized(), signer.serialized());
                    assert_eq!(manager.validate(&identity), Ok(()));
                }
            });
        }
    });
}
