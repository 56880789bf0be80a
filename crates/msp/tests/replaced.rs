//! A node's signer and its local MSP are replaced while they are in use.

use consilium_msp::{LocalMsp, Signer as _, SigningIdentity};
use consilium_testkit::{NodeOu, Organization};

#[test]
fn who_signs_can_be_replaced_but_not_by_another_organization() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let [first, second] = ["a", "b"].map(|name| organization.signer(name, NodeOu::Peer));
    let identity = SigningIdentity::from(first.clone());
    let copy = identity.clone();
    assert_eq!(identity.current().serialized(), first.serialized());

    identity.replace(second.clone()).unwrap();
    assert_eq!(copy.current().serialized(), second.serialized());

    let stranger = Organization::new("Org2MSP", "org2.example.com");
    let refused = identity.replace(stranger.signer("a", NodeOu::Peer));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "a signer of Org2MSP cannot follow one of Org1MSP"
    );
    assert_eq!(copy.current().serialized(), second.serialized());
}

#[test]
fn identities_of_another_root_count_once_the_local_msp_is_replaced() {
    let [old, new] = [(); 2].map(|()| Organization::new("Org1MSP", "org1.example.com"));
    let local = LocalMsp::from(old.msp());
    let signer = new.signer("peer0", NodeOu::Peer);
    let is_valid = || {
        let manager = local.manager();
        let identity = manager.deserialize(signer.serialized());
        let msp = manager.msp("Org1MSP").unwrap();
        identity.is_ok_and(|identity| msp.validate(&identity).is_ok())
    };
    assert!(!is_valid());
    local.replace(new.msp());
    assert!(is_valid());
    assert_eq!(local.current().id(), "Org1MSP");
}
