//! Passing messages on to the leader, over one stream per channel and leader.

use std::sync::Arc;
use std::time::Duration;

use consilium_proto::common::Status;
use consilium_proto::consilium::replication::{SubmitRequest, SubmitResponse};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cluster::Cluster;
use crate::raft::membership::consenter_of;
use crate::refusal::Refusal;
use crate::rt;
use crate::state::ChainState;
use crate::submission::{Answer, Submission};

/// Messages that may wait for the stream, and for their answers.
const QUEUE: usize = 1024;
/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(7);

/// A stream to one leader.
pub(crate) struct Forwarder {
    /// Raft id of the leader.
    pub(crate) leader: u64,
    submissions: mpsc::Sender<Submission>,
    /// Ends the stream when the forwarder is dropped.
    _dropped: DropGuard,
}

impl Forwarder {
    /// Opens a stream to `leader`, which listens at `address`.
    pub(crate) fn open(
        state: &Arc<ChainState>,
        cluster: &Arc<dyn Cluster>,
        leader: u64,
        address: String,
    ) -> Self {
        let (submissions, queue) = mpsc::channel(QUEUE);
        let (channel, cluster) = (state.name.clone(), cluster.clone());
        let dropped = CancellationToken::new();
        let guard = dropped.clone().drop_guard();
        rt::spawn(async move {
            let (waiters, mut waiting) = mpsc::channel(QUEUE);
            let (requests, outgoing) = mpsc::channel(QUEUE);
            let name = channel.clone();
            rt::spawn(feed(name, queue, requests, waiters));
            let mut next = None;
            let relaying = relay(
                &channel,
                &*cluster,
                leader,
                &address,
                outgoing,
                &mut waiting,
                &mut next,
            );
            let refusal = tokio::select! {
                biased;
                ended = relaying => ended,
                () = dropped.cancelled() => unknown("the leader changed meanwhile"),
            };
            waiting.close();
            if let Some(waiter) = next {
                waiter.answer(Err(refusal.clone()));
            }
            while let Some(waiter) = waiting.recv().await {
                waiter.answer(Err(refusal.clone()));
            }
        });
        Self {
            leader,
            submissions,
            _dropped: guard,
        }
    }

    /// Whether the stream has broken.
    pub(crate) fn is_closed(&self) -> bool {
        self.submissions.is_closed()
    }

    /// Queues a message; gives it back when the stream has broken.
    pub(crate) async fn send(&self, submission: Submission) -> Result<(), Submission> {
        self.submissions
            .send(submission)
            .await
            .map_err(|refused| refused.0)
    }
}

/// Turns submissions into requests, and remembers who waits, in the same order.
async fn feed(
    channel: String,
    mut queue: mpsc::Receiver<Submission>,
    requests: mpsc::Sender<SubmitRequest>,
    waiters: mpsc::Sender<Submission>,
) {
    loop {
        let submission = tokio::select! {
            biased;
            submission = queue.recv() => submission,
            () = requests.closed() => None,
        };
        let Some(submission) = submission else { break };
        let request = SubmitRequest {
            channel: channel.clone(),
            config_sequence: submission.sequence,
            is_config: submission.config,
            envelope: submission.envelope.clone(),
        };
        if let Err(refused) = waiters.send(submission).await {
            refused
                .0
                .answer(Err(unknown("the stream to the leader broke")));
            break;
        }
        if requests.send(request).await.is_err() {
            break;
        }
    }
    // Nothing of what is still queued was sent.
    queue.close();
    while let Some(submission) = queue.recv().await {
        submission.answer(Err(Refusal::unavailable("no Raft leader")));
    }
}

/// Sends the requests and hands out the answers, until the stream breaks; gives the answer for
/// those that still wait: `next`, whose answer would come next, and those behind it.
async fn relay(
    channel: &str,
    cluster: &dyn Cluster,
    leader: u64,
    address: &str,
    outgoing: mpsc::Receiver<SubmitRequest>,
    waiting: &mut mpsc::Receiver<Submission>,
    next: &mut Option<Submission>,
) -> Refusal {
    let leader = consenter_of(leader);
    let timed_out = || {
        unknown(format!(
            "timed out ({DEADLINE:?}) waiting on forwarding to {leader}"
        ))
    };
    let opening = cluster.submit(address, outgoing);
    match rt::timeout(DEADLINE, opening).await {
        None => timed_out(),
        Some(Err(status)) => {
            tracing::debug!(channel, leader, %status, "cannot forward to the leader");
            Refusal::unavailable(format!(
                "failed to forward to {leader}: {}",
                status.message()
            ))
        }
        Some(Ok(mut responses)) => loop {
            *next = waiting.recv().await;
            if next.is_none() {
                break unknown("the forwarder ended");
            }
            match rt::timeout(DEADLINE, responses.next()).await {
                Some(Some(Ok(response))) => {
                    if let Some(waiter) = next.take() {
                        waiter.answer(read(response));
                    }
                }
                None => break timed_out(),
                Some(Some(Err(status))) => break unknown(status.message()),
                Some(None) => break unknown("the leader ended the stream"),
            }
        },
    }
}

/// The message may or may not be ordered: the client has to look, or to try again.
fn unknown(info: impl Into<String>) -> Refusal {
    Refusal::unavailable(info)
}

fn read(response: SubmitResponse) -> Answer {
    match Status::try_from(response.status) {
        Ok(Status::Success) => Ok(()),
        Ok(status) => Err(Refusal {
            status,
            info: response.info,
        }),
        Err(_) => Err(Refusal::unavailable(response.info)),
    }
}
