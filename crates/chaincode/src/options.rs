//! How chaincodes are run, as plain values: configuration files are read elsewhere.

use crate::builder::ExternalBuilder;
use crate::credentials::Credentials;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How chaincodes are run. Field for field from `core.yaml`, see [`HostOptions::new`].
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Folder of installed packages.
    pub install_dir: PathBuf,
    /// `chaincode.executetimeout`: how long one call may take.
    pub execute_timeout: Duration,
    /// `ledger.state.totalQueryLimit`: results that one query gives at most.
    pub total_query_limit: u32,
    /// `ledger.history.enableHistoryDatabase`: whether past values of keys may be asked for.
    pub history: bool,
    /// What replaces `{{.name}}` in `connection.json` (CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG).
    pub service_values: BTreeMap<String, String>,
    /// How chaincode outside of this process is built, started and spoken with.
    pub launch: LaunchOptions,
}

impl HostOptions {
    /// The settings of Fabric's sample `core.yaml` with packages in `install_dir`.
    pub fn new(install_dir: impl Into<PathBuf>) -> Self {
        Self {
            install_dir: install_dir.into(),
            ..Self::default()
        }
    }
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            install_dir: PathBuf::from("chaincodes"),
            execute_timeout: Duration::from_secs(30),
            total_query_limit: 100_000,
            history: true,
            service_values: BTreeMap::new(),
            launch: LaunchOptions::default(),
        }
    }
}

/// How chaincode outside of the peer's process is built, started and spoken with.
#[derive(Debug, Clone)]
pub struct LaunchOptions {
    /// `chaincode.externalBuilders`: who builds packages, asked in this order.
    pub builders: Vec<ExternalBuilder>,
    /// Folder of finished builds: `externalbuilder/builds` in the peer's folder.
    pub builds_dir: PathBuf,
    /// `chaincode.installTimeout`: how long building may take.
    pub install_timeout: Duration,
    /// `chaincode.startuptimeout`: how long starting and registering may take.
    pub startup_timeout: Duration,
    /// `chaincode.keepalive`: how often a chaincode hears of the peer when there is nothing to say.
    pub keepalive: Option<Duration>,
    /// `chaincode.runtimeParams.useWriteBatch` and `maxSizeWriteBatch`; `None`: off.
    pub write_batch: Option<u32>,
    /// `chaincode.runtimeParams.useGetMultipleKeys` and `maxSizeGetMultipleKeys`; `None`: off.
    pub multiple_keys: Option<u32>,
    /// Where launched chaincode reaches this peer; without it none can be.
    pub endpoint: Option<Endpoint>,
    /// `chaincode.mode: dev`: chaincode that is not installed may come by itself.
    pub development: bool,
}

impl Default for LaunchOptions {
    fn default() -> Self {
        Self {
            builders: Vec::new(),
            builds_dir: PathBuf::from("externalbuilder/builds"),
            install_timeout: Duration::from_secs(300),
            startup_timeout: Duration::from_secs(300),
            keepalive: None,
            write_batch: Some(1_000),
            multiple_keys: Some(1_000),
            endpoint: None,
            development: false,
        }
    }
}

/// Where launched chaincode reaches this peer.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `peer.chaincodeAddress`, `host:port`.
    pub address: String,
    /// Who may register there; without it the connection is not encrypted, and everybody may.
    pub credentials: Option<Arc<Credentials>>,
}
