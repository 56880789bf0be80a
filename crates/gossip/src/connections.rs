//! Streams to other peers. Each has one bounded queue of messages to send; what comes in is worked
//! off one by one, so that a peer that sends faster than we store is held back by its own stream.

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
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::node::RemotePeer;

/// Streams kept per peer: both sides may dial at the same moment.
const PER_PEER: usize = 2;
/// How long an answer may wait for room in the queue; then the other side does not read.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Endpoints remembered.
const ENDPOINTS: usize = 4096;
/// Answers that may be awaited at once.
const AWAITED: usize = 16 * 1024;

/// A stream whose other end is known.
pub(crate) struct Connection {
    id: u64,
    pub(crate) peer: Arc<RemotePeer>,
    outbox: mpsc::Sender<Envelope>,
    closed: CancellationToken,
}

impl Connection {
    /// Sends if there is room in the queue; whether there was.
    pub(crate) fn try_send(&self, envelope: Envelope) -> bool {
        let sent = !self.closed.is_cancelled() && self.outbox.try_send(envelope).is_ok();
        if sent {
            metrics::counter!("gossip_comm_messages_sent").increment(1);
        } else {
            metrics::counter!("gossip_comm_overflow_count").increment(1);
        }
        sent
    }

    /// Sends as soon as there is room; gives the stream up if there is none for long.
    pub(crate) async fn send(&self, envelope: Envelope) -> bool {
        let sending = self.outbox.send_timeout(envelope, ANSWER_PATIENCE);
        let sent = tokio::select! {
            sent = sending => sent.is_ok(),
            () = self.closed.cancelled() => false,
        };
        if sent {
            metrics::counter!("gossip_comm_messages_sent").increment(1);
        } else {
            self.close();
        }
        sent
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
        outbox: mpsc::Sender<Envelope>,
        closed: CancellationToken,
    ) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            peer: Arc::new(peer),
            outbox,
            closed,
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
