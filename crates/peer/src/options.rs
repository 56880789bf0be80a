//! What a peer is made of, as plain values: configuration files are read elsewhere.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use consilium_chaincode::LaunchOptions;
use consilium_contracts::Contract;
use consilium_gossip::GossipOptions;
use consilium_msp::{LocalMsp, SigningIdentity};
use consilium_transport::ClientTls;

use crate::private::PrivateOptions;

/// Everything that [`Peer::open`](crate::Peer::open) needs to know.
pub struct PeerOptions {
    /// Folder for ledgers and installed chaincodes; made when it is missing.
    pub data_dir: PathBuf,
    /// Folder for snapshots (`ledger.snapshots.rootDir`); made when it is missing.
    pub snapshots_dir: PathBuf,
    /// The peer's identity: signs endorsements and requests to orderers.
    pub signer: SigningIdentity,
    /// The organization's own MSP; decides what needs no channel (join, install).
    pub local_msp: LocalMsp,
    /// TLS towards orderers and other peers; `None` dials in plain text.
    pub client_tls: Option<Arc<ClientTls>>,
    /// `host:port` under which others reach this peer; appears in error details.
    pub address: String,
    /// Contracts compiled into this process.
    pub contracts: Vec<Arc<dyn Contract>>,
    /// How long one chaincode call may take (`chaincode.executetimeout`).
    pub execute_timeout: Duration,
    /// How chaincode outside of this process is built and started. Builds lie in `data_dir`, whatever
    /// this says.
    pub launch: LaunchOptions,
    /// Whether clients must present TLS certificates; binds deliver requests to them.
    pub mutual_tls: bool,
    /// Largest difference between a request's timestamp and our clock
    /// (`peer.authentication.timewindow`).
    pub time_window: Duration,
    /// Proposals worked on at once (`peer.limits.concurrency.endorserService`).
    pub endorser_concurrency: usize,
    /// Deliver streams open at once (`peer.limits.concurrency.deliverService`).
    pub deliver_concurrency: usize,
    /// Threads that check signatures.
    pub verification_threads: usize,
    /// Pauses between attempts to reach an orderer.
    pub reconnect: ReconnectBackoff,
    /// How long connecting to an orderer may take (`peer.deliveryclient.connTimeout`).
    pub orderer_dial_timeout: Duration,
    /// How long no orderer may be reachable before an elected leader lets another peer lead
    /// (`peer.deliveryclient.reconnectTotalTimeThreshold`).
    pub orderer_give_up_after: Duration,
    /// Where to dial instead of an orderer's `host:port` in the channel's configuration
    /// (`peer.deliveryclient.addressOverrides`).
    pub orderer_overrides: BTreeMap<String, OrdererOverride>,
    /// Results that one query of a chaincode gives at most (`ledger.state.totalQueryLimit`).
    pub total_query_limit: u32,
    /// Whether chaincode may ask for past values of keys (`ledger.history.enableHistoryDatabase`).
    pub history: bool,
    /// How private data is exchanged.
    pub private: PrivateOptions,
    /// How other peers are found; without it private data stays where it was endorsed.
    pub gossip: Option<GossipOptions>,
}

impl PeerOptions {
    /// Options with Fabric's defaults for everything that has one.
    pub fn new(
        data_dir: PathBuf,
        signer: impl Into<SigningIdentity>,
        local_msp: impl Into<LocalMsp>,
    ) -> Self {
        Self {
            snapshots_dir: data_dir.join("snapshots"),
            data_dir,
            signer: signer.into(),
            local_msp: local_msp.into(),
            client_tls: None,
            address: String::new(),
            contracts: Vec::new(),
            execute_timeout: Duration::from_secs(30),
            launch: LaunchOptions::default(),
            mutual_tls: false,
            time_window: Duration::from_secs(15 * 60),
            endorser_concurrency: 2500,
            deliver_concurrency: 2500,
            verification_threads: std::thread::available_parallelism().map_or(2, usize::from),
            reconnect: ReconnectBackoff::default(),
            orderer_dial_timeout: Duration::from_secs(3),
            orderer_give_up_after: Duration::from_secs(3600),
            orderer_overrides: BTreeMap::new(),
            total_query_limit: 100_000,
            history: true,
            private: PrivateOptions::default(),
            gossip: None,
        }
    }
}

/// Where an orderer really is.
#[derive(Clone)]
pub struct OrdererOverride {
    /// `host:port` to dial.
    pub address: String,
    /// TLS there, if not the one towards all others.
    pub tls: Option<Arc<ClientTls>>,
}

impl OrdererOverride {
    /// Another address, the same TLS.
    pub fn to(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            tls: None,
        }
    }
}

/// Exponential pause between attempts to reach an orderer.
#[derive(Clone, Copy, Debug)]
pub struct ReconnectBackoff {
    /// Pause after the first failure.
    pub first: Duration,
    /// Growth with each further failure.
    pub factor: f64,
    /// Longest pause.
    pub limit: Duration,
}

impl Default for ReconnectBackoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            factor: 1.2,
            limit: Duration::from_secs(3),
        }
    }
}

impl ReconnectBackoff {
    /// The pause after `failures` failures in a row; none after none.
    pub fn pause(&self, failures: u32) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(failures - 1).unwrap_or(i32::MAX);
        let seconds = self.first.as_secs_f64() * self.factor.powi(exponent);
        Duration::try_from_secs_f64(seconds).map_or(self.limit, |pause| pause.min(self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_a_fifth_and_stop_growing_at_the_limit() {
        let backoff = ReconnectBackoff::default();
        let cases = [
            (0, Duration::ZERO),
            (1, Duration::from_millis(100)),
            (2, Duration::from_millis(120)),
            (3, Duration::from_millis(144)),
            (40, Duration::from_secs(3)),
            (u32::MAX, Duration::from_secs(3)),
        ];
        for (failures, expected) in cases {
            let got = backoff.pause(failures);
            let difference = got.abs_diff(expected);
            assert!(difference < Duration::from_micros(1), "{failures}: {got:?}");
        }
    }
}
