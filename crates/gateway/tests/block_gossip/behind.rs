//! Peers that get their blocks from others.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn pushed_blocks_reach_a_peer_that_neither_pulls_nor_asks() {
    let mut network = Network::start_gossiping(1, 2).await;
    let pushed = BlockOptions {
        pull_interval: Duration::from_secs(3600),
        ..blocks()
    };
    let adjust = cut_off(&network.orderers, pushed);
    let follower = network.add_peer_with(0, adjust).await;
    // Pushed blocks go to peers that are known, so none is made before.
    network.acquainted().await;
    network.deploy("kv", Some("OR('Org1MSP.peer')")).await;
    for number in 0..10 {
        put(&network.members[0], &number.to_string()).await;
    }
    network.level().await;
    same(&network.members[0], &network.members[follower]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_pulls_the_latest_blocks_of_one_that_does_not_push() {
    let silent: Adjust = Arc::new(|options| {
        let gossip = options.gossip.as_mut().expect("a peer that gossips");
        gossip.blocks.propagate_iterations = 0;
    });
    let mut network = Network::start_adjusted(1, 2, silent).await;
    network.deploy("kv", Some("OR('Org1MSP.peer')")).await;
    let adjust = cut_off(&network.orderers, blocks());
    let follower = network.add_peer_with(0, adjust).await;
    for number in 0..3 {
        put(&network.members[0], &number.to_string()).await;
    }
    network.level().await;
    same(&network.members[0], &network.members[follower]);
}

/// Waits for so many blocks, a part at a time: how long all of them take is no matter.
async fn grows(member: &Member, height: u64, blocks: u64) {
    let channel = member.channel();
    for part in 1..=10 {
        let wanted = height + blocks * part / 10;
        let what = format!("height {wanted}");
        eventually(&what, || channel.ledger().height() >= wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_a_thousand_blocks_behind_catches_up_while_it_reaches_no_orderer() {
    const BLOCKS: u64 = 1000;
    let mut network = Network::start_with_small_blocks(1, 2).await;
    network.deploy("kv", Some("OR('Org1MSP.peer')")).await;
    let height = network.members[0].channel().ledger().height();
    let clients: Vec<_> = (0..8)
        .map(|at: u64| {
            let client = network.members[0].client.clone();
            tokio::spawn(async move {
                for number in 0..BLOCKS / 8 {
                    let key = format!("{at}-{number}");
                    let (proposal, _) =
                        client.propose(CHANNEL, "kv", &[b"put", key.as_bytes(), b"value"]);
                    let envelope = client.endorse_proposal(proposal, vec![]).await.unwrap();
                    client.send(client.sign(envelope)).await.unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    grows(&network.members[0], height, BLOCKS).await;
    network.level_from(height + BLOCKS).await;
    let asking = BlockOptions {
        transfer: true,
        ..blocks()
    };
    let adjust = cut_off(&network.orderers, asking);
    // In both organizations: whoever is in the channel is asked.
    for of in [0, 1] {
        let late = network.add_peer_with(of, adjust.clone()).await;
        grows(&network.members[late], height, BLOCKS).await;
        network.level_from(height + BLOCKS).await;
        same(&network.members[0], &network.members[late]);
    }
    // And goes on with what is new.
    put(&network.members[0], "new").await;
    network.level_from(height + BLOCKS + 1).await;
}
