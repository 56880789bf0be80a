//! `orderer.yaml`.

use std::{path::PathBuf, time::Duration};

use consilium_transport::GrpcLimits;
use serde::{Deserialize, de::IgnoredAny};

use super::{Bccsp, Certificates, Connections, MetricsProvider, duration};

/// The keys of `orderer.yaml` that are supported.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct OrdererConfig {
    /// Listener, identity and TLS.
    pub general: General,
    /// Where channels are stored.
    pub file_ledger: FileLedger,
    /// Channel participation REST.
    #[serde(default)]
    pub admin: Endpoint,
    /// Health and metrics.
    #[serde(default)]
    pub operations: Endpoint,
    /// Where metrics go.
    #[serde(default)]
    pub metrics: Metrics,
}

/// `General`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct General {
    /// Address to listen on.
    pub listen_address: String,
    /// Port to listen on.
    pub listen_port: u16,
    /// Server TLS.
    #[serde(rename = "TLS")]
    pub tls: Tls,
    /// Client side of the cluster's TLS; the server pair where missing.
    #[serde(default)]
    pub cluster: Cluster,
    /// How connections are seen to.
    #[serde(default)]
    pub keepalive: Keepalive,
    /// How long a caller may take to begin; 0 is the usual time.
    #[serde(default, deserialize_with = "duration")]
    pub connection_timeout: Duration,
    /// The largest message that callers may send, in bytes.
    #[serde(default)]
    pub max_recv_msg_size: usize,
    /// How fast clients may broadcast.
    #[serde(default)]
    pub throttling: Throttling,
    /// What callers may cost; not in Fabric.
    #[serde(default)]
    pub limits: Limits,
    /// Local MSP folder.
    #[serde(rename = "LocalMSPDir")]
    pub local_msp_dir: PathBuf,
    /// Local MSP id.
    #[serde(rename = "LocalMSPID")]
    pub local_msp_id: String,
    /// Where the signing key is.
    #[serde(default, rename = "BCCSP")]
    pub bccsp: Bccsp,
    /// The life of the own certificates.
    #[serde(default)]
    pub certificates: Certificates,
}

/// `General.Keepalive`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub struct Keepalive {
    /// Pause between pings of a caller.
    #[serde(deserialize_with = "duration")]
    pub server_min_interval: Duration,
    /// Silence after which a connection is probed.
    #[serde(deserialize_with = "duration")]
    pub server_interval: Duration,
    /// How long a probe may stay unanswered.
    #[serde(deserialize_with = "duration")]
    pub server_timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            server_min_interval: Duration::from_secs(60),
            server_interval: Duration::from_secs(60),
            server_timeout: Duration::from_secs(20),
        }
    }
}

/// `General.Throttling`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub struct Throttling {
    /// Messages per second of all clients together; 0 is no limit.
    pub rate: u32,
    /// How long a client is silent before it has no part in the rate.
    #[serde(deserialize_with = "duration")]
    pub inactivity_timeout: Duration,
}

impl Default for Throttling {
    fn default() -> Self {
        Self {
            rate: 0,
            inactivity_timeout: Duration::from_secs(5),
        }
    }
}

/// `General.Limits`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub struct Limits {
    /// Of connections.
    pub connections: Connections,
}

/// How often an orderer may ping another, which does so to notice soon that it is cut off.
const ORDERERS_PING: Duration = Duration::from_millis(500);

impl General {
    /// What callers of the orderer's listener may cost it.
    pub fn listener_limits(&self) -> GrpcLimits {
        let keepalive = super::Keepalive {
            min_interval: self.keepalive.server_min_interval,
            interval: self.keepalive.server_interval,
            timeout: self.keepalive.server_timeout,
        };
        let (handshake, message) = (self.connection_timeout, self.max_recv_msg_size);
        let connections = &self.limits.connections;
        let mut limits = connections.grpc("orderer", keepalive, handshake, message);
        limits.connections.certified_ping_interval = Some(ORDERERS_PING);
        limits
    }
}

/// `TLS` of a listener.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub struct Tls {
    /// Must be true on the main listener.
    pub enabled: bool,
    /// PEM.
    pub private_key: PathBuf,
    /// PEM.
    pub certificate: PathBuf,
    /// PEM files: whom to trust when dialling.
    #[serde(rename = "RootCAs")]
    pub root_cas: Vec<PathBuf>,
    /// Whether clients must present a certificate.
    pub client_auth_required: bool,
    /// PEM files: whose clients to trust, besides the channels' organizations.
    #[serde(rename = "ClientRootCAs")]
    pub client_root_cas: Vec<PathBuf>,
}

impl Tls {
    /// The files of roots of clients, which mean nothing where no client has to have a certificate.
    /// fabric: orderer/common/server/main.go initializeServerConfig
    pub fn client_roots(&self) -> &[PathBuf] {
        match self.client_auth_required {
            true => &self.client_root_cas,
            false => &[],
        }
    }
}

/// `General.Cluster`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub struct Cluster {
    /// PEM.
    pub client_certificate: PathBuf,
    /// PEM.
    pub client_private_key: PathBuf,
    /// PEM files.
    #[serde(rename = "RootCAs")]
    pub root_cas: Vec<PathBuf>,
}

/// `FileLedger`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct FileLedger {
    /// Folder of the node's data.
    pub location: PathBuf,
}

/// `Admin` or `Operations`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub struct Endpoint {
    /// `host:port`; nothing listens when it is empty.
    pub listen_address: String,
    /// TLS of this listener.
    #[serde(rename = "TLS")]
    pub tls: Tls,
}

/// `Metrics`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub struct Metrics {
    /// Where they go.
    pub provider: MetricsProvider,
    /// Read, so that Fabric's files are; means nothing without the provider.
    #[serde(rename = "Statsd")]
    _statsd: Option<IgnoredAny>,
}
