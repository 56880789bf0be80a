//! One channel of this node: its chain, its Raft group, and the task that orders messages.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_ledger::BlockStore;
use consilium_msp::Signer;
use consilium_proto::common;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::impls::EmptyNode;
use openraft::{Config, SnapshotPolicy};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::blocks::BlockWriter;
use crate::check::Checker;
use crate::error::OrdererError;
use crate::order::Sequencer;
use crate::orderer::RaftStatus;
use crate::raft::log::ChannelLog;
use crate::raft::machine::Machine;
use crate::raft::network::{Network, Peers};
use crate::raft::store::Store;
use crate::raft::{Raft, Timing};
use crate::refusal::Refusal;
use crate::state::ChainState;
use crate::submission::{Answer, Submission};

/// Checked messages that wait for the channel's task.
const QUEUE: usize = 1024;
/// Log entries that stay after a snapshot, for followers that are a little behind.
const KEPT_ENTRIES: u64 = 256;
/// Longest installation of a snapshot: the follower pulls blocks meanwhile.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(600);

/// What a chain needs from its node.
pub(crate) struct Node {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) server_certificate: Bytes,
    pub(crate) client_certificate: Bytes,
    pub(crate) check_expiration: bool,
    pub(crate) timing: Timing,
    pub(crate) store: Arc<Store>,
    pub(crate) peers: Arc<Peers>,
}

/// A running channel.
pub(crate) struct Chain {
    pub(crate) state: Arc<ChainState>,
    pub(crate) raft: Raft,
    pub(crate) checker: Checker,
    /// Folder of the blocks.
    pub(crate) path: PathBuf,
    submissions: mpsc::Sender<Submission>,
    log: ChannelLog,
    task: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl Chain {
    /// Makes the chain of a channel from its genesis block, in an empty folder. Blocks on the disk.
    pub(crate) fn create(path: &Path, genesis: &common::Block) -> Result<(), OrdererError> {
        let store = BlockStore::open(path)?;
        store.append(genesis, &[], true)?;
        Ok(())
    }

    /// Opens the chain in `path` and starts its Raft node.
    pub(crate) async fn open(path: &Path, node: &Node) -> Result<Arc<Self>, OrdererError> {
        let (path, folder) = (path.to_owned(), path.to_owned());
        let signer = node.signer.clone();
        let certificates = (
            node.server_certificate.clone(),
            node.client_certificate.clone(),
        );
        let (raft_store, peers) = (node.store.clone(), node.peers.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let store = BlockStore::open(&folder)?;
            let writer = BlockWriter::open(store.clone(), signer)?;
            let certificates = (&certificates.0, &certificates.1);
            let state = Arc::new(ChainState::new(
                store,
                writer.config().clone(),
                certificates,
            )?);
            let log = ChannelLog::open(raft_store, &state.name)?;
            let pristine = log.is_pristine()?;
            let machine = Machine::open(state.clone(), log.clone(), peers, writer)?;
            Ok::<_, OrdererError>((state, log, machine, pristine))
        });
        let (state, log, machine, pristine) = opened
            .await
            .map_err(|error| OrdererError::Raft(error.to_string()))??;

        let raft_error = |error: &dyn std::error::Error| OrdererError::Raft(error.to_string());
        let network = Network {
            state: state.clone(),
            peers: node.peers.clone(),
        };
        let config = raft_config(&state.name, node.timing).map_err(|error| raft_error(&error))?;
        let raft = Raft::new(state.id, Arc::new(config), network, log.clone(), machine)
            .await
            .map_err(|error| raft_error(&error))?;
        if pristine {
            // Every consenter makes the same first entry, from the same genesis block.
            let members: std::collections::BTreeMap<u64, EmptyNode> = state
                .consenters()
                .iter()
                .map(|consenter| (consenter.id, EmptyNode {}))
                .collect();
            if let Err(error) = raft.initialize(members).await {
                // Another node may have been quicker and replicated the entry already.
                tracing::debug!(channel = state.name, %error, "raft group exists already");
            }
        }
        let checker = Checker {
            signer: node.signer.clone(),
            check_expiration: node.check_expiration,
        };
        let (submissions, queue) = mpsc::channel(QUEUE);
        let sequencer = Sequencer::new(
            state.clone(),
            raft.clone(),
            node.peers.clone(),
            checker.clone(),
        );
        let task = tokio::spawn(sequencer.run(queue));
        tracing::info!(
            channel = state.name,
            id = state.id,
            height = state.store.height(),
            "channel opened"
        );
        Ok(Arc::new(Self {
            state,
            raft,
            checker,
            path,
            submissions,
            log,
            task: parking_lot::Mutex::new(Some(task)),
        }))
    }

    /// Queues a checked message; what comes back resolves once it is ordered or refused. Messages
    /// queued one after the other by one caller keep their order while the leader stays.
    pub(crate) async fn submit(&self, submission: NewSubmission) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        let submission = Submission {
            envelope: submission.envelope,
            size: submission.size,
            config: submission.config,
            sequence: submission.sequence,
            forwarded: submission.forwarded,
            permit: submission.permit,
            answer,
        };
        if let Err(refused) = self.submissions.send(submission).await {
            refused
                .0
                .answer(Err(Refusal::unavailable("chain is stopped")));
        }
        receiver
    }

    /// Whether Raft runs: a failed disk stops it.
    pub(crate) fn is_running(&self) -> bool {
        self.raft.metrics().borrow_watched().running_state.is_ok()
    }

    pub(crate) fn raft_status(&self) -> RaftStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        RaftStatus {
            id: metrics.id,
            term: metrics.current_term,
            leader: metrics.current_leader,
            last: metrics.last_log_index,
            applied: metrics.last_applied.map(|id| id.index()),
            purged: metrics.purged.map(|id| id.index()),
        }
    }

    /// The Raft id of the leader, if one is known.
    pub(crate) async fn leader(&self) -> Option<u64> {
        self.raft.current_leader().await
    }

    /// Stops the Raft node and the ordering task; waiting messages are answered.
    pub(crate) async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(channel = self.state.name, %error, "raft did not stop in order");
        }
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::warn!(channel = self.state.name, %error, "ordering did not stop in order");
        }
    }

    /// Removes the channel's Raft log and vote. The chain is stopped.
    pub(crate) async fn forget(&self) -> Result<(), OrdererError> {
        Ok(self.log.forget().await?)
    }
}

/// A checked message, before somebody waits for it.
pub(crate) struct NewSubmission {
    pub(crate) envelope: Bytes,
    pub(crate) size: usize,
    pub(crate) config: bool,
    pub(crate) sequence: u64,
    pub(crate) forwarded: bool,
    pub(crate) permit: tokio::sync::OwnedSemaphorePermit,
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
        api_channel_size: Some(1024),
        notification_channel_size: Some(4096),
        ..Config::default()
    }
    .validate()
}
