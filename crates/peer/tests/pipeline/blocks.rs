//! Bad blocks: refused before anything is stored, another orderer is asked, and the peer goes on.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::common::{Block, BlockMetadataIndex, Metadata};
use consilium_protocol::block;
use consilium_testkit::{NodeOu, Orderer, validation::Generator};
use prost::Message;

use crate::{reach, start_peer};

type Damage = fn(&mut Block, &Generator);

fn change_signatures(block: &mut Block, change: impl FnOnce(&mut Metadata)) {
    let slot = &mut block.metadata.as_mut().expect("metadata").metadata
        [BlockMetadataIndex::Signatures as usize];
    let mut metadata = Metadata::decode(slot.clone()).expect("signatures");
    change(&mut metadata);
    *slot = metadata.encode_to_vec().into();
}

/// Signs again what the damage made.
fn sign(block: &mut Block, generator: &Generator, organization: usize) {
    let organization = &generator.people().organizations[organization];
    let signer = organization.signer("orderer", NodeOu::Client);
    block::sign(block, 0, Bytes::new(), signer.as_ref()).expect("an own key");
}

const DAMAGES: [(&str, Damage); 9] = [
    ("a wrong number", |block, generator| {
        block.header.as_mut().expect("a header").number += 1;
        sign(block, generator, 0);
    }),
    ("a wrong previous hash", |block, generator| {
        block.header.as_mut().expect("a header").previous_hash = Bytes::from_static(&[7; 32]);
        sign(block, generator, 0);
    }),
    ("a wrong data hash", |block, generator| {
        block.header.as_mut().expect("a header").data_hash = Bytes::from_static(&[7; 32]);
        sign(block, generator, 0);
    }),
    ("other data", |block, _| {
        let data = block.data.as_mut().expect("data");
        data.data.pop();
    }),
    ("no header", |block, _| block.header = None),
    ("no metadata", |block, _| block.metadata = None),
    ("no signature", |block, _| {
        change_signatures(block, |metadata| metadata.signatures.clear());
    }),
    ("a forged signature", |block, _| {
        change_signatures(block, |metadata| {
            let signature = &mut metadata.signatures[0].signature;
            let mut forged = signature.to_vec();
            let last = forged.len() - 1;
            forged[last] ^= 1;
            *signature = forged.into();
        });
    }),
    ("a stranger's signature", |block, generator| {
        sign(block, generator, 3);
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_block_is_refused_and_another_orderer_is_asked() {
    let generator = Generator::new();
    let chain = generator.chain(1, 60);
    let height = chain.blocks.len() as u64 + 1;
    let organization = &generator.people().organizations[0];
    for (what, damage) in DAMAGES {
        let mut bad = chain.blocks.clone();
        damage(&mut bad[1], &generator);
        let bad = Orderer::start(Arc::new(bad)).await;
        // Alone, it brings the peer to block 1 and no further.
        let data = tempfile::tempdir().expect("a folder");
        let signer: Arc<dyn Signer> = organization.signer("peer", NodeOu::Peer);
        let both = Generator::ORDERERS.map(|configured| (configured, bad.address.as_str()));
        let peer = start_peer(data.path(), signer.clone(), organization.msp(), both);
        let channel = peer.join(generator.genesis()).expect("joined");
        reach(&channel, 2).await;
        let asked_again = async {
            while bad.requests() < 4 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::PATIENCE, asked_again)
            .await
            .unwrap_or_else(|_| panic!("{what}: the peer gave up"));
        assert_eq!(channel.ledger().height(), 2, "{what}");
        assert_eq!(channel.halted(), None, "{what}");
        peer.shutdown().await;
        drop((peer, channel));

        // With a good one beside it the peer gets everything, though it may ask the bad one first.
        let good = Orderer::start(Arc::new(chain.blocks.clone())).await;
        let data = tempfile::tempdir().expect("a folder");
        let pair = [
            (Generator::ORDERERS[0], bad.address.as_str()),
            (Generator::ORDERERS[1], good.address.as_str()),
        ];
        let peer = start_peer(data.path(), signer, organization.msp(), pair);
        let channel = peer.join(generator.genesis()).expect("joined");
        reach(&channel, height).await;
        assert_eq!(channel.halted(), None, "{what}");
        let last = channel.ledger().block(height - 1).expect("readable");
        let expected = chain.expected.last().expect("blocks");
        assert_eq!(
            block::commit_hash(&last.expect("there")).map(|hash| hash.to_vec()),
            Some(expected.commit_hash.to_vec()),
            "{what}"
        );
        peer.shutdown().await;
    }
}
