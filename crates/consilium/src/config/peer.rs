//! `core.yaml`.

use std::{path::PathBuf, time::Duration};

use consilium_discovery::{AuthCacheOptions, DiscoveryOptions};
use consilium_transport::GrpcLimits;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{
    Bccsp, Certificates, Connections, MetricsProvider, chaincode::Chaincode,
    delivery::DeliveryClient, duration, gossip::Gossip, ledger::Ledger,
};

/// The keys of `core.yaml` that are supported.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PeerConfig {
    /// Listener, identity, TLS, gateway.
    pub peer: Peer,
    /// Execution of chaincode.
    #[serde(default)]
    pub chaincode: Chaincode,
    /// What is stored.
    #[serde(default)]
    pub ledger: Ledger,
    /// Health and metrics.
    #[serde(default)]
    pub operations: Operations,
    /// Where metrics go.
    #[serde(default)]
    pub metrics: Metrics,
}

/// `peer`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Peer {
    /// Name in logs.
    pub id: String,
    /// Network name in logs.
    #[serde(default = "dev")]
    pub network_id: String,
    /// `host:port` to listen on.
    pub listen_address: String,
    /// `host:port` under which others reach this peer.
    pub address: String,
    /// `host:port` to listen on for chaincode; otherwise the host of `address` with port 7052.
    #[serde(default)]
    pub chaincode_listen_address: Option<String>,
    /// `host:port` under which launched chaincode reaches this peer; otherwise where it listens.
    #[serde(default)]
    pub chaincode_address: Option<String>,
    /// Local MSP folder.
    pub msp_config_path: PathBuf,
    /// Local MSP id.
    pub local_msp_id: String,
    /// Folder of the node's data.
    pub file_system_path: PathBuf,
    /// Server TLS.
    pub tls: Tls,
    /// Gateway service.
    #[serde(default)]
    pub gateway: Gateway,
    /// Discovery service.
    #[serde(default)]
    pub discovery: Discovery,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
    /// How connections are seen to.
    #[serde(default)]
    pub keepalive: Keepalive,
    /// How long a caller may take to begin; 0 is the usual time.
    #[serde(default, rename = "connectiontimeout", deserialize_with = "duration")]
    pub connection_timeout: Duration,
    /// The largest message that callers may send, in bytes.
    #[serde(default)]
    pub max_recv_msg_size: usize,
    /// Gossip with other peers.
    #[serde(default)]
    pub gossip: Gossip,
    /// Where blocks come from.
    #[serde(default)]
    pub deliveryclient: DeliveryClient,
    /// Where the signing key is.
    #[serde(default, rename = "BCCSP")]
    pub bccsp: Bccsp,
    /// The life of the own certificates.
    #[serde(default)]
    pub certificates: Certificates,
}

fn dev() -> String {
    "dev".into()
}

/// `peer.tls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tls {
    /// Must be true.
    pub enabled: bool,
    /// Whether clients must present a certificate.
    #[serde(default)]
    pub client_auth_required: bool,
    /// Server certificate.
    pub cert: File,
    /// Server key.
    pub key: File,
    /// Root of the own TLS certificates.
    pub rootcert: File,
    /// Whose clients to trust, besides the channels' organizations.
    #[serde(default, rename = "clientRootCAs")]
    pub client_root_cas: Files,
}

impl Tls {
    /// The files of roots of clients, which mean nothing where no client has to have a certificate.
    /// fabric: core/peer/config.go GetServerConfig
    pub fn client_roots(&self) -> &[PathBuf] {
        match self.client_auth_required {
            true => &self.client_root_cas.files,
            false => &[],
        }
    }
}

/// A file named by a key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Its path.
    pub file: PathBuf,
}

/// Files named by a key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// Their paths.
    pub files: Vec<PathBuf>,
}

/// `peer.gateway`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Gateway {
    /// Whether the service is offered.
    pub enabled: bool,
    /// Per endorser.
    #[serde(deserialize_with = "duration")]
    pub endorsement_timeout: Duration,
    /// Per orderer.
    #[serde(deserialize_with = "duration")]
    pub broadcast_timeout: Duration,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            enabled: true,
            endorsement_timeout: Duration::from_secs(10),
            broadcast_timeout: Duration::from_secs(10),
        }
    }
}

/// `peer.discovery`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Discovery {
    /// Whether the service is offered.
    pub enabled: bool,
    /// Whether verdicts on who may ask are remembered.
    pub auth_cache_enabled: bool,
    /// How many, of each channel.
    pub auth_cache_max_size: usize,
    /// The part that stays when there is no room, from 0 to 1.
    #[serde(deserialize_with = "ratio")]
    pub auth_cache_purge_retention_ratio: f64,
    /// Whether members may ask what names no channel, not just administrators.
    pub org_members_allowed_access: bool,
}

impl Default for Discovery {
    fn default() -> Self {
        let cache = AuthCacheOptions::default();
        Self {
            enabled: true,
            auth_cache_enabled: true,
            auth_cache_max_size: cache.max_size,
            auth_cache_purge_retention_ratio: cache.purge_retention_ratio,
            org_members_allowed_access: false,
        }
    }
}

impl Discovery {
    /// The settings of the service; a peer speaks TLS only.
    pub fn options(&self) -> DiscoveryOptions {
        let cache = AuthCacheOptions {
            max_size: self.auth_cache_max_size,
            purge_retention_ratio: self.auth_cache_purge_retention_ratio,
        };
        DiscoveryOptions {
            tls: true,
            auth_cache: self.auth_cache_enabled.then_some(cache),
            org_members_allowed: self.org_members_allowed_access,
        }
    }
}

pub(super) fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let ratio = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&ratio) {
        return Ok(ratio);
    }
    let expected = format!("`{ratio}` is not a proportion: expected 0 to 1");
    Err(serde::de::Error::custom(expected))
}

/// `peer.limits`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Limits {
    /// Concurrent calls per service.
    pub concurrency: Concurrency,
    /// What callers may cost; not in Fabric.
    pub connections: Connections,
}

/// `peer.keepalive`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Keepalive {
    /// Silence after which a connection is probed.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// How long a probe may stay unanswered.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Pause between pings of a caller.
    #[serde(deserialize_with = "duration")]
    pub min_interval: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(20),
            min_interval: Duration::from_secs(60),
        }
    }
}

impl Peer {
    /// What callers of one of the peer's gRPC listeners may cost it.
    pub fn listener_limits(&self, name: &'static str) -> GrpcLimits {
        let keepalive = super::Keepalive {
            min_interval: self.keepalive.min_interval,
            interval: self.keepalive.interval,
            timeout: self.keepalive.timeout,
        };
        let (handshake, message) = (self.connection_timeout, self.max_recv_msg_size);
        let connections = &self.limits.connections;
        connections.grpc(name, keepalive, handshake, message)
    }
}

/// `peer.limits.concurrency`; 0 is no limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Concurrency {
    /// `protos.Endorser`.
    pub endorser_service: usize,
    /// `protos.Deliver`.
    pub deliver_service: usize,
    /// `gateway.Gateway`.
    pub gateway_service: usize,
}

impl Concurrency {
    /// A limit as services take it.
    pub fn most(limit: usize) -> usize {
        if limit == 0 { usize::MAX } else { limit }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self {
            endorser_service: 2500,
            deliver_service: 2500,
            gateway_service: 2500,
        }
    }
}

/// `operations`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Operations {
    /// `host:port`; nothing listens when it is empty.
    pub listen_address: String,
    /// TLS of this listener.
    pub tls: OperationsTls,
}

/// `operations.tls`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct OperationsTls {
    /// Whether the listener has TLS; clients then need a certificate for most of what it offers.
    pub enabled: bool,
    /// Whether every client must present a certificate.
    pub client_auth_required: bool,
    /// Server certificate.
    pub cert: File,
    /// Server key.
    pub key: File,
    /// Whose clients to trust.
    #[serde(rename = "clientRootCAs")]
    pub client_root_cas: Files,
}

/// `metrics`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Metrics {
    /// Where they go.
    pub provider: MetricsProvider,
    /// Read, so that Fabric's files are; means nothing without the provider.
    #[serde(rename = "statsd")]
    _statsd: Option<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_is_configured_under_fabrics_keys() {
        let sample = "
enabled: true
authCacheEnabled: true
authCacheMaxSize: 1000
authCachePurgeRetentionRatio: 0.75
orgMembersAllowedAccess: false
";
        for yaml in [sample, "{}"] {
            let settings: Discovery = serde_saphyr::from_str(yaml).unwrap();
            assert!(settings.enabled);
            let options = settings.options();
            assert!(options.tls && !options.org_members_allowed);
            assert_eq!(options.auth_cache, Some(AuthCacheOptions::default()));
        }
        let settings: Discovery = serde_saphyr::from_str(
            "{enabled: false, authCacheEnabled: false, authCachePurgeRetentionRatio: 1, orgMembersAllowedAccess: true}",
        )
        .unwrap();
        assert!(!settings.enabled);
        let options = settings.options();
        assert!(options.org_members_allowed && options.auth_cache.is_none());
        for wrong in [
            "authCachePurgeRetentionRatio: 1.5",
            "authCachePurgeRetentionRatio: -0.1",
            "authCacheMaxSize: -1",
            "authCache: true",
        ] {
            assert!(
                serde_saphyr::from_str::<Discovery>(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
