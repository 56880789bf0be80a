//! `gateway.yaml`: an organization's door for FHIR clients and browsers.

use std::path::PathBuf;

use serde::Deserialize;

/// The keys of `gateway.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GatewayConfig {
    /// `host:port` to listen on.
    pub listen_address: String,
    /// What clients write in front of `/fhir`, `https://host:port`; part of tokens and links.
    pub external_url: String,
    /// TLS of the listener.
    pub tls: GatewayTls,
    /// The organization's peer.
    pub peer: GatewayPeer,
    /// The ledger channel.
    pub channel: String,
    /// MSP id of the organization.
    pub msp_id: String,
    /// Folder with the identities that the gateway may sign with: `NAME/msp` or `NAME@domain/msp`.
    pub wallet: PathBuf,
    /// Folder of encrypted documents, their keys and the index.
    pub data: PathBuf,
    /// File with the key of care pseudonyms, 32 bytes in hexadecimal; the same in the whole
    /// consortium, or one person has several pseudonyms.
    pub pseudonym_key: PathBuf,
    /// Who confirms on the ledger that a document's key was released: an identity of the wallet with
    /// `hc.role` `records` or `dpo`. Without one, this gateway keeps no documents.
    #[serde(default)]
    pub key_service: Option<String>,
}

/// `tls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GatewayTls {
    /// PEM.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// PEM files: whose clients may show a certificate instead of a token.
    #[serde(default, rename = "clientRootCAs")]
    pub client_root_cas: Vec<PathBuf>,
}

/// `peer`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GatewayPeer {
    /// `host:port`
    pub address: String,
    /// PEM file with the roots of the peer's TLS certificate.
    pub root_cert: PathBuf,
    /// PEM, where the peer wants a certificate.
    #[serde(default)]
    pub client_cert: Option<PathBuf>,
    /// PEM.
    #[serde(default)]
    pub client_key: Option<PathBuf>,
}
