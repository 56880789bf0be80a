//! Answers that list peers by organization. Pure. `fabric: discovery/service.go` computeMembership

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use consilium_gossip::directory::{ChannelEntry, Entry};
use consilium_proto::discovery::{Peer, PeerMembershipResult, Peers};

/// A living peer that shows itself, as it stands in answers.
pub(crate) fn peer(entry: &Entry, told: Option<&ChannelEntry>) -> Option<Peer> {
    Some(Peer {
        state_info: told.map(|told| told.state_info.clone()),
        membership_info: Some(entry.alive.clone()?),
        identity: entry.identity.clone(),
    })
}

/// All living peers, by organization; organizations whose peers are gone have none.
pub(crate) fn everybody(directory: &[Entry]) -> PeerMembershipResult {
    by_organization(directory.iter().map(|entry| (entry, peer(entry, None))))
}

/// The living peers of a channel among `organizations`, with what they say of it.
pub(crate) fn of_channel(
    directory: &[Entry],
    told: &[ChannelEntry],
    organizations: &[&str],
) -> PeerMembershipResult {
    let told = by_id(told);
    let listed = directory
        .iter()
        .filter(|entry| organizations.contains(&entry.msp_id.as_str()));
    by_organization(listed.map(|entry| {
        let told = told.get(&entry.pki_id);
        (entry, told.and_then(|told| peer(entry, Some(*told))))
    }))
}

pub(crate) fn by_id(told: &[ChannelEntry]) -> HashMap<&Bytes, &ChannelEntry> {
    told.iter().map(|told| (&told.pki_id, told)).collect()
}

fn by_organization<'a>(
    peers: impl Iterator<Item = (&'a Entry, Option<Peer>)>,
) -> PeerMembershipResult {
    let mut peers_by_org: BTreeMap<String, Peers> = BTreeMap::new();
    for (entry, peer) in peers {
        let organization = peers_by_org.entry(entry.msp_id.clone()).or_default();
        organization.peers.extend(peer);
    }
    PeerMembershipResult { peers_by_org }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_proto::gossip::{Envelope, Properties};

    fn envelope(text: &'static str) -> Envelope {
        Envelope {
            payload: Bytes::from_static(text.as_bytes()),
            ..Default::default()
        }
    }

    fn entry(id: &'static str, msp_id: &str, lives: bool) -> Entry {
        Entry {
            pki_id: Bytes::from_static(id.as_bytes()),
            msp_id: msp_id.to_owned(),
            identity: Bytes::from_static(id.as_bytes()),
            alive: lives.then(|| envelope("alive")),
        }
    }

    fn told(id: &'static str) -> ChannelEntry {
        ChannelEntry {
            pki_id: Bytes::from_static(id.as_bytes()),
            state_info: envelope("height"),
            properties: Properties::default(),
        }
    }

    fn shown(result: &PeerMembershipResult) -> Vec<String> {
        let organizations = result.peers_by_org.iter().map(|(msp_id, peers)| {
            let peers = peers.peers.iter().map(|peer| {
                assert_eq!(peer.membership_info, Some(envelope("alive")));
                let height = if peer.state_info.is_some() { "*" } else { "" };
                format!(" {}{height}", String::from_utf8_lossy(&peer.identity))
            });
            format!("{msp_id}:{}", peers.collect::<String>())
        });
        organizations.collect()
    }

    #[test]
    fn peers_are_listed_that_live_and_show_themselves() {
        let directory = [
            entry("a", "One", true),
            entry("b", "Two", true),
            entry("c", "One", false),
            entry("d", "Three", false),
            entry("e", "Four", true),
        ];
        assert_eq!(
            shown(&everybody(&directory)),
            ["Four: e", "One: a", "Three:", "Two: b"]
        );
        let told = [told("a"), told("c"), told("e"), told("unknown")];
        assert_eq!(
            shown(&of_channel(&directory, &told, &["One", "Two", "Three"])),
            ["One: a*", "Three:", "Two:"]
        );
    }
}
