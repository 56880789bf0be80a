//! `protos.Snapshot`: asking for snapshots of a channel, and taking requests back.
//!
//! A request is signed by an admin of the peer's own organization. Refusals are gRPC errors with code
//! UNKNOWN and Fabric's texts. fabric: core/ledger/snapshotgrpc/snapshot_service.go

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use consilium_ledger::{Ledger, LedgerError};
use consilium_msp::SignedData;
use consilium_proto::{
    common, decode,
    protos::{
        QueryPendingSnapshotsResponse, SignedSnapshotRequest, SnapshotQuery, SnapshotRequest,
        snapshot_server::{self, SnapshotServer},
    },
};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::{
    acl::{self, Proof},
    peer::Core,
};

/// Answers requests for snapshots.
#[derive(Clone)]
pub struct SnapshotService {
    core: Arc<Core>,
}

/// A request whose signer may do this, and the ledger that it is about.
struct Admitted<T> {
    request: T,
    ledger: Arc<Ledger>,
}

/// What both kinds of requests have.
trait About: Message + Default + Send + 'static {
    fn signature_header(&self) -> Option<&common::SignatureHeader>;
    fn channel(&self) -> &str;
}

impl About for SnapshotRequest {
    fn signature_header(&self) -> Option<&common::SignatureHeader> {
        self.signature_header.as_ref()
    }

    fn channel(&self) -> &str {
        &self.channel_id
    }
}

impl About for SnapshotQuery {
    fn signature_header(&self) -> Option<&common::SignatureHeader> {
        self.signature_header.as_ref()
    }

    fn channel(&self) -> &str {
        &self.channel_id
    }
}

impl SnapshotService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The tonic server.
    pub fn into_server(self) -> SnapshotServer<Self> {
        SnapshotServer::new(self)
    }

    /// Checks a request on the pool for signatures, where as many are checked at once as it has
    /// threads.
    async fn admit<T: About>(
        &self,
        resource: &'static str,
        signed: SignedSnapshotRequest,
    ) -> Result<Admitted<T>, Status> {
        let core = self.core.clone();
        let checked = self.core.pool().run(move || {
            let request = check::<T>(&core, resource, &signed)?;
            let ledger = ledger_of(&core, request.channel())?;
            Ok(Admitted { request, ledger })
        });
        let admitted = checked
            .await
            .unwrap_or_else(|| Err("the peer failed to check the request".to_owned()));
        admitted.map_err(|refusal| {
            tracing::warn!(resource, refusal, "snapshot request refused");
            Status::unknown(refusal)
        })
    }
}

/// The request, if its signature is one that `resource` asks for.
fn check<T: About>(
    core: &Core,
    resource: &str,
    signed: &SignedSnapshotRequest,
) -> Result<T, String> {
    let request = decode::<T>(&signed.request)
        .map_err(|error| format!("failed to unmarshal snapshot request: {error}"))?;
    let header = request.signature_header();
    let creator: &Bytes = match header {
        Some(header) => &header.creator,
        None => return Err("missing signature header".to_owned()),
    };
    if acl::is_expired(acl::not_after(creator), SystemTime::now()) {
        return Err("client identity expired".to_owned());
    }
    let data = SignedData {
        data: signed.request.clone(),
        identity: creator.clone(),
        signature: signed.signature.clone(),
    };
    let guard = acl::guard(resource, None);
    acl::check_local(
        &guard,
        &core.options().local_msp.current(),
        &Proof::Signed(&data),
    )?;
    Ok(request)
}

fn ledger_of(core: &Core, channel: &str) -> Result<Arc<Ledger>, String> {
    if channel.is_empty() {
        return Err("missing channel ID".to_owned());
    }
    let channel = core
        .channel(channel)
        .ok_or_else(|| format!("cannot find ledger for channel {channel}"))?;
    Ok(channel.ledger().clone())
}

/// Runs what waits for the disk off the reactor.
async fn on_disk(
    work: impl FnOnce() -> Result<(), LedgerError> + Send + 'static,
) -> Result<Response<()>, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Status::unknown(error.to_string()))?
        .map(Response::new)
        .map_err(|error| Status::unknown(error.to_string()))
}

#[tonic::async_trait]
impl snapshot_server::Snapshot for SnapshotService {
    async fn generate(
        &self,
        request: Request<SignedSnapshotRequest>,
    ) -> Result<Response<()>, Status> {
        let admitted = self.admit::<SnapshotRequest>(acl::SNAPSHOT_SUBMIT, request.into_inner());
        let Admitted { request, ledger } = admitted.await?;
        on_disk(move || ledger.request_snapshot(request.block_number)).await
    }

    async fn cancel(
        &self,
        request: Request<SignedSnapshotRequest>,
    ) -> Result<Response<()>, Status> {
        let admitted = self.admit::<SnapshotRequest>(acl::SNAPSHOT_CANCEL, request.into_inner());
        let Admitted { request, ledger } = admitted.await?;
        on_disk(move || ledger.cancel_snapshot(request.block_number)).await
    }

    async fn query_pendings(
        &self,
        request: Request<SignedSnapshotRequest>,
    ) -> Result<Response<QueryPendingSnapshotsResponse>, Status> {
        let admitted = self.admit::<SnapshotQuery>(acl::SNAPSHOT_PENDING, request.into_inner());
        let Admitted { ledger, .. } = admitted.await?;
        Ok(Response::new(QueryPendingSnapshotsResponse {
            block_numbers: ledger.pending_snapshots(),
        }))
    }
}
