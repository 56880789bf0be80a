//! Serving the other orderers: Raft calls, forwarded messages and block pulls.
//!
//! Each call is a function of the caller's TLS certificate and the message; the gRPC service only
//! unpacks them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::common;
use consilium_proto::consilium::replication as wire;
use consilium_proto::consilium::replication::replication_server::Replication;
use consilium_protocol::envelope;
use futures_util::{Stream, StreamExt};
use openraft::raft::AppendEntriesResponse;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::codec::{self, CodecError};
use super::machine;
use super::membership::consenter_of;
use crate::chain::Chain;
use crate::cluster::Replies;
use crate::consenters;
use crate::filters;
use crate::member::Member;
use crate::orderer::Channels;
use crate::refusal::Refusal;
use crate::rt;
use crate::submission::{Answer, Budget, NewSubmission, response};

/// Answers that one forwarding stream may wait for.
const PIPELINE: usize = 1024;
/// Blocks that wait for a pulling orderer.
const PULLED: usize = 4;
/// How long a pulling orderer may take for a block.
const PULL_PATIENCE: Duration = Duration::from_secs(60);

/// The Replication service of a node.
#[derive(Clone)]
pub struct ReplicationService {
    pub(crate) channels: Arc<Channels>,
    pub(crate) budget: Budget,
}

/// A call from a consenter of the channel.
struct Caller {
    chain: Arc<Chain>,
    /// Its consenter id.
    id: u64,
}

impl ReplicationService {
    /// The channel, if the caller's client certificate is that of one of its consenters, or of one
    /// that has just been removed and still has a vote.
    fn admit(&self, certificate: &Bytes, channel: &str) -> Result<Caller, Status> {
        let caller = self.admit_also_leaving(certificate, channel)?;
        let listed = caller.chain.state.consenter_by_certificate(certificate) == Some(caller.id);
        if listed
            || caller
                .chain
                .member()
                .is_some_and(|member| member.votes(caller.id))
        {
            return Ok(caller);
        }
        Err(Status::permission_denied("not a consenter of the channel"))
    }

    /// The same, and also for one that has no vote any more: it may ask whether that is so.
    fn admit_also_leaving(&self, certificate: &Bytes, channel: &str) -> Result<Caller, Status> {
        // The same answer for an unknown channel and a foreign certificate: nobody outside learns
        // which channels there are.
        let refused = || Status::permission_denied("not a consenter of the channel");
        let chain = self.channels.get(channel).ok_or_else(refused)?;
        let id = chain
            .state
            .consenter_by_certificate(certificate)
            .or_else(|| {
                let configuration = chain.state.configuration();
                consenters::by_client_certificate(&configuration.leaving, certificate)
            })
            .ok_or_else(refused)?;
        Ok(Caller { chain, id })
    }

    pub(crate) async fn on_append(
        &self,
        certificate: &Bytes,
        request: wire::AppendRequest,
    ) -> Result<wire::AppendResponse, Status> {
        let caller = self.admit(certificate, &request.channel)?;
        let member = caller.member(request.to)?;
        caller.own_vote(request.vote.as_ref())?;
        let request = codec::read_append(request).map_err(malformed)?;
        let response = member.raft.append_entries(request).await.map_err(stopped)?;
        if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
            caller.chain.state.heard_leader();
        }
        Ok(codec::appended(response))
    }

    pub(crate) async fn on_vote(
        &self,
        certificate: &Bytes,
        request: wire::VoteRequest,
    ) -> Result<wire::VoteResponse, Status> {
        let caller = self.admit(certificate, &request.channel)?;
        let member = caller.member(request.to)?;
        caller.own_vote(request.vote.as_ref())?;
        let read = codec::read_vote_request(&request).map_err(malformed)?;
        let response = if request.pre_vote {
            member.raft.pre_vote(read).await.map_err(stopped)?
        } else {
            member.raft.vote(read).await.map_err(stopped)?
        };
        Ok(codec::vote_response(&response))
    }

    pub(crate) async fn on_install_snapshot(
        &self,
        certificate: &Bytes,
        request: wire::SnapshotRequest,
    ) -> Result<wire::SnapshotResponse, Status> {
        let caller = self.admit(certificate, &request.channel)?;
        let member = caller.member(request.to)?;
        caller.own_vote(request.vote.as_ref())?;
        let vote = codec::read_vote(request.vote.as_ref()).map_err(malformed)?;
        let snapshot = request
            .snapshot
            .ok_or_else(|| malformed(CodecError::Missing("snapshot")))?;
        let snapshot = machine::to_raft(snapshot)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let installing = member.raft.install_full_snapshot(vote, snapshot);
        let response = installing.await.map_err(stopped)?;
        Ok(wire::SnapshotResponse {
            vote: Some(codec::vote(&response.vote)),
        })
    }

    pub(crate) async fn on_transfer_leader(
        &self,
        certificate: &Bytes,
        request: wire::TransferRequest,
    ) -> Result<wire::TransferResponse, Status> {
        let caller = self.admit(certificate, &request.channel)?;
        // Every voter gets this, to make way for the one that is to lead.
        let member = caller.chain.member().ok_or_else(not_a_member)?;
        caller.own_vote(request.from.as_ref())?;
        let from = codec::read_vote(request.from.as_ref()).map_err(malformed)?;
        let last = request.last.as_ref().map(codec::read_log_id);
        let transfer = openraft::raft::TransferLeaderRequest::new(from, request.to, last);
        member
            .raft
            .handle_transfer_leader(transfer)
            .await
            .map_err(stopped)?
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(wire::TransferResponse {})
    }

    pub(crate) fn on_status(
        &self,
        certificate: &Bytes,
        request: &wire::StatusRequest,
    ) -> Result<wire::StatusResponse, Status> {
        let caller = self.admit_also_leaving(certificate, &request.channel)?;
        let height = caller.chain.state.store.height();
        let Some(member) = caller.chain.member() else {
            if !caller.chain.is_looking() {
                return Err(not_a_member());
            }
            return Ok(wire::StatusResponse {
                fresh: true,
                height,
                ..Default::default()
            });
        };
        if request.node != 0 {
            if consenter_of(request.node) != caller.id {
                return Err(Status::permission_denied("the raft id is another node's"));
            }
            member.announce(request.node);
        }
        Ok(wire::StatusResponse {
            node: member.node,
            fresh: member.is_fresh(),
            leader: member.leader().unwrap_or_default(),
            height,
            voters: member.committed_voters().into_iter().collect(),
        })
    }

    pub(crate) fn on_submit<S>(
        &self,
        certificate: Bytes,
        mut requests: S,
    ) -> ReceiverStream<Result<wire::SubmitResponse, Status>>
    where
        S: Stream<Item = Result<wire::SubmitRequest, Status>> + Send + Unpin + 'static,
    {
        let (responses, stream) = mpsc::channel(16);
        let (pending, answers) = mpsc::channel::<Pending>(PIPELINE);
        let service = self.clone();
        rt::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let accepted = service.accept(&certificate, request).await;
                if pending.send(accepted).await.is_err() {
                    return;
                }
            }
        });
        rt::spawn(give_answers(answers, responses));
        ReceiverStream::new(stream)
    }

    async fn accept(&self, certificate: &Bytes, request: wire::SubmitRequest) -> Pending {
        let caller = match self.admit(certificate, &request.channel) {
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

    pub(crate) fn on_blocks(
        &self,
        certificate: &Bytes,
        request: &wire::BlocksRequest,
    ) -> Result<Replies<wire::BlocksResponse>, Status> {
        let caller = self.admit(certificate, &request.channel)?;
        let (blocks, stream) = mpsc::channel(PULLED);
        let store = caller.chain.state.store.clone();
        let (start, end) = (request.start, request.end);
        rt::spawn(async move {
            for number in start..=end {
                let store = store.clone();
                let read = rt::blocking(move || store.block_bytes(number)).await;
                let message = match read {
                    Ok(Ok(Some(block))) => Ok(wire::BlocksResponse { block }),
                    Ok(Ok(None)) => return,
                    Ok(Err(error)) => Err(Status::internal(error.to_string())),
                    Err(error) => Err(Status::internal(error.to_string())),
                };
                let failed = message.is_err();
                let sent = rt::timeout(PULL_PATIENCE, blocks.send(message)).await;
                if failed || !matches!(sent, Some(Ok(()))) {
                    return;
                }
            }
        });
        Ok(Box::pin(ReceiverStream::new(stream)))
    }
}

impl Caller {
    /// This node's part in the Raft group, if the caller means this node.
    fn member(&self, to: u64) -> Result<Arc<Member>, Status> {
        let member = self.chain.member().ok_or_else(not_a_member)?;
        if member.node != to {
            return Err(Status::failed_precondition(format!(
                "this is node {}, not {to}",
                member.node
            )));
        }
        Ok(member)
    }

    /// A vote must be for whoever sends it: one consenter cannot speak for another.
    fn own_vote(&self, vote: Option<&wire::Vote>) -> Result<(), Status> {
        if vote.is_some_and(|vote| consenter_of(vote.node) == self.id) {
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

fn not_a_member() -> Status {
    Status::unavailable("this node does not take part in the channel's raft group")
}

/// The answer to one forwarded message, known or not.
enum Pending {
    Refused(Status),
    Known(Answer),
    Waiting(oneshot::Receiver<Answer>),
}

/// Sends the answers in the order of the requests, until one breaks the stream.
async fn give_answers(
    mut answers: mpsc::Receiver<Pending>,
    responses: mpsc::Sender<Result<wire::SubmitResponse, Status>>,
) {
    while let Some(next) = answers.recv().await {
        let answer = match next {
            Pending::Refused(status) => {
                let _ = responses.send(Err(status)).await;
                return;
            }
            Pending::Known(answer) => answer,
            Pending::Waiting(receiver) => receiver
                .await
                .unwrap_or_else(|_| Err(Refusal::unavailable("chain is stopped"))),
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

/// The caller's certificate and its message.
fn open<T>(request: Request<T>) -> Result<(Bytes, T), Status> {
    let certificate = consilium_transport::client_certificate(&request)
        .ok_or_else(|| Status::unauthenticated("a TLS client certificate is needed"))?;
    Ok((certificate, request.into_inner()))
}

#[tonic::async_trait]
impl Replication for ReplicationService {
    async fn append(
        &self,
        request: Request<wire::AppendRequest>,
    ) -> Result<Response<wire::AppendResponse>, Status> {
        let (certificate, request) = open(request)?;
        Ok(Response::new(self.on_append(&certificate, request).await?))
    }

    async fn vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteResponse>, Status> {
        let (certificate, request) = open(request)?;
        Ok(Response::new(self.on_vote(&certificate, request).await?))
    }

    async fn install_snapshot(
        &self,
        request: Request<wire::SnapshotRequest>,
    ) -> Result<Response<wire::SnapshotResponse>, Status> {
        let (certificate, request) = open(request)?;
        let response = self.on_install_snapshot(&certificate, request).await?;
        Ok(Response::new(response))
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferRequest>,
    ) -> Result<Response<wire::TransferResponse>, Status> {
        let (certificate, request) = open(request)?;
        let response = self.on_transfer_leader(&certificate, request).await?;
        Ok(Response::new(response))
    }

    async fn status(
        &self,
        request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        let (certificate, request) = open(request)?;
        Ok(Response::new(self.on_status(&certificate, &request)?))
    }

    type SubmitStream = ReceiverStream<Result<wire::SubmitResponse, Status>>;

    async fn submit(
        &self,
        request: Request<Streaming<wire::SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let (certificate, requests) = open(request)?;
        Ok(Response::new(self.on_submit(certificate, requests)))
    }

    type BlocksStream = Pin<Box<dyn Stream<Item = Result<wire::BlocksResponse, Status>> + Send>>;

    async fn blocks(
        &self,
        request: Request<wire::BlocksRequest>,
    ) -> Result<Response<Self::BlocksStream>, Status> {
        let (certificate, request) = open(request)?;
        Ok(Response::new(self.on_blocks(&certificate, &request)?))
    }
}
