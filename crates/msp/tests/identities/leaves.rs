//! Properties of an identity's own certificate.

use consilium_msp::{Msp, MspVersion, check_well_formed};
use consilium_testkit::{
    Authority, CLIENT_AUTH, KeyKind, NodeOu, Organization, SERVER_AUTH, Template,
};

use crate::{msp, plain_config, refused, verdict};

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
