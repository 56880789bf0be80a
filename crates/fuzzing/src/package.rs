//! Chaincode packages: as they come, and their parts within a package that is whole otherwise.

use std::io::Write;

use consilium_chaincode::{Connection, Package, Program};
use consilium_protocol::hash::sha256;
use flate2::{Compression, GzBuilder};

use crate::input::Input;

/// The first byte says what follows: a package; its tar file; the tar file of its code;
/// `metadata.json` of a package; `connection.json`.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let kind = input.byte();
    let bytes = input.rest();
    match kind % 5 {
        0 => package(bytes),
        1 => package(&zipped(bytes)),
        2 => {
            let metadata = br#"{"path":"","type":"ccaas","label":"label_1"}"#;
            package(&packed(metadata, &zipped(bytes)))
        }
        3 => package(&packed(bytes, &zipped(b""))),
        _ => connection(bytes),
    }
}

/// Whether it can be installed; whether it can be run is another question.
fn package(file: &[u8]) -> bool {
    let Ok(package) = Package::parse(file) else {
        return false;
    };
    let id = format!("{}:{}", package.metadata.label, hex::encode(sha256(file)));
    assert_eq!(package.id, id, "the id names the bytes");
    consilium_protocol::names::validate_label(&package.metadata.label).expect("a checked label");
    let Ok(content) = package.content() else {
        return true;
    };
    if let Program::Service(connection) = &content.program {
        assert!(!connection.address.is_empty());
    }
    assert!(
        content.indexes.len() <= 200,
        "as many indexes as a package may have"
    );
    for index in &content.indexes {
        assert!(
            index.content.len() <= 64 << 10,
            "as large as an index may be"
        );
        assert!(!index.name.contains('/') && index.name.ends_with(".json"));
    }
    true
}

fn connection(json: &[u8]) -> bool {
    let Ok(connection) = Connection::parse(json) else {
        return false;
    };
    assert!(!connection.address.is_empty() && !connection.dial_timeout.is_zero());
    let values = [("peername".to_owned(), "peer0".to_owned())].into();
    let filled = connection.clone().filled_in(&values);
    assert_eq!(filled.dial_timeout, connection.dial_timeout);
    // What we package ourselves can be installed and says the same, but for parts of milliseconds.
    let label = "label_1";
    let packaged = consilium_chaincode::lifecycle::package_service_with(label, &connection, &[]);
    let package = Package::parse(&packaged.expect("a package")).expect("our own package");
    let content = package.content().expect("our own content");
    let Program::Service(again) = content.program else {
        panic!("a service became something else");
    };
    assert_eq!(again.address, connection.address);
    true
}

pub(crate) fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::none());
    // Memory takes every write.
    gzip.write_all(bytes).expect("memory");
    gzip.finish().expect("memory")
}

/// The package of a description and code.
pub(crate) fn packed(metadata: &[u8], code: &[u8]) -> Vec<u8> {
    zipped(&tarred(&[
        ("metadata.json", metadata),
        ("code.tar.gz", code),
    ]))
}

pub(crate) fn tarred(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content)
            .expect("memory");
    }
    tar.into_inner().expect("memory")
}
