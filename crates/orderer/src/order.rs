//! One task per channel that gives messages their order: it cuts batches while this node leads,
//! and passes messages on while another node does.

use std::collections::VecDeque;
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
use crate::config_update;
use crate::cutter::{Cutter, Kind, Limits, Waiting};
use crate::forward::Forwarder;
use crate::metrics;
use crate::raft::network::Peers;
use crate::raft::{Applied, Proposal, Raft, TypeConfig};
use crate::refusal::Refusal;
use crate::state::ChainState;
use crate::submission::Submission;

/// Messages that wait in the cutter before the task stops taking more.
const MAX_WAITING: usize = 8192;
/// Messages taken in one go.
const TAKE: usize = 256;
/// How long messages wait for a leader while there is none.
const LEADER_WAIT: Duration = Duration::from_secs(4);
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

/// A batch that was proposed.
struct Flight {
    submissions: Vec<Submission>,
    config: bool,
    outcome: Result<Applied, Lost>,
}

/// A batch of which no outcome is known.
enum Lost {
    /// It was refused before it got into the log.
    NotProposed,
    /// It may be in the log of the next leader.
    Unknown,
}

pub(crate) struct Sequencer {
    state: Arc<ChainState>,
    raft: Raft,
    peers: Arc<Peers>,
    checker: Checker,
    cutter: Cutter<Submission>,
    flights: FuturesUnordered<futures_util::future::BoxFuture<'static, Flight>>,
    forwarder: Option<Forwarder>,
    role: Role,
    /// Messages that wait for a leader, and since when.
    stranded: VecDeque<(Instant, Submission)>,
    snapshot_at: u64,
}

impl Sequencer {
    pub(crate) fn new(
        state: Arc<ChainState>,
        raft: Raft,
        peers: Arc<Peers>,
        checker: Checker,
    ) -> Self {
        Self {
            state,
            raft,
            peers,
            checker,
            cutter: Cutter::default(),
            flights: FuturesUnordered::new(),
            forwarder: None,
            role: Role::Waiting,
            stranded: VecDeque::new(),
            snapshot_at: 0,
        }
    }

    /// Runs until `submissions` is closed or Raft stops.
    pub(crate) async fn run(mut self, mut submissions: mpsc::Receiver<Submission>) {
        let mut servers = self.raft.server_metrics();
        let mut progress = self.state.progress.subscribe();
        let mut taken = Vec::with_capacity(TAKE);
        loop {
            self.role = self.current_role(&servers);
            self.place_stranded().await;
            self.cut().await;
            let wake = self.wake_at();
            let room = self.cutter.waiting() < MAX_WAITING && self.stranded.len() < MAX_WAITING;
            tokio::select! {
                count = submissions.recv_many(&mut taken, TAKE), if room => {
                    if count == 0 {
                        break;
                    }
                    let now = Instant::now();
                    for submission in taken.drain(..) {
                        metrics::proposals_received(&self.state.name, submission.config);
                        self.place(submission, now).await;
                    }
                }
                Some(flight) = self.flights.next(), if !self.flights.is_empty() => self.landed(flight),
                changed = servers.changed() => if changed.is_err() {
                    break;
                },
                changed = progress.changed() => if changed.is_err() {
                    break;
                },
                () = sleep_until(wake) => {}
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

    fn current_role(&self, servers: &WatchReceiverOf<TypeConfig, ServerMetrics>) -> Role {
        let server = servers.borrow_watched();
        self.state.set_leader(server.current_leader.is_some());
        let role = match (server.state, server.current_leader) {
            (ServerState::Leader, _) => {
                // Its first entry of the term applied means that every earlier one is: from then
                // on the configuration in force is the one that new entries will be applied under.
                let term = server.vote.leader_id.term;
                let ready = server.vote.committed && self.state.progress.borrow().term == term;
                if ready {
                    Role::Leading { term }
                } else {
                    Role::Waiting
                }
            }
            (_, Some(leader)) if leader != self.state.id => Role::Following { leader },
            _ => Role::Waiting,
        };
        if role != self.role {
            metrics::leadership(&self.state.name, matches!(role, Role::Leading { .. }));
            if !matches!(role, Role::Waiting) {
                metrics::leader_changed(&self.state.name);
                tracing::info!(channel = self.state.name, ?role, "raft role changed");
            }
        }
        role
    }

    fn limits(&self) -> Limits {
        let config = self.state.config();
        let batch = config.batch_size();
        let in_flight = self
            .state
            .raft_options()
            .max_inflight_blocks
            .clamp(1, MAX_IN_FLIGHT);
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
        match (stranded, batch) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
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
            self.forwarder = Some(Forwarder::open(&self.state, &self.peers, leader, address));
        }
        if let Some(forwarder) = &self.forwarder
            && let Err(submission) = forwarder.send(submission).await
        {
            submission.answer(Err(no_leader()));
        }
    }

    /// Places messages that waited for a leader, and those that this node cannot order any more.
    async fn place_stranded(&mut self) {
        if matches!(self.role, Role::Waiting) {
            let now = Instant::now();
            while let Some((since, _)) = self.stranded.front()
                && now.saturating_duration_since(*since) >= LEADER_WAIT
                && let Some((_, submission)) = self.stranded.pop_front()
            {
                submission.answer(Err(no_leader()));
            }
            return;
        }
        if matches!(self.role, Role::Following { .. }) && self.cutter.waiting() > 0 {
            let waiting = self.cutter.drain().into_iter();
            self.stranded
                .extend(waiting.map(|waiting| (waiting.arrived, waiting.message)));
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
        while let Some(batch) = self.cutter.cut(&limits, Instant::now()) {
            metrics::batch_filled(&self.state.name, batch.oldest.elapsed());
            let submissions = self.recheck(batch.messages).await;
            if submissions.is_empty() {
                self.cutter.finished(batch.config);
                continue;
            }
            self.propose(term, submissions, batch.config).await;
        }
    }

    /// Checks messages again that were checked under an older configuration, and answers those
    /// that fail.
    async fn recheck(&mut self, submissions: Vec<Submission>) -> Vec<Submission> {
        let sequence = self.state.config().sequence();
        if submissions
            .iter()
            .all(|submission| submission.sequence >= sequence)
        {
            return submissions;
        }
        let mut passed = Vec::with_capacity(submissions.len());
        for mut submission in submissions {
            if submission.sequence >= sequence {
                passed.push(submission);
                continue;
            }
            let (checker, state) = (self.checker.clone(), self.state.clone());
            let (message, config) = (submission.envelope.clone(), submission.config);
            let check =
                tokio::task::spawn_blocking(move || recheck(&checker, &state, message, config));
            match check.await {
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

    async fn propose(&mut self, term: u64, submissions: Vec<Submission>, config: bool) {
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
            .raft
            .write(proposal)
            .with_leader(leader)
            .responder(responder);
        // Enqueued in the order of these calls; the outcome comes later.
        let enqueued = write.await;
        let flight = async move {
            let outcome = match enqueued {
                Ok(()) => landing(receiver).await,
                Err(_) => Err(Lost::NotProposed),
            };
            Flight {
                submissions,
                config,
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
            Err(Lost::NotProposed) => {
                // In order of arrival, before whatever is stranded already.
                let now = Instant::now();
                for submission in flight.submissions.into_iter().rev() {
                    self.stranded.push_front((now, submission));
                }
                return;
            }
            Err(Lost::Unknown) => {
                metrics::proposal_failed(&self.state.name);
                Err(Refusal::unavailable(
                    "leader changed while the message was being ordered",
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
        let interval = u64::from(self.state.raft_options().snapshot_interval_size);
        let interval = if interval == 0 { 16 << 20 } else { interval };
        if bytes.saturating_sub(self.snapshot_at) >= interval {
            self.snapshot_at = bytes;
            if let Err(error) = self.raft.trigger().snapshot().await {
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

/// Checks one encoded message again; a config message is made anew from its update.
fn recheck(
    checker: &Checker,
    state: &ChainState,
    message: Bytes,
    config: bool,
) -> Result<Bytes, Refusal> {
    let unreadable = |error: String| Refusal::bad_request(error);
    let parsed = envelope::parse_bytes(&message).map_err(|error| unreadable(error.to_string()))?;
    let current = state.config();
    if !config {
        checker.check_normal(&current, &parsed)?;
        return Ok(message);
    }
    let update: common::Envelope = config_update::last_update(&parsed)?;
    let parsed = envelope::parse(&update).map_err(|error| unreadable(error.to_string()))?;
    let made = checker.make_config(&current, &update, &parsed)?;
    Ok(made.encode_to_vec().into())
}

fn no_leader() -> Refusal {
    Refusal {
        status: Status::ServiceUnavailable,
        info: "no Raft leader".into(),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
