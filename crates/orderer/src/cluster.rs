//! Calling the other orderers, behind a trait that a simulator implements too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use consilium_msp::SigningIdentity;
use consilium_proto::consilium::replication as wire;
use consilium_proto::consilium::replication::replication_client::ReplicationClient;
use consilium_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use consilium_proto::orderer::seek_info::{SeekBehavior, SeekErrorResponse};
use consilium_proto::orderer::{
    DeliverResponse, SeekInfo, SeekNewest, SeekPosition, SeekSpecified, deliver_response,
    seek_position,
};
use consilium_protocol::envelope;
use consilium_transport::{ChannelPool, ClientTls, Keepalive, MAX_MESSAGE};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

/// The answer of another orderer.
pub type Reply<T> = BoxFuture<'static, Result<T, Status>>;
/// A stream of answers.
pub type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A connection that a cut has stalled is given up soon: what waits in it would come seconds after
/// the cut is mended, for the operating system sends again ever more rarely.
pub(crate) const KEEPALIVE: Keepalive = Keepalive {
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(3),
};
/// Deadline for opening a stream.
pub(crate) const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// Where reading another orderer's chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// At its present end.
    Newest,
    /// Never.
    Ever,
}

/// The other orderers, by `host:port`. Calls have no deadlines of their own, but for opening
/// streams.
pub trait Cluster: Send + Sync {
    /// Log entries, or a heartbeat.
    fn append(&self, to: &str, request: wire::AppendRequest) -> Reply<wire::AppendResponse>;

    /// A vote, or the question whether one would be granted.
    fn vote(&self, to: &str, request: wire::VoteRequest) -> Reply<wire::VoteResponse>;

    /// A position to catch up to.
    fn install_snapshot(
        &self,
        to: &str,
        request: wire::SnapshotRequest,
    ) -> Reply<wire::SnapshotResponse>;

    /// Hands leadership over.
    fn transfer_leader(
        &self,
        to: &str,
        request: wire::TransferRequest,
    ) -> Reply<wire::TransferResponse>;

    /// How the other stands in a channel.
    fn status(&self, to: &str, request: wire::StatusRequest) -> Reply<wire::StatusResponse>;

    /// Messages for the leader; answers come in their order.
    fn submit(
        &self,
        to: &str,
        requests: mpsc::Receiver<wire::SubmitRequest>,
    ) -> Reply<Replies<wire::SubmitResponse>>;

    /// Blocks for a fellow consenter, as far as the other has them.
    fn blocks(
        &self,
        to: &str,
        request: wire::BlocksRequest,
    ) -> Reply<Replies<wire::BlocksResponse>>;

    /// Encoded blocks from `start` on, by the Deliver service that every reader of the channel
    /// uses: those that are there, or also those to come.
    fn follow(&self, to: &str, channel: &str, start: u64, until: Until) -> Reply<Replies<Bytes>>;
}

/// The other orderers over gRPC: one connection to each carries all channels.
pub(crate) struct GrpcCluster {
    connections: ChannelPool,
    tls: Arc<ClientTls>,
    signer: SigningIdentity,
}

impl GrpcCluster {
    pub(crate) fn new(tls: Arc<ClientTls>, signer: SigningIdentity) -> Self {
        Self {
            connections: ChannelPool::with_keepalive(Some(tls.clone()), KEEPALIVE),
            tls,
            signer,
        }
    }

    fn client(&self, to: &str) -> ReplicationClient<Channel> {
        ReplicationClient::new(self.connections.get(to))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }
}

/// A call that takes one message and gives one.
macro_rules! unary {
    ($self:ident, $to:ident, $method:ident, $request:ident) => {{
        let mut client = $self.client($to);
        Box::pin(async move { Ok(client.$method($request).await?.into_inner()) })
    }};
}

impl Cluster for GrpcCluster {
    fn append(&self, to: &str, request: wire::AppendRequest) -> Reply<wire::AppendResponse> {
        unary!(self, to, append, request)
    }

    fn vote(&self, to: &str, request: wire::VoteRequest) -> Reply<wire::VoteResponse> {
        unary!(self, to, vote, request)
    }

    fn install_snapshot(
        &self,
        to: &str,
        request: wire::SnapshotRequest,
    ) -> Reply<wire::SnapshotResponse> {
        unary!(self, to, install_snapshot, request)
    }

    fn transfer_leader(
        &self,
        to: &str,
        request: wire::TransferRequest,
    ) -> Reply<wire::TransferResponse> {
        unary!(self, to, transfer_leader, request)
    }

    fn status(&self, to: &str, request: wire::StatusRequest) -> Reply<wire::StatusResponse> {
        unary!(self, to, status, request)
    }

    fn submit(
        &self,
        to: &str,
        requests: mpsc::Receiver<wire::SubmitRequest>,
    ) -> Reply<Replies<wire::SubmitResponse>> {
        let mut client = self.client(to);
        Box::pin(async move {
            let responses = client.submit(ReceiverStream::new(requests)).await?;
            let responses: Replies<_> = Box::pin(responses.into_inner());
            Ok(responses)
        })
    }

    fn blocks(
        &self,
        to: &str,
        request: wire::BlocksRequest,
    ) -> Reply<Replies<wire::BlocksResponse>> {
        let mut client = self.client(to);
        Box::pin(async move {
            let responses: Replies<_> = Box::pin(client.blocks(request).await?.into_inner());
            Ok(responses)
        })
    }

    fn follow(&self, to: &str, channel: &str, start: u64, until: Until) -> Reply<Replies<Bytes>> {
        let position = |number| {
            Some(SeekPosition {
                r#type: Some(seek_position::Type::Specified(SeekSpecified { number })),
            })
        };
        let seek = SeekInfo {
            start: position(start),
            stop: match until {
                Until::Newest => Some(SeekPosition {
                    r#type: Some(seek_position::Type::Newest(SeekNewest {})),
                }),
                Until::Ever => position(u64::MAX),
            },
            behavior: SeekBehavior::BlockUntilReady as i32,
            // A cluster without leader still has blocks to give.
            error_response: SeekErrorResponse::BestEffort as i32,
            ..Default::default()
        };
        let binding = self.tls.identity_hash();
        let binding = binding.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash));
        let now = envelope::timestamp(SystemTime::now());
        let request = envelope::seek(channel, seek, &*self.signer.current(), now, binding);
        let mut client = AtomicBroadcastClient::new(self.connections.get(to))
            .max_decoding_message_size(MAX_MESSAGE);
        Box::pin(async move {
            let request = request.map_err(|error| Status::internal(error.to_string()))?;
            // The stream of requests stays open, or the other might take it for an end.
            let requests =
                futures_util::stream::iter([request]).chain(futures_util::stream::pending());
            let responses = client.deliver(requests).await?.into_inner();
            let is_block = |response: &Result<DeliverResponse, Status>| {
                let end =
                    deliver_response::Type::Status(consilium_proto::common::Status::Success as i32);
                let ended = matches!(response, Ok(response) if response.r#type == Some(end));
                std::future::ready(!ended)
            };
            let blocks = responses
                .take_while(is_block)
                .map(|response| block_of(response?));
            let blocks: Replies<Bytes> = Box::pin(blocks);
            Ok(blocks)
        })
    }
}

fn block_of(response: DeliverResponse) -> Result<Bytes, Status> {
    match response.r#type {
        Some(deliver_response::Type::Block(block)) => Ok(block.encode_to_vec().into()),
        Some(deliver_response::Type::Status(status)) => {
            let name = consilium_proto::common::Status::try_from(status)
                .map_or("an unknown status", |status| status.as_str_name());
            Err(Status::failed_precondition(format!(
                "deliver ended with {name}"
            )))
        }
        None => Err(Status::internal("a deliver response without content")),
    }
}

/// Opens a stream within [`OPEN_DEADLINE`].
pub(crate) async fn open<T: Send>(opening: Reply<Replies<T>>) -> io::Result<Replies<T>> {
    match crate::rt::timeout(OPEN_DEADLINE, opening).await {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(status)) => Err(io::Error::other(status)),
        None => Err(io::Error::from(io::ErrorKind::TimedOut)),
    }
}

/// The next item of a stream, if it comes within `limit`.
pub(crate) async fn next<T: Send>(
    stream: &mut Replies<T>,
    limit: Duration,
) -> Option<io::Result<T>> {
    match crate::rt::timeout(limit, stream.next()).await {
        Some(Some(item)) => Some(item.map_err(io::Error::other)),
        Some(None) => None,
        None => Some(Err(io::Error::from(io::ErrorKind::TimedOut))),
    }
}
