//! Serving the other orderers: Raft calls, forwarded messages and block pulls.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use consilium_proto::common;
use consilium_proto::consilium::replication as wire;
use consilium_proto::consilium::replication::replication_server::Replication;
use consilium_protocol::envelope;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::codec::{self, CodecError};
use super::machine;
use crate::chain::{Chain, NewSubmission};
use crate::consenters;
use crate::filters;
use crate::orderer::Channels;
use crate::submission::{Answer, Budget, response};

/// Answers that one forwarding stream may wait for.
const PIPELINE: usize = 1024;
/// Blocks that wait for a pulling orderer.
const PULLED: usize = 4;

/// The Replication service of a node.
pub struct ReplicationService {
    pub(crate) channels: Arc<Channels>,
    pub(crate) budget: Budget,
}

/// A call from a consenter of the channel.
struct Caller {
    chain: Arc<Chain>,
    id: u64,
}

impl ReplicationService {
    /// The channel, if the caller's client certificate is that of one of its consenters.
    fn admit<T>(&self, request: &Request<T>, channel: &str) -> Result<Caller, Status> {
        let certificate = consilium_transport::client_certificate(request)
            .ok_or_else(|| Status::unauthenticated("a TLS client certificate is needed"))?;
        self.admit_certificate(&certificate, channel)
    }

    fn admit_certificate(
        &self,
        certificate: &bytes::Bytes,
        channel: &str,
    ) -> Result<Caller, Status> {
        // The same answer for an unknown channel and a foreign certificate: nobody outside learns
        // which channels there are.
        let refused = || Status::permission_denied("not a consenter of the channel");
        let chain = self.channels.get(channel).ok_or_else(refused)?;
        let consenters = chain.state.consenters();
        let id = consenters::by_client_certificate(&consenters, certificate).ok_or_else(refused)?;
        Ok(Caller { chain, id })
    }
}

impl Caller {
    /// A vote must be for whoever sends it: one consenter cannot speak for another.
    fn own_vote(&self, vote: Option<&wire::Vote>) -> Result<(), Status> {
        if vote.is_some_and(|vote| vote.node == self.id) {
            return Ok(());
        }
        Err(Status::permission_denied("the vote is another node's"))
    }
}

fn malformed(error: CodecError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

#[tonic::async_trait]
impl Replication for ReplicationService {
    async fn append(
        &self,
        request: Request<wire::AppendRequest>,
    ) -> Result<Response<wire::AppendResponse>, Status> {
        let caller = self.admit(&request, &request.get_ref().channel)?;
        let request = request.into_inner();
        caller.own_vote(request.vote.as_ref())?;
        let request = codec::read_append(request).map_err(malformed)?;
        let response = caller
            .chain
            .raft
            .append_entries(request)
            .await
            .map_err(stopped)?;
        Ok(Response::new(codec::appended(response)))
    }

    async fn vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteResponse>, Status> {
        let caller = self.admit(&request, &request.get_ref().channel)?;
        let request = request.into_inner();
        caller.own_vote(request.vote.as_ref())?;
        let read = codec::read_vote_request(&request).map_err(malformed)?;
        let raft = &caller.chain.raft;
        let response = if request.pre_vote {
            raft.pre_vote(read).await.map_err(stopped)?
        } else {
            raft.vote(read).await.map_err(stopped)?
        };
        Ok(Response::new(codec::vote_response(&response)))
    }

    async fn install_snapshot(
        &self,
        request: Request<wire::SnapshotRequest>,
    ) -> Result<Response<wire::SnapshotResponse>, Status> {
        let caller = self.admit(&request, &request.get_ref().channel)?;
        let request = request.into_inner();
        caller.own_vote(request.vote.as_ref())?;
        let vote = codec::read_vote(request.vote.as_ref()).map_err(malformed)?;
        let snapshot = request
            .snapshot
            .ok_or_else(|| malformed(CodecError::Missing("snapshot")))?;
        let snapshot = machine::to_raft(snapshot)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let raft = &caller.chain.raft;
        let response = raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(stopped)?;
        Ok(Response::new(wire::SnapshotResponse {
            vote: Some(codec::vote(&response.vote)),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferRequest>,
    ) -> Result<Response<wire::TransferResponse>, Status> {
        let caller = self.admit(&request, &request.get_ref().channel)?;
        let request = request.into_inner();
        caller.own_vote(request.from.as_ref())?;
        let from = codec::read_vote(request.from.as_ref()).map_err(malformed)?;
        let last = request.last.as_ref().map(codec::read_log_id);
        let transfer = openraft::raft::TransferLeaderRequest::new(from, request.to, last);
        caller
            .chain
            .raft
            .handle_transfer_leader(transfer)
            .await
            .map_err(stopped)?
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(Response::new(wire::TransferResponse {}))
    }

    type SubmitStream = ReceiverStream<Result<wire::SubmitResponse, Status>>;

    async fn submit(
        &self,
        request: Request<Streaming<wire::SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let certificate = consilium_transport::client_certificate(&request)
            .ok_or_else(|| Status::unauthenticated("a TLS client certificate is needed"))?;
        let mut requests = request.into_inner();
        let (responses, stream) = mpsc::channel(16);
        let (pending, mut answers) = mpsc::channel::<Pending>(PIPELINE);
        let service = Self {
            channels: self.channels.clone(),
            budget: self.budget.clone(),
        };
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let accepted = service.accept(&certificate, request).await;
                if pending.send(accepted).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(next) = answers.recv().await {
                let answer = match next {
                    Pending::Refused(status) => {
                        let _ = responses.send(Err(status)).await;
                        return;
                    }
                    Pending::Known(answer) => answer,
                    Pending::Waiting(receiver) => receiver.await.unwrap_or_else(|_| {
                        Err(crate::refusal::Refusal::unavailable("chain is stopped"))
                    }),
                };
                let (status, info) = response(&answer);
                let message = wire::SubmitResponse {
                    status: status as i32,
                    info,
                };
                if responses.send(Ok(message)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type BlocksStream = Pin<Box<dyn Stream<Item = Result<wire::BlocksResponse, Status>> + Send>>;

    async fn blocks(
        &self,
        request: Request<wire::BlocksRequest>,
    ) -> Result<Response<Self::BlocksStream>, Status> {
        let caller = self.admit(&request, &request.get_ref().channel)?;
        let wire::BlocksRequest { start, end, .. } = request.into_inner();
        let (blocks, stream) = mpsc::channel(PULLED);
        let store = caller.chain.state.store.clone();
        tokio::spawn(async move {
            for number in start..=end {
                let reading = store.clone();
                let read = tokio::task::spawn_blocking(move || reading.block_bytes(number)).await;
                let message = match read {
                    Ok(Ok(Some(block))) => Ok(wire::BlocksResponse { block }),
                    Ok(Ok(None)) => return,
                    Ok(Err(error)) => Err(Status::internal(error.to_string())),
                    Err(error) => Err(Status::internal(error.to_string())),
                };
                let failed = message.is_err();
                let sent =
                    tokio::time::timeout(Duration::from_secs(60), blocks.send(message)).await;
                if failed || !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// The answer to one forwarded message, known or not.
enum Pending {
    Refused(Status),
    Known(Answer),
    Waiting(tokio::sync::oneshot::Receiver<Answer>),
}

impl ReplicationService {
    async fn accept(&self, certificate: &bytes::Bytes, request: wire::SubmitRequest) -> Pending {
        let caller = match self.admit_certificate(certificate, &request.channel) {
            Ok(caller) => caller,
            Err(status) => return Pending::Refused(status),
        };
        // The sender checked the message; reading its outer layer again keeps a broken sender from
        // putting something that is no envelope into a block.
        let message = match read_message(&request) {
            Ok(message) => message,
            Err(reason) => return Pending::Refused(Status::invalid_argument(reason)),
        };
        let permit = match self.budget.take(request.envelope.len()).await {
            Ok(permit) => permit,
            Err(refusal) => return Pending::Known(Err(refusal)),
        };
        let submission = NewSubmission {
            size: filters::size(&message),
            envelope: request.envelope,
            config: request.is_config,
            sequence: request.config_sequence,
            forwarded: true,
            permit,
        };
        Pending::Waiting(caller.chain.submit(submission).await)
    }
}

fn read_message(request: &wire::SubmitRequest) -> Result<envelope::ParsedEnvelope, String> {
    let message = envelope::parse_bytes(&request.envelope).map_err(|error| error.to_string())?;
    if message.channel_header.channel_id != request.channel {
        return Err("the message is for another channel".into());
    }
    let config = message.channel_header.r#type == common::HeaderType::Config as i32;
    if config != request.is_config {
        return Err("the message is not of the kind that its sender says".into());
    }
    Ok(message)
}
