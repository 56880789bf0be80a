//! What gossip is made of, as plain values.

use std::{sync::Arc, time::Duration};

use consilium_msp::Signer;
use consilium_transport::{ClientTls, MAX_MESSAGE};

/// Everything that [`Gossip::start`](crate::Gossip::start) needs besides its host. Names are those
/// of `peer.gossip.*` in `core.yaml`.
#[derive(Clone)]
pub struct GossipOptions {
    /// The peer's identity.
    pub signer: Arc<dyn Signer>,
    /// `host:port` for peers of the own organization (`endpoint`).
    pub endpoint: String,
    /// `host:port` for peers of other organizations; empty: they do not hear of this peer
    /// (`externalEndpoint`).
    pub external_endpoint: String,
    /// Peers of the own organization to ask first (`bootstrap`).
    pub bootstrap: Vec<String>,
    /// TLS towards other peers; `None` for plain text, which only tests use.
    pub client_tls: Option<Arc<ClientTls>>,
    /// SHA-256 of the TLS certificate that the own server shows.
    pub server_certificate_hash: Option<[u8; 32]>,
    /// How often a peer says that it is alive (`aliveTimeInterval`).
    pub alive_interval: Duration,
    /// Silence after which a peer counts as dead (`aliveExpirationTimeout`).
    pub alive_expiration: Duration,
    /// How often peers that are not connected are dialled (`reconnectInterval`).
    pub reconnect_interval: Duration,
    /// How often heights are told when they have changed (`publishStateInfoInterval`).
    pub state_info_interval: Duration,
    /// How long connecting may take (`dialTimeout`).
    pub dial_timeout: Duration,
    /// How long the other side's first message may take (`connTimeout`).
    pub connection_timeout: Duration,
    /// Messages that may wait to be sent on one connection (`sendBuffSize`).
    pub send_buffer: usize,
    /// The largest message in bytes.
    pub max_message: usize,
    /// Streams that others may open at once.
    pub max_streams: usize,
}

impl GossipOptions {
    /// Fabric's defaults.
    pub fn new(signer: Arc<dyn Signer>, endpoint: impl Into<String>) -> Self {
        Self {
            signer,
            endpoint: endpoint.into(),
            external_endpoint: String::new(),
            bootstrap: Vec::new(),
            client_tls: None,
            server_certificate_hash: None,
            alive_interval: Duration::from_secs(5),
            alive_expiration: Duration::from_secs(25),
            reconnect_interval: Duration::from_secs(25),
            state_info_interval: Duration::from_secs(4),
            dial_timeout: Duration::from_secs(3),
            connection_timeout: Duration::from_secs(2),
            send_buffer: 200,
            max_message: MAX_MESSAGE,
            max_streams: 1024,
        }
    }
}
