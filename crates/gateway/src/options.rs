//! Settings of the gateway.

use std::time::Duration;

/// Limits of the gateway; defaults are Fabric's except where noted.
#[derive(Clone, Copy, Debug)]
pub struct GatewayOptions {
    /// Longest wait for one endorser (`peer.gateway.endorsementTimeout`).
    pub endorsement_timeout: Duration,
    /// Longest wait for one orderer (`peer.gateway.broadcastTimeout`).
    pub broadcast_timeout: Duration,
    /// Longest wait for a connection (`peer.gateway.dialTimeout`).
    pub dial_timeout: Duration,
    /// Calls served at once (`peer.limits.concurrency.gatewayService`). Fabric's sample allows 500;
    /// a waiting call costs little here.
    pub concurrency: usize,
    /// Broadcast streams kept open per orderer; transactions share them.
    pub streams_per_orderer: usize,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            endorsement_timeout: Duration::from_secs(10),
            broadcast_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(30),
            concurrency: 2500,
            streams_per_orderer: 2,
        }
    }
}
