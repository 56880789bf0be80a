//! The gossip of one peer: what happens to a message that comes in.

use std::{
    collections::HashMap,
    ops::{Range, RangeInclusive},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use consilium_msp::Identity;
use consilium_proto::gossip::{
    AliveMessage, Chaincode, Envelope, GossipMessage, MembershipRequest, MembershipResponse,
    Payload, PeerTime, PrivatePayload, Properties, PullMsgType, PvtDataDigest, PvtDataElement,
    StateInfo, StateInfoPullRequest, StateInfoSnapshot,
    gossip_message::{Content, Tag},
};
use parking_lot::{Mutex, RwLock};
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    GossipOptions,
    blocks::{self, ChannelBlocks, Offered, Taken},
    connections::{Connection, Connections},
    directory::Own,
    exchange,
    membership::{self, Member, Membership},
    own_identity::OwnIdentity,
    service::GossipService,
    wire,
};

/// Envelopes taken out of one message at most.
const NESTED: usize = 1024;

/// The other side of a stream.
#[derive(Clone, Debug)]
pub struct RemotePeer {
    /// Its PKI-ID.
    pub pki_id: Bytes,
    /// Its identity, valid when the stream began.
    pub identity: Arc<Identity>,
}

/// A channel of this peer, as gossip has to know it.
#[derive(Clone, Debug)]
pub struct ChannelView {
    /// Channel id.
    pub name: String,
    /// Height of the ledger.
    pub height: u64,
    /// Endpoints of anchor peers, all organizations'.
    pub anchors: Vec<String>,
    /// Chaincodes that this peer can run.
    pub chaincodes: Vec<Chaincode>,
}

impl ChannelView {
    /// What others hear of it.
    pub(crate) fn properties(&self) -> Properties {
        Properties {
            ledger_height: self.height,
            left_channel: false,
            chaincodes: self.chaincodes.clone(),
        }
    }
}

/// What gossip asks of the peer that it belongs to.
#[tonic::async_trait]
pub trait Host: Send + Sync + 'static {
    /// The identity, if its own organization or one of a channel vouches for it now.
    fn judge(&self, serialized: &Bytes) -> Result<Arc<Identity>, String>;
    /// The identity as a channel that this peer is in reads it, if that channel counts it among its
    /// members now. What an identity calls its organization decides nothing.
    fn member(&self, channel: &str, serialized: &Bytes) -> Option<Arc<Identity>>;
    /// Names of the channels that this peer is in.
    fn channel_names(&self) -> Vec<String>;
    /// The channels that this peer is in.
    fn channels(&self) -> Vec<ChannelView>;
    /// One of them.
    fn channel(&self, name: &str) -> Option<ChannelView>;
    /// Takes a private write set that a member of a channel pushes; the error goes back to it.
    async fn private_data(
        &self,
        channel: &str,
        from: &Arc<Identity>,
        payload: PrivatePayload,
    ) -> Result<(), String>;
    /// The private write sets that a member of a channel asks for, as far as it may have them. Given
    /// up when the stream ends.
    async fn private_request(
        &self,
        channel: &str,
        from: &Arc<Identity>,
        digests: Vec<PvtDataDigest>,
    ) -> Vec<PvtDataElement>;
    /// Numbers of the blocks that a channel's ledger has.
    fn stored(&self, channel: &str) -> Option<Range<u64>>;
    /// Number of the block that a channel takes next, behind those on their way into its ledger.
    fn next_block(&self, channel: &str) -> Option<u64>;
    /// Blocks of a ledger from the first of these numbers on: at least one, and no more than have so
    /// many bytes.
    async fn blocks(
        &self,
        channel: &str,
        numbers: RangeInclusive<u64>,
        bytes: usize,
    ) -> Vec<Payload>;
    /// Keeps a block that a peer pushes until its turn, if it is a good one. Does not wait for the
    /// ledger.
    async fn offer_block(&self, channel: &str, from: &Bytes, number: u64, block: Bytes) -> Offered;
    /// Takes the next block, which was asked for, if it is a good one. Waits until there is room.
    async fn take_block(&self, channel: &str, number: u64, block: Bytes) -> Taken;
}

/// The gossip of one peer.
pub struct Gossip {
    pub(crate) me: Weak<Gossip>,
    pub(crate) options: GossipOptions,
    pub(crate) host: Weak<dyn Host>,
    pub(crate) identity: RwLock<OwnIdentity>,
    pub(crate) connections: Connections,
    pub(crate) membership: Mutex<Membership>,
    /// By MSP id.
    pub(crate) answers: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Room for what others push.
    pub(crate) pushed: Arc<Semaphore>,
    pub(crate) own: Mutex<Own>,
    /// By channel id.
    pub(crate) channels: Mutex<HashMap<String, Arc<ChannelBlocks>>>,
    /// Requests for blocks that are awaited.
    pub(crate) transfers: Semaphore,
    /// What runs until this stops.
    pub(crate) tasks: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) stop: CancellationToken,
    pub(crate) runtime: Handle,
    /// Nanoseconds since 1970 at the start: later lives of this peer have newer messages.
    incarnation: u64,
    sequence: AtomicU64,
}

impl Gossip {
    /// Starts to look for other peers. Has to be called within a Tokio runtime.
    pub fn start(options: GossipOptions, host: Weak<dyn Host>) -> Arc<Self> {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let gossip = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            identity: RwLock::new(OwnIdentity::new(&options.signer)),
            membership: Mutex::new(Membership::new(
                options.signer.msp_id(),
                options.alive_expiration,
            )),
            own: Mutex::default(),
            options,
            host,
            connections: Connections::default(),
            answers: Mutex::default(),
            pushed: Arc::new(Semaphore::new(exchange::PUSHED)),
            channels: Mutex::default(),
            transfers: Semaphore::new(blocks::AT_ONCE),
            tasks: Mutex::default(),
            stop: CancellationToken::new(),
            runtime: Handle::current(),
            incarnation: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
            sequence: AtomicU64::new(1),
        });
        let upkeep = tokio::spawn(crate::upkeep::run(gossip.me.clone(), gossip.stop.clone()));
        gossip.tasks.lock().push(upkeep);
        gossip
    }

    /// The `gossip.Gossip` service.
    pub fn service(self: &Arc<Self>) -> GossipService {
        GossipService::new(self.clone())
    }

    /// This peer's PKI-ID.
    pub fn pki_id(&self) -> Bytes {
        self.identity.read().pki_id.clone()
    }

    /// Living peers of a channel, without this one.
    pub fn members(&self, channel: &str) -> Vec<Member> {
        let Some(host) = self.host.upgrade() else {
            return Vec::new();
        };
        let told = {
            let table = self.membership.lock();
            table.of_channel(channel, Instant::now())
        };
        told.into_iter()
            .filter_map(|member| {
                let identity = host.member(channel, member.identity.serialized())?;
                Some(Member { identity, ..member })
            })
            .collect()
    }

    /// Ends all streams and waits for the own tasks.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.connections.close_all();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of gossip panicked");
            }
        }
    }

    pub(crate) fn now(&self) -> PeerTime {
        PeerTime {
            inc_num: self.incarnation,
            seq_num: self.sequence.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The own alive message, for a peer of `msp_id`.
    pub(crate) fn alive(&self, msp_id: &str) -> Option<Envelope> {
        let signer = self.own_identity().signer;
        let GossipOptions {
            endpoint,
            external_endpoint,
            ..
        } = &self.options;
        let made =
            membership::alive_message(signer.as_ref(), external_endpoint, endpoint, self.now());
        match made {
            Ok(mut envelope) => {
                if msp_id != signer.msp_id() {
                    envelope.secret_envelope = None;
                }
                Some(envelope)
            }
            Err(error) => {
                tracing::error!(%error, "cannot sign an alive message");
                None
            }
        }
    }

    /// The own word about a channel.
    pub(crate) fn state_info(&self, view: &ChannelView) -> Option<Envelope> {
        let signer = self.own_identity().signer;
        membership::state_info(signer.as_ref(), &view.name, view.properties(), self.now())
            .inspect_err(|error| tracing::error!(%error, "cannot sign state info"))
            .ok()
    }

    /// Asks a peer for its members.
    pub(crate) fn membership_request(&self, msp_id: &str) -> Option<Envelope> {
        let request = MembershipRequest {
            self_information: Some(self.alive(msp_id)?),
            known: Vec::new(),
        };
        let message = wire::message(Tag::Empty, "", 0, Content::MemReq(request));
        Some(wire::unsigned(&message))
    }

    /// What a peer has to hear as soon as it is connected.
    pub(crate) fn greet(&self, connection: &Connection) {
        let msp_id = connection.peer.identity.msp_id();
        connection_send(connection, self.alive(msp_id));
        connection_send(connection, self.membership_request(msp_id));
        self.tell_heights(connection);
        self.ask_heights(connection);
    }

    /// Asks a peer for the heights that it knows of the channels that both are members of.
    pub(crate) fn ask_heights(&self, connection: &Connection) {
        let Some(host) = self.host.upgrade() else {
            return;
        };
        let (identity, own) = (connection.peer.identity.serialized(), self.pki_id());
        for channel in host.channel_names() {
            if host.member(&channel, identity).is_none() {
                continue;
            }
            let request = Content::StateInfoPullReq(StateInfoPullRequest {
                channel_mac: wire::channel_mac(&own, &channel),
            });
            let message = wire::message(Tag::ChanOrOrg, "", 0, request);
            connection.try_send(wire::unsigned(&message));
        }
    }

    /// Heights of the channels that a peer is a member of.
    pub(crate) fn tell_heights(&self, connection: &Connection) {
        let Some(host) = self.host.upgrade() else {
            return;
        };
        let identity = connection.peer.identity.serialized();
        for view in host.channels() {
            if host.member(&view.name, identity).is_some() {
                connection_send(connection, self.state_info(&view));
            }
        }
    }

    /// Works on one message. An error ends the stream.
    pub(crate) async fn handle(
        &self,
        connection: &Arc<Connection>,
        envelope: Envelope,
    ) -> Result<(), wire::WireError> {
        metrics::counter!("gossip_comm_messages_received").increment(1);
        let from = connection.peer.as_ref();
        let Some(host) = self.host.upgrade() else {
            return Ok(());
        };
        let mut is_block = false;
        let opened = wire::open_awaited(&envelope, |large| match large {
            wire::Large::Answer { nonce } => self.connections.is_awaited(&from.pki_id, nonce),
            wire::Large::Pulled { channel, nonce } => {
                is_block = true;
                self.awaits_pulled(&from.pki_id, channel, nonce)
            }
            wire::Large::Block { channel, number } => {
                is_block = true;
                let channel = String::from_utf8_lossy(channel);
                self.could_use(host.as_ref(), &channel, number)
            }
        });
        let message = match opened {
            // Late, or brought by others before: that is how blocks are spread.
            Err(wire::WireError::Unasked(_)) if is_block => return Ok(()),
            opened => opened?,
        };
        let channel = String::from_utf8_lossy(&message.channel).into_owned();
        let nonce = message.nonce;
        match message.content {
            Some(Content::Ack(_) | Content::PrivateRes(_) | Content::StateResponse(_)) => {
                // Nobody may wait for it any more: late, or never asked for.
                let is_awaited = self.connections.answer(&from.pki_id, message);
                tracing::trace!(nonce, is_awaited, "an answer");
            }
            Some(Content::AliveMsg(alive)) => {
                self.hear_alive(host.as_ref(), &envelope, &alive);
            }
            Some(Content::MemReq(request)) => {
                self.answer_membership(host.as_ref(), connection, nonce, request)
                    .await;
            }
            Some(Content::MemRes(response)) => {
                let heard = response.alive.iter().chain(&response.dead).take(NESTED);
                // Of the dead we learn where they were; they live if they say so themselves.
                for envelope in heard {
                    if let Ok(message) = wire::open(envelope)
                        && let Some(Content::AliveMsg(alive)) = message.content
                        && self.hear_alive(host.as_ref(), envelope, &alive)
                    {
                        tokio::task::yield_now().await;
                    }
                }
            }
            Some(Content::StateInfo(info)) => {
                self.hear_state(host.as_ref(), &envelope, &info);
            }
            Some(Content::StateSnapshot(snapshot)) => {
                for envelope in snapshot.elements.iter().take(NESTED) {
                    if let Ok(message) = wire::open(envelope)
                        && let Some(Content::StateInfo(info)) = message.content
                        && self.hear_state(host.as_ref(), envelope, &info)
                    {
                        tokio::task::yield_now().await;
                    }
                }
            }
            Some(Content::StateInfoPullReq(request)) => {
                self.answer_state_pull(host.as_ref(), connection, nonce, &request)
                    .await;
            }
            Some(Content::LeadershipMsg(word)) => {
                self.hear_leadership(connection, &channel, &envelope, &word);
            }
            Some(Content::Hello(hello)) if is_of_blocks(hello.msg_type) => {
                self.answer_hello(host.as_ref(), connection, &channel, &hello);
            }
            Some(Content::DataDig(digest)) if is_of_blocks(digest.msg_type) => {
                self.learn_digests(host.as_ref(), connection, &channel, &digest);
            }
            Some(Content::DataMsg(ref data)) => {
                let number = data.payload.as_ref().map(|payload| payload.seq_num);
                let is_useful = |number| self.could_use(host.as_ref(), &channel, number);
                if let (true, Some(content)) = (number.is_some_and(is_useful), message.content) {
                    self.take_on(connection, channel, nonce, content).await;
                }
            }
            Some(Content::DataUpdate(ref update)) => {
                if self.awaits_pulled(&from.pki_id, channel.as_bytes(), update.nonce)
                    && let Some(content) = message.content
                {
                    self.take_on(connection, channel, nonce, content).await;
                }
            }
            Some(
                content @ (Content::PrivateData(_)
                | Content::PrivateReq(_)
                | Content::StateRequest(_)
                | Content::DataReq(_)),
            ) => {
                self.take_on(connection, channel, nonce, content).await;
            }
            // Identities are told in other ways.
            _ => {}
        }
        Ok(())
    }

    /// Takes in an alive message, whoever brings it: its signature is what counts. Whether that was
    /// looked at, which takes a while.
    fn hear_alive(&self, host: &dyn Host, envelope: &Envelope, alive: &AliveMessage) -> bool {
        let Some(member) = &alive.membership else {
            return false;
        };
        if self.identity.read().is_own(&member.pki_id) || self.membership.lock().has_heard(alive) {
            return false;
        }
        let identity = if alive.identity.is_empty() {
            let known = self.known_identity(&member.pki_id);
            // It may have been revoked since.
            known.and_then(|known| host.judge(known.serialized()).ok())
        } else if wire::pki_id(&alive.identity).as_ref() == Some(&member.pki_id) {
            host.judge(&alive.identity).ok()
        } else {
            return false;
        };
        if let Some(identity) = identity
            && wire::verify(envelope, &identity).is_ok()
        {
            let mut table = self.membership.lock();
            table.alive(envelope, alive, identity, Instant::now());
        }
        true
    }

    fn known_identity(&self, pki_id: &[u8]) -> Option<Arc<Identity>> {
        let heard = self.membership.lock().identity(pki_id);
        heard.or_else(|| Some(self.connections.to(pki_id)?.peer.identity.clone()))
    }

    /// Takes in what a peer says of a channel that we share. Whether its signature was looked at,
    /// which takes a while.
    fn hear_state(&self, host: &dyn Host, envelope: &Envelope, info: &StateInfo) -> bool {
        let Some(identity) = self.known_identity(&info.pki_id) else {
            return false;
        };
        let Some(channel) = channel_of(host, &info.pki_id, &info.channel_mac) else {
            return false;
        };
        if self.membership.lock().was_told(&channel, info) {
            return false;
        }
        if let Some(member) = host.member(&channel, identity.serialized())
            && wire::verify(envelope, &member).is_ok()
        {
            let mut table = self.membership.lock();
            table.told(&channel, envelope, info);
        }
        true
    }

    async fn answer_membership(
        &self,
        host: &dyn Host,
        connection: &Connection,
        nonce: u64,
        request: MembershipRequest,
    ) {
        let Some(envelope) = request.self_information else {
            return;
        };
        let Ok(GossipMessage {
            content: Some(Content::AliveMsg(alive)),
            ..
        }) = wire::open(&envelope)
        else {
            return;
        };
        let asked_by = alive.membership.as_ref();
        if asked_by.is_none_or(|member| member.pki_id != connection.peer.pki_id) {
            return;
        }
        let endpoint = asked_by.map_or_else(String::new, |member| member.endpoint.clone());
        self.hear_alive(host, &envelope, &alive);
        let msp_id = connection.peer.identity.msp_id();
        let mut alive = {
            let table = self.membership.lock();
            table.disclosed_to(msp_id, &endpoint, Instant::now())
        };
        alive.extend(self.alive(msp_id));
        for alive in wire::in_parts(alive) {
            let response = MembershipResponse {
                alive,
                dead: Vec::new(),
            };
            let answer = wire::message(Tag::Empty, "", nonce, Content::MemRes(response));
            if !connection.send(wire::unsigned(&answer)).await {
                return;
            }
        }
    }

    async fn answer_state_pull(
        &self,
        host: &dyn Host,
        connection: &Connection,
        nonce: u64,
        request: &StateInfoPullRequest,
    ) {
        let from = connection.peer.as_ref();
        let Some(channel) = channel_of(host, &from.pki_id, &request.channel_mac) else {
            return;
        };
        if host.member(&channel, from.identity.serialized()).is_none() {
            return;
        }
        let told = {
            let table = self.membership.lock();
            table.state_infos(&channel, Instant::now())
        };
        let members = told
            .into_iter()
            .filter(|(identity, _)| host.member(&channel, identity.serialized()).is_some());
        let mut elements: Vec<_> = members.map(|(_, envelope)| envelope).collect();
        let own = host.channel(&channel);
        elements.extend(own.and_then(|view| self.state_info(&view)));
        for elements in wire::in_parts(elements) {
            let snapshot = Content::StateSnapshot(StateInfoSnapshot { elements });
            let answer = wire::message(Tag::ChanOrOrg, &channel, nonce, snapshot);
            if !connection.send(wire::unsigned(&answer)).await {
                return;
            }
        }
    }
}

/// Whether a message of a round of pulling is about blocks.
fn is_of_blocks(kind: i32) -> bool {
    kind == PullMsgType::BlockMsg as i32
}

/// The channel of ours that a peer means.
fn channel_of(host: &dyn Host, pki_id: &[u8], mac: &[u8]) -> Option<String> {
    let mut names = host.channel_names().into_iter();
    names.find(|name| wire::channel_mac(pki_id, name) == mac)
}

fn connection_send(connection: &Connection, envelope: Option<Envelope>) {
    if let Some(envelope) = envelope {
        connection.try_send(envelope);
    }
}
