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
use consilium_transport::{ClientTls, TlsIdentity};
use serde_json::Value;
use tonic::transport::Channel;

use crate::commands::connect;

/// `peer.client.connTimeout`, unless configured.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const CONFIG_FILE: &str = "core.yaml";
const SYSTEM_FOLDER: &str = "/etc/hyperledger/fabric";

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
                    "Fatal error when initializing core config : Could not find config file. \
                     Please make sure that FABRIC_CFG_PATH is set to a path which contains {CONFIG_FILE}"
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
        matches!(
            self.text(key).as_str(),
            "1" | "t" | "T" | "true" | "TRUE" | "True"
        )
    }

    /// A setting that names a file or folder, relative to that of `core.yaml`; `None` if nobody sets it.
    fn path(&self, key: &str) -> Option<PathBuf> {
        let text = self.text(key);
        let folder = self.file.as_deref().and_then(Path::parent);
        (!text.is_empty()).then(|| folder.unwrap_or(Path::new("")).join(text))
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
                "Cannot run peer because cannot init crypto, specified path \"{shown}\" does not exist or cannot be accessed: {error}"
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

    /// Connects to `peer.address`, trusting `peer.tls.rootcert.file`; or to another peer, trusting
    /// the roots that go with it. `what` is the client's name in messages.
    ///
    /// # Errors
    /// A setting is missing or names what cannot be read; or nobody answers.
    pub async fn connect(
        &self,
        what: &str,
        other: Option<(&str, &Path)>,
    ) -> anyhow::Result<Channel> {
        let address = match other {
            Some((address, _)) => address.to_owned(),
            None => self.text("peer.address"),
        };
        anyhow::ensure!(!address.is_empty(), "peer address must be set");
        let tls = match self.is_on("peer.tls.enabled") {
            true => Some(self.tls(other.map(|(_, roots)| roots))?),
            false => None,
        };
        let timeout = humantime::parse_duration(&self.text("peer.client.connTimeout"));
        let timeout = timeout.ok().filter(|timeout| !timeout.is_zero());
        let timeout = timeout.unwrap_or(CONNECT_TIMEOUT);
        consilium_transport::connect(&address, tls, timeout)
            .await
            .with_context(|| format!("{what} client failed to connect to {address}"))
    }

    fn tls(&self, roots: Option<&Path>) -> anyhow::Result<Arc<ClientTls>> {
        let roots = match roots {
            Some(path) if path.as_os_str().is_empty() => {
                anyhow::bail!("tls root cert file must be set")
            }
            Some(path) => std::fs::read(path).with_context(|| {
                format!("unable to load TLS root cert file from {}", path.display())
            })?,
            None => self.read(&["peer.tls.rootcert.file"])?,
        };
        let identity = match self.is_on("peer.tls.clientAuthRequired") {
            true => Some(self.client_identity()?),
            false => None,
        };
        let roots = [Bytes::from(roots)];
        let name = self.text("peer.tls.serverhostoverride");
        Ok(match name.is_empty() {
            true => ClientTls::new(identity, &roots)?,
            false => ClientTls::with_server_name(identity, &roots, &name)?,
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
        std::fs::read(&path)
            .with_context(|| format!("unable to load {first} from {}", path.display()))
    }
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
