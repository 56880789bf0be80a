//! Streams to other peers. Each has one bounded queue of messages to send; what comes in is worked
//! off one by one, but for what takes the disk, of which a few run beside the stream. A peer that
//! sends faster than we store is held back by its own stream.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use consilium_proto::gossip::{Envelope, GossipMessage, gossip_message::Content};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::node::RemotePeer;

/// Streams kept per peer: both sides may dial at the same moment.
const PER_PEER: usize = 2;
/// How long an answer may wait for room in the queue; then the other side does not read.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a large answer may wait until the stream takes it.
pub(crate) const LARGE_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes in the queue of one stream. A larger message waits until it is alone.
const OUTBOX: usize = 64 * 1024 * 1024;
/// Pushes and requests of one stream that are worked on or wait at once.
const WORK: usize = 16;
/// Endpoints remembered.
const ENDPOINTS: usize = 4096;
/// Answers that may be awaited at once.
const AWAITED: usize = 16 * 1024;

/// A message in a queue.
pub(crate) struct Outgoing {
    envelope: Envelope,
    // Both are dropped when the stream takes the message.
    _room: Option<OwnedSemaphorePermit>,
    _waits: Option<oneshot::Sender<()>>,
}

impl Outgoing {
    /// The message, for the stream.
    pub(crate) fn taken(self) -> Envelope {
        self.envelope
    }
}

impl From<Envelope> for Outgoing {
    fn from(envelope: Envelope) -> Self {
        Self {
            envelope,
            _room: None,
            _waits: None,
        }
    }
}

/// Permits that a message takes.
fn size(envelope: &Envelope) -> u32 {
    // No truncation: it is at most `OUTBOX`.
    envelope.encoded_len().clamp(1, OUTBOX) as u32
}

/// A stream whose other end is known.
pub(crate) struct Connection {
    id: u64,
    pub(crate) peer: Arc<RemotePeer>,
    outbox: mpsc::Sender<Outgoing>,
    /// Bytes that are left in the queue.
    room: Arc<Semaphore>,
    closed: CancellationToken,
    /// For pushes and requests that come in.
    pub(crate) work: Arc<Semaphore>,
    /// For the one request that is answered.
    pub(crate) answering: Semaphore,
}

impl Connection {
    /// Sends if there is room in the queue; whether there was.
    pub(crate) fn try_send(&self, envelope: Envelope) -> bool {
        let room = self.room.clone().try_acquire_many_owned(size(&envelope));
        let sent = !self.closed.is_cancelled()
            && room.is_ok_and(|room| {
                let outgoing = Outgoing {
                    envelope,
                    _room: Some(room),
                    _waits: None,
                };
                self.outbox.try_send(outgoing).is_ok()
            });
        if sent {
            metrics::counter!("gossip_comm_messages_sent").increment(1);
        } else {
            metrics::counter!("gossip_comm_overflow_count").increment(1);
        }
        sent
    }

    /// Sends as soon as there is room; gives the stream up if there is none for long.
    pub(crate) async fn send(&self, envelope: Envelope) -> bool {
        let sent = self.send_within(envelope, ANSWER_PATIENCE).await;
        if !sent {
            self.close();
        }
        sent
    }

    /// Sends as soon as there is room, if there is some in time.
    pub(crate) async fn send_within(&self, envelope: Envelope, patience: Duration) -> bool {
        let queueing = tokio::time::timeout(patience, self.queue(envelope, None));
        let sent = tokio::select! {
            sent = queueing => sent.unwrap_or(false),
            () = self.closed.cancelled() => false,
        };
        if sent {
            metrics::counter!("gossip_comm_messages_sent").increment(1);
        }
        sent
    }

    async fn queue(&self, envelope: Envelope, waits: Option<oneshot::Sender<()>>) -> bool {
        let room = self.room.clone().acquire_many_owned(size(&envelope)).await;
        let outgoing = Outgoing {
            envelope,
            // The semaphore is never closed.
            _room: room.ok(),
            _waits: waits,
        };
        self.outbox.send(outgoing).await.is_ok()
    }

    /// Sends and waits until the stream has taken the message out of the queue, so that the caller
    /// knows how much waits in memory; gives the stream up if that takes long.
    pub(crate) async fn send_large(&self, envelope: Envelope, patience: Duration) {
        let (waits, taken) = oneshot::channel();
        let sending = async {
            self.queue(envelope, Some(waits)).await
                // An error: the other half was dropped, as it is never used.
                && taken.await.is_err()
        };
        let sent = tokio::select! {
            sent = tokio::time::timeout(patience, sending) => sent.unwrap_or(false),
            () = self.closed.cancelled() => false,
        };
        if sent {
            metrics::counter!("gossip_comm_messages_sent").increment(1);
        } else {
            self.close();
        }
    }

    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }
}

type Awaited = HashMap<(Bytes, u64), oneshot::Sender<Content>>;

/// All streams, and the answers that are awaited on them.
#[derive(Default)]
pub(crate) struct Connections {
    next: AtomicU64,
    /// By PKI-ID, newest last.
    open: Mutex<HashMap<Bytes, VecDeque<Arc<Connection>>>>,
    awaited: Mutex<Awaited>,
    dialling: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Who answered at an endpoint.
    found: Mutex<HashMap<String, Bytes>>,
}

impl Connections {
    /// Takes up a stream after its handshake. The oldest one to the same peer goes if there are
    /// too many.
    pub(crate) fn add(
        &self,
        peer: RemotePeer,
        outbox: mpsc::Sender<Outgoing>,
        closed: CancellationToken,
    ) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            peer: Arc::new(peer),
            outbox,
            room: Arc::new(Semaphore::new(OUTBOX)),
            closed,
            work: Arc::new(Semaphore::new(WORK)),
            answering: Semaphore::new(1),
        });
        let mut open = self.open.lock();
        let streams = open.entry(connection.peer.pki_id.clone()).or_default();
        streams.push_back(connection.clone());
        while streams.len() > PER_PEER {
            if let Some(oldest) = streams.pop_front() {
                oldest.close();
            }
        }
        connection
    }

    pub(crate) fn remove(&self, connection: &Connection) {
        connection.close();
        let mut open = self.open.lock();
        if let Some(streams) = open.get_mut(&connection.peer.pki_id) {
            streams.retain(|other| other.id != connection.id);
            if streams.is_empty() {
                open.remove(&connection.peer.pki_id);
            }
        }
    }

    /// The newest stream to a peer.
    pub(crate) fn to(&self, pki_id: &[u8]) -> Option<Arc<Connection>> {
        let open = self.open.lock();
        let streams = open.get(pki_id)?;
        streams
            .iter()
            .rev()
            .find(|stream| !stream.closed.is_cancelled())
            .cloned()
    }

    /// One stream per peer.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        let open = self.open.lock();
        open.values()
            .filter_map(|streams| streams.back().cloned())
            .collect()
    }

    pub(crate) fn close_all(&self) {
        for (_, streams) in self.open.lock().drain() {
            streams.iter().for_each(|stream| stream.close());
        }
    }

    /// Held by whoever dials an endpoint, so that it is dialled once.
    pub(crate) fn dialling(&self, endpoint: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut dialling = self.dialling.lock();
        // Locks that nobody holds are made again when they are needed.
        dialling.retain(|_, lock| Arc::strong_count(lock) > 1);
        dialling.entry(endpoint.to_owned()).or_default().clone()
    }

    /// Remembers who answered at an endpoint.
    pub(crate) fn found(&self, endpoint: &str, pki_id: &Bytes) {
        let mut found = self.found.lock();
        if found.len() >= ENDPOINTS {
            found.clear();
        }
        found.insert(endpoint.to_owned(), pki_id.clone());
    }

    /// Whether there is a stream to whoever answered last at an endpoint.
    pub(crate) fn reaches(&self, endpoint: &str) -> bool {
        let found = self.found.lock().get(endpoint).cloned();
        found.is_some_and(|pki_id| self.to(&pki_id).is_some())
    }

    /// Awaits the answer with this nonce; `None` if too many are awaited.
    pub(crate) fn expect(&self, pki_id: &Bytes, nonce: u64) -> Option<Expected<'_>> {
        let (sender, receiver) = oneshot::channel();
        let mut awaited = self.awaited.lock();
        if awaited.len() >= AWAITED {
            return None;
        }
        let key = (pki_id.clone(), nonce);
        awaited.insert(key.clone(), sender);
        Some(Expected {
            connections: self,
            key,
            receiver,
        })
    }

    /// Whether somebody waits for an answer.
    pub(crate) fn is_awaited(&self, from: &Bytes, nonce: u64) -> bool {
        self.awaited.lock().contains_key(&(from.clone(), nonce))
    }

    /// Hands an answer to whoever awaits it; whether somebody did.
    pub(crate) fn answer(&self, from: &Bytes, message: GossipMessage) -> bool {
        let awaited = self.awaited.lock().remove(&(from.clone(), message.nonce));
        match (awaited, message.content) {
            (Some(awaited), Some(content)) => awaited.send(content).is_ok(),
            _ => false,
        }
    }
}

/// An answer that may come; forgotten when this is dropped.
pub(crate) struct Expected<'a> {
    connections: &'a Connections,
    key: (Bytes, u64),
    receiver: oneshot::Receiver<Content>,
}

impl Expected<'_> {
    /// The answer, if it comes in time.
    pub(crate) async fn within(mut self, patience: Duration) -> Option<Content> {
        tokio::time::timeout(patience, &mut self.receiver)
            .await
            .ok()?
            .ok()
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.connections.awaited.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_msp::Signer as _;
    use consilium_testkit::{NodeOu, Organization};

    fn connection(room: usize) -> (Arc<Connection>, mpsc::Receiver<Outgoing>) {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let signer = organization.signer("peer0", NodeOu::Peer);
        let identity = organization.msp().deserialize(signer.serialized()).unwrap();
        let peer = RemotePeer {
            pki_id: Bytes::from_static(b"id"),
            identity: Arc::new(identity),
        };
        let (outbox, inbox) = mpsc::channel(room);
        let connection = Connections::default().add(peer, outbox, CancellationToken::new());
        (connection, inbox)
    }

    #[tokio::test]
    async fn a_large_answer_counts_until_the_stream_takes_it() {
        let (connection, mut inbox) = connection(2);
        let long = Duration::from_secs(60);
        let mut sending = Box::pin(connection.send_large(Envelope::default(), long));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut sending).await;
        early.expect_err("it is still in the queue");
        inbox.recv().await.unwrap().taken();
        sending.await;
        assert!(!connection.closed().is_cancelled());
        // Nobody takes this one.
        let short = Duration::from_millis(50);
        connection.send_large(Envelope::default(), short).await;
        assert!(connection.closed().is_cancelled());
    }

    #[tokio::test]
    async fn a_queue_has_few_bytes_also_where_it_has_many_places() {
        let (connection, mut inbox) = connection(100);
        let large = || Envelope {
            payload: vec![0; OUTBOX / 2].into(),
            ..Default::default()
        };
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(60));
        assert!(connection.try_send(large()));
        assert!(!connection.try_send(large()), "with what is around it");
        assert!(connection.try_send(Envelope::default()));
        assert!(!connection.send_within(large(), short).await);
        let taking = async {
            tokio::time::sleep(short).await;
            inbox.recv().await.map(|outgoing| outgoing.taken())
        };
        let (sent, taken) = tokio::join!(connection.send_within(large(), long), taking);
        assert!(sent && taken.is_some());
        // What is larger than the whole queue goes alone.
        while inbox.try_recv().is_ok() {}
        let huge = Envelope {
            payload: vec![0; 2 * OUTBOX].into(),
            ..Default::default()
        };
        assert!(connection.send_within(huge, long).await);
        assert!(!connection.try_send(Envelope::default()));
    }

    #[tokio::test]
    async fn a_message_waits_for_room_as_long_as_its_sender_has_time() {
        let (connection, mut inbox) = connection(1);
        assert!(connection.try_send(Envelope::default()));
        let short = Duration::from_millis(50);
        assert!(!connection.send_within(Envelope::default(), short).await);
        let taking = async {
            tokio::time::sleep(short).await;
            inbox.recv().await
        };
        let long = Duration::from_secs(60);
        let sending = connection.send_within(Envelope::default(), long);
        let (sent, taken) = tokio::join!(sending, taking);
        assert!(sent && taken.is_some());
        assert!(!connection.closed().is_cancelled());
    }
}
