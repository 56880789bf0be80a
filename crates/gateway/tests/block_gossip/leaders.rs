//! Peers that elect who pulls blocks from the ordering service.

use consilium_gossip::election::ElectionTimes;

use super::{door::Door, *};

/// Elections at a pace for tests.
fn elected(options: &mut PeerOptions) {
    let gossip = options.gossip.as_mut().expect("a peer that gossips");
    gossip.leadership = Leadership::Elected(ElectionTimes {
        startup_grace: Duration::from_secs(2),
        membership_sample: PACE,
        leader_alive: Duration::from_secs(1),
        duration: Duration::from_millis(500),
    });
    // Nobody asks other organizations: what comes is pulled by whom they elect.
    gossip.blocks = blocks();
}

fn leads(member: &Member) -> bool {
    *member.peer.gossip().expect("gossip").join(CHANNEL).borrow()
}

/// Those of `among` that lead.
fn leaders(network: &Network, among: &[usize]) -> Vec<usize> {
    let leads = |at: &&usize| leads(&network.members[**at]);
    among.iter().filter(leads).copied().collect()
}

async fn one_leads(network: &Network, among: &[usize]) -> usize {
    let what = format!("one of {among:?} leads");
    eventually(&what, || leaders(network, among).len() == 1).await;
    leaders(network, among)[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_dies_another_peer_takes_over() {
    let mut network = Network::start_adjusted(1, 2, Arc::new(elected)).await;
    let mut peers = vec![0];
    for _ in 0..2 {
        peers.push(network.add_peer_with(0, Arc::new(elected)).await);
    }
    network.acquainted().await;
    network.deploy("kv", Some("OR('Org2MSP.peer')")).await;
    one_leads(&network, &[1]).await;
    let mut height = network.members[1].channel().ledger().height();
    while peers.len() > 1 {
        let leader = one_leads(&network, &peers).await;
        put(&network.members[1], &format!("before {leader} dies")).await;
        network.stop_peer(leader).await;
        peers.retain(|peer| *peer != leader);
        put(&network.members[1], &format!("after {leader} died")).await;
        height += 2;
        for &at in &peers {
            let what = format!("{at} has the blocks without {leader}");
            let channel = network.members[at].channel();
            eventually(&what, || channel.ledger().height() == height).await;
            same(&network.members[1], &network.members[at]);
        }
        assert_ne!(one_leads(&network, &peers).await, leader);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parted_peers_have_a_leader_each_and_one_when_they_meet() {
    let mut network = Network::start_adjusted(1, 2, Arc::new(elected)).await;
    network.deploy("kv", Some("OR('Org2MSP.peer')")).await;
    // The first peer is reached by its own address, so that two more stand behind doors.
    network.stop_peer(0).await;
    let doors = [Door::new().await, Door::new().await];
    let mut peers = Vec::new();
    for at in 0..2 {
        let own = doors[at].address.clone();
        let others: Vec<String> = doors.iter().map(|door| door.address.clone()).collect();
        let adjust: Adjust = Arc::new(move |options| {
            elected(options);
            let gossip = options.gossip.as_mut().expect("a peer that gossips");
            gossip.endpoint.clone_from(&own);
            // Nobody else passes on what they say.
            gossip.external_endpoint = String::new();
            gossip.bootstrap.clone_from(&others);
        });
        let index = network.add_peer_with(0, adjust).await;
        doors[at].open(&network.members[index].address);
        peers.push(index);
    }
    one_leads(&network, &peers).await;
    let knows = |network: &Network, at: usize, count: usize| {
        let known = network.members[at].peer.known_members(CHANNEL);
        let own = known.iter().filter(|m| m.identity.msp_id() == "Org1MSP");
        own.count() == count
    };
    eventually("they know each other", || {
        peers.iter().all(|&at| knows(&network, at, 1))
    })
    .await;
    for door in &doors {
        door.shut();
    }
    eventually("each leads its half", || {
        leaders(&network, &peers).len() == 2
    })
    .await;
    put(&network.members[1], "while they are parted").await;
    let height = network.members[1].channel().ledger().height();
    for &at in &peers {
        let channel = network.members[at].channel();
        eventually("both halves go on", || channel.ledger().height() == height).await;
    }
    for (door, &at) in doors.iter().zip(&peers) {
        door.open(&network.members[at].address);
    }
    one_leads(&network, &peers).await;
    put(&network.members[1], "after they have met").await;
    for &at in &peers {
        let channel = network.members[at].channel();
        eventually("they go on", || channel.ledger().height() == height + 1).await;
        same(&network.members[1], &network.members[at]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_reaches_no_orderer_lets_another_peer_lead() {
    let mut network = Network::start_gossiping(1, 2).await;
    network.deploy("kv", Some("OR('Org2MSP.peer')")).await;
    network.stop_peer(0).await;
    let without_orderers = cut_off(&network.orderers, blocks());
    let adjust: Adjust = Arc::new(move |options| {
        without_orderers(options);
        elected(options);
        options.orderer_give_up_after = Duration::from_millis(500);
    });
    let cut = network.add_peer_with(0, adjust).await;
    one_leads(&network, &[cut]).await;
    let other = network.add_peer_with(0, Arc::new(elected)).await;
    let peers = [cut, other];
    eventually("the other one leads", || {
        leaders(&network, &peers) == [other]
    })
    .await;
    put(&network.members[1], "after the leader gave up").await;
    let height = network.members[1].channel().ledger().height();
    for at in peers {
        let channel = network.members[at].channel();
        eventually("both go on", || channel.ledger().height() == height).await;
        same(&network.members[1], &network.members[at]);
    }
    assert_eq!(leaders(&network, &peers), [other]);
}
