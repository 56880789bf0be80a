//! Rounds of pulling the latest blocks from peers of the own organization, which make up for pushes
//! that got lost. A peer that pulls from the ordering service needs none.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use consilium_proto::gossip::{
    DataDigest, DataRequest, DataUpdate, GossipHello, PullMsgType,
    gossip_message::{Content, Tag},
};
use rand::{Rng as _, seq::IndexedRandom};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{ChannelBlocks, Offered, pull};
use crate::{
    connections::Connection,
    node::{Gossip, Host},
    options::BlockOptions,
    wire,
};

/// Blocks out of one message at most.
const ITEMS: usize = 1024;

pub(super) async fn run(gossip: Weak<Gossip>, blocks: Arc<ChannelBlocks>, options: BlockOptions) {
    // A period of zero would be no pause at all.
    let mut ticks = interval(options.pull_interval.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if blocks.leads() {
            continue;
        }
        let Some(greeting) = gossip.upgrade().map(|gossip| gossip.greet_all(&blocks)) else {
            return;
        };
        if greeting == 0 {
            continue;
        }
        sleep(options.digest_wait).await;
        let Some(gossip) = gossip.upgrade() else {
            return;
        };
        gossip.request_pulled(&blocks);
        drop(gossip);
        sleep(options.response_wait).await;
        blocks.pull.lock().begin([]);
    }
}

impl Gossip {
    /// Begins a round; with how many peers.
    fn greet_all(&self, blocks: &ChannelBlocks) -> usize {
        let members = self.own_members(&blocks.name);
        let reachable: Vec<_> = members
            .iter()
            .filter(|member| !blocks.is_passed_over(&member.pki_id))
            .filter_map(|member| self.connections.to(&member.pki_id))
            .collect();
        let chosen: Vec<_> = reachable
            .choose_multiple(&mut rand::rng(), self.options.blocks.pull_peers)
            .map(|connection| (rand::random(), connection))
            .collect();
        let greeted = chosen
            .iter()
            .map(|(nonce, connection)| (*nonce, connection.peer.pki_id.clone()));
        blocks.pull.lock().begin(greeted);
        for (nonce, connection) in &chosen {
            let hello = Content::Hello(GossipHello {
                nonce: *nonce,
                metadata: Bytes::new(),
                msg_type: PullMsgType::BlockMsg as i32,
            });
            connection.try_send(unsigned(&blocks.name, hello));
        }
        chosen.len()
    }

    /// Asks for what is missing of that which others have.
    fn request_pulled(&self, blocks: &ChannelBlocks) {
        let requests = {
            let mut rng = rand::rng();
            let mut pull = blocks.pull.lock();
            pull.requests(|of| rng.random_range(0..of))
        };
        for (nonce, peer, numbers) in requests {
            let Some(connection) = self.connections.to(&peer) else {
                continue;
            };
            let request = Content::DataReq(DataRequest {
                nonce,
                digests: numbers.into_iter().map(pull::digest).collect(),
                msg_type: PullMsgType::BlockMsg as i32,
            });
            connection.try_send(unsigned(&blocks.name, request));
        }
    }

    /// Whether blocks of a channel were pulled from a peer with this nonce.
    pub(crate) fn awaits_pulled(&self, from: &Bytes, channel: &[u8], nonce: u64) -> bool {
        let channel = std::str::from_utf8(channel).ok();
        let blocks = channel.and_then(|channel| self.blocks_of(channel));
        blocks.is_some_and(|blocks| blocks.pull.lock().is_awaited(from, nonce))
    }

    /// Tells a peer of the organization the numbers of the latest blocks.
    pub(crate) fn answer_hello(
        &self,
        host: &dyn Host,
        connection: &Connection,
        channel: &str,
        hello: &GossipHello,
    ) {
        let numbers = self.recent(host, connection, channel);
        if numbers.is_empty() {
            return;
        }
        let digest = Content::DataDig(DataDigest {
            nonce: hello.nonce,
            digests: numbers.map(pull::digest).collect(),
            msg_type: PullMsgType::BlockMsg as i32,
        });
        connection.try_send(unsigned(channel, digest));
    }

    /// The numbers of the blocks that another peer may pull.
    pub(super) fn recent(
        &self,
        host: &dyn Host,
        connection: &Connection,
        channel: &str,
    ) -> std::ops::Range<u64> {
        let options = &self.options.blocks;
        let gives = |blocks: &ChannelBlocks| options.gossip || !blocks.leads();
        let is_given = self.blocks_of(channel).is_some_and(|blocks| gives(&blocks));
        match host.stored(channel) {
            Some(stored) if is_given && self.is_own_member(channel, connection) => {
                let first = stored.end.saturating_sub(options.recent);
                first.max(stored.start)..stored.end
            }
            _ => 0..0,
        }
    }

    /// Notes which blocks a peer has.
    pub(crate) fn learn_digests(
        &self,
        host: &dyn Host,
        connection: &Connection,
        channel: &str,
        digest: &DataDigest,
    ) {
        let (Some(blocks), Some(next)) = (self.blocks_of(channel), host.next_block(channel)) else {
            return;
        };
        let wanted = next..next.saturating_add(self.options.blocks.buffer.max(1));
        let from = &connection.peer.pki_id;
        let mut pull = blocks.pull.lock();
        pull.learn(from, digest.nonce, &digest.digests, &wanted);
    }

    /// Takes the blocks that were asked for.
    pub(crate) async fn receive_pulled(
        &self,
        host: &dyn Host,
        connection: &Connection,
        channel: &str,
        update: DataUpdate,
    ) {
        let from = &connection.peer.pki_id;
        let Some(blocks) = self.blocks_of(channel) else {
            return;
        };
        if !self.is_own_member(channel, connection) {
            return;
        }
        let mut payloads = Vec::new();
        for envelope in update.data.iter().take(ITEMS) {
            // The whole was found large enough for what was asked.
            let Ok(message) = wire::open_awaited(envelope, |_| true) else {
                break;
            };
            let Some(Content::DataMsg(data)) = message.content else {
                break;
            };
            let Some(payload) = data.payload else { break };
            let is_asked = message.channel == channel.as_bytes()
                && blocks
                    .pull
                    .lock()
                    .takes(from, update.nonce, payload.seq_num);
            if is_asked {
                payloads.push(payload);
            }
        }
        payloads.sort_by_key(|payload| payload.seq_num);
        for payload in payloads {
            // A copy: what waits for its turn must not hold the others that it came with.
            let data = Bytes::copy_from_slice(&payload.data);
            let offering = host.offer_block(channel, from, payload.seq_num, data);
            if let Offered::Refused(reason) = offering.await {
                self.blame(channel, from, &reason);
                return;
            }
        }
    }
}

pub(super) fn unsigned(channel: &str, content: Content) -> consilium_proto::gossip::Envelope {
    wire::unsigned(&wire::message(Tag::ChanAndOrg, channel, 0, content))
}
