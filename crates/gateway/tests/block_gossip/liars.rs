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

/// How high some liars claim to be.
const CLAIMED: u64 = 1_000_000;

type Forge = fn(common::Block) -> Bytes;

/// A member of the organization whose blocks are made by `forge` from good ones.
struct Liar {
    msps: MspManager,
    honest: Arc<consilium_peer::PeerChannel>,
    forge: Forge,
    /// How high it says to be.
    claims: u64,
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
            height: self.claims,
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
        numbers.map(|number| self.forged(number)).collect()
    }

    async fn offer_block(&self, _: &str, _: &Bytes, _: u64, _: Bytes) -> Offered {
        Offered::Known
    }

    async fn take_block(&self, _: &str, _: u64, _: Bytes) -> Taken {
        Taken::Known
    }
}

impl Liar {
    /// From the block of that number, or from the last one under that number.
    fn forged(&self, number: u64) -> Payload {
        let ledger = self.honest.ledger();
        let last = ledger.height() - 1;
        let bytes = ledger.block_bytes(number.min(last)).unwrap().unwrap();
        let mut block = common::Block::decode(bytes).unwrap();
        block.header.as_mut().unwrap().number = number;
        Payload {
            seq_num: number,
            data: (self.forge)(block),
            private_data: Vec::new(),
        }
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

/// A member of the victim's organization that says what it likes; it dials, and is not dialled.
async fn liar(honest: &Member, victim: &Member, number: usize, forge: Forge, claims: u64) -> Lies {
    let organization = &victim.organization;
    let tls = organization.tls(&["127.0.0.1"]);
    let tls = TlsIdentity::from_pem(tls.cert_pem.as_bytes(), tls.key_pem.as_bytes()).unwrap();
    let roots = [organization.tls_root_pem()];
    let signer = organization.signer(&format!("liar{number}"), NodeOu::Peer);
    let liar = Arc::new(Liar {
        msps: MspManager::new(vec![organization.msp()]).unwrap(),
        honest: honest.channel(),
        forge,
        claims,
        asked: AtomicUsize::new(0),
    });
    let options = GossipOptions {
        bootstrap: vec![victim.address.clone()],
        client_tls: Some(ClientTls::new(Some(tls), &roots).unwrap()),
        alive_interval: PACE,
        reconnect_interval: PACE,
        state_info_interval: PACE,
        ..GossipOptions::new(signer, format!("127.0.0.1:{}", 2 + number))
    };
    let host = Arc::downgrade(&liar);
    let gossip = Gossip::start(options, host);
    gossip.join(CHANNEL);
    Lies { liar, gossip }
}

struct Lies {
    liar: Arc<Liar>,
    gossip: Arc<Gossip>,
}

const KINDS: [Forge; 5] = [garbage, shifted, altered, forged, unsigned];

async fn start() -> Network {
    let network = Network::start_gossiping(1, 2).await;
    network.deploy("kv", Some("OR('Org1MSP.peer')")).await;
    for number in 0..30 {
        put(&network.members[0], &number.to_string()).await;
    }
    network
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_with_garbage_or_forged_blocks_is_not_asked_again() {
    let mut network = start().await;
    // One block at a time, so that everybody is asked before the honest have sent all.
    let asking = BlockOptions {
        transfer: true,
        batch: 1,
        check_interval: Duration::from_millis(20),
        ..blocks()
    };
    let height = network.members[0].channel().ledger().height();
    let adjust = cut_off(&network.orderers, asking);
    let victim = network.add_peer_with(0, adjust).await;
    let member = &network.members[victim];
    let mut liars = Vec::new();
    for (number, forge) in KINDS.into_iter().enumerate() {
        liars.push(liar(&network.members[0], member, number, forge, CLAIMED).await);
    }
    // They claim to be higher than all others, so each is asked, once.
    let asked = |lies: &Lies| lies.liar.asked.load(Ordering::SeqCst);
    eventually("all have lied", || liars.iter().all(|lies| asked(lies) > 0)).await;
    network.level_from(height).await;
    put(&network.members[0], "after the lies").await;
    network.level_from(height + 1).await;
    same(&network.members[0], member);
    for lies in &liars {
        assert_eq!(asked(lies), 1, "it was asked again after it had lied");
        lies.gossip.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_forged_blocks_that_members_push_are_refused() {
    let mut network = start().await;
    let height = network.members[0].channel().ledger().height();
    let asking = BlockOptions {
        transfer: true,
        batch: 1,
        ..blocks()
    };
    let adjust = cut_off(&network.orderers, asking);
    let victim = network.add_peer_with(0, adjust).await;
    let member = &network.members[victim];
    let mut liars = Vec::new();
    for (number, forge) in KINDS.into_iter().enumerate() {
        liars.push(liar(&network.members[0], member, number, forge, 1).await);
    }
    // The next block, and some ahead of it, as soon as they can and as long as there are blocks to come.
    let pushing = async {
        loop {
            for lies in &liars {
                let next = member.channel().ledger().height();
                for number in next..next + 3 {
                    let block = lies.liar.forged(number).data;
                    lies.gossip.push_block(CHANNEL, number, || block);
                }
            }
            tokio::time::sleep(PACE / 10).await;
        }
    };
    let honest = async {
        let heard = || {
            let known = member.peer.known_members(CHANNEL);
            known.iter().filter(|known| known.height == 1).count() == KINDS.len()
        };
        eventually("the liars are members", heard).await;
        network.level_from(height).await;
        for number in 0..10 {
            put(&network.members[0], &format!("among lies {number}")).await;
        }
        network.level_from(height + 10).await;
    };
    tokio::select! {
        () = pushing => {}
        () = honest => {}
    }
    same(&network.members[0], member);
    for lies in &liars {
        lies.gossip.shutdown().await;
    }
}
