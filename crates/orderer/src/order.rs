//! One task per channel that gives messages their order: it cuts batches while this node leads,
//! and passes messages on while another node does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_proto::common;
use consilium_proto::common::Status;
use consilium_protocol::envelope;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::error::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias::{OneshotReceiverOf, WatchReceiverOf};
use prost::Message;
use tokio::sync::mpsc;

use crate::check::Checker;
use crate::cluster::Cluster;
use crate::config_update;
use crate::configuration::Configuration;
use crate::cutter::{Cutter, Kind, Limits, Waiting};
use crate::deliberate;
use crate::forward::Forwarder;
use crate::member::Member;
use crate::metrics;
use crate::raft::membership::{check_settled, consenter_of};
use crate::raft::{Applied, Proposal, TypeConfig};
use crate::refusal::Refusal;
use crate::rt;
use crate::state::ChainState;
use crate::submission::Submission;

/// Messages that wait in the cutter before the task stops taking more.
const MAX_WAITING: usize = 8192;
/// Messages taken in one go.
const TAKE: usize = 256;
/// How long messages wait for a leader while there is none.
pub(crate) const LEADER_WAIT: Duration = Duration::from_secs(4);
/// Longest wait for a batch to be ordered; after that nobody knows what becomes of it.
const LANDING_DEADLINE: Duration = Duration::from_secs(7);
/// How long the leader proposes nothing after Raft has refused a batch.
const REFUSED_PAUSE: Duration = Duration::from_millis(25);
/// Most batches in flight, whatever the channel allows.
const MAX_IN_FLIGHT: u32 = 8;

type ServerMetrics = openraft::metrics::RaftServerMetrics<TypeConfig>;

/// What this node is to the channel at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Leads in this term, and has applied everything from before.
    Leading { term: u64 },
    /// Another node leads.
    Following { leader: u64 },
    /// Nobody is known to lead, or this node leads and is not ready yet.
    Waiting,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Role::Leading { term } => write!(f, "leading in term {term}"),
            Role::Following { leader } => write!(f, "following {}", consenter_of(*leader)),
            Role::Waiting => f.write_str("waiting for a leader"),
        }
    }
}

/// A batch that was proposed.
struct Flight {
    submissions: Vec<Submission>,
    config: bool,
    /// When the oldest of them arrived.
    since: Instant,
    outcome: Result<Applied, Lost>,
}

/// A batch of which no outcome is known.
enum Lost {
    /// It was refused before it got into the log, since another node leads.
    NotProposed,
    /// Raft has stopped, and took nothing.
    Stopped,
    /// It may be in the log of the next leader.
    Unknown,
}

pub(crate) struct Sequencer {
    state: Arc<ChainState>,
    member: Arc<Member>,
    cluster: Arc<dyn Cluster>,
    checker: Checker,
    cutter: Cutter<Submission>,
    flights: FuturesUnordered<futures_util::future::BoxFuture<'static, Flight>>,
    forwarder: Option<Forwarder>,
    role: Role,
    /// Messages that wait for a leader, and since when.
    stranded: VecDeque<(Instant, Submission)>,
    /// Raft takes nothing at the moment, though this node leads: it is handing over.
    paused_until: Option<Instant>,
    /// When this node became the leader, if it is.
    leads_since: Option<Instant>,
    snapshot_at: u64,
}

impl Sequencer {
    pub(crate) fn new(member: Arc<Member>, cluster: Arc<dyn Cluster>, checker: Checker) -> Self {
        Self {
            state: member.state().clone(),
            member,
            cluster,
            checker,
            cutter: Cutter::default(),
            flights: FuturesUnordered::new(),
            forwarder: None,
            role: Role::Waiting,
            stranded: VecDeque::new(),
            paused_until: None,
            leads_since: None,
            snapshot_at: 0,
        }
    }

    /// Runs until `submissions` is closed or Raft stops.
    pub(crate) async fn run(mut self, mut submissions: mpsc::Receiver<Submission>) {
        let mut servers = self.member.raft.server_metrics();
        let mut progress = self.state.progress.subscribe();
        let mut taken = Vec::with_capacity(TAKE);
        loop {
            self.role = self.current_role(&servers);
            self.leave_former_leader();
            self.place_stranded().await;
            self.cut().await;
            let wake = self.wake_at();
            let room = self.cutter.waiting() < MAX_WAITING && self.stranded.len() < MAX_WAITING;
            tokio::select! {
                biased;
                Some(flight) = self.flights.next(), if !self.flights.is_empty() => self.landed(flight),
                changed = servers.changed() => if changed.is_err() {
                    break;
                },
                changed = progress.changed() => if changed.is_err() {
                    break;
                },
                count = submissions.recv_many(&mut taken, TAKE), if room => {
                    if count == 0 {
                        break;
                    }
                    let now = rt::now();
                    for submission in taken.drain(..) {
                        metrics::proposals_received(&self.state.name, submission.config);
                        self.place(submission, now).await;
                    }
                }
                () = rt::sleep_until(wake) => {}
            }
            self.snapshot_if_due().await;
        }
        self.stop(submissions).await;
    }

    /// Answers everything that waits.
    async fn stop(mut self, mut submissions: mpsc::Receiver<Submission>) {
        submissions.close();
        let stopped = || Err(Refusal::unavailable("chain is stopped"));
        for waiting in self.cutter.drain() {
            waiting.message.answer(stopped());
        }
        for (_, submission) in self.stranded.drain(..) {
            submission.answer(stopped());
        }
        while let Some(submission) = submissions.recv().await {
            submission.answer(stopped());
        }
        while let Some(flight) = self.flights.next().await {
            self.landed(flight);
        }
        for (_, submission) in self.stranded.drain(..) {
            submission.answer(stopped());
        }
    }

    fn current_role(&mut self, servers: &WatchReceiverOf<TypeConfig, ServerMetrics>) -> Role {
        let server = servers.borrow_watched();
        let (now, patience) = (rt::now(), self.member.timing().election_max);
        let leads = server.state == ServerState::Leader;
        self.leads_since = leads.then(|| self.leads_since.unwrap_or(now));
        let role = match (self.leads_since, server.current_leader) {
            (Some(since), _) => {
                // Its first entry of the term applied means that every earlier one is: from then
                // on the configuration in force is the one that new entries will be applied under.
                let term = server.vote.leader_id.term;
                let ready = server.vote.committed && self.state.progress.borrow().term == term;
                let paused = self.paused_until.is_some_and(|until| now < until);
                // A leader that nobody answers may have been replaced long ago.
                let heard =
                    now.saturating_duration_since(since) <= patience || self.member.has_quorum();
                if ready && heard && !paused {
                    Role::Leading { term }
                } else {
                    Role::Waiting
                }
            }
            (None, Some(leader))
                if leader != self.member.node && self.state.leaderless_for() <= patience =>
            {
                Role::Following { leader }
            }
            _ => Role::Waiting,
        };
        if role != self.role {
            match role {
                Role::Leading { .. } => self.state.needs_no_leader(),
                // A follower has heard of the leader when it called.
                Role::Following { .. } => {}
                Role::Waiting if matches!(self.role, Role::Leading { .. }) => {
                    self.state.needs_leader();
                }
                Role::Waiting => {}
            }
            metrics::leadership(&self.state.name, matches!(role, Role::Leading { .. }));
            if !matches!(role, Role::Waiting) {
                metrics::leader_changed(&self.state.name);
                tracing::info!(channel = self.state.name, %role, "raft role changed");
            }
        }
        role
    }

    /// Whoever waits for an answer of a leader that is none any more is told at once.
    fn leave_former_leader(&mut self) {
        let leader = match self.role {
            Role::Following { leader } => Some(leader),
            _ => None,
        };
        if let Some(forwarder) = &self.forwarder
            && Some(forwarder.leader) != leader
        {
            self.forwarder = None;
        }
    }

    fn limits(&self) -> Limits {
        let configuration = self.state.configuration();
        let config = &configuration.config;
        let batch = config.batch_size();
        let in_flight = configuration.max_inflight_blocks().clamp(1, MAX_IN_FLIGHT);
        Limits {
            max_message_count: batch.max_message_count as usize,
            preferred_max_bytes: batch.preferred_max_bytes as usize,
            batch_timeout: config.batch_timeout(),
            max_in_flight: in_flight as usize,
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let stranded = self.stranded.front().map(|(since, _)| *since + LEADER_WAIT);
        let batch = match self.role {
            Role::Leading { .. } => self.cutter.wake_at(&self.limits()),
            _ => None,
        };
        let now = rt::now();
        let paused = self.paused_until.filter(|until| now < *until);
        // Whether the others are still there.
        let look = now.checked_add(self.member.timing().election_min / 2);
        [stranded, batch, paused, look].into_iter().flatten().min()
    }

    /// Puts a message where it belongs at the moment.
    async fn place(&mut self, submission: Submission, since: Instant) {
        match self.role {
            Role::Leading { .. } => {
                let kind = if submission.config {
                    Kind::Config
                } else {
                    Kind::Normal
                };
                let size = submission.size;
                self.cutter.add(Waiting {
                    message: submission,
                    kind,
                    size,
                    arrived: since,
                });
            }
            Role::Following { leader } if !submission.forwarded => {
                self.forward(leader, submission).await;
            }
            Role::Following { .. } => submission.answer(Err(no_leader())),
            Role::Waiting => self.stranded.push_back((since, submission)),
        }
    }

    async fn forward(&mut self, leader: u64, submission: Submission) {
        let usable = |forwarder: &Forwarder| forwarder.leader == leader && !forwarder.is_closed();
        if !self.forwarder.as_ref().is_some_and(usable) {
            let Some(address) = self.state.address(leader) else {
                submission.answer(Err(no_leader()));
                return;
            };
            self.forwarder = Some(Forwarder::open(&self.state, &self.cluster, leader, address));
        }
        if let Some(forwarder) = &self.forwarder
            && let Err(submission) = forwarder.send(submission).await
        {
            submission.answer(Err(no_leader()));
        }
    }

    /// Places messages that waited for a leader, and those that this node cannot order any more.
    async fn place_stranded(&mut self) {
        if !matches!(self.role, Role::Leading { .. }) && self.cutter.waiting() > 0 {
            // What was stranded before is older.
            let waiting = self.cutter.drain().into_iter();
            self.stranded
                .extend(waiting.map(|waiting| (waiting.arrived, waiting.message)));
        }
        if matches!(self.role, Role::Waiting) {
            let now = rt::now();
            while let Some((since, _)) = self.stranded.front()
                && now.saturating_duration_since(*since) >= LEADER_WAIT
                && let Some((_, submission)) = self.stranded.pop_front()
            {
                submission.answer(Err(no_leader()));
            }
            return;
        }
        while let Some((since, submission)) = self.stranded.pop_front() {
            self.place(submission, since).await;
        }
    }

    /// Proposes as many batches as the cutter gives.
    async fn cut(&mut self) {
        let Role::Leading { term } = self.role else {
            return;
        };
        let limits = self.limits();
        while let Some(batch) = self.cutter.cut(&limits, rt::now()) {
            metrics::batch_filled(
                &self.state.name,
                rt::now().saturating_duration_since(batch.oldest),
            );
            let submissions = self.recheck(batch.messages).await;
            if submissions.is_empty() {
                self.cutter.finished(batch.config);
                continue;
            }
            self.propose(term, submissions, batch.config, batch.oldest)
                .await;
        }
    }

    /// Checks messages again that were checked under an older configuration, and every config
    /// message against what only the leader knows; answers those that fail.
    async fn recheck(&mut self, submissions: Vec<Submission>) -> Vec<Submission> {
        let configuration = self.state.configuration();
        let sequence = configuration.config.sequence();
        let settled =
            |submission: &Submission| submission.sequence >= sequence && !submission.config;
        if submissions.iter().all(settled) {
            return submissions;
        }
        let view = View {
            configuration,
            voters: self.member.voters(),
            active: self.member.active(),
        };
        let view = Arc::new(view);
        let mut passed = Vec::with_capacity(submissions.len());
        for mut submission in submissions {
            if settled(&submission) {
                passed.push(submission);
                continue;
            }
            let (checker, view) = (self.checker.clone(), view.clone());
            let (message, config) = (submission.envelope.clone(), submission.config);
            let checked = submission.sequence;
            let check =
                rt::blocking(move || recheck(&checker, &view, message, config, checked)).await;
            match check {
                Ok(Ok(envelope)) => {
                    submission.envelope = envelope;
                    submission.sequence = sequence;
                    passed.push(submission);
                }
                Ok(Err(refusal)) => submission.answer(Err(refusal)),
                Err(error) => submission.answer(Err(Refusal::unavailable(error.to_string()))),
            }
        }
        passed
    }

    async fn propose(
        &mut self,
        term: u64,
        mut submissions: Vec<Submission>,
        config: bool,
        since: Instant,
    ) {
        let envelopes = || {
            submissions
                .iter()
                .map(|submission| submission.envelope.clone())
        };
        let proposal = match (config, envelopes().next()) {
            (true, Some(envelope)) => Proposal::Config(envelope),
            _ => Proposal::Batch(Arc::new(envelopes().collect())),
        };
        let (responder, receiver) = ProgressResponder::complete_only();
        let leader = openraft::vote::leader_id_std::CommittedLeaderId::new(term);
        let write = self
            .member
            .raft
            .write(proposal)
            .with_leader(leader)
            .responder(responder);
        if deliberate::ACKNOWLEDGE_EARLY.is_on() {
            for submission in &mut submissions {
                submission.answer_early();
            }
        }
        // Enqueued in the order of these calls; the outcome comes later.
        let enqueued = write.await;
        let flight = async move {
            let outcome = match enqueued {
                Ok(()) => rt::timeout(LANDING_DEADLINE, landing(receiver))
                    .await
                    .unwrap_or(Err(Lost::Unknown)),
                Err(_) => Err(Lost::Stopped),
            };
            Flight {
                submissions,
                config,
                since,
                outcome,
            }
        };
        self.flights.push(Box::pin(flight));
    }

    /// Answers the messages of a batch whose outcome is known, or never will be.
    fn landed(&mut self, flight: Flight) {
        self.cutter.finished(flight.config);
        let answer = match flight.outcome {
            Ok(Applied::Block(_)) => Ok(()),
            Ok(Applied::Refused(reason)) => Err(Refusal::bad_request(reason)),
            Ok(Applied::Nothing) => Err(Refusal::unavailable("the batch made no block")),
            Err(Lost::Unknown) if deliberate::DEPOSED_CUTS.is_on() => {
                let now = rt::now();
                for submission in flight.submissions.into_iter().rev() {
                    self.stranded.push_front((now, submission));
                }
                return;
            }
            Err(Lost::NotProposed) => {
                // In order of arrival, before whatever is stranded already.
                for submission in flight.submissions.into_iter().rev() {
                    self.stranded.push_front((flight.since, submission));
                }
                self.paused_until = rt::now().checked_add(REFUSED_PAUSE);
                return;
            }
            Err(Lost::Stopped) => Err(Refusal::unavailable("chain is stopped")),
            Err(Lost::Unknown) => {
                metrics::proposal_failed(&self.state.name);
                Err(Refusal::unavailable(
                    "the message was not ordered in time, or another node leads by now: it may be \
                     ordered or not",
                ))
            }
        };
        for submission in flight.submissions {
            submission.answer(answer.clone());
        }
    }

    /// Fixes a position of the chain once enough bytes were applied, so that the log before it can
    /// be purged.
    async fn snapshot_if_due(&mut self) {
        let bytes = self.state.progress.borrow().bytes;
        let interval = self.state.configuration().snapshot_interval();
        if bytes.saturating_sub(self.snapshot_at) >= interval {
            self.snapshot_at = bytes;
            if let Err(error) = self.member.raft.trigger().snapshot().await {
                tracing::warn!(channel = self.state.name, %error, "cannot take a snapshot");
            }
        }
    }
}

async fn landing(
    receiver: OneshotReceiverOf<TypeConfig, ClientWriteResult<TypeConfig>>,
) -> Result<Applied, Lost> {
    match receiver.await {
        Ok(Ok(response)) => Ok(response.data),
        Ok(Err(ClientWriteError::ForwardToLeader(_))) => Err(Lost::NotProposed),
        Ok(Err(_)) | Err(_) => Err(Lost::Unknown),
    }
}

/// What the leader knows when it checks a message again.
struct View {
    configuration: Arc<Configuration>,
    /// Raft ids of the voters: one set, or two.
    voters: Vec<BTreeSet<u64>>,
    /// Consenters that have answered lately.
    active: BTreeSet<u64>,
}

/// Checks one encoded message again that was checked under config sequence `checked`. A config
/// message is made anew from its update if the configuration has changed since.
fn recheck(
    checker: &Checker,
    view: &View,
    message: Bytes,
    config: bool,
    checked: u64,
) -> Result<Bytes, Refusal> {
    let unreadable = |error: String| Refusal::bad_request(error);
    let parsed = envelope::parse_bytes(&message).map_err(|error| unreadable(error.to_string()))?;
    let configuration = &view.configuration;
    if !config {
        checker.check_normal(&configuration.config, &parsed)?;
        return Ok(message);
    }
    let update: common::Envelope = config_update::last_update(&parsed)?;
    let parsed = envelope::parse(&update).map_err(|error| unreadable(error.to_string()))?;
    let made = checker.make_config(configuration, &view.active, &update, &parsed)?;
    let message = if checked >= configuration.config.sequence() {
        message
    } else {
        made.encode_to_vec().into()
    };
    let next = config_update::apply(configuration, &message).map_err(Refusal::bad_request)?;
    let (current, next) = (configuration.consenter_ids(), next.consenter_ids());
    check_settled(&view.voters, &current, &next).map_err(Refusal::bad_request)?;
    Ok(message)
}

fn no_leader() -> Refusal {
    Refusal {
        status: Status::ServiceUnavailable,
        info: "no Raft leader".into(),
    }
}
