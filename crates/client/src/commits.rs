//! Which transactions a peer commits, and how it found them.

use std::time::SystemTime;

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::{
    common::Status,
    orderer::{SeekInfo, SeekNewest, SeekPosition, SeekSpecified, seek_position},
    protos::{
        DeliverResponse, TxValidationCode, deliver_client::DeliverClient, deliver_response::Type,
    },
};
use consilium_protocol::envelope;
use consilium_transport::MAX_MESSAGE;
use tonic::{Streaming, transport::Channel};

use crate::{ClientError, Step};

/// A stream of what one peer commits on one channel, from its newest block on.
///
/// The node has answered when this exists: whatever is submitted afterwards is seen.
pub struct Commits {
    first: Option<DeliverResponse>,
    stream: Streaming<DeliverResponse>,
}

impl Commits {
    /// Asks a peer over `connection`. `tls_hash` is that of the client's certificate on it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where the peer does not answer.
    pub async fn follow(
        connection: Channel,
        channel: &str,
        signer: &dyn Signer,
        tls_hash: Bytes,
    ) -> Result<Self, ClientError> {
        let position = |r#type| {
            Some(SeekPosition {
                r#type: Some(r#type),
            })
        };
        let seek = SeekInfo {
            start: position(seek_position::Type::Newest(SeekNewest {})),
            stop: position(seek_position::Type::Specified(SeekSpecified {
                number: u64::MAX,
            })),
            ..SeekInfo::default()
        };
        let now = envelope::timestamp(SystemTime::now());
        let request = envelope::seek(channel, seek, signer, now, tls_hash)?;
        let mut client = DeliverClient::new(connection).max_decoding_message_size(MAX_MESSAGE);
        let stream = client.deliver_filtered(tokio_stream::once(request)).await;
        let mut stream = stream.map_err(|status| refused(&status))?.into_inner();
        let first = stream.message().await.map_err(|status| refused(&status))?;
        Ok(Self { first, stream })
    }

    /// Waits until the peer has committed a transaction.
    ///
    /// # Errors
    /// [`ClientError::NotDelivered`] where the peer ends the stream with a status,
    /// [`ClientError::Refused`] where it breaks.
    pub async fn verdict(mut self, tx_id: &str) -> Result<TxValidationCode, ClientError> {
        loop {
            let next = match self.first.take() {
                Some(first) => Some(first),
                None => {
                    let next = self.stream.message().await;
                    next.map_err(|status| refused(&status))?
                }
            };
            match next.and_then(|answer| answer.r#type) {
                Some(Type::FilteredBlock(block)) => {
                    let mut all = block.filtered_transactions.into_iter();
                    if let Some(found) = all.find(|transaction| transaction.txid == tx_id) {
                        return Ok(found.tx_validation_code());
                    }
                }
                Some(Type::Status(status)) => {
                    let status = Status::try_from(status).unwrap_or(Status::Unknown);
                    return Err(ClientError::NotDelivered(status));
                }
                Some(_) => {
                    return Err(ClientError::Malformed("not a filtered block".into()));
                }
                None => {
                    return Err(ClientError::Malformed("the peer ended the stream".into()));
                }
            }
        }
    }
}

fn refused(status: &tonic::Status) -> ClientError {
    ClientError::refused(Step::Deliver, status)
}
