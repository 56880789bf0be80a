//! Passing messages on to the leader, over one stream per channel and leader.

use std::sync::Arc;
use std::time::Duration;

use consilium_proto::common::Status;
use consilium_proto::consilium::replication::{SubmitRequest, SubmitResponse};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::raft::network::Peers;
use crate::refusal::Refusal;
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
}

/// Somebody who waits for the leader's answer.
struct Waiter {
    answer: oneshot::Sender<Answer>,
    _permit: OwnedSemaphorePermit,
}

impl Forwarder {
    /// Opens a stream to `leader`, which listens at `address`.
    pub(crate) fn open(
        state: &Arc<ChainState>,
        peers: &Arc<Peers>,
        leader: u64,
        address: String,
    ) -> Self {
        let (submissions, queue) = mpsc::channel(QUEUE);
        let (channel, peers) = (state.name.clone(), peers.clone());
        tokio::spawn(async move {
            let (waiters, waiting) = mpsc::channel(QUEUE);
            let (requests, outgoing) = mpsc::channel(QUEUE);
            let name = channel.clone();
            tokio::spawn(feed(name, queue, requests, waiters));
            relay(&channel, &peers, leader, &address, outgoing, waiting).await;
        });
        Self {
            leader,
            submissions,
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
    waiters: mpsc::Sender<Waiter>,
) {
    loop {
        let submission = tokio::select! {
            submission = queue.recv() => submission,
            () = requests.closed() => None,
        };
        let Some(submission) = submission else { break };
        let request = SubmitRequest {
            channel: channel.clone(),
            config_sequence: submission.sequence,
            is_config: submission.config,
            envelope: submission.envelope,
        };
        let waiter = Waiter {
            answer: submission.answer,
            _permit: submission.permit,
        };
        if let Err(refused) = waiters.send(waiter).await {
            let _ = refused
                .0
                .answer
                .send(Err(unknown("the stream to the leader broke")));
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

/// Sends the requests and hands out the answers, until the stream breaks.
async fn relay(
    channel: &str,
    peers: &Peers,
    leader: u64,
    address: &str,
    outgoing: mpsc::Receiver<SubmitRequest>,
    mut waiting: mpsc::Receiver<Waiter>,
) {
    let timed_out = || {
        unknown(format!(
            "timed out ({DEADLINE:?}) waiting on forwarding to {leader}"
        ))
    };
    let mut client = peers.bulk(address);
    let opening = client.submit(ReceiverStream::new(outgoing));
    let refusal = match tokio::time::timeout(DEADLINE, opening).await {
        Err(_) => timed_out(),
        Ok(Err(status)) => {
            tracing::warn!(channel, leader, %status, "cannot forward to the leader");
            Refusal::unavailable(format!(
                "failed to forward to {leader}: {}",
                status.message()
            ))
        }
        Ok(Ok(response)) => {
            let mut responses = response.into_inner();
            loop {
                let Some(waiter) = waiting.recv().await else {
                    return;
                };
                match tokio::time::timeout(DEADLINE, responses.next()).await {
                    Ok(Some(Ok(response))) => {
                        let _ = waiter.answer.send(read(response));
                    }
                    outcome => {
                        let refusal = match outcome {
                            Err(_) => timed_out(),
                            Ok(Some(Err(status))) => unknown(status.message()),
                            Ok(_) => unknown("the leader ended the stream"),
                        };
                        let _ = waiter.answer.send(Err(refusal.clone()));
                        break refusal;
                    }
                }
            }
        }
    };
    waiting.close();
    while let Some(waiter) = waiting.recv().await {
        let _ = waiter.answer.send(Err(refusal.clone()));
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
