//! One orderer's AtomicBroadcast service.

use consilium_proto::{
    common::{Envelope, Status},
    orderer::atomic_broadcast_client::AtomicBroadcastClient,
};
use consilium_transport::MAX_MESSAGE;
use tonic::transport::Channel;

use crate::{ClientError, Step};

/// Hands envelopes to one orderer.
#[derive(Clone)]
pub struct Orderer {
    client: AtomicBroadcastClient<Channel>,
}

impl Orderer {
    /// Uses `connection` to the orderer.
    pub fn new(connection: Channel) -> Self {
        Self {
            client: AtomicBroadcastClient::new(connection)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
        }
    }

    /// Submits an envelope.
    ///
    /// # Errors
    /// [`ClientError::NotOrdered`] with the orderer's status and words; [`ClientError::Refused`] if
    /// it does not answer.
    pub async fn broadcast(&self, envelope: Envelope) -> Result<(), ClientError> {
        let refused = |status: tonic::Status| ClientError::refused(Step::Broadcast, &status);
        let request = tokio_stream::once(envelope);
        let answers = self.client.clone().broadcast(request).await;
        let mut answers = answers.map_err(refused)?.into_inner();
        let answer = answers.message().await.map_err(refused)?;
        let answer = answer.ok_or_else(|| {
            ClientError::Malformed("the orderer ended the stream without an answer".into())
        })?;
        match answer.status() {
            Status::Success => Ok(()),
            status => Err(ClientError::NotOrdered {
                status,
                info: answer.info,
            }),
        }
    }
}
