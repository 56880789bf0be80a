//! Whom a command of `peer` speaks to, and as whom: `CORE_*` variables before `core.yaml`, as in Fabric.
//!
//! fabric: internal/peer/common/common.go, peerclient.go; core/config/config.go

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use consilium_msp::Signer;
use consilium_transport::{ClientTls, ClientTlsOptions, TlsIdentity};
use serde_json::Value;
use tonic::transport::Channel;

use super::flags;
use crate::commands::{connect, golang};

/// `peer.client.connTimeout`, unless configured.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const CONFIG_FILE: &str = "core.yaml";
const SYSTEM_FOLDER: &str = "/etc/hyperledger/fabric";

/// A connection that stands.
pub struct Connected {
    /// Whom we speak to.
    pub address: String,
    /// The connection.
    pub channel: Channel,
    /// SHA-256 of the client certificate on it; empty without one.
    pub tls_hash: Bytes,
}

/// What TLS takes for one connection.
pub struct TlsFiles {
    /// Roots of the server's certificate, in PEM.
    pub roots: Vec<u8>,
    /// The client's own, where the server asks for one.
    pub identity: Option<TlsIdentity>,
    /// Other names and times.
    pub options: ClientTlsOptions,
}

/// Settings of a command, looked up key by key.
#[derive(Debug, Default)]
pub struct Environment {
    /// `core.yaml`, if there is one.
    file: Option<PathBuf>,
    values: Value,
    /// Those that begin with `CORE_`, in capitals.
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the process's environment, and `core.yaml` in `FABRIC_CFG_PATH`, else in the current
    /// folder or /etc/hyperledger/fabric. Where none of these has one, variables have to say it all.
    ///
    /// # Errors
    /// `FABRIC_CFG_PATH` has no such file, or a file cannot be read.
    pub fn load() -> anyhow::Result<Self> {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.to_str()?.to_ascii_uppercase();
                Some((name, value.to_str()?.to_owned()))
            })
            .filter(|(name, _)| name.starts_with("CORE_"))
            .collect();
        let named = std::env::var_os("FABRIC_CFG_PATH").filter(|path| !path.is_empty());
        let file = match named {
            Some(folder) => {
                let folder = PathBuf::from(folder);
                anyhow::ensure!(
                    folder.is_dir(),
                    "Fatal error when initializing core config : FABRIC_CFG_PATH {} does not exist",
                    folder.display()
                );
                let file = folder.join(CONFIG_FILE);
                anyhow::ensure!(
                    file.is_file(),
                    "Fatal error when initializing core config : error when reading core config file: \
                     Config File \"core\" Not Found in \"[{}]\"",
                    folder.display()
                );
                Some(file)
            }
            None => [".", SYSTEM_FOLDER]
                .into_iter()
                .map(|folder| Path::new(folder).join(CONFIG_FILE))
                .find(|file| file.is_file()),
        };
        let values = match &file {
            Some(file) => {
                crate::config::read(file).context("Fatal error when initializing core config ")?
            }
            None => Value::Null,
        };
        Ok(Self {
            file,
            values,
            variables,
        })
    }

    /// A setting by its name in `core.yaml`, such as `peer.tls.rootcert.file`; case does not matter.
    /// Empty if nobody sets it.
    pub fn text(&self, key: &str) -> String {
        let variable = format!("CORE_{}", key.replace('.', "_")).to_ascii_uppercase();
        if let Some(value) = self.variables.get(&variable) {
            return value.clone();
        }
        let found = key.split('.').try_fold(&self.values, |value, part| {
            let mut entries = value.as_object()?.iter();
            let entry = entries.find(|(name, _)| name.eq_ignore_ascii_case(part));
            entry.map(|(_, value)| value)
        });
        match found {
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
            _ => String::new(),
        }
    }

    /// A setting that is on or off; what is neither counts as off.
    pub fn is_on(&self, key: &str) -> bool {
        flags::switch(&self.text(key)).unwrap_or(false)
    }

    /// A length of time; `None` if nobody sets it, or sets none.
    fn time(&self, key: &str) -> Option<Duration> {
        let time = flags::length_of_time(&self.text(key)).ok();
        time.filter(|time| !time.is_zero())
    }

    /// A setting that names a file or folder, relative to that of `core.yaml`; `None` if nobody sets it.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        let text = self.text(key);
        (!text.is_empty()).then(|| self.beside(Path::new(&text)))
    }

    /// A path as seen from the folder of `core.yaml`, where there is one.
    pub fn beside(&self, path: &Path) -> PathBuf {
        let folder = self.file.as_deref().and_then(Path::parent);
        folder.unwrap_or(Path::new("")).join(path)
    }

    /// The identity in `peer.mspConfigPath`.
    ///
    /// # Errors
    /// Fabric's text, when the folder or the MSP id is missing; when there is no identity in it.
    pub fn signer(&self) -> anyhow::Result<Arc<dyn Signer>> {
        let folder = self.path("peer.mspConfigPath").unwrap_or_default();
        let shown = folder.display();
        let about = std::fs::metadata(&folder).map_err(|error| {
            anyhow::anyhow!(
                "Cannot run peer because cannot init crypto, specified path \"{shown}\" does not exist or cannot be accessed: {}",
                golang::file_error("stat", &folder, &error)
            )
        })?;
        anyhow::ensure!(
            about.is_dir(),
            "Cannot run peer because cannot init crypto, specified path \"{shown}\" is not a directory"
        );
        let msp_id = self.text("peer.localMspId");
        anyhow::ensure!(
            !msp_id.is_empty(),
            "Cannot run peer because the local MSP must have an ID"
        );
        connect::signer(&folder, &msp_id).with_context(|| {
            format!(
                "Cannot run peer because error when setting up MSP of type bccsp from directory {shown}"
            )
        })
    }

    /// The address of the peer that is meant where no flag names one.
    pub fn address(&self) -> String {
        self.text("peer.address")
    }

    /// Connects to `peer.address`, trusting `peer.tls.rootcert.file`; or to another peer, trusting
    /// the roots that go with it. `what` is the client's name in messages.
    ///
    /// # Errors
    /// A setting is missing or names what cannot be read; or nobody answers.
    pub async fn connect(
        &self,
        what: &str,
        other: Option<(&str, &Path)>,
    ) -> anyhow::Result<Connected> {
        let address = match other {
            Some((address, _)) => address.to_owned(),
            None => self.address(),
        };
        anyhow::ensure!(!address.is_empty(), "peer address must be set");
        let tls = match (self.is_on("peer.tls.enabled"), other) {
            (true, Some((_, roots))) => Some(self.tls_of(roots)?),
            (true, None) => Some(self.tls().context("failed to load config for PeerClient")?),
            (false, _) => None,
        };
        let timeout = self.time("peer.client.connTimeout");
        dial(what, &address, tls, timeout.unwrap_or(CONNECT_TIMEOUT)).await
    }

    /// For the environment's own peer.
    fn tls(&self) -> anyhow::Result<TlsFiles> {
        let roots = self.read(&["peer.tls.rootcert.file"])?;
        let clock_behind = self.time("peer.tls.handshakeTimeShift");
        self.tls_files(roots, clock_behind.unwrap_or_default())
    }

    /// For another peer, whose roots are in a file.
    fn tls_of(&self, file: &Path) -> anyhow::Result<TlsFiles> {
        anyhow::ensure!(
            !file.as_os_str().is_empty(),
            "tls root cert file must be set"
        );
        let roots = golang::read_file(file).with_context(|| {
            format!("unable to load TLS root cert file from {}", file.display())
        })?;
        self.tls_files(roots, Duration::ZERO)
    }

    fn tls_files(&self, roots: Vec<u8>, clock_behind: Duration) -> anyhow::Result<TlsFiles> {
        let identity = match self.is_on("peer.tls.clientAuthRequired") {
            true => Some(self.client_identity()?),
            false => None,
        };
        let name = self.text("peer.tls.serverhostoverride");
        Ok(TlsFiles {
            roots,
            identity,
            options: ClientTlsOptions {
                server_name: (!name.is_empty()).then_some(name),
                clock_behind,
            },
        })
    }

    /// Where no pair for clients is named, the node's own serves.
    fn client_identity(&self) -> anyhow::Result<TlsIdentity> {
        let certificate = self.read(&["peer.tls.clientCert.file", "peer.tls.cert.file"])?;
        let key = self.read(&["peer.tls.clientKey.file", "peer.tls.key.file"])?;
        TlsIdentity::from_pem(&certificate, &key).context("failed to load client certificate")
    }

    /// The file that the first of these keys names which anybody sets.
    fn read(&self, keys: &[&str]) -> anyhow::Result<Vec<u8>> {
        let first = keys.first().copied().unwrap_or_default();
        let path = keys.iter().find_map(|key| self.path(key));
        let path = path.with_context(|| format!("unable to load {first}: it is not set"))?;
        golang::read_file(&path).with_context(|| format!("unable to load {first}"))
    }
}

/// Connects. `what` is the client's name in messages.
///
/// # Errors
/// Nobody answers, or TLS fails.
pub async fn dial(
    what: &str,
    address: &str,
    tls: Option<TlsFiles>,
    timeout: Duration,
) -> anyhow::Result<Connected> {
    let tls = match tls {
        Some(files) => Some(ClientTls::with(
            files.identity,
            &[Bytes::from(files.roots)],
            files.options,
        )?),
        None => None,
    };
    let hash = tls.as_ref().and_then(|tls| tls.identity_hash());
    let channel = consilium_transport::connect(address, tls, timeout).await;
    let channel = channel
        .context("failed to create new connection")
        .with_context(|| format!("{what} client failed to connect to {address}"))?;
    Ok(Connected {
        address: address.to_owned(),
        channel,
        tls_hash: hash.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(yaml: &str, variables: &[(&str, &str)]) -> Environment {
        Environment {
            file: Some("/etc/consilium/core.yaml".into()),
            values: serde_saphyr::from_str(yaml).unwrap(),
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    const YAML: &str = "
peer:
  address: peer0:7051
  mspConfigPath: msp
  localMspId: Org1MSP
  tls:
    enabled: true
    clientAuthRequired: false
    rootcert: {file: tls/ca.crt}
    key: {file: /keys/server.key}
  client: {connTimeout: 3s}
";

    #[test]
    fn variables_come_before_the_file_and_case_does_not_matter() {
        let variables = [
            ("CORE_PEER_ADDRESS", "peer1:8051"),
            ("CORE_PEER_TLS_CLIENTAUTHREQUIRED", "true"),
            ("CORE_PEER_LOCALMSPID", ""),
        ];
        let environment = environment(YAML, &variables);
        for (key, expected) in [
            ("peer.address", "peer1:8051"),
            ("peer.client.connTimeout", "3s"),
            ("PEER.MSPCONFIGPATH", "msp"),
            ("peer.tls.enabled", "true"),
            ("peer.localMspId", ""),
            ("peer.tls", ""),
            ("peer.address.host", ""),
            ("nobody.sets.this", ""),
        ] {
            assert_eq!(environment.text(key), expected, "{key}");
        }
        assert!(environment.is_on("peer.tls.enabled"));
        assert!(environment.is_on("peer.tls.clientAuthRequired"));
        assert!(!environment.is_on("peer.address"));
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let root = ("CORE_PEER_TLS_ROOTCERT_FILE", "other.crt");
        let environment = environment(YAML, &[root]);
        for (key, expected) in [
            ("peer.tls.rootcert.file", Some("/etc/consilium/other.crt")),
            ("peer.tls.key.file", Some("/keys/server.key")),
            ("peer.mspConfigPath", Some("/etc/consilium/msp")),
            ("peer.tls.clientKey.file", None),
        ] {
            let path = environment.path(key);
            assert_eq!(path.as_deref(), expected.map(Path::new), "{key}");
        }
    }

    #[test]
    fn a_missing_identity_is_told_in_fabrics_words() {
        let folder = tempfile::tempdir().unwrap();
        let msp = folder.path().to_str().unwrap();
        let refused = |variables: &[(&str, &str)]| {
            let refused = environment(YAML, variables).signer().err().unwrap();
            format!("{refused:#}")
        };
        assert!(refused(&[("CORE_PEER_MSPCONFIGPATH", "absent")]).starts_with(
            "Cannot run peer because cannot init crypto, specified path \"/etc/consilium/absent\" does not exist or cannot be accessed: "
        ));
        let named = ("CORE_PEER_MSPCONFIGPATH", msp);
        assert_eq!(
            refused(&[named, ("CORE_PEER_LOCALMSPID", "")]),
            "Cannot run peer because the local MSP must have an ID"
        );
        assert!(refused(&[named]).contains("signcerts"));
    }
}
