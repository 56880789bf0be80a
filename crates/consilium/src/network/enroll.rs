//! Certificates of a local network: each organization's nodes and users enrol with its CA over the
//! network, as in production, and keep their keys to themselves.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use consilium_ca::{
    Attribute,
    client::{CaClient, EnrollRequest, Enrollment, RegisterRequest},
    folders,
};

use super::plan::{Network, Organization};

/// The registrar's enrolment id.
pub const REGISTRAR: &str = "registrar";

/// Enrols identities of one organization.
pub struct Registrar {
    client: CaClient,
    identity: Enrollment,
    root: Bytes,
    domain: String,
    dir: PathBuf,
}

impl Registrar {
    /// Enrols the registrar, or takes up its earlier enrolment, once the CA answers.
    ///
    /// # Errors
    /// The CA does not answer within a minute, or refuses.
    pub async fn connect(network: &Network, organization: &Organization) -> anyhow::Result<Self> {
        let home = network.ca_dir(organization);
        let root = wait_for_root(&home).await?;
        let client = CaClient::new(&organization.ca_url(), std::slice::from_ref(&root), "")?;
        wait_for_answer(&client).await?;
        let dir = network.user_dir(organization, REGISTRAR).join("msp");
        let identity = match folders::read_signer_files(&dir) {
            Ok((certificate, key)) => Enrollment {
                certificate_pem: String::from_utf8(certificate.to_vec())?,
                key_pem: String::from_utf8(key.to_vec())?.into(),
                ca_chain_pem: String::from_utf8(root.to_vec())?,
            },
            Err(_) => {
                let secret = fs::read_to_string(home.join("registrar.secret"))
                    .context("the CA's registrar secret is missing")?;
                let enrollment = client
                    .enroll(&EnrollRequest {
                        id: REGISTRAR.into(),
                        secret: secret.trim().into(),
                        ..EnrollRequest::default()
                    })
                    .await?;
                folders::write_msp(&dir, &enrollment, std::slice::from_ref(&root))?;
                enrollment
            }
        };
        Ok(Self {
            client,
            identity,
            root,
            domain: organization.domain.clone(),
            dir: network.organization_dir(organization),
        })
    }

    /// The organization's MSP as others see it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write_organization_msp(&self) -> anyhow::Result<()> {
        folders::write_verifying_msp(
            &self.dir.join("msp"),
            &self.root,
            std::slice::from_ref(&self.root),
        )?;
        Ok(())
    }

    /// Enrols a node into `dir/msp` and `dir/tls`.
    ///
    /// # Errors
    /// The CA refuses, or a file cannot be written.
    pub async fn node(&self, dir: &Path, name: &str, kind: &str) -> anyhow::Result<()> {
        let host = format!("{name}.{}", self.domain);
        let tls = self.identity(dir, &host, kind, Vec::new()).await?;
        folders::write_tls(&dir.join("tls"), &tls)?;
        Ok(())
    }

    /// Enrols a user with attributes into `users/<name>@<domain>`; does nothing when the user is
    /// already there.
    ///
    /// # Errors
    /// The CA refuses, or a file cannot be written.
    pub async fn user(
        &self,
        name: &str,
        kind: &str,
        attributes: &[(&str, &str)],
    ) -> anyhow::Result<PathBuf> {
        let dir = self
            .dir
            .join("users")
            .join(format!("{name}@{}", self.domain));
        if dir.join("tls").join("client.key").is_file() {
            return Ok(dir);
        }
        let attributes = attributes
            .iter()
            .map(|(name, value)| Attribute {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
                ecert: true,
            })
            .collect();
        let tls = self.identity(&dir, name, kind, attributes).await?;
        folders::write_tls(&dir.join("tls"), &tls)?;
        // Fabric's tools name a client's pair client.crt and client.key.
        for kind in ["crt", "key"] {
            fs::rename(
                dir.join("tls").join(format!("server.{kind}")),
                dir.join("tls").join(format!("client.{kind}")),
            )?;
        }
        Ok(dir)
    }

    /// Registers `id`, enrols it for signing into `dir/msp`, and returns its TLS enrolment.
    async fn identity(
        &self,
        dir: &Path,
        id: &str,
        kind: &str,
        attributes: Vec<Attribute>,
    ) -> anyhow::Result<Enrollment> {
        let secret = self
            .client
            .register(
                &self.identity,
                &RegisterRequest {
                    id: id.into(),
                    kind: kind.into(),
                    attributes,
                    ..RegisterRequest::default()
                },
            )
            .await
            .with_context(|| format!("cannot register {id}"))?;
        let request = |profile: &str, hosts: &[&str]| EnrollRequest {
            id: id.into(),
            secret: secret.clone(),
            profile: profile.into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            ..EnrollRequest::default()
        };
        let signing = self
            .client
            .enroll(&request("", &[]))
            .await
            .with_context(|| format!("cannot enrol {id}"))?;
        folders::write_msp(&dir.join("msp"), &signing, std::slice::from_ref(&self.root))?;
        self.client
            .enroll(&request("tls", &[id, "localhost", "127.0.0.1"]))
            .await
            .with_context(|| format!("cannot enrol {id} for TLS"))
    }
}

/// The root of the authority in `home`, once it is there.
///
/// # Errors
/// It is not within a minute.
pub(super) async fn wait_for_root(home: &Path) -> anyhow::Result<Bytes> {
    let path = home.join("ca-cert.pem");
    for _ in 0..600 {
        if let Ok(pem) = fs::read(&path) {
            return Ok(pem.into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the CA did not write {} within a minute", path.display())
}

async fn wait_for_answer(client: &CaClient) -> anyhow::Result<()> {
    let mut last = None;
    for _ in 0..600 {
        match client.cainfo().await {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    match last {
        Some(error) => Err(error).context("the CA did not answer within a minute"),
        None => anyhow::bail!("the CA did not answer within a minute"),
    }
}
