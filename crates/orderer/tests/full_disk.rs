//! Orderers on a full disk: they wait, say why, let others lead, and go on by themselves.

mod support;

use std::time::{Duration, Instant};

use consilium_proto::common::Status;
use consilium_testkit::SmallDisk;
use support::{CHANNEL, Cluster, PATIENCE, check_chain, header_hashes, status, texts};

const SIZE: u64 = 256 << 20;

/// A cluster with a small disk for each orderer; `None` where disks cannot be mounted.
async fn start(count: usize) -> Option<(Cluster, Vec<SmallDisk>)> {
    let mut disks = Vec::new();
    let cluster = Cluster::start_in(
        count,
        |_| {},
        |data| disks.extend(SmallDisk::mount(data, SIZE)),
    )
    .await;
    if disks.len() < count {
        println!("skipped: mounting a file system is not allowed here");
        return None;
    }
    Some((cluster, disks))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_orderer_waits_for_room_says_why_and_goes_on_by_itself() {
    let Some((mut cluster, disks)) = start(1).await else {
        return;
    };
    cluster.leader().await;
    let answer = cluster.broadcast(0, cluster.message("before")).await;
    assert_eq!(status(&answer), Status::Success);
    assert_eq!(cluster.orderer(0).failure(CHANNEL), None);

    disks[0].fill();
    let mut client = cluster.client(0).await;
    let message = cluster.message("while it is full");
    let mut waiting = tokio::spawn(async move {
        let requests = futures_util::stream::iter([message]);
        let mut answers = client.broadcast(requests).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap()
    });
    cluster
        .until("it says that it waits", |cluster| {
            let failure = cluster.orderer(0).failure(CHANNEL);
            failure.is_some_and(|reason| reason.contains("no room on the disk"))
        })
        .await;
    // What is there is delivered, and the message is not acknowledged.
    assert_eq!(texts(&cluster.blocks(0, 2).await), ["before"]);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut waiting).await;
    if let Ok(answer) = early {
        assert_ne!(status(&answer.unwrap()), Status::Success);
    }
    assert_eq!(cluster.height(0), 2);

    disks[0].free();
    cluster
        .until("it goes on", |cluster| {
            cluster.orderer(0).failure(CHANNEL).is_none() && cluster.height(0) == 3
        })
        .await;
    let answer = cluster.broadcast(0, cluster.message("after")).await;
    assert_eq!(status(&answer), Status::Success);
    let expected = ["before", "while it is full", "after"];
    assert_eq!(texts(&cluster.blocks(0, 4).await), expected);

    cluster.kill(0).await;
    cluster.restart(0).await;
    let blocks = cluster.blocks(0, 4).await;
    assert_eq!(texts(&blocks), expected);
    check_chain(&blocks, &cluster.orderer(0).config(CHANNEL).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_on_a_full_disk_lets_another_one_lead_and_catches_up_when_there_is_room() {
    let Some((cluster, disks)) = start(3).await else {
        return;
    };
    let full = cluster.leader().await;
    let answer = cluster.broadcast(full, cluster.message("before")).await;
    assert_eq!(status(&answer), Status::Success);
    disks[full].fill();
    let other = (full + 1) % 3;
    let began = Instant::now();
    let mut number = 0;
    // It notices with the first message that it has no room.
    loop {
        let message = cluster.message(&format!("message {number}"));
        let sent = tokio::time::timeout(PATIENCE, cluster.broadcast(other, message));
        if status(&sent.await.expect("an answer")) == Status::Success {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "ordering stands still");
        number += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The full one may hear of it only when it can write the vote.
    let leader = cluster.orderer(other).leader(CHANNEL);
    assert!(leader.is_some());
    assert_ne!(leader, cluster.orderer(full).raft_id(CHANNEL));
    for number in 0..20 {
        let message = cluster.message(&format!("more {number}"));
        let answer = cluster.broadcast(other, message).await;
        assert_eq!(status(&answer), Status::Success);
    }
    assert!(cluster.height(full) < cluster.height(other));
    assert!(cluster.orderer(full).failure(CHANNEL).is_some());

    disks[full].free();
    let height = cluster.settle(cluster.height(other)).await;
    assert_eq!(cluster.orderer(full).failure(CHANNEL), None);
    cluster.leader().await;
    let blocks = cluster.blocks(full, height).await;
    check_chain(&blocks, &cluster.orderer(full).config(CHANNEL).unwrap());
    assert_eq!(
        header_hashes(&blocks),
        header_hashes(&cluster.blocks(other, height).await)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_orderer_that_waits_for_room_can_be_stopped() {
    let Some((cluster, disks)) = start(1).await else {
        return;
    };
    cluster.leader().await;
    disks[0].fill();
    let mut client = cluster.client(0).await;
    let message = cluster.message("never ordered");
    let waiting = tokio::spawn(async move {
        let requests = futures_util::stream::iter([message]);
        let answers = client.broadcast(requests).await;
        answers.unwrap().into_inner().message().await
    });
    cluster
        .until("it says that it waits", |cluster| {
            cluster.orderer(0).failure(CHANNEL).is_some()
        })
        .await;
    // What the removal has to write would stand behind what waits.
    let refused = cluster.orderer(0).remove(CHANNEL).await.unwrap_err();
    assert!(refused.to_string().contains("are kept free"), "{refused}");
    let orderer = cluster.orderer(0);
    tokio::time::timeout(PATIENCE, orderer.shutdown())
        .await
        .expect("it stops");
    // Refused or cut off, but not acknowledged.
    if let Ok(Some(answer)) = waiting.await.unwrap() {
        assert_ne!(status(&answer), Status::Success);
    }
}
