//! The node: its channels, and what it serves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use consilium_deliver::{BlockSource, Feeds, Sources};
use consilium_msp::SigningIdentity;
use consilium_proto::common;
use consilium_proto::consilium::replication::replication_server::ReplicationServer;
use consilium_protocol::block;
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::config::update::update_of;
use consilium_protocol::envelope::{self, ParseError, ParsedEnvelope};
use consilium_protocol::names;
use consilium_transport::{ClientTls, MAX_MESSAGE};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;

use crate::broadcast;
use crate::chain::{Chain, Node};
use crate::cluster::{Cluster, GrpcCluster};
use crate::configuration::Configuration;
use crate::error::OrdererError;
use crate::raft::Timing;
use crate::raft::membership::consenter_of;
use crate::raft::receive::ReplicationService;
use crate::raft::store::Store;
use crate::refusal::Refusal;
use crate::rt;
use crate::service::BroadcastService;
use crate::state::OwnCertificates;
use crate::storage::{FileDisk, NodeDisk};
use crate::submission::Budget;
use crate::throttle::Throttle;

/// Bytes of messages that a node holds at a time while they are being ordered.
const BUDGET: usize = 256 << 20;

/// How long joining waits to learn from others whether the channel runs already.
const JOIN_PATIENCE: Duration = Duration::from_millis(300);

/// How a node is set up.
#[derive(Clone)]
pub struct OrdererOptions {
    /// Folder for chains and Raft logs.
    pub data_dir: PathBuf,
    /// The node's signing identity.
    pub signer: SigningIdentity,
    /// DER of the leaf certificate of the node's listener.
    pub server_certificate: Bytes,
    /// DER of the leaf certificate that the node shows to other orderers.
    pub client_certificate: Bytes,
    /// For calling other orderers; shows `client_certificate`. Its roots are replaced by those of
    /// the channels' configurations.
    pub client_tls: Arc<ClientTls>,
    /// The listener requires client certificates: Deliver requests must be bound to them.
    pub mutual_tls: bool,
    /// Accepted distance between a Deliver request's timestamp and the clock.
    pub time_window: Duration,
    /// Whether messages and readers with expired certificates are refused.
    pub check_expiration: bool,
    /// Messages per second that clients with TLS certificates may broadcast, all together, and how
    /// long one is silent before it has no part in that. A rate of 0 is no limit.
    pub throttling: (u32, Duration),
    /// Timing of Raft, where it is not to be what the channels' configurations say.
    pub raft: Option<Timing>,
}

impl OrdererOptions {
    /// Fabric's defaults: no client certificates required, a window of 15 minutes, expiry checked.
    pub fn new(
        data_dir: impl Into<PathBuf>,
        signer: impl Into<SigningIdentity>,
        server_certificate: Bytes,
        client_certificate: Bytes,
        client_tls: Arc<ClientTls>,
    ) -> Self {
        Self {
            data_dir: data_dir.into(),
            signer: signer.into(),
            server_certificate,
            client_certificate,
            client_tls,
            mutual_tls: false,
            time_window: Duration::from_secs(15 * 60),
            check_expiration: true,
            throttling: (0, Duration::from_secs(5)),
            raft: None,
        }
    }
}

/// What the channel participation API says about a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelInfo {
    /// Name of the channel.
    pub name: String,
    /// Its path in the REST API.
    pub url: String,
    /// Whether this node takes part in consensus.
    #[serde(rename = "consensusRelation")]
    pub consensus_relation: Relation,
    /// How far it has got.
    pub status: Standing,
    /// Number of blocks.
    pub height: u64,
}

/// A node's part in a channel. fabric: orderer/common/types/channelinfo.go
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// It is among the consenters.
    Consenter,
    /// It is not, and pulls blocks.
    Follower,
}

/// How a node stands in a channel. fabric: orderer/common/types/channelinfo.go
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It takes part or follows.
    Active,
    /// It pulls the blocks up to the one that it joined with, or catches up before it gets a vote.
    Onboarding,
    /// It has stopped.
    Inactive,
    /// It has stopped with an error.
    Failed,
}

/// What a node is to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participation {
    /// Its part.
    pub relation: Relation,
    /// How it stands.
    pub status: Standing,
}

/// How a channel's Raft node stands. Ids are those of consenters; positions are indexes of log entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RaftStatus {
    /// This node.
    pub id: u64,
    /// The term.
    pub term: u64,
    /// Who leads, if that is known.
    pub leader: Option<u64>,
    /// The last entry of this node's log.
    pub last: Option<u64>,
    /// The last entry that is in this node's chain.
    pub applied: Option<u64>,
    /// The last entry that was removed from this node's log.
    pub purged: Option<u64>,
}

/// Why a channel cannot be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The block is not a config block of a channel.
    #[error("invalid join block: {0}")]
    Block(String),
    /// The node has the channel.
    #[error("cannot join: channel already exists")]
    Exists,
    /// The node cannot take part in the channel as it is.
    #[error("cannot join: {0}")]
    Unsupported(String),
    /// Opening the channel failed.
    #[error("cannot join: {0}")]
    Failed(#[from] OrdererError),
}

/// Why a configuration is not updated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The envelope is not a config update.
    #[error("invalid config update envelope: {0}")]
    Envelope(String),
    /// The node does not have the channel.
    #[error("cannot update: channel does not exist")]
    Unknown,
    /// The node only follows the channel.
    #[error("cannot update: channel is not ready, he is a follower")]
    Follower,
    /// The update is not ordered.
    #[error(
        "cannot update: failed update config of channel {channel}{}: {refusal}",
        context(refusal)
    )]
    Refused {
        /// The channel.
        channel: String,
        /// Why not.
        refusal: Refusal,
    },
}

fn context(refusal: &Refusal) -> &'static str {
    if refusal.status == common::Status::ServiceUnavailable {
        " with SERVICE_UNAVAILABLE: rejected by Configure"
    } else {
        ""
    }
}

/// Why a channel cannot be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// The node does not have it.
    #[error("cannot remove: channel does not exist")]
    Unknown,
    /// Deleting its data failed.
    #[error("cannot remove: {0}")]
    Failed(#[from] OrdererError),
}

/// The channels of a node, by name.
#[derive(Default)]
pub(crate) struct Channels {
    chains: RwLock<BTreeMap<String, Arc<Chain>>>,
    closed: AtomicBool,
}

impl Channels {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Chain>> {
        self.chains.read().get(name).cloned()
    }

    /// The node is shutting down: that a channel is not there means nothing any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn all(&self) -> Vec<Arc<Chain>> {
        self.chains.read().values().cloned().collect()
    }
}

impl Sources for Channels {
    fn source(&self, channel: &str) -> Option<Arc<dyn BlockSource>> {
        let source: Arc<dyn BlockSource> = self.get(channel)?.state.clone();
        Some(source)
    }
}

type RootsListener = Box<dyn Fn(&[Bytes]) + Send + Sync>;

/// An orderer node.
pub struct Orderer {
    options: OrdererOptions,
    node: Arc<Node>,
    channels: Arc<Channels>,
    /// Blocks on their way to Deliver streams.
    feeds: Arc<Feeds>,
    budget: Budget,
    /// Held while a channel is joined or removed.
    changing: tokio::sync::Mutex<()>,
    roots_listeners: Mutex<Vec<RootsListener>>,
}

impl Orderer {
    /// Opens the node's storage and all channels in it.
    pub async fn open(options: OrdererOptions) -> Result<Arc<Self>, OrdererError> {
        let disk = Arc::new(FileDisk::new(&options.data_dir)?);
        let cluster = GrpcCluster::new(options.client_tls.clone(), options.signer.clone());
        Self::open_on(options, disk, Arc::new(cluster)).await
    }

    /// The same on another disk and among other orderers.
    pub(crate) async fn open_on(
        options: OrdererOptions,
        disk: Arc<dyn NodeDisk>,
        cluster: Arc<dyn Cluster>,
    ) -> Result<Arc<Self>, OrdererError> {
        let opening = disk.clone();
        let (log, chains) =
            rt::blocking(move || Ok::<_, OrdererError>((opening.open_log()?, opening.chains()?)))
                .await??;
        let node = Node {
            signer: options.signer.clone(),
            certificates: OwnCertificates::new(
                options.server_certificate.clone(),
                options.client_certificate.clone(),
            ),
            check_expiration: options.check_expiration,
            timing: options.raft,
            store: Store::new(log),
            disk,
            cluster,
        };
        let channels = Arc::<Channels>::default();
        let orderer = Arc::new(Self {
            node: Arc::new(node),
            feeds: Feeds::new(channels.clone()),
            channels,
            budget: Budget::new(BUDGET),
            changing: tokio::sync::Mutex::new(()),
            roots_listeners: Mutex::default(),
            options,
        });
        for chain in chains {
            orderer.start(&chain).await?;
        }
        Ok(orderer)
    }

    /// Opens a chain and serves it.
    async fn start(self: &Arc<Self>, name_on_disk: &str) -> Result<Arc<Chain>, OrdererError> {
        let chain = Chain::open(name_on_disk, &self.node).await?;
        let name = chain.state.name.clone();
        self.channels.chains.write().insert(name, chain.clone());
        self.renew_roots();
        let (orderer, mut configurations) = (Arc::downgrade(self), chain.state.configurations());
        rt::spawn(async move {
            while configurations.changed().await.is_ok() {
                let Some(orderer) = orderer.upgrade() else {
                    return;
                };
                orderer.renew_roots();
            }
        });
        Ok(chain)
    }

    /// Calls `listener` with the TLS roots (PEM) of all channels, now and whenever they change: the
    /// node's listener accepts client certificates under them.
    pub fn on_tls_roots(&self, listener: impl Fn(&[Bytes]) + Send + Sync + 'static) {
        listener(&self.tls_roots());
        self.roots_listeners.lock().push(Box::new(listener));
    }

    /// The node shows these certificates (DER) from now on: the channels know it by them too.
    /// `None` for the one that stays.
    pub fn renew_certificates(&self, server: Option<&[u8]>, client: Option<&[u8]>) {
        let [server, client] = [server, client].map(|der| der.map(Bytes::copy_from_slice));
        self.node.certificates.renew(server, client);
    }

    /// The channels in which other consenters would not know this node by these certificates (DER), though
    /// they know it by those that it shows now: their configurations have to list them first. The node knows
    /// itself by them from now on.
    pub fn unlisted(&self, server: Option<&[u8]>, client: Option<&[u8]>) -> Vec<String> {
        let [server, client] = [server, client].map(|der| der.map(Bytes::copy_from_slice));
        let chains = self.channels.all().into_iter();
        let forget = chains.filter(|chain| chain.state.forgets(server.as_ref(), client.as_ref()));
        let names: Vec<_> = forget.map(|chain| chain.state.name.clone()).collect();
        if !names.is_empty() {
            self.node.certificates.expect(server, client);
        }
        names
    }

    fn tls_roots(&self) -> Vec<Bytes> {
        let chains = self.channels.all();
        let mut roots: Vec<Bytes> = chains
            .iter()
            .flat_map(|chain| chain.state.config().tls_roots())
            .collect();
        roots.sort();
        roots.dedup();
        roots
    }

    fn renew_roots(&self) {
        let roots = self.tls_roots();
        if let Err(error) = self.options.client_tls.set_roots(&roots) {
            tracing::error!(%error, "cannot use the TLS roots of the channels");
        }
        for listener in self.roots_listeners.lock().iter() {
            listener(&roots);
        }
    }

    /// Joins a channel with its genesis block or a later config block: as a consenter if that block
    /// lists this node, as a follower otherwise. The blocks before a later one are pulled from other
    /// orderers.
    pub async fn join(self: &Arc<Self>, join: &common::Block) -> Result<ChannelInfo, JoinError> {
        let config = check_join_block(join)?;
        let name = config.channel_id().to_owned();
        Configuration::of_block(join).map_err(JoinError::Unsupported)?;
        let _turn = self.changing.lock().await;
        if self.channels.get(&name).is_some() {
            return Err(JoinError::Exists);
        }
        let (node, channel, block) = (self.node.clone(), name.clone(), join.clone());
        let creating = rt::blocking(move || node.disk.create_chain(&channel, &block));
        let name_on_disk = creating.await.map_err(OrdererError::from)??;
        let chain = self.start(&name_on_disk).await?;
        // Where the channel runs already, the answer is to say that this node has to catch up.
        chain.find_place(JOIN_PATIENCE).await;
        let info = self
            .channel_info(&name)
            .ok_or_else(|| JoinError::Unsupported("the channel is gone".into()))?;
        tracing::info!(
            channel = name,
            block = block::number(join),
            relation = ?info.consensus_relation,
            "joined channel"
        );
        Ok(info)
    }

    /// Submits a config update as Broadcast does, and waits until it is in a block.
    pub async fn update(&self, update: common::Envelope) -> Result<ChannelInfo, UpdateError> {
        let (parsed, name) = check_update_envelope(&update)?;
        let chain = self.channels.get(&name).ok_or(UpdateError::Unknown)?;
        if chain.is_follower() {
            return Err(UpdateError::Follower);
        }
        let answer = broadcast::update(chain, update, parsed, &self.budget).await;
        answer.map_err(|refusal| UpdateError::Refused {
            channel: name.clone(),
            refusal,
        })?;
        self.channel_info(&name).ok_or(UpdateError::Unknown)
    }

    /// Leaves a channel and deletes its data.
    pub async fn remove(&self, name: &str) -> Result<(), RemoveError> {
        let _turn = self.changing.lock().await;
        if let Some(missing) = self.node.store.missing_room() {
            // That the channel is removed has to be written behind what waits.
            let full = std::io::Error::new(std::io::ErrorKind::StorageFull, missing);
            return Err(OrdererError::Storage(full).into());
        }
        let chain = self
            .channels
            .chains
            .write()
            .remove(name)
            .ok_or(RemoveError::Unknown)?;
        chain.stop().await;
        chain.forget().await?;
        let (node, name_on_disk) = (self.node.clone(), chain.name_on_disk.clone());
        drop(chain);
        let removing = rt::blocking(move || node.disk.remove_chain(&name_on_disk));
        removing.await.map_err(OrdererError::from)??;
        self.renew_roots();
        tracing::info!(channel = name, "removed channel");
        Ok(())
    }

    /// Names of the channels, sorted.
    pub fn channels(&self) -> Vec<String> {
        self.channels.chains.read().keys().cloned().collect()
    }

    /// What is known about a channel.
    pub fn channel_info(&self, name: &str) -> Option<ChannelInfo> {
        let chain = self.channels.get(name)?;
        let participation = chain.participation();
        Some(ChannelInfo {
            name: name.to_owned(),
            url: crate::participation::channel_url(name),
            consensus_relation: participation.relation,
            status: participation.status,
            height: chain.state.store.height(),
        })
    }

    /// Why a channel has stopped with an error, or what it waits for on a full disk.
    pub fn failure(&self, name: &str) -> Option<String> {
        self.channels.get(name)?.failure()
    }

    /// How a channel's Raft node stands, where this node has one.
    pub fn raft_status(&self, name: &str) -> Option<RaftStatus> {
        self.channels.get(name)?.raft_status()
    }

    /// The consenter that leads a channel, as this node knows it.
    pub fn leader(&self, name: &str) -> Option<u64> {
        self.raft_status(name)?.leader
    }

    /// The consenter that this node is in a channel.
    pub fn raft_id(&self, name: &str) -> Option<u64> {
        Some(self.raft_status(name)?.id)
    }

    /// Consenters whose nodes vote in a channel, by the last committed membership, sorted.
    pub fn voters(&self, name: &str) -> Vec<u64> {
        let mut voters: Vec<u64> = self
            .voter_nodes(name)
            .into_iter()
            .map(consenter_of)
            .collect();
        voters.sort_unstable();
        voters
    }

    /// Raft ids of the nodes that vote. A consenter that lost its disk has another one than before.
    pub fn voter_nodes(&self, name: &str) -> Vec<u64> {
        let chain = self.channels.get(name);
        chain.map_or_else(Vec::new, |chain| {
            chain.state.committed_voters().into_iter().collect()
        })
    }

    /// This node's own Raft id in a channel.
    pub fn raft_node(&self, name: &str) -> Option<u64> {
        Some(self.channels.get(name)?.member()?.node)
    }

    /// The configuration in force in a channel.
    pub fn config(&self, name: &str) -> Option<Arc<ChannelConfig>> {
        Some(self.channels.get(name)?.state.config())
    }

    /// The encoded block of a channel with that number. Blocks on the disk.
    pub fn block_bytes(&self, name: &str, number: u64) -> Result<Option<Bytes>, OrdererError> {
        match self.channels.get(name) {
            Some(chain) => Ok(chain.state.store.block_bytes(number)?),
            None => Ok(None),
        }
    }

    /// `orderer.AtomicBroadcast`, for the node's gRPC listener.
    pub fn broadcast_service(&self) -> BroadcastService {
        let (rate, inactivity) = self.options.throttling;
        BroadcastService {
            channels: self.channels.clone(),
            feeds: self.feeds.clone(),
            budget: self.budget.clone(),
            mutual_tls: self.options.mutual_tls,
            time_window: self.options.time_window,
            check_expiration: self.options.check_expiration,
            throttle: (rate > 0).then(|| Arc::new(Throttle::new(rate, inactivity))),
        }
    }

    /// Our replication protocol, for the same listener. The listener must ask for client
    /// certificates.
    pub fn replication_service(&self) -> ReplicationServer<ReplicationService> {
        ReplicationServer::new(self.replication())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn replication(&self) -> ReplicationService {
        ReplicationService {
            channels: self.channels.clone(),
            budget: self.budget.clone(),
        }
    }

    /// The channel participation REST API, for the admin listener.
    pub fn participation_router(self: &Arc<Self>) -> axum::Router {
        crate::participation::router(self.clone())
    }

    /// Stops all channels. Messages that wait are answered with SERVICE_UNAVAILABLE.
    pub async fn shutdown(&self) {
        let _turn = self.changing.lock().await;
        self.channels.closed.store(true, Ordering::Relaxed);
        self.node.store.give_up();
        let chains = std::mem::take(&mut *self.channels.chains.write());
        for chain in chains.into_values() {
            chain.stop().await;
        }
    }
}

/// The parts of a config update, and the channel that it is for.
fn check_update_envelope(
    update: &common::Envelope,
) -> Result<(ParsedEnvelope, String), UpdateError> {
    let invalid = |reason: String| UpdateError::Envelope(reason);
    let parsed = envelope::parse(update).map_err(|error| match error {
        ParseError::Unmarshal {
            message: "Payload", ..
        } => invalid("bad payload".into()),
        ParseError::Unmarshal {
            message: "ChannelHeader",
            ..
        } => invalid("could not unmarshall channel header".into()),
        ParseError::NoHeader | ParseError::NoChannelHeader => invalid("bad header".into()),
        other => invalid(other.to_string()),
    })?;
    if parsed.kind() != Some(common::HeaderType::ConfigUpdate) {
        return Err(invalid("bad type".into()));
    }
    if parsed.channel().is_empty() {
        return Err(invalid("empty channel id".into()));
    }
    let wrapped = update_of(update).map_err(|error| invalid(error.to_string()))?;
    let inner: common::ConfigUpdate = envelope::decode("ConfigUpdate", &wrapped.config_update)
        .map_err(|error| invalid(error.to_string()))?;
    Ok((parsed, inner.channel_id))
}

/// The configuration in a join block.
fn check_join_block(join: &common::Block) -> Result<ChannelConfig, JoinError> {
    let invalid = |reason: &str| Err(JoinError::Block(reason.to_owned()));
    if !block::is_config(join) {
        return invalid("block is not a config block");
    }
    if join
        .metadata
        .as_ref()
        .is_none_or(|metadata| metadata.metadata.is_empty())
    {
        return invalid("invalid block: does not have metadata");
    }
    let (Some(header), Some(data)) = (&join.header, &join.data) else {
        return invalid("block is not a config block");
    };
    if header.data_hash != block::data_hash(data)[..] {
        return invalid("invalid block: Header.DataHash is different from Hash(block.Data)");
    }
    let config =
        ChannelConfig::from_block(join).map_err(|error| JoinError::Block(error.to_string()))?;
    if config.has_consortiums() {
        return invalid("invalid config: contains consortiums: system channel not supported");
    }
    if !config.has_application() {
        return invalid("invalid config: must contain application config");
    }
    names::validate_channel_id(config.channel_id())
        .map_err(|error| JoinError::Block(error.to_string()))?;
    config
        .capabilities()
        .check_supported(false)
        .map_err(|error| JoinError::Unsupported(error.to_string()))?;
    if config.consensus().r#type != "etcdraft" {
        let kind = &config.consensus().r#type;
        return Err(JoinError::Unsupported(format!(
            "consensus type {kind:?} is not supported"
        )));
    }
    Ok(config)
}
