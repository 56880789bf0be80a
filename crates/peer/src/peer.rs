//! The peer as a whole: its channels, its chaincodes, and what holds them together.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, Weak},
};

use bytes::Bytes;
use consilium_chaincode::{ChaincodeError, Host, HostOptions, LaunchOptions, PeerSupport};
use consilium_deliver::{BlockSource, Sources};
use consilium_gossip::{Gossip, GossipService, Member};
use consilium_ledger::{Ledger, LedgerError, UNFINISHED};
use consilium_msp::{Msp, MspError, MspManager, SignedData, SigningIdentity};
use consilium_proto::common;
use consilium_protocol::{
    config::{ChannelConfig, ConfigError},
    proposal::ParsedProposal,
};
use consilium_transport::ClientTls;
use parking_lot::{Mutex, RwLock};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    acl::{self, Guard, Proof},
    advertise::{self, Advertised},
    channel::{ChannelError, PeerChannel},
    crypto::{SignatureMemory, VerificationPool},
    deliver::DeliverService,
    endorse::{Endorser, EndorserService},
    entrance,
    feed::BlockFeed,
    indexes,
    intake::Intake,
    join::{Joining, busy_with},
    maintenance::{self, LEAVING, LedgersLock, MaintenanceError},
    options::{OrdererOverride, PeerOptions},
    private::{self, Private},
    snapshots::SnapshotService,
    verify::VerifyError,
};

/// Verdicts on signatures remembered: own endorsements until their transactions come back in a block,
/// and what was verified lately.
pub const SIGNATURES_REMEMBERED: usize = 100_000;

/// Why a peer does not start, or does not join a channel.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// A file or folder.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Threads could not be started.
    #[error("cannot start verification threads: {0}")]
    Threads(String),
    /// A ledger does not open.
    #[error("ledger {path}: {source}")]
    Ledger {
        /// Its folder.
        path: PathBuf,
        /// What happened.
        source: LedgerError,
    },
    /// A channel does not open.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The peer's own MSP cannot be used.
    #[error("local MSP: {0}")]
    Msp(#[from] MspError),
    /// Chaincodes cannot be hosted.
    #[error("chaincode host: {0}")]
    Chaincode(#[from] ChaincodeError),
    /// A join block is not a channel's first block.
    #[error("cannot join with block {0}: a channel is joined with its block 0")]
    NotGenesis(u64),
    /// A join block holds no usable configuration.
    #[error("cannot join: {0}")]
    Config(#[from] ConfigError),
    /// The channel asks for rules of validation that are not built here.
    #[error(
        "cannot join channel {0}: its application capability is older than V2_0, and transactions are judged by other rules under it, which this peer does not have"
    )]
    Capability(String),
    /// The channel is joined already.
    #[error(
        "cannot create ledger from genesis block: ledger [{0}] already exists with state [ACTIVE]"
    )]
    Exists(String),
    /// The channel is joined already, and paused.
    #[error(
        "cannot create ledger from genesis block: ledger [{0}] already exists with state [INACTIVE]"
    )]
    Paused(String),
    /// A channel cannot be joined now, as another one is being joined by the snapshot in this folder.
    #[error("cannot create ledger from genesis block: {}", busy_with(.0))]
    Joining(String),
    /// A channel cannot be joined by a snapshot.
    #[error("cannot create ledger from snapshot {folder}: {reason}")]
    Snapshot {
        /// Where the snapshot is.
        folder: String,
        /// Why.
        reason: String,
    },
    /// Snapshots could not be written.
    #[error(
        "error while creating the dir: {}: {source}, ensure peer has write access to configured ledger.snapshots.rootDir directory",
        path.display()
    )]
    SnapshotsDir {
        /// The folder.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Another process has the ledgers.
    #[error(transparent)]
    Maintenance(#[from] MaintenanceError),
    /// The peer is shutting down.
    #[error("the peer is shutting down")]
    ShuttingDown,
}

/// A running peer.
pub struct Peer {
    core: Arc<Core>,
    host: Arc<Host>,
    endorser: Arc<Endorser>,
}

/// What chaincodes and services need of the peer; [`Peer`] adds the chaincodes themselves.
pub(crate) struct Core {
    /// Itself, for what outlives a call.
    me: Weak<Core>,
    options: PeerOptions,
    ledgers: PathBuf,
    _lock: LedgersLock,
    channels: RwLock<BTreeMap<String, Arc<PeerChannel>>>,
    joining: Mutex<Joining>,
    /// What runs until the peer stops, and joins by snapshot.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    client_roots: Mutex<Vec<RootsListener>>,
    /// Who runs chaincodes on this peer; there before the first channel is.
    host: OnceLock<Weak<Host>>,
    pool: Arc<VerificationPool>,
    memory: Arc<SignatureMemory>,
    /// The own organization's MSP, with the identities of it that were seen.
    private: Arc<Private>,
    advertised: Advertised,
    stop: CancellationToken,
    runtime: Handle,
}

type RootsListener = Box<dyn Fn(&[Bytes]) + Send + Sync>;

impl Peer {
    /// Opens the data folder, takes up every channel in it and begins to pull blocks.
    ///
    /// Has to be called within a Tokio runtime; blocks while ledgers open.
    ///
    /// # Errors
    /// When a folder, a ledger or a chaincode package cannot be read.
    pub fn open(options: PeerOptions) -> Result<Arc<Self>, PeerError> {
        let ledgers = options.data_dir.join("ledgers");
        create_folder(&ledgers)?;
        let lock = LedgersLock::take(&options.data_dir)?;
        let install_dir = options.data_dir.join("chaincodes");
        create_folder(&install_dir)?;
        for name in ["temp", "completed"] {
            let path = options.snapshots_dir.join(name);
            std::fs::create_dir_all(&path)
                .map_err(|source| PeerError::SnapshotsDir { path, source })?;
        }
        let pool =
            VerificationPool::new(options.verification_threads).map_err(PeerError::Threads)?;
        let host_options = HostOptions {
            install_dir,
            execute_timeout: options.execute_timeout,
            total_query_limit: options.total_query_limit,
            history: options.history,
            launch: LaunchOptions {
                builds_dir: options.data_dir.join("externalbuilder").join("builds"),
                ..options.launch.clone()
            },
            ..HostOptions::default()
        };
        let contracts = options.contracts.clone();
        let stop = CancellationToken::new();
        let private = Private::new(
            options.private,
            options.signer.clone(),
            Handle::current(),
            stop.clone(),
        );
        let gossip_options = options.gossip.clone();
        let core = Arc::new_cyclic(|me| Core {
            me: me.clone(),
            ledgers,
            _lock: lock,
            channels: RwLock::default(),
            joining: Mutex::default(),
            tasks: Mutex::default(),
            client_roots: Mutex::default(),
            host: OnceLock::new(),
            pool: Arc::new(pool),
            memory: Arc::new(SignatureMemory::new(SIGNATURES_REMEMBERED)),
            private: Arc::new(private),
            advertised: Advertised::default(),
            stop,
            runtime: Handle::current(),
            options,
        });
        if let Some(gossip) = gossip_options {
            let host: Weak<dyn consilium_gossip::Host> = core.me.clone();
            core.private.connect(Gossip::start(gossip, host));
        }
        let host = Host::new(host_options, contracts, core.clone())?;
        core.host.get_or_init(|| Arc::downgrade(&host));
        for path in core.ledger_folders()? {
            if maintenance::is_paused(&path) {
                tracing::warn!(ledger = %path.display(), "channel is paused and not served");
                continue;
            }
            let ledger = Ledger::open_with(&path, &core.store(), &mut |_| {})
                .map_err(|source| PeerError::Ledger { path, source })?;
            core.take_up(ledger)?;
        }
        if let Some(gossip) = &core.options.gossip {
            let period = gossip.state_info_interval;
            let told = advertise::run(core.me.clone(), Arc::downgrade(&host), period);
            let stop = core.stop.clone();
            core.tasks.lock().push(tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = told => {}
                }
            }));
        }
        let endorser = Arc::new(Endorser::new(core.clone(), host.clone()));
        Ok(Arc::new(Self {
            core,
            host,
            endorser,
        }))
    }

    /// Calls `listener` with the TLS roots (PEM) of the application organizations of all channels, now
    /// and whenever they change: the node's listener accepts client certificates under them.
    /// `fabric: core/peer/peer.go updateTrustedRoots`
    pub fn on_client_roots(&self, listener: impl Fn(&[Bytes]) + Send + Sync + 'static) {
        let mut listeners = self.core.client_roots.lock();
        listener(&self.core.application_roots());
        listeners.push(Box::new(listener));
    }

    /// Looks anew at the TLS roots of the local MSP and the channels, and calls the listeners of
    /// [`Peer::on_client_roots`].
    pub fn renew_trust(&self) {
        self.core.trust_tls_roots();
    }

    /// Joins a channel by its block 0.
    ///
    /// # Errors
    /// When the block is not a channel's first one, or the channel is joined already.
    pub fn join(&self, genesis: &common::Block) -> Result<Arc<PeerChannel>, PeerError> {
        self.core.join(genesis)
    }

    /// Begins to join a channel by the snapshot in a folder of this machine, and goes on with that in
    /// the background. How that ends is logged; the channel is there then, or nothing is.
    ///
    /// # Errors
    /// When the snapshot cannot be one, its channel is joined already, or another join by snapshot
    /// goes on. Reads two small files, so it blocks.
    pub fn join_by_snapshot(&self, folder: &str) -> Result<(), PeerError> {
        self.core.join_by_snapshot(folder)
    }

    /// The folder of the snapshot by which a channel is being joined now.
    pub fn joining_by_snapshot(&self) -> Option<String> {
        self.core.joining_by_snapshot()
    }

    /// A joined channel.
    pub fn channel(&self, name: &str) -> Option<Arc<PeerChannel>> {
        self.core.channel(name)
    }

    /// Names of the joined channels, in order.
    pub fn channels(&self) -> Vec<String> {
        self.core.channels.read().keys().cloned().collect()
    }

    /// The host of this peer's chaincodes.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// MSP id of the peer's organization.
    pub fn msp_id(&self) -> &str {
        self.core.options.signer.msp_id()
    }

    /// `host:port` under which others reach this peer.
    pub fn address(&self) -> &str {
        &self.core.options.address
    }

    /// TLS towards other nodes.
    pub fn client_tls(&self) -> Option<&Arc<ClientTls>> {
        self.core.options.client_tls.as_ref()
    }

    /// Where orderers really are, by their addresses in channel configurations.
    pub fn orderer_overrides(&self) -> &BTreeMap<String, OrdererOverride> {
        &self.core.options.orderer_overrides
    }

    /// The peer's identity.
    pub fn signer(&self) -> &SigningIdentity {
        &self.core.options.signer
    }

    /// The pool that signatures are checked on.
    pub fn verification_pool(&self) -> &Arc<VerificationPool> {
        &self.core.pool
    }

    /// The in-process endorser, with all checks of the service.
    pub(crate) fn endorser(&self) -> &Arc<Endorser> {
        &self.endorser
    }

    /// The `protos.Endorser` service.
    pub fn endorser_service(&self) -> EndorserService {
        EndorserService::new(self.endorser.clone())
    }

    /// The `protos.Deliver` service.
    pub fn deliver_service(&self) -> DeliverService {
        let options = &self.core.options;
        DeliverService::new(
            self.core.clone(),
            options.time_window,
            options.mutual_tls,
            options.deliver_concurrency,
        )
    }

    /// The `protos.Snapshot` service.
    pub fn snapshot_service(&self) -> SnapshotService {
        SnapshotService::new(self.core.clone())
    }

    /// The `gossip.Gossip` service, if this peer gossips.
    pub fn gossip_service(&self) -> Option<GossipService> {
        Some(self.core.private.gossip()?.service())
    }

    /// This peer's gossip, if it gossips.
    pub fn gossip(&self) -> Option<&Arc<Gossip>> {
        self.core.private.gossip()
    }

    /// Checks that a signed request comes from the peer's own organization, as `guard` asks.
    ///
    /// # Errors
    /// Fabric's text of the refusal.
    pub fn check_local(&self, guard: &Guard, data: &SignedData) -> Result<(), String> {
        acl::check_local(
            guard,
            &self.core.options.local_msp.current(),
            &Proof::Signed(data),
        )
    }

    /// Living peers of a channel as gossip tells them, without this one.
    pub fn known_members(&self, channel: &str) -> Vec<Member> {
        let gossip = self.core.private.gossip();
        gossip.map_or_else(Vec::new, |gossip| gossip.members(channel))
    }

    /// Stops pulling blocks, lets those in the pipeline finish, and waits for it. Ends the processes of
    /// launched chaincodes.
    pub async fn shutdown(&self) {
        self.core.stop.cancel();
        self.host.shutdown().await;
        for channel in self.core.channels.read().values() {
            channel.ledger().stop_building_indexes();
        }
        loop {
            let tasks = std::mem::take(&mut *self.core.tasks.lock());
            if tasks.is_empty() {
                break;
            }
            // A join by snapshot may have begun some more before it saw the end.
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a task of the peer panicked");
                }
            }
        }
        if let Some(gossip) = self.core.private.gossip() {
            gossip.shutdown().await;
        }
        let channels = self.core.running();
        let closed = tokio::task::spawn_blocking(move || {
            for channel in channels {
                channel.ledger().close();
            }
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "closing a ledger panicked");
        }
    }
}

impl Core {
    pub(crate) fn options(&self) -> &PeerOptions {
        &self.options
    }

    pub(crate) fn me(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// Where ledgers lie, each in a folder called like its channel.
    pub(crate) fn ledgers(&self) -> &Path {
        &self.ledgers
    }

    pub(crate) fn joining(&self) -> &Mutex<Joining> {
        &self.joining
    }

    /// Cancelled when the peer stops.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs what blocks on a thread of its own; the peer waits for it when it stops.
    pub(crate) fn in_background(&self, work: impl FnOnce() + Send + 'static) {
        let task = self.runtime.spawn_blocking(work);
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    pub(crate) fn pool(&self) -> &Arc<VerificationPool> {
        &self.pool
    }

    pub(crate) fn own_msps(&self) -> MspManager {
        self.options.local_msp.manager()
    }

    pub(crate) fn private(&self) -> &Arc<Private> {
        &self.private
    }

    pub(crate) fn advertised(&self) -> &Advertised {
        &self.advertised
    }

    pub(crate) fn running(&self) -> Vec<Arc<PeerChannel>> {
        self.channels.read().values().cloned().collect()
    }

    pub(crate) fn memory(&self) -> &Arc<SignatureMemory> {
        &self.memory
    }

    pub(crate) fn channel(&self, name: &str) -> Option<Arc<PeerChannel>> {
        self.channels.read().get(name).cloned()
    }

    /// Folders of finished ledgers; what a crash left unfinished is removed.
    fn ledger_folders(&self) -> Result<Vec<PathBuf>, PeerError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PeerError::Io { path, source }
        };
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(&self.ledgers).map_err(failed(&self.ledgers))? {
            let path = entry.map_err(failed(&self.ledgers))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with(UNFINISHED) || name.starts_with(LEAVING) {
                std::fs::remove_dir_all(&path).map_err(failed(&path))?;
            } else if path.is_dir() {
                folders.push(path);
            }
        }
        folders.sort();
        Ok(folders)
    }

    /// Makes an open ledger a running channel.
    pub(crate) fn take_up(&self, ledger: Arc<Ledger>) -> Result<Arc<PeerChannel>, PeerError> {
        if self.stop.is_cancelled() {
            return Err(PeerError::ShuttingDown);
        }
        let channel = PeerChannel::open(ledger, self.options.local_msp.clone())?;
        channel.exchange_private(self.private.clone());
        self.channels
            .write()
            .insert(channel.name().to_owned(), channel.clone());
        self.trust_tls_roots();
        let feed = BlockFeed::start(channel.clone(), self.pool.clone(), self.memory.clone())
            .map_err(|error| PeerError::Threads(error.to_string()))?;
        let on_config = {
            let core = self.me.clone();
            move || {
                if let Some(core) = core.upgrade() {
                    core.trust_tls_roots();
                }
            }
        };
        let gossip = self.private.gossip().cloned();
        let blame = {
            let (gossip, name) = (gossip.clone(), channel.name().to_owned());
            move |peer: &Bytes, error: &VerifyError| {
                if let Some(gossip) = &gossip {
                    gossip.blame(&name, peer, &error.to_string());
                }
            }
        };
        let window = gossip.as_ref().map_or(0, |gossip| gossip.block_buffer());
        let (entrance, doorkeeper) = entrance::open(
            channel.clone(),
            self.pool.clone(),
            feed,
            window,
            Box::new(on_config),
            Box::new(blame),
        );
        channel.set_entrance(entrance.clone());
        // Without other peers there is nobody else who pulls.
        let (alone, leads) = watch::channel(true);
        let leads = match &gossip {
            Some(gossip) => gossip.join(channel.name()),
            None => leads,
        };
        let intake = Intake {
            channel: channel.clone(),
            signer: self.options.signer.clone(),
            client_tls: self.options.client_tls.clone(),
            backoff: self.options.reconnect,
            overrides: self.options.orderer_overrides.clone(),
            dial_timeout: self.options.orderer_dial_timeout,
            leads,
            gossip,
            give_up_after: self.options.orderer_give_up_after,
            stop: self.stop.clone(),
        };
        tracing::info!(
            channel = channel.name(),
            height = channel.ledger().height(),
            "channel is running"
        );
        let reconciling = private::reconcile(self.private.clone(), channel.clone());
        let mut tasks = self.tasks.lock();
        tasks.push(self.runtime.spawn(doorkeeper.run(self.stop.clone())));
        tasks.push(self.runtime.spawn(async move {
            intake.run(entrance).await;
            drop(alone);
        }));
        tasks.push(self.runtime.spawn(reconciling));
        if let Some(host) = self.host.get() {
            let keeping = indexes::keep(channel.clone(), host.clone(), self.stop.clone());
            tasks.push(self.runtime.spawn(keeping));
        }
        drop(tasks);
        Ok(channel)
    }

    /// Lets TLS accept the organizations of all channels.
    fn trust_tls_roots(&self) {
        {
            let listeners = self.client_roots.lock();
            let roots = self.application_roots();
            for listener in listeners.iter() {
                listener(&roots);
            }
        }
        let Some(tls) = &self.options.client_tls else {
            return;
        };
        let mut roots: Vec<Bytes> = self.options.local_msp.current().tls_root_pems();
        for root in self.roots_of_channels(ChannelConfig::tls_roots) {
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        if let Err(error) = tls.set_roots(&roots) {
            tracing::error!(%error, "cannot take over TLS roots of channels");
        }
    }

    fn application_roots(&self) -> Vec<Bytes> {
        self.roots_of_channels(ChannelConfig::application_tls_roots)
    }

    fn roots_of_channels(&self, of: impl Fn(&ChannelConfig) -> Vec<Bytes>) -> Vec<Bytes> {
        let channels: Vec<_> = self.channels.read().values().cloned().collect();
        let mut roots: Vec<Bytes> = channels
            .iter()
            .flat_map(|channel| of(&channel.config()))
            .collect();
        roots.sort();
        roots.dedup();
        roots
    }
}

impl PeerSupport for Core {
    fn ledger(&self, channel: &str) -> Option<Arc<Ledger>> {
        self.channel(channel)
            .map(|channel| channel.ledger().clone())
    }

    fn config(&self, channel: &str) -> Option<Arc<ChannelConfig>> {
        self.channel(channel).map(|channel| channel.config())
    }

    fn channels(&self) -> Vec<String> {
        self.channels.read().keys().cloned().collect()
    }

    fn join(&self, genesis: common::Block) -> Result<(), String> {
        Core::join(self, &genesis)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn join_by_snapshot(&self, folder: &str) -> Result<(), String> {
        Core::join_by_snapshot(self, folder).map_err(|error| error.to_string())
    }

    fn joining_by_snapshot(&self) -> Option<String> {
        Core::joining_by_snapshot(self)
    }

    fn local_msp(&self) -> Arc<Msp> {
        self.options.local_msp.current()
    }

    fn msp_id(&self) -> &str {
        self.options.signer.msp_id()
    }

    fn check_acl(
        &self,
        resource: &str,
        channel: &str,
        proposal: &ParsedProposal,
    ) -> Result<(), String> {
        // The endorser verified the proposal's signature before any chaincode sees it.
        let proof = Proof::Verified(&proposal.signature_header.creator);
        let local = acl::guard(resource, None);
        if matches!(local, Guard::LocalAdmins | Guard::LocalMembers) {
            return acl::check_local(&local, &self.options.local_msp.current(), &proof);
        }
        let channel = self
            .channel(channel)
            .ok_or_else(|| format!("Failed to get policy manager for channel [{channel}]"))?;
        acl::check_channel(
            resource,
            &channel.config(),
            &self.options.local_msp.current(),
            &proof,
        )
    }
}

impl Sources for Core {
    fn source(&self, channel: &str) -> Option<Arc<dyn BlockSource>> {
        self.channel(channel)
            .map(|channel| channel as Arc<dyn BlockSource>)
    }
}

fn create_folder(path: &Path) -> Result<(), PeerError> {
    std::fs::create_dir_all(path).map_err(|source| PeerError::Io {
        path: path.to_owned(),
        source,
    })
}
