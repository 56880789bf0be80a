//! A new peer begins with a snapshot and has what the others have.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use consilium_ledger::MissingKind;
use consilium_proto::{
    common, orderer,
    protos::{TxValidationCode, deliver_client::DeliverClient, deliver_response},
};

use crate::{
    admin, eventually, finished, folder, no_join_goes_on, snapshots, start,
    support::{self, CHANNEL, Member},
};

async fn put_private(member: &Member, collection: &str, key: &str, value: &str) {
    let transient =
        BTreeMap::from([("value".to_owned(), Bytes::copy_from_slice(value.as_bytes()))]);
    let args: [&[u8]; 3] = [b"putPrivate", collection.as_bytes(), key.as_bytes()];
    let (proposal, tx_id) = member
        .client
        .propose_with(CHANNEL, "indexed", &args, transient);
    let own = vec![member.organization.msp_id().to_owned()];
    let envelope = member.client.endorse_proposal(proposal, own).await.unwrap();
    member
        .client
        .send(member.client.sign(envelope))
        .await
        .unwrap();
    let (code, _) = member.client.status(&tx_id).await.unwrap();
    assert_eq!(code, TxValidationCode::Valid);
}

fn private(member: &Member, collection: &str, key: &str) -> Result<Option<String>, String> {
    let state = member.channel().ledger().reader().unwrap();
    match state.get_private("indexed", collection, key) {
        Ok(value) => Ok(value.map(|value| String::from_utf8(value.value.to_vec()).unwrap())),
        Err(error) => Err(error.to_string()),
    }
}

/// A peer can answer that only with its index.
async fn query(member: &Member, args: &[&str]) -> Result<String, String> {
    let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    let answer = member
        .client
        .endorse_locally(&member.peer, CHANNEL, "indexed", &args);
    let answer = answer.await.response.unwrap();
    if answer.status != 200 {
        return Err(answer.message);
    }
    Ok(String::from_utf8(answer.payload.to_vec()).unwrap())
}

const SORTED: &str = r#"{"selector":{"size":{"$gt":1}},"sort":[{"size":"desc"}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_peer_begins_with_a_snapshot_and_has_what_the_others_have() {
    let mut network = start().await;
    let before = {
        let [one, two] = &network.members[..] else {
            panic!("two peers")
        };
        for size in 0..5 {
            let document = format!(r#"{{"size":{size}}}"#);
            let key = format!("key{size}");
            let args: [&[u8]; 3] = [b"put", key.as_bytes(), document.as_bytes()];
            one.client.submit("indexed", &args).await.unwrap();
        }
        put_private(one, "all", "k", r#"{"size":3}"#).await;
        put_private(two, "second", "k", "theirs").await;
        put_private(one, "all", "old", "overwritten").await;
        put_private(one, "all", "old", r#"{"size":7}"#).await;
        let (proposal, id) = one
            .client
            .propose(CHANNEL, "indexed", &[b"put", b"x", b"1"]);
        let envelope = one.client.endorse_proposal(proposal, vec![]).await.unwrap();
        let envelope = one.client.sign(envelope);
        one.client.send(envelope.clone()).await.unwrap();
        assert_eq!(
            one.client.status(&id).await.unwrap().0,
            TxValidationCode::Valid
        );
        (envelope, id)
    };

    // Two peers, one height, while transactions flow.
    let [one, two] = &network.members[..] else {
        panic!("two peers")
    };
    network.level().await;
    let at = one.channel().ledger().height() + 4;
    for member in [one, two] {
        let asked = snapshots(&member.admin);
        asked.submit(CHANNEL, at).await.unwrap();
        assert_eq!(asked.pending(CHANNEL).await.unwrap(), [at]);
    }
    let done = AtomicBool::new(false);
    let load = async {
        let mut number = 0u32;
        while !done.load(Ordering::Relaxed) {
            let key = format!("load{}", number % 10);
            let args: [&[u8]; 3] = [b"put", key.as_bytes(), &number.to_string().into_bytes()];
            one.client.submit("indexed", &args).await.unwrap();
            number += 1;
        }
    };
    let both = async {
        let both = (finished(one, at).await, finished(two, at).await);
        done.store(true, Ordering::Relaxed);
        both
    };
    let ((), (ours, theirs)) = tokio::join!(load, both);
    assert!(ours.contains_key("private_state_hashes.data"));
    assert!(ours.contains_key("confighistory.data"));
    assert!(ours == theirs, "peers at one height make equal snapshots");
    assert!(one.channel().ledger().height() > at);

    // A peer of the second organization begins with the first one's.
    let from = folder(one, at);
    let new = network.add_peer_apart(1).await;
    let package =
        consilium_chaincode::lifecycle::package_in_process("indexed_1", "indexed").unwrap();
    let member = &network.members[new];
    admin(member).install(package.into()).await.unwrap();
    let begun = admin(member).join_by_snapshot(from.to_str().unwrap()).await;
    begun.unwrap();
    no_join_goes_on(member).await;
    assert_eq!(member.peer.channels(), [CHANNEL]);
    network.level_from(at + 2).await;
    let member = &network.members[new];
    let ledgers: Vec<_> = network
        .members
        .iter()
        .map(|member| member.channel().ledger().clone())
        .collect();
    assert_eq!(ledgers[new].first_block(), at + 1);
    for ledger in &ledgers[..new] {
        assert_eq!(ledger.commit_hash(), ledgers[new].commit_hash());
        assert_eq!(
            ledger.state_fingerprint().unwrap(),
            ledgers[new].state_fingerprint().unwrap()
        );
    }

    // Indexes are built; private data comes from the others, that of collections which admit it.
    let expected = query(&network.members[0], &["query", SORTED])
        .await
        .unwrap();
    eventually("the index of public state", async || {
        query(member, &["query", SORTED]).await.as_ref() == Ok(&expected)
    })
    .await;
    eventually("private data", async || {
        private(member, "all", "k") == Ok(Some(r#"{"size":3}"#.into()))
            && private(member, "all", "old") == Ok(Some(r#"{"size":7}"#.into()))
            && private(member, "second", "k") == Ok(Some("theirs".into()))
    })
    .await;
    let sorted = &["queryPrivate", "all", SORTED];
    let expected = query(&network.members[0], sorted).await.unwrap();
    assert!(expected.find(r#"size\":7"#) < expected.find(r#"size\":3"#));
    eventually("the index of a collection", async || {
        query(member, sorted).await.as_ref() == Ok(&expected)
    })
    .await;
    let kinds = [MissingKind::Eligible, MissingKind::Deprioritized];
    let missing = |kind| {
        let missing = ledgers[new].missing_private(kind, None, 1000).unwrap();
        let mut missing = missing.iter();
        missing.any(|missing| missing.place.namespace == "indexed")
    };
    eventually("nothing is missing", async || {
        !kinds.into_iter().any(missing)
    })
    .await;

    // What was before is known by id alone.
    let (envelope, id) = before;
    let refused = member.client.status(&id).await.unwrap_err();
    let first = at + 1;
    assert_eq!(
        refused.message(),
        format!(
            "details for the TXID [{id}] not available. Ledger bootstrapped from a snapshot. First available block = [{first}]"
        )
    );
    let block = admin(member).block(CHANNEL, at).await.unwrap_err();
    let unserved = format!(
        "cannot serve block [{at}]. The ledger is bootstrapped from a snapshot. First available block = [{first}]"
    );
    assert!(block.to_string().ends_with(&unserved), "{block}");
    let asked = admin(member);
    let args = vec!["GetConfigBlock".into(), CHANNEL.into()];
    let config = asked.query("", "cscc", args).await.unwrap_err().to_string();
    assert!(
        config.contains("cannot serve block [0]. The ledger is bootstrapped from a snapshot."),
        "{config}"
    );
    let begin = orderer::SeekPosition {
        r#type: Some(orderer::seek_position::Type::Specified(
            orderer::SeekSpecified { number: at },
        )),
    };
    let mut events = member
        .client
        .events(consilium_proto::gateway::ChaincodeEventsRequest {
            channel_id: CHANNEL.into(),
            chaincode_id: "indexed".into(),
            start_position: Some(begin),
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(events.message().await.unwrap_err().message(), unserved);

    let mut deliver = DeliverClient::new(member.client.channel.clone());
    for (number, is_there) in [(at, false), (first, true)] {
        let seek = support::seek(member.client.signer.as_ref(), number);
        let answers = deliver.deliver(tokio_stream::iter([seek])).await.unwrap();
        let answer = answers.into_inner().message().await.unwrap().unwrap();
        match answer.r#type.unwrap() {
            deliver_response::Type::Block(block) if is_there => {
                assert_eq!(consilium_protocol::block::number(&block), number);
            }
            deliver_response::Type::Status(status) if !is_there => {
                assert_eq!(status, common::Status::NotFound as i32);
            }
            other => panic!("{number}: {other:?}"),
        }
    }

    // The same transaction again is a duplicate, at every peer.
    let height = ledgers[new].height();
    member.client.send(envelope).await.unwrap();
    network.level_from(height + 1).await;
    for ledger in &ledgers {
        let block = ledger.block(height).unwrap().unwrap();
        let flags = consilium_protocol::block::flags(&block).to_vec();
        assert_eq!(flags, [TxValidationCode::DuplicateTxid as u8]);
    }

    // It endorses, starts again, and makes the same snapshots as those with all blocks.
    drop(ledgers);
    drop(events);
    let args: [&[u8]; 3] = [b"put", b"key9", br#"{"size":9}"#];
    let code = member.client.submit("indexed", &args).await.unwrap();
    assert_eq!(code, TxValidationCode::Valid);
    network.stop_peer(new).await;
    network.restart_peer(new).await;
    network.level().await;
    let member = &network.members[new];
    let height = member.channel().ledger().height();
    for member in &network.members {
        snapshots(&member.admin)
            .submit(CHANNEL, height)
            .await
            .unwrap();
    }
    let args: [&[u8]; 3] = [b"put", b"key10", b"last"];
    member.client.submit("indexed", &args).await.unwrap();
    let expected = finished(&network.members[0], height).await;
    for member in &network.members[1..] {
        assert!(finished(member, height).await == expected);
    }
    let expected = query(&network.members[0], &["query", SORTED])
        .await
        .unwrap();
    eventually("the index after a start", async || {
        query(member, &["query", SORTED]).await.as_ref() == Ok(&expected)
    })
    .await;
}
