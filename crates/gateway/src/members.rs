//! The peers of a channel that this gateway knows: its own, those that gossip tells of, and the anchor
//! peers that the channel's configuration names. Asking one of them to endorse.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use consilium_peer::Peer;
use consilium_proto::protos::{self, endorser_client::EndorserClient};
use consilium_protocol::config::ChannelConfig;
use consilium_transport::{ChannelPool, MAX_MESSAGE};
use rand::seq::SliceRandom;

use crate::answer::{self, Refusal};

/// A peer that may endorse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) msp_id: String,
    /// `host:port`.
    pub(crate) address: String,
    /// The peer that this gateway runs in.
    pub(crate) is_local: bool,
}

/// Members of a channel: the own peer first, then its organization's other peers, then the rest in
/// random order (so that load spreads). `told` are peers that gossip tells of.
pub(crate) fn members(
    config: &ChannelConfig,
    told: &[consilium_gossip::Member],
    own_msp: &str,
    own_address: &str,
) -> Vec<Member> {
    let mut own = vec![Member {
        msp_id: own_msp.to_owned(),
        address: own_address.to_owned(),
        is_local: true,
    }];
    let mut others = Vec::new();
    let anchors = config.application_orgs().iter().flat_map(|organization| {
        let addresses = organization.anchor_peers.iter();
        addresses.map(|(host, port)| (organization.msp_id.as_str(), format!("{host}:{port}")))
    });
    let told = told.iter().map(|member| {
        // Other organizations' internal endpoints are not known here.
        (member.identity.msp_id(), member.endpoint.clone())
    });
    let mut seen = BTreeSet::from([own_address.to_owned(), String::new()]);
    for (msp_id, address) in anchors.chain(told) {
        if !seen.insert(address.clone()) {
            continue;
        }
        let member = Member {
            msp_id: msp_id.to_owned(),
            address,
            is_local: false,
        };
        if msp_id == own_msp {
            own.push(member);
        } else {
            others.push(member);
        }
    }
    others.shuffle(&mut rand::rng());
    own.append(&mut others);
    own
}

/// Asks members to endorse.
pub(crate) struct Endorsers {
    peer: Arc<Peer>,
    channels: ChannelPool,
    timeout: Duration,
}

impl Endorsers {
    pub(crate) fn new(peer: Arc<Peer>, timeout: Duration) -> Self {
        let channels = ChannelPool::new(peer.client_tls().cloned());
        Self {
            peer,
            channels,
            timeout,
        }
    }

    /// One member's judged answer.
    pub(crate) async fn ask(
        &self,
        member: &Member,
        proposal: &protos::SignedProposal,
    ) -> Result<protos::ProposalResponse, Refusal> {
        let answered = tokio::time::timeout(self.timeout, self.process(member, proposal.clone()));
        match answered.await {
            Ok(answer) => answer.and_then(answer::judge),
            Err(_) => Err(Refusal::unavailable(
                "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            )),
        }
    }

    async fn process(
        &self,
        member: &Member,
        proposal: protos::SignedProposal,
    ) -> Result<protos::ProposalResponse, Refusal> {
        if member.is_local {
            return self
                .peer
                .process_proposal(proposal)
                .await
                .map_err(answer::local_refusal);
        }
        EndorserClient::new(self.channels.get(&member.address))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
            .process_proposal(proposal)
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| answer::remote_refusal(&status))
    }
}
