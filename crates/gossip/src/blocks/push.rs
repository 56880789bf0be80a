//! Blocks that are pushed: by the peer that pulls them from the ordering service, and on by those that
//! get them for the first time. fabric: gossip/gossip/gossip_impl.go gossipInChan,
//! gossip/state/state.go addPayload

use bytes::Bytes;
use consilium_proto::gossip::{
    DataMessage, Envelope, Payload,
    gossip_message::{Content, Tag},
};
use rand::seq::IndexedRandom;

use super::Offered;
use crate::{
    connections::Connection,
    node::{Gossip, Host},
    wire,
};

impl Gossip {
    /// Whether blocks are to be pushed that come from the ordering service.
    pub fn pushes_blocks(&self) -> bool {
        self.options.blocks.gossip && self.passes_on()
    }

    fn passes_on(&self) -> bool {
        let options = &self.options.blocks;
        options.propagate_iterations > 0 && options.propagate_peers > 0
    }

    /// Pushes a block, which was checked, to some peers of the own organization; `encode` is called if
    /// there are any.
    pub fn push_block(&self, channel: &str, number: u64, encode: impl FnOnce() -> Bytes) {
        self.spread(channel, number, encode, None);
    }

    fn spread(
        &self,
        channel: &str,
        number: u64,
        encode: impl FnOnce() -> Bytes,
        sender: Option<&Bytes>,
    ) {
        if !self.passes_on() {
            return;
        }
        let options = &self.options.blocks;
        let members = self.own_members(channel);
        let reachable: Vec<_> = members
            .iter()
            .filter(|member| Some(&member.pki_id) != sender)
            .filter_map(|member| self.connections.to(&member.pki_id))
            .collect();
        if reachable.is_empty() {
            return;
        }
        let envelope = pushed(channel, number, encode());
        for _ in 0..options.propagate_iterations {
            let chosen = reachable.choose_multiple(&mut rand::rng(), options.propagate_peers);
            for connection in chosen {
                connection.try_send(envelope.clone());
            }
        }
    }

    /// Whether a block that comes unasked may be of use, before anything of it is looked at.
    pub(crate) fn could_use(&self, host: &dyn Host, channel: &str, number: u64) -> bool {
        let next = host.next_block(channel);
        next.is_some_and(|next| number >= next && number - next < self.options.blocks.buffer.max(1))
    }

    /// Takes a block that a peer of the organization pushes, and passes it on if it is new.
    pub(crate) async fn receive_block(
        &self,
        host: &dyn Host,
        connection: &Connection,
        channel: &str,
        payload: Payload,
    ) {
        let from = &connection.peer.pki_id;
        let Some(blocks) = self.blocks_of(channel) else {
            return;
        };
        if !self.is_own_member(channel, connection) || blocks.is_passed_over(from) {
            return;
        }
        let Payload { seq_num, data, .. } = payload;
        match host.offer_block(channel, from, seq_num, data.clone()).await {
            Offered::New => self.spread(channel, seq_num, || data, Some(from)),
            Offered::Refused(reason) => self.blame(channel, from, &reason),
            Offered::Doubtful(reason) => tracing::warn!(
                channel,
                block = seq_num,
                reason = wire::brief(&reason),
                "dropped a block that a peer pushed ahead of its turn"
            ),
            Offered::Known | Offered::TooFar | Offered::Closed => {}
        }
    }
}

pub(super) fn pushed(channel: &str, number: u64, block: Bytes) -> Envelope {
    let data = DataMessage {
        payload: Some(Payload {
            seq_num: number,
            data: block,
            private_data: Vec::new(),
        }),
    };
    wire::unsigned(&wire::message(
        Tag::ChanAndOrg,
        channel,
        0,
        Content::DataMsg(data),
    ))
}
