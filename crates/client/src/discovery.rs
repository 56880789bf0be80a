//! One peer's Discovery service.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::discovery::{
    AuthInfo, Query, QueryResult, Request, SignedRequest, discovery_client::DiscoveryClient,
};
use consilium_transport::MAX_MESSAGE;
use prost::Message;
use tonic::transport::Channel;

use crate::{ClientError, Step};

/// Asks a peer who belongs to a channel, and who endorses there.
#[derive(Clone)]
pub struct Discovery {
    client: DiscoveryClient<Channel>,
    signer: Arc<dyn Signer>,
    tls_hash: Bytes,
}

impl Discovery {
    /// Asks over `connection`. `tls_hash` is that of the client's certificate on it.
    pub fn new(connection: Channel, signer: Arc<dyn Signer>, tls_hash: Bytes) -> Self {
        Self {
            client: DiscoveryClient::new(connection).max_decoding_message_size(MAX_MESSAGE),
            signer,
            tls_hash,
        }
    }

    /// The answer to one question; that may be an error, too.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where the peer answers none.
    pub async fn ask(&self, query: Query) -> Result<QueryResult, ClientError> {
        let request = Request {
            authentication: Some(AuthInfo {
                client_identity: self.signer.serialized().clone(),
                client_tls_cert_hash: self.tls_hash.clone(),
            }),
            queries: vec![query],
        };
        let payload = Bytes::from(request.encode_to_vec());
        let signature = self.signer.sign(&payload)?;
        let signed = SignedRequest { payload, signature };
        let response = self.client.clone().discover(signed).await;
        let response = response.map_err(|status| ClientError::refused(Step::Discover, &status))?;
        let mut results = response.into_inner().results.into_iter();
        match (results.next(), results.next()) {
            (Some(result), None) => Ok(result),
            _ => Err(ClientError::Malformed(
                "not one answer to one question".into(),
            )),
        }
    }
}
