//! The client side of an orderer's channel participation REST, over mutual TLS.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::Deserialize;
use zeroize::Zeroizing;

/// What an orderer says of a channel.
#[derive(Clone, Debug, Deserialize)]
pub struct ChannelInfo {
    /// `active`, `onboarding`, `inactive` or `failed`.
    pub status: String,
    /// Blocks that it has.
    pub height: u64,
}

/// An administrator's connection to one orderer.
pub struct Participation {
    http: reqwest::Client,
    url: String,
}

/// Whom an administrator trusts, and who they are: PEM.
pub struct AdminTls {
    /// Authorities of the orderer's certificate.
    pub roots: Vec<u8>,
    /// The administrator's certificate.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Zeroizing<Vec<u8>>,
}

impl Participation {
    /// Uses the TLS pair in `tls` (client.crt, client.key, ca.crt).
    ///
    /// # Errors
    /// A file is missing or is no certificate or key.
    pub fn new(port: u16, tls: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| std::fs::read(tls.join(name)).with_context(|| name.to_owned());
        let tls = AdminTls {
            roots: read("ca.crt")?,
            certificate: read("client.crt")?,
            key: read("client.key")?.into(),
        };
        Self::connect(&format!("localhost:{port}"), Some(&tls))
    }

    /// Uses an orderer's admin endpoint, such as `orderer.example.com:7053`; without TLS only where
    /// it has none.
    ///
    /// # Errors
    /// What should be a certificate or key is none.
    pub fn connect(address: &str, tls: Option<&AdminTls>) -> anyhow::Result<Self> {
        let mut http = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .timeout(Duration::from_secs(20));
        let mut scheme = "http";
        if let Some(tls) = tls {
            let mut roots = RootCertStore::empty();
            for root in CertificateDer::pem_slice_iter(&tls.roots) {
                roots.add(root?)?;
            }
            anyhow::ensure!(!roots.is_empty(), "failed to add ca-file PEM to cert pool");
            let pair = "loading client cert/key pair";
            let chain = CertificateDer::pem_slice_iter(&tls.certificate)
                .collect::<Result<Vec<_>, _>>()
                .context(pair)?;
            let key = PrivateKeyDer::from_pem_slice(&tls.key).context(pair)?;
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_client_auth_cert(chain, key)
                .context(pair)?;
            http = http.tls_backend_preconfigured(config);
            scheme = "https";
        }
        Ok(Self {
            http: http.build()?,
            url: format!("{scheme}://{address}/participation/v1/channels"),
        })
    }

    /// All channels or one of them, as the orderer answers.
    ///
    /// # Errors
    /// The orderer cannot be reached.
    pub async fn list(&self, channel: Option<&str>) -> reqwest::Result<reqwest::Response> {
        self.http.get(self.of(channel)).send().await
    }

    /// Takes the orderer out of a channel.
    ///
    /// # Errors
    /// The orderer cannot be reached.
    pub async fn remove(&self, channel: &str) -> reqwest::Result<reqwest::Response> {
        self.http.delete(self.of(Some(channel))).send().await
    }

    fn of(&self, channel: Option<&str>) -> String {
        match channel {
            Some(channel) => format!("{}/{channel}", self.url),
            None => self.url.clone(),
        }
    }

    /// The orderer's view of `channel`; `None` when it has not joined.
    ///
    /// # Errors
    /// The orderer cannot be reached, or refuses.
    pub async fn channel(&self, channel: &str) -> anyhow::Result<Option<ChannelInfo>> {
        let response = self.list(Some(channel)).await?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(checked(response).await?.json().await?))
    }

    /// Joins the orderer to the channel of a genesis block.
    ///
    /// # Errors
    /// The orderer cannot be reached, or refuses.
    pub async fn join(&self, genesis: &[u8]) -> anyhow::Result<()> {
        checked(self.ask_to_join(genesis).await?).await.map(drop)
    }

    /// Asks the orderer to join the channel of a configuration block.
    ///
    /// # Errors
    /// The orderer cannot be reached.
    pub async fn ask_to_join(&self, block: &[u8]) -> reqwest::Result<reqwest::Response> {
        let boundary = format!("consilium{:032x}", rand::random::<u128>());
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"config-block\"; \
             filename=\"config.block\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(block);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        self.http
            .post(&self.url)
            .header(
                reqwest::header::CONTENT_TYPE,
                format!("multipart/form-data; boundary={boundary}"),
            )
            .body(body)
            .send()
            .await
    }
}

async fn checked(response: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    anyhow::bail!("the orderer answered {status}: {}", text.trim())
}
