//! The channel that real Fabric peers recorded, pulled by a running peer.

use std::sync::Arc;

use consilium_msp::Signer;
use consilium_proto::common::Block;
use consilium_protocol::{block, config::ChannelConfig};
use consilium_testkit::{
    NodeOu, Orderer, Organization,
    recorded::{Recording, as_delivered},
};

use crate::{reach, start_peer};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_peer_reproduces_every_flag_and_commit_hash_of_a_recorded_channel() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let recorded: Vec<Block> = (0..recording.height())
        .map(|n| recording.block(n))
        .collect();
    let delivered: Vec<Block> = recorded.iter().cloned().map(as_delivered).collect();
    let orderer = Orderer::start(Arc::new(delivered[1..].to_vec())).await;
    let config = ChannelConfig::from_block(&delivered[0]).unwrap();
    let endpoints = config.orderer_endpoints();
    let overrides = endpoints
        .iter()
        .map(|endpoint| (endpoint.as_str(), orderer.address.as_str()));
    let data = tempfile::tempdir().unwrap();
    // The recording holds no keys. Whoever asks this orderer for blocks may be anybody.
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let signer: Arc<dyn Signer> = organization.signer("peer", NodeOu::Peer);
    let peer = start_peer(data.path(), signer, organization.msp(), overrides);
    let channel = peer.join(&delivered[0]).unwrap();
    reach(&channel, recorded.len() as u64).await;
    for (number, recorded) in recorded.iter().enumerate().skip(1) {
        let stored = channel.ledger().block(number as u64).unwrap().unwrap();
        assert_eq!(
            block::flags(&stored),
            block::flags(recorded),
            "block {number}"
        );
        assert_eq!(
            block::commit_hash(&stored),
            block::commit_hash(recorded),
            "block {number}"
        );
        assert_eq!(&stored, recorded, "block {number}");
    }
    peer.shutdown().await;
}
