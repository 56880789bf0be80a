//! Blocks of a channel, from a peer or an orderer.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::{
    common::{Block, Envelope, Status},
    orderer::{
        self, SeekInfo, SeekNewest, SeekOldest, SeekPosition, SeekSpecified,
        atomic_broadcast_client::AtomicBroadcastClient, seek_info::SeekErrorResponse,
        seek_position,
    },
    protos::{self, deliver_client::DeliverClient},
};
use consilium_protocol::envelope;
use consilium_transport::MAX_MESSAGE;
use tonic::transport::Channel;

use crate::{ClientError, Step};

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockAt {
    /// The last one that there is.
    Newest,
    /// The first one that there is.
    Oldest,
    /// That one; where it is not there yet, the answer comes with it.
    Number(u64),
}

impl BlockAt {
    fn position(self) -> SeekPosition {
        let r#type = match self {
            Self::Newest => seek_position::Type::Newest(SeekNewest {}),
            Self::Oldest => seek_position::Type::Oldest(SeekOldest {}),
            Self::Number(number) => seek_position::Type::Specified(SeekSpecified { number }),
        };
        SeekPosition {
            r#type: Some(r#type),
        }
    }
}

#[derive(Clone)]
enum Source {
    Peer(DeliverClient<Channel>),
    Orderer(AtomicBroadcastClient<Channel>),
}

/// The Deliver service of a peer or an orderer.
#[derive(Clone)]
pub struct Blocks {
    source: Source,
    signer: Arc<dyn Signer>,
    tls_hash: Bytes,
    best_effort: bool,
}

impl Blocks {
    /// Asks a peer over `connection`. `tls_hash` is that of the client's certificate on it.
    pub fn of_peer(connection: Channel, signer: Arc<dyn Signer>, tls_hash: Bytes) -> Self {
        let client = DeliverClient::new(connection).max_decoding_message_size(MAX_MESSAGE);
        Self::new(Source::Peer(client), signer, tls_hash)
    }

    /// Asks an orderer over `connection`. `tls_hash` is that of the client's certificate on it.
    pub fn of_orderer(connection: Channel, signer: Arc<dyn Signer>, tls_hash: Bytes) -> Self {
        let client = AtomicBroadcastClient::new(connection).max_decoding_message_size(MAX_MESSAGE);
        Self::new(Source::Orderer(client), signer, tls_hash)
    }

    fn new(source: Source, signer: Arc<dyn Signer>, tls_hash: Bytes) -> Self {
        Self {
            source,
            signer,
            tls_hash,
            best_effort: false,
        }
    }

    /// Takes blocks also from a node that knows that it is behind.
    #[must_use]
    pub fn best_effort(mut self, yes: bool) -> Self {
        self.best_effort = yes;
        self
    }

    /// One block of a channel.
    ///
    /// # Errors
    /// [`ClientError::NotDelivered`] where the node answers with a status; [`ClientError::Refused`]
    /// where it does not answer.
    pub async fn get(&self, channel: &str, at: BlockAt) -> Result<Block, ClientError> {
        let request = tokio_stream::once(self.seek(channel, at)?);
        let refused = |status: tonic::Status| ClientError::refused(Step::Deliver, &status);
        let ended = || ClientError::Malformed("the node ended the stream without a block".into());
        match &self.source {
            Source::Peer(client) => {
                let stream = client.clone().deliver(request).await;
                let answer = stream.map_err(refused)?.into_inner().message().await;
                match answer.map_err(refused)?.and_then(|answer| answer.r#type) {
                    Some(protos::deliver_response::Type::Block(block)) => Ok(block),
                    Some(protos::deliver_response::Type::Status(status)) => {
                        Err(not_delivered(status))
                    }
                    _ => Err(ended()),
                }
            }
            Source::Orderer(client) => {
                let stream = client.clone().deliver(request).await;
                let answer = stream.map_err(refused)?.into_inner().message().await;
                match answer.map_err(refused)?.and_then(|answer| answer.r#type) {
                    Some(orderer::deliver_response::Type::Block(block)) => Ok(block),
                    Some(orderer::deliver_response::Type::Status(status)) => {
                        Err(not_delivered(status))
                    }
                    None => Err(ended()),
                }
            }
        }
    }

    fn seek(&self, channel: &str, at: BlockAt) -> Result<Envelope, ClientError> {
        let mut seek = SeekInfo {
            start: Some(at.position()),
            stop: Some(at.position()),
            ..SeekInfo::default()
        };
        if self.best_effort {
            seek.set_error_response(SeekErrorResponse::BestEffort);
        }
        Ok(envelope::seek(
            channel,
            seek,
            self.signer.as_ref(),
            envelope::timestamp(SystemTime::now()),
            self.tls_hash.clone(),
        )?)
    }
}

fn not_delivered(status: i32) -> ClientError {
    ClientError::NotDelivered(Status::try_from(status).unwrap_or(Status::Unknown))
}
