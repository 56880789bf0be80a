use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// A gzipped tar of entries with any type and name.
fn tar_gz(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        // The builder refuses hostile names, so they are written into the header by hand.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, *content).expect("memory");
    }
    gzip(&tar.into_inner().expect("memory"))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).expect("memory");
    gzip.finish().expect("memory")
}

fn with_metadata(metadata: &str) -> Vec<u8> {
    let file = tar::EntryType::Regular;
    tar_gz(&[
        ("metadata.json", file, metadata.as_bytes()),
        ("code.tar.gz", file, b"code"),
    ])
}

fn refusal(file: &[u8]) -> String {
    Package::parse(file)
        .expect_err("a hostile package")
        .to_string()
}

fn program(package: &Package) -> Result<Program, ProgramError> {
    package.content().map(|content| content.program)
}

#[test]
fn a_package_of_a_contract_is_the_same_everywhere_and_names_it() {
    let file = package_in_process("records_1.0", "records").expect("a good label");
    assert_eq!(
        file,
        package_in_process("records_1.0", "records").expect("a good label")
    );
    let package = Package::parse(&file).expect("our own package");
    assert_eq!(package.id, package_id("records_1.0", &file));
    assert_eq!(package.metadata.kind, IN_PROCESS_TYPE);
    assert_eq!(
        program(&package),
        Ok(Program::InProcess("records".to_owned()))
    );
}

#[test]
fn a_package_of_a_service_keeps_its_connection() {
    let tls = ConnectionTls {
        root_cert: "root".to_owned(),
        client: Some(("cert".to_owned(), "key".to_owned())),
        domain: Some("service.example.com".to_owned()),
    };
    let connections = [
        Connection::plain("127.0.0.1:9999"),
        Connection {
            address: "service:1".to_owned(),
            dial_timeout: Duration::from_millis(1500),
            tls: Some(tls),
        },
    ];
    for connection in connections {
        let file = package_service("kv", &connection).expect("a good label");
        let package = Package::parse(&file).expect("our own package");
        assert_eq!(program(&package), Ok(Program::Service(connection)));
    }
}

#[test]
fn what_fabric_refuses_is_refused_in_its_words() {
    let file = tar::EntryType::Regular;
    let code = ("code.tar.gz", file, &b"code"[..]);
    let metadata = (
        "metadata.json",
        file,
        &br#"{"type":"ccaas","label":"x"}"#[..],
    );
    assert!(refusal(b"no gzip").starts_with("error reading as gzip stream: "));
    assert!(refusal(b"").starts_with("error reading as gzip stream: "));
    assert_eq!(
        refusal(&tar_gz(&[metadata])),
        "did not find a code package inside the package"
    );
    assert_eq!(
        refusal(&tar_gz(&[code])),
        "did not find any package metadata (missing metadata.json)"
    );
    let folder = ("folder", tar::EntryType::Directory, &b""[..]);
    assert_eq!(
        refusal(&tar_gz(&[metadata, folder, code])),
        "tar entry folder is not a regular file, type 53"
    );
    let link = ("code.tar.gz", tar::EntryType::Symlink, &b""[..]);
    assert!(refusal(&tar_gz(&[metadata, link])).contains("is not a regular file, type 50"));
    assert!(
        refusal(&with_metadata("{")).starts_with("could not unmarshal metadata.json as json: ")
    );
    for label in ["", "../evil", "a b", ".hidden", "a/b"] {
        let metadata = format!(r#"{{"type":"ccaas","label":"{label}"}}"#);
        assert_eq!(
            refusal(&with_metadata(&metadata)),
            format!(
                "invalid label '{label}'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', and can only begin with alphanumerics"
            )
        );
    }
}

#[test]
fn entries_that_point_out_of_the_archive_are_refused() {
    let file = tar::EntryType::Regular;
    for name in ["../code.tar.gz", "/etc/passwd", "a/../../b"] {
        let refused = refusal(&tar_gz(&[(name, file, b"x")]));
        assert_eq!(
            refused,
            format!("tar entry {name} does not name a file inside the archive")
        );
    }
}

/// 200 MB of zeros under a name, in a few hundred kilobytes.
fn bomb(name: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).expect("a good name");
    header.set_size(200 << 20);
    header.set_cksum();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(header.as_bytes()).expect("memory");
    let zeros = vec![0u8; 1 << 20];
    for _ in 0..200 {
        gzip.write_all(&zeros).expect("memory");
    }
    gzip.finish().expect("memory")
}

#[test]
fn a_small_archive_that_unpacks_to_a_huge_one_is_given_up_early() {
    let outer = bomb("code.tar.gz");
    assert!(outer.len() < 1 << 20);
    assert!(refusal(&outer).contains("exceeds"), "{}", refusal(&outer));
    let file = tar::EntryType::Regular;
    let metadata = br#"{"type":"consilium","label":"x"}"#;
    let inner = bomb("contract.json");
    let package = tar_gz(&[
        ("metadata.json", file, metadata),
        ("code.tar.gz", file, &inner),
    ]);
    let content = Package::parse(&package).expect("a package").content();
    assert!(content.expect_err("a bomb").to_string().contains("exceeds"));
}

#[test]
fn packages_that_nothing_here_can_run_say_so() {
    let file = tar::EntryType::Regular;
    let of = |kind: &str, code: &[u8]| {
        let metadata = format!(r#"{{"type":"{kind}","label":"x"}}"#);
        let package = tar_gz(&[
            ("metadata.json", file, metadata.as_bytes()),
            ("code.tar.gz", file, code),
        ]);
        Package::parse(&package)
            .expect("a package")
            .content()
            .expect_err("unusable")
            .to_string()
    };
    let empty = tar_gz(&[("src/main.go", file, b"package main")]);
    assert_eq!(
        of("golang", &empty),
        "no builder of this peer takes packages of type 'golang', expected 'consilium' or 'ccaas', or what an external builder takes (chaincode.externalBuilders)"
    );
    assert!(of("ccaas", &empty).starts_with("connection.json not found"));
    assert!(of("consilium", &empty).starts_with("contract.json not found"));
    let connection = |json: &str| tar_gz(&[("connection.json", file, json.as_bytes())]);
    let cases = [
        (r#"{}"#, "chaincode address not provided"),
        (
            r#"{"address":"a:1","dial_timeout":"soon"}"#,
            "invalid duration",
        ),
        (r#"{"address":"a:1","dial_timeout":-1}"#, "invalid duration"),
        (r#"{"address":"a:1","dial_timeout":[]}"#, "invalid duration"),
        (
            r#"{"address":"a:1","tls_required":true}"#,
            "chaincode tls root cert not provided",
        ),
        (
            r#"{"address":"a:1","tls_required":true,"client_auth_required":true}"#,
            "chaincode tls key not provided",
        ),
        (
            r#"{"address":"a:1","tls_required":true,"client_auth_required":true,"client_key":"k"}"#,
            "chaincode tls cert not provided",
        ),
    ];
    for (json, text) in cases {
        assert_eq!(of("ccaas", &connection(json)), text);
    }
}

#[test]
fn dial_timeouts_are_durations_or_nanoseconds() {
    let cases = [
        ("", 3_000),
        (r#","dial_timeout":"10s""#, 10_000),
        (r#","dial_timeout":"1m30s""#, 90_000),
        (r#","dial_timeout":2000000000"#, 2_000),
        (r#","dial_timeout":0"#, 3_000),
    ];
    for (field, milliseconds) in cases {
        let json = format!(r#"{{"address":"a:1"{field}}}"#);
        let connection = Connection::parse(json.as_bytes()).expect("a connection");
        assert_eq!(
            connection.dial_timeout,
            Duration::from_millis(milliseconds),
            "{json}"
        );
    }
}

#[test]
fn addresses_are_filled_in_per_peer() {
    let values = BTreeMap::from([("peername".to_owned(), "org1peer1".to_owned())]);
    let connection = Connection::plain("{{.peername}}_kv:9999").filled_in(&values);
    assert_eq!(connection.address, "org1peer1_kv:9999");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Package::parse(&bytes);
        let _ = Package::parse(&gzip(&bytes));
        let _ = Connection::parse(&bytes);
    }

    #[test]
    fn every_good_label_and_contract_comes_back(
        label in "[a-zA-Z0-9][a-zA-Z0-9_.+-]{0,40}",
        contract in "\\PC{0,40}",
    ) {
        let file = package_in_process(&label, &contract).expect("a good label");
        let package = Package::parse(&file).expect("our own package");
        prop_assert_eq!(program(&package), Ok(Program::InProcess(contract)));
        prop_assert_eq!(package.metadata.label, label);
    }
}

#[test]
fn index_definitions_are_found_where_fabric_has_them_and_folders_are_no_obstacle() {
    let (file, folder) = (tar::EntryType::Regular, tar::EntryType::Directory);
    let code = tar_gz(&[
        ("connection.json", file, br#"{"address":"localhost:1"}"#),
        ("META-INF/", folder, b""),
        ("META-INF/statedb/couchdb/indexes/", folder, b""),
        ("META-INF/statedb/couchdb/indexes/a.json", file, b"a"),
        (
            "./META-INF/statedb/couchdb/collections/c/indexes/b.json",
            file,
            b"b",
        ),
        ("META-INF/statedb/couchdb/indexes/readme.txt", file, b""),
        ("META-INF/statedb/couchdb/indexes/deep/c.json", file, b""),
        ("META-INF/other/indexes/d.json", file, b""),
    ]);
    let outer = tar_gz(&[
        ("metadata.json", file, br#"{"type":"ccaas","label":"x"}"#),
        ("code.tar.gz", file, &code),
    ]);
    let package = Package::parse(&outer).expect("a package");
    let found: Vec<_> = package
        .content()
        .expect("files")
        .indexes
        .into_iter()
        .map(|file| (file.collection, file.name, file.content))
        .collect();
    assert_eq!(
        found,
        [
            (None, "a.json".to_owned(), Bytes::from_static(b"a")),
            (
                Some("c".to_owned()),
                "b.json".to_owned(),
                Bytes::from_static(b"b")
            ),
        ]
    );
}

#[test]
fn a_package_is_made_with_index_definitions_and_nothing_else() {
    let connection = Connection::plain("localhost:1");
    let file = |name: &str| vec![(name.to_owned(), b"{}".to_vec())];
    let made = package_service_with(
        "x",
        &connection,
        &file("META-INF/statedb/couchdb/indexes/a.json"),
    );
    let package = Package::parse(&made.expect("a package")).expect("our own package");
    assert_eq!(
        package.content().map(|content| content.indexes.len()),
        Ok(1)
    );
    for name in [
        "META-INF/evil",
        "META-INF/statedb/couchdb/indexes/.json",
        "META-INF/statedb/couchdb/indexes/..json",
        "META-INF/statedb/couchdb/collections/../indexes/a.json",
        "META-INF/statedb/couchdb/collections/./indexes/a.json",
        "META-INF/statedb/couchdb/collections//indexes/a.json",
    ] {
        let refused = package_service_with("x", &connection, &file(name)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("metadata file path or name is not supported: {name}")
        );
    }
    let nul = file("META-INF/statedb/couchdb/indexes/a\0b.json");
    let refused = package_service_with("x", &connection, &nul).unwrap_err();
    assert!(matches!(refused, PackageError::Archive(_)), "{refused}");
}

#[test]
fn a_package_has_so_many_index_definitions_of_such_a_size_and_no_more() {
    let connection = Connection::plain("localhost:1");
    let content = |count: usize, bytes: usize| {
        let files: Vec<_> = (0..count)
            .map(|n| {
                let name = format!("META-INF/statedb/couchdb/indexes/{n}.json");
                (name, vec![b' '; bytes])
            })
            .collect();
        let made = package_service_with("x", &connection, &files).expect("a package");
        Package::parse(&made).expect("our own package").content()
    };
    assert_eq!(
        content(200, 9).map(|content| content.indexes.len()),
        Ok(200)
    );
    assert_eq!(
        content(1, 64 << 10).map(|content| content.indexes.len()),
        Ok(1)
    );
    for (count, bytes, reason) in [
        (
            201,
            9,
            "could not read code.tar.gz: more than 200 index definitions",
        ),
        (
            1,
            (64 << 10) + 1,
            "could not read code.tar.gz: META-INF/statedb/couchdb/indexes/0.json exceeds 65536 bytes when decompressed",
        ),
    ] {
        assert_eq!(content(count, bytes).unwrap_err().to_string(), reason);
    }
}
