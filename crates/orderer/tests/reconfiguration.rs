//! Consenters that come, go, and come back without their disks, by config updates over real TLS.

mod support;

use consilium_orderer::{Relation, Standing};
use consilium_proto::common::{Block, Status};
use consilium_testkit::NodeOu;
use prost::Message;
use support::config::set_max_messages;
use support::{CHANNEL, Cluster, check_chain, header_hashes, status, texts};

fn relation(cluster: &Cluster, index: usize) -> (Relation, Standing) {
    let info = cluster.orderer(index).channel_info(CHANNEL).unwrap();
    (info.consensus_relation, info.status)
}

fn takes_part(cluster: &Cluster, index: usize) -> bool {
    cluster.orderer(index).leader(CHANNEL).is_some()
        && relation(cluster, index) == (Relation::Consenter, Standing::Active)
}

async fn order(cluster: &Cluster, through: usize, text: &str) {
    let answer = cluster.broadcast(through, cluster.message(text)).await;
    assert_eq!(status(&answer), Status::Success, "{text}: {}", answer.info);
}

/// Voters of the channel, by the consenters' ids, as an orderer has committed them.
fn voters(cluster: &Cluster, index: usize) -> Vec<u64> {
    cluster.orderer(index).voters(CHANNEL)
}

async fn check_equal(cluster: &Cluster, least: u64) -> Vec<Block> {
    let height = cluster.settle(least).await;
    let running = cluster.running();
    let first = cluster.blocks(running[0], height).await;
    for index in &running[1..] {
        let blocks = cluster.blocks(*index, height).await;
        assert_eq!(header_hashes(&first), header_hashes(&blocks));
    }
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_becomes_a_consenter_when_it_is_added_and_counts_from_then_on() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader().await;
    order(&cluster, leader, "before").await;
    let new = cluster.add().await;
    cluster.join(new).await;
    assert_eq!(
        relation(&cluster, new),
        (Relation::Follower, Standing::Active)
    );
    let refused = cluster.broadcast(new, cluster.message("x")).await;
    assert_eq!(status(&refused), Status::ServiceUnavailable);
    assert_eq!(refused.info, "orderer is a follower of channel mychannel");
    cluster.settle(2).await;

    let consenter = cluster.consenter(new);
    let added = cluster
        .change_consenters(leader, |consenters| consenters.push(consenter))
        .await;
    assert_eq!(status(&added), Status::Success, "{}", added.info);
    cluster
        .until("the new one takes part", |cluster| takes_part(cluster, new))
        .await;
    cluster
        .until("it votes", |cluster| voters(cluster, new) == [1, 2, 3, 4])
        .await;
    order(&cluster, new, "through the new one").await;

    // Three of four are a majority, the new one among them.
    let old = cluster.leader().await;
    let victim = if old == new { 0 } else { old };
    cluster.kill(victim).await;
    cluster.leader().await;
    order(&cluster, new, "without an old one").await;
    cluster.restart(victim).await;
    let blocks = check_equal(&cluster, 5).await;
    assert_eq!(
        texts(&blocks),
        ["before", "through the new one", "without an old one"]
    );
    let config = cluster.orderer(new).config(CHANNEL).unwrap();
    check_chain(&blocks, &config);
    let ids = |block: &Block| {
        let metadata = consilium_protocol::block::consenter_metadata(block).unwrap();
        let raft = consilium_protocol::block::unwrap_consenter_metadata(&metadata).unwrap();
        (raft.consenter_ids, raft.next_consenter_id)
    };
    assert_eq!(ids(&blocks[1]), (vec![1, 2, 3], 4));
    assert_eq!(ids(&blocks[2]), (vec![1, 2, 3, 4], 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_removed_leader_hands_over_and_follows() {
    let cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader().await;
    let removed = cluster
        .change_consenters(leader, |consenters| {
            consenters.remove(leader);
        })
        .await;
    assert_eq!(status(&removed), Status::Success, "{}", removed.info);
    cluster
        .until("it follows", |cluster| {
            relation(cluster, leader).0 == Relation::Follower
        })
        .await;
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    order(&cluster, next, "without it").await;
    check_equal(&cluster, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_consenter_that_was_removed_while_it_was_away_finds_out_by_itself() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader().await;
    let absent = (leader + 1) % 3;
    cluster.kill(absent).await;
    let removed = cluster
        .change_consenters(leader, |consenters| {
            consenters.remove(absent);
        })
        .await;
    assert_eq!(status(&removed), Status::Success, "{}", removed.info);
    order(&cluster, leader, "without it").await;
    cluster.restart(absent).await;
    cluster
        .until("it follows", |cluster| {
            relation(cluster, absent).0 == Relation::Follower
        })
        .await;
    check_equal(&cluster, 3).await;

    // Listed again it comes back, with another id.
    let consenter = cluster.consenter(absent);
    let back = cluster
        .change_consenters(leader, |consenters| consenters.push(consenter))
        .await;
    assert_eq!(status(&back), Status::Success, "{}", back.info);
    cluster
        .until("it takes part", |cluster| takes_part(cluster, absent))
        .await;
    cluster
        .until("it votes", |cluster| voters(cluster, absent).contains(&4))
        .await;
    order(&cluster, absent, "through it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_consenter_that_lost_its_disk_comes_back_and_counts_again() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader().await;
    let lost = (leader + 1) % 3;
    order(&cluster, leader, "before").await;
    cluster.settle(2).await;
    cluster.kill(lost).await;
    cluster.wipe(lost);
    order(&cluster, leader, "meanwhile").await;
    cluster.restart(lost).await;
    cluster.join(lost).await;
    cluster
        .until("it takes part", |cluster| takes_part(cluster, lost))
        .await;
    cluster
        .until("its new node votes", |cluster| {
            let node = cluster.orderer(lost).raft_node(CHANNEL);
            node.is_some_and(|node| {
                node > 3 && cluster.orderer(leader).voter_nodes(CHANNEL).contains(&node)
            })
        })
        .await;
    cluster.settle(3).await;

    // With it two of three go on, also when it is the only one that saw everything before.
    cluster.kill(leader).await;
    cluster.leader().await;
    order(&cluster, lost, "after").await;
    cluster.restart(leader).await;
    let blocks = check_equal(&cluster, 4).await;
    assert_eq!(texts(&blocks), ["before", "meanwhile", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_orderer_joins_with_a_later_config_block_and_gets_the_blocks_before_it() {
    let mut cluster = Cluster::start(1, |_| {}).await;
    order(&cluster, 0, "before").await;
    let update = cluster.config_update(NodeOu::Admin, |root| set_max_messages(root, 7));
    let answer = cluster.broadcast(0, update).await;
    assert_eq!(status(&answer), Status::Success, "{}", answer.info);
    order(&cluster, 0, "after").await;
    let bytes = cluster.orderer(0).block_bytes(CHANNEL, 2).unwrap().unwrap();
    let later = Block::decode(bytes).unwrap();

    let new = cluster.add().await;
    cluster.join_with(new, &later).await;
    let blocks = check_equal(&cluster, 4).await;
    assert_eq!(texts(&blocks), ["before", "after"]);
    assert_eq!(
        relation(&cluster, new),
        (Relation::Follower, Standing::Active)
    );
    cluster.kill(new).await;
    cluster.restart(new).await;
    order(&cluster, 0, "again").await;
    check_equal(&cluster, 5).await;
    assert_eq!(
        relation(&cluster, new),
        (Relation::Follower, Standing::Active)
    );

    // A block that the others do not have is no way in.
    let stranger = cluster.add().await;
    let mut forged = later.clone();
    forged.header.as_mut().unwrap().previous_hash = vec![7; 32].into();
    cluster.join_with(stranger, &forged).await;
    cluster
        .until("it fails", |cluster| {
            relation(cluster, stranger).1 == Standing::Failed
        })
        .await;
    let reason = cluster.orderer(stranger).failure(CHANNEL).unwrap();
    assert!(
        reason.contains("differs from the block that the channel was joined with"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_membership_change_waits_for_the_other_and_can_be_taken_back() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader().await;
    let absent = cluster.add().await;
    let present = cluster.add().await;
    cluster.join(present).await;
    let (first, second) = (cluster.consenter(absent), cluster.consenter(present));
    let added = cluster
        .change_consenters(leader, |consenters| consenters.push(first))
        .await;
    assert_eq!(status(&added), Status::Success, "{}", added.info);
    let refused = cluster
        .change_consenters(leader, |consenters| consenters.push(second.clone()))
        .await;
    assert_eq!(status(&refused), Status::BadRequest);
    assert_eq!(
        refused.info,
        "another membership change is in progress: consenter 4 has not joined the cluster yet; \
         wait for it, or take it back"
    );
    // Ordering goes on with those who are there.
    order(&cluster, leader, "meanwhile").await;
    let back = cluster
        .change_consenters(leader, |consenters| {
            consenters.pop();
        })
        .await;
    assert_eq!(status(&back), Status::Success, "{}", back.info);
    let added = cluster
        .change_consenters(leader, |consenters| consenters.push(second))
        .await;
    assert_eq!(status(&added), Status::Success, "{}", added.info);
    cluster
        .until("it votes", |cluster| {
            voters(cluster, present) == [1, 2, 3, 5]
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_removal_that_would_stop_the_channel_is_refused() {
    let mut cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader().await;
    let absent = (leader + 1) % 3;
    let present = (leader + 2) % 3;
    cluster.kill(absent).await;
    // Until the leader has noticed.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let refused = cluster
        .change_consenters(leader, |consenters| {
            consenters.remove(present);
        })
        .await;
    assert_eq!(status(&refused), Status::BadRequest, "{}", refused.info);
    assert_eq!(
        refused.info,
        "error applying config update to existing channel 'mychannel': \
         consensus metadata update for channel config update is invalid: \
         2 out of 3 nodes are alive, configuration will result in quorum loss"
    );
}
