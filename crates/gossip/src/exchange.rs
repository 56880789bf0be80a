//! Private data between peers: pushing a write set until it is acknowledged, and asking for some.

use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_proto::gossip::{
    PrivateDataMessage, PrivatePayload, PvtDataDigest, PvtDataElement, RemotePvtDataRequest,
    gossip_message::{Content, Tag},
};

use crate::{membership::Member, node::Gossip, wire};

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

impl Gossip {
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
        match self.ask(channel, to, content, patience).await? {
            Content::Ack(ack) if ack.error.is_empty() => Ok(()),
            Content::Ack(ack) => Err(ExchangeError::Refused(ack.error)),
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
        match self.ask(channel, from, content, patience).await? {
            Content::PrivateRes(response) => Ok(response.elements),
            _ => Err(ExchangeError::Refused("answered something else".to_owned())),
        }
    }

    async fn ask(
        &self,
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
        let message = wire::message(Tag::ChanOnly, channel, nonce, content);
        if !connection.try_send(wire::unsigned(&message)) {
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
}
