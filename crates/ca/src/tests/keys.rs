//! Keys of every kind, of those who enrol and of authorities.

use consilium_msp::{Certificate, Msp, MspVersion, Signer as _, SoftwareSigner};
use consilium_proto::msp::FabricMspConfig;
use consilium_transport::TlsIdentity;
use serde_json::json;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::refusals::{Caller, csr, refused, signed};
use super::*;
use crate::KeyKind;
use crate::client::{CaClientError, RevokeRequest};
use crate::folders::{read_msp_config, read_signer_files, write_msp};
use crate::server::Endpoint;

/// Algorithm and bits of a certificate's key.
fn kind_of(pem: &str) -> (&'static str, usize) {
    let certificate = Certificate::from_pem(pem.as_bytes()).unwrap();
    let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
    let key = parsed.public_key().parsed().unwrap();
    match &key {
        PublicKey::EC(point) => ("ecdsa", point.key_size()),
        PublicKey::RSA(modulus) => ("rsa", modulus.key_size()),
        _ => panic!("{key:?}"),
    }
}

fn expected(kind: KeyKind) -> (&'static str, usize) {
    // What the reader calls the size of a point is that of its bytes.
    let bits = kind.bits() as usize;
    (kind.algorithm(), bits.next_multiple_of(8))
}

#[tokio::test]
async fn every_kind_of_key_is_certified_and_those_of_ecdsa_sign_requests() {
    let fixture = Fixture::new();
    let served = fixture.serve().await;
    for kind in KeyKind::ALL {
        let asked = EnrollRequest {
            key: kind,
            ..request(ADMIN, PASSWORD, "tls")
        };
        let enrolled = served.client.enroll(&asked).await.unwrap();
        assert_eq!(
            kind_of(&enrolled.certificate_pem),
            expected(kind),
            "{kind:?}"
        );
        let certificate = Certificate::from_pem(enrolled.certificate_pem.as_bytes()).unwrap();
        assert_eq!(certificate.subject_key_id().unwrap().len(), 32);
        // It serves TLS, and folders take it.
        TlsIdentity::from_pem(
            enrolled.certificate_pem.as_bytes(),
            enrolled.key_pem.as_bytes(),
        )
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_msp(folder.path(), &enrolled, &[]).unwrap();
        let (read, _) = read_signer_files(folder.path()).unwrap();
        assert_eq!(read, enrolled.certificate_pem.as_bytes());
        // Signing requests to the authority.
        let wish = RegisterRequest {
            id: format!("by-{kind:?}"),
            kind: "client".into(),
            ..RegisterRequest::default()
        };
        let registered = served.client.register(&enrolled, &wish).await;
        let again = served.client.reenroll(&enrolled, &asked).await;
        if kind.algorithm() == "ecdsa" {
            registered.unwrap();
            assert_eq!(kind_of(&again.unwrap().certificate_pem), expected(kind));
            let (certificate, key) = (&enrolled.certificate_pem, &enrolled.key_pem);
            SoftwareSigner::from_pem("Org1MSP", certificate.as_bytes(), key.as_bytes()).unwrap();
        } else {
            for refused in [registered.unwrap_err(), again.unwrap_err()] {
                assert!(matches!(refused, CaClientError::Input { .. }), "{refused}");
                assert!(refused.to_string().contains("ECDSA only"), "{refused}");
            }
        }
    }
}

#[tokio::test]
async fn no_token_proves_an_rsa_certificate() {
    let fixture = Fixture::new();
    let served = fixture.serve().await;
    let asked = EnrollRequest {
        key: KeyKind::Rsa2048,
        ..request(ADMIN, PASSWORD, "")
    };
    let enrolled = served.client.enroll(&asked).await.unwrap();
    let caller = Caller {
        certificate: enrolled.certificate_pem,
        key: csr(|_| {}).1,
    };
    let call = signed(&caller, &json!({"id": "someone"}));
    assert_eq!(
        refused(&fixture.ca, Endpoint::Register, &call),
        (401, 25, 20)
    );
}

#[tokio::test]
async fn authorities_have_keys_of_every_kind() {
    for kind in KeyKind::ALL {
        let fixture = Fixture::with(|options| options.root.key = kind);
        let root_pem = fixture.ca.ca_certificate_pem().to_owned();
        assert_eq!(kind_of(&root_pem), expected(kind), "{kind:?}");
        let root = Certificate::from_pem(root_pem.as_bytes()).unwrap();
        assert!(root.is_signed_by(&root), "{kind:?}");
        // Read again from its files; over TLS with a certificate of its own.
        let again = CaServer::open(options(&fixture.home)).unwrap();
        assert_eq!(again.ca_certificate_pem(), root_pem);
        let served = fixture.serve().await;
        let admin = served.admin().await;
        let certificate = Certificate::from_pem(admin.certificate_pem.as_bytes()).unwrap();
        assert!(certificate.is_signed_by(&root), "{kind:?}");
        let folder = tempfile::tempdir().unwrap();
        write_msp(folder.path(), &admin, &[]).unwrap();
        let mut config = read_msp_config(folder.path(), "Org1MSP").unwrap();
        let valid = |config: &FabricMspConfig, who: &Enrollment| {
            let (certificate, key) = (&who.certificate_pem, &who.key_pem);
            let signer =
                SoftwareSigner::from_pem("Org1MSP", certificate.as_bytes(), key.as_bytes());
            let msp = Msp::new(config, MspVersion::V3_0).unwrap();
            let identity = msp.deserialize(signer.unwrap().serialized()).unwrap();
            msp.validate(&identity).map_err(|error| error.to_string())
        };
        let secret = served.register(&admin, "gone", "client").await;
        let gone = served.enroll("gone", &secret, "").await;
        assert_eq!(valid(&config, &admin), Ok(()), "{kind:?}");
        assert_eq!(valid(&config, &gone), Ok(()), "{kind:?}");
        // A list of revoked certificates that members believe.
        let revoke = RevokeRequest {
            id: "gone".into(),
            gencrl: true,
            ..RevokeRequest::default()
        };
        let revoked = served.client.revoke(&admin, &revoke).await.unwrap();
        config.revocation_list = vec![revoked.crl_pem.into()];
        assert_eq!(valid(&config, &admin), Ok(()), "{kind:?}");
        let refused = valid(&config, &gone).unwrap_err();
        assert!(refused.contains("revoked"), "{kind:?}: {refused}");
    }
}
