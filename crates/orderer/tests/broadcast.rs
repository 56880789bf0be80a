//! Broadcast and Deliver of one orderer, as clients see them.

mod support;

use bytes::Bytes;
use consilium_proto::common::{Envelope, Header, HeaderType, Payload, Status};
use consilium_protocol::block;
use consilium_protocol::config::ChannelConfig;
use consilium_testkit::{NodeOu, Organization};
use futures_util::StreamExt;
use prost::Message;
use support::config::{change_consenters, set_max_messages};
use support::{CHANNEL, Cluster, check_chain, header_hashes, message_of, status, texts};

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_message_is_in_a_block_at_once() {
    let cluster = Cluster::start(1, |_| {}).await;
    let answer = cluster.broadcast(0, cluster.message("one")).await;
    assert_eq!(
        (status(&answer), answer.info.as_str()),
        (Status::Success, "")
    );
    assert_eq!(cluster.height(0), 2);
    let blocks = cluster.blocks(0, 2).await;
    assert_eq!(texts(&blocks), ["one"]);
    check_chain(&blocks, &cluster.orderer(0).config(CHANNEL).unwrap());
    let raft = block::consenter_metadata(&blocks[1]).unwrap();
    let raft = block::unwrap_consenter_metadata(&raft).unwrap();
    assert_eq!((raft.consenter_ids, raft.next_consenter_id), (vec![1], 2));
    assert!(raft.raft_index > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_stream_keep_their_order_and_get_one_answer_each() {
    let cluster = Cluster::start(1, |profile| profile.batch_size.max_message_count = 7).await;
    let names: Vec<String> = (0..200).map(|number| format!("message {number}")).collect();
    let messages = names.iter().map(|name| cluster.message(name)).collect();
    let answers = cluster.broadcast_all(0, messages).await;
    assert_eq!(answers.len(), 200);
    assert!(
        answers
            .iter()
            .all(|answer| status(answer) == Status::Success)
    );
    let blocks = cluster.blocks(0, cluster.height(0)).await;
    assert_eq!(texts(&blocks), names);
    assert!(
        blocks
            .iter()
            .all(|block| block::envelopes(block).len() <= 7)
    );
}

fn payload_of(header: Header) -> Envelope {
    let payload = Payload {
        header: Some(header),
        data: Bytes::new(),
    };
    Envelope {
        payload: payload.encode_to_vec().into(),
        signature: Bytes::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_messages_get_fabrics_statuses_and_end_the_stream() {
    let cluster = Cluster::start(1, |profile| {
        profile.batch_size.absolute_max_bytes = 20_000;
        profile.batch_size.preferred_max_bytes = 10_000;
    })
    .await;
    let signer = cluster.organization.signer("client", NodeOu::Client);
    let stranger = Organization::new("OrdererMSP", "example.com");
    let stranger = stranger.signer("client", NodeOu::Client);
    let normal = HeaderType::EndorserTransaction;
    let large = message_of(&*signer, CHANNEL, normal, &[7; 20_000]);
    let large_size = large.payload.len() + large.signature.len();
    let mut forged = cluster.message("forged");
    forged.signature = Bytes::from_static(b"not a signature");
    let cases = [
        (
            "empty",
            Envelope::default(),
            Status::BadRequest,
            "could not determine channel ID: header not set",
        ),
        (
            "no channel header",
            payload_of(Header::default()),
            Status::BadRequest,
            "could not determine channel ID: channel header not set",
        ),
        (
            "garbage as channel header",
            payload_of(Header {
                channel_header: Bytes::from_static(b"garbage"),
                signature_header: Bytes::new(),
            }),
            Status::BadRequest,
            "could not determine channel ID: error unmarshalling channel header: \
             error unmarshalling ChannelHeader: ",
        ),
        (
            "garbage",
            Envelope {
                payload: Bytes::from_static(&[0xfe; 50]),
                signature: Bytes::new(),
            },
            Status::BadRequest,
            "could not determine channel ID: error unmarshalling Payload: ",
        ),
        (
            "unknown channel",
            message_of(&*signer, "elsewhere", normal, b""),
            Status::BadRequest,
            "channel does not exist",
        ),
        (
            "config of an unknown channel",
            message_of(&*signer, "elsewhere", HeaderType::Config, b""),
            Status::BadRequest,
            "channel does not exist",
        ),
        (
            "config",
            message_of(&*signer, CHANNEL, HeaderType::Config, b""),
            Status::BadRequest,
            "message is of type that cannot be processed directly",
        ),
        (
            "orderer transaction",
            #[allow(deprecated, reason = "what is refused here")]
            message_of(&*signer, CHANNEL, HeaderType::OrdererTransaction, b""),
            Status::BadRequest,
            "message is of type that is no longer supported",
        ),
        (
            "too large",
            large,
            Status::BadRequest,
            &format!(
                "message payload is {large_size} bytes and exceeds maximum allowed 20000 bytes"
            ),
        ),
        (
            "stranger",
            message_of(&*stranger, CHANNEL, normal, b"x"),
            Status::Forbidden,
            "implicit policy evaluation failed",
        ),
        (
            "forged",
            forged,
            Status::Forbidden,
            "implicit policy evaluation failed",
        ),
        (
            "malformed update",
            message_of(&*signer, CHANNEL, HeaderType::ConfigUpdate, &[0xff; 20]),
            Status::BadRequest,
            "error applying config update to existing channel 'mychannel': ",
        ),
    ];
    for (name, message, expected, info) in cases {
        let answers = cluster
            .broadcast_all(
                0,
                vec![cluster.message("before"), message, cluster.message("after")],
            )
            .await;
        assert_eq!(answers.len(), 2, "{name}: nothing follows a refusal");
        assert_eq!(status(&answers[0]), Status::Success, "{name}");
        assert_eq!(status(&answers[1]), expected, "{name}: {}", answers[1].info);
        assert!(
            answers[1].info.starts_with(info),
            "{name}: {}",
            answers[1].info
        );
        let denied = answers[1].info.ends_with(": permission denied");
        assert_eq!(
            denied,
            expected == Status::Forbidden,
            "{name}: {}",
            answers[1].info
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_any_other_type_is_ordered() {
    let cluster = Cluster::start(1, |_| {}).await;
    let signer = cluster.organization.signer("client", NodeOu::Client);
    for kind in [HeaderType::Message, HeaderType::DeliverSeekInfo] {
        let answer = cluster
            .broadcast(0, message_of(&*signer, CHANNEL, kind, b"text"))
            .await;
        assert_eq!(status(&answer), Status::Success, "{kind:?}");
    }
    assert_eq!(cluster.height(0), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_with_foreign_fields_is_ordered_in_canonical_form() {
    let cluster = Cluster::start(1, |_| {}).await;
    let message = cluster.message("canonical");
    // Field 15 is nobody's; a raw call carries it to the orderer.
    let mut bytes = message.encode_to_vec();
    bytes.extend_from_slice(&[0x7a, 2, 1, 2]);
    let padded = Envelope::decode(&bytes[..]).unwrap();
    assert_eq!(status(&cluster.broadcast(0, padded).await), Status::Success);
    let blocks = cluster.blocks(0, 2).await;
    assert_eq!(
        block::envelopes(&blocks[1]),
        [Bytes::from(message.encode_to_vec())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_update_stands_alone_in_its_block_and_rules_from_there_on() {
    let cluster = Cluster::start(1, |_| {}).await;
    let update = cluster.config_update(NodeOu::Admin, |root| set_max_messages(root, 2));
    let mut messages = vec![cluster.message("a"), update];
    messages.extend((0..6).map(|number| cluster.message(&format!("b{number}"))));
    let answers = cluster.broadcast_all(0, messages).await;
    let infos: Vec<&str> = answers.iter().map(|answer| answer.info.as_str()).collect();
    assert!(
        answers
            .iter()
            .all(|answer| status(answer) == Status::Success),
        "{infos:?}"
    );
    let config = cluster.orderer(0).config(CHANNEL).unwrap();
    assert_eq!(
        (config.sequence(), config.batch_size().max_message_count),
        (1, 2)
    );

    let blocks = cluster.blocks(0, cluster.height(0)).await;
    check_chain(&blocks, &config);
    let at = blocks
        .iter()
        .skip(1)
        .position(block::is_config)
        .expect("a config block") as u64
        + 1;
    assert_eq!(block::envelopes(&blocks[at as usize]).len(), 1);
    let from_block = ChannelConfig::from_block(&blocks[at as usize]).unwrap();
    assert_eq!(from_block.config(), config.config());
    for block in &blocks {
        let number = block::number(block);
        let expected = if number >= at { at } else { 0 };
        assert_eq!(
            block::last_config(block).unwrap(),
            expected,
            "block {number}"
        );
        assert!(number <= at || block::envelopes(block).len() <= 2);
    }
    assert_eq!(texts(&blocks).len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_updates_without_the_right_signature_or_of_two_consenters_at_once_are_refused() {
    let cluster = Cluster::start(1, |_| {}).await;
    let unsigned = cluster.config_update(NodeOu::Client, |root| set_max_messages(root, 2));
    let answer = cluster.broadcast(0, unsigned).await;
    assert_eq!(status(&answer), Status::BadRequest);
    assert!(
        answer.info.starts_with(
            "error applying config update to existing channel 'mychannel': error authorizing update: \
             error validating DeltaSet: policy for [Value]  /Channel/Orderer/BatchSize not satisfied: "
        ),
        "{}",
        answer.info
    );

    let newcomers = [(); 2].map(|()| cluster.organization.tls(&["another"]));
    let grown = cluster.config_update(NodeOu::Admin, |root| {
        let added = newcomers
            .iter()
            .map(|tls| consilium_testkit::network::consenter("another", 7050, tls));
        change_consenters(root, |consenters| consenters.extend(added));
    });
    let answer = cluster.broadcast(0, grown).await;
    assert_eq!(status(&answer), Status::BadRequest);
    assert_eq!(
        answer.info,
        "error applying config update to existing channel 'mychannel': \
         consensus metadata update for channel config update is invalid: update of more than one \
         consenter at a time is not supported, requested changes: add 2 node(s), remove 0 node(s)"
    );
    assert_eq!(cluster.height(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_maintenance_mode_normal_messages_are_refused() {
    let cluster = Cluster::start(1, |_| {}).await;
    let enter = cluster.config_update(NodeOu::Admin, |root| {
        let orderer = root.groups.get_mut("Orderer").unwrap();
        let value = orderer.values.get_mut("ConsensusType").unwrap();
        let mut kind =
            consilium_proto::orderer::ConsensusType::decode(value.value.clone()).unwrap();
        kind.state = consilium_proto::orderer::consensus_type::State::Maintenance as i32;
        value.value = kind.encode_to_vec().into();
    });
    let answer = cluster.broadcast(0, enter).await;
    assert_eq!(status(&answer), Status::Success, "{}", answer.info);
    let answer = cluster.broadcast(0, cluster.message("now")).await;
    assert_eq!(status(&answer), Status::ServiceUnavailable);
    assert_eq!(
        answer.info,
        "normal transactions are rejected: maintenance mode"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderer_finds_its_chain_again_after_a_restart() {
    let mut cluster = Cluster::start(1, |_| {}).await;
    for number in 0..5 {
        let answer = cluster
            .broadcast(0, cluster.message(&format!("before {number}")))
            .await;
        assert_eq!(status(&answer), Status::Success);
    }
    let before = header_hashes(&cluster.blocks(0, cluster.height(0)).await);
    cluster.kill(0).await;
    cluster.restart(0).await;
    let answer = cluster.broadcast(0, cluster.message("after")).await;
    assert_eq!(status(&answer), Status::Success, "{}", answer.info);
    let blocks = cluster.blocks(0, cluster.height(0)).await;
    assert_eq!(header_hashes(&blocks)[..before.len()], before);
    assert_eq!(texts(&blocks).len(), 6);
    check_chain(&blocks, &cluster.orderer(0).config(CHANNEL).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_to_deliver_gets_bad_request_and_the_node_lives_on() {
    let cluster = Cluster::start(1, |_| {}).await;
    let mut client = cluster.client(0).await;
    for length in [0, 1, 7, 100, 5_000] {
        let garbage = Envelope {
            payload: vec![0x5a; length].into(),
            signature: vec![1; length].into(),
        };
        let requests = futures_util::stream::iter([garbage]);
        let responses: Vec<_> = client
            .deliver(requests)
            .await
            .unwrap()
            .into_inner()
            .collect()
            .await;
        assert_eq!(responses.len(), 1);
        let response = responses[0].as_ref().unwrap().r#type.clone().unwrap();
        let expected = Status::BadRequest as i32;
        assert_eq!(
            response,
            consilium_proto::orderer::deliver_response::Type::Status(expected)
        );
    }
    let answer = cluster.broadcast(0, cluster.message("still there")).await;
    assert_eq!(status(&answer), Status::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderer_that_is_shut_down_answers_what_waits_and_keeps_what_it_acknowledged() {
    let mut cluster = Cluster::start(1, |_| {}).await;
    let answer = cluster.broadcast(0, cluster.message("before")).await;
    assert_eq!(status(&answer), Status::Success);
    cluster.orderer(0).shutdown().await;
    let answer = cluster.broadcast(0, cluster.message("meanwhile")).await;
    assert_eq!(status(&answer), Status::ServiceUnavailable);
    assert_eq!(answer.info, "chain is stopped");
    cluster.kill(0).await;
    cluster.restart(0).await;
    let answer = cluster.broadcast(0, cluster.message("after")).await;
    assert_eq!(status(&answer), Status::Success, "{}", answer.info);
    let blocks = cluster.blocks(0, cluster.height(0)).await;
    assert_eq!(texts(&blocks), ["before", "after"]);
}
