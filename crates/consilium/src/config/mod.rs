//! Configuration files of nodes: Fabric's key names, read once into plain structs. Variables of the
//! environment go before them, as in Fabric. A key that means nothing here is named once at the start.

mod bccsp;
mod certificates;
mod chaincode;
mod delivery;
mod gateway;
mod gossip;
mod layered;
mod ledger;
mod limits;
mod orderer;
mod peer;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

pub use bccsp::Bccsp;
pub use certificates::{Certificates, Renewal};
pub use chaincode::{ChaincodeAddresses, Mode, host_of};
pub use gateway::GatewayConfig;
pub use limits::{Connections, Keepalive, call_shapes};
pub use orderer::{OrdererConfig, Tls};
pub use peer::{Concurrency, OperationsTls, Peer as PeerSettings, PeerConfig};

/// Where metrics go: `Metrics.Provider` of `orderer.yaml`, `metrics.provider` of `core.yaml`.
///
/// Fabric's default is `disabled`; here Prometheus may ask unless the file forbids it. Fabric's
/// third, `statsd`, is not supported, and named in the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsProvider {
    /// The operations server shows them.
    #[default]
    Prometheus,
    /// Nobody sees them.
    Disabled,
}

/// Reads `path`; relative paths inside are relative to the file.
///
/// # Errors
/// Says which file and, for a key, which line and what was expected.
pub fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    // As in YAML 1.2 only `true` and `false` are truth values; `y` and `no` are texts.
    // Comments may be long, as in Fabric's own files.
    let options = serde_saphyr::options! { strict_booleans: true, emit_comments: false };
    serde_saphyr::from_str_with_options(text, options)
}

/// Reads settings out of a text in YAML that no variable goes before. Keys may be written in any case,
/// a key without a value is one that nobody sets, and unknown keys are passed over.
///
/// # Errors
/// Says which line or key, and what was expected.
pub fn keys_of<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    let variables = layered::Variables {
        prefix: "",
        values: &std::collections::BTreeMap::new(),
    };
    Ok(layered::read(parse(text)?, variables)?.0)
}

/// A kind of node: the prefix of its variables.
#[derive(Clone, Copy, Debug)]
pub enum Node {
    /// `CORE_…`, such as `CORE_PEER_ADDRESS` for `peer.address` of `core.yaml`.
    Peer,
    /// `ORDERER_…`, such as `ORDERER_GENERAL_LISTENPORT` for `General.ListenPort` of `orderer.yaml`.
    Orderer,
}

impl Node {
    fn prefix(self) -> &'static str {
        match self {
            Node::Peer => "CORE",
            Node::Orderer => "ORDERER",
        }
    }
}

/// Reads a node's settings from `path` and the environment, and logs the keys that mean nothing here.
///
/// # Errors
/// Says which file and, for a key, what was expected.
pub fn read_node<T: DeserializeOwned>(node: Node, path: &Path) -> anyhow::Result<T> {
    let (settings, unknown) = read_layered(node.prefix(), path)?;
    if !unknown.is_empty() {
        tracing::warn!(
            file = %path.display(),
            keys = unknown.join(", "),
            "keys that are not supported and mean nothing here"
        );
    }
    Ok(settings)
}

/// Settings from `path` and from variables with a prefix, and the keys that mean nothing here.
///
/// # Errors
/// Says which file and, for a key, what was expected.
pub fn read_layered<T: DeserializeOwned>(
    prefix: &'static str,
    path: &Path,
) -> anyhow::Result<(T, Vec<String>)> {
    // What is no text is no setting.
    let values = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let variables = layered::Variables {
        prefix,
        values: &values,
    };
    let read = layered::read(read(path)?, variables);
    read.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

/// Settings of a program whose variables begin with `prefix`, from the content of its file, and the
/// keys that mean nothing.
///
/// # Errors
/// Says for a key what was expected.
pub fn read_content<T: DeserializeOwned>(
    prefix: &'static str,
    content: serde_json::Value,
    variables: &std::collections::BTreeMap<String, String>,
) -> anyhow::Result<(T, Vec<String>)> {
    let variables = layered::Variables {
        prefix,
        values: variables,
    };
    Ok(layered::read(content, variables)?)
}

/// Takes the variables that nodes read out of the environment of a program to be started: they may be an
/// administrator's, who asks one node, and would reach every node that is started.
pub fn without_variables(command: &mut std::process::Command) {
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if [Node::Peer, Node::Orderer]
            .iter()
            .any(|node| shown.starts_with(&format!("{}_", node.prefix())))
        {
            command.env_remove(&name);
        }
    }
}

/// The file of `--config`, or `name` in `FABRIC_CFG_PATH`, the current folder or
/// `/etc/hyperledger/fabric`.
///
/// # Errors
/// No such file: the message lists where it was looked for.
pub fn locate(given: Option<&Path>, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        anyhow::ensure!(path.is_file(), "{} is not a file", path.display());
        return Ok(path.to_owned());
    }
    let mut tried = Vec::new();
    let folders = std::env::var_os("FABRIC_CFG_PATH")
        .map(PathBuf::from)
        .into_iter()
        .chain([PathBuf::from("."), PathBuf::from("/etc/hyperledger/fabric")]);
    for folder in folders {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
        tried.push(path.display().to_string());
    }
    anyhow::bail!(
        "found no {name}; looked for {}; name one with --config",
        tried.join(", ")
    )
}

/// `path` as seen from the folder of `file`.
pub fn relative(file: &Path, path: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new(".")).join(path)
}

/// Reads a file that a configuration key names.
///
/// # Errors
/// Says which key of which file, and which path.
pub fn read_named(file: &Path, key: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    anyhow::ensure!(
        !path.as_os_str().is_empty(),
        "{}: {key} is missing: expected the path of a file",
        file.display()
    );
    let path = relative(file, path);
    std::fs::read(&path).with_context(|| {
        format!(
            "{}: {key} names {}, which cannot be read",
            file.display(),
            path.display()
        )
    })
}

/// A duration in Go's form (`10s`, `1m30s`).
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!(
            "`{text}` is not a duration such as 10s or 1m30s: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_begin_with_a_page_of_comments() {
        let text = format!("{}a: 1\n", "# a line\n".repeat(500));
        let read: serde_json::Value = parse(&text).unwrap();
        assert_eq!(read, serde_json::json!({"a": 1}));
    }

    #[test]
    fn operations_and_metrics_are_configured_under_fabrics_keys() {
        let operations = "
ListenAddress: 127.0.0.1:8443
TLS:
  Enabled: true
  Certificate: tls/server.crt
  PrivateKey: tls/server.key
  ClientAuthRequired: true
  ClientRootCAs: [tls/ca.crt, tls/other.crt]
";
        let endpoint: orderer::Endpoint = serde_saphyr::from_str(operations).unwrap();
        assert!(endpoint.tls.enabled && endpoint.tls.client_auth_required);
        assert_eq!(endpoint.tls.client_root_cas.len(), 2);

        let operations = "
listenAddress: 127.0.0.1:9443
tls:
  enabled: true
  cert: {file: tls/server.crt}
  key: {file: tls/server.key}
  clientAuthRequired: false
  clientRootCAs: {files: [tls/ca.crt]}
";
        let operations: peer::Operations = serde_saphyr::from_str(operations).unwrap();
        assert!(operations.tls.enabled && !operations.tls.client_auth_required);
        assert_eq!(operations.tls.client_root_cas.files.len(), 1);

        for (yaml, provider) in [
            ("{}", Some(MetricsProvider::Prometheus)),
            ("Provider: prometheus", Some(MetricsProvider::Prometheus)),
            (
                "{Provider: disabled, Statsd: {Network: udp, Address: '127.0.0.1:8125'}}",
                Some(MetricsProvider::Disabled),
            ),
            ("Provider: statsd", None),
            ("Providers: prometheus", None),
        ] {
            let metrics = serde_saphyr::from_str::<orderer::Metrics>(yaml);
            let seen = metrics.ok().map(|metrics| metrics.provider);
            assert_eq!(seen, provider, "{yaml}");
            let yaml = yaml
                .replace("Provider", "provider")
                .replace("Statsd", "statsd");
            let metrics = serde_saphyr::from_str::<peer::Metrics>(&yaml);
            let seen = metrics.ok().map(|metrics| metrics.provider);
            assert_eq!(seen, provider, "{yaml}");
        }
    }
}
