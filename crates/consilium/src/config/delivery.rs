//! `peer.deliveryclient` of `core.yaml`: how the peer comes to its blocks.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use consilium_peer::{OrdererOverride, ReconnectBackoff};
use consilium_transport::{ClientTls, TlsIdentity};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{duration, read_named};

/// `peer.deliveryclient`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DeliveryClient {
    /// Longest pause between attempts to reach an orderer.
    #[serde(rename = "reConnectBackoffThreshold", deserialize_with = "duration")]
    pub reconnect_backoff_threshold: Duration,
    /// Pause after the first failure.
    #[serde(deserialize_with = "duration")]
    pub minimal_reconnect_interval: Duration,
    /// How long connecting may take.
    #[serde(deserialize_with = "duration")]
    pub conn_timeout: Duration,
    /// Where to dial instead of addresses in channel configurations.
    #[serde(deserialize_with = "overrides")]
    pub address_overrides: Vec<AddressOverride>,
    /// After which time without orderers an elected leader lets another peer lead.
    #[serde(deserialize_with = "duration")]
    pub reconnect_total_time_threshold: Duration,
    /// Whether blocks from orderers are told to peers of the own organization; as in Fabric they are
    /// unless the file says otherwise, as its sample does.
    pub block_gossip_enabled: bool,
    /// Of BFT orderers.
    #[serde(rename = "blockCensorshipTimeoutKey")]
    _block_censorship_timeout: Option<IgnoredAny>,
    /// Of BFT orderers.
    #[serde(rename = "policy")]
    _policy: Option<IgnoredAny>,
}

impl Default for DeliveryClient {
    fn default() -> Self {
        let backoff = ReconnectBackoff::default();
        Self {
            reconnect_backoff_threshold: backoff.limit,
            minimal_reconnect_interval: backoff.first,
            conn_timeout: Duration::from_secs(3),
            address_overrides: Vec::new(),
            reconnect_total_time_threshold: Duration::from_secs(3600),
            block_gossip_enabled: true,
            _block_censorship_timeout: None,
            _policy: None,
        }
    }
}

/// An entry of `addressOverrides`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AddressOverride {
    /// `host:port` in the channel's configuration.
    pub from: String,
    /// `host:port` to dial.
    pub to: String,
    /// Whom to trust there; otherwise whom the peer trusts anyway.
    #[serde(default)]
    pub ca_certs_file: Option<PathBuf>,
}

impl DeliveryClient {
    /// The pauses between attempts.
    pub fn backoff(&self) -> ReconnectBackoff {
        ReconnectBackoff {
            // Zero would be no pause at all.
            first: self
                .minimal_reconnect_interval
                .max(Duration::from_millis(10)),
            limit: self
                .reconnect_backoff_threshold
                .max(self.minimal_reconnect_interval),
            ..ReconnectBackoff::default()
        }
    }

    /// The overrides with their certificates, which `file` names.
    ///
    /// # Errors
    /// A certificate file that cannot be read or used.
    pub fn overrides(
        &self,
        file: &Path,
        identity: &TlsIdentity,
    ) -> anyhow::Result<BTreeMap<String, OrdererOverride>> {
        const KEY: &str = "peer.deliveryclient.addressOverrides.caCertsFile";
        let read = |entry: &AddressOverride| -> anyhow::Result<(String, OrdererOverride)> {
            let tls = match &entry.ca_certs_file {
                None => None,
                Some(roots) => {
                    let roots = read_named(file, KEY, roots)?.into();
                    let tls = ClientTls::new(Some(identity.clone()), &[roots])
                        .with_context(|| format!("{}: {KEY}", file.display()))?;
                    Some(tls)
                }
            };
            let address = entry.to.clone();
            Ok((entry.from.clone(), OrdererOverride { address, tls }))
        };
        self.address_overrides.iter().map(read).collect()
    }
}

/// A list; a key without value, as in Fabric's sample, is an empty one.
fn overrides<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AddressOverride>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_fabrics_sample_are_read() {
        let sample = "
blockGossipEnabled: false
reconnectTotalTimeThreshold: 3600s
connTimeout: 4s
reConnectBackoffThreshold: 30s
blockCensorshipTimeoutKey: 30s
minimalReconnectInterval: 200ms
addressOverrides:
  # - from:
policy: cluster
";
        let client: DeliveryClient = serde_saphyr::from_str(sample).unwrap();
        assert_eq!(client.conn_timeout, Duration::from_secs(4));
        assert!(client.address_overrides.is_empty() && !client.block_gossip_enabled);
        let backoff = client.backoff();
        assert_eq!(backoff.first, Duration::from_millis(200));
        assert_eq!(backoff.limit, Duration::from_secs(30));
        let both = "addressOverrides: [{from: 'a:1', to: 'b:2'}, {from: 'c:3', to: 'd:4', caCertsFile: ca.pem}]";
        let client: DeliveryClient = serde_saphyr::from_str(both).unwrap();
        let roots = client.address_overrides[1].ca_certs_file.as_deref();
        assert_eq!(roots, Some(Path::new("ca.pem")));
        assert_eq!(client.address_overrides[0].to, "b:2");
        for bad in ["addressOverrides: [{from: 'a:1'}]", "connTimeouts: 1s"] {
            assert!(
                serde_saphyr::from_str::<DeliveryClient>(bad).is_err(),
                "{bad}"
            );
        }
    }
}
