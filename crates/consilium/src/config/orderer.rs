//! `orderer.yaml`.

use std::path::PathBuf;

use serde::{Deserialize, de::IgnoredAny};

use super::{Bccsp, Certificates, MetricsProvider};

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
