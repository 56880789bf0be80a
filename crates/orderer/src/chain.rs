//! One channel of this node: its chain, and what this node is to it at the moment, a member of its
//! Raft group or a follower. The channel's configuration decides, and a task switches.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use consilium_msp::SigningIdentity;
use consilium_proto::common;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::ahead;
use crate::blocks::{BlockWriter, LentWriter};
use crate::check::Checker;
use crate::cluster::Cluster;
use crate::configuration::Configuration;
use crate::error::OrdererError;
use crate::follower::{Follower, JoinBlock, is_onboarded};
use crate::member::{self, Member, Setup};
use crate::metrics;
use crate::order::LEADER_WAIT;
use crate::orderer::{Participation, RaftStatus, Relation, Standing};
use crate::raft::Timing;
use crate::raft::log::ChannelLog;
use crate::raft::membership::{self, Heard, Origin, consenter_of};
use crate::raft::store::Store;
use crate::refusal::Refusal;
use crate::rt;
use crate::state::{ChainState, OwnCertificates};
use crate::storage::{JOIN_BLOCK, NodeDisk};
use crate::submission::{Answer, NewSubmission};

/// Shortest and longest wait before the other consenters are asked again who founds the channel.
const PROBES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What a chain needs from its node.
pub(crate) struct Node {
    pub(crate) signer: SigningIdentity,
    pub(crate) certificates: OwnCertificates,
    pub(crate) check_expiration: bool,
    /// Instead of what the channel's configuration says.
    pub(crate) timing: Option<Timing>,
    pub(crate) disk: Arc<dyn NodeDisk>,
    pub(crate) store: Arc<Store>,
    pub(crate) cluster: Arc<dyn Cluster>,
}

/// What this node is to the channel.
enum Role {
    /// A consenter that does not know yet what its part in the Raft group is.
    Looking,
    Member(Arc<Member>),
    Follower,
    Failed(String),
    Stopped,
}

/// A channel that runs.
pub(crate) struct Chain {
    pub(crate) state: Arc<ChainState>,
    pub(crate) checker: Checker,
    /// Its name on the disk.
    pub(crate) name_on_disk: String,
    node: Arc<Node>,
    log: ChannelLog,
    /// The block that this node's chain has to reach before the node can take part.
    join: Mutex<Option<JoinBlock>>,
    role: ArcSwap<Role>,
    /// Told about every new role.
    roles: watch::Sender<()>,
    stop: CancellationToken,
    task: Mutex<Option<rt::Task<()>>>,
}

impl Chain {
    /// Opens a chain on the disk and starts the node's part in it.
    pub(crate) async fn open(
        name_on_disk: &str,
        node: &Arc<Node>,
    ) -> Result<Arc<Self>, OrdererError> {
        let (name, owner) = (name_on_disk.to_owned(), node.clone());
        let opened = rt::blocking(move || {
            let store = owner.disk.open_chain(&name)?;
            let writer = BlockWriter::open(store.clone(), owner.signer.clone())?;
            let join = match store.extra(JOIN_BLOCK)? {
                None => None,
                Some(bytes) => Some(common::Block::decode(bytes).map_err(std::io::Error::other)?),
            };
            // Before the join block is there, its configuration says whom to ask for blocks.
            let configuration = match (&join, writer.tip()) {
                (Some(join), tip) if tip.is_none() || store.height() <= number_of(join) => {
                    Configuration::of_block(join).map_err(|reason| OrdererError::ForeignBlock {
                        number: number_of(join),
                        reason,
                    })?
                }
                (_, Some(tip)) => tip.configuration.clone(),
                (_, None) => return Err(OrdererError::NoGenesis),
            };
            let certificates = owner.certificates.clone();
            let state = Arc::new(ChainState::new(store, configuration, certificates));
            let log = ChannelLog::open(owner.store.clone(), &state.name)?;
            Ok((state, log, join.as_ref().map(JoinBlock::of), writer))
        });
        let (state, log, join, writer) = opened.await??;
        let checker = Checker {
            signer: node.signer.clone(),
            check_expiration: node.check_expiration,
        };
        let chain = Arc::new(Self {
            state,
            checker,
            name_on_disk: name_on_disk.to_owned(),
            node: node.clone(),
            log,
            join: Mutex::new(join),
            role: ArcSwap::from_pointee(Role::Looking),
            roles: watch::Sender::new(()),
            stop: CancellationToken::new(),
            task: Mutex::new(None),
        });
        if !chain.is_to_be_member() {
            chain.set_role(Role::Follower);
        }
        let task = rt::spawn(chain.clone().run(writer));
        *chain.task.lock() = Some(task);
        Ok(chain)
    }

    /// Takes part as the configuration says, and switches when it changes.
    async fn run(self: Arc<Self>, writer: BlockWriter) {
        let mut writer = Some(writer);
        let outcome = loop {
            let turn = match writer.take() {
                Some(writer) => Ok(writer),
                None => self.open_writer().await,
            };
            let turn = match turn {
                Ok(writer) if self.is_to_be_member() => self.take_part(writer).await,
                Ok(writer) => self.follow(writer).await,
                Err(error) => Err(error),
            };
            match turn {
                Ok(()) if self.stop.is_cancelled() => break Role::Stopped,
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(channel = self.state.name, %error, "the channel has failed");
                    break Role::Failed(error.to_string());
                }
            }
        };
        self.set_role(outcome);
    }

    async fn open_writer(&self) -> Result<BlockWriter, OrdererError> {
        let (store, signer) = (self.state.store.clone(), self.node.signer.clone());
        rt::blocking(move || BlockWriter::open(store, signer)).await?
    }

    /// Whether this node takes part in the Raft group: as a consenter, or as one that was removed
    /// and whose vote may still be needed for that.
    fn is_to_be_member(&self) -> bool {
        self.is_onboarded()
            && (self.state.own_consenter().is_some()
                || (self.state.is_leaving() && self.log.node().is_some()))
    }

    fn is_onboarded(&self) -> bool {
        is_onboarded(&self.state, self.join.lock().as_ref())
    }

    /// Others have a block that removes this node: up to that one it follows.
    async fn follow_to(&self, block: common::Block) -> Result<(), OrdererError> {
        let number = number_of(&block);
        let configuration = Configuration::of_block(&block)
            .map_err(|reason| OrdererError::ForeignBlock { number, reason })?;
        let join = JoinBlock::of(&block);
        let store = self.state.store.clone();
        let record = [(JOIN_BLOCK.to_vec(), block.encode_to_vec())];
        rt::blocking(move || store.put_extra(&record, true)).await??;
        self.state.set_configuration(&configuration);
        *self.join.lock() = Some(join);
        Ok(())
    }

    /// Follows until this node is listed or told to stop.
    async fn follow(&self, writer: BlockWriter) -> Result<(), OrdererError> {
        self.set_role(Role::Follower);
        self.state.needs_no_leader();
        let join = self.join.lock().clone();
        tracing::info!(
            channel = self.state.name,
            height = self.state.store.height(),
            join = join.as_ref().map(|join| join.number),
            "following the channel"
        );
        let follower = Follower {
            state: self.state.clone(),
            cluster: self.node.cluster.clone(),
            writer: LentWriter::new(writer),
            join,
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(()),
            ended = follower.run() => ended,
        }
    }

    /// Takes part in the Raft group until this node has no place in it any more, or is told to
    /// stop.
    async fn take_part(&self, writer: BlockWriter) -> Result<(), OrdererError> {
        self.set_role(Role::Looking);
        self.state.needs_leader();
        let looking = self.find_node();
        let found = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(()),
            found = looking => found?,
        };
        let Some((node, founds)) = found else {
            // The configuration changed meanwhile.
            return Ok(());
        };
        let timing = self.node.timing;
        let member = Member::start(Setup {
            state: self.state.clone(),
            cluster: self.node.cluster.clone(),
            checker: self.checker.clone(),
            log: self.log.clone(),
            writer,
            node,
            founds,
            timing: timing.unwrap_or_else(|| self.state.configuration().timing()),
        })
        .await?;
        self.set_role(Role::Member(member.clone()));
        let left = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            removed_by = member.left() => Some(removed_by),
        };
        member.stop().await;
        if let Some(removed_by) = left {
            if let Some(block) = removed_by {
                self.follow_to(block).await?;
            }
            // Should this consenter come back, it is as another node: this log is of no use then.
            member.forget().await?;
        }
        Ok(())
    }

    /// This disk's Raft id in the channel, and whether it takes part in founding the channel.
    async fn find_node(&self) -> Result<Option<(u64, bool)>, OrdererError> {
        let log = self.log.clone();
        let known = log.node();
        let pristine = rt::blocking(move || log.is_pristine()).await??;
        let Some(own) = self.state.own_consenter() else {
            return Ok(known.map(|node| (node, false)));
        };
        match known {
            Some(node) if consenter_of(node) == own => {
                return Ok(Some((node, pristine && node == own)));
            }
            // The log of a consenter that was removed and is listed again, with another id.
            Some(_) => self.log.forget().await?,
            // A log from before ids were kept.
            None if !pristine => {
                self.log.save_node(own).await?;
                return Ok(Some((own, false)));
            }
            None => {}
        }
        let origin = if self.state.store.height() > 1 {
            Origin::Newcomer
        } else {
            self.find_origin(own).await?
        };
        if origin == Origin::Unknown {
            return Ok(None);
        }
        let (node, founds) = match origin {
            Origin::Founder => (own, true),
            _ => (membership::new_node(own, rt::random()), false),
        };
        tracing::info!(
            channel = self.state.name,
            ?origin,
            node,
            "found this node's place"
        );
        self.log.save_node(node).await?;
        Ok(Some((node, founds)))
    }

    /// Asks the others until it is clear whether the channel runs already; unknown if it runs
    /// without this node.
    async fn find_origin(&self, own: u64) -> Result<Origin, OrdererError> {
        let mut pause = PROBES.0;
        for round in 1_u64.. {
            let size = self.state.configuration().consenters.len();
            let answers = if size > 1 {
                member::ask_all(&self.state, &*self.node.cluster, 0).await
            } else {
                Vec::new()
            };
            let heard: Vec<Heard> = answers
                .into_iter()
                .flatten()
                .map(|status| {
                    if status.fresh {
                        Heard::Fresh
                    } else {
                        Heard::Running
                    }
                })
                .collect();
            match membership::origin(size, &heard) {
                Origin::Unknown => {}
                known => return Ok(known),
            }
            if round.is_multiple_of(10) {
                let (state, cluster) = (&self.state, &*self.node.cluster);
                if let Some(ahead) = ahead::look(state, cluster, Some(own)).await {
                    state.set_ahead(ahead.newest);
                    if let Some(block) = ahead.removed_by {
                        // It has never had a vote.
                        self.follow_to(block).await?;
                        break;
                    }
                }
            }
            rt::sleep(pause).await;
            pause = (pause * 2).min(PROBES.1);
        }
        Ok(Origin::Unknown)
    }

    fn set_role(&self, role: Role) {
        self.role.store(Arc::new(role));
        self.roles.send_replace(());
        let participation = self.participation();
        metrics::participation(&self.state.name, participation);
    }

    /// This node's part in the Raft group, if it has one.
    pub(crate) fn member(&self) -> Option<Arc<Member>> {
        match &**self.role.load() {
            Role::Member(member) => Some(member.clone()),
            _ => None,
        }
    }

    /// Whether this node is a consenter that does not know its place yet.
    pub(crate) fn is_looking(&self) -> bool {
        matches!(**self.role.load(), Role::Looking)
    }

    /// Whether this node only follows the channel at the moment.
    pub(crate) fn is_follower(&self) -> bool {
        matches!(**self.role.load(), Role::Follower)
    }

    /// Why messages cannot be ordered through this node at all, if so.
    pub(crate) fn check_ready(&self) -> Result<(), Refusal> {
        match &**self.role.load() {
            Role::Member(_) | Role::Looking => Ok(()),
            Role::Follower => Err(Refusal::unavailable(format!(
                "orderer is a follower of channel {}",
                self.state.name
            ))),
            Role::Failed(_) | Role::Stopped => Err(Refusal::unavailable("chain is stopped")),
        }
    }

    /// Waits until this node knows what it is to the channel, at most for so long.
    pub(crate) async fn find_place(&self, patience: Duration) {
        let mut roles = self.roles.subscribe();
        let found = async { while self.is_looking() && roles.changed().await.is_ok() {} };
        rt::timeout(patience, found).await;
    }

    /// Queues a checked message; what comes back resolves once it is ordered or refused. While the
    /// node looks for its place, messages wait as they do while there is no leader.
    pub(crate) async fn submit(&self, submission: NewSubmission) -> oneshot::Receiver<Answer> {
        let mut roles = self.roles.subscribe();
        let found = async { while self.is_looking() && roles.changed().await.is_ok() {} };
        rt::timeout(LEADER_WAIT, found).await;
        if let Some(member) = self.member() {
            return member.submit(submission).await;
        }
        let refusal = match self.check_ready() {
            Err(refusal) => refusal,
            Ok(()) => Refusal::unavailable("no Raft leader"),
        };
        let (answer, receiver) = oneshot::channel();
        submission.answered_by(answer).answer(Err(refusal));
        receiver
    }

    /// How this node stands to the channel, as the channel participation API says it.
    pub(crate) fn participation(&self) -> Participation {
        let relation = if self.state.own_consenter().is_some() {
            Relation::Consenter
        } else {
            Relation::Follower
        };
        let (relation, status) = match &**self.role.load() {
            Role::Member(_) if self.missing_room().is_some() => {
                (Relation::Consenter, Standing::Failed)
            }
            // With blocks and without a log it has to catch up, whatever the others say.
            Role::Looking if self.state.store.height() > 1 => (relation, Standing::Onboarding),
            Role::Looking => (Relation::Consenter, Standing::Active),
            Role::Member(member) if !member.is_running() => (Relation::Consenter, Standing::Failed),
            Role::Member(member) if member.counts() => (Relation::Consenter, Standing::Active),
            Role::Member(_) => (relation, Standing::Onboarding),
            // Listed, and about to take part.
            Role::Follower if relation == Relation::Consenter => (relation, Standing::Onboarding),
            Role::Follower if self.is_onboarded() => (relation, Standing::Active),
            Role::Follower => (relation, Standing::Onboarding),
            Role::Failed(_) => (relation, Standing::Failed),
            Role::Stopped => (relation, Standing::Inactive),
        };
        Participation { relation, status }
    }

    /// Why the channel does not work: it has stopped with an error, or waits for room on the disk.
    pub(crate) fn failure(&self) -> Option<String> {
        if let Some(missing) = self.missing_room() {
            return Some(format!("no room on the disk: {missing}"));
        }
        match &**self.role.load() {
            Role::Failed(reason) => Some(reason.clone()),
            Role::Member(member) => {
                let metrics = member.raft.metrics();
                let metrics = metrics.borrow_watched();
                metrics
                    .running_state
                    .as_ref()
                    .err()
                    .map(ToString::to_string)
            }
            _ => None,
        }
    }

    /// What keeps the channel's writes waiting, if they wait for room on the disk.
    fn missing_room(&self) -> Option<String> {
        let store = self.state.store.missing_room();
        store.or_else(|| self.node.store.missing_room())
    }

    pub(crate) fn raft_status(&self) -> Option<RaftStatus> {
        let member = self.member()?;
        let metrics = member.raft.metrics();
        let metrics = metrics.borrow_watched();
        Some(RaftStatus {
            id: consenter_of(metrics.id),
            term: metrics.current_term,
            leader: metrics.current_leader.map(consenter_of),
            last: metrics.last_log_index,
            applied: metrics.last_applied.map(|id| id.index()),
            purged: metrics.purged.map(|id| id.index()),
        })
    }

    /// Stops the node's part in the channel; waiting messages are answered.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.state.store.give_up();
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::warn!(channel = self.state.name, %error, "the channel did not stop in order");
        }
    }

    /// Removes the channel's Raft log, vote and id. The chain is stopped.
    pub(crate) async fn forget(&self) -> Result<(), OrdererError> {
        Ok(self.log.forget().await?)
    }
}

fn number_of(block: &common::Block) -> u64 {
    consilium_protocol::block::number(block)
}
