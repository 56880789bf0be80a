//! What makes an identity valid, as a table of certificates with one property each.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::{Msp, MspError, MspManager, MspVersion, NodeRole, Signer, check_well_formed};
use consilium_proto::msp::{
    FabricMspConfig, FabricNodeOUs, FabricOuIdentifier, SerializedIdentity,
};
use consilium_testkit::{
    Authority, CLIENT_AUTH, Credential, KEY_CERT_SIGN, KeyKind, NodeOu, Organization, SERVER_AUTH,
    Template,
};
use prost::Message as _;

fn pem(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A configuration without node units; `admin` must be a valid identity.
fn plain_config(roots: &[&str], intermediates: &[&str], admin: &Credential) -> FabricMspConfig {
    FabricMspConfig {
        name: "Org1MSP".into(),
        root_certs: roots.iter().map(|text| pem(text)).collect(),
        intermediate_certs: intermediates.iter().map(|text| pem(text)).collect(),
        admins: vec![pem(&admin.cert_pem)],
        ..FabricMspConfig::default()
    }
}

fn msp(config: &FabricMspConfig) -> Msp {
    Msp::new(config, MspVersion::V3_0).expect("an acceptable configuration")
}

/// The verdict on a certificate, deserialization included.
fn verdict(msp: &Msp, credential: &Credential) -> Result<(), MspError> {
    msp.validate(&msp.identity_of(credential.cert_pem.as_bytes())?)
}

#[track_caller]
fn refused(outcome: Result<(), MspError>, text: &str) {
    let error = outcome.expect_err(text).to_string();
    assert!(error.contains(text), "{error:?} does not say {text:?}");
}

#[test]
fn each_property_of_a_leaf_decides_as_in_go() {
    let root = Authority::root("ca");
    let template = || Template::new("user");
    let day = 86_400;
    let msp = msp(&plain_config(
        &[root.cert_pem()],
        &[],
        &root.issue(&template()),
    ));
    let now = template().not_before;

    for (what, template) in [
        ("plain", template()),
        (
            "expired long ago",
            Template {
                not_after: now - 10,
                not_before: now - 1000,
                ..template()
            },
        ),
        (
            "not valid yet",
            Template {
                not_before: now + 9 * day,
                ..template()
            },
        ),
        (
            "P-384",
            Template {
                key_kind: KeyKind::P384,
                ..template()
            },
        ),
        (
            "P-521",
            Template {
                key_kind: KeyKind::P521,
                ..template()
            },
        ),
        (
            "Ed25519",
            Template {
                key_kind: KeyKind::Ed25519,
                ..template()
            },
        ),
        (
            "without key usage",
            Template {
                key_usage: None,
                ..template()
            },
        ),
        (
            "without key identifier",
            Template {
                has_subject_key_id: false,
                ..template()
            },
        ),
        (
            "server authentication",
            Template {
                extended_key_usages: vec![SERVER_AUTH],
                ..template()
            },
        ),
        (
            "any usage",
            Template {
                extended_key_usages: vec!["2.5.29.37.0"],
                ..template()
            },
        ),
        (
            "both usages",
            Template {
                extended_key_usages: vec![CLIENT_AUTH, SERVER_AUTH],
                ..template()
            },
        ),
        (
            "unknown extension",
            Template {
                extensions: vec![("1.2.3.4", false, vec![5, 0])],
                ..template()
            },
        ),
    ] {
        assert_eq!(verdict(&msp, &root.issue(&template)), Ok(()), "{what}");
    }

    for (text, template) in [
        (
            "incompatible key usage",
            Template {
                extended_key_usages: vec![CLIENT_AUTH],
                ..template()
            },
        ),
        (
            "unhandled critical extension",
            Template {
                extensions: vec![("1.2.3.4", true, vec![5, 0])],
                ..template()
            },
        ),
        (
            "Certificate Authority equals true",
            Template {
                authority: Some(None),
                ..template()
            },
        ),
        (
            "RSA is not supported",
            Template {
                key_kind: KeyKind::Rsa,
                ..template()
            },
        ),
        (
            "expired or is not yet valid",
            Template {
                not_before: now - 9 * day,
                ..template()
            },
        ),
    ] {
        refused(verdict(&msp, &root.issue(&template)), text);
    }
    let stranger = Authority::root("ca");
    refused(
        verdict(&msp, &stranger.issue(&template())),
        "signed by unknown authority",
    );
    refused(
        verdict(&msp, &Authority::root("other").issue(&template())),
        "signed by unknown authority",
    );
}

#[test]
fn ed25519_needs_the_newest_rules() {
    let root = Authority::root("ca");
    let config = plain_config(
        &[root.cert_pem()],
        &[],
        &root.issue(&Template::new("admin")),
    );
    let user = root.issue(&Template {
        key_kind: KeyKind::Ed25519,
        ..Template::new("user")
    });
    let old = Msp::new(&config, MspVersion::V1_4_3).expect("configuration");
    refused(verdict(&old, &user), "V3_0");
    assert_eq!(verdict(&msp(&config), &user), Ok(()));
}

#[test]
fn authorities_of_every_kind_of_key_issue_identities() {
    for key_kind in [
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::P521,
        KeyKind::Ed25519,
        KeyKind::Rsa,
    ] {
        let root = Authority::root_from(&Template {
            key_kind,
            ..Template::authority("ca")
        });
        let user = root.issue(&Template::new("user"));
        let msp = msp(&plain_config(&[root.cert_pem()], &[], &user));
        assert_eq!(verdict(&msp, &user), Ok(()), "{key_kind:?}");
    }
}

#[test]
fn with_intermediates_only_the_lowest_authorities_issue() {
    let root = Authority::root("root");
    let other_root = Authority::root("other");
    let middle = root.intermediate(&Template::authority("middle"));
    let low = middle.intermediate(&Template::authority("low"));
    let admin = low.issue(&Template::new("admin"));
    let msp = msp(&plain_config(
        &[root.cert_pem(), other_root.cert_pem()],
        &[middle.cert_pem(), low.cert_pem()],
        &admin,
    ));
    let template = Template::new("user");
    assert_eq!(verdict(&msp, &low.issue(&template)), Ok(()));
    assert_eq!(
        verdict(&msp, &other_root.issue(&template)),
        Ok(()),
        "a root without intermediates"
    );
    for internal in [&root, &middle] {
        refused(
            verdict(&msp, &internal.issue(&template)),
            "Parent certificate should be a leaf of the certification tree",
        );
    }
}

#[test]
fn limits_of_authorities_hold_along_the_path() {
    let low = Template::authority("low");
    let user = Template::new("user");
    let build = |root: Template, low: Template, user: &Template| {
        let root = Authority::root_from(&root);
        let low = root.intermediate(&low);
        let user = low.issue(user);
        Msp::new(
            &plain_config(&[root.cert_pem()], &[low.cert_pem()], &user),
            MspVersion::V3_0,
        )
        .map(|_| ())
    };
    let root = || Template::authority("root");
    assert_eq!(build(root(), low.clone(), &user), Ok(()));
    assert_eq!(
        build(
            Template {
                authority: Some(Some(1)),
                ..root()
            },
            low.clone(),
            &user
        ),
        Ok(())
    );
    refused(
        build(
            Template {
                authority: Some(Some(0)),
                ..root()
            },
            low.clone(),
            &user,
        ),
        "too many intermediates for path length constraint",
    );
    refused(
        build(
            root(),
            Template {
                extended_key_usages: vec![CLIENT_AUTH],
                ..low.clone()
            },
            &user,
        ),
        "incompatible key usage",
    );
    refused(
        build(
            root(),
            Template {
                key_usage: Some(0x80),
                ..low.clone()
            },
            &user,
        ),
        "signed by unknown authority",
    );
    assert_eq!(
        build(
            root(),
            Template {
                key_usage: Some(KEY_CERT_SIGN),
                ..low.clone()
            },
            &user
        ),
        Ok(())
    );
    refused(
        build(
            root(),
            Template {
                authority: None,
                ..low.clone()
            },
            &user,
        ),
        "did not have the CA attribute",
    );
    refused(
        build(
            root(),
            Template {
                has_subject_key_id: false,
                ..low.clone()
            },
            &user,
        ),
        "CA Certificate problem with Subject Key Identifier extension",
    );

    // Permitted: names under example.com.
    let constraint = [
        &[0x30, 0x11, 0xa0, 0x0f, 0x30, 0x0d, 0x82, 0x0b][..],
        b"example.com",
    ]
    .concat();
    let constrained = Template {
        extensions: vec![("2.5.29.30", true, constraint)],
        ..low
    };
    let with_host = |host: &str| Template {
        hosts: vec![host.into()],
        ..Template::new("user")
    };
    assert_eq!(
        build(root(), constrained.clone(), &with_host("peer.example.com")),
        Ok(())
    );
    assert_eq!(
        build(root(), constrained.clone(), &user),
        Ok(()),
        "no names, nothing to constrain"
    );
    refused(
        build(root(), constrained, &with_host("peer.example.org")),
        "is not permitted",
    );
}

#[test]
fn two_paths_make_an_identity_invalid_but_one_certificate_twice_does_not() {
    let root = Authority::root("ca");
    let admin = root.issue(&Template::new("admin"));
    let renewed = root.renewed(&Template::authority("ca"));
    let twice = plain_config(&[root.cert_pem(), root.cert_pem()], &[], &admin);
    assert_eq!(verdict(&msp(&twice), &admin), Ok(()));
    let cross = plain_config(&[root.cert_pem(), &renewed], &[], &admin);
    refused(
        Msp::new(&cross, MspVersion::V3_0).map(|_| ()),
        "this MSP only supports a single validation chain, got 2",
    );
}

#[test]
fn revocation_needs_a_list_of_the_issuer_that_verifies() {
    let root = Authority::root("ca");
    let other = Authority::root("other");
    let serial: &[u8] = &[0x80, 7];
    let user = root.issue(&Template {
        serial: Some(serial.to_vec()),
        ..Template::new("user")
    });
    let with_list = |list: Vec<u8>| {
        let mut config = plain_config(
            &[root.cert_pem()],
            &[],
            &root.issue(&Template::new("admin")),
        );
        config.revocation_list = vec![list.into()];
        Msp::new(&config, MspVersion::V3_0)
    };
    let judge = |list| verdict(&with_list(list).expect("configuration"), &user);
    assert_eq!(
        judge(root.revocation_list(&[serial], true)),
        Err(MspError::Revoked)
    );
    assert_eq!(judge(root.revocation_list(&[&[1], &[2]], true)), Ok(()));
    assert_eq!(judge(root.revocation_list(&[], true)), Ok(()));
    assert_eq!(
        judge(other.revocation_list(&[serial], true)),
        Ok(()),
        "another issuer's list"
    );
    assert_eq!(
        judge(root.forged_revocation_list(&[serial])),
        Ok(()),
        "a list that does not verify"
    );
    refused(
        with_list(root.revocation_list(&[], false)).map(|_| ()),
        "could not obtain Authority Key Identifier for crl",
    );
    refused(
        with_list(b"nothing".to_vec()).map(|_| ()),
        "could not parse RevocationList",
    );
}

fn with_units(organization: &Organization, units: &[&str]) -> Credential {
    organization
        .ca()
        .issue(&Template::new("user").with_units(units))
}

#[test]
fn node_units_must_name_exactly_one_role() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let msp = msp(&organization.msp_config());
    for (units, role) in [
        (&["client"][..], NodeRole::Client),
        (&["peer"], NodeRole::Peer),
        (&["admin"], NodeRole::Admin),
        (&["orderer"], NodeRole::Orderer),
        (&["department1", "client", "org1"], NodeRole::Client),
    ] {
        let credential = with_units(&organization, units);
        let identity = msp
            .identity_of(credential.cert_pem.as_bytes())
            .expect("identity");
        assert_eq!(msp.validate(&identity), Ok(()), "{units:?}");
        assert_eq!(msp.role(&identity), Some(role), "{units:?}");
        assert_eq!(identity.certificate().subject_ous(), units);
    }
    for (units, text) in [
        (
            &[][..],
            "does not have an OU that resolves to client, peer, orderer, or admin role. OUs: []",
        ),
        (&["department1"], "does not have an OU that resolves to"),
        (
            &["client", "peer"],
            "not a combination of them. OUs: [client(",
        ),
        (&["client", "client"], "not a combination of them"),
    ] {
        refused(verdict(&msp, &with_units(&organization, units)), text);
    }
}

#[test]
fn units_may_be_bound_to_a_certification_path() {
    let root = Authority::root("root");
    let left = root.intermediate(&Template::authority("left"));
    let right = root.intermediate(&Template::authority("right"));
    let unit = |name: &str, certificate: &str| FabricOuIdentifier {
        certificate: pem(certificate),
        organizational_unit_identifier: name.into(),
    };
    let client =
        |authority: &Authority| authority.issue(&Template::new("user").with_units(&["client"]));

    let mut config = plain_config(
        &[root.cert_pem()],
        &[left.cert_pem(), right.cert_pem()],
        &client(&left),
    );
    config.fabric_node_ous = Some(FabricNodeOUs {
        enable: true,
        client_ou_identifier: Some(unit("client", left.cert_pem())),
        ..FabricNodeOUs::default()
    });
    let bound = msp(&config);
    assert_eq!(verdict(&bound, &client(&left)), Ok(()));
    refused(
        verdict(&bound, &client(&right)),
        "certifiersIdentifier does not match: [client(",
    );

    config.fabric_node_ous = None;
    config.organizational_unit_identifiers = vec![unit("client", left.cert_pem())];
    let listed = msp(&config);
    assert_eq!(verdict(&listed, &client(&left)), Ok(()));
    refused(
        verdict(&listed, &client(&right)),
        "none of the identity's organizational units [client(",
    );
    refused(
        verdict(&listed, &left.issue(&Template::new("user"))),
        "does not contain an Organizational Unit (OU)",
    );

    config.organizational_unit_identifiers =
        vec![unit("client", Authority::root("foreign").cert_pem())];
    refused(
        Msp::new(&config, MspVersion::V3_0).map(|_| ()),
        "not in root or intermediate certs.",
    );
    config.organizational_unit_identifiers = vec![unit("client", "")];
    refused(
        Msp::new(&config, MspVersion::V3_0).map(|_| ()),
        "failed getting certificate for [client]",
    );
}

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
                .signature_hash_family = "MD5".into()
        }),
        "hash family not recognized",
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
fn the_stricter_form_is_asked_for_separately() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let msp = organization.msp();
    let text = organization.issue("user", NodeOu::Client).cert_pem;
    assert_eq!(check_well_formed(text.as_bytes()), Ok(()));
    let trailing = format!("{text}more");
    let renamed = text.replace("CERTIFICATE", "CONTRACT");
    for (text, expected) in [(&trailing, "trailing bytes"), (&renamed, "pem type")] {
        refused(check_well_formed(text.as_bytes()), expected);
        let identity = msp
            .identity_of(text.as_bytes())
            .expect("deserialization is lenient");
        assert_eq!(msp.validate(&identity), Ok(()));
    }
}
