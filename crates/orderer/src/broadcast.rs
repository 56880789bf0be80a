//! The Broadcast stream: messages in, one answer each, in order.
//!
//! Checking runs ahead of ordering, and ordering ahead of the answers, each by a bounded number of
//! messages. Signatures are verified on the CPU pool, a chunk of messages at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_proto::common::{Envelope, Status};
use consilium_proto::orderer::BroadcastResponse;
use consilium_protocol::envelope::ParsedEnvelope;
use futures_util::{Stream, StreamExt};
use prost::Message;
use rayon::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::chain::Chain;
use crate::filters::{self, Route};
use crate::metrics;
use crate::orderer::Channels;
use crate::refusal::Refusal;
use crate::submission::{Answer, Budget, NewSubmission, response};
use crate::throttle::{Claim, Throttle};

/// Messages checked together.
const CHUNK: usize = 64;
/// Messages of one stream that wait for their answers.
const PIPELINE: usize = 1024;

pub(crate) type ResponseStream = ReceiverStream<Result<BroadcastResponse, tonic::Status>>;

/// A message that passed its checks.
struct Checked {
    chain: Arc<Chain>,
    envelope: Bytes,
    size: usize,
    config: bool,
    sequence: u64,
}

/// A message on its way to its answer.
struct Pending {
    about: About,
    answer: Answering,
}

enum Answering {
    Known(Answer),
    Waiting(oneshot::Receiver<Answer>),
}

/// What metrics say about a message.
struct About {
    channel: String,
    kind: i32,
    validated: Duration,
    queued: Instant,
}

/// Serves one Broadcast call. After the first answer that is not SUCCESS the stream ends; where a message
/// cannot be read, with the reason for it as its status.
///
/// With a pace, the stream is read only as fast as its client's part of the node's rate allows.
pub(crate) fn serve<S>(
    requests: S,
    channels: Arc<Channels>,
    budget: Budget,
    pace: Option<(Arc<Throttle>, Claim)>,
) -> ResponseStream
where
    S: Stream<Item = Result<Envelope, tonic::Status>> + Send + 'static,
{
    let (responses, stream) = mpsc::channel(64);
    let (pending, answers) = mpsc::channel(PIPELINE);
    tokio::spawn(accept(requests, channels, budget, pace, pending));
    tokio::spawn(answer(answers, responses));
    ReceiverStream::new(stream)
}

/// Reads, checks and queues messages.
async fn accept<S>(
    requests: S,
    channels: Arc<Channels>,
    budget: Budget,
    pace: Option<(Arc<Throttle>, Claim)>,
    pending: mpsc::Sender<Result<Pending, tonic::Status>>,
) where
    S: Stream<Item = Result<Envelope, tonic::Status>> + Send + 'static,
{
    let mut chunks = std::pin::pin!(requests.ready_chunks(CHUNK));
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            // The other half has given its last answer.
            () = pending.closed() => return,
        };
        let Some(chunk) = chunk else { return };
        let received = chunk.len();
        let mut broken = None;
        let readable = chunk.into_iter().map_while(|message| match message {
            Ok(message) => Some(message),
            Err(status) => {
                broken = Some(status);
                None
            }
        });
        let messages: Vec<Envelope> = readable.collect();
        for (about, checked) in check(messages, &channels).await {
            let answer = match checked {
                Err(refusal) => Answering::Known(Err(refusal)),
                Ok(checked) => submit(checked, &budget).await,
            };
            let refused = matches!(answer, Answering::Known(Err(_)));
            let queued = pending.send(Ok(Pending { about, answer })).await;
            if queued.is_err() || refused {
                // Nothing after a refused message is taken.
                return;
            }
        }
        if let Some(status) = broken {
            // Nobody may be there any more.
            let _ = pending.send(Err(status)).await;
            return;
        }
        if let Some((throttle, claim)) = &pace {
            let pause = throttle.book(claim, received, Instant::now());
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn submit(checked: Checked, budget: &Budget) -> Answering {
    match budget.take(checked.envelope.len()).await {
        Err(refusal) => Answering::Known(Err(refusal)),
        Ok(permit) => {
            let submission = NewSubmission {
                envelope: checked.envelope,
                size: checked.size,
                config: checked.config,
                sequence: checked.sequence,
                forwarded: false,
                permit,
            };
            Answering::Waiting(checked.chain.submit(submission).await)
        }
    }
}

/// Checks messages on the CPU pool; the results are in the order of the messages.
async fn check(
    messages: Vec<Envelope>,
    channels: &Arc<Channels>,
) -> Vec<(About, Result<Checked, Refusal>)> {
    let (sender, receiver) = oneshot::channel();
    let channels = channels.clone();
    rayon::spawn(move || {
        let results = messages
            .into_par_iter()
            .map(|message| check_one(&message, &channels));
        // The stream may be gone by now.
        let _ = sender.send(results.collect());
    });
    // The pool drops a job only if the job panics.
    receiver.await.unwrap_or_default()
}

fn check_one(message: &Envelope, channels: &Channels) -> (About, Result<Checked, Refusal>) {
    let started = Instant::now();
    let about = |channel: &str, kind| About {
        channel: channel.to_owned(),
        kind,
        validated: started.elapsed(),
        queued: Instant::now(),
    };
    let parsed = match filters::read(message) {
        Ok(parsed) => parsed,
        // No label with a name that a stranger chose.
        Err(refusal) => return (about("", 0), Err(refusal)),
    };
    let kind = parsed.channel_header.r#type;
    let Some(chain) = channels.get(&parsed.channel_header.channel_id) else {
        let refusal = if channels.is_closed() {
            stopped()
        } else {
            Refusal::bad_request("channel does not exist")
        };
        return (about("", kind), Err(refusal));
    };
    let result = filters::route(&parsed).and_then(|route| {
        chain.check_ready()?;
        match route {
            Route::Normal => check_normal(&chain, message, &parsed),
            Route::ConfigUpdate => check_update(&chain, message, &parsed),
        }
    });
    (about(&chain.state.name, kind), result)
}

fn check_normal(
    chain: &Arc<Chain>,
    message: &Envelope,
    parsed: &ParsedEnvelope,
) -> Result<Checked, Refusal> {
    let config = chain.state.config();
    chain.checker.check_normal(&config, parsed)?;
    Ok(Checked {
        // Canonical: what was unknown to the decoder is gone.
        envelope: message.encode_to_vec().into(),
        size: filters::size(parsed),
        config: false,
        sequence: config.sequence(),
        chain: chain.clone(),
    })
}

fn check_update(
    chain: &Arc<Chain>,
    message: &Envelope,
    parsed: &ParsedEnvelope,
) -> Result<Checked, Refusal> {
    let configuration = chain.state.configuration();
    // Who answers at the moment is for the leader to say.
    let active = configuration.consenter_ids();
    let made = chain
        .checker
        .make_config(&configuration, &active, message, parsed)?;
    Ok(Checked {
        size: made.payload.len() + made.signature.len(),
        envelope: made.encode_to_vec().into(),
        config: true,
        sequence: configuration.config.sequence(),
        chain: chain.clone(),
    })
}

/// Checks and orders one config update of a channel.
pub(crate) async fn update(
    chain: Arc<Chain>,
    message: Envelope,
    parsed: ParsedEnvelope,
    budget: &Budget,
) -> Answer {
    let (sender, receiver) = oneshot::channel();
    rayon::spawn(move || {
        let checked = chain
            .check_ready()
            .and_then(|()| check_update(&chain, &message, &parsed));
        // Whoever asked may be gone by now.
        let _ = sender.send(checked);
    });
    let checked = receiver.await.unwrap_or_else(|_| Err(stopped()))?;
    answered(submit(checked, budget).await).await
}

fn stopped() -> Refusal {
    Refusal::unavailable("chain is stopped")
}

async fn answered(answer: Answering) -> Answer {
    match answer {
        Answering::Known(answer) => answer,
        Answering::Waiting(receiver) => receiver.await.unwrap_or_else(|_| Err(stopped())),
    }
}

/// Sends the answers in order, until one is not SUCCESS.
async fn answer(
    mut answers: mpsc::Receiver<Result<Pending, tonic::Status>>,
    responses: mpsc::Sender<Result<BroadcastResponse, tonic::Status>>,
) {
    while let Some(pending) = answers.recv().await {
        let Pending { about, answer } = match pending {
            Ok(pending) => pending,
            Err(status) => {
                // Nobody may be there any more.
                let _ = responses.send(Err(status)).await;
                return;
            }
        };
        let answer = answered(answer).await;
        let (status, info) = response(&answer);
        metrics::broadcast(
            &about.channel,
            about.kind,
            status,
            about.validated,
            about.queued.elapsed(),
        );
        if status != Status::Success {
            tracing::debug!(channel = about.channel, ?status, info, "broadcast refused");
        }
        let message = BroadcastResponse {
            status: status as i32,
            info,
        };
        if responses.send(Ok(message)).await.is_err() || status != Status::Success {
            return;
        }
    }
}
