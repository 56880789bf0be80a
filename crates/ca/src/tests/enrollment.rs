//! What an organization does: start its authority, enrol, register, use the certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bytes::Bytes;
use consilium_msp::{Certificate, Msp, MspVersion, NodeRole, Signer as _, SoftwareSigner};
use consilium_transport::{ClientAuth, ClientTls, ServerTls, TlsIdentity, incoming, listen};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;
use crate::Attribute;
use crate::client::{AttributeRequest, CaClientError};
use crate::folders::{
    read_msp_config, read_signer_files, read_tls, write_msp, write_tls, write_verifying_msp,
};

fn attribute(name: &str, value: &str, ecert: bool) -> Attribute {
    Attribute {
        name: name.into(),
        value: value.into(),
        ecert,
    }
}

/// The contents of the attribute extension, if there is one.
fn attributes_of(pem: &str) -> Option<serde_json::Value> {
    let certificate = Certificate::from_pem(pem.as_bytes()).unwrap();
    let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
    let found = parsed
        .extensions()
        .iter()
        .find(|extension| extension.oid.to_id_string() == "1.2.3.4.5.6.7.8.1")?;
    assert!(!found.critical);
    Some(serde_json::from_slice(found.value).unwrap())
}

#[tokio::test]
async fn an_authority_says_who_it_is() {
    let fixture = Fixture::new();
    let info = fixture.serve().await.client.cainfo().await.unwrap();
    assert_eq!(info.name, "ca-org1");
    assert_eq!(info.chain_pem, fixture.ca.ca_certificate_pem());
    let root = Certificate::from_pem(info.chain_pem.as_bytes()).unwrap();
    assert!(root.is_ca() && root.is_signed_by(&root));
    assert_eq!(root.subject_key_id().unwrap().len(), 32);
}

#[tokio::test]
async fn every_node_role_comes_from_the_type_that_was_registered() {
    let fixture = Fixture::new();
    let served = fixture.serve().await;
    let admin = served.admin().await;
    let roots = [Bytes::from(fixture.ca.ca_certificate_pem().to_owned())];
    for (kind, role) in [
        ("client", NodeRole::Client),
        ("peer", NodeRole::Peer),
        ("admin", NodeRole::Admin),
        ("orderer", NodeRole::Orderer),
    ] {
        let id = format!("a-{kind}");
        let secret = served.register(&admin, &id, kind).await;
        assert_eq!(secret.len(), 12);
        let enrollment = served.enroll(&id, &secret, "").await;
        let folder = tempfile::tempdir().unwrap();
        write_msp(folder.path(), &enrollment, &roots).unwrap();

        let config = read_msp_config(folder.path(), "Org1MSP").unwrap();
        assert_eq!(config.tls_root_certs, roots);
        let msp = Msp::new(&config, MspVersion::V3_0).unwrap();
        let (certificate, key) = read_signer_files(folder.path()).unwrap();
        let signer = SoftwareSigner::from_pem("Org1MSP", &certificate, &key).unwrap();
        let identity = msp.deserialize(signer.serialized()).unwrap();
        msp.validate(&identity).unwrap();
        assert!(msp.role(&identity) == Some(role), "{kind}");
        let signature = signer.sign(b"message").unwrap();
        identity.verify(b"message", &signature).unwrap();
        assert_eq!(identity.certificate().subject_cn(), id);
        assert_eq!(identity.certificate().subject_ous(), [kind]);
        assert_eq!(identity.certificate().subject_key_id().unwrap().len(), 32);
    }
}

#[tokio::test]
async fn affiliations_become_units_and_attributes_an_extension() {
    let fixture = Fixture::new();
    let served = fixture.serve().await;
    let admin = served.admin().await;
    let secret = served
        .client
        .register(
            &admin,
            &RegisterRequest {
                id: "doctor".into(),
                kind: "client".into(),
                secret: "given".into(),
                affiliation: "org1.department1".into(),
                attributes: vec![
                    attribute("specialty", "cardiology", true),
                    attribute("shift", "night", false),
                ],
                ..RegisterRequest::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(secret, "given");

    let usual = served.enroll("doctor", "given", "").await;
    let certificate = Certificate::from_pem(usual.certificate_pem.as_bytes()).unwrap();
    let mut units = certificate.subject_ous().to_vec();
    units.sort();
    assert_eq!(units, ["client", "department1", "org1"]);
    let expected = serde_json::json!({"attrs": {
        "hf.Affiliation": "org1.department1",
        "hf.EnrollmentID": "doctor",
        "hf.Type": "client",
        "specialty": "cardiology",
    }});
    assert_eq!(attributes_of(&usual.certificate_pem), Some(expected));

    let wish = |name: &str, optional| AttributeRequest {
        name: name.into(),
        optional,
    };
    let mut chosen = request("doctor", "given", "");
    chosen.attributes = Some(vec![wish("shift", false), wish("absent", true)]);
    let chosen = served.client.enroll(&chosen).await.unwrap();
    let expected = serde_json::json!({"attrs": {"shift": "night"}});
    assert_eq!(attributes_of(&chosen.certificate_pem), Some(expected));
}

#[tokio::test]
async fn tls_certificates_serve_both_sides_of_a_connection() {
    let fixture = Fixture::new();
    let served = fixture.serve().await;
    let admin = served.admin().await;
    let secret = served.register(&admin, "peer0", "peer").await;
    let enrollment = served.enroll("peer0", &secret, "tls").await;
    let folder = tempfile::tempdir().unwrap();
    write_tls(folder.path(), &enrollment).unwrap();
    let files = read_tls(folder.path()).unwrap();
    let identity = TlsIdentity::from_pem(&files.certificate_pem, &files.key_pem).unwrap();
    let roots = [files.ca_pem];

    let server = ServerTls::new(identity.clone(), ClientAuth::Require, &roots).unwrap();
    let listener = listen("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let mut connections = incoming(listener, Some(server));
    let client = ClientTls::new(Some(identity.clone()), &roots).unwrap();
    let connecting = tokio::spawn(async move {
        consilium_transport::connect(&endpoint, Some(client), Duration::from_secs(20)).await
    });
    let accepted = connections.accept().await.unwrap();
    let seen = accepted.info().certificate.clone().unwrap();
    assert_eq!(seen, identity.leaf_der());
    // Nobody serves HTTP/2 here; the handshake was the point.
    drop(accepted);
    connecting.abort();
}

#[tokio::test]
async fn keys_are_private_files_and_folders_say_what_is_missing() {
    let fixture = Fixture::new();
    let served = fixture.serve().await;
    let admin = served.admin().await;
    let folder = tempfile::tempdir().unwrap();
    write_msp(folder.path(), &admin, &[]).unwrap();
    write_tls(&folder.path().join("tls"), &admin).unwrap();
    let key = fs::read_dir(folder.path().join("keystore"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(key.file_name().to_string_lossy().ends_with("_sk"));
    let root_key = fs::read_dir(fixture.home.path().join("msp/keystore"))
        .unwrap()
        .next();
    for path in [
        key.path(),
        folder.path().join("tls/server.key"),
        root_key.unwrap().unwrap().path(),
        fixture.home.path().join("tls-key.pem"),
    ] {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }

    fs::remove_file(key.path()).unwrap();
    let error = read_signer_files(folder.path()).unwrap_err().to_string();
    assert!(error.contains("keystore"), "{error}");
    fs::write(folder.path().join("config.yaml"), "NodeOUs: [").unwrap();
    let error = read_msp_config(folder.path(), "Org1MSP")
        .unwrap_err()
        .to_string();
    assert!(error.contains("config.yaml"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = read_msp_config(empty.path(), "Org1MSP")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("could not load a valid ca certificate from directory"),
        "{error}"
    );
}

#[tokio::test]
async fn an_organization_without_identity_can_be_written_for_others() {
    let fixture = Fixture::new();
    let folder = tempfile::tempdir().unwrap();
    let root = fixture.ca.ca_certificate_pem();
    write_verifying_msp(folder.path(), root.as_bytes(), &[root.to_owned().into()]).unwrap();
    let config = read_msp_config(folder.path(), "Org1MSP").unwrap();
    let units = config.fabric_node_ous.clone().unwrap();
    let client = units.client_ou_identifier.unwrap();
    assert_eq!(client.organizational_unit_identifier, "client");
    assert_eq!(client.certificate, root.as_bytes());
    Msp::new(&config, MspVersion::V3_0).unwrap();
}

#[tokio::test]
async fn enrolling_again_gives_a_new_key_for_the_same_identity() {
    let fixture = Fixture::new();
    let served = fixture.serve().await;
    let admin = served.admin().await;
    let again = served
        .client
        .reenroll(&admin, &request(ADMIN, "", ""))
        .await
        .unwrap();
    assert_ne!(again.key_pem, admin.key_pem);
    let old = Certificate::from_pem(admin.certificate_pem.as_bytes()).unwrap();
    let new = Certificate::from_pem(again.certificate_pem.as_bytes()).unwrap();
    assert_eq!(old.subject_der(), new.subject_der());
    assert_ne!(old.serial_hex(), new.serial_hex());
    // The new certificate is as good as the old one.
    served.register(&again, "someone", "client").await;
}

#[tokio::test]
async fn a_secret_serves_as_often_as_was_registered() {
    let fixture = Fixture::new();
    let served = fixture.serve().await;
    let admin = served.admin().await;
    let registration = RegisterRequest {
        id: "once".into(),
        secret: "secret".into(),
        max_enrollments: 1,
        ..RegisterRequest::default()
    };
    served.client.register(&admin, &registration).await.unwrap();
    let first = served.enroll("once", "secret", "").await;
    let second = served.client.enroll(&request("once", "secret", "")).await;
    match second {
        Err(CaClientError::Refused {
            status: 401,
            code: 20,
            message,
        }) => {
            assert_eq!(message, "Authentication failure");
        }
        other => panic!("{other:?}"),
    }
    // Enrolling again with the certificate is not limited.
    served
        .client
        .reenroll(&first, &request("once", "", ""))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_authority_keeps_its_root_and_its_identities_over_a_restart() {
    let Fixture { home, ca } = Fixture::new();
    let root = ca.ca_certificate_pem().to_owned();
    let admin = Fixture { home, ca };
    let served = admin.serve().await;
    let enrollment = served.admin().await;
    served.register(&enrollment, "early", "client").await;
    drop(served);
    let Fixture { home, ca } = admin;
    drop(ca);

    let ca = CaServer::open(options(&home)).unwrap();
    assert_eq!(ca.ca_certificate_pem(), root);
    let served = Fixture { home, ca }.serve().await;
    served.register(&enrollment, "late", "client").await;
    let again = RegisterRequest {
        id: "early".into(),
        ..RegisterRequest::default()
    };
    let refused = served.client.register(&enrollment, &again).await;
    assert!(matches!(
        refused,
        Err(CaClientError::Refused {
            status: 409,
            code: 74,
            ..
        })
    ));
}

#[test]
fn an_authority_does_not_start_with_files_that_do_not_fit() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let copied = |change: &dyn Fn(&std::path::Path)| {
        let home = tempfile::tempdir().unwrap();
        drop(CaServer::open(options(&home)).unwrap());
        change(home.path());
        CaServer::open(options(&home))
            .err()
            .map(|error| error.to_string())
    };
    let foreign = |path: &std::path::Path| {
        fs::copy(
            other.home.path().join("ca-cert.pem"),
            path.join("ca-cert.pem"),
        )
        .unwrap();
    };
    type Damage<'a> = &'a dyn Fn(&std::path::Path);
    let cases: [(Damage<'_>, &str); 5] = [
        (&foreign, "private key is not"),
        (
            &|path| fs::remove_dir_all(path.join("msp")).unwrap(),
            "private key is not",
        ),
        (
            &|path| fs::write(path.join("ca-cert.pem"), "garbage").unwrap(),
            "ca-cert.pem",
        ),
        (
            &|path| fs::write(path.join("fabric-ca-server.db"), "x".repeat(9000)).unwrap(),
            ".db",
        ),
        (
            &|path| {
                one.ca.tls(&["localhost".into()]).unwrap();
                fs::copy(
                    one.home.path().join("tls-cert.pem"),
                    path.join("ca-cert.pem"),
                )
                .unwrap();
            },
            "not a certificate of a certificate authority",
        ),
    ];
    for (change, expected) in cases {
        let error = copied(change).expect("the authority does not start");
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_client_talks_only_to_the_authority_it_trusts() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let served = fixture.serve().await;
    let url = format!("https://localhost:{}", served.address.port());
    let roots = [other.ca.ca_certificate_pem().to_owned().into()];
    let client = CaClient::new(&url, &roots, "").unwrap();
    let refused = client
        .enroll(&request(ADMIN, PASSWORD, ""))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, CaClientError::Unreachable { .. }),
        "{refused}"
    );
    assert!(CaClient::new("localhost:7054", &roots, "").is_err());
    assert!(
        CaClient::new(&url, &["garbage".into()], "").is_ok(),
        "no certificate, no trust"
    );
}
