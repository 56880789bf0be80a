//! The client side of an orderer's channel participation REST, over mutual TLS.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::Deserialize;

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

impl Participation {
    /// Uses the TLS pair in `tls` (client.crt, client.key, ca.crt).
    ///
    /// # Errors
    /// A file is missing or is no certificate or key.
    pub fn new(port: u16, tls: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(tls.join("ca.crt"))? {
            roots.add(root?)?;
        }
        let chain = CertificateDer::pem_file_iter(tls.join("client.crt"))?
            .collect::<Result<Vec<_>, _>>()
            .context("client.crt")?;
        let key = PrivateKeyDer::from_pem_file(tls.join("client.key")).context("client.key")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .http1_only()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()?;
        Ok(Self {
            http,
            url: format!("https://localhost:{port}/participation/v1/channels"),
        })
    }

    /// The orderer's view of `channel`; `None` when it has not joined.
    ///
    /// # Errors
    /// The orderer cannot be reached, or refuses.
    pub async fn channel(&self, channel: &str) -> anyhow::Result<Option<ChannelInfo>> {
        let response = self
            .http
            .get(format!("{}/{channel}", self.url))
            .send()
            .await?;
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
        let boundary = format!("consilium{:032x}", rand::random::<u128>());
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"config-block\"; \
             filename=\"config.block\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(genesis);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let response = self
            .http
            .post(&self.url)
            .header(
                reqwest::header::CONTENT_TYPE,
                format!("multipart/form-data; boundary={boundary}"),
            )
            .body(body)
            .send()
            .await?;
        checked(response).await.map(drop)
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
