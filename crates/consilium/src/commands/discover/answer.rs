//! Answers of the discovery service as Fabric's `discover` prints them.
//!
//! fabric: discovery/cmd/peers.go, endorsers.go, config.go; discovery/client/client.go

use std::collections::BTreeMap;

use anyhow::Context;
use consilium_proto::{
    discovery::{Peer, PeerMembershipResult, query_result},
    gossip::{
        AliveMessage, Envelope, GossipMessage, Properties, StateInfo, gossip_message::Content,
    },
    msp::SerializedIdentity,
};
use prost::Message;
use serde::Serialize;

use crate::commands::golang;

/// The configuration of a channel: MSPs and orderers.
///
/// # Errors
/// What the server answered instead.
pub fn config(result: query_result::Result) -> anyhow::Result<String> {
    match result {
        query_result::Result::ConfigResult(config) => {
            golang::json_indented("discovery.ConfigResult", &config.encode_to_vec())
        }
        query_result::Result::Error(error) => anyhow::bail!("{}", error.content),
        _ => anyhow::bail!("expected QueryResult of either ConfigResult or Error"),
    }
}

/// A peer of a channel.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChannelPeer {
    /// MSP id of its organization.
    #[serde(rename = "MSPID")]
    pub msp_id: String,
    /// Blocks that it has.
    pub ledger_height: u64,
    /// `host:port`
    pub endpoint: String,
    identity: String,
    /// Chaincodes that it runs.
    pub chaincodes: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LocalPeer {
    #[serde(rename = "MSPID")]
    msp_id: String,
    endpoint: String,
    identity: String,
}

/// Peers; `with_state` those of a channel.
///
/// # Errors
/// What the server answered instead.
pub fn peers(result: query_result::Result, with_state: bool) -> anyhow::Result<String> {
    if with_state {
        return golang::indented(&some(channel_peers(result)?));
    }
    let peers = of_organization(members(result)?).context(CONSTRUCTING)?;
    golang::indented(&some(peers))
}

/// Peers of a channel.
///
/// # Errors
/// What the server answered instead.
pub fn channel_peers(result: query_result::Result) -> anyhow::Result<Vec<ChannelPeer>> {
    of_channel(members(result)?).context(CONSTRUCTING)
}

const CONSTRUCTING: &str = "failed constructing peer membership out of response";

fn members(result: query_result::Result) -> anyhow::Result<PeerMembershipResult> {
    match result {
        query_result::Result::Members(members) => Ok(members),
        query_result::Result::Error(error) => anyhow::bail!("{}", error.content),
        _ => anyhow::bail!("expected QueryResult of either PeerMembershipResult or Error"),
    }
}

fn of_channel(members: PeerMembershipResult) -> anyhow::Result<Vec<ChannelPeer>> {
    let mut peers = Vec::new();
    for (msp_id, of_org) in members.peers_by_org {
        for peer in of_org.peers {
            let alive = alive(peer.membership_info.as_ref()).context("alive message")?;
            let state = state(peer.state_info.as_ref()).context("stateInfo message")?;
            let properties = state.properties.unwrap_or_default();
            let names = properties.chaincodes.into_iter().map(|one| one.name);
            peers.push(ChannelPeer {
                msp_id: msp_id.clone(),
                ledger_height: properties.ledger_height,
                endpoint: endpoint(alive),
                identity: certificate(&peer),
                chaincodes: some(names.collect()),
            });
        }
    }
    Ok(peers)
}

fn of_organization(members: PeerMembershipResult) -> anyhow::Result<Vec<LocalPeer>> {
    let mut peers = Vec::new();
    for (msp_id, of_org) in members.peers_by_org {
        for peer in of_org.peers {
            let alive = alive(peer.membership_info.as_ref()).context("alive message")?;
            peers.push(LocalPeer {
                msp_id: msp_id.clone(),
                endpoint: endpoint(alive),
                identity: certificate(&peer),
            });
        }
    }
    Ok(peers)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Descriptor {
    chaincode: String,
    endorsers_by_groups: BTreeMap<String, Vec<Endorser>>,
    layouts: Option<Vec<Layout>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endorser {
    #[serde(rename = "MSPID")]
    msp_id: String,
    ledger_height: u64,
    endpoint: String,
    identity: String,
}

#[derive(Serialize)]
struct Layout {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    quantities_by_group: BTreeMap<String, u32>,
}

/// Who has to endorse.
///
/// # Errors
/// What the server answered instead.
pub fn endorsers(result: query_result::Result) -> anyhow::Result<String> {
    let found = match result {
        query_result::Result::CcQueryRes(found) => found,
        query_result::Result::Error(error) => anyhow::bail!("server returned: {}", error.content),
        _ => anyhow::bail!("server returned response of unexpected type"),
    };
    let descriptors = found.content.into_iter().map(|descriptor| {
        let groups = descriptor.endorsers_by_groups.into_iter();
        let groups = groups.filter(|(_, peers)| !peers.peers.is_empty());
        let groups = groups.map(|(group, peers)| {
            let peers = peers.peers.iter().map(endorser);
            (group, peers.collect())
        });
        let layouts = descriptor.layouts.into_iter().map(|layout| Layout {
            quantities_by_group: layout.quantities_by_group,
        });
        Descriptor {
            chaincode: descriptor.chaincode,
            endorsers_by_groups: groups.collect(),
            layouts: some(layouts.collect()),
        }
    });
    golang::indented(&some(descriptors.collect::<Vec<_>>()))
}

/// What cannot be read of an endorser is left empty.
fn endorser(peer: &Peer) -> Endorser {
    let alive = alive(peer.membership_info.as_ref()).ok();
    let state = state(peer.state_info.as_ref()).ok();
    let properties = state.and_then(|state| state.properties);
    let properties: Properties = properties.unwrap_or_default();
    let identity = SerializedIdentity::decode(peer.identity.clone()).unwrap_or_default();
    Endorser {
        msp_id: identity.mspid,
        ledger_height: properties.ledger_height,
        endpoint: alive.map(endpoint).unwrap_or_default(),
        identity: String::from_utf8_lossy(&identity.id_bytes).into_owned(),
    }
}

/// Go prints a list that nothing was added to as `null`.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn content(envelope: Option<&Envelope>) -> anyhow::Result<Content> {
    let envelope = envelope.context("nil envelope")?;
    let message = GossipMessage::decode(envelope.payload.clone())?;
    message.content.context("a message without content")
}

fn alive(envelope: Option<&Envelope>) -> anyhow::Result<AliveMessage> {
    match content(envelope)? {
        Content::AliveMsg(alive) => Ok(alive),
        _ => anyhow::bail!("message isn't an alive message"),
    }
}

fn state(envelope: Option<&Envelope>) -> anyhow::Result<StateInfo> {
    match content(envelope)? {
        Content::StateInfo(state) => Ok(state),
        _ => anyhow::bail!("message isn't a stateInfo message"),
    }
}

fn endpoint(alive: AliveMessage) -> String {
    alive.membership.unwrap_or_default().endpoint
}

fn certificate(peer: &Peer) -> String {
    let identity = SerializedIdentity::decode(peer.identity.clone()).unwrap_or_default();
    String::from_utf8_lossy(&identity.id_bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use consilium_proto::{
        discovery::{ChaincodeQueryResult, EndorsementDescriptor, Error, Peers},
        gossip::{Chaincode, Member},
    };

    use super::*;

    fn envelope(content: Content) -> Option<Envelope> {
        let message = GossipMessage {
            content: Some(content),
            ..GossipMessage::default()
        };
        Some(Envelope {
            payload: message.encode_to_vec().into(),
            ..Envelope::default()
        })
    }

    fn peer(chaincodes: &[&str]) -> Peer {
        let alive = AliveMessage {
            membership: Some(Member {
                endpoint: "peer0:7051".into(),
                ..Member::default()
            }),
            ..AliveMessage::default()
        };
        let chaincodes = chaincodes.iter().map(|name| Chaincode {
            name: (*name).to_owned(),
            ..Chaincode::default()
        });
        let state = StateInfo {
            properties: Some(Properties {
                ledger_height: 7,
                chaincodes: chaincodes.collect(),
                ..Properties::default()
            }),
            ..StateInfo::default()
        };
        let identity = SerializedIdentity {
            mspid: "A".into(),
            id_bytes: "PEM\n".into(),
        };
        Peer {
            state_info: envelope(Content::StateInfo(state)),
            membership_info: envelope(Content::AliveMsg(alive)),
            identity: identity.encode_to_vec().into(),
        }
    }

    fn members(peers: Vec<Peer>) -> query_result::Result {
        query_result::Result::Members(PeerMembershipResult {
            peers_by_org: [("A".to_owned(), Peers { peers })].into(),
        })
    }

    #[test]
    fn peers_are_printed_as_fabrics_tool_does() {
        assert_eq!(
            peers(members(vec![peer(&["kv"])]), true).unwrap(),
            "[\n\t{\n\t\t\"MSPID\": \"A\",\n\t\t\"LedgerHeight\": 7,\n\t\t\"Endpoint\": \"peer0:7051\",\n\t\t\"Identity\": \"PEM\\n\",\n\t\t\"Chaincodes\": [\n\t\t\t\"kv\"\n\t\t]\n\t}\n]"
        );
        let none = peers(members(vec![peer(&[])]), true).unwrap();
        assert!(none.contains("\"Chaincodes\": null"), "{none}");
        let local = peers(members(vec![peer(&["kv"])]), false).unwrap();
        assert!(!local.contains("LedgerHeight"), "{local}");
        assert_eq!(peers(members(Vec::new()), true).unwrap(), "null");
        let error = query_result::Result::Error(Error {
            content: "access denied".into(),
        });
        assert_eq!(peers(error, true).unwrap_err().to_string(), "access denied");
    }

    #[test]
    fn a_peer_that_cannot_be_read_is_an_error() {
        let unreadable = Peer {
            state_info: None,
            ..peer(&[])
        };
        let error = peers(members(vec![unreadable]), true).unwrap_err();
        assert!(format!("{error:#}").starts_with("failed constructing peer membership"));
    }

    #[test]
    fn endorsers_are_printed_by_groups_with_layouts() {
        let found = query_result::Result::CcQueryRes(ChaincodeQueryResult {
            content: vec![EndorsementDescriptor {
                chaincode: "kv".into(),
                endorsers_by_groups: [(
                    "G0".to_owned(),
                    Peers {
                        peers: vec![peer(&[])],
                    },
                )]
                .into(),
                layouts: vec![consilium_proto::discovery::Layout {
                    quantities_by_group: [("G0".to_owned(), 1)].into(),
                }],
            }],
        });
        let printed = endorsers(found).unwrap();
        for part in [
            "\"Chaincode\": \"kv\"",
            "\"EndorsersByGroups\": {\n\t\t\t\"G0\": [",
            "\"LedgerHeight\": 7",
            "\"Layouts\": [\n\t\t\t{\n\t\t\t\t\"quantities_by_group\": {\n\t\t\t\t\t\"G0\": 1",
        ] {
            assert!(printed.contains(part), "{part} is not in {printed}");
        }
    }
}
