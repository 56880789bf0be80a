//! Configurations that make an MSP, and those that do not.

use consilium_msp::{Msp, MspVersion, Signer};
use consilium_proto::msp::FabricMspConfig;
use consilium_testkit::{NodeOu, Organization};

use crate::{pem, refused};

#[test]
fn configurations_that_break_a_setup_rule_are_refused_with_the_reason() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let admin = organization.issue("admin", NodeOu::Admin);
    let change = |change: &dyn Fn(&mut FabricMspConfig)| {
        let mut config = organization.msp_config();
        change(&mut config);
        Msp::new(&config, MspVersion::V3_0).map(|_| ())
    };
    assert_eq!(change(&|_| {}), Ok(()));
    assert_eq!(change(&|config| config.tls_root_certs.clear()), Ok(()));
    assert_eq!(
        change(&|config| config.admins = vec![pem(&admin.cert_pem)]),
        Ok(())
    );
    refused(
        change(&|config| config.root_certs.clear()),
        "expected at least one CA certificate",
    );
    refused(
        change(&|config| config.root_certs = vec![pem("junk")]),
        "could not decode the PEM structure",
    );
    refused(
        change(&|config| config.root_certs = vec![pem(&admin.cert_pem)]),
        "CA Certificate did not have the CA attribute",
    );
    refused(
        change(&|config| config.tls_root_certs = vec![pem(&admin.cert_pem)]),
        "did not have the CA attribute",
    );
    refused(
        change(&|config| config.fabric_node_ous = None),
        "administrators must be declared when no admin ou classification is set",
    );
    refused(
        change(&|config| {
            config
                .fabric_node_ous
                .as_mut()
                .expect("units")
                .admin_ou_identifier = None
        }),
        "administrators must be declared when no admin ou classification is set",
    );
    let peer = organization.issue("peer", NodeOu::Peer);
    refused(
        change(&|config| config.admins = vec![pem(&peer.cert_pem)]),
        "admin 0 is invalid [",
    );
    refused(
        change(&|config| {
            config
                .crypto_config
                .as_mut()
                .expect("crypto")
                .identity_identifier_hash_function = "MD5".into()
        }),
        "hash function not recognized",
    );
    let rootless = Organization::new("Org1MSP", "org1.example.com");
    refused(
        change(&|config| {
            config.fabric_node_ous = None;
            config.admins = vec![pem(&rootless.issue("admin", NodeOu::Admin).cert_pem)];
        }),
        "signed by unknown authority",
    );
}

#[test]
fn older_rules_demand_client_and_peer_units() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let mut config = organization.msp_config();
    assert!(Msp::new(&config, MspVersion::V1_1).is_ok());
    config
        .fabric_node_ous
        .as_mut()
        .expect("units")
        .peer_ou_identifier = None;
    refused(
        Msp::new(&config, MspVersion::V1_1).map(|_| ()),
        "PeerOU must be different from nil",
    );
    assert!(Msp::new(&config, MspVersion::V1_4_3).is_ok());
}

#[test]
fn with_a_hash_family_that_nobody_knows_nothing_verifies() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let signer = organization.signer("peer", NodeOu::Peer);
    let signature = signer.sign(b"message").expect("a signature");
    for (family, verifies) in [("SHA2", true), ("", true), ("SHA3", false), ("MD5", false)] {
        let mut config = organization.msp_config();
        let crypto = config.crypto_config.as_mut().expect("crypto");
        crypto.signature_hash_family = family.into();
        let msp = Msp::new(&config, MspVersion::V3_0).expect("an acceptable configuration");
        let identity = msp.deserialize(signer.serialized()).expect("an identity");
        assert_eq!(msp.validate(&identity), Ok(()), "{family}");
        let verified = identity.verify(b"message", &signature);
        assert_eq!(verified.is_ok(), verifies, "{family}");
    }
}
