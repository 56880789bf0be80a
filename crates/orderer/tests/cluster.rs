//! Several orderers: nothing acknowledged is lost, and all chains are equal.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use consilium_proto::common::Status;
use consilium_proto::consilium::replication as wire;
use consilium_proto::consilium::replication::replication_client::ReplicationClient;
use consilium_protocol::block;
use consilium_transport::ClientTls;
use parking_lot::Mutex;
use support::{CHANNEL, Cluster, PATIENCE, check_chain, header_hashes, identity, status, texts};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_the_leader_dies_under_load() {
    let mut cluster = Cluster::start(3, |profile| profile.batch_size.max_message_count = 20).await;
    let leader = cluster.leader().await;
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let tried = Arc::new(Mutex::new(BTreeSet::new()));
    let wanted = 1_000;
    let next = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let survivors: Vec<usize> = (0..3).filter(|index| *index != leader).collect();

    let signer = cluster
        .organization
        .signer("client", consilium_testkit::NodeOu::Client);
    let mut clients = Vec::new();
    for number in 0..8 {
        // Some talk to the leader first, and turn to another orderer when it fails.
        let mut turn = vec![leader, survivors[0], survivors[1]];
        turn.rotate_left(number % 3);
        let mut connections = Vec::new();
        for index in turn {
            connections.push(cluster.client(index).await);
        }
        let (acknowledged, tried) = (acknowledged.clone(), tried.clone());
        let (next, stop, signer) = (next.clone(), stop.clone(), signer.clone());
        clients.push(tokio::spawn(async move {
            let kind = consilium_proto::common::HeaderType::EndorserTransaction;
            while !stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= 4 * wanted || acknowledged.lock().len() >= wanted {
                    return;
                }
                let text = format!("message {number}");
                tried.lock().insert(text.clone());
                let message = support::message_of(&*signer, CHANNEL, kind, text.as_bytes());
                let sending = async {
                    let requests = futures_util::stream::iter([message]);
                    let mut answers = connections[0].broadcast(requests).await?.into_inner();
                    answers.message().await
                };
                let outcome = tokio::time::timeout(Duration::from_secs(15), sending).await;
                match outcome {
                    Ok(Ok(Some(answer))) if status(&answer) == Status::Success => {
                        acknowledged.lock().insert(text);
                    }
                    _ => {
                        connections.rotate_left(1);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        }));
    }
    let reached = |count: usize| {
        let acknowledged = acknowledged.clone();
        async move {
            while acknowledged.lock().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reached(300))
        .await
        .expect("300 messages are ordered");
    cluster.kill(leader).await;
    tokio::time::timeout(PATIENCE, reached(wanted))
        .await
        .expect("ordering goes on without the leader");
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }

    cluster.restart(leader).await;
    let height = cluster.settle(2).await;
    let mut chains = Vec::new();
    for index in 0..3 {
        let blocks = cluster.blocks(index, height).await;
        check_chain(&blocks, &cluster.orderer(index).config(CHANNEL).unwrap());
        chains.push(blocks);
    }
    assert_eq!(header_hashes(&chains[0]), header_hashes(&chains[1]));
    assert_eq!(header_hashes(&chains[0]), header_hashes(&chains[2]));
    let ordered = texts(&chains[0]);
    let unique: BTreeSet<String> = ordered.iter().cloned().collect();
    assert_eq!(unique.len(), ordered.len(), "nothing is ordered twice");
    let lost: Vec<_> = acknowledged.lock().difference(&unique).cloned().collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(unique.is_subset(&tried.lock()));
}

/// Its log may lack entries that the others have and that are committed: in the same term it would
/// put other ones in their place.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_restarts_needs_a_new_term() {
    let mut cluster = Cluster::start(1, |_| {}).await;
    let leader = cluster.leader().await;
    let term = |cluster: &Cluster| cluster.orderer(leader).raft_status(CHANNEL).unwrap().term;
    let before = term(&cluster);
    cluster.kill(leader).await;
    cluster.restart(leader).await;
    cluster.leader().await;
    assert!(term(&cluster) > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_orderer_that_fell_far_behind_pulls_the_blocks_it_missed() {
    let mut cluster = Cluster::start(3, |profile| {
        profile.batch_size.max_message_count = 1;
        // Every few blocks are a snapshot, so that the log that the absent one needs is purged.
        profile.raft.snapshot_interval_size = 4_096;
    })
    .await;
    let leader = cluster.leader().await;
    let absent = (leader + 1) % 3;
    cluster.kill(absent).await;
    // Ordering goes on until the leader has let go of what the absent one needs.
    let mut sent = 0;
    let purged = async {
        while cluster.orderer(leader).raft_status(CHANNEL).unwrap().purged < Some(200) {
            let names = (sent..sent + 100).map(|number| format!("message {number}"));
            let messages = names.map(|name| cluster.message(&name)).collect();
            let answers = cluster.broadcast_all(leader, messages).await;
            let refused = answers
                .iter()
                .find(|answer| status(answer) != Status::Success);
            assert_eq!((answers.len(), refused), (100, None));
            sent += 100;
        }
    };
    tokio::time::timeout(PATIENCE, purged)
        .await
        .expect("the leader purges its log");
    let height = cluster.settle(sent + 1).await;
    cluster.restart(absent).await;
    assert_eq!(cluster.settle(height).await, height);

    let pulled = cluster.blocks(absent, height).await;
    let original = cluster.blocks(leader, height).await;
    check_chain(&pulled, &cluster.orderer(absent).config(CHANNEL).unwrap());
    assert_eq!(header_hashes(&pulled), header_hashes(&original));
    // Pulled blocks keep the signatures that they came with, from whichever of the two others; a
    // node that applies signs its own.
    let third = cluster.blocks(3 - leader - absent, height).await;
    let same = pulled
        .iter()
        .zip(original.iter().zip(&third))
        .skip(1)
        .filter(|(one, (leaders, other))| {
            one.metadata == leaders.metadata || one.metadata == other.metadata
        });
    assert!(same.count() >= 100, "the missing blocks were pulled");
    // It takes part again, also after another restart.
    cluster.kill(absent).await;
    cluster.restart(absent).await;
    let answer = cluster.broadcast(absent, cluster.message("again")).await;
    assert_eq!(status(&answer), Status::Success, "{}", answer.info);
    let height = cluster.settle(height + 1).await;
    let chains = [
        cluster.blocks(absent, height).await,
        cluster.blocks(leader, height).await,
    ];
    assert_eq!(header_hashes(&chains[0]), header_hashes(&chains[1]));
    assert_eq!(texts(&chains[0]).len() as u64, sent + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_orderer_takes_messages_and_all_make_the_same_blocks() {
    let cluster = Cluster::start(3, |_| {}).await;
    cluster.leader().await;
    for index in 0..3 {
        let messages = (0..10)
            .map(|number| cluster.message(&format!("{index}-{number}")))
            .collect();
        let answers = cluster.broadcast_all(index, messages).await;
        assert_eq!(answers.len(), 10);
        for answer in answers {
            assert_eq!(status(&answer), Status::Success, "{}", answer.info);
        }
    }
    let height = cluster.settle(2).await;
    let chains = [
        cluster.blocks(0, height).await,
        cluster.blocks(1, height).await,
        cluster.blocks(2, height).await,
    ];
    assert_eq!(texts(&chains[0]).len(), 30);
    for chain in &chains[1..] {
        assert_eq!(header_hashes(&chains[0]), header_hashes(chain));
        let metadata = |block| block::consenter_metadata(block).unwrap();
        for (one, other) in chains[0].iter().zip(chain).skip(1) {
            assert_eq!(
                metadata(one),
                metadata(other),
                "what consensus leaves is equal"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_quorum_nothing_is_acknowledged() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader().await;
    for index in 0..3 {
        if index != leader {
            cluster.kill(index).await;
        }
    }
    let message = cluster.message("alone");
    let mut client = cluster.client(leader).await;
    let sending = async {
        let mut answers = client
            .broadcast(support::held(vec![message]))
            .await
            .unwrap()
            .into_inner();
        answers.message().await
    };
    match tokio::time::timeout(Duration::from_secs(5), sending).await {
        Err(_) => {}
        Ok(Ok(Some(answer))) => assert_eq!(status(&answer), Status::ServiceUnavailable),
        Ok(other) => panic!("{other:?}"),
    }
    assert_eq!(cluster.height(leader), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_consenters_may_use_the_replication_service() {
    let cluster = Cluster::start(1, |_| {}).await;
    cluster.leader().await;
    let address = format!("127.0.0.1:{}", cluster.nodes[0].port);
    let roots = [cluster.organization.tls_root_pem()];
    let outsider = cluster.organization.tls(&["127.0.0.1"]);
    for (name, shown, expected) in [
        ("nobody", None, tonic::Code::Unauthenticated),
        (
            "an outsider",
            Some(identity(&outsider)),
            tonic::Code::PermissionDenied,
        ),
    ] {
        let tls = ClientTls::new(shown, &roots).unwrap();
        let channel = consilium_transport::connect(&address, Some(tls), PATIENCE)
            .await
            .unwrap();
        let mut client = ReplicationClient::new(channel);
        let channel = CHANNEL.to_owned();
        let vote = Some(wire::Vote {
            term: 9,
            node: 1,
            committed: true,
        });
        let append = wire::AppendRequest {
            channel: channel.clone(),
            vote,
            ..Default::default()
        };
        assert_eq!(
            client.append(append).await.unwrap_err().code(),
            expected,
            "{name}"
        );
        let request = wire::VoteRequest {
            channel: channel.clone(),
            vote,
            ..Default::default()
        };
        assert_eq!(
            client.vote(request).await.unwrap_err().code(),
            expected,
            "{name}"
        );
        let blocks = wire::BlocksRequest {
            channel: channel.clone(),
            start: 0,
            end: 9,
        };
        assert_eq!(
            client.blocks(blocks).await.unwrap_err().code(),
            expected,
            "{name}"
        );
        let submit = wire::SubmitRequest {
            channel,
            ..Default::default()
        };
        let refused = match client.submit(futures_util::stream::iter([submit])).await {
            Err(refused) => refused,
            Ok(response) => response.into_inner().message().await.unwrap_err(),
        };
        assert_eq!(refused.code(), expected, "{name}");
    }
    // A consenter cannot vote in another's name, nor send a log with a hole.
    let tls = ClientTls::new(Some(identity(&cluster.nodes[0].tls)), &roots).unwrap();
    let channel = consilium_transport::connect(&address, Some(tls), PATIENCE)
        .await
        .unwrap();
    let mut client = ReplicationClient::new(channel);
    let vote = |node| {
        Some(wire::Vote {
            term: 99,
            node,
            committed: true,
        })
    };
    let append = |node| wire::AppendRequest {
        channel: CHANNEL.to_owned(),
        vote: vote(node),
        to: 1,
        ..Default::default()
    };
    // A message that is meant for another disk's node is not taken.
    let misled = wire::AppendRequest { to: 7, ..append(1) };
    assert_eq!(
        client.append(misled).await.unwrap_err().code(),
        tonic::Code::FailedPrecondition
    );
    assert_eq!(
        client.append(append(2)).await.unwrap_err().code(),
        tonic::Code::PermissionDenied
    );
    let holed = wire::AppendRequest {
        previous: Some(wire::LogId { term: 1, index: 3 }),
        entries: vec![wire::Entry {
            id: Some(wire::LogId { term: 1, index: 5 }),
            payload: Some(wire::entry::Payload::Blank(wire::Blank {})),
        }],
        ..append(1)
    };
    assert_eq!(
        client.append(holed).await.unwrap_err().code(),
        tonic::Code::InvalidArgument
    );
}

/// Messages that wait to be cut, not only those on their way, are answered when the quorum goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_loses_its_quorum_answers_everything_that_waits() {
    let mut cluster = Cluster::start(3, |profile| profile.batch_size.max_message_count = 1).await;
    let leader = cluster.leader().await;
    for index in (0..3).filter(|index| *index != leader) {
        cluster.kill(index).await;
    }
    // More than are proposed at a time, so that some wait behind others.
    let mut streams = Vec::new();
    for number in 0..20 {
        let message = cluster.message(&format!("message {number}"));
        let mut client = cluster.client(leader).await;
        streams.push(async move {
            let held = support::held(vec![message]);
            let mut answers = client.broadcast(held).await.unwrap().into_inner();
            answers.message().await
        });
    }
    let answered = tokio::time::timeout(PATIENCE, futures_util::future::join_all(streams)).await;
    for answer in answered.expect("everybody is answered") {
        let answer = answer.unwrap().expect("an answer");
        assert_eq!(
            status(&answer),
            Status::ServiceUnavailable,
            "{}",
            answer.info
        );
    }
}
