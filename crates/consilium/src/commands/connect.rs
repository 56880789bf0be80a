//! Whom a client command speaks to, and as whom.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use consilium_client::Gateway;
use consilium_msp::{Certificate, Signer, SoftwareSigner};
use consilium_protocol::duration;
use consilium_transport::{ClientTls, TlsIdentity};

use crate::network::Network;

/// Options that say which gateway and which identity to use. Without any, the network in the current
/// folder is used.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// Folder of a local network.
    #[arg(long, env = "CONSILIUM_NETWORK", default_value = "consilium-network")]
    pub network: PathBuf,
    /// Organization and user of the local network.
    #[arg(long = "as", default_value = "hospital/User1", value_name = "ORG/USER")]
    pub identity: String,
    /// Gateway peer, host:port; with --msp, --msp-id and --tls-ca any Fabric-compatible network works.
    #[arg(long, requires_all = ["msp", "msp_id", "tls_ca"])]
    pub gateway: Option<String>,
    /// MSP folder of the client (signcerts, keystore).
    #[arg(long)]
    pub msp: Option<PathBuf>,
    /// MSP id of the client.
    #[arg(long)]
    pub msp_id: Option<String>,
    /// PEM file with the root of the gateway's TLS certificate.
    #[arg(long)]
    pub tls_ca: Option<PathBuf>,
    /// PEM file with the client's TLS certificate, where the gateway wants one.
    #[arg(long, requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the client's TLS key.
    #[arg(long)]
    pub tls_key: Option<PathBuf>,
    /// Ledger channel.
    #[arg(long, short = 'C', default_value = "health")]
    pub channel: String,
}

/// A gateway's address, TLS and identity, ready to connect.
#[derive(Clone)]
pub struct Target {
    /// `host:port`
    pub endpoint: String,
    /// Trust and client certificate.
    pub tls: Arc<ClientTls>,
    /// Who signs.
    pub signer: Arc<dyn Signer>,
    /// Ledger channel.
    pub channel: String,
}

impl ConnectArgs {
    /// Reads certificates and keys.
    ///
    /// # Errors
    /// Names the file or option that is missing or wrong.
    pub fn target(&self) -> anyhow::Result<Target> {
        let Some(endpoint) = &self.gateway else {
            let network = Network::load(&self.network)?;
            let mut target = target_of(&network, &self.identity)?;
            target.channel.clone_from(&self.channel);
            return Ok(target);
        };
        let (Some(msp), Some(msp_id), Some(tls_ca)) = (&self.msp, &self.msp_id, &self.tls_ca)
        else {
            anyhow::bail!("--gateway needs --msp, --msp-id and --tls-ca");
        };
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(TlsIdentity::from_pem(&read(certificate)?, &read(key)?)?)
            }
            _ => None,
        };
        Ok(Target {
            endpoint: endpoint.clone(),
            tls: ClientTls::new(identity, &[read(tls_ca)?])?,
            signer: signer(msp, msp_id)?,
            channel: self.channel.clone(),
        })
    }
}

impl Target {
    /// Opens a connection of its own.
    ///
    /// # Errors
    /// Nobody answers, or TLS fails.
    pub async fn gateway(&self) -> anyhow::Result<Gateway> {
        Ok(Gateway::new(
            self.connect().await?,
            self.signer.clone(),
            &self.channel,
        ))
    }

    /// Opens a gRPC connection.
    ///
    /// # Errors
    /// Nobody answers, or TLS fails.
    pub async fn connect(&self) -> anyhow::Result<tonic::transport::Channel> {
        consilium_transport::connect(
            &self.endpoint,
            Some(self.tls.clone()),
            Duration::from_secs(5),
        )
        .await
        .with_context(|| format!("cannot reach the gateway at {}", self.endpoint))
    }
}

/// The identity `org/user` of a local network at that organization's peer.
///
/// # Errors
/// No such organization or user.
pub fn target_of(network: &Network, identity: &str) -> anyhow::Result<Target> {
    let (organization, user) = identity.split_once('/').with_context(|| {
        format!("`{identity}` is not of the form ORG/USER, as in hospital/User1")
    })?;
    let organization = network.organization(organization)?;
    let dir = network.user_dir(organization, user);
    anyhow::ensure!(
        dir.is_dir(),
        "{} has no user `{user}`: {} does not exist",
        organization.name,
        dir.display()
    );
    let tls = dir.join("tls");
    Ok(Target {
        endpoint: organization.peer_endpoint(),
        tls: ClientTls::new(
            Some(TlsIdentity::from_pem(
                &read(&tls.join("client.crt"))?,
                &read(&tls.join("client.key"))?,
            )?),
            &[read(&tls.join("ca.crt"))?],
        )?,
        signer: signer(&dir.join("msp"), &organization.msp_id)?,
        channel: network.channel.clone(),
    })
}

/// The signing identity of an MSP folder.
///
/// # Errors
/// The folder has no certificate with its key, or the certificate has expired.
pub fn signer(msp: &Path, msp_id: &str) -> anyhow::Result<Arc<dyn Signer>> {
    let (certificate, key) = consilium_ca::folders::read_signer_files(msp)
        .with_context(|| format!("cannot read the identity in {}", msp.display()))?;
    let own = Certificate::from_pem(&certificate)?;
    check_expiry(&own, SystemTime::now())?;
    Ok(Arc::new(
        SoftwareSigner::from_pem(msp_id, &certificate, &key)
            .with_context(|| format!("the identity in {} cannot sign", msp.display()))?,
    ))
}

/// As nodes and tools of Fabric do with their own identity; that of others may have expired.
/// fabric: msp/mspimplsetup.go setupSigningIdentity
fn check_expiry(certificate: &Certificate, now: SystemTime) -> anyhow::Result<()> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let since = i64::try_from(since).unwrap_or(i64::MAX);
    let Ok(ago) = u64::try_from(since.saturating_sub(certificate.not_after())) else {
        return Ok(());
    };
    anyhow::bail!(
        "signing identity expired {} ago",
        duration::format(Duration::from_secs(ago))
    )
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    Ok(std::fs::read(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .into())
}

#[cfg(test)]
mod tests {
    use consilium_testkit::{Authority, Template};

    use super::*;

    #[test]
    fn an_expired_identity_does_not_sign() {
        let template = Template::new("someone");
        let end = u64::try_from(template.not_after).unwrap();
        let credential = Authority::root("ca").issue(&template);
        let certificate = Certificate::from_pem(credential.cert_pem.as_bytes()).unwrap();
        let at = |seconds| check_expiry(&certificate, UNIX_EPOCH + Duration::from_secs(seconds));
        assert!(at(end - 1).is_ok());
        for (after, said) in [
            (0, "signing identity expired 0s ago"),
            (90, "signing identity expired 1m30s ago"),
            (7200, "signing identity expired 2h0m0s ago"),
        ] {
            assert_eq!(at(end + after).unwrap_err().to_string(), said);
        }
    }
}
