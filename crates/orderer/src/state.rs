//! What all parts of a channel share: its blocks, its configuration, how far it is.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use consilium_deliver::BlockSource;
use consilium_ledger::BlockStore;
use consilium_proto::etcdraft;
use consilium_protocol::config::ChannelConfig;
use parking_lot::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::watch;

use crate::consenters::{self, Consenter};
use crate::error::OrdererError;

/// How long a channel may be without leader before strict readers are sent elsewhere.
const LEADERLESS: Duration = Duration::from_secs(10);

/// How far the chain is: position of the last applied entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) term: u64,
    pub(crate) index: u64,
    /// Bytes of envelopes applied since this node started.
    pub(crate) bytes: u64,
}

/// One channel, as its parts share it.
pub(crate) struct ChainState {
    pub(crate) name: String,
    /// This node's Raft id.
    pub(crate) id: u64,
    pub(crate) store: Arc<BlockStore>,
    pub(crate) progress: watch::Sender<Progress>,
    configuration: ArcSwap<Configuration>,
    /// Told about every new configuration.
    configured: watch::Sender<u64>,
    /// Since when there is no leader.
    leaderless: Mutex<Option<Instant>>,
}

struct Configuration {
    config: Arc<ChannelConfig>,
    consenters: Arc<Vec<Consenter>>,
    raft: etcdraft::Options,
}

impl Configuration {
    fn new(config: Arc<ChannelConfig>) -> Result<Self, String> {
        let consenters = Arc::new(consenters::of(&config)?);
        let metadata = config.raft_metadata().map_err(|error| error.to_string())?;
        let raft = metadata.options.ok_or("no etcdraft options")?;
        Ok(Self {
            config,
            consenters,
            raft,
        })
    }
}

impl ChainState {
    pub(crate) fn new(
        store: Arc<BlockStore>,
        config: Arc<ChannelConfig>,
        certificates: (&Bytes, &Bytes),
    ) -> Result<Self, OrdererError> {
        let name = config.channel_id().to_owned();
        let sequence = config.sequence();
        let configuration =
            Configuration::new(config).map_err(|reason| OrdererError::Consenters {
                channel: name.clone(),
                reason,
            })?;
        let consenters = &configuration.consenters;
        let (server, client) = certificates;
        let id = consenters::own_id(consenters, server, client).ok_or_else(|| {
            OrdererError::NotConsenter {
                channel: name.clone(),
            }
        })?;
        crate::metrics::channel_opened(&name, consenters.len(), store.height());
        Ok(Self {
            id,
            store,
            progress: watch::Sender::new(Progress::default()),
            configured: watch::Sender::new(sequence),
            configuration: ArcSwap::from_pointee(configuration),
            leaderless: Mutex::new(Some(Instant::now())),
            name,
        })
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<ChannelConfig> {
        self.configuration.load().config.clone()
    }

    /// The consenters in force.
    pub(crate) fn consenters(&self) -> Arc<Vec<Consenter>> {
        self.configuration.load().consenters.clone()
    }

    /// The Raft options in force.
    pub(crate) fn raft_options(&self) -> etcdraft::Options {
        self.configuration.load().raft.clone()
    }

    /// The consenters but this node.
    pub(crate) fn others(&self) -> Vec<Consenter> {
        self.consenters()
            .iter()
            .filter(|consenter| consenter.id != self.id)
            .cloned()
            .collect()
    }

    /// `host:port` of a consenter.
    pub(crate) fn address(&self, id: u64) -> Option<String> {
        let configuration = self.configuration.load();
        let found = configuration
            .consenters
            .iter()
            .find(|consenter| consenter.id == id)?;
        Some(found.address.clone())
    }

    /// Puts a configuration in force.
    pub(crate) fn set_config(&self, config: &Arc<ChannelConfig>) {
        match Configuration::new(config.clone()) {
            Ok(configuration) => self.configuration.store(Arc::new(configuration)),
            // Cannot happen after the checks before ordering.
            Err(reason) => {
                tracing::error!(
                    channel = self.name,
                    reason,
                    "configuration cannot be put in force"
                );
                return;
            }
        }
        self.configured.send_replace(config.sequence());
    }

    /// Follows changes of the configuration.
    pub(crate) fn configurations(&self) -> watch::Receiver<u64> {
        self.configured.subscribe()
    }

    /// A block was appended.
    pub(crate) fn wrote_block(&self, number: u64) {
        crate::metrics::block_written(&self.name, number);
    }

    /// Whether a leader is known.
    pub(crate) fn set_leader(&self, known: bool) {
        let mut leaderless = self.leaderless.lock();
        if known {
            *leaderless = None;
        } else if leaderless.is_none() {
            *leaderless = Some(Instant::now());
        }
    }
}

impl BlockSource for ChainState {
    fn channel_id(&self) -> &str {
        &self.name
    }

    fn height(&self) -> u64 {
        self.store.height()
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.store.subscribe()
    }

    fn block_bytes(&self, number: u64) -> Result<Option<Bytes>, String> {
        self.store
            .block_bytes(number)
            .map_err(|error| error.to_string())
    }

    fn config(&self) -> Arc<ChannelConfig> {
        ChainState::config(self)
    }

    fn healthy(&self) -> Result<(), String> {
        match *self.leaderless.lock() {
            Some(since) if since.elapsed() > LEADERLESS => Err("no Raft leader".into()),
            _ => Ok(()),
        }
    }
}
