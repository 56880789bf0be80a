//! Pulls blocks from the ordering service and brings them to the channel's [`Entrance`], while this peer
//! is the one of its organization to do so.
//!
//! One stream at a time to one orderer, chosen at random. A stream that ends, stalls or brings a
//! block that does not verify is given up for the next orderer, with growing pauses while nothing
//! comes. `fabric: internal/pkg/peer/blocksprovider`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use consilium_gossip::Gossip;
use consilium_msp::SigningIdentity;
use consilium_proto::{
    common,
    orderer::{
        self, atomic_broadcast_client::AtomicBroadcastClient, deliver_response, seek_position,
    },
};
use consilium_protocol::envelope;
use consilium_transport::{ClientTls, MAX_MESSAGE};
use futures_util::{StreamExt, stream};
use prost::Message as _;
use rand::seq::SliceRandom;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    channel::{ChannelError, PeerChannel},
    entrance::{Brought, Entrance},
    feed::FeedError,
    options::{OrdererOverride, ReconnectBackoff},
    verify::VerifyError,
};

/// What intake needs besides the channel.
pub(crate) struct Intake {
    pub(crate) channel: Arc<PeerChannel>,
    pub(crate) signer: SigningIdentity,
    pub(crate) client_tls: Option<Arc<ClientTls>>,
    pub(crate) backoff: ReconnectBackoff,
    /// Where to dial instead of an orderer's address in the configuration.
    pub(crate) overrides: BTreeMap<String, OrdererOverride>,
    /// How long connecting may take.
    pub(crate) dial_timeout: Duration,
    /// Whether it is this peer that pulls.
    pub(crate) leads: watch::Receiver<bool>,
    /// Where blocks are told to other peers.
    pub(crate) gossip: Option<Arc<Gossip>>,
    /// How long no orderer may be reachable before another peer should lead.
    pub(crate) give_up_after: Duration,
    pub(crate) stop: CancellationToken,
}

/// Why one stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("{0}")]
    Stream(#[from] Box<tonic::Status>),
    #[error("orderer answered {0}")]
    Status(String),
    #[error("orderer closed the stream")]
    Closed,
    #[error("cannot sign the request: {0}")]
    Sign(String),
    #[error("{0}")]
    Block(#[from] VerifyError),
    #[error("another peer of the organization pulls blocks")]
    Deposed,
    #[error("orderers changed in the channel's configuration")]
    Reconfigured,
    #[error("{0}")]
    Channel(#[from] ChannelError),
}

impl From<FeedError> for Ended {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Block(error) => Self::Block(error),
            FeedError::Channel(error) => Self::Channel(error),
            FeedError::Check(_) => Self::Closed,
        }
    }
}

/// How much of an attempt no orderer was in reach: a stream may have been open for days without a block.
fn lost(ended: &Ended, attempt: Duration) -> Duration {
    match ended {
        Ended::Connect(_) => attempt,
        _ => Duration::ZERO,
    }
}

impl Intake {
    /// Runs until told to stop or until the channel halts.
    pub(crate) async fn run(self, entrance: Arc<Entrance>) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.pull_for_ever(&entrance) => {}
        }
    }

    async fn pull_for_ever(&self, entrance: &Entrance) {
        let mut leads = self.leads.clone();
        let mut failures = 0u32;
        let mut out_of_reach = Duration::ZERO;
        let mut queue: Vec<String> = Vec::new();
        loop {
            // An error: gossip is gone, and this peer with it.
            if leads.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            if queue.is_empty() {
                queue = self.channel.config().orderer_endpoints();
                queue.shuffle(&mut rand::rng());
            }
            let Some(endpoint) = queue.pop() else {
                tracing::error!(
                    channel = self.channel.name(),
                    "the channel's configuration names no orderers"
                );
                failures = failures.saturating_add(1);
                tokio::time::sleep(self.backoff.pause(failures)).await;
                continue;
            };
            let before = entrance.next();
            let started = Instant::now();
            let ended = tokio::select! {
                ended = self.pull(&endpoint, entrance) => ended,
                _ = leads.wait_for(|leads| !*leads) => Ended::Deposed,
            };
            if entrance.next() > before {
                failures = 0;
                out_of_reach = Duration::ZERO;
            }
            match ended {
                Ended::Channel(error) => {
                    // `halt` has logged why.
                    tracing::debug!(channel = self.channel.name(), %error, "intake ends");
                    return;
                }
                Ended::Reconfigured | Ended::Deposed => {
                    tracing::debug!(channel = self.channel.name(), reason = %ended, "the stream of blocks ends");
                    queue.clear();
                    failures = 0;
                    out_of_reach = Duration::ZERO;
                }
                ended => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(
                        channel = self.channel.name(),
                        orderer = endpoint,
                        next = entrance.next(),
                        failures,
                        reason = %ended,
                        "lost the stream of blocks"
                    );
                    // The first attempt at another orderer need not wait.
                    let pause = if failures != 1 || queue.is_empty() {
                        self.backoff.pause(failures)
                    } else {
                        Duration::ZERO
                    };
                    out_of_reach += lost(&ended, started.elapsed()) + pause;
                    if out_of_reach >= self.give_up_after
                        && let Some(gossip) = &self.gossip
                    {
                        out_of_reach = Duration::ZERO;
                        gossip.give_up_lead(self.channel.name());
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Pulls from one orderer until something goes wrong.
    async fn pull(&self, endpoint: &str, entrance: &Entrance) -> Ended {
        match self.try_pull(endpoint, entrance).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn try_pull(
        &self,
        endpoint: &str,
        entrance: &Entrance,
    ) -> Result<std::convert::Infallible, Ended> {
        let own_tls = self.client_tls.as_ref();
        let (address, tls) = match self.overrides.get(endpoint) {
            Some(other) => (other.address.as_str(), other.tls.as_ref().or(own_tls)),
            None => (endpoint, own_tls),
        };
        let connection = consilium_transport::connect(address, tls.cloned(), self.dial_timeout)
            .await
            .map_err(|error| Ended::Connect(error.to_string()))?;
        let mut client = AtomicBroadcastClient::new(connection)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let seek = self.seek(entrance.next())?;
        // The request stream stays open, as an orderer may take its end for the client's leaving, but
        // no longer than we read: an open request keeps the connection, and so the orderer's stream.
        let reading = CancellationToken::new();
        let left = reading.clone().cancelled_owned();
        let _until_here = reading.drop_guard();
        let requests = stream::iter([seek]).chain(stream::pending().take_until(left));
        // No deadline: servers in Go answer the call only with the first block, which may be far off.
        // Keepalives notice an orderer that is gone.
        let mut blocks = client
            .deliver(requests)
            .await
            .map_err(Box::new)?
            .into_inner();
        tracing::info!(
            channel = self.channel.name(),
            orderer = endpoint,
            next = entrance.next(),
            "pulling blocks"
        );
        let config = self.channel.config();
        let mut sequence = config.sequence();
        let orderers = (config.orderer_endpoints(), config.tls_roots());
        loop {
            let message = blocks
                .next()
                .await
                .ok_or(Ended::Closed)?
                .map_err(Box::new)?;
            let block = match message.r#type {
                Some(deliver_response::Type::Block(block)) => block,
                Some(deliver_response::Type::Status(status)) => {
                    let name = common::Status::try_from(status).map_or_else(
                        |_| status.to_string(),
                        |status| status.as_str_name().to_owned(),
                    );
                    return Err(Ended::Status(name));
                }
                None => return Err(Ended::Status("nothing".to_owned())),
            };
            let number = block.header.as_ref().map_or(0, |header| header.number);
            let gossip = self.gossip.as_ref();
            let gossip = gossip.filter(|gossip| gossip.pushes_blocks());
            // Its content is shared; it is encoded if it is told.
            let told = gossip.map(|gossip| (gossip, block.clone()));
            let brought = entrance.bring(block).await?;
            if let (Brought::New, Some((gossip, block))) = (brought, told) {
                gossip.push_block(self.channel.name(), number, || block.encode_to_vec().into());
            }
            let config = self.channel.config();
            if config.sequence() != sequence {
                sequence = config.sequence();
                if orderers != (config.orderer_endpoints(), config.tls_roots()) {
                    return Err(Ended::Reconfigured);
                }
            }
        }
    }

    fn seek(&self, from: u64) -> Result<common::Envelope, Ended> {
        let specified = |number| {
            Some(orderer::SeekPosition {
                r#type: Some(seek_position::Type::Specified(orderer::SeekSpecified {
                    number,
                })),
            })
        };
        let info = orderer::SeekInfo {
            start: specified(from),
            stop: specified(u64::MAX),
            behavior: orderer::seek_info::SeekBehavior::BlockUntilReady as i32,
            error_response: orderer::seek_info::SeekErrorResponse::Strict as i32,
            content_type: orderer::seek_info::SeekContentType::Block as i32,
        };
        let tls_hash = self
            .client_tls
            .as_ref()
            .and_then(|tls| tls.identity_hash())
            .map_or_else(bytes::Bytes::new, |hash| {
                bytes::Bytes::copy_from_slice(&hash)
            });
        envelope::seek(
            self.channel.name(),
            info,
            self.signer.current().as_ref(),
            envelope::timestamp(SystemTime::now()),
            tls_hash,
        )
        .map_err(|error| Ended::Sign(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_was_open_without_a_block_was_in_reach() {
        let day = Duration::from_secs(24 * 3600);
        for (ended, expected) in [
            (Ended::Closed, Duration::ZERO),
            (
                Ended::Status("SERVICE_UNAVAILABLE".to_owned()),
                Duration::ZERO,
            ),
            (Ended::Connect("refused".to_owned()), day),
        ] {
            assert_eq!(lost(&ended, day), expected, "{ended}");
        }
    }
}
