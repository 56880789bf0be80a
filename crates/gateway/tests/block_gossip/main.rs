//! Blocks between the peers of an organization on a whole network: peers that reach no orderer, that
//! are far behind, whose leader dies, that are parted from one another, or that have a liar among them.

mod behind;
mod door;
mod leaders;
mod liars;
#[path = "../support/mod.rs"]
mod support;

use std::{sync::Arc, time::Duration};

use consilium_gossip::{BlockOptions, Leadership};
use consilium_peer::{OrdererOverride, PeerOptions};
use consilium_proto::{
    common::{self, BlockMetadataIndex},
    protos::TxValidationCode,
};
use prost::Message;
use support::{Adjust, CHANNEL, Member, Network, PATIENCE, RunningOrderer};

const PACE: Duration = Duration::from_millis(200);

/// Block options at a pace for tests.
fn blocks() -> BlockOptions {
    BlockOptions {
        pull_interval: PACE,
        digest_wait: PACE / 4,
        response_wait: PACE / 2,
        check_interval: PACE,
        ..BlockOptions::default()
    }
}

/// A peer that gets its blocks from others alone: it does not lead, and would reach no orderer.
fn cut_off(orderers: &[RunningOrderer], blocks: BlockOptions) -> Adjust {
    let addresses: Vec<String> = orderers
        .iter()
        .map(|orderer| orderer.address.clone())
        .collect();
    Arc::new(move |options: &mut PeerOptions| {
        for address in &addresses {
            // Nothing listens there.
            let nowhere = OrdererOverride::to("127.0.0.1:1");
            options.orderer_overrides.insert(address.clone(), nowhere);
        }
        let gossip = options.gossip.as_mut().expect("a peer that gossips");
        gossip.leadership = Leadership::Static(false);
        gossip.blocks = blocks;
    })
}

async fn put(member: &Member, key: &str) {
    let code = member
        .client
        .submit("kv", &[b"put", key.as_bytes(), b"value"])
        .await
        .expect("submitted");
    assert_eq!(code, TxValidationCode::Valid);
}

/// Waits for something that comes to be.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

fn block(member: &Member, number: u64) -> common::Block {
    let bytes = member.channel().ledger().block_bytes(number).unwrap();
    common::Block::decode(bytes.expect("a block")).unwrap()
}

/// Header, transactions, flags and commit hash of all blocks are the same at two peers.
fn same(one: &Member, other: &Member) {
    let height = one.channel().ledger().height();
    assert_eq!(height, other.channel().ledger().height());
    for number in 0..height {
        let (one, other) = (block(one, number), block(other, number));
        assert_eq!((&one.header, &one.data), (&other.header, &other.data));
        for index in [
            BlockMetadataIndex::TransactionsFilter,
            BlockMetadataIndex::CommitHash,
        ] {
            let metadata = |block: &common::Block| {
                block.metadata.as_ref().unwrap().metadata[index as usize].clone()
            };
            assert_eq!(metadata(&one), metadata(&other), "{number} {index:?}");
        }
    }
}
