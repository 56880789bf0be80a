//! Connection profiles, as Fabric's SDKs and `test-network` write them: organizations with their
//! administrator, peers with their TLS roots.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use consilium_msp::{Signer, SoftwareSigner};
use consilium_transport::{ClientTls, TlsIdentity};
use serde::Deserialize;

use crate::{
    commands::connect::Target,
    config::{read as read_yaml, relative},
};

/// An organization of a profile.
pub struct Described {
    /// MSP id.
    pub msp_id: String,
    /// Its peers, before which its administrator stands.
    pub peers: Vec<Target>,
}

/// What of a profile concerns us; there is more in one.
#[derive(Debug, Deserialize)]
struct Profile {
    organizations: BTreeMap<String, Organization>,
    peers: BTreeMap<String, PeerEntry>,
    #[serde(default)]
    client: Client,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Organization {
    #[serde(alias = "mspID")]
    mspid: String,
    #[serde(default)]
    peers: Vec<String>,
    admin_private_key: Option<Pem>,
    signed_cert: Option<Pem>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PeerEntry {
    url: String,
    #[serde(rename = "tlsCACerts")]
    tls_ca_certs: Pem,
    #[serde(default)]
    grpc_options: GrpcOptions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GrpcOptions {
    #[serde(rename = "ssl-target-name-override")]
    target_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Client {
    tls_certs: Option<TlsCerts>,
}

#[derive(Debug, Deserialize)]
struct TlsCerts {
    client: ClientCertificate,
}

#[derive(Debug, Deserialize)]
struct ClientCertificate {
    key: Pem,
    cert: Pem,
}

/// Certificates or a key, in the profile or in a file that it names, seen from its folder.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Pem {
    Path(PathBuf),
    Pem(Text),
}

/// One text, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    One(String),
    Many(Vec<String>),
}

impl Pem {
    fn read(&self, profile: &Path) -> anyhow::Result<Bytes> {
        match self {
            Self::Path(path) => {
                let path = relative(profile, path);
                let read = std::fs::read(&path);
                Ok(read
                    .with_context(|| format!("cannot read {}", path.display()))?
                    .into())
            }
            Self::Pem(Text::One(text)) => Ok(text.clone().into()),
            Self::Pem(Text::Many(texts)) => Ok(texts.join("\n").into()),
        }
    }
}

/// The organizations of the profile in `file` that it has the administrator's key of.
///
/// # Errors
/// Says what is missing, or which file cannot be read.
pub fn read(file: &Path, channel: &str) -> anyhow::Result<Vec<Described>> {
    let profile: Profile = read_yaml(file)?;
    let identity = match &profile.client.tls_certs {
        None => None,
        Some(TlsCerts { client }) => Some(TlsIdentity::from_pem(
            &client.cert.read(file)?,
            &client.key.read(file)?,
        )?),
    };
    let mut described = Vec::new();
    for (name, organization) in &profile.organizations {
        // Those of others, whose peers are named too.
        let (Some(key), Some(certificate)) =
            (&organization.admin_private_key, &organization.signed_cert)
        else {
            continue;
        };
        let msp_id = &organization.mspid;
        let signer =
            SoftwareSigner::from_pem(msp_id, &certificate.read(file)?, &key.read(file)?)
                .with_context(|| format!("organizations.{name}: the administrator cannot sign"))?;
        let signer: Arc<dyn Signer> = Arc::new(signer);
        let mut peers = Vec::new();
        for peer in &organization.peers {
            let entry = profile.peers.get(peer);
            let entry =
                entry.with_context(|| format!("organizations.{name} has no peers.{peer}"))?;
            peers.push(Target {
                endpoint: entry.endpoint()?,
                tls: entry.tls(file, identity.clone())?,
                signer: signer.clone(),
                channel: channel.to_owned(),
            });
        }
        ensure!(!peers.is_empty(), "organizations.{name} has no peers");
        described.push(Described {
            msp_id: msp_id.clone(),
            peers,
        });
    }
    ensure!(
        !described.is_empty(),
        "no organization has adminPrivateKey and signedCert"
    );
    Ok(described)
}

/// The administrators whose keys the profile in `file` has.
///
/// # Errors
/// As [`read`].
pub fn administrators(file: &Path) -> anyhow::Result<Vec<Arc<dyn Signer>>> {
    let described = read(file, "").with_context(|| file.display().to_string())?;
    let first = described.into_iter().filter_map(|organization| {
        let peer = organization.peers.into_iter().next()?;
        Some(peer.signer)
    });
    Ok(first.collect())
}

impl PeerEntry {
    fn endpoint(&self) -> anyhow::Result<String> {
        let endpoint = self.url.strip_prefix("grpcs://");
        let endpoint = endpoint
            .with_context(|| format!("`{}` is not of the form grpcs://host:port", self.url))?;
        Ok(endpoint.trim_end_matches('/').to_owned())
    }

    fn tls(&self, profile: &Path, identity: Option<TlsIdentity>) -> anyhow::Result<Arc<ClientTls>> {
        let roots = [self.tls_ca_certs.read(profile)?];
        Ok(match &self.grpc_options.target_name {
            Some(name) => ClientTls::with_server_name(identity, &roots, name)?,
            None => ClientTls::new(identity, &roots)?,
        })
    }
}
