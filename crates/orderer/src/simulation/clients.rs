//! Those who send messages and config updates.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::common::{self, HeaderType};
use consilium_protocol::envelope;
use prost::Message;
use tokio::sync::oneshot;

use super::world::{World, below, the_executor};
use crate::orderer::Orderer;
use crate::refusal::Refusal;
use crate::rt;
use crate::submission::NewSubmission;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

impl World {
    /// A client that sends one message after the other to whichever node it finds.
    pub(super) async fn send_messages(self: Arc<Self>, client: usize) {
        for number in 0_u64.. {
            if self.calm.load(Ordering::Relaxed) {
                return;
            }
            rt::sleep(Duration::from_millis(below(120))).await;
            let node = usize::try_from(below(self.disks.len() as u64)).unwrap_or_default();
            if self.orderer(node).is_none() {
                continue;
            }
            let text = format!("message {number} of client {client}");
            self.answers.lock().insert(text.clone(), false);
            let answer = self.submit(node, Sent::Message(text.clone())).await;
            if answer.is_ok() {
                self.answers.lock().insert(text, true);
            }
        }
    }

    /// Hands a message to a node, in its process, as Broadcast does after the filters.
    pub(super) async fn submit(&self, node: usize, sent: Sent) -> Result<(), Refusal> {
        let gone = || Refusal::unavailable("the node is gone");
        let (process, orderer) = {
            let places = self.places.lock();
            let place = &places[node];
            (
                place.process.ok_or_else(gone)?,
                place.orderer.clone().ok_or_else(gone)?,
            )
        };
        let (answer, answered) = oneshot::channel();
        let channel = self.channel.clone();
        the_executor().spawn(process, async move {
            // The client may have given up.
            let _ = answer.send(hand_over(&orderer, &channel, sent).await);
        });
        match rt::timeout(PATIENCE, answered).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err(gone()),
            None => Err(Refusal::unavailable("no answer in time")),
        }
    }
}

/// What clients and administrators send.
pub(super) enum Sent {
    Message(String),
    Update(common::Envelope),
}

async fn hand_over(orderer: &Orderer, channel: &str, sent: Sent) -> Result<(), Refusal> {
    let service = orderer.replication();
    let chain = service
        .channels
        .get(channel)
        .ok_or_else(|| Refusal::bad_request("channel does not exist"))?;
    chain.check_ready()?;
    let configuration = chain.state.configuration();
    let (envelope, config) = match sent {
        Sent::Message(text) => (message(channel, text), false),
        Sent::Update(update) => {
            let parsed = envelope::parse(&update)
                .map_err(|error| Refusal::bad_request(error.to_string()))?;
            let active = configuration.consenter_ids();
            let made = chain
                .checker
                .make_config(&configuration, &active, &update, &parsed)?;
            (made, true)
        }
    };
    let size = envelope.payload.len() + envelope.signature.len();
    let envelope: Bytes = envelope.encode_to_vec().into();
    let submission = NewSubmission {
        size,
        permit: service.budget.take(envelope.len()).await?,
        envelope,
        config,
        sequence: configuration.config.sequence(),
        forwarded: false,
    };
    let answered = chain.submit(submission).await;
    answered
        .await
        .unwrap_or_else(|_| Err(Refusal::unavailable("chain is stopped")))
}

/// A message whose signature nobody checks here.
pub(super) fn message(channel: &str, text: String) -> common::Envelope {
    let header = common::ChannelHeader {
        r#type: HeaderType::EndorserTransaction as i32,
        channel_id: channel.to_owned(),
        ..Default::default()
    };
    let signature = common::SignatureHeader {
        creator: Bytes::from_static(b"client"),
        nonce: Bytes::from_static(b"nonce"),
    };
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header: header.encode_to_vec().into(),
            signature_header: signature.encode_to_vec().into(),
        }),
        data: text.into(),
    };
    common::Envelope {
        payload: payload.encode_to_vec().into(),
        signature: Bytes::from_static(b"signature"),
    }
}
