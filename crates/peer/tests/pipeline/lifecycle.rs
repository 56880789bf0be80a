//! Nonsense where a chaincode's definition is: valid by the rules, and it stops Fabric's peers at that
//! block and at every start after it.

use std::sync::Arc;

use consilium_msp::Signer;
use consilium_proto::protos::TxValidationCode;
use consilium_protocol::block;
use consilium_testkit::{
    NodeOu, Orderer,
    validation::{CHANNEL, Generator},
};

use crate::{let_go, reach, start_peer};

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_definition_is_undefined_until_it_is_made_anew_and_the_peer_goes_on() {
    let generator = Generator::new();
    let organization = &generator.people().organizations[0];
    let signer: Arc<dyn Signer> = organization.signer("peer", NodeOu::Peer);
    for key in [
        "namespaces/fields/cc1/Sequence",
        "namespaces/fields/cc1/ValidationInfo",
        "namespaces/fields/cc1/Collections",
        "namespaces/metadata/cc1",
    ] {
        let chain = generator.spoilt_chain(key);
        let orderer = Orderer::start(Arc::new(chain.blocks.clone())).await;
        let dialled = Generator::ORDERERS.map(|configured| (configured, orderer.address.as_str()));
        let data = tempfile::tempdir().expect("a folder");
        let peer = start_peer(data.path(), signer.clone(), organization.msp(), dialled);
        let channel = peer.join(generator.genesis()).expect("joined");
        reach(&channel, 6).await;
        assert_eq!(channel.halted(), None, "{key}");
        let codes = |number| {
            let stored = channel.ledger().block(number).expect("readable");
            block::flags(&stored.expect("there"))
                .iter()
                .map(|&flag| TxValidationCode::try_from(i32::from(flag)).expect("a code"))
                .collect::<Vec<_>>()
        };
        use TxValidationCode::{InvalidChaincode, Valid};
        assert_eq!(codes(2), [Valid], "{key}: the nonsense itself");
        assert_eq!(codes(3), [InvalidChaincode, Valid], "{key}: cc1 and cc2");
        assert_eq!(codes(4), [Valid], "{key}: the definition anew");
        assert_eq!(codes(5), [Valid], "{key}: cc1 again");
        peer.shutdown().await;
        // Stopped at the block with the nonsense, and started again on it.
        let early = Orderer::start(Arc::new(chain.blocks[..2].to_vec())).await;
        let data = tempfile::tempdir().expect("a folder");
        let dialled = Generator::ORDERERS.map(|configured| (configured, early.address.as_str()));
        let peer = start_peer(data.path(), signer.clone(), organization.msp(), dialled);
        let channel = peer.join(generator.genesis()).expect("joined");
        reach(&channel, 3).await;
        peer.shutdown().await;
        let_go(peer, channel).await;
        let dialled = Generator::ORDERERS.map(|configured| (configured, orderer.address.as_str()));
        let peer = start_peer(data.path(), signer.clone(), organization.msp(), dialled);
        let channel = peer.channel(CHANNEL).expect("the channel");
        reach(&channel, 6).await;
        assert_eq!(channel.halted(), None, "{key}");
        peer.shutdown().await;
    }
}
