//! MSP folders, with all that may lie in one (fabric: msp/configbuilder.go).

use std::fs;
use std::path::Path;

use crate::folders::read_msp_config;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    folder
}

#[test]
fn every_folder_of_an_msp_is_read_whatever_its_files_are_called() {
    let one = format!("text before\n{PEM}");
    let folder = folder(&[
        ("cacerts/b", PEM),
        ("cacerts/a.pem", &one),
        ("cacerts/notes.txt", "no PEM"),
        ("cacerts/folder/c.pem", PEM),
        ("intermediatecerts/1.crt", PEM),
        ("admincerts/admin", PEM),
        ("crls/list", PEM),
        ("tlscacerts/root", PEM),
        ("tlsintermediatecerts/x", PEM),
    ]);
    let config = read_msp_config(folder.path(), "OrgMSP").expect("an MSP");
    assert_eq!(config.name, "OrgMSP");
    assert_eq!(config.root_certs, [one.into_bytes(), PEM.into()]);
    for list in [
        &config.intermediate_certs,
        &config.admins,
        &config.revocation_list,
        &config.tls_root_certs,
        &config.tls_intermediate_certs,
    ] {
        assert_eq!(list, &[PEM]);
    }
    assert_eq!(config.fabric_node_ous, None);
    let crypto = config.crypto_config.expect("hashes");
    assert_eq!(crypto.signature_hash_family, "SHA2");
    assert_eq!(crypto.identity_identifier_hash_function, "SHA256");
}

#[test]
fn without_roots_there_is_no_msp_and_without_tls_roots_no_tls_intermediates() {
    let empty = folder(&[("cacerts/notes.txt", "no PEM")]);
    let refused = read_msp_config(empty.path(), "OrgMSP").expect_err("no root");
    assert!(
        refused
            .to_string()
            .contains("could not load a valid ca certificate"),
        "{refused}"
    );
    let bare = folder(&[("cacerts/a", PEM), ("tlsintermediatecerts/x", PEM)]);
    let config = read_msp_config(bare.path(), "OrgMSP").expect("an MSP");
    assert_eq!(config.tls_intermediate_certs.len(), 0);
}

#[test]
fn units_name_their_certificates_and_node_units_do_without() {
    let yaml = "
NodeOUs:
  Enable: true
  ClientOUIdentifier: {Certificate: cacerts/a, OrganizationalUnitIdentifier: client}
  PeerOUIdentifier: {Certificate: cacerts/missing, OrganizationalUnitIdentifier: peer}
  AdminOUIdentifier: {OrganizationalUnitIdentifier: admin}
  OrdererOUIdentifier: {Certificate: cacerts/a}
OrganizationalUnitIdentifiers:
  - {Certificate: cacerts/a, OrganizationalUnitIdentifier: ward}
Unknown: {is: passed over}
";
    let whole = folder(&[("cacerts/a", PEM), ("config.yaml", yaml)]);
    let config = read_msp_config(whole.path(), "OrgMSP").expect("an MSP");
    let units = config.fabric_node_ous.expect("node units");
    let shown = [
        units.client_ou_identifier,
        units.peer_ou_identifier,
        units.admin_ou_identifier,
        units.orderer_ou_identifier,
    ]
    .map(|unit| unit.map(|unit| (unit.organizational_unit_identifier, unit.certificate)));
    let unit = |name: &str, certificate: &'static str| {
        Some((
            name.to_owned(),
            bytes::Bytes::from_static(certificate.as_bytes()),
        ))
    };
    assert_eq!(
        shown,
        [
            unit("client", PEM),
            unit("peer", ""),
            unit("admin", ""),
            None
        ]
    );
    assert_eq!(config.organizational_unit_identifiers.len(), 1);
    assert_eq!(config.organizational_unit_identifiers[0].certificate, PEM);

    let off = yaml.replace("Enable: true", "Enable: false");
    let off = folder(&[("cacerts/a", PEM), ("config.yaml", &off)]);
    let config = read_msp_config(off.path(), "OrgMSP").expect("an MSP");
    assert_eq!(config.fabric_node_ous, None);

    let missing = yaml.replace("cacerts/a, OrganizationalUnitIdentifier: ward", "x");
    let missing = folder(&[("cacerts/a", PEM), ("config.yaml", &missing)]);
    assert!(
        read_msp_config(missing.path(), "OrgMSP").is_err(),
        "a listed unit without its certificate"
    );
    let broken = folder(&[("cacerts/a", PEM), ("config.yaml", "NodeOUs: [")]);
    assert!(read_msp_config(broken.path(), "OrgMSP").is_err(), "no YAML");
}
