//! The peers of a channel that this gateway knows: its own, those that gossip tells of, and the anchor
//! peers that the channel's configuration names. Asking one of them to endorse.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use consilium_discovery::Held;
use consilium_msp::Identity;
use consilium_peer::Peer;
use consilium_proto::{
    common::{msp_principal::Classification, msp_role::MspRoleType},
    protos::{self, endorser_client::EndorserClient},
};
use consilium_protocol::config::ChannelConfig;
use consilium_transport::{ChannelPool, MAX_MESSAGE};
use moka::sync::Cache;
use rand::seq::SliceRandom;
use tonic::Code;

use crate::{
    answer::{self, Refusal},
    choice::{self, Standing},
};

/// Peers whose latency is remembered, and for how long after the last answer: who was slow or gone is tried
/// again then.
const LATENCIES: u64 = 4096;
const REMEMBERED: Duration = Duration::from_secs(60);

/// A peer that may endorse.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) msp_id: String,
    /// `host:port`.
    pub(crate) address: String,
    /// The peer that this gateway runs in.
    pub(crate) is_local: bool,
    /// As the channel reads it; there is none of peers that only the configuration names.
    identity: Option<Arc<Identity>>,
    /// Of the ledger, if it has told.
    height: Option<u64>,
    /// Chaincodes that it has told to run, and as which version.
    chaincodes: Vec<(String, String)>,
}

/// The peer that a gateway runs in.
pub(crate) struct Own<'a> {
    pub(crate) msp_id: &'a str,
    pub(crate) address: &'a str,
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) height: u64,
}

impl Member {
    /// Whether it has told to run chaincodes in these versions. The own peer is only among the members of
    /// what it runs.
    fn runs(&self, wanted: &[(String, String)]) -> bool {
        self.is_local || wanted.iter().all(|one| self.chaincodes.contains(one))
    }
}

/// The order in which to ask members that shall run these chaincodes, each in its version.
pub(crate) fn order(
    members: &[Member],
    wanted: &[(String, String)],
    own_msp: &str,
    latency: impl Fn(&str) -> Option<Duration>,
) -> Vec<usize> {
    let standings: Vec<Standing> = members
        .iter()
        .map(|member| Standing {
            is_local: member.is_local,
            is_own: member.msp_id == own_msp,
            height: member.height,
            is_ready: member.runs(wanted),
            latency: latency(&member.address),
        })
        .collect();
    choice::order(&standings)
}

/// Members of a channel: the own peer, then the rest in random order (so that load spreads among those
/// that are equal). `told` are peers that gossip tells of.
pub(crate) fn members(
    config: &ChannelConfig,
    told: &[consilium_gossip::Member],
    own: Own,
) -> Vec<Member> {
    let mut others = Vec::new();
    let anchors = config.application_orgs().iter().flat_map(|organization| {
        let addresses = organization.anchor_peers.iter();
        addresses.map(|(host, port)| Member {
            msp_id: organization.msp_id.clone(),
            address: format!("{host}:{port}"),
            is_local: false,
            identity: None,
            height: None,
            chaincodes: Vec::new(),
        })
    });
    let told = told.iter().map(|member| {
        let told = member.chaincodes.iter();
        Member {
            msp_id: member.identity.msp_id().to_owned(),
            // Other organizations' internal endpoints are not known here.
            address: member.endpoint.clone(),
            is_local: false,
            identity: Some(member.identity.clone()),
            height: Some(member.height),
            chaincodes: told
                .map(|cc| (cc.name.clone(), cc.version.clone()))
                .collect(),
        }
    });
    // By organization too: gossip's endpoints are what a peer says of itself, and nobody shall hide another
    // organization's peer by claiming its address.
    let mut seen = BTreeSet::new();
    for member in told.chain(anchors) {
        let is_nowhere = member.address.is_empty() || member.address == own.address;
        if is_nowhere || !seen.insert((member.msp_id.clone(), member.address.clone())) {
            continue;
        }
        others.push(member);
    }
    others.shuffle(&mut rand::rng());
    let local = Member {
        msp_id: own.msp_id.to_owned(),
        address: own.address.to_owned(),
        is_local: true,
        identity: own.identity,
        height: Some(own.height),
        chaincodes: Vec::new(),
    };
    std::iter::once(local).chain(others).collect()
}

/// Whether a member holds a principal, as far as it can be told of peers whose certificates we do not
/// have.
pub(crate) fn holds(member: &Member, held: &Held, config: &ChannelConfig) -> bool {
    let principal = held.principal();
    if let Some(identity) = &member.identity {
        return config.msps().satisfies(identity, principal).is_ok();
    }
    let is_of_organization = held.msp_id() == member.msp_id;
    match held.role() {
        Some(role) => {
            let roles = [MspRoleType::Peer, MspRoleType::Member];
            is_of_organization && roles.iter().any(|&held| held as i32 == role)
        }
        // An organizational unit of another peer's certificate is unknown here: asking costs nothing,
        // and validation decides.
        None => {
            principal.principal_classification == Classification::OrganizationUnit as i32
                && is_of_organization
        }
    }
}

fn latencies(remembered: Duration) -> Cache<String, Duration> {
    Cache::builder()
        .max_capacity(LATENCIES)
        .time_to_live(remembered)
        .build()
}

/// Asks members to endorse.
pub(crate) struct Endorsers {
    peer: Arc<Peer>,
    channels: ChannelPool,
    timeout: Duration,
    /// By address, of answers of late.
    latencies: Cache<String, Duration>,
}

impl Endorsers {
    pub(crate) fn new(peer: Arc<Peer>, timeout: Duration) -> Self {
        let channels = ChannelPool::new(peer.client_tls().cloned());
        Self {
            peer,
            channels,
            timeout,
            latencies: latencies(REMEMBERED),
        }
    }

    /// How long a peer's last answers took.
    pub(crate) fn latency(&self, address: &str) -> Option<Duration> {
        self.latencies.get(address)
    }

    /// One member's judged answer.
    pub(crate) async fn ask(
        &self,
        member: &Member,
        proposal: &protos::SignedProposal,
    ) -> Result<protos::ProposalResponse, Refusal> {
        let started = Instant::now();
        let answering = tokio::time::timeout(self.timeout, self.process(member, proposal.clone()));
        let answered = answering.await;
        let latest = match &answered {
            // It may be gone: others come first until it has answered again.
            Ok(Err(refusal)) if refusal.code == Code::Unavailable => self.timeout,
            _ => started.elapsed(),
        };
        let latency = choice::smoothed(self.latency(&member.address), latest);
        self.latencies.insert(member.address.clone(), latency);
        match answered {
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
    use consilium_proto::common::{MspPrincipal, MspRole};
    use consilium_testkit::{NodeOu, Organization, network};
    use prost::Message as _;

    const OWN: &str = "peer0.org1.example.com:7051";

    fn own(identity: Option<Arc<Identity>>, height: u64) -> Own<'static> {
        Own {
            msp_id: "Org1MSP",
            address: OWN,
            identity,
            height,
        }
    }

    fn member(organization: &Organization, endpoint: &str) -> consilium_gossip::Member {
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
    }

    #[test]
    fn nobody_hides_a_peer_of_another_organization_by_claiming_its_address() {
        let organizations = [1, 2, 3]
            .map(|n| Organization::new(&format!("Org{n}MSP"), &format!("org{n}.example.com")));
        let [org1, org2, org3] = &organizations;
        let config = network::config("mychannel", &[org1, org2, org3]);
        let tells = member;
        let told = [
            tells(org3, "peer0.org2.example.com:7051"),
            tells(org2, "peer0.org2.example.com:7051"),
            tells(org2, "peer0.org2.example.com:7051"),
            tells(org3, OWN),
            tells(org2, ""),
            tells(org1, "peer1.org1.example.com:7051"),
        ];
        let members = members(&config, &told, own(None, 1));
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
        let order = order(&members, &[], "Org1MSP", |_| None);
        assert_eq!(
            members[order[1]].msp_id, "Org1MSP",
            "the own organization first"
        );
    }

    #[test]
    fn who_was_gone_is_as_good_as_others_after_a_while() {
        let latencies = latencies(Duration::from_millis(1));
        let peer = "peer1:7051".to_owned();
        latencies.insert(peer.clone(), Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(latencies.get(&peer), None);
        let (long, day) = (super::latencies(REMEMBERED), Duration::from_secs(24 * 3600));
        long.insert(peer.clone(), day);
        assert_eq!(long.get(&peer), Some(day));
    }

    #[test]
    fn who_runs_the_chaincodes_in_their_versions_comes_first() {
        let organizations = [1, 2].map(|n| Organization::new(&format!("Org{n}MSP"), "example.com"));
        let [org1, org2] = &organizations;
        let config = network::config("mychannel", &[org1, org2]);
        let tells = |number: u64, height, chaincodes: &[(&str, &str)]| consilium_gossip::Member {
            height,
            chaincodes: chaincodes
                .iter()
                .map(|&(name, version)| consilium_proto::gossip::Chaincode {
                    name: name.to_owned(),
                    version: version.to_owned(),
                    ..Default::default()
                })
                .collect(),
            ..member(org2, &format!("peer{number}:7051"))
        };
        let told = [
            tells(0, 9, &[("a", "1")]),
            tells(1, 9, &[("a", "2"), ("b", "1")]),
            tells(2, 7, &[("a", "2")]),
            tells(3, 8, &[("a", "2")]),
        ];
        let members = members(&config, &told, own(None, 9));
        for (wanted, expected) in [
            (&[("a", "2")][..], &["peer1", "peer3", "peer2", "peer0"][..]),
            (&[("a", "1")], &["peer0", "peer1", "peer3", "peer2"]),
            (
                &[("a", "2"), ("b", "1")],
                &["peer1", "peer0", "peer3", "peer2"],
            ),
        ] {
            let owned = |&(name, version): &(&str, &str)| (name.to_owned(), version.to_owned());
            let wanted: Vec<_> = wanted.iter().map(owned).collect();
            // Of equal ones the first is the quickest.
            let latency = |address: &str| Some(Duration::from_millis(1 + address.len() as u64));
            let order = order(&members, &wanted, "Org1MSP", latency);
            let asked: Vec<_> = order[1..]
                .iter()
                .map(|&at| &members[at].address[..5])
                .collect();
            assert_eq!(asked, expected, "{wanted:?}");
        }
    }

    #[test]
    fn a_peer_of_which_gossip_tells_is_known_by_its_certificate() {
        let organizations = [1, 2].map(|n| Organization::new(&format!("Org{n}MSP"), "example.com"));
        let [org1, org2] = &organizations;
        let config = network::config("mychannel", &[org1, org2]);
        let role = |role: MspRoleType| {
            let role = MspRole {
                msp_identifier: "Org2MSP".to_owned(),
                role: role as i32,
            };
            Held::of(MspPrincipal {
                principal_classification: Classification::Role as i32,
                principal: role.encode_to_vec().into(),
            })
        };
        let (clients, peers) = (role(MspRoleType::Client), role(MspRoleType::Peer));
        let told = [member(org2, "peer0:7051")];
        let members = members(&config, &told, own(None, 1));
        assert!(holds(&members[1], &peers, &config));
        assert!(!holds(&members[1], &clients, &config));
        assert!(!holds(&members[0], &peers, &config));
    }
}
