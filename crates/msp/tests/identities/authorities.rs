//! Properties of the authorities above an identity, and their revocation lists.

use consilium_msp::{Msp, MspError, MspVersion};
use consilium_testkit::{Authority, CLIENT_AUTH, KEY_CERT_SIGN, KeyKind, Template};

use crate::{msp, plain_config, refused, verdict};

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
        build(root(), constrained.clone(), &Template::new("some user")),
        Ok(()),
        "no names, nothing to constrain"
    );
    refused(
        build(root(), constrained.clone(), &user),
        "issuer has name constraints but leaf doesn't have a SAN extension",
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
