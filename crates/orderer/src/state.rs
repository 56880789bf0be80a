//! What all parts of a channel share: its blocks, its configuration, how far it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use consilium_deliver::BlockSource;
use consilium_protocol::config::ChannelConfig;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::configuration::Configuration;
use crate::consenters::{self, Consenter, Pin};
use crate::rt;
use crate::storage::BlockDisk;

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

/// How many pairs of its certificates a node remembers.
const OWN_PAIRS: usize = 4;

/// DER of the TLS certificates that this node shows to others, and of those that it has shown since
/// it was started: a consenter is known by what the configuration lists, which changes at another
/// moment than the certificates do.
#[derive(Clone)]
pub(crate) struct OwnCertificates(Arc<ArcSwap<Vec<Pair>>>);

/// What the listener shows, and what is shown when calling.
#[derive(Clone, PartialEq, Eq)]
struct Pair {
    server: Bytes,
    client: Bytes,
}

impl OwnCertificates {
    pub(crate) fn new(server: Bytes, client: Bytes) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(vec![Pair {
            server,
            client,
        }])))
    }

    /// Adds a pair, as the newest; what is not given stays as in the newest so far.
    pub(crate) fn renew(&self, server: Option<Bytes>, client: Option<Bytes>) {
        self.0.rcu(|known| {
            let Some(newest) = known.first() else {
                return Vec::new();
            };
            let new = Pair {
                server: server.clone().unwrap_or_else(|| newest.server.clone()),
                client: client.clone().unwrap_or_else(|| newest.client.clone()),
            };
            let earlier = known.iter().filter(|pair| **pair != new).cloned();
            let mut pairs = vec![new.clone()];
            pairs.extend(earlier.take(OWN_PAIRS - 1));
            pairs
        });
    }

    /// Adds a pair that is about to be shown, so that the node knows itself by it already; what is not
    /// given is as in the pair that is shown.
    pub(crate) fn expect(&self, server: Option<Bytes>, client: Option<Bytes>) {
        self.0.rcu(|known| {
            let Some(shown) = known.first() else {
                return Vec::new();
            };
            let new = Pair {
                server: server.clone().unwrap_or_else(|| shown.server.clone()),
                client: client.clone().unwrap_or_else(|| shown.client.clone()),
            };
            let earlier = known.iter().skip(1).filter(|pair| **pair != new).cloned();
            let mut pairs = vec![shown.clone(), new.clone()];
            pairs.extend(earlier.take(OWN_PAIRS - 2));
            pairs
        });
    }

    /// Whether a consenter who lists what this node shows now would not list what it is to show.
    fn breaks(&self, listed: &Consenter, server: Option<&Bytes>, client: Option<&Bytes>) -> bool {
        let known = self.0.load();
        let Some(shown) = known.first() else {
            return false;
        };
        let lost = |listed: &Pin, shown: &Bytes, new: Option<&Bytes>| {
            new.is_some_and(|new| {
                listed.matches(&Pin::from_der(shown)) && !listed.matches(&Pin::from_der(new))
            })
        };
        lost(&listed.server, &shown.server, server) || lost(&listed.client, &shown.client, client)
    }

    /// The consenter that this node is among these.
    fn id_among(&self, consenters: &[Consenter]) -> Option<u64> {
        let pairs = self.0.load();
        let mut ids = pairs
            .iter()
            .filter_map(|pair| consenters::own_id(consenters, &pair.server, &pair.client));
        ids.next()
    }
}

/// One channel, as its parts share it.
pub(crate) struct ChainState {
    pub(crate) name: String,
    pub(crate) store: Arc<dyn BlockDisk>,
    pub(crate) progress: watch::Sender<Progress>,
    certificates: OwnCertificates,
    configuration: ArcSwap<Configuration>,
    /// A later one than that, which this node has read of others.
    ahead: ArcSwapOption<Configuration>,
    /// Told about every new configuration.
    configured: watch::Sender<u64>,
    contact: Mutex<Contact>,
    /// Raft ids of the voters in the last committed membership: one set, or two while it changes.
    pub(crate) voters: Mutex<Vec<BTreeSet<u64>>>,
}

impl ChainState {
    pub(crate) fn new(
        store: Arc<dyn BlockDisk>,
        configuration: Configuration,
        certificates: OwnCertificates,
    ) -> Self {
        let name = configuration.config.channel_id().to_owned();
        let sequence = configuration.config.sequence();
        crate::metrics::channel_opened(&name, configuration.consenters.len(), store.height());
        Self {
            store,
            certificates,
            progress: watch::Sender::new(Progress::default()),
            configured: watch::Sender::new(sequence),
            configuration: ArcSwap::from_pointee(configuration),
            ahead: ArcSwapOption::empty(),
            contact: Mutex::new(Contact::Heard(rt::now())),
            voters: Mutex::default(),
            name,
        }
    }

    /// The configuration in force, with consenters.
    pub(crate) fn configuration(&self) -> Arc<Configuration> {
        self.configuration.load_full()
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<ChannelConfig> {
        self.configuration.load().config.clone()
    }

    /// The consenter that this node is, if it is listed.
    pub(crate) fn own_consenter(&self) -> Option<u64> {
        let configuration = self.configuration.load();
        self.certificates.id_among(&configuration.consenters)
    }

    /// Whether the other consenters would not know this node by these certificates (DER), though they know
    /// it now.
    pub(crate) fn forgets(&self, server: Option<&Bytes>, client: Option<&Bytes>) -> bool {
        let configuration = self.configuration.load();
        let own = self.certificates.id_among(&configuration.consenters);
        let listed = configuration
            .consenters
            .iter()
            .find(|consenter| Some(consenter.id) == own);
        listed.is_some_and(|listed| self.certificates.breaks(listed, server, client))
    }

    /// Whether this node was removed from the consenters by the configuration in force.
    pub(crate) fn is_leaving(&self) -> bool {
        let configuration = self.configuration.load();
        self.certificates.id_among(&configuration.leaving).is_some()
    }

    /// The consenters but this node, those included that only a configuration ahead lists.
    pub(crate) fn others(&self) -> Vec<Consenter> {
        let own = self.own_consenter();
        let current = self.configuration.load();
        let mut others: Vec<Consenter> = current.consenters.to_vec();
        if let Some(ahead) = &*self.ahead.load() {
            let added = ahead.consenters.iter();
            let added = added.filter(|new| !current.consenters.iter().any(|old| old.id == new.id));
            others.extend(added.cloned());
        }
        others.retain(|consenter| Some(consenter.id) != own);
        others
    }

    /// `host:port` of a Raft node.
    pub(crate) fn address(&self, node: u64) -> Option<String> {
        let known = self.configuration.load().address(node).map(str::to_owned);
        known.or_else(|| Some(self.ahead.load().as_ref()?.address(node)?.to_owned()))
    }

    /// A configuration that is in force elsewhere and will be here.
    pub(crate) fn set_ahead(&self, later: Configuration) {
        self.ahead.store(Some(Arc::new(later)));
    }

    /// The consenter with this client certificate (DER), by the configuration in force or by one
    /// that lies ahead.
    pub(crate) fn consenter_by_certificate(&self, certificate: &Bytes) -> Option<u64> {
        let current = self.configuration.load();
        consenters::by_client_certificate(&current.consenters, certificate).or_else(|| {
            let ahead = self.ahead.load();
            consenters::by_client_certificate(&ahead.as_ref()?.consenters, certificate)
        })
    }

    /// Puts a configuration in force.
    pub(crate) fn set_configuration(&self, configuration: &Configuration) {
        let sequence = configuration.config.sequence();
        let outdated = self
            .ahead
            .load()
            .as_ref()
            .is_some_and(|ahead| ahead.config.sequence() <= sequence);
        if outdated {
            self.ahead.store(None);
        }
        crate::metrics::cluster_size(&self.name, configuration.consenters.len());
        self.configuration.store(Arc::new(configuration.clone()));
        self.configured.send_replace(sequence);
    }

    /// Follows changes of the configuration.
    pub(crate) fn configurations(&self) -> watch::Receiver<u64> {
        self.configured.subscribe()
    }

    /// A block was appended.
    pub(crate) fn wrote_block(&self, number: u64) {
        crate::metrics::block_written(&self.name, number);
    }

    /// This node leads, or needs no leader.
    pub(crate) fn needs_no_leader(&self) {
        *self.contact.lock() = Contact::NotNeeded;
    }

    /// This node waits for a leader from now on.
    pub(crate) fn needs_leader(&self) {
        *self.contact.lock() = Contact::Heard(rt::now());
    }

    /// The leader has called.
    pub(crate) fn heard_leader(&self) {
        let mut contact = self.contact.lock();
        if let Contact::Heard(at) = &mut *contact {
            *at = rt::now();
        }
    }

    /// Raft ids of all voters in the last committed membership.
    pub(crate) fn committed_voters(&self) -> BTreeSet<u64> {
        self.voters.lock().iter().flatten().copied().collect()
    }

    /// How long this node has heard of no leader.
    pub(crate) fn leaderless_for(&self) -> Duration {
        match *self.contact.lock() {
            Contact::NotNeeded => Duration::ZERO,
            Contact::Heard(at) => rt::now().saturating_duration_since(at),
        }
    }
}

/// When the channel's leader was last heard of. Raft itself keeps naming the last leader until
/// there is another one.
enum Contact {
    NotNeeded,
    Heard(Instant),
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
        if self.leaderless_for() > LEADERLESS {
            return Err("no Raft leader".into());
        }
        Ok(())
    }
}
