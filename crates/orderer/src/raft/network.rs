//! openraft's calls to the other nodes of a channel.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use consilium_proto::consilium::replication as wire;
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

use super::codec::{self, CodecError};
use super::types::{TypeConfig, Vote};
use crate::cluster::{Cluster, Reply};
use crate::rt;
use crate::state::ChainState;

type RpcError = RPCError<TypeConfig>;

/// Deadline of an append that carries entries: they may be large, and the follower syncs its disk.
const APPEND_DEADLINE: Duration = Duration::from_secs(5);

/// Makes openraft's connections for one channel.
pub(crate) struct Network {
    pub(crate) state: Arc<ChainState>,
    pub(crate) cluster: Arc<dyn Cluster>,
    /// Raft id of this node.
    pub(crate) own: u64,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Peer {
        Peer {
            state: self.state.clone(),
            cluster: self.cluster.clone(),
            own: self.own,
            target,
        }
    }
}

/// Calls one other node of one channel.
pub(crate) struct Peer {
    state: Arc<ChainState>,
    cluster: Arc<dyn Cluster>,
    own: u64,
    target: u64,
}

impl Peer {
    /// The address is looked up at each call: it may change by configuration.
    fn address(&self) -> Result<String, RpcError> {
        self.state.address(self.target).ok_or_else(|| {
            let reason = format!("{} is not a consenter", self.target);
            RPCError::Unreachable(Unreachable::from_string(reason))
        })
    }

    /// Awaits a call for at most `limit`.
    async fn within<T: Send>(
        &self,
        action: RPCTypes,
        limit: Duration,
        call: Reply<T>,
    ) -> Result<T, RpcError> {
        match rt::timeout(limit, call).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(status)) => {
                let target = self.target;
                tracing::debug!(channel = self.state.name, target, %status, "raft call failed");
                // All of these go on for a while: openraft backs off after `Unreachable`.
                Err(RPCError::Unreachable(Unreachable::new(&status)))
            }
            None => Err(RPCError::Timeout(Timeout {
                action,
                id: self.own,
                target: self.target,
                timeout: limit,
            })),
        }
    }

    async fn ask_vote(
        &self,
        request: &VoteRequest<TypeConfig>,
        pre_vote: bool,
        limit: Duration,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let request = codec::vote_request(&self.state.name, self.target, request, pre_vote);
        let call = self.cluster.vote(&self.address()?, request);
        let response = self.within(RPCTypes::Vote, limit, call).await?;
        codec::read_vote_response(&response).map_err(malformed)
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
        let request = codec::append(&self.state.name, self.target, request);
        let call = self.cluster.append(&self.address()?, request);
        let response = self.within(RPCTypes::AppendEntries, limit, call).await?;
        codec::read_appended(response).map_err(malformed)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_vote(&request, false, option.soft_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_vote(&request, true, option.soft_ttl()).await
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
            to: self.target,
        };
        let call = self.cluster.install_snapshot(&self.address()?, request);
        let call = self.within(RPCTypes::InstallSnapshot, option.soft_ttl(), call);
        let response = tokio::select! {
            biased;
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
        let call = self.cluster.transfer_leader(&self.address()?, request);
        self.within(RPCTypes::TransferLeader, option.soft_ttl(), call)
            .await?;
        Ok(Ok(()))
    }
}
