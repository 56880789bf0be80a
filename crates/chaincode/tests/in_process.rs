//! Contracts inside the peer: what they see, and what becomes of unruly ones.

mod support;

use bytes::Bytes;
use consilium_chaincode::HostOptions;
use consilium_chaincode::lifecycle::package_in_process;
use std::time::Duration;
use support::{Consortium, ORG1, ORG2, ask, definition};

async fn with(consortium: &Consortium, contract: &str) {
    let package = package_in_process(contract, contract).expect("a good label");
    consortium
        .deploy(&definition(contract, 1, "1"), &package)
        .await;
}

#[tokio::test]
async fn a_contract_sees_its_transaction_and_names_an_event() {
    let consortium = Consortium::new();
    with(&consortium, "peeks").await;
    let mut call = ask("peeks", &["a", "b"]);
    call.transient
        .insert("hint".into(), Bytes::from_static(b"four"));
    let execution = consortium.execute(ORG2, &call).await.expect("a response");
    let seen = b"mychannel Org2MSP 1700000000 Some(4) 2";
    assert_eq!(&execution.response.payload[..], seen);
    let event = execution.event.expect("an event");
    assert_eq!(
        (event.chaincode_id.as_str(), &event.payload[..]),
        ("peeks", &seen[..])
    );
}

#[tokio::test]
async fn a_contract_that_panics_fails_its_own_transaction_alone() {
    let consortium = Consortium::new();
    with(&consortium, "panics").await;
    with(&consortium, "kv").await;
    let failed = consortium
        .execute(ORG1, &ask("panics", &["x"]))
        .await
        .expect_err("a panic");
    assert!(
        failed
            .to_string()
            .contains("error sending: chaincode panicked"),
        "{failed}"
    );
    let called = consortium
        .respond(ORG1, &ask("kv", &["invoke", "panics", "x"]))
        .await;
    assert!(
        called.message.contains("chaincode panicked"),
        "{}",
        called.message
    );
    consortium
        .submit(&[ORG1, ORG2], &ask("kv", &["put", "a", "1"]))
        .await;
}

#[tokio::test]
async fn a_contract_that_takes_too_long_is_given_up() {
    let consortium = Consortium::with(|options| HostOptions {
        execute_timeout: Duration::from_millis(200),
        ..options
    });
    with(&consortium, "sleeps").await;
    let failed = consortium
        .execute(ORG1, &ask("sleeps", &["x"]))
        .await
        .expect_err("too slow");
    assert!(
        failed
            .to_string()
            .ends_with("error sending: timeout expired while executing transaction"),
        "{failed}"
    );
}
