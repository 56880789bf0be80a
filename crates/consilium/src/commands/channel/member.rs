//! Whose keys and nodes a command uses: an organization's administrator, a peer to ask, orderers to
//! submit to.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use consilium_client::{Admin, Orderer};
use consilium_msp::Signer;
use consilium_proto::common::Envelope;
use consilium_protocol::config::ChannelConfig;
use consilium_transport::{ClientTls, TlsIdentity};

use crate::{
    commands::connect::{self, ConnectArgs, Target},
    contract::administrators,
    network::Network,
};

/// The channel of a local network, unless another is named.
const CHANNEL: &str = "health";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Options that say as whom, and whose peer is asked. Without any, the administrator of the hospital
/// of the local network in the current folder.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Who and where")]
pub struct MemberArgs {
    /// Folder of a local network.
    #[arg(
        long,
        env = "CONSILIUM_NETWORK",
        default_value = "consilium-network",
        value_name = "FOLDER"
    )]
    network: PathBuf,
    /// Organization and user of the local network.
    #[arg(long = "as", default_value = "hospital/Admin", value_name = "ORG/USER")]
    identity: String,
    /// Peer to ask, host:port; any Fabric-compatible network works.
    #[arg(long, value_name = "HOST:PORT", requires_all = ["msp", "msp_id", "tls_ca"])]
    peer: Option<String>,
    /// MSP folder of the administrator (signcerts, keystore).
    #[arg(long, value_name = "FOLDER", requires = "msp_id")]
    msp: Option<PathBuf>,
    /// MSP id of the administrator.
    #[arg(long, value_name = "ID", requires = "msp")]
    msp_id: Option<String>,
    /// PEM file with the root of the peer's TLS certificate.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// PEM file with a TLS client certificate, where nodes want one.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its key.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Channel; by default the local network's.
    #[arg(long, short = 'C', visible_short_alias = 'c', value_name = "NAME")]
    channel: Option<String>,
}

/// An administrator with a peer to ask.
pub struct Member {
    target: Target,
    tls_identity: Option<TlsIdentity>,
    /// The local network, if it is one.
    pub network: Option<Network>,
}

impl MemberArgs {
    /// The channel that is meant.
    pub fn channel(&self) -> String {
        if let Some(channel) = &self.channel {
            return channel.clone();
        }
        match Network::load(&self.network) {
            Ok(network) if self.peer.is_none() => network.channel,
            _ => CHANNEL.to_owned(),
        }
    }

    /// Who signs. Needs no peer.
    ///
    /// # Errors
    /// There is no such identity.
    pub fn signer(&self) -> anyhow::Result<Arc<dyn Signer>> {
        match (&self.msp, &self.msp_id) {
            (Some(folder), Some(msp_id)) => connect::signer(folder, msp_id),
            _ => Ok(self.member()?.target.signer),
        }
    }

    /// The administrator and his peer.
    ///
    /// # Errors
    /// Names the file or option that is missing or wrong.
    pub fn member(&self) -> anyhow::Result<Member> {
        let connection = ConnectArgs {
            network: self.network.clone(),
            identity: self.identity.clone(),
            gateway: self.peer.clone(),
            msp: self.msp.clone(),
            msp_id: self.msp_id.clone(),
            tls_ca: self.tls_ca.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            channel: self.channel(),
        };
        let mut target = connection.target()?;
        let network = match self.peer {
            Some(_) => None,
            None => Some(Network::load(&self.network)?),
        };
        let client = match (&network, &self.tls_cert, &self.tls_key) {
            (_, Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (Some(network), ..) => {
                let folder = tls_folder(network, &self.identity)?;
                Some((folder.join("client.crt"), folder.join("client.key")))
            }
            _ => None,
        };
        // In a local network, too, somebody else may sign.
        if let (Some(folder), Some(msp_id)) = (&self.msp, &self.msp_id) {
            target.signer = connect::signer(folder, msp_id)?;
        }
        Ok(Member {
            target,
            tls_identity: client
                .map(|(certificate, key)| {
                    anyhow::Ok(TlsIdentity::from_pem(&read(&certificate)?, &read(&key)?)?)
                })
                .transpose()?,
            network,
        })
    }
}

fn tls_folder(network: &Network, identity: &str) -> anyhow::Result<PathBuf> {
    let (organization, user) = identity
        .split_once('/')
        .with_context(|| format!("`{identity}` is not of the form ORG/USER"))?;
    let organization = network.organization(organization)?;
    Ok(network.user_dir(organization, user).join("tls"))
}

/// Which orderers get what is submitted.
#[derive(Clone, Debug, Args)]
pub struct OrdererArgs {
    /// Orderer to submit to, host:port; by default those that the channel's configuration names, in
    /// turn.
    #[arg(long, value_name = "HOST:PORT")]
    orderer: Option<String>,
    /// PEM file with the root of the orderer's TLS certificate; by default the roots in the
    /// channel's configuration.
    #[arg(long, value_name = "FILE")]
    orderer_tls_ca: Option<PathBuf>,
}

/// Whose keys are at hand for signatures.
#[derive(Clone, Debug, Args)]
pub struct SignerArgs {
    /// A further administrator who signs: MSP folder, colon, MSP id; repeat for more.
    #[arg(long = "signer", value_name = "FOLDER:ID")]
    signers: Vec<String>,
    /// Connection profile with administrators' keys, who sign, too; repeat for more.
    #[arg(long = "profile", value_name = "FILE")]
    profiles: Vec<PathBuf>,
}

impl SignerArgs {
    /// The member himself and all whose keys are at hand; of a local network that is every
    /// organization's administrator.
    ///
    /// # Errors
    /// A key that was named cannot be read.
    pub fn signers(&self, member: &Member) -> anyhow::Result<Vec<Arc<dyn Signer>>> {
        let mut signers = vec![member.signer()];
        for named in &self.signers {
            let (folder, msp_id) = named.rsplit_once(':').with_context(|| {
                format!("`{named}` is not of the form FOLDER:ID, as in maker/msp:MakerMSP")
            })?;
            signers.push(connect::signer(Path::new(folder), msp_id)?);
        }
        for file in &self.profiles {
            signers.extend(administrators(file)?);
        }
        if let Some(network) = &member.network {
            for organization in &network.organizations {
                let identity = format!("{}/Admin", organization.name);
                // One that was added to the description only has no keys yet.
                if let Ok(target) = connect::target_of(network, &identity) {
                    signers.push(target.signer);
                }
            }
        }
        let mut distinct: Vec<Arc<dyn Signer>> = Vec::new();
        for signer in signers {
            if !distinct
                .iter()
                .any(|known| known.serialized() == signer.serialized())
            {
                distinct.push(signer);
            }
        }
        Ok(distinct)
    }
}

impl Member {
    /// Who signs what is submitted.
    pub fn signer(&self) -> Arc<dyn Signer> {
        self.target.signer.clone()
    }

    /// The configuration in force at the peer.
    ///
    /// # Errors
    /// It does not answer, or has no such channel.
    pub async fn config(&self) -> anyhow::Result<ChannelConfig> {
        let channel = &self.target.channel;
        let admin = Admin::new(self.target.connect().await?, self.target.signer.clone());
        let config = admin.channel_config(channel).await.with_context(|| {
            format!(
                "cannot get the configuration of {channel} from {}",
                self.target.endpoint
            )
        })?;
        Ok(ChannelConfig::new(channel, config)?)
    }

    /// Hands an envelope to the orderers in turn, until one takes it, and tells which.
    ///
    /// # Errors
    /// What the last one answered. Who refuses an update does so for all, so nobody else is asked.
    pub async fn submit(
        &self,
        config: &ChannelConfig,
        args: &OrdererArgs,
        envelope: &Envelope,
    ) -> anyhow::Result<String> {
        let roots = match &args.orderer_tls_ca {
            Some(file) => vec![read(file)?],
            None => config.orderer_tls_roots(),
        };
        let tls = ClientTls::new(self.tls_identity.clone(), &roots)?;
        let endpoints = match &args.orderer {
            Some(endpoint) => vec![endpoint.clone()],
            None => config.orderer_endpoints(),
        };
        let mut outcome = Err(anyhow::anyhow!(
            "the configuration names no orderer; name one with --orderer"
        ));
        for endpoint in endpoints {
            outcome = self::submit(&endpoint, tls.clone(), envelope.clone()).await;
            match &outcome {
                Ok(()) => return Ok(endpoint),
                Err(error) if is_final(error) => break,
                Err(_) => {}
            }
        }
        outcome.map(|()| String::new())
    }
}

/// Whether an orderer has looked at the update and does not want it; others are only not able to.
fn is_final(error: &anyhow::Error) -> bool {
    use consilium_client::ClientError;
    use consilium_proto::common::Status;
    matches!(
        error.downcast_ref::<ClientError>(),
        Some(ClientError::NotOrdered {
            status: Status::BadRequest | Status::Forbidden | Status::RequestEntityTooLarge,
            ..
        })
    )
}

async fn submit(endpoint: &str, tls: Arc<ClientTls>, envelope: Envelope) -> anyhow::Result<()> {
    let connection = consilium_transport::connect(endpoint, Some(tls), CONNECT_TIMEOUT)
        .await
        .with_context(|| format!("cannot reach the orderer at {endpoint}"))?;
    let sent = Orderer::new(connection).broadcast(envelope).await;
    sent.with_context(|| format!("the orderer at {endpoint} did not take it"))
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(content.into())
}
