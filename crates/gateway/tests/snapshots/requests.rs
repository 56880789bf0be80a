//! Requests that cannot be met, or are not an admin's.

use bytes::Bytes;
use consilium_proto::{
    common,
    protos::{
        SignedSnapshotRequest, SnapshotQuery, SnapshotRequest, snapshot_client::SnapshotClient,
    },
};
use prost::Message;

use crate::{eventually, snapshots, start, support::CHANNEL, words};

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_met_or_are_not_an_admins_are_refused() {
    let mut network = start().await;
    let [one, two] = &network.members[..] else {
        panic!("two peers")
    };
    let asked = snapshots(&one.admin);
    let last = one.channel().ledger().height() - 1;
    asked.submit(CHANNEL, last + 5).await.unwrap();
    asked.submit(CHANNEL, last + 9).await.unwrap();
    let refused = [
        (
            words(asked.submit(CHANNEL, last + 5).await.unwrap_err()),
            format!("duplicate snapshot request for block number {}", last + 5),
        ),
        (
            words(asked.cancel(CHANNEL, last + 6).await.unwrap_err()),
            format!("no snapshot request exists for block number {}", last + 6),
        ),
        (
            words(asked.submit("nowhere", 0).await.unwrap_err()),
            "cannot find ledger for channel nowhere".to_owned(),
        ),
        (
            words(asked.cancel("", 1).await.unwrap_err()),
            "missing channel ID".to_owned(),
        ),
        (
            words(asked.pending("nowhere").await.unwrap_err()),
            "cannot find ledger for channel nowhere".to_owned(),
        ),
    ];
    for (words, expected) in refused {
        assert_eq!(words, expected);
    }
    asked.submit(CHANNEL, 0).await.unwrap();
    eventually("the snapshot of the last block", async || {
        asked.pending(CHANNEL).await.unwrap() == [last + 5, last + 9]
    })
    .await;
    assert_eq!(
        words(asked.submit(CHANNEL, 0).await.unwrap_err()),
        format!("snapshot already generated for block number {last}")
    );
    let before = last - 1;
    assert_eq!(
        words(asked.submit(CHANNEL, before).await.unwrap_err()),
        format!(
            "requested snapshot for block number {before} cannot be less than the last committed block number {last}"
        )
    );
    asked.cancel(CHANNEL, last + 9).await.unwrap();

    // Who may not.
    let member = snapshots(&one.client);
    let foreign = one.client.with_signer(two.admin.signer.clone());
    let foreign = snapshots(&foreign);
    for (refused, expected) in [
        (
            words(member.submit(CHANNEL, 0).await.unwrap_err()),
            "failed verifying that the signed data identity satisfies local MSP principal during channelless check policy with policy [Admins]: [",
        ),
        (
            words(member.cancel(CHANNEL, last + 5).await.unwrap_err()),
            "failed verifying that the signed data identity satisfies local MSP principal during channelless check policy with policy [Admins]: [",
        ),
        (
            words(member.pending(CHANNEL).await.unwrap_err()),
            "failed verifying that the signed data identity satisfies local MSP principal during channelless check policy with policy [Admins]: [",
        ),
        (
            words(foreign.submit(CHANNEL, 0).await.unwrap_err()),
            "failed deserializing signed data identity during channelless check policy with policy [Admins]: [",
        ),
    ] {
        assert!(refused.starts_with(expected), "{refused}");
    }

    // What is no request of its signer.
    let raw = async |request: Vec<u8>, signature: Vec<u8>| {
        let mut client = SnapshotClient::new(one.admin.channel.clone());
        let signed = SignedSnapshotRequest {
            request: request.into(),
            signature: signature.into(),
        };
        let refused = client.generate(signed).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unknown);
        refused.message().to_owned()
    };
    let garbage = raw(b"garbage".to_vec(), Vec::new()).await;
    assert!(
        garbage.starts_with("failed to unmarshal snapshot request: "),
        "{garbage}"
    );
    let headless = SnapshotQuery {
        channel_id: CHANNEL.into(),
        ..Default::default()
    };
    assert_eq!(
        raw(headless.encode_to_vec(), Vec::new()).await,
        "missing signature header"
    );
    let request = SnapshotRequest {
        signature_header: Some(common::SignatureHeader {
            creator: one.admin.signer.serialized().clone(),
            nonce: Bytes::from_static(b"nonce"),
        }),
        channel_id: CHANNEL.into(),
        block_number: last + 20,
    }
    .encode_to_vec();
    let signature = one.admin.signer.sign(b"something else").unwrap();
    assert_eq!(
        raw(request, signature.to_vec()).await,
        "The signature is invalid"
    );
    assert_eq!(asked.pending(CHANNEL).await.unwrap(), [last + 5]);

    // Requests outlive a restart.
    network.stop_peer(0).await;
    network.restart_peer(0).await;
    let asked = snapshots(&network.members[0].admin);
    assert_eq!(asked.pending(CHANNEL).await.unwrap(), [last + 5]);
}
