//! Channels that ask for rules of validation which this peer does not have are refused, and never
//! judged by other rules.

use std::sync::Arc;

use consilium_ledger::Ledger;
use consilium_msp::Signer;
use consilium_peer::{
    ChannelError, Peer, PeerChannel, PeerError, PeerOptions, SignatureMemory, validate,
};
use consilium_proto::common;
use consilium_protocol::block;
use consilium_testkit::{NodeOu, Organization, network};

fn genesis(organization: &Organization, capability: &str) -> common::Block {
    let mut profile = network::profile("old", &[organization], Vec::new());
    for member in &mut profile.organizations {
        member.is_application = true;
    }
    profile.application_capability = capability.to_owned();
    network::block(&profile)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_joined_from_application_capability_v2_0_on() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let signer: Arc<dyn Signer> = organization.signer("peer", NodeOu::Peer);
    for capability in ["V1_1", "V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5"] {
        let data = tempfile::tempdir().expect("a folder");
        let options = PeerOptions::new(data.path().to_owned(), signer.clone(), organization.msp());
        let peer = Peer::open(options).expect("a peer");
        let joined = peer.join(&genesis(&organization, capability));
        if capability.starts_with("V2") {
            joined.expect("joined");
        } else {
            let error = joined.err().expect("refused");
            assert!(matches!(error, PeerError::Capability(_)), "{error}");
            assert!(error.to_string().contains("V2_0"), "{error}");
            assert_eq!(peer.channels(), Vec::<String>::new());
            assert!(!data.path().join("ledgers/old").exists());
        }
        peer.shutdown().await;
    }
}

#[test]
fn a_channel_that_goes_back_behind_v2_0_stops_with_the_reason() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let genesis = genesis(&organization, "V1_4_2");
    let data = tempfile::tempdir().expect("a folder");
    // As it stands behind a configuration update that no honest consortium makes.
    let ledger = Ledger::create(data.path().join("old"), &genesis).expect("a ledger");
    let channel = PeerChannel::open(ledger, organization.msp()).expect("a channel");
    let info = channel.ledger().info();
    let next = block::new_block(
        1,
        info.current_block_hash,
        vec![bytes::Bytes::from_static(b"x")],
    );
    let memory = SignatureMemory::new(10);
    let prepared = validate::prepare(next, &channel.config(), &memory);
    let error = channel.commit(prepared).expect_err("refused");
    assert!(
        matches!(error, ChannelError::Capability { number: 1, .. }),
        "{error}"
    );
    assert_eq!(channel.ledger().height(), 1);
}
