//! Lists of revoked certificates that cannot be made.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::json;

use super::refusals::{enroll, refused, signed};
use super::*;
use crate::server::Endpoint;

/// A root that may sign certificates and, perhaps, lists of revoked ones; made by somebody else.
fn brought(home: &std::path::Path, usages: Vec<KeyUsagePurpose>) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages;
    params
        .distinguished_name
        .push(DnType::CommonName, "brought");
    let root = params.self_signed(&key).unwrap();
    std::fs::write(home.join("ca-cert.pem"), root.pem()).unwrap();
    std::fs::write(home.join("ca-key.pem"), key.serialize_pem()).unwrap();
}

#[test]
fn an_authority_without_the_usage_for_it_signs_no_list() {
    let usages = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    for (usages, expected) in [(&usages[..1], Some((500, 46, 46))), (&usages[..], None)] {
        let fixture = Fixture::with(|options| brought(&options.home, usages.to_vec()));
        let ca = &fixture.ca;
        let admin = enroll(ca, ADMIN, PASSWORD);
        for (endpoint, body) in [
            (Endpoint::GenCrl, json!({"caname": "ca-org1"})),
            (Endpoint::Revoke, json!({"id": ADMIN, "gencrl": true})),
        ] {
            let call = signed(&admin, &body);
            match expected {
                Some(expected) => assert_eq!(refused(ca, endpoint, &call), expected),
                None => assert_eq!(ca.answer(endpoint, &call).unwrap().status, 200),
            }
        }
    }
}

/// What another program wrote into the register is no number, so no list can name it; one that
/// leaves it out would say that the certificate is good.
#[test]
fn a_register_with_a_revoked_certificate_without_a_number_gives_no_list() {
    let fixture = Fixture::new();
    let admin = enroll(&fixture.ca, ADMIN, PASSWORD);
    let call = signed(&admin, &json!({"caname": "ca-org1"}));
    assert_eq!(
        fixture.ca.answer(Endpoint::GenCrl, &call).unwrap().status,
        200
    );
    let file = fixture.home.path().join("fabric-ca-server.db");
    let database = rusqlite::Connection::open(file).unwrap();
    let inserted = database.execute(
        "INSERT INTO certificates (id, serial_number, authority_key_identifier, status, reason, \
         expiry, revoked_at, pem) VALUES ('x', 'no number', 'ab', 'revoked', 0, \
         '2100-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00', 'x')",
        [],
    );
    assert_eq!(inserted.unwrap(), 1);
    let refused = refused(&fixture.ca, Endpoint::GenCrl, &call);
    assert_eq!(refused, (500, 41, 41));
}
