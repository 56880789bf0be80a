//! The gRPC face of the gateway: limits and deadlines around the five methods.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use consilium_discovery::{Requirements, RequirementsCache};
use consilium_msp::SignedData;
use consilium_peer::{Peer, PeerChannel};
use consilium_proto::{
    gateway::{
        self as proto,
        gateway_server::{self, GatewayServer},
    },
    protos::ChaincodeInterest,
};
use consilium_transport::MAX_MESSAGE;
use moka::sync::Cache;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tonic::{Request, Response, Status, service::interceptor::InterceptedService};

use crate::{
    commits::Commits,
    events::{EventStream, OldBlocks},
    members::{self, Endorsers, Member, Own},
    options::GatewayOptions,
    orderers::Orderers,
};

/// Chaincodes remembered that the own peer can run.
const RUNNABLE: u64 = 1024;
/// Answers leave this much before the client's deadline, so that they arrive.
const MARGIN: Duration = Duration::from_millis(5);

/// A gateway in front of its peer.
pub struct Gateway {
    peer: Arc<Peer>,
    options: GatewayOptions,
    endorsers: Endorsers,
    orderers: Orderers,
    commits: Commits,
    old_blocks: OldBlocks,
    requirements: RequirementsCache,
    /// Chaincodes that the own peer was found to run, by channel, name and definitions.
    runnable: Cache<(String, String, u64), ()>,
    calls: Arc<Semaphore>,
}

impl Gateway {
    /// A gateway of `peer`.
    pub fn new(peer: Arc<Peer>, options: GatewayOptions) -> Arc<Self> {
        Arc::new(Self {
            endorsers: Endorsers::new(peer.clone(), options.endorsement_timeout),
            orderers: Orderers::new(
                peer.client_tls().cloned(),
                peer.orderer_overrides(),
                options.streams_per_orderer,
            ),
            commits: Commits::default(),
            old_blocks: OldBlocks::default(),
            requirements: RequirementsCache::default(),
            runnable: Cache::new(RUNNABLE),
            calls: Arc::new(Semaphore::new(
                options.concurrency.min(Semaphore::MAX_PERMITS),
            )),
            peer,
            options,
        })
    }

    /// The tonic server of `gateway.Gateway`, with Fabric's message limits.
    pub fn service(
        self: &Arc<Self>,
    ) -> InterceptedService<GatewayServer<GatewayService>, OnArrival> {
        let server = GatewayServer::new(GatewayService {
            gateway: self.clone(),
        })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
        InterceptedService::new(server, note_deadline)
    }

    pub(crate) fn options(&self) -> &GatewayOptions {
        &self.options
    }

    pub(crate) fn endorsers(&self) -> &Endorsers {
        &self.endorsers
    }

    pub(crate) fn orderers(&self) -> &Orderers {
        &self.orderers
    }

    pub(crate) fn commits(&self) -> &Commits {
        &self.commits
    }

    pub(crate) fn old_blocks(&self) -> &OldBlocks {
        &self.old_blocks
    }

    pub(crate) fn own_msp(&self) -> &str {
        self.peer.msp_id()
    }

    pub(crate) fn own_identity(&self) -> Bytes {
        self.peer.signer().current().serialized().clone()
    }

    pub(crate) fn find_channel(&self, name: &str) -> Result<Arc<PeerChannel>, String> {
        self.peer
            .channel(name)
            .ok_or_else(|| format!("failed to get config for channel [{name}]: channel not found"))
    }

    pub(crate) fn channel(&self, name: &str) -> Result<Arc<PeerChannel>, Status> {
        self.find_channel(name).map_err(Status::unavailable)
    }

    /// Whether a chaincode could run anywhere on the channel: it is a system chaincode or defined.
    pub(crate) fn is_runnable(
        &self,
        channel: &PeerChannel,
        chaincode: &str,
    ) -> Result<bool, Status> {
        Ok(self.peer.host().is_system(chaincode)
            || channel
                .chaincode_policy(chaincode)
                .map_err(Status::aborted)?
                .is_some())
    }

    /// Peers that may run the chaincode; whether other peers have it installed they know themselves.
    pub(crate) async fn members(&self, channel: &PeerChannel, chaincode: &str) -> Vec<Member> {
        let runs_here = self.runs_here(channel, chaincode).await;
        let is_system = self.peer.host().is_system(chaincode);
        let mut told = self.peer.known_members(channel.name());
        told.retain(|member| is_system || member.chaincodes.iter().any(|cc| cc.name == chaincode));
        let config = channel.config();
        let own = Own {
            msp_id: self.own_msp(),
            address: self.peer.address(),
            identity: config.msps().deserialize(&self.own_identity()).ok(),
            height: *channel.subscribe_height().borrow(),
        };
        let mut members = members::members(&config, &told, own);
        members.retain(|member| runs_here || !member.is_local);
        let order = self.order(channel, &members, [chaincode]);
        order.into_iter().map(|at| members[at].clone()).collect()
    }

    /// The order in which to ask members that shall run these chaincodes.
    pub(crate) fn order<'a>(
        &self,
        channel: &PeerChannel,
        members: &[Member],
        chaincodes: impl IntoIterator<Item = &'a str>,
    ) -> Vec<usize> {
        let defined = chaincodes.into_iter().filter_map(|name| {
            // What is not defined, as system chaincodes, everybody runs or nobody.
            let policy = channel.chaincode_policy(name).ok()??;
            Some((name.to_owned(), policy.advertised_version.clone()))
        });
        let wanted: Vec<_> = defined.collect();
        members::order(members, &wanted, self.own_msp(), |address| {
            self.endorsers.latency(address)
        })
    }

    /// Whether the own peer can run the chaincode. A yes stays one until definitions change.
    async fn runs_here(&self, channel: &PeerChannel, chaincode: &str) -> bool {
        let host = self.peer.host();
        if host.is_system(chaincode) {
            return true;
        }
        let key = (
            channel.name().to_owned(),
            chaincode.to_owned(),
            channel.definitions_generation(),
        );
        if self.runnable.contains_key(&key) {
            return true;
        }
        // Reads state.
        let (host, name, wanted) = (host.clone(), key.0.clone(), key.1.clone());
        let looking = tokio::task::spawn_blocking(move || host.available(&name, &wanted));
        let available = looking.await.unwrap_or(false);
        if available {
            self.runnable.insert(key, ());
        }
        available
    }

    /// What endorsers of an interest have to be; remembered until configuration or definitions
    /// change.
    pub(crate) fn requirements(
        &self,
        channel: &PeerChannel,
        interest: &ChaincodeInterest,
    ) -> Arc<Result<Requirements, String>> {
        self.requirements.get(channel, interest)
    }

    /// Checks a signed request off the reactor.
    pub(crate) async fn check_signed(
        &self,
        channel: &Arc<PeerChannel>,
        resource: &'static str,
        data: SignedData,
    ) -> Result<(), Status> {
        let channel = channel.clone();
        self.peer
            .verification_pool()
            .run(move || channel.check_signed(resource, &data))
            .await
            .unwrap_or_else(|| Err("the request could not be checked".to_owned()))
            .map_err(Status::permission_denied)
    }
}

/// `gateway.Gateway` over gRPC.
pub struct GatewayService {
    gateway: Arc<Gateway>,
}

impl GatewayService {
    fn admit(&self, method: &str) -> Result<OwnedSemaphorePermit, Status> {
        self.gateway.calls.clone().try_acquire_owned().map_err(|_| {
            metrics::counter!("gateway_rejected_calls").increment(1);
            Status::resource_exhausted(format!(
                "too many requests for /gateway.Gateway/{method}, exceeding concurrency limit ({})",
                self.gateway.options.concurrency
            ))
        })
    }
}

/// What runs when a call's headers have come.
pub type OnArrival = fn(Request<()>) -> Result<Request<()>, Status>;

/// When the client gives up.
#[derive(Clone, Copy)]
struct Deadline(Instant);

/// Counts the client's deadline (`grpc-timeout`: up to eight digits and a unit) from the headers on.
/// tonic does so too, and says CANCELLED at its end; some clients send the message well after the
/// headers, so counting from the message on would leave the answer to tonic.
fn note_deadline(mut request: Request<()>) -> Result<Request<()>, Status> {
    let timeout = request
        .metadata()
        .get("grpc-timeout")
        .and_then(|value| parse_timeout(value.to_str().ok()?));
    // One that is too far off to count is none.
    if let Some(end) = timeout.and_then(|timeout| Instant::now().checked_add(timeout)) {
        request.extensions_mut().insert(Deadline(end));
    }
    Ok(request)
}

fn deadline<T>(request: &Request<T>) -> Option<Deadline> {
    request.extensions().get().copied()
}

/// Runs a call within the deadline that the client set, if it set one.
async fn within<T>(
    deadline: Option<Deadline>,
    expired: &str,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<Response<T>, Status> {
    let outcome = match deadline {
        None => call.await,
        Some(Deadline(end)) => {
            tokio::time::timeout_at(end.checked_sub(MARGIN).unwrap_or(end), call)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded(expired)))
        }
    };
    outcome.map(Response::new)
}

fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[tonic::async_trait]
impl gateway_server::Gateway for GatewayService {
    async fn endorse(
        &self,
        request: Request<proto::EndorseRequest>,
    ) -> Result<Response<proto::EndorseResponse>, Status> {
        let _permit = self.admit("Endorse")?;
        let expired = "endorsement timeout expired while collecting endorsements";
        let deadline = deadline(&request);
        within(
            deadline,
            expired,
            self.gateway.endorse(request.into_inner()),
        )
        .await
    }

    async fn submit(
        &self,
        request: Request<proto::SubmitRequest>,
    ) -> Result<Response<proto::SubmitResponse>, Status> {
        let _permit = self.admit("Submit")?;
        let expired = "submit timeout expired while broadcasting to ordering service";
        let deadline = deadline(&request);
        within(deadline, expired, self.gateway.submit(request.into_inner())).await
    }

    async fn commit_status(
        &self,
        request: Request<proto::SignedCommitStatusRequest>,
    ) -> Result<Response<proto::CommitStatusResponse>, Status> {
        let _permit = self.admit("CommitStatus")?;
        let deadline = deadline(&request);
        let call = self.gateway.commit_status(request.into_inner());
        within(deadline, "context deadline exceeded", call).await
    }

    async fn evaluate(
        &self,
        request: Request<proto::EvaluateRequest>,
    ) -> Result<Response<proto::EvaluateResponse>, Status> {
        let _permit = self.admit("Evaluate")?;
        let deadline = deadline(&request);
        let call = self.gateway.evaluate(request.into_inner());
        within(deadline, "evaluate timeout expired", call).await
    }

    type ChaincodeEventsStream = EventStream;

    async fn chaincode_events(
        &self,
        request: Request<proto::SignedChaincodeEventsRequest>,
    ) -> Result<Response<EventStream>, Status> {
        let permit = self.admit("ChaincodeEvents")?;
        self.gateway
            .chaincode_events(request.into_inner(), permit)
            .await
            .map(Response::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_deadline_counts_from_the_headers_on() {
        let timeout = Duration::from_millis(20);
        let mut request = Request::new(());
        request
            .metadata_mut()
            .insert("grpc-timeout", "20m".parse().unwrap());
        let before = Instant::now();
        let request = note_deadline(request).unwrap();
        let after = Instant::now();
        let noted = deadline(&request);
        let Deadline(end) = noted.unwrap();
        assert!(before + timeout <= end && end <= after + timeout);
        // The message comes too late: there is nothing left to wait for.
        tokio::time::sleep_until(end).await;
        let never = std::future::pending();
        let status = within::<()>(noted, "expired", never).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (tonic::Code::DeadlineExceeded, "expired")
        );
    }

    #[tokio::test]
    async fn a_call_without_a_deadline_has_none() {
        let request = note_deadline(Request::new(())).unwrap();
        assert!(deadline(&request).is_none());
        let answer = within(None, "expired", async { Ok(7) }).await.unwrap();
        assert_eq!(answer.into_inner(), 7);
    }

    #[test]
    fn deadlines_are_read_as_grpc_writes_them() {
        for (text, expected) in [
            ("15S", Some(Duration::from_secs(15))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("9n", Some(Duration::from_nanos(9))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("5x", None),
            ("5ü", None),
            ("-1S", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }
}
