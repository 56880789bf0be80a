//! Who asks, and whom the asker trusts: by flags, or from a file that `saveConfig` wrote.
//!
//! fabric: cmd/common/config.go, cmd/common/comm/config.go, cmd/common/signer/signer.go

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use clap::Args;
use consilium_msp::{Signer, SoftwareSigner};
use consilium_transport::{ClientTlsOptions, TlsIdentity};
use serde::{Deserialize, Serialize};

use crate::commands::{
    golang,
    peer::{GoFlag, TlsFiles},
    told,
};

/// The flags that say who asks.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Specifies the config file to load the configuration from.
    #[arg(long = "configFile", global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets the TLS CA certificate file path that verifies the TLS peer's certificate.
    #[arg(long = "peerTLSCA", global = true, value_name = "FILE")]
    tls_roots: Option<PathBuf>,
    /// (Optional) Sets the client TLS certificate file path that is used when the peer enforces
    /// client authentication.
    #[arg(long = "tlsCert", global = true, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// (Optional) Sets the client TLS key file path that is used when the peer enforces client
    /// authentication.
    #[arg(long = "tlsKey", global = true, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Sets the user's key file path that is used to sign messages sent to the peer.
    #[arg(long = "userKey", global = true, value_name = "FILE")]
    user_key: Option<PathBuf>,
    /// Sets the user's certificate file path that is used to authenticate the messages sent to the
    /// peer.
    #[arg(long = "userCert", global = true, value_name = "FILE")]
    user_certificate: Option<PathBuf>,
    /// Sets the MSP ID of the user, which represents the CA(s) that issued its user certificate.
    #[arg(long = "MSP", global = true, text())]
    msp_id: String,
}

/// The file, under the names that Go gives its fields.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    version: u32,
    tlsconfig: TlsSettings,
    signerconfig: SignerSettings,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct TlsSettings {
    certpath: PathBuf,
    keypath: PathBuf,
    peercacertpath: PathBuf,
    timeout: String,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct SignerSettings {
    mspid: String,
    identitypath: PathBuf,
    keypath: PathBuf,
}

impl SettingsArgs {
    /// Of the file, where one is named; else of the flags.
    ///
    /// # Errors
    /// A file is not there, or says too little.
    pub fn load(&self) -> anyhow::Result<Settings> {
        match &self.config {
            // Fabric's says it so, without a colon.
            Some(file) => read(file)
                .map_err(|error| anyhow::anyhow!("Failed loading config {}", told(&error))),
            None => self.given(),
        }
    }

    /// Writes what the flags say into the file that they name.
    ///
    /// # Errors
    /// They say too little, or the file cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        let given = self.given()?;
        let Some(file) = &self.config else {
            eprintln!("--configFile must be used to specify the configuration file");
            return Ok(());
        };
        given
            .check()
            .context("config isn't valid")
            .and_then(|()| given.write(file))
            .context("Failed persisting configuration")
    }

    fn given(&self) -> anyhow::Result<Settings> {
        let path = |given: &Option<PathBuf>| match given {
            None => Ok(PathBuf::new()),
            Some(path) => fs::File::open(path)
                .and_then(|_| std::path::absolute(path))
                .map_err(|error| {
                    let error = golang::file_error("open", path, &error);
                    anyhow::anyhow!("discover: error: {error}, try --help")
                }),
        };
        Ok(Settings {
            version: 0,
            tlsconfig: TlsSettings {
                certpath: path(&self.tls_certificate)?,
                keypath: path(&self.tls_key)?,
                peercacertpath: path(&self.tls_roots)?,
                timeout: "0s".to_owned(),
            },
            signerconfig: SignerSettings {
                mspid: self.msp_id.clone(),
                identitypath: path(&self.user_certificate)?,
                keypath: path(&self.user_key)?,
            },
        })
    }
}

fn read(file: &Path) -> anyhow::Result<Settings> {
    let text = golang::read_file(file)?;
    let settings: Settings = serde_saphyr::from_str(&String::from_utf8_lossy(&text))
        .with_context(|| format!("error unmarshalling YAML file {}", file.display()))?;
    settings.check()?;
    Ok(settings)
}

impl Settings {
    fn check(&self) -> anyhow::Result<()> {
        let signer = &self.signerconfig;
        for (name, is_empty) in [
            ("MSPID", signer.mspid.is_empty()),
            ("IdentityPath", signer.identitypath.as_os_str().is_empty()),
            ("KeyPath", signer.keypath.as_os_str().is_empty()),
        ] {
            anyhow::ensure!(!is_empty, "{name} is mandatory and cannot be empty");
        }
        Ok(())
    }

    fn write(&self, file: &Path) -> anyhow::Result<()> {
        let yaml = serde_saphyr::to_string(self)?;
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(file)
            .and_then(|mut file| file.write_all(yaml.as_bytes()));
        written.with_context(|| format!("failed writing file {}", file.display()))
    }

    /// What TLS takes; `None` without roots to trust.
    ///
    /// # Errors
    /// A file cannot be read, or holds something else.
    pub fn tls(&self) -> anyhow::Result<Option<TlsFiles>> {
        let tls = &self.tlsconfig;
        if tls.peercacertpath.as_os_str().is_empty() {
            return Ok(None);
        }
        let read = |path: &Path| {
            golang::read_file(path)
                .map_err(|error| anyhow::anyhow!("Failed opening file {}: {error}", path.display()))
        };
        let roots = read(&tls.peercacertpath)?;
        let is_named = |path: &Path| !path.as_os_str().is_empty();
        let identity = match is_named(&tls.keypath) || is_named(&tls.certpath) {
            true => {
                let key = read(&tls.keypath)?;
                let certificate = read(&tls.certpath)?;
                let identity = TlsIdentity::from_pem(&certificate, &key);
                Some(identity.context("failed to load client certificate")?)
            }
            // Fabric's shows a certificate of its own making then, which no peer knows.
            false => None,
        };
        Ok(Some(TlsFiles {
            roots,
            identity,
            options: ClientTlsOptions::default(),
        }))
    }

    /// Who signs.
    ///
    /// # Errors
    /// A file cannot be read, or holds something else.
    pub fn signer(&self) -> anyhow::Result<Arc<dyn Signer>> {
        let signer = &self.signerconfig;
        let certificate = golang::read_file(&signer.identitypath)?;
        let key = golang::read_file(&signer.keypath)?;
        let made = SoftwareSigner::from_pem(&signer.mspid, &certificate, &key);
        Ok(Arc::new(made.with_context(|| {
            format!(
                "{} and {} are no certificate with its key",
                signer.identitypath.display(),
                signer.keypath.display()
            )
        })?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(config: &Path, certificate: &Path, msp_id: &str) -> SettingsArgs {
        SettingsArgs {
            config: Some(config.to_owned()),
            tls_roots: None,
            tls_certificate: None,
            tls_key: None,
            user_key: Some(certificate.to_owned()),
            user_certificate: Some(certificate.to_owned()),
            msp_id: msp_id.to_owned(),
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pem) = (
            folder.path().join("conf.yaml"),
            folder.path().join("it's.pem"),
        );
        fs::write(&pem, "").unwrap();
        let given = args(&file, &pem, "Org1MSP");
        given.save().unwrap();
        let loaded = given.load().unwrap();
        assert_eq!(loaded.signerconfig.mspid, "Org1MSP");
        assert_eq!(loaded.signerconfig.keypath, pem);
        assert_eq!(loaded, given.given().unwrap());
    }

    #[test]
    fn what_fabric_saved_is_loaded() {
        let settings: Settings = serde_saphyr::from_str(
            "version: 0
tlsconfig:
    certpath: \"\"
    keypath: \"\"
    peercacertpath: /tls/ca.crt
    timeout: 0s
signerconfig:
    mspid: Org1MSP
    identitypath: /msp/signcerts/cert.pem
    keypath: /msp/keystore/key_sk
",
        )
        .unwrap();
        assert_eq!(settings.tlsconfig.peercacertpath, Path::new("/tls/ca.crt"));
        assert_eq!(settings.signerconfig.mspid, "Org1MSP");
    }

    #[test]
    fn what_says_too_little_is_neither_saved_nor_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pem) = (folder.path().join("conf.yaml"), folder.path().join("pem"));
        fs::write(&pem, "").unwrap();
        let given = args(&file, &pem, "");
        let refused = |result: anyhow::Result<()>| format!("{:#}", result.unwrap_err());
        assert_eq!(
            refused(given.save()),
            "Failed persisting configuration: config isn't valid: MSPID is mandatory and cannot be empty"
        );
        let absent = format!(
            "Failed loading config open {}: no such file or directory",
            file.display()
        );
        assert_eq!(refused(given.load().map(drop)), absent);
        fs::write(&file, "version: 0\n").unwrap();
        assert_eq!(
            refused(given.load().map(drop)),
            "Failed loading config MSPID is mandatory and cannot be empty"
        );
        let absent = args(&file, &folder.path().join("absent"), "Org1MSP");
        assert!(refused(absent.save()).starts_with("discover: error: open "));
    }
}
