//! This node's part in a channel's Raft group: Raft itself, the task that orders, and the tasks
//! that keep the group as the channel's configuration says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consilium_proto::common;
use consilium_proto::consilium::replication as wire;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::impls::EmptyNode;
use openraft::raft::Precondition;
use openraft::{ChangeMembers, Config, Instant, RaftMetrics, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ahead;
use crate::blocks::BlockWriter;
use crate::check::Checker;
use crate::cluster::Cluster;
use crate::error::OrdererError;
use crate::metrics;
use crate::order::Sequencer;
use crate::raft::log::ChannelLog;
use crate::raft::machine::Machine;
use crate::raft::membership::{self, Step, View, consenter_of};
use crate::raft::network::Network;
use crate::raft::{Raft, Timing, TypeConfig};
use crate::refusal::Refusal;
use crate::rt;
use crate::state::ChainState;
use crate::submission::{Answer, NewSubmission, Submission};

/// Checked messages that wait for the channel's task.
const QUEUE: usize = 1024;
/// Log entries that stay after a snapshot, for followers that are a little behind.
const KEPT_ENTRIES: u64 = 256;
/// Longest installation of a snapshot: the follower pulls blocks meanwhile.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(600);
/// How often the leader looks whether the group is as configured, and a node for its place.
const LOOK: Duration = Duration::from_millis(250);
/// How long a leader without room on its disk waits before it asks another node again to lead.
const HAND_OVER_PAUSE: Duration = Duration::from_secs(5);
/// Longest wait for one step of a membership change; then the leader looks again.
const STEP_DEADLINE: Duration = Duration::from_secs(10);
/// Entries that a new node may lack when it gets its vote: it will have them in a moment.
const NEARLY: u64 = 64;

/// What a member needs from its channel and its node.
pub(crate) struct Setup {
    pub(crate) state: Arc<ChainState>,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) checker: Checker,
    pub(crate) log: ChannelLog,
    pub(crate) writer: BlockWriter,
    /// Raft id of this node.
    pub(crate) node: u64,
    /// Makes the group, together with the other founders.
    pub(crate) founds: bool,
    pub(crate) timing: Timing,
}

/// A running member.
pub(crate) struct Member {
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    state: Arc<ChainState>,
    log: ChannelLog,
    founds: bool,
    timing: Timing,
    submissions: mpsc::Sender<Submission>,
    /// Nodes that asked to be taken in, by consenter.
    announced: Mutex<BTreeMap<u64, u64>>,
    left: Notify,
    /// The block that removes this node, where its own chain does not have it yet.
    removed_by: Mutex<Option<common::Block>>,
    stop: CancellationToken,
    tasks: Mutex<Vec<rt::Task<()>>>,
}

impl Member {
    /// Starts Raft and its tasks.
    pub(crate) async fn start(setup: Setup) -> Result<Arc<Self>, OrdererError> {
        let Setup {
            state,
            cluster,
            checker,
            log,
            writer,
            node,
            founds,
            timing,
        } = setup;
        let raft_error = |error: &dyn std::error::Error| OrdererError::Raft(error.to_string());
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let parts = (state.clone(), log.clone(), cluster.clone());
        let mut machine =
            rt::blocking(move || Machine::open(parts.0, parts.1, parts.2, writer, stopping))
                .await??;
        machine.cover_log().await?;
        let network = Network {
            state: state.clone(),
            cluster: cluster.clone(),
            own: node,
        };
        let config = raft_config(&state.name, timing).map_err(|error| raft_error(&error))?;
        let raft = Raft::new(node, Arc::new(config), network, log.clone(), machine)
            .await
            .map_err(|error| raft_error(&error))?;
        if founds {
            // Every founder makes the same first entry, from the same genesis block.
            let members: BTreeMap<u64, EmptyNode> = state
                .configuration()
                .consenter_ids()
                .into_iter()
                .map(|id| (id, EmptyNode {}))
                .collect();
            if let Err(error) = raft.initialize(members).await {
                // Another node may have been quicker and replicated the entry already.
                tracing::debug!(channel = state.name, %error, "raft group exists already");
            }
        }
        let (submissions, queue) = mpsc::channel(QUEUE);
        let member = Arc::new(Self {
            node,
            raft: raft.clone(),
            state: state.clone(),
            log,
            founds,
            timing,
            submissions,
            announced: Mutex::default(),
            left: Notify::new(),
            removed_by: Mutex::default(),
            stop,
            tasks: Mutex::default(),
        });
        let sequencer = Sequencer::new(member.clone(), cluster.clone(), checker);
        let tasks = [
            rt::spawn(sequencer.run(queue)),
            rt::spawn(member.clone().keep_group()),
            rt::spawn(member.clone().keep_place(cluster)),
        ];
        member.tasks.lock().extend(tasks);
        tracing::info!(
            channel = state.name,
            node,
            height = state.store.height(),
            "taking part in the channel's raft group"
        );
        Ok(member)
    }

    /// Queues a checked message; what comes back resolves once it is ordered or refused. Messages
    /// queued one after the other by one caller keep their order while the leader stays.
    pub(crate) async fn submit(&self, submission: NewSubmission) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        let submission = submission.answered_by(answer);
        if let Err(refused) = self.submissions.send(submission).await {
            refused
                .0
                .answer(Err(Refusal::unavailable("chain is stopped")));
        }
        receiver
    }

    pub(crate) fn state(&self) -> &Arc<ChainState> {
        &self.state
    }

    /// Whether Raft runs: a failed disk stops it.
    pub(crate) fn is_running(&self) -> bool {
        self.raft.metrics().borrow_watched().running_state.is_ok()
    }

    /// The Raft id of the leader, if one is known.
    pub(crate) fn leader(&self) -> Option<u64> {
        self.raft.metrics().borrow_watched().current_leader
    }

    /// Whether this node has never heard of a leader: for all that it knows nothing was ever
    /// committed.
    pub(crate) fn is_fresh(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.last_log_index.is_none_or(|index| index == 0) && !metrics.vote.committed
    }

    /// Whether a consenter's node is among the voters, as far as this node's log says.
    pub(crate) fn votes(&self, consenter: u64) -> bool {
        let voters = self.voters();
        let mut all = voters.iter().flatten();
        all.any(|node| consenter_of(*node) == consenter)
    }

    /// The voters that this node's log says, committed or not: one set, or two.
    pub(crate) fn voters(&self) -> Vec<BTreeSet<u64>> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        membership.get_joint_config().to_vec()
    }

    /// The voters in the last membership that is committed.
    pub(crate) fn committed_voters(&self) -> BTreeSet<u64> {
        self.state.committed_voters()
    }

    /// Whether this node counts: it has a vote that no change of the membership is about to give or
    /// to take. A founder has one before anything is committed.
    pub(crate) fn counts(&self) -> bool {
        let committed = self.state.voters.lock();
        if committed.is_empty() {
            return self.founds;
        }
        committed.iter().all(|set| set.contains(&self.node))
    }

    /// Nodes that have answered lately, this one included. Only the leader knows.
    ///
    /// Takes what the caller has borrowed: to borrow it a second time while Raft waits to write it
    /// would block both for ever, and the threads that they run on.
    fn alive(&self, metrics: &RaftMetrics<TypeConfig>) -> BTreeSet<u64> {
        let heard = metrics.heartbeat.iter().flatten().map(|(node, _)| *node);
        let heard = heard.filter(|node| self.hears(metrics, *node));
        heard.chain([self.node]).collect()
    }

    /// Whether a node has answered this leader lately.
    fn hears(&self, metrics: &RaftMetrics<TypeConfig>, node: u64) -> bool {
        let heard = metrics
            .heartbeat
            .as_ref()
            .and_then(|heard| heard.get(&node));
        let heard = heard.and_then(Option::as_ref);
        node == self.node || heard.is_some_and(|at| at.elapsed() <= self.timing.election_max)
    }

    /// Consenters whose voting nodes have answered lately. Only the leader knows.
    pub(crate) fn active(&self) -> BTreeSet<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        let alive = self.alive(&metrics);
        alive
            .intersection(&voters)
            .map(|node| consenter_of(*node))
            .collect()
    }

    /// Whether a majority of every set of voters has answered this leader lately.
    pub(crate) fn has_quorum(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let heard = |set: &BTreeSet<u64>| {
            set.iter()
                .filter(|node| self.hears(&metrics, **node))
                .count()
        };
        let mut sets = membership.get_joint_config().iter();
        sets.all(|set| heard(set) > set.len() / 2)
    }

    /// How the group keeps time.
    pub(crate) fn timing(&self) -> Timing {
        self.timing
    }

    /// A node asks to be taken in, or to be remembered for the case that this node comes to lead.
    pub(crate) fn announce(&self, node: u64) {
        self.announced.lock().insert(consenter_of(node), node);
    }

    /// Resolves when this node has no place in the group any more; gives the block that removes it
    /// if its own chain does not have that yet.
    pub(crate) async fn left(&self) -> Option<common::Block> {
        self.left.notified().await;
        self.removed_by.lock().take()
    }

    /// Stops Raft and the tasks; waiting messages are answered.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(channel = self.state.name, %error, "raft did not stop in order");
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::warn!(channel = self.state.name, %error, "a task did not stop in order");
            }
        }
    }

    /// Removes the channel's Raft log, vote and id. The member is stopped.
    pub(crate) async fn forget(&self) -> Result<(), OrdererError> {
        Ok(self.log.forget().await?)
    }

    /// While this node leads: brings the group to what the configuration says.
    async fn keep_group(self: Arc<Self>) {
        let mut hands_over = rt::now();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = rt::sleep(LOOK) => {}
            }
            let leads = self.raft.metrics().borrow_watched().state == ServerState::Leader;
            let active = if leads { self.active().len() } else { 0 };
            metrics::active_nodes(&self.state.name, active);
            let step = match self.missing_room() {
                None => self.next_step(),
                Some(_) if rt::now() < hands_over => None,
                Some(_) => {
                    hands_over = rt::now() + HAND_OVER_PAUSE;
                    self.hand_over()
                }
            };
            let Some(step) = step else {
                continue;
            };
            tracing::info!(
                channel = self.state.name,
                ?step,
                "following the configuration"
            );
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                taken = rt::timeout(STEP_DEADLINE, self.take(step)) => match taken {
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        tracing::warn!(channel = self.state.name, error, "membership did not change");
                    }
                    None => tracing::warn!(channel = self.state.name, "membership change takes long"),
                },
            }
        }
    }

    /// What keeps this node's writes waiting, if they wait for room on the disk.
    fn missing_room(&self) -> Option<String> {
        let log = self.log.missing_room();
        log.or_else(|| self.state.store.missing_room())
    }

    /// A leader that waits for room would make the whole group wait with it.
    fn hand_over(&self) -> Option<Step> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader;
        leads
            .then(|| membership::heir(&self.view(&metrics)))?
            .map(Step::HandOver)
    }

    fn next_step(&self) -> Option<Step> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let term = metrics.current_term;
        // As for ordering: with its first entry applied the leader knows all that is committed.
        if metrics.state != ServerState::Leader || self.state.progress.borrow().term != term {
            return None;
        }
        membership::next_step(&self.view(&metrics))
    }

    /// The group as the leader sees it.
    fn view(&self, metrics: &RaftMetrics<TypeConfig>) -> View {
        let membership = metrics.membership_config.membership();
        let last = metrics.last_log_index.unwrap_or_default();
        let replication = metrics.replication.iter().flatten();
        let caught_up = replication.filter_map(|(node, matched)| {
            let matched = matched.as_ref()?.index();
            (matched + NEARLY >= last).then_some(*node)
        });
        View {
            consenters: self.state.configuration().consenter_ids(),
            voters: membership.get_joint_config().to_vec(),
            learners: membership.learner_ids().collect(),
            announced: self.announced.lock().clone(),
            alive: self.alive(metrics),
            caught_up: caught_up.chain([self.node]).collect(),
            own: self.node,
        }
    }

    async fn take(&self, step: Step) -> Result<(), String> {
        // Decided on what was seen a moment ago: if the membership is another by now, look again.
        let seen = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            *metrics.membership_config.log_id()
        };
        let unchanged = [Precondition::LastMembershipLogId {
            last_membership_log_id: seen,
        }];
        let (change, retain): (ChangeMembers<u64, EmptyNode>, bool) = match step {
            Step::HandOver(node) => {
                let trigger = self.raft.trigger();
                let handed = trigger.transfer_leader(node).await;
                return handed.map_err(|error| error.to_string());
            }
            Step::Voters(voters) => (ChangeMembers::ReplaceAllVoters(voters), false),
            Step::AddLearner(node) => {
                let nodes = BTreeMap::from([(node, EmptyNode {})]);
                (ChangeMembers::AddNodes(nodes), true)
            }
            Step::RemoveLearner(node) => {
                (ChangeMembers::RemoveNodes(BTreeSet::from([node])), false)
            }
        };
        self.raft
            .change_membership_if(change, retain, unchanged)
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    /// Tells the others that this node is there while it has no vote, and notices when it has lost
    /// its place.
    async fn keep_place(self: Arc<Self>, cluster: Arc<dyn Cluster>) {
        let own = consenter_of(self.node);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = rt::sleep(LOOK * 2) => {}
            }
            let listed = self.state.configuration().consenter_ids().contains(&own);
            let voters = self.voters();
            let votes = voters.iter().flatten().any(|node| *node == self.node);
            if listed && !votes {
                self.ask(&*cluster, self.node).await;
            }
            if !listed && !votes {
                tracing::info!(
                    channel = self.state.name,
                    "this node was removed from the channel"
                );
                self.left.notify_one();
                return;
            } else if self.state.leaderless_for() > self.timing.election_max * 2 {
                let evicted = tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return,
                    evicted = self.is_evicted(&*cluster, own, listed) => evicted,
                };
                if evicted {
                    tracing::info!(
                        channel = self.state.name,
                        "the others have removed this node from the channel"
                    );
                    self.left.notify_one();
                    return;
                }
            }
        }
    }

    /// Whether the others go on without this node, which has not heard of them for a while.
    ///
    /// Being removed is not enough: its vote may still be needed to end the change that removes it.
    /// Whoever has the block that does, and has committed voters without this node, has ended that
    /// change; and so has the next change, which would not have been let through before.
    async fn is_evicted(&self, cluster: &dyn Cluster, own: u64, listed: bool) -> bool {
        let mut height = self.state.store.height();
        if let Some(ahead) = ahead::look(&self.state, cluster, listed.then_some(own)).await {
            self.state.set_ahead(ahead.newest);
            if let Some(block) = ahead.removed_by {
                height = consilium_protocol::block::number(&block).saturating_add(1);
                *self.removed_by.lock() = Some(block);
            } else if listed {
                return false;
            }
            if ahead.moved_on {
                return true;
            }
        } else if listed {
            return false;
        }
        let others = self.ask(cluster, 0).await;
        others.iter().flatten().any(|status| {
            status.height >= height
                && !status.voters.is_empty()
                && !status.voters.contains(&self.node)
        })
    }

    /// Asks all other consenters how they stand.
    async fn ask(
        &self,
        cluster: &dyn Cluster,
        node: u64,
    ) -> Vec<Result<wire::StatusResponse, tonic::Status>> {
        ask_all(&self.state, cluster, node).await
    }
}

/// Asks all other consenters of a channel how they stand; `node` is the Raft id to announce, or 0.
pub(crate) async fn ask_all(
    state: &ChainState,
    cluster: &dyn Cluster,
    node: u64,
) -> Vec<Result<wire::StatusResponse, tonic::Status>> {
    let request = wire::StatusRequest {
        channel: state.name.clone(),
        node,
    };
    let calls = state.others().into_iter().map(|other| {
        let call = cluster.status(&other.address, request.clone());
        async move {
            rt::timeout(Duration::from_secs(1), call)
                .await
                .unwrap_or_else(|| Err(tonic::Status::deadline_exceeded("no answer in time")))
        }
    });
    futures_util::future::join_all(calls).await
}

fn raft_config(channel: &str, timing: Timing) -> Result<Config, openraft::ConfigError> {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: channel.to_owned(),
        heartbeat_interval: milliseconds(timing.heartbeat),
        election_timeout_min: milliseconds(timing.election_min),
        election_timeout_max: milliseconds(timing.election_max),
        enable_pre_vote: Some(true),
        // A leader counts as committed what two followers have on disk, even before it is on its
        // own. Killed at that moment and back as leader of the same term, it would put another
        // entry at that place: a fork. So it comes back as a follower and needs a new term.
        enable_leader_restore: Some(false),
        // Entries are batches already: bounded by bytes, not by count.
        max_payload_entries: 64,
        max_append_entries: Some(64),
        broadcast_submitted_on_append: Some(true),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(2_000),
        max_in_snapshot_log_to_keep: KEPT_ENTRIES,
        purge_batch_size: 64,
        install_snapshot_timeout: milliseconds(SNAPSHOT_DEADLINE),
        // A leader whose followers hear it and cannot answer keeps quiet for a while, so that they
        // elect another one.
        quorum_loss_probe_interval: Some(2 * milliseconds(timing.election_max)),
        api_channel_size: Some(1024),
        notification_channel_size: Some(4096),
        ..Config::default()
    }
    .validate()
}
