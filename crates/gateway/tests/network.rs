//! Applications on a whole network in one process.

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_orderer::Orderer;
use consilium_proto::{
    common, gateway, orderer,
    protos::{self, TxValidationCode},
};
use consilium_protocol::transaction;
use consilium_testkit::{NodeOu, Organization};
use prost::Message;
use support::{CHANNEL, Client, Network, details};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn an_application_evaluates_submits_and_learns_the_outcome() {
    let network = Network::start(1, 2).await;
    network
        .deploy("kv", Some("AND('Org1MSP.peer','Org2MSP.peer')"))
        .await;
    let [one, two] = &network.members[..] else {
        panic!("two members")
    };

    // Written through one gateway, read through the other.
    assert_eq!(
        one.client
            .submit("kv", &[b"put", b"a", b"1"])
            .await
            .unwrap(),
        TxValidationCode::Valid
    );
    network.level().await;
    let read = two.client.evaluate("kv", &[b"get", b"a"]).await.unwrap();
    assert_eq!((read.status, &read.payload[..]), (200, &b"1"[..]));

    // Endorsed by both organizations, the gateway's own first.
    let (proposal, tx_id) = one.client.propose(CHANNEL, "kv", &[b"put", b"b", b"2"]);
    let envelope = one.client.endorse_proposal(proposal, vec![]).await.unwrap();
    assert!(envelope.signature.is_empty(), "signing is the client's");
    let checked = transaction::check_syntax(&envelope.encode_to_vec().into()).unwrap();
    let parsed = transaction::check_endorser_transaction(&checked)
        .unwrap()
        .dispatch()
        .unwrap();
    assert_eq!(parsed.endorsements.len(), 2);
    one.client.send(one.client.sign(envelope)).await.unwrap();
    let (code, block) = one.client.status(&tx_id).await.unwrap();
    assert_eq!(code, TxValidationCode::Valid);
    // Asked again, also at the other peer, the ledger knows.
    network.level().await;
    assert_eq!(two.client.status(&tx_id).await.unwrap(), (code, block));

    // Of two transactions that read the same version one loses.
    let mut raced = Vec::new();
    for _ in 0..2 {
        let (proposal, tx_id) = one.client.propose(CHANNEL, "kv", &[b"increment", b"n"]);
        let envelope = one.client.endorse_proposal(proposal, vec![]).await.unwrap();
        raced.push((one.client.sign(envelope), tx_id));
    }
    let mut codes = Vec::new();
    for (envelope, _) in &raced {
        one.client.send(envelope.clone()).await.unwrap();
    }
    for (_, tx_id) in &raced {
        codes.push(one.client.status(tx_id).await.unwrap().0);
    }
    assert_eq!(
        codes,
        [TxValidationCode::Valid, TxValidationCode::MvccReadConflict]
    );

    // Too few endorsements are not the gateway's to prevent when organizations are named.
    let code = one
        .client
        .submit_to(vec!["Org1MSP".to_owned()], "kv", &[b"put", b"c", b"3"])
        .await
        .unwrap();
    assert_eq!(code, TxValidationCode::EndorsementPolicyFailure);

    // The same transaction again is a duplicate to the endorser and to the ledger.
    network.level().await;
    let before = *one.channel().subscribe_height().borrow();
    let (first, first_id) = &raced[0];
    one.client.send(first.clone()).await.unwrap();
    assert_eq!(
        one.client.status(first_id).await.unwrap().0,
        TxValidationCode::Valid,
        "the first occurrence counts"
    );

    network.level_from(before + 1).await;
    let fingerprints: Vec<_> = network
        .members
        .iter()
        .map(|member| member.channel().ledger().state_fingerprint().unwrap())
        .collect();
    assert_eq!(fingerprints[0], fingerprints[1]);
    assert_eq!(
        one.channel().ledger().commit_hash(),
        two.channel().ledger().commit_hash()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_codes_texts_and_details_that_clients_know() {
    let network = Network::start(1, 2).await;
    network
        .deploy("kv", Some("AND('Org1MSP.peer','Org2MSP.peer')"))
        .await;
    let [one, two] = &network.members[..] else {
        panic!("two members")
    };
    let client = &one.client;
    let mut raw = client.gateway.clone();

    // Evaluate.
    let empty = gateway::EvaluateRequest::default();
    let status = raw.evaluate(empty).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::InvalidArgument,
            "failed to unpack transaction proposal: a signed proposal is required"
        )
    );
    let status = client.evaluate("nothing", &[b"x"]).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::FailedPrecondition,
            "no peers available to evaluate chaincode nothing in channel mychannel"
        )
    );
    let status = client
        .evaluate("kv", &[b"get", b"missing"])
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert!(
        status
            .message()
            .starts_with("evaluate call to endorser returned error: chaincode response 404, "),
        "{status:?}"
    );
    let [detail] = &details(&status)[..] else {
        panic!("one detail")
    };
    assert_eq!(
        (detail.address.as_str(), detail.msp_id.as_str()),
        (one.address.as_str(), "Org1MSP")
    );
    assert!(detail.message.starts_with("chaincode response 404, "));

    let (elsewhere, _) = client.propose("nowhere", "kv", &[b"get", b"a"]);
    let status = raw
        .evaluate(gateway::EvaluateRequest {
            proposed_transaction: Some(elsewhere.clone()),
            ..Default::default()
        })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status
            .message()
            .starts_with("failed to get config for channel [nowhere]")
    );

    // Endorse.
    let status = raw
        .endorse(gateway::EndorseRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::InvalidArgument,
            "the proposed transaction must contain a signed proposal"
        )
    );
    let status = client
        .endorse_proposal(elsewhere, vec![])
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let (proposal, _) = client.propose(CHANNEL, "kv", &[b"put", b"a", b"1"]);
    let status = client
        .endorse_proposal(
            proposal,
            vec![
                "Org1MSP".to_owned(),
                "NoMSP".to_owned(),
                "NorMSP".to_owned(),
            ],
        )
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::Unavailable,
            "failed to find any endorsing peers for org(s): NoMSP, NorMSP"
        )
    );
    let (proposal, _) = client.propose(CHANNEL, "kv", &[b"fail", b"500", b"on purpose"]);
    let status = client.endorse_proposal(proposal, vec![]).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::Aborted,
            "failed to endorse transaction, see attached details for more info"
        )
    );
    let [detail] = &details(&status)[..] else {
        panic!("one detail")
    };
    assert_eq!(detail.msp_id, "Org1MSP");
    assert!(detail.message.contains("on purpose"), "{}", detail.message);
    let (proposal, _) = client.propose(CHANNEL, "nothing", &[b"x"]);
    let status = client.endorse_proposal(proposal, vec![]).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().starts_with(
            "no combination of peers can be derived which satisfy the endorsement policy: "
        ),
        "{status:?}"
    );

    // A stranger: refused in process by the own peer, and seen as such.
    let stranger = Organization::new("Org1MSP", "org1.example.com");
    let intruder = client.with_signer(stranger.signer("user", NodeOu::Client));
    let status = intruder.evaluate("kv", &[b"get", b"a"]).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::FailedPrecondition,
            "evaluate call to endorser returned error: error validating proposal: access denied: channel [mychannel] creator org unknown, creator is malformed"
        )
    );

    // Submit.
    for (request, text) in [
        (None, "a prepared transaction is required"),
        (
            Some(common::Envelope {
                payload: Bytes::from_static(b"p"),
                signature: Bytes::new(),
            }),
            "prepared transaction must be signed",
        ),
    ] {
        let status = raw
            .submit(gateway::SubmitRequest {
                channel_id: CHANNEL.to_owned(),
                prepared_transaction: request,
                ..Default::default()
            })
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, text)
        );
    }
    let garbage = common::Envelope {
        payload: Bytes::from_static(b"garbage"),
        signature: Bytes::from_static(b"s"),
    };
    let status = client.send(garbage).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert!(
        status
            .message()
            .starts_with("received unsuccessful response from orderer: status=BAD_REQUEST, info="),
        "{status:?}"
    );
    let (proposal, _) = client.propose(CHANNEL, "kv", &[b"put", b"a", b"1"]);
    let envelope = client.endorse_proposal(proposal, vec![]).await.unwrap();
    let status = client.send(intruder.sign(envelope)).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert!(status.message().contains("status=FORBIDDEN"), "{status:?}");

    // The refusals above ended streams that others share: they do not notice.
    assert_eq!(
        client.submit("kv", &[b"put", b"a", b"1"]).await.unwrap(),
        TxValidationCode::Valid
    );

    // CommitStatus.
    for (request, text) in [
        (
            gateway::CommitStatusRequest::default(),
            "no identity provided",
        ),
        (
            gateway::CommitStatusRequest {
                identity: Bytes::from_static(b"i"),
                ..Default::default()
            },
            "no channel ID provided",
        ),
        (
            gateway::CommitStatusRequest {
                identity: Bytes::from_static(b"i"),
                channel_id: CHANNEL.to_owned(),
                ..Default::default()
            },
            "transaction ID should not be empty",
        ),
    ] {
        let signed = gateway::SignedCommitStatusRequest {
            request: request.encode_to_vec().into(),
            signature: Bytes::new(),
        };
        let status = raw.commit_status(signed).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, text)
        );
    }
    let status = intruder.status("abc").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(
        status.message().starts_with(
            "Failed evaluating policy on signed data during check policy on channel [mychannel] with policy [/Channel/Application/Readers]"
        ),
        "{status:?}"
    );
    let mut hurried = tonic::Request::new(commit_status(client, "never"));
    hurried.set_timeout(std::time::Duration::from_millis(300));
    let status = raw.commit_status(hurried).await.unwrap_err();
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );

    // ChaincodeEvents.
    let request = gateway::ChaincodeEventsRequest {
        channel_id: "nowhere".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        client.events(request).await.unwrap_err().code(),
        Code::NotFound
    );
    let request = gateway::ChaincodeEventsRequest {
        channel_id: CHANNEL.to_owned(),
        ..Default::default()
    };
    assert_eq!(
        intruder.events(request).await.unwrap_err().code(),
        Code::PermissionDenied
    );

    // An endorser that is gone is named.
    two.peer.shutdown().await;
}

fn commit_status(client: &Client, tx_id: &str) -> gateway::SignedCommitStatusRequest {
    let request = Bytes::from(
        gateway::CommitStatusRequest {
            transaction_id: tx_id.to_owned(),
            channel_id: CHANNEL.to_owned(),
            identity: client.signer.serialized().clone(),
        }
        .encode_to_vec(),
    );
    let signature = client.signer.sign(&request).unwrap();
    gateway::SignedCommitStatusRequest { request, signature }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_proposals_get_fabrics_words_and_write_nothing() {
    let network = Network::start(1, 2).await;
    network.deploy("kv", None).await;
    let member = &network.members[0];
    let client = &member.client;
    let peer = &member.peer;
    let height = member.channel().ledger().height();
    let good = || client.propose(CHANNEL, "kv", &[b"put", b"a", b"1"]).0;
    let changed = |change: &dyn Fn(&mut common::ChannelHeader, &mut common::SignatureHeader)| {
        resigned(&good(), client.signer.as_ref(), change)
    };
    let stranger = Organization::new("Org9MSP", "org9.example.com");
    let impostor = Organization::new("Org1MSP", "org1.example.com");
    // Also for a certificate of another authority: it has no chain in the organization's MSP.
    let unknown = "error validating proposal: access denied: channel [mychannel] creator org unknown, creator is malformed";
    let access =
        "error validating proposal: access denied: channel [mychannel] creator org [Org1MSP]";
    let committed = {
        let (proposal, tx_id) = client.propose(CHANNEL, "kv", &[b"put", b"z", b"1"]);
        let envelope = client
            .endorse_proposal(proposal.clone(), vec![])
            .await
            .unwrap();
        client.send(client.sign(envelope)).await.unwrap();
        client.status(&tx_id).await.unwrap();
        proposal
    };
    let cases: Vec<(&str, protos::SignedProposal, &str, bool)> = vec![
        (
            "unsigned",
            protos::SignedProposal {
                signature: Bytes::new(),
                ..good()
            },
            "error validating proposal: empty signature bytes",
            true,
        ),
        (
            "wrongly signed",
            protos::SignedProposal {
                signature: good().signature,
                ..good()
            },
            access,
            true,
        ),
        (
            "foreign organization",
            client
                .with_signer(stranger.signer("user", NodeOu::Client))
                .propose(CHANNEL, "kv", &[b"x"])
                .0,
            unknown,
            true,
        ),
        (
            "own organization, another authority",
            client
                .with_signer(impostor.signer("user", NodeOu::Client))
                .propose(CHANNEL, "kv", &[b"x"])
                .0,
            unknown,
            true,
        ),
        ("replayed", committed, "duplicate transaction found [", true),
        (
            "garbage",
            protos::SignedProposal {
                proposal_bytes: Bytes::from_static(b"\xff\xff\xff"),
                signature: Bytes::from_static(b"s"),
            },
            "failed parsing proposal: error unmarshalling Proposal",
            false,
        ),
        (
            "nothing at all",
            protos::SignedProposal::default(),
            "ChaincodeHeaderExtension.ChaincodeId is nil",
            true,
        ),
        (
            "old",
            changed(&|header, _| header.timestamp.as_mut().unwrap().seconds -= 16 * 60),
            "request unauthorized due to incorrect timestamp ",
            false,
        ),
        (
            "of the future",
            changed(&|header, _| header.timestamp.as_mut().unwrap().seconds += 16 * 60),
            "request unauthorized due to incorrect timestamp ",
            false,
        ),
        (
            "another transaction's id",
            changed(&|header, _| header.tx_id = "00".to_owned()),
            "error validating proposal: incorrectly computed txid '00' -- expected '",
            true,
        ),
        (
            "an epoch",
            changed(&|header, _| header.epoch = 7),
            "error validating proposal: epoch is non-zero",
            true,
        ),
        (
            "without nonce",
            changed(&|_, signature| signature.nonce = Bytes::new()),
            "error validating proposal: nonce is empty",
            true,
        ),
        (
            "not a proposal by type",
            changed(&|header, _| header.r#type = common::HeaderType::Message as i32),
            "error validating proposal: invalid header type MESSAGE",
            true,
        ),
        (
            "without chaincode",
            changed(&|header, _| header.extension = Bytes::new()),
            "ChaincodeHeaderExtension.ChaincodeId is nil",
            true,
        ),
    ];
    for (name, proposal, expected, has_response) in cases {
        let error = peer.process_proposal(proposal).await.expect_err(name);
        assert!(
            error.message.starts_with(expected),
            "{name}: {}",
            error.message
        );
        assert_eq!(error.response.is_some(), has_response, "{name}");
    }
    // A client of another channel learns only that there is no such channel.
    let (elsewhere, _) = client.propose("nowhere", "kv", &[b"x"]);
    let response = peer
        .process_proposal(elsewhere)
        .await
        .unwrap()
        .response
        .unwrap();
    assert_eq!(
        (response.status, response.message.as_str()),
        (500, "channel 'nowhere' not found")
    );
    // A chaincode that is not there.
    let (unknown, _) = client.propose(CHANNEL, "unknown", &[b"x"]);
    let response = peer
        .process_proposal(unknown)
        .await
        .unwrap()
        .response
        .unwrap();
    assert_eq!(response.status, 500);
    assert!(
        response.message.starts_with(
            "make sure the chaincode unknown has been successfully defined on channel mychannel and try again: "
        ),
        "{}",
        response.message
    );
    assert_eq!(
        member.channel().ledger().height(),
        height + 1,
        "only the good one was written"
    );
}

/// A proposal with changed headers, signed again.
fn resigned(
    signed: &protos::SignedProposal,
    signer: &dyn Signer,
    change: &dyn Fn(&mut common::ChannelHeader, &mut common::SignatureHeader),
) -> protos::SignedProposal {
    let mut proposal = protos::Proposal::decode(signed.proposal_bytes.clone()).unwrap();
    let header = common::Header::decode(proposal.header).unwrap();
    let mut channel = common::ChannelHeader::decode(header.channel_header).unwrap();
    let mut signature = common::SignatureHeader::decode(header.signature_header).unwrap();
    change(&mut channel, &mut signature);
    proposal.header = common::Header {
        channel_header: channel.encode_to_vec().into(),
        signature_header: signature.encode_to_vec().into(),
    }
    .encode_to_vec()
    .into();
    let proposal_bytes = Bytes::from(proposal.encode_to_vec());
    protos::SignedProposal {
        signature: signer.sign(&proposal_bytes).unwrap(),
        proposal_bytes,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chaincode_events_are_replayed_from_a_block_or_after_a_transaction() {
    let network = Network::start(1, 1).await;
    network.deploy("kv", None).await;
    let client = &network.members[0].client;
    let request = |start: Option<u64>, after: &str| gateway::ChaincodeEventsRequest {
        channel_id: CHANNEL.to_owned(),
        chaincode_id: "kv".to_owned(),
        start_position: start.map(|number| orderer::SeekPosition {
            r#type: Some(orderer::seek_position::Type::Specified(
                orderer::SeekSpecified { number },
            )),
        }),
        after_transaction_id: after.to_owned(),
        ..Default::default()
    };
    let mut live = client.events(request(None, "")).await.unwrap();
    let mut ids = Vec::new();
    for value in ["1", "2", "3"] {
        let (proposal, tx_id) =
            client.propose(CHANNEL, "kv", &[b"put", b"k", value.as_bytes(), b"changed"]);
        let envelope = client.endorse_proposal(proposal, vec![]).await.unwrap();
        client.send(client.sign(envelope)).await.unwrap();
        let (_, block) = client.status(&tx_id).await.unwrap();
        ids.push((tx_id, block));
        let response = live.message().await.unwrap().unwrap();
        assert_eq!(response.block_number, block);
        assert_eq!(response.events[0].payload, value.as_bytes());
        assert_eq!(response.events[0].event_name, "changed");
        assert_eq!(response.events[0].tx_id, ids.last().unwrap().0);
    }
    let first = ids[0].1;
    for (request, expected) in [
        (request(Some(0), ""), vec![0, 1, 2]),
        (request(Some(first + 1), ""), vec![1, 2]),
        (request(Some(0), &ids[0].0), vec![1, 2]),
        (request(Some(first + 2), "not a transaction"), vec![2]),
    ] {
        let mut replay = client.events(request).await.unwrap();
        for index in expected {
            let response = replay.message().await.unwrap().unwrap();
            assert_eq!(response.events[0].tx_id, ids[index].0);
        }
    }
}

/// A checkpoint that was made at another peer, which is ahead.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_seen_at_a_peer_that_is_ahead_is_not_seen_again_at_one_that_is_behind() {
    let network = Network::start(1, 1).await;
    network.deploy("kv", None).await;
    let client = &network.members[0].client;
    let mut ids = Vec::new();
    let mut envelopes = Vec::new();
    for value in ["0", "1", "2"] {
        let key = format!("k{value}");
        let (proposal, tx_id) =
            client.propose(CHANNEL, "kv", &[b"put", key.as_bytes(), b"v", b"changed"]);
        let envelope = client.endorse_proposal(proposal, vec![]).await.unwrap();
        envelopes.push(client.sign(envelope));
        ids.push(tx_id);
    }
    let mut envelopes = envelopes.into_iter();
    let mut blocks = Vec::new();
    client.send(envelopes.next().unwrap()).await.unwrap();
    blocks.push(client.status(&ids[0]).await.unwrap().1);
    // One listener has seen the next block's transaction before the block is here; for the other
    // that block turns out to be another one.
    let request = |after: &str| gateway::ChaincodeEventsRequest {
        channel_id: CHANNEL.to_owned(),
        chaincode_id: "kv".to_owned(),
        start_position: Some(orderer::SeekPosition {
            r#type: Some(orderer::seek_position::Type::Specified(
                orderer::SeekSpecified {
                    number: blocks[0] + 1,
                },
            )),
        }),
        after_transaction_id: after.to_owned(),
        ..Default::default()
    };
    let mut ahead = client.events(request(&ids[1])).await.unwrap();
    let mut other = client.events(request("of no block")).await.unwrap();
    for (envelope, tx_id) in envelopes.zip(&ids[1..]) {
        client.send(envelope).await.unwrap();
        client.status(tx_id).await.unwrap();
    }
    let response = ahead.message().await.unwrap().unwrap();
    assert_eq!(response.events[0].tx_id, ids[2]);
    for tx_id in &ids[1..] {
        let response = other.message().await.unwrap().unwrap();
        assert_eq!(&response.events[0].tx_id, tx_id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_values_are_written_from_transient_data_and_demanding_collections_are_refused() {
    let collection = |name: &str, required: i32| protos::CollectionConfig {
        payload: Some(protos::collection_config::Payload::StaticCollectionConfig(
            protos::StaticCollectionConfig {
                name: name.to_owned(),
                member_orgs_policy: Some(protos::CollectionPolicyConfig {
                    payload: Some(protos::collection_policy_config::Payload::SignaturePolicy(
                        consilium_msp::dsl::parse("OR('Org1MSP.member','Org2MSP.member')").unwrap(),
                    )),
                }),
                required_peer_count: required,
                maximum_peer_count: 2,
                ..Default::default()
            },
        )),
    };
    let network = Network::start(1, 2).await;
    let collections = protos::CollectionConfigPackage {
        config: vec![collection("own", 0), collection("shared", 1)],
    };
    network
        .deploy_with(
            "kv",
            Some("OR('Org1MSP.peer','Org2MSP.peer')"),
            Some(collections),
        )
        .await;
    let client = &network.members[0].client;
    let put = |name: &str| {
        let transient = BTreeMap::from([("value".to_owned(), Bytes::from_static(b"secret"))]);
        client.propose_with(
            CHANNEL,
            "kv",
            &[b"putPrivate", name.as_bytes(), b"k"],
            transient,
        )
    };
    let (proposal, tx_id) = put("own");
    let envelope = client.endorse_proposal(proposal, vec![]).await.unwrap();
    let encoded = envelope.encode_to_vec();
    assert!(
        !encoded.windows(6).any(|window| window == b"secret"),
        "clear values stay private"
    );
    client.send(client.sign(envelope)).await.unwrap();
    assert_eq!(
        client.status(&tx_id).await.unwrap().0,
        TxValidationCode::Valid
    );
    let read = client
        .evaluate("kv", &[b"getPrivate", b"own", b"k"])
        .await
        .unwrap();
    assert_eq!(&read.payload[..], b"secret");

    let (proposal, tx_id) = put("shared");
    let status = client.endorse_proposal(proposal, vec![]).await.unwrap_err();
    let details = details(&status);
    assert_eq!(
        details[0].message,
        format!(
            "error in simulation: failed to distribute private collection, txID {tx_id}, channel mychannel: could not build private data dissemination plan for chaincode kv and collection shared: required to disseminate to at least 1 peers, but know of only 0 eligible peers"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_an_orderer_loses_no_acknowledged_transaction() {
    let network = Network::start(3, 1).await;
    network.deploy("kv", None).await;
    let member = &network.members[0];
    let mut submitted = Vec::new();
    for round in 0..30u32 {
        if round == 10 {
            network.orderers[0].kill().await;
        }
        let key = format!("k{round}");
        let (proposal, tx_id) =
            member
                .client
                .propose(CHANNEL, "kv", &[b"put", key.as_bytes(), b"v"]);
        let envelope = member
            .client
            .endorse_proposal(proposal, vec![])
            .await
            .unwrap();
        let envelope = member.client.sign(envelope);
        // While a leader is being elected nobody takes transactions: clients try again.
        let accepted = async {
            while member.client.send(envelope.clone()).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(support::PATIENCE, accepted)
            .await
            .unwrap();
        submitted.push(tx_id);
    }
    for tx_id in submitted {
        let (code, _) = member.client.status(&tx_id).await.unwrap();
        assert_eq!(code, TxValidationCode::Valid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderer_that_does_not_serve_the_channel_is_passed_over() {
    let network = Network::start(3, 1).await;
    network.deploy("kv", None).await;
    let client = &network.members[0].client;
    let leads = |orderer: &Orderer| orderer.leader(CHANNEL) == orderer.raft_id(CHANNEL);
    let away = network
        .orderers
        .iter()
        .find(|running| !leads(&running.orderer))
        .unwrap();
    away.orderer.remove(CHANNEL).await.unwrap();
    // One of three, chosen at random: that none of these meets it would be a miracle.
    for round in 0..40u32 {
        let key = format!("k{round}");
        let code = client
            .submit("kv", &[b"put", key.as_bytes(), b"v"])
            .await
            .unwrap();
        assert_eq!(code, TxValidationCode::Valid);
    }

    // Where nobody serves it there is nothing to wait for: refused, as by Fabric's gateway.
    for running in &network.orderers {
        if running.orderer.channel_info(CHANNEL).is_some() {
            running.orderer.remove(CHANNEL).await.unwrap();
        }
    }
    let (proposal, _) = client.propose(CHANNEL, "kv", &[b"put", b"a", b"1"]);
    let envelope = client.endorse_proposal(proposal, vec![]).await.unwrap();
    let status = client.send(client.sign(envelope)).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::Aborted,
            "received unsuccessful response from orderer: status=BAD_REQUEST, info=channel does not exist"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_delivered_whole_filtered_and_with_private_data_to_members_only() {
    let network = Network::start(1, 1).await;
    network.deploy("kv", None).await;
    let client = &network.members[0].client;
    let (proposal, tx_id) = client.propose(CHANNEL, "kv", &[b"put", b"k", b"v", b"changed"]);
    let envelope = client.endorse_proposal(proposal, vec![]).await.unwrap();
    client.send(client.sign(envelope)).await.unwrap();
    let (_, number) = client.status(&tx_id).await.unwrap();
    let stored = network.members[0]
        .channel()
        .ledger()
        .block(number)
        .unwrap()
        .unwrap();

    let mut deliver = protos::deliver_client::DeliverClient::new(client.channel.clone());
    let seek = support::seek(client.signer.as_ref(), number);
    let mut answers = Vec::new();
    for stream in [
        deliver.deliver(tokio_stream::iter([seek.clone()])).await,
        deliver
            .deliver_filtered(tokio_stream::iter([seek.clone()]))
            .await,
        deliver
            .deliver_with_private_data(tokio_stream::iter([seek]))
            .await,
    ] {
        let mut stream = stream.unwrap().into_inner();
        answers.push(stream.message().await.unwrap().unwrap().r#type.unwrap());
        let end = stream.message().await.unwrap().unwrap().r#type.unwrap();
        assert_eq!(
            end,
            protos::deliver_response::Type::Status(common::Status::Success as i32)
        );
    }
    assert_eq!(
        answers[0],
        protos::deliver_response::Type::Block(stored.clone())
    );
    let protos::deliver_response::Type::FilteredBlock(filtered) = &answers[1] else {
        panic!("a filtered block")
    };
    assert_eq!(
        (filtered.channel_id.as_str(), filtered.number),
        (CHANNEL, number)
    );
    let [transaction] = &filtered.filtered_transactions[..] else {
        panic!("one transaction")
    };
    assert_eq!(transaction.txid, tx_id);
    assert_eq!(transaction.tx_validation_code(), TxValidationCode::Valid);
    let Some(protos::filtered_transaction::Data::TransactionActions(actions)) = &transaction.data
    else {
        panic!("actions")
    };
    let event = actions.chaincode_actions[0]
        .chaincode_event
        .as_ref()
        .unwrap();
    assert_eq!(
        (event.event_name.as_str(), event.tx_id.as_str()),
        ("changed", tx_id.as_str())
    );
    assert!(event.payload.is_empty(), "filtered blocks show no payloads");
    assert_eq!(
        answers[2],
        protos::deliver_response::Type::BlockAndPrivateData(protos::BlockAndPrivateData {
            block: Some(stored),
            private_data_map: BTreeMap::new(),
        })
    );

    let stranger = Organization::new("Org9MSP", "org9.example.com");
    let seek = support::seek(stranger.signer("user", NodeOu::Client).as_ref(), number);
    let mut refused = deliver
        .deliver_filtered(tokio_stream::iter([seek]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        refused.message().await.unwrap().unwrap().r#type.unwrap(),
        protos::deliver_response::Type::Status(common::Status::Forbidden as i32)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_starts_again_goes_on_where_its_ledger_ends() {
    let mut network = Network::start(1, 2).await;
    network
        .deploy("kv", Some("OR('Org1MSP.peer','Org2MSP.peer')"))
        .await;
    network.stop_peer(1).await;
    for value in ["1", "2", "3"] {
        let code = network.members[0]
            .client
            .submit("kv", &[b"put", b"k", value.as_bytes()])
            .await;
        assert_eq!(code.unwrap(), TxValidationCode::Valid);
    }
    network.restart_peer(1).await;
    network.level().await;
    let [one, two] = &network.members[..] else {
        panic!("two members")
    };
    assert_eq!(
        one.channel().ledger().commit_hash(),
        two.channel().ledger().commit_hash()
    );
    // The restarted peer endorses and its gateway works.
    let read = two.client.evaluate("kv", &[b"get", b"k"]).await.unwrap();
    assert_eq!(&read.payload[..], b"3");
    let code = two
        .client
        .submit("kv", &[b"put", b"k", b"4"])
        .await
        .unwrap();
    assert_eq!(code, TxValidationCode::Valid);
}
