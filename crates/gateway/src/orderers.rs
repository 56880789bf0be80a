//! Broadcast streams to orderers, kept open and shared by many transactions.
//!
//! An orderer answers envelopes in the order in which they came on a stream, so a stream carries
//! many at once and answers are matched by position. It ends a stream after it refused an envelope;
//! those behind it were not looked at and are sent again on a new stream. A transaction that is sent
//! twice after a broken connection is committed once: its id is unique in the ledger.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use consilium_peer::OrdererOverride;
use consilium_proto::{
    common::{Envelope, Status as BroadcastStatus},
    orderer::{BroadcastResponse, atomic_broadcast_client::AtomicBroadcastClient},
};
use consilium_transport::{ChannelPool, ClientTls, MAX_MESSAGE};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::failure::go_text;

/// Envelopes that wait for a stream before callers wait too.
const QUEUE: usize = 1024;
/// Envelopes on their way to an orderer without an answer.
const IN_FLIGHT: usize = 1024;
/// How often an envelope is sent again because one before it on the stream was refused.
const RESENDS: u32 = 16;
/// Orderers known at once; more than a consortium has.
const ORDERERS: usize = 256;
/// A stream without work is closed after this time.
const IDLE: Duration = Duration::from_secs(300);

type Answer = Result<BroadcastResponse, String>;

/// One envelope and who waits for its fate.
struct Submission {
    envelope: Envelope,
    answer: oneshot::Sender<Answer>,
    resends: u32,
}

/// Streams by orderer.
pub(crate) struct Orderers {
    channels: Arc<ChannelPool>,
    /// Addresses to dial instead, with connections of their own where TLS is another there.
    overrides: BTreeMap<String, (String, Arc<ChannelPool>)>,
    streams_per_orderer: usize,
    lanes: Mutex<HashMap<String, Arc<Lanes>>>,
}

/// The streams of one orderer.
struct Lanes {
    lanes: Vec<Lane>,
}

struct Lane {
    queue: Mutex<mpsc::Sender<Submission>>,
    waiting: AtomicUsize,
}

impl Orderers {
    pub(crate) fn new(
        tls: Option<Arc<ClientTls>>,
        overrides: &BTreeMap<String, OrdererOverride>,
        streams_per_orderer: usize,
    ) -> Self {
        let channels = Arc::new(ChannelPool::new(tls));
        let overrides = overrides.iter().map(|(configured, real)| {
            let pool = match &real.tls {
                Some(tls) => Arc::new(ChannelPool::new(Some(tls.clone()))),
                None => channels.clone(),
            };
            (configured.clone(), (real.address.clone(), pool))
        });
        Self {
            overrides: overrides.collect(),
            channels,
            streams_per_orderer: streams_per_orderer.max(1),
            lanes: Mutex::default(),
        }
    }

    /// Sends an envelope and waits for the orderer's answer; an error is the text of what went wrong
    /// with the connection.
    pub(crate) async fn broadcast(&self, orderer: &str, envelope: Envelope) -> Answer {
        let lanes = self.lanes(orderer);
        // The least busy stream; there are only a few.
        let lane = lanes
            .lanes
            .iter()
            .min_by_key(|lane| lane.waiting.load(Ordering::Relaxed))
            .ok_or("no stream")?;
        let _busy = Busy::new(&lane.waiting);
        let (answer, answered) = oneshot::channel();
        let mut submission = Submission {
            envelope,
            answer,
            resends: 0,
        };
        // A lane ends when it is idle; the second attempt goes to a fresh one.
        for _ in 0..2 {
            let queue = self.open(orderer, lane);
            match queue.send(submission).await {
                Ok(()) => {
                    return answered
                        .await
                        .unwrap_or_else(|_| Err("the stream to the orderer was lost".to_owned()));
                }
                Err(mpsc::error::SendError(returned)) => submission = returned,
            }
        }
        Err("the stream to the orderer was lost".to_owned())
    }

    fn lanes(&self, orderer: &str) -> Arc<Lanes> {
        let mut all = self.lanes.lock();
        if let Some(lanes) = all.get(orderer) {
            return lanes.clone();
        }
        if all.len() >= ORDERERS {
            // Lanes in use live on in their callers' hands until they are idle.
            all.clear();
        }
        let lanes = Arc::new(Lanes {
            lanes: (0..self.streams_per_orderer)
                .map(|_| Lane {
                    // Closed from the beginning: opened at the first use.
                    queue: Mutex::new(mpsc::channel(1).0),
                    waiting: AtomicUsize::new(0),
                })
                .collect(),
        });
        all.insert(orderer.to_owned(), lanes.clone());
        lanes
    }

    /// The lane's queue, with a running task behind it.
    fn open(&self, orderer: &str, lane: &Lane) -> mpsc::Sender<Submission> {
        let mut queue = lane.queue.lock();
        if queue.is_closed() {
            let (sender, receiver) = mpsc::channel(QUEUE);
            *queue = sender;
            let (address, channels) = match self.overrides.get(orderer) {
                Some((address, channels)) => (address.clone(), channels.clone()),
                None => (orderer.to_owned(), self.channels.clone()),
            };
            tokio::spawn(run_lane(address, channels, receiver));
        }
        queue.clone()
    }
}

/// Counts a caller while it waits.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a stream ended.
enum Ended {
    /// Nobody needs it.
    Idle,
    /// The orderer refused an envelope and closed the stream, as it should.
    Refused,
    /// The connection failed.
    Broken(String),
}

/// Serves one lane: streams one after the other, as long as there is work.
async fn run_lane(
    orderer: String,
    channels: Arc<ChannelPool>,
    mut queue: mpsc::Receiver<Submission>,
) {
    let mut again: VecDeque<Submission> = VecDeque::new();
    loop {
        if again.is_empty() {
            match timeout(IDLE, queue.recv()).await {
                Ok(Some(submission)) => again.push_back(submission),
                Ok(None) => return,
                Err(_) => {
                    // Whoever sends from now on opens a new lane; what came just before is served.
                    queue.close();
                    match queue.recv().await {
                        Some(submission) => again.push_back(submission),
                        None => return,
                    }
                }
            }
        }
        let mut stream = Stream {
            orderer: &orderer,
            pending: VecDeque::new(),
        };
        let ended = stream.run(&channels, &mut again, &mut queue).await;
        let unanswered = stream.pending;
        match ended {
            Ended::Idle => {}
            Ended::Refused => {
                // These were behind the refused one.
                for mut submission in unanswered.into_iter().rev() {
                    submission.resends += 1;
                    if submission.resends > RESENDS {
                        let text = "too many envelopes of others were refused on this stream";
                        let _ = submission.answer.send(Err(text.to_owned()));
                    } else {
                        again.push_front(submission);
                    }
                }
            }
            Ended::Broken(reason) => {
                tracing::warn!(orderer, reason, "lost a broadcast stream");
                for submission in unanswered.into_iter().chain(again.drain(..)) {
                    let _ = submission.answer.send(Err(reason.clone()));
                }
            }
        }
    }
}

struct Stream<'a> {
    orderer: &'a str,
    /// Sent and not answered, oldest first.
    pending: VecDeque<Submission>,
}

impl Stream<'_> {
    async fn run(
        &mut self,
        channels: &ChannelPool,
        again: &mut VecDeque<Submission>,
        queue: &mut mpsc::Receiver<Submission>,
    ) -> Ended {
        let (envelopes, requests) = mpsc::channel(IN_FLIGHT);
        let mut client = AtomicBroadcastClient::new(channels.get(self.orderer))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        // The first envelope goes out with the call: some servers answer the call only then.
        self.send_waiting(again, &envelopes);
        let mut answers = match client.broadcast(ReceiverStream::new(requests)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Ended::Broken(go_text(&status)),
        };
        loop {
            self.send_waiting(again, &envelopes);
            let may_send = again.is_empty() && self.pending.len() < IN_FLIGHT;
            tokio::select! {
                biased;
                answer = next(&mut answers) => match answer {
                    Ok(answer) => {
                        let refused = answer.status != BroadcastStatus::Success as i32;
                        let Some(submission) = self.pending.pop_front() else {
                            return Ended::Broken("the orderer answered without a question".to_owned());
                        };
                        // The caller may have given up.
                        let _ = submission.answer.send(Ok(answer));
                        if refused {
                            return Ended::Refused;
                        }
                    }
                    Err(reason) => return Ended::Broken(reason),
                },
                submission = queue.recv(), if may_send => match submission {
                    Some(submission) => again.push_back(submission),
                    None if self.pending.is_empty() => return Ended::Idle,
                    None => {}
                },
                () = tokio::time::sleep(IDLE), if self.pending.is_empty() => return Ended::Idle,
            }
        }
    }

    /// Sends what waits, as far as there is room in flight.
    fn send_waiting(
        &mut self,
        again: &mut VecDeque<Submission>,
        envelopes: &mpsc::Sender<Envelope>,
    ) {
        while self.pending.len() < IN_FLIGHT {
            let Some(submission) = again.pop_front() else {
                return;
            };
            if submission.answer.is_closed() {
                continue;
            }
            match envelopes.try_send(submission.envelope.clone()) {
                Ok(()) => self.pending.push_back(submission),
                // Room is counted by `pending`; a closed channel shows as the end of answers.
                Err(_) => {
                    again.push_front(submission);
                    return;
                }
            }
        }
    }
}

async fn next(answers: &mut Streaming<BroadcastResponse>) -> Answer {
    match answers.message().await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err("EOF".to_owned()),
        Err(status) => Err(go_text(&status)),
    }
}
