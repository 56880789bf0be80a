//! Connection profiles, as far as `--connectionProfile` takes them: which peers a channel has, where
//! they listen, and whose certificates they have. fabric: internal/peer/common/networkconfig.go

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use serde::Deserialize;

use crate::commands::golang;

/// What a profile says of peers; the rest is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Profile {
    channels: BTreeMap<String, Channel>,
    peers: BTreeMap<String, Peer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Channel {
    peers: BTreeMap<String, PeerOfChannel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PeerOfChannel {
    #[serde(rename = "endorsingPeer")]
    endorses: bool,
}

/// Where a peer is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Peer {
    /// `host:port`
    pub url: String,
    #[serde(rename = "tlsCACerts")]
    roots: Roots,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Roots {
    path: String,
}

impl Peer {
    /// The file with the roots of its TLS certificate.
    pub fn roots(&self) -> &str {
        &self.roots.path
    }
}

impl Profile {
    /// Reads a profile, YAML or JSON.
    ///
    /// # Errors
    /// It cannot be read, or is no profile.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = golang::read_file(file).context("error reading connection profile")?;
        let text = String::from_utf8_lossy(&text);
        serde_saphyr::from_str(&text).context("error unmarshalling YAML")
    }

    /// Names of the endorsing peers of a channel; `None` where the profile names no peers of it.
    pub fn endorsing(&self, channel: &str) -> Option<Vec<&str>> {
        let peers = &self.channels.get(channel)?.peers;
        if peers.is_empty() {
            return None;
        }
        let endorsing = peers.iter().filter(|(_, peer)| peer.endorses);
        Some(endorsing.map(|(name, _)| name.as_str()).collect())
    }

    /// The peer of that name.
    pub fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_names_the_endorsing_peers_of_a_channel() {
        let profile: Profile = serde_saphyr::from_str(
            "
name: ours
client: {organization: Org1}
channels:
  health:
    orderers: [orderer0]
    peers:
      peer0: {endorsingPeer: true, eventSource: true}
      peer1: {endorsingPeer: false}
  empty: {}
peers:
  peer0:
    url: localhost:7051
    grpcOptions: {ssl-target-name-override: peer0}
    tlsCACerts: {path: tls/ca.crt}
",
        )
        .unwrap();
        assert_eq!(profile.endorsing("health"), Some(vec!["peer0"]));
        assert_eq!(profile.endorsing("empty"), None);
        assert_eq!(profile.endorsing("nowhere"), None);
        let peer = profile.peer("peer0").unwrap();
        assert_eq!(
            (peer.url.as_str(), peer.roots()),
            ("localhost:7051", "tls/ca.crt")
        );
        assert!(profile.peer("peer1").is_none());
    }
}
