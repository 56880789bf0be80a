//! Members that claim much, and bring garbage and forged blocks.

use std::{
    ops::{Range, RangeInclusive},
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use consilium_gossip::{ChannelView, Gossip, GossipOptions, Host, Offered, Taken};
use consilium_msp::{Identity, MspManager};
use consilium_proto::gossip::{Payload, PrivatePayload, PvtDataDigest, PvtDataElement};
use consilium_protocol::block as blocks_of;
use consilium_testkit::NodeOu;
use consilium_transport::{ClientTls, TlsIdentity};

use super::*;

/// How high liars claim to be.
const CLAIMED: u64 = 1_000_000;

type Forge = fn(common::Block) -> Bytes;

/// A member of the organization whose blocks are made by `forge` from good ones.
struct Liar {
    msps: MspManager,
    honest: Arc<consilium_peer::PeerChannel>,
    forge: Forge,
    asked: AtomicUsize,
}

#[tonic::async_trait]
impl Host for Liar {
    fn judge(&self, serialized: &Bytes) -> Result<Arc<Identity>, String> {
        self.msps
            .deserialize(serialized)
            .map_err(|error| error.to_string())
    }

    fn member(&self, _: &str, serialized: &Bytes) -> Option<Arc<Identity>> {
        self.msps.deserialize(serialized).ok()
    }

    fn channel_names(&self) -> Vec<String> {
        vec![CHANNEL.to_owned()]
    }

    fn channels(&self) -> Vec<ChannelView> {
        self.channel(CHANNEL).into_iter().collect()
    }

    fn channel(&self, name: &str) -> Option<ChannelView> {
        Some(ChannelView {
            name: name.to_owned(),
            height: CLAIMED,
            anchors: Vec::new(),
            chaincodes: Vec::new(),
        })
    }

    async fn private_data(
        &self,
        _: &str,
        _: &Arc<Identity>,
        _: PrivatePayload,
    ) -> Result<(), String> {
        Ok(())
    }

    async fn private_request(
        &self,
        _: &str,
        _: &Arc<Identity>,
        _: Vec<PvtDataDigest>,
    ) -> Vec<PvtDataElement> {
        Vec::new()
    }

    fn stored(&self, _: &str) -> Option<Range<u64>> {
        Some(0..CLAIMED)
    }

    fn next_block(&self, _: &str) -> Option<u64> {
        Some(CLAIMED)
    }

    async fn blocks(&self, _: &str, numbers: RangeInclusive<u64>, _: usize) -> Vec<Payload> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let forged = numbers.map_while(|number| self.forged(number));
        forged.collect()
    }

    async fn offer_block(&self, _: &str, _: &Bytes, _: u64, _: Bytes) -> Offered {
        Offered::Known
    }

    async fn take_block(&self, _: &str, _: u64, _: Bytes) -> Taken {
        Taken::Known
    }
}

impl Liar {
    fn forged(&self, number: u64) -> Option<Payload> {
        let bytes = self.honest.ledger().block_bytes(number).unwrap()?;
        let block = common::Block::decode(bytes).unwrap();
        Some(Payload {
            seq_num: number,
            data: (self.forge)(block),
            private_data: Vec::new(),
        })
    }
}

fn garbage(_: common::Block) -> Bytes {
    Bytes::from_static(b"\xff\xff\xff")
}

/// Another number than the message says.
fn shifted(mut block: common::Block) -> Bytes {
    block.header.as_mut().unwrap().number += 1;
    block.encode_to_vec().into()
}

/// A transaction of which was changed.
fn altered(mut block: common::Block) -> Bytes {
    let data = &mut block.data.as_mut().unwrap().data;
    data[0] = Bytes::from_static(b"another transaction");
    block.encode_to_vec().into()
}

/// The same with a header that fits: nobody has signed that.
fn forged(mut block: common::Block) -> Bytes {
    let data = block.data.as_mut().unwrap();
    data.data[0] = data.data[0].iter().copied().chain([0x0a, 0]).collect();
    let hash = blocks_of::data_hash(data);
    block.header.as_mut().unwrap().data_hash = Bytes::copy_from_slice(&hash);
    block.encode_to_vec().into()
}

/// Without the orderers' signatures.
fn unsigned(mut block: common::Block) -> Bytes {
    let metadata = &mut block.metadata.as_mut().unwrap().metadata;
    metadata[BlockMetadataIndex::Signatures as usize] = Bytes::new();
    block.encode_to_vec().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_forged_blocks_of_members_are_refused_and_who_brings_them_is_passed_over() {
    let mut network = Network::start_gossiping(1, 2).await;
    network.deploy("kv", Some("OR('Org1MSP.peer')")).await;
    for number in 0..30 {
        put(&network.members[0], &number.to_string()).await;
    }
    // The victim listens before its organization's honest peer has anything to say to it.
    let asking = BlockOptions {
        transfer: true,
        ..blocks()
    };
    let genesis_alone = cut_off(&network.orderers, asking);
    let victim = network.add_peer_with(0, genesis_alone).await;
    let member = &network.members[victim];
    let mut liars = Vec::new();
    let kinds: [Forge; 5] = [garbage, shifted, altered, forged, unsigned];
    for (number, forge) in kinds.into_iter().enumerate() {
        let organization = &member.organization;
        let tls = organization.tls(&["127.0.0.1"]);
        let tls = TlsIdentity::from_pem(tls.cert_pem.as_bytes(), tls.key_pem.as_bytes()).unwrap();
        let roots = [organization.tls_root_pem()];
        let signer = organization.signer(&format!("liar{number}"), NodeOu::Peer);
        let liar = Arc::new(Liar {
            msps: MspManager::new(vec![organization.msp()]).unwrap(),
            honest: network.members[0].channel(),
            forge,
            asked: AtomicUsize::new(0),
        });
        let options = GossipOptions {
            bootstrap: vec![member.address.clone()],
            client_tls: Some(ClientTls::new(Some(tls), &roots).unwrap()),
            alive_interval: PACE,
            reconnect_interval: PACE,
            state_info_interval: PACE,
            ..GossipOptions::new(signer, format!("127.0.0.1:{}", 2 + number))
        };
        let host: std::sync::Weak<dyn Host> = {
            let weak = Arc::downgrade(&liar);
            weak
        };
        let gossip = Gossip::start(options, host);
        gossip.join(CHANNEL);
        liars.push((liar, gossip));
    }
    // While they ask nothing, they push: the next block, and some ahead of it.
    let height = network.members[0].channel().ledger().height();
    let pushing = async {
        loop {
            for (liar, gossip) in &liars {
                let next = member.channel().ledger().height();
                for number in next..(next + 3).min(height) {
                    let payload = liar.forged(number).unwrap();
                    gossip.push_block(CHANNEL, number, payload.data);
                }
            }
            tokio::time::sleep(PACE / 4).await;
        }
    };
    tokio::select! {
        () = pushing => {}
        () = network.level_from(height) => {}
    }
    put(&network.members[0], "after the lies").await;
    network.level_from(height + 1).await;
    same(&network.members[0], member);
    for (liar, gossip) in &liars {
        let asked = liar.asked.load(Ordering::SeqCst);
        assert!(asked <= 1, "asked {asked} times, also after it had lied");
        gossip.shutdown().await;
    }
}
