//! Asking one peer for snapshots of its channels.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::{
    common::SignatureHeader,
    protos::{
        SignedSnapshotRequest, SnapshotQuery, SnapshotRequest, snapshot_client::SnapshotClient,
    },
};
use consilium_protocol::envelope;
use prost::Message;
use tonic::transport::Channel;

use crate::{ClientError, Step};

/// The `protos.Snapshot` service of one peer, under the identity of an admin of its organization.
#[derive(Clone)]
pub struct Snapshots {
    client: SnapshotClient<Channel>,
    signer: Arc<dyn Signer>,
}

impl Snapshots {
    /// Uses `connection` to the peer.
    pub fn new(connection: Channel, signer: Arc<dyn Signer>) -> Self {
        Self {
            client: SnapshotClient::new(connection),
            signer,
        }
    }

    /// Asks for a snapshot once `block` is committed; 0 is for the last block committed now.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the peer's words.
    pub async fn submit(&self, channel: &str, block: u64) -> Result<(), ClientError> {
        let signed = self.sign(&self.request(channel, block))?;
        let answer = self.client.clone().generate(signed).await;
        answer.map(drop).map_err(refused)
    }

    /// Takes a request back.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn cancel(&self, channel: &str, block: u64) -> Result<(), ClientError> {
        let signed = self.sign(&self.request(channel, block))?;
        let answer = self.client.clone().cancel(signed).await;
        answer.map(drop).map_err(refused)
    }

    /// The blocks for which snapshots are asked for or being made.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn pending(&self, channel: &str) -> Result<Vec<u64>, ClientError> {
        let signed = self.sign(&SnapshotQuery {
            signature_header: Some(self.header()),
            channel_id: channel.to_owned(),
        })?;
        let answer = self.client.clone().query_pendings(signed).await;
        answer
            .map(|answer| answer.into_inner().block_numbers)
            .map_err(refused)
    }

    fn header(&self) -> SignatureHeader {
        SignatureHeader {
            creator: self.signer.serialized().clone(),
            nonce: envelope::nonce(),
        }
    }

    fn request(&self, channel: &str, block: u64) -> SnapshotRequest {
        SnapshotRequest {
            signature_header: Some(self.header()),
            channel_id: channel.to_owned(),
            block_number: block,
        }
    }

    fn sign(&self, request: &impl Message) -> Result<SignedSnapshotRequest, ClientError> {
        let request = Bytes::from(request.encode_to_vec());
        let signature = self.signer.sign(&request)?;
        Ok(SignedSnapshotRequest { request, signature })
    }
}

fn refused(status: tonic::Status) -> ClientError {
    ClientError::refused(Step::Snapshot, &status)
}
