//! The peers of a channel that this gateway knows: its own, those that gossip tells of, and the anchor
//! peers that the channel's configuration names. Asking one of them to endorse.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use consilium_discovery::Held;
use consilium_msp::Identity;
use consilium_peer::Peer;
use consilium_proto::{
    common::{msp_principal::Classification, msp_role::MspRoleType},
    protos::{self, endorser_client::EndorserClient},
};
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
    // By organization too: gossip's endpoints are what a peer says of itself, and nobody shall hide another
    // organization's peer by claiming its address.
    let mut seen = BTreeSet::new();
    for (msp_id, address) in anchors.chain(told) {
        let is_nowhere = address.is_empty() || address == own_address;
        if is_nowhere || !seen.insert((msp_id, address.clone())) {
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

/// Whether a member holds a principal, as far as it can be told of peers whose certificates we do not
/// have; `own` is the certificate of the local peer.
pub(crate) fn holds(
    member: &Member,
    held: &Held,
    own: Option<&Identity>,
    config: &ChannelConfig,
) -> bool {
    let is_of_organization = held.msp_id() == member.msp_id;
    if let Some(role) = held.role() {
        let roles = [MspRoleType::Peer, MspRoleType::Member];
        return is_of_organization && roles.iter().any(|&held| held as i32 == role);
    }
    let principal = held.principal();
    match own.filter(|_| member.is_local) {
        Some(own) => config.msps().satisfies(own, principal).is_ok(),
        // An organizational unit of another peer's certificate is unknown here: asking costs nothing,
        // and validation decides.
        None => {
            principal.principal_classification == Classification::OrganizationUnit as i32
                && is_of_organization
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_msp::Signer as _;
    use consilium_testkit::{NodeOu, Organization, network};

    const OWN: &str = "peer0.org1.example.com:7051";

    #[test]
    fn nobody_hides_a_peer_of_another_organization_by_claiming_its_address() {
        let organizations = [1, 2, 3]
            .map(|n| Organization::new(&format!("Org{n}MSP"), &format!("org{n}.example.com")));
        let [org1, org2, org3] = &organizations;
        let config = network::config("mychannel", &[org1, org2, org3]);
        let tells = |organization: &Organization, endpoint: &str| {
            let signer = organization.signer("peer", NodeOu::Peer);
            let identity = organization.msp().deserialize(signer.serialized());
            consilium_gossip::Member {
                pki_id: bytes::Bytes::new(),
                identity: Arc::new(identity.unwrap()),
                endpoint: endpoint.to_owned(),
                external_endpoint: endpoint.to_owned(),
                height: 1,
                chaincodes: Vec::new(),
            }
        };
        let told = [
            tells(org3, "peer0.org2.example.com:7051"),
            tells(org2, "peer0.org2.example.com:7051"),
            tells(org2, "peer0.org2.example.com:7051"),
            tells(org3, OWN),
            tells(org2, ""),
            tells(org1, "peer1.org1.example.com:7051"),
        ];
        let members = members(&config, &told, "Org1MSP", OWN);
        let listed = |members: &[Member]| {
            let listed = members.iter();
            let mut listed: Vec<_> = listed
                .map(|member| {
                    (
                        member.msp_id.clone(),
                        member.address.clone(),
                        member.is_local,
                    )
                })
                .collect();
            listed.sort();
            listed
        };
        let expected = |msp_id: &str, address: &str, is_local| {
            (msp_id.to_owned(), address.to_owned(), is_local)
        };
        assert_eq!(
            listed(&members),
            [
                expected("Org1MSP", OWN, true),
                expected("Org1MSP", "peer1.org1.example.com:7051", false),
                expected("Org2MSP", "peer0.org2.example.com:7051", false),
                expected("Org3MSP", "peer0.org2.example.com:7051", false),
            ]
        );
        assert!(members[0].is_local);
        assert_eq!(members[1].msp_id, "Org1MSP", "the own organization first");
    }
}
