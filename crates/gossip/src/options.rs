//! What gossip is made of, as plain values.

use std::{sync::Arc, time::Duration};

use consilium_msp::SigningIdentity;
use consilium_transport::{ClientTls, MAX_MESSAGE};

use crate::election::ElectionTimes;

/// Whether a peer pulls the blocks of its channels from the ordering service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Always, or never (`orgLeader`).
    Static(bool),
    /// While its organization's peers have elected it in the channel (`useLeaderElection`).
    Elected(ElectionTimes),
}

/// How blocks go from peer to peer. Names are those of `peer.gossip.*` in `core.yaml`.
#[derive(Clone, Copy, Debug)]
pub struct BlockOptions {
    /// Whether blocks that come from the ordering service are told to peers of the own organization
    /// (`peer.deliveryclient.blockGossipEnabled`).
    pub gossip: bool,
    /// How often a block is pushed, each time to others (`propagateIterations`).
    pub propagate_iterations: usize,
    /// To how many peers (`propagatePeerNum`).
    pub propagate_peers: usize,
    /// How often peers are asked for the latest blocks (`pullInterval`).
    pub pull_interval: Duration,
    /// How many of them (`pullPeerNum`).
    pub pull_peers: usize,
    /// How long their answers are awaited (`digestWaitTime`).
    pub digest_wait: Duration,
    /// How long the blocks are awaited that were asked for then (`responseWaitTime`).
    pub response_wait: Duration,
    /// How many of the latest blocks are offered to others (`maxBlockCountToStore`).
    pub recent: u64,
    /// Whether this peer asks for ranges of blocks when it is behind (`state.enabled`).
    pub transfer: bool,
    /// How often it looks whether it is (`state.checkInterval`).
    pub check_interval: Duration,
    /// How long an answer may take (`state.responseTimeout`).
    pub response_timeout: Duration,
    /// Blocks in one request (`state.batchSize`).
    pub batch: u64,
    /// How often one request is repeated (`state.maxRetries`).
    pub retries: usize,
    /// How far ahead of the ledger a block may be to be kept until its turn (`state.blockBufferSize`).
    pub buffer: u64,
}

impl Default for BlockOptions {
    /// Fabric's defaults.
    fn default() -> Self {
        Self {
            gossip: true,
            propagate_iterations: 1,
            propagate_peers: 3,
            pull_interval: Duration::from_secs(4),
            pull_peers: 3,
            digest_wait: Duration::from_secs(1),
            response_wait: Duration::from_secs(2),
            recent: 10,
            transfer: false,
            check_interval: Duration::from_secs(10),
            response_timeout: Duration::from_secs(3),
            batch: 10,
            retries: 3,
            buffer: 20,
        }
    }
}

/// Everything that [`Gossip::start`](crate::Gossip::start) needs besides its host. Names are those
/// of `peer.gossip.*` in `core.yaml`.
#[derive(Clone)]
pub struct GossipOptions {
    /// The peer's identity.
    pub signer: SigningIdentity,
    /// `host:port` for peers of the own organization (`endpoint`).
    pub endpoint: String,
    /// `host:port` for peers of other organizations; empty: they do not hear of this peer
    /// (`externalEndpoint`).
    pub external_endpoint: String,
    /// Peers of the own organization to ask first (`bootstrap`).
    pub bootstrap: Vec<String>,
    /// TLS towards other peers; `None` for plain text, which only tests use.
    pub client_tls: Option<Arc<ClientTls>>,
    /// How often a peer says that it is alive (`aliveTimeInterval`).
    pub alive_interval: Duration,
    /// Silence after which a peer counts as dead (`aliveExpirationTimeout`).
    pub alive_expiration: Duration,
    /// How often peers that are not connected are dialled (`reconnectInterval`).
    pub reconnect_interval: Duration,
    /// How often heights are told when they have changed (`publishStateInfoInterval`).
    pub state_info_interval: Duration,
    /// How often others are asked for the heights that they know (`requestStateInfoInterval`).
    pub request_state_info_interval: Duration,
    /// Whether this peer pulls from the ordering service.
    pub leadership: Leadership,
    /// How blocks go from peer to peer.
    pub blocks: BlockOptions,
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
    pub fn new(signer: impl Into<SigningIdentity>, endpoint: impl Into<String>) -> Self {
        Self {
            signer: signer.into(),
            endpoint: endpoint.into(),
            external_endpoint: String::new(),
            bootstrap: Vec::new(),
            client_tls: None,
            alive_interval: Duration::from_secs(5),
            alive_expiration: Duration::from_secs(25),
            reconnect_interval: Duration::from_secs(25),
            state_info_interval: Duration::from_secs(4),
            request_state_info_interval: Duration::from_secs(4),
            leadership: Leadership::Static(true),
            blocks: BlockOptions::default(),
            dial_timeout: Duration::from_secs(3),
            connection_timeout: Duration::from_secs(2),
            send_buffer: 200,
            max_message: MAX_MESSAGE,
            max_streams: 1024,
        }
    }
}
