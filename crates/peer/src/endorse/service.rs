//! `protos.Endorser` over gRPC.

use std::sync::Arc;

use consilium_proto::protos::{
    self,
    endorser_server::{self, EndorserServer},
};
use consilium_transport::MAX_MESSAGE;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::Endorser;

/// Answers proposals, a bounded number at once.
#[derive(Clone)]
pub struct EndorserService {
    endorser: Arc<Endorser>,
    proposals: Arc<Semaphore>,
}

impl EndorserService {
    pub(crate) fn new(endorser: Arc<Endorser>) -> Self {
        let limit = endorser.concurrency().min(Semaphore::MAX_PERMITS);
        Self {
            endorser,
            proposals: Arc::new(Semaphore::new(limit)),
        }
    }

    /// The tonic server, with Fabric's message limits.
    pub fn into_server(self) -> EndorserServer<Self> {
        EndorserServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl endorser_server::Endorser for EndorserService {
    async fn process_proposal(
        &self,
        request: Request<protos::SignedProposal>,
    ) -> Result<Response<protos::ProposalResponse>, Status> {
        let Ok(_permit) = self.proposals.try_acquire() else {
            return Err(Status::resource_exhausted(format!(
                "too many requests for /protos.Endorser/ProcessProposal, exceeding concurrency limit ({})",
                self.endorser.concurrency()
            )));
        };
        // gRPC drops the response that goes with an error, as it does in Fabric.
        self.endorser
            .process(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| Status::unknown(error.message))
    }
}
