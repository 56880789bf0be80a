//! Calling the other orderers.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::consilium::replication as wire;
use consilium_proto::consilium::replication::replication_client::ReplicationClient;
use consilium_transport::{ChannelPool, ClientTls, MAX_MESSAGE};
use futures_util::{Stream, StreamExt};
use openraft::error::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::impls::EmptyNode;
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Snapshot};
use tonic::transport::Channel;

use super::codec::{self, CodecError};
use super::types::{TypeConfig, Vote};
use crate::state::ChainState;

type RpcError = RPCError<TypeConfig>;

/// Deadline of an append that carries entries: they may be large, and the follower syncs its disk.
const APPEND_DEADLINE: Duration = Duration::from_secs(5);
/// Deadline for the first answer to a pull, and between two blocks.
const PULL_DEADLINE: Duration = Duration::from_secs(10);

/// Connections to other orderers, shared by all channels of a node. Heartbeats and votes have
/// connections of their own, so that a large append cannot delay them.
pub(crate) struct Peers {
    bulk: ChannelPool,
    quick: ChannelPool,
}

impl Peers {
    pub(crate) fn new(tls: Option<Arc<ClientTls>>) -> Arc<Self> {
        Arc::new(Self {
            bulk: ChannelPool::new(tls.clone()),
            quick: ChannelPool::new(tls),
        })
    }

    /// For log entries, submissions and blocks.
    pub(crate) fn bulk(&self, address: &str) -> ReplicationClient<Channel> {
        client(self.bulk.get(address))
    }

    /// For heartbeats and votes.
    fn quick(&self, address: &str) -> ReplicationClient<Channel> {
        client(self.quick.get(address))
    }

    /// Blocks `start..=end` of a channel from one orderer; fewer if it has fewer.
    pub(crate) async fn blocks(
        &self,
        channel: &str,
        address: &str,
        start: u64,
        end: u64,
    ) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Unpin + use<>> {
        let request = wire::BlocksRequest {
            channel: channel.to_owned(),
            start,
            end,
        };
        let mut client = self.bulk(address);
        let response = tokio::time::timeout(PULL_DEADLINE, client.blocks(request))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            .map_err(io::Error::other)?;
        let blocks = response.into_inner();
        Ok(Box::pin(futures_util::stream::unfold(
            Some(blocks),
            |blocks| async move {
                let mut blocks = blocks?;
                match tokio::time::timeout(PULL_DEADLINE, blocks.next()).await {
                    Ok(None) => None,
                    Ok(Some(Ok(response))) => Some((Ok(response.block), Some(blocks))),
                    Ok(Some(Err(status))) => Some((Err(io::Error::other(status)), None)),
                    Err(_) => Some((Err(io::Error::from(io::ErrorKind::TimedOut)), None)),
                }
            },
        )))
    }
}

fn client(channel: Channel) -> ReplicationClient<Channel> {
    ReplicationClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

/// Makes openraft's connections for one channel.
pub(crate) struct Network {
    pub(crate) state: Arc<ChainState>,
    pub(crate) peers: Arc<Peers>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Peer {
        Peer {
            state: self.state.clone(),
            peers: self.peers.clone(),
            target,
            quick: false,
        }
    }

    async fn new_heartbeat_client(&mut self, target: u64, _: &EmptyNode) -> Peer {
        Peer {
            state: self.state.clone(),
            peers: self.peers.clone(),
            target,
            quick: true,
        }
    }
}

/// Calls one other orderer for one channel.
pub(crate) struct Peer {
    state: Arc<ChainState>,
    peers: Arc<Peers>,
    target: u64,
    quick: bool,
}

impl Peer {
    fn client(&self, quick: bool) -> Result<ReplicationClient<Channel>, RpcError> {
        // The address is looked up at each call: it may change by configuration.
        let address = self.state.address(self.target).ok_or_else(|| {
            Unreachable::from_string(format!("{} is not a consenter", self.target))
        })?;
        Ok(if quick {
            self.peers.quick(&address)
        } else {
            self.peers.bulk(&address)
        })
    }

    /// Awaits a call for at most `limit`.
    async fn within<T>(
        &self,
        action: RPCTypes,
        limit: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, RpcError> {
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failed(&status)),
            Err(_) => Err(RPCError::Timeout(Timeout {
                action,
                id: self.state.id,
                target: self.target,
                timeout: limit,
            })),
        }
    }

    fn failed(&self, status: &tonic::Status) -> RpcError {
        tracing::debug!(channel = self.state.name, target = self.target, %status, "raft call failed");
        // All of these go on for a while: openraft backs off after `Unreachable`.
        RPCError::Unreachable(Unreachable::new(status))
    }
}

fn malformed(error: CodecError) -> RpcError {
    RPCError::Network(NetworkError::new(&error))
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = wire::Snapshot;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let limit = if request.entries.is_empty() {
            option.soft_ttl()
        } else {
            APPEND_DEADLINE
        };
        let request = codec::append(&self.state.name, request);
        let mut client = self.client(self.quick)?;
        let response = self
            .within(RPCTypes::AppendEntries, limit, client.append(request))
            .await?;
        codec::read_appended(response).map_err(malformed)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let request = codec::vote_request(&self.state.name, &request, false);
        let mut client = self.client(true)?;
        let response = self
            .within(RPCTypes::Vote, option.soft_ttl(), client.vote(request))
            .await?;
        codec::read_vote_response(&response).map_err(malformed)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let request = codec::vote_request(&self.state.name, &request, true);
        let mut client = self.client(true)?;
        let response = self
            .within(RPCTypes::Vote, option.soft_ttl(), client.vote(request))
            .await?;
        codec::read_vote_response(&response).map_err(malformed)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<
            openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>,
            u64,
            EmptyNode,
            wire::Snapshot,
        >,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let request = wire::SnapshotRequest {
            channel: self.state.name.clone(),
            vote: Some(codec::vote(&vote)),
            snapshot: Some(snapshot.snapshot),
        };
        let mut client = self.client(false)?;
        let call = self.within(
            RPCTypes::InstallSnapshot,
            option.soft_ttl(),
            client.install_snapshot(request),
        );
        let response = tokio::select! {
            response = call => response?,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        let vote = codec::read_vote(response.vote.as_ref()).map_err(malformed)?;
        Ok(SnapshotResponse::new(vote))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let request = wire::TransferRequest {
            channel: self.state.name.clone(),
            from: Some(codec::vote(request.from_leader())),
            to: *request.to_node_id(),
            last: request.last_log_id().map(codec::log_id),
        };
        let mut client = self.client(true)?;
        self.within(
            RPCTypes::TransferLeader,
            option.soft_ttl(),
            client.transfer_leader(request),
        )
        .await?;
        Ok(Ok(()))
    }
}
