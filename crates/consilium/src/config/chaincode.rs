//! `chaincode` of `core.yaml`: how chaincode is built, started and given time.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use consilium_chaincode::{ExternalBuilder, LaunchOptions};
use serde::{Deserialize, de::IgnoredAny};

use super::duration;

/// Where chaincode connects when nothing else is said.
const PORT: u16 = 7052;

/// `chaincode`. What only Docker images need is read, so that Fabric's files are, and means nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Chaincode {
    /// Who builds packages that this peer cannot run by itself.
    pub external_builders: Vec<Builder>,
    /// Longest build.
    #[serde(deserialize_with = "duration")]
    pub install_timeout: Duration,
    /// Longest start, until the chaincode has registered.
    #[serde(deserialize_with = "duration", rename = "startuptimeout")]
    pub startup_timeout: Duration,
    /// Longest run of one call.
    #[serde(deserialize_with = "duration", rename = "executetimeout")]
    pub execute_timeout: Duration,
    /// `net`, or `dev` for chaincode that its developer starts.
    pub mode: Mode,
    /// Seconds between signs of life to a chaincode; 0: none.
    pub keepalive: i64,
    /// What is offered to shims.
    pub runtime_params: RuntimeParams,
    /// System chaincodes: all of them are enabled.
    pub system: BTreeMap<String, String>,
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(rename = "builder")]
    _builder: Option<IgnoredAny>,
    #[serde(rename = "pull")]
    _pull: Option<IgnoredAny>,
    #[serde(rename = "golang")]
    _golang: Option<IgnoredAny>,
    #[serde(rename = "java")]
    _java: Option<IgnoredAny>,
    #[serde(rename = "node")]
    _node: Option<IgnoredAny>,
    #[serde(rename = "logging")]
    _logging: Option<IgnoredAny>,
}

impl Default for Chaincode {
    fn default() -> Self {
        Self {
            external_builders: Vec::new(),
            install_timeout: Duration::from_secs(300),
            startup_timeout: Duration::from_secs(300),
            execute_timeout: DEFAULT_EXECUTION,
            mode: Mode::Net,
            keepalive: 0,
            runtime_params: RuntimeParams::default(),
            system: BTreeMap::new(),
            _id: None,
            _builder: None,
            _pull: None,
            _golang: None,
            _java: None,
            _node: None,
            _logging: None,
        }
    }
}

/// What shorter times for one call mean. fabric: core/chaincode/config.go
const DEFAULT_EXECUTION: Duration = Duration::from_secs(30);
/// The shortest time to start in. fabric: core/chaincode/config.go
const SHORTEST_STARTUP: Duration = Duration::from_secs(5);

/// `chaincode.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The peer starts chaincode.
    #[default]
    Net,
    /// Its developer does.
    Dev,
}

/// One of `chaincode.externalBuilders`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Builder {
    /// Its name.
    pub name: String,
    /// The folder that holds `bin`.
    pub path: PathBuf,
    /// Variables that its programs get to see.
    pub propagate_environment: Option<Vec<String>>,
    /// The same, under the name that Fabric 2.0 had for it.
    pub environment_whitelist: Option<Vec<String>>,
}

/// `chaincode.runtimeParams`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RuntimeParams {
    /// Whether shims may send writes together.
    pub use_write_batch: bool,
    /// How many at most.
    pub max_size_write_batch: u32,
    /// Whether shims may ask for many keys at once.
    pub use_get_multiple_keys: bool,
    /// How many at most.
    pub max_size_get_multiple_keys: u32,
}

impl Default for RuntimeParams {
    fn default() -> Self {
        Self {
            use_write_batch: true,
            max_size_write_batch: 1000,
            use_get_multiple_keys: true,
            max_size_get_multiple_keys: 1000,
        }
    }
}

impl Chaincode {
    /// The settings of a peer.
    ///
    /// # Errors
    /// In Fabric's words, what a builder lacks; a system chaincode is disabled.
    pub fn launch(&self) -> anyhow::Result<LaunchOptions> {
        for (name, enabled) in &self.system {
            ensure!(
                matches!(
                    enabled.trim().to_ascii_lowercase().as_str(),
                    "true" | "t" | "1" | "enable" | "enabled" | "yes"
                ),
                "chaincode.system.{name}: system chaincodes cannot be disabled"
            );
        }
        let builders = self.external_builders.iter().map(Builder::checked);
        let sized = |used: bool, size: u32| used.then_some(if size == 0 { 1000 } else { size });
        let params = &self.runtime_params;
        Ok(LaunchOptions {
            builders: builders.collect::<anyhow::Result<_>>()?,
            install_timeout: self.install_timeout,
            startup_timeout: self.startup_timeout.max(SHORTEST_STARTUP),
            keepalive: u64::try_from(self.keepalive)
                .ok()
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            write_batch: sized(params.use_write_batch, params.max_size_write_batch),
            multiple_keys: sized(
                params.use_get_multiple_keys,
                params.max_size_get_multiple_keys,
            ),
            development: self.mode == Mode::Dev,
            ..LaunchOptions::default()
        })
    }

    /// How long one call may take.
    pub fn execution(&self) -> Duration {
        if self.execute_timeout < Duration::from_secs(1) {
            return DEFAULT_EXECUTION;
        }
        self.execute_timeout
    }
}

impl Builder {
    /// fabric: core/peer/config.go
    fn checked(&self) -> anyhow::Result<ExternalBuilder> {
        ensure!(
            !self.path.as_os_str().is_empty(),
            "invalid external builder configuration, path attribute missing in one or more builders"
        );
        ensure!(
            !self.name.is_empty(),
            "external builder at path {} has no name attribute",
            self.path.display()
        );
        let propagated = self
            .propagate_environment
            .clone()
            .filter(|names| !names.is_empty());
        Ok(ExternalBuilder {
            name: self.name.clone(),
            path: self.path.clone(),
            propagate_environment: propagated
                .or_else(|| self.environment_whitelist.clone())
                .unwrap_or_default(),
        })
    }
}

/// Where the peer listens for chaincode, and under which address chaincode reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChaincodeAddresses {
    /// `peer.chaincodeListenAddress` or what stands for it.
    pub listen: String,
    /// `peer.chaincodeAddress`; without it, where the peer listens.
    pub reached: Option<String>,
    /// The host of `peer.address`, for a peer that listens on all of its addresses.
    host: String,
}

impl ChaincodeAddresses {
    /// From the three keys of `peer`; empty ones count as absent.
    ///
    /// # Errors
    /// An address lacks its port, or is one that nobody can connect to.
    pub fn new(listen: Option<&str>, reached: Option<&str>, address: &str) -> anyhow::Result<Self> {
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let (host, _) = split(address).context("peer.address")?;
        let (listen, reached) = (given(listen), given(reached));
        for (key, address) in [
            ("peer.chaincodeListenAddress", &listen),
            ("peer.chaincodeAddress", &reached),
        ] {
            if let Some(address) = address {
                split(address).context(key)?;
            }
        }
        let addresses = Self {
            listen: listen.unwrap_or_else(|| format!("{host}:{PORT}")),
            reached,
            host: host.to_owned(),
        };
        addresses.endpoint(PORT)?;
        Ok(addresses)
    }

    /// Under which address chaincode reaches a listener that has got this port.
    /// fabric: internal/peer/node/start.go computeChaincodeEndpoint
    ///
    /// # Errors
    /// Nobody can connect to it.
    pub fn endpoint(&self, port: u16) -> anyhow::Result<String> {
        if let Some(reached) = &self.reached {
            let (host, _) = split(reached).context("peer.chaincodeAddress")?;
            ensure!(
                !is_unspecified(host),
                "peer.chaincodeAddress: nobody can connect to {host}"
            );
            return Ok(reached.clone());
        }
        let (host, _) = split(&self.listen).context("peer.chaincodeListenAddress")?;
        let host = match host {
            host if !is_unspecified(host) => host,
            _ => &self.host,
        };
        ensure!(
            !is_unspecified(host),
            "set peer.chaincodeAddress: nobody can connect to {host}"
        );
        Ok(format!("{host}:{port}"))
    }
}

/// The host of `host:port`, as certificates name it.
pub fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn split(address: &str) -> anyhow::Result<(&str, u16)> {
    let (host, port) = address
        .rsplit_once(':')
        .with_context(|| format!("`{address}` is not of the form host:port"))?;
    let port = port.parse();
    Ok((
        host,
        port.with_context(|| format!("`{address}` has no port that is a number"))?,
    ))
}

fn is_unspecified(host: &str) -> bool {
    let address: Option<IpAddr> = host_of(&format!("{host}:0")).parse().ok();
    host.is_empty() || address.is_some_and(|address| address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Chaincode {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn fabrics_sample_is_understood() {
        let sample = "
id: {path: '', name: ''}
builder: hyperledger/fabric-ccenv:3.1
pull: false
golang: {runtime: hyperledger/fabric-baseos:3.1, dynamicLink: false}
java: {runtime: hyperledger/fabric-javaenv:2.5}
node: {runtime: hyperledger/fabric-nodeenv:2.5}
externalBuilders:
  - name: ccaas_builder
    path: /opt/hyperledger/ccaas_builder
    propagateEnvironment: [CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG]
  - {path: /b, name: b, environmentWhitelist: [GOPROXY]}
installTimeout: 2m
startuptimeout: 100s
executetimeout: 20s
mode: net
keepalive: 30
system: {_lifecycle: enable, cscc: enable, lscc: enable, qscc: enable}
logging: {level: info, shim: warning, format: x}
runtimeParams: {useWriteBatch: true, maxSizeWriteBatch: 500, useGetMultipleKeys: false, maxSizeGetMultipleKeys: 1000}
";
        let chaincode = read(sample);
        assert_eq!(chaincode.execution(), Duration::from_secs(20));
        let launch = chaincode.launch().unwrap();
        let builders: Vec<_> = launch
            .builders
            .iter()
            .map(|builder| {
                (
                    builder.name.as_str(),
                    builder.propagate_environment.as_slice(),
                )
            })
            .collect();
        let names = |name: &str| vec![name.to_owned()];
        assert_eq!(
            builders,
            [
                (
                    "ccaas_builder",
                    names("CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG").as_slice()
                ),
                ("b", names("GOPROXY").as_slice())
            ]
        );
        assert_eq!(launch.install_timeout, Duration::from_secs(120));
        assert_eq!(launch.startup_timeout, Duration::from_secs(100));
        assert_eq!(launch.keepalive, Some(Duration::from_secs(30)));
        assert_eq!(
            (launch.write_batch, launch.multiple_keys),
            (Some(500), None)
        );
        assert!(!launch.development);
    }

    #[test]
    fn what_is_not_said_is_as_in_fabric() {
        let chaincode =
            read("{executetimeout: 10ms, startuptimeout: 1s, keepalive: -1, mode: dev}");
        assert_eq!(chaincode.execution(), Duration::from_secs(30));
        let launch = chaincode.launch().unwrap();
        assert_eq!(launch.startup_timeout, Duration::from_secs(5));
        assert_eq!(launch.install_timeout, Duration::from_secs(300));
        assert_eq!((launch.keepalive, launch.development), (None, true));
        let chaincode = read("{}");
        assert!(chaincode.launch().unwrap().builders.is_empty());
    }

    #[test]
    fn builders_have_a_name_and_a_path() {
        for (yaml, said) in [
            ("externalBuilders: [{name: x}]", "path attribute missing"),
            (
                "externalBuilders: [{path: /x}]",
                "external builder at path /x has no name attribute",
            ),
            ("system: {qscc: disable}", "cannot be disabled"),
        ] {
            let error = read(yaml).launch().unwrap_err().to_string();
            assert!(error.contains(said), "{yaml}: {error}");
        }
        for yaml in [
            "externalBuilders: [{nam: x}]",
            "mode: production",
            "modus: dev",
        ] {
            assert!(serde_saphyr::from_str::<Chaincode>(yaml).is_err(), "{yaml}");
        }
    }

    #[test]
    fn chaincode_reaches_the_peer_where_fabric_says() {
        for (listen, reached, address, endpoint) in [
            (None, None, "peer0:7051", Some("peer0:7052")),
            (Some(""), Some(""), "peer0:7051", Some("peer0:7052")),
            (
                Some("127.0.0.1:9000"),
                None,
                "peer0:7051",
                Some("127.0.0.1:9999"),
            ),
            (Some("0.0.0.0:9000"), None, "peer0:7051", Some("peer0:9999")),
            (Some("[::]:9000"), None, "peer0:7051", Some("peer0:9999")),
            (Some(":9000"), None, "peer0:7051", Some("peer0:9999")),
            (
                Some("0.0.0.0:9000"),
                Some("out:1"),
                "peer0:7051",
                Some("out:1"),
            ),
            (Some("0.0.0.0:9000"), None, "0.0.0.0:7051", None),
            (None, Some("0.0.0.0:1"), "peer0:7051", None),
            (None, Some("[::]:1"), "peer0:7051", None),
            (Some("127.0.0.1"), None, "peer0:7051", None),
            (None, Some("out"), "peer0:7051", None),
        ] {
            let addresses = ChaincodeAddresses::new(listen, reached, address);
            let port = if listen.is_none_or(str::is_empty) {
                PORT
            } else {
                9999
            };
            let got = addresses
                .and_then(|addresses| addresses.endpoint(port))
                .ok();
            assert_eq!(got.as_deref(), endpoint, "{listen:?} {reached:?} {address}");
        }
        assert_eq!(host_of("[::1]:7052"), "::1");
        assert_eq!(host_of("peer0:7052"), "peer0");
    }
}
