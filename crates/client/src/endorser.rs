//! One peer's Endorser service.

use consilium_proto::protos::{ProposalResponse, SignedProposal, endorser_client::EndorserClient};
use consilium_transport::MAX_MESSAGE;
use tonic::transport::Channel;

use crate::{ClientError, Step};

/// Sends proposals that are signed already to one peer.
#[derive(Clone)]
pub struct Endorser {
    client: EndorserClient<Channel>,
}

impl Endorser {
    /// Uses `connection` to the peer.
    pub fn new(connection: Channel) -> Self {
        Self {
            client: EndorserClient::new(connection)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
        }
    }

    /// What the peer answers, whatever the status of its response.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where there is no answer but a gRPC status.
    pub async fn process(&self, proposal: SignedProposal) -> Result<ProposalResponse, ClientError> {
        let answer = self.client.clone().process_proposal(proposal).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| ClientError::refused(Step::Proposal, &status))
    }
}
