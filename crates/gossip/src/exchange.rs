//! Private data between peers: pushing a write set until it is acknowledged, and asking for some; and
//! the same from the other side. What takes long of other messages is worked on here as well.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use consilium_proto::gossip::{
    Acknowledgement, PrivateDataMessage, PrivatePayload, PvtDataDigest, PvtDataElement,
    RemotePvtDataRequest, RemotePvtDataResponse,
    gossip_message::{Content, Tag},
};
use prost::Message as _;
use tokio::sync::Semaphore;

use crate::{
    connections::{Connection, LARGE_PATIENCE},
    membership::Member,
    node::{Gossip, Host},
    wire,
};

/// Why another peer did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// It cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("timed out")]
    TimedOut,
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// Too many messages wait to be sent or answered.
    #[error("too many messages are under way")]
    Overflow,
}

/// Bytes of pushed messages that are worked on or wait at once, of all peers together.
pub(crate) const PUSHED: usize = 256 * 1024 * 1024;
/// Requests of one organization that are answered at once.
const ANSWERS: usize = 4;

/// About how many bytes a message takes in memory.
fn weight(content: &Content) -> u32 {
    let bytes = match content {
        Content::PrivateData(PrivateDataMessage {
            payload: Some(payload),
        }) => {
            // One that is empty takes two bytes in the message.
            let configs = payload.collection_configs.as_ref();
            let configs = configs.map_or(0, |package| size_of_val(&package.config[..]));
            payload.encoded_len() + configs
        }
        Content::DataMsg(data) => data.encoded_len(),
        Content::DataUpdate(update) => update.encoded_len() + size_of_val(&update.data[..]),
        _ => 1,
    };
    // No truncation: it is at most `PUSHED`.
    bytes.clamp(1, PUSHED) as u32
}

impl Gossip {
    /// The places where requests of an organization are answered. Of organizations there are as many
    /// as vouch for peers.
    fn answers(&self, msp_id: &str) -> Arc<Semaphore> {
        let mut answers = self.answers.lock();
        let places = answers
            .entry(msp_id.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(ANSWERS)));
        places.clone()
    }

    /// Pushes a private write set to a peer and waits until it has stored it.
    ///
    /// # Errors
    /// [`ExchangeError`]: the peer may or may not have it.
    pub async fn push_private(
        &self,
        channel: &str,
        to: &Member,
        payload: PrivatePayload,
        patience: Duration,
    ) -> Result<(), ExchangeError> {
        let content = Content::PrivateData(PrivateDataMessage {
            payload: Some(payload),
        });
        let asked = self.ask(Tag::ChanOnly, channel, to, content, patience);
        match asked.await? {
            Content::Ack(ack) if ack.error.is_empty() => Ok(()),
            Content::Ack(ack) => Err(ExchangeError::Refused(wire::brief(&ack.error).to_owned())),
            _ => Err(ExchangeError::Refused("answered something else".to_owned())),
        }
    }

    /// Asks a peer for private write sets. What comes back is what it has and lets us have; nothing
    /// of it is to be trusted.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub async fn request_private(
        &self,
        channel: &str,
        from: &Member,
        digests: Vec<PvtDataDigest>,
        patience: Duration,
    ) -> Result<Vec<PvtDataElement>, ExchangeError> {
        let content = Content::PrivateReq(RemotePvtDataRequest { digests });
        let asked = self.ask(Tag::ChanOnly, channel, from, content, patience);
        match asked.await? {
            Content::PrivateRes(response) => Ok(response.elements),
            _ => Err(ExchangeError::Refused("answered something else".to_owned())),
        }
    }

    /// Sends something that is answered, and gives the answer.
    pub(crate) async fn ask(
        &self,
        tag: Tag,
        channel: &str,
        to: &Member,
        content: Content,
        patience: Duration,
    ) -> Result<Content, ExchangeError> {
        let started = Instant::now();
        let connecting = self.connect(&to.endpoint, Some(&to.pki_id));
        let connection = tokio::time::timeout(patience, connecting)
            .await
            .map_err(|_| ExchangeError::TimedOut)?
            .map_err(ExchangeError::Unreachable)?;
        let nonce = rand::random();
        let expected = self
            .connections
            .expect(&Bytes::clone(&to.pki_id), nonce)
            .ok_or(ExchangeError::Overflow)?;
        let message = wire::message(tag, channel, nonce, content);
        let message = wire::unsigned(&message);
        let left = patience.saturating_sub(started.elapsed());
        if !connection.send_within(message, left).await {
            return Err(ExchangeError::Overflow);
        }
        let left = patience.saturating_sub(started.elapsed());
        tokio::select! {
            answer = expected.within(left) => answer.ok_or(ExchangeError::TimedOut),
            // A stream that is replaced still brings its answers; one that is gone does not.
            () = connection.closed().cancelled() => {
                Err(ExchangeError::Unreachable("the stream was closed".to_owned()))
            }
        }
    }

    /// Takes up what another peer pushes or asks for. It is worked on beside the stream: answers that
    /// we wait for must not stand behind disks. Waits only if the peer has sent too much at once, or
    /// all have.
    pub(crate) async fn take_on(
        &self,
        connection: &Arc<Connection>,
        channel: String,
        nonce: u64,
        content: Content,
    ) {
        let room = self.pushed.clone();
        let permits = async {
            let work = connection.work.clone().acquire_owned().await;
            (work, room.acquire_many_owned(weight(&content)).await)
        };
        let permits = tokio::select! {
            permits = permits => permits,
            () = connection.closed().cancelled() => return,
        };
        let Some(gossip) = self.me.upgrade() else {
            return;
        };
        let connection = connection.clone();
        tokio::spawn(async move {
            let (_work, room) = permits;
            let Some(host) = gossip.host.upgrade() else {
                return;
            };
            let work = gossip.work_on(host.as_ref(), &connection, &channel, nonce, content, room);
            tokio::select! {
                () = work => {}
                () = connection.closed().cancelled() => {}
            }
        });
    }

    async fn work_on(
        &self,
        host: &dyn Host,
        connection: &Connection,
        channel: &str,
        nonce: u64,
        content: Content,
        room: impl Send,
    ) {
        let from = host.member(channel, connection.peer.identity.serialized());
        match content {
            Content::PrivateData(data) => {
                let stored = match (from, data.payload) {
                    (None, _) => Err(format!("not a member of channel {channel}")),
                    (Some(from), Some(payload)) => host.private_data(channel, &from, payload).await,
                    (_, None) => {
                        Err("malformed private data message, no payload provided".to_owned())
                    }
                };
                if let Err(reason) = &stored {
                    tracing::warn!(
                        channel,
                        from = connection.peer.identity.msp_id(),
                        reason = wire::brief(reason),
                        "refused private data"
                    );
                }
                drop(room);
                let error = stored.err().unwrap_or_default();
                let ack = Content::Ack(Acknowledgement {
                    error: wire::brief(&error).to_owned(),
                });
                // Fabric's acknowledgements name no channel and carry the tag EMPTY.
                let answer = wire::message(Tag::Empty, "", nonce, ack);
                connection.send(wire::unsigned(&answer)).await;
            }
            Content::PrivateReq(request) => {
                // In turn, so that one peer that does not read holds up itself alone; and few at
                // once for an organization, as each answer may be large. Semaphores are never closed.
                let _turn = connection.answering.acquire().await;
                let places = self.answers(connection.peer.identity.msp_id());
                let _place = places.acquire().await;
                let elements = match from {
                    Some(from) => host.private_request(channel, &from, request.digests).await,
                    None => Vec::new(),
                };
                let response = Content::PrivateRes(RemotePvtDataResponse { elements });
                let answer = wire::message(Tag::ChanOnly, channel, nonce, response);
                let answer = wire::unsigned(&answer);
                connection.send_large(answer, LARGE_PATIENCE).await;
            }
            Content::StateRequest(request) if from.is_some() => {
                let _turn = connection.answering.acquire().await;
                let places = self.answers(connection.peer.identity.msp_id());
                let _place = places.acquire().await;
                self.serve_range(host, connection, channel, nonce, request)
                    .await;
            }
            Content::DataReq(request) if from.is_some() => {
                let _turn = connection.answering.acquire().await;
                let places = self.answers(connection.peer.identity.msp_id());
                let _place = places.acquire().await;
                self.serve_pulled(host, connection, channel, request).await;
            }
            Content::DataMsg(data) => {
                if let Some(payload) = data.payload {
                    self.receive_block(host, connection, channel, payload).await;
                }
            }
            Content::DataUpdate(update) => {
                self.receive_pulled(host, connection, channel, update).await;
            }
            _ => {}
        }
    }
}
