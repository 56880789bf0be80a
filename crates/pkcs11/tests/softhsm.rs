//! Signing with a key in SoftHSM, which `cargo xtask test` installs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use consilium_msp::{Certificate, Signer as _, SoftwareSigner};
use consilium_pkcs11::{TokenError, TokenOptions, TokenSigner};
use consilium_testkit::{NodeOu, Organization};

const LIBRARIES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

fn library() -> PathBuf {
    let found = LIBRARIES.iter().map(Path::new).find(|path| path.is_file());
    let found = found.expect("SoftHSM: apt-get install softhsm2");
    found.to_owned()
}

fn softhsm(arguments: &[&str]) {
    let output = Command::new("softhsm2-util").args(arguments).output();
    let output = output.expect("softhsm2-util: apt-get install softhsm2");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Runs the test of this name in a process of its own: the library reads where its tokens are from the
/// environment, once.
fn within(folder: &Path, test: &str) {
    let tokens = folder.join("tokens");
    fs::create_dir(&tokens).unwrap();
    let settings = folder.join("softhsm2.conf");
    fs::write(
        &settings,
        format!("directories.tokendir = {}\n", tokens.display()),
    )
    .unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SOFTHSM2_CONF", settings)
        .env(FOLDER, folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

/// Set in the process that does the work.
const FOLDER: &str = "CONSILIUM_TOKEN_TEST";

#[test]
fn a_key_in_a_token_signs_as_one_in_a_file_does() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        let folder = tempfile::tempdir().unwrap();
        return within(
            folder.path(),
            "a_key_in_a_token_signs_as_one_in_a_file_does",
        );
    };
    softhsm(&[
        "--init-token",
        "--free",
        "--label",
        "org1",
        "--so-pin",
        "1234",
        "--pin",
        "98765432",
    ]);

    let organization = Organization::new("Org1MSP", "org1.example.com");
    let [peer, other] = ["peer0", "peer1"].map(|name| organization.issue(name, NodeOu::Peer));
    let certificate = Certificate::from_pem(peer.cert_pem.as_bytes()).unwrap();
    let ski = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        certificate.public_point().unwrap(),
    );
    let key = folder.join("key.pem");
    fs::write(&key, &peer.key_pem).unwrap();
    for id in [hex::encode(ski.as_ref()), hex::encode("by name")] {
        softhsm(&[
            "--import",
            key.to_str().unwrap(),
            "--token",
            "org1",
            "--label",
            "key",
            "--id",
            &id,
            "--pin",
            "98765432",
        ]);
    }

    let options = TokenOptions {
        library: library(),
        label: "org1".into(),
        pin: "98765432".to_owned().into(),
        alt_id: None,
        key_ids: Vec::new(),
        sessions: 2,
    };
    let open =
        |options: &TokenOptions, pem: &str| TokenSigner::open(options, "Org1MSP", pem.as_bytes());
    let signer = open(&options, &peer.cert_pem).unwrap();
    let in_file =
        SoftwareSigner::from_pem("Org1MSP", peer.cert_pem.as_bytes(), peer.key_pem.as_bytes())
            .unwrap();
    assert_eq!(signer.serialized(), in_file.serialized());

    // From many threads at once; half of all plain signatures would have a high S.
    std::thread::scope(|scope| {
        for number in 0..8_u8 {
            let (signer, certificate) = (&signer, &certificate);
            scope.spawn(move || {
                for message in 0..8_u8 {
                    let message = [number, message];
                    let signature = signer.sign(&message).unwrap();
                    certificate.verify(&message, &signature).unwrap();
                }
            });
        }
    });

    // On a runtime as well, whose other tasks go on.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let signature = signer.sign(b"on the reactor").unwrap();
        certificate.verify(b"on the reactor", &signature).unwrap();
    });

    let named = TokenOptions {
        alt_id: Some(b"by name".to_vec()),
        ..options.clone()
    };
    open(&named, &peer.cert_pem).unwrap();
    let mapped = TokenOptions {
        key_ids: vec![(hex::encode(ski.as_ref()), b"by name".to_vec())],
        ..options.clone()
    };
    open(&mapped, &peer.cert_pem).unwrap();

    assert!(matches!(
        open(&options, &other.cert_pem),
        Err(TokenError::NoKey { .. })
    ));
    assert!(matches!(
        open(&named, &other.cert_pem),
        Err(TokenError::KeyMismatch(_))
    ));
    let elsewhere = TokenOptions {
        label: "org2".into(),
        ..options.clone()
    };
    let refused = open(&elsewhere, &peer.cert_pem).unwrap_err().to_string();
    assert!(refused.contains("there are: \"org1\""), "{refused}");
    let nothing = TokenOptions {
        library: folder.join("none.so"),
        ..options
    };
    assert!(matches!(
        open(&nothing, &peer.cert_pem),
        Err(TokenError::Library { .. })
    ));
}
