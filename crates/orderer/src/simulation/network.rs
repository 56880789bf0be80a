//! The network between simulated nodes: it delays, reorders, repeats and loses messages, and
//! carries nothing in directions that are cut.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::consilium::replication as wire;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::disk::Witness;
use super::executor::{self, Process};
use crate::cluster::{Cluster, KEEPALIVE, Replies, Reply, Until};
use crate::raft::codec;
use crate::raft::receive::ReplicationService;
use crate::rt;
use crate::storage::BlockDisk;

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Longest delay of a message.
    pub delay: Duration,
    /// Of a thousand messages, how many are lost.
    pub lost: u64,
    /// Of a thousand messages, how many arrive twice.
    pub repeated: u64,
}

impl Weather {
    /// Quick and reliable.
    pub const FAIR: Self = Self {
        delay: Duration::from_millis(2),
        lost: 0,
        repeated: 0,
    };
}

/// A node that runs.
#[derive(Clone)]
struct Running {
    process: Process,
    service: ReplicationService,
}

struct State {
    addresses: BTreeMap<String, usize>,
    certificates: Vec<Bytes>,
    running: BTreeMap<usize, Running>,
    cut: BTreeSet<(usize, usize)>,
    starved: BTreeSet<(usize, usize)>,
    weather: Weather,
}

/// The network of a world.
pub struct Network {
    state: Mutex<State>,
    witness: Arc<Witness>,
}

/// One node's end of it.
pub(crate) struct Link {
    pub(crate) network: Arc<Network>,
    pub(crate) own: usize,
}

impl Network {
    /// A network between nodes with these addresses and TLS certificates.
    pub fn new(
        nodes: impl IntoIterator<Item = (String, Bytes)>,
        witness: Arc<Witness>,
    ) -> Arc<Self> {
        let (addresses, certificates): (Vec<String>, Vec<Bytes>) = nodes.into_iter().unzip();
        let state = Mutex::new(State {
            addresses: addresses.into_iter().zip(0..).collect(),
            certificates,
            running: BTreeMap::new(),
            cut: BTreeSet::new(),
            starved: BTreeSet::new(),
            weather: Weather::FAIR,
        });
        Arc::new(Self { state, witness })
    }

    pub(crate) fn connect(&self, node: usize, process: Process, service: ReplicationService) {
        let running = Running { process, service };
        self.state.lock().running.insert(node, running);
    }

    pub(crate) fn disconnect(&self, node: usize) {
        let gone = self.state.lock().running.remove(&node);
        drop(gone);
    }

    /// Cuts one direction.
    pub fn cut(&self, from: usize, to: usize) {
        self.state.lock().cut.insert((from, to));
    }

    /// Loses log entries in one direction.
    pub fn starve(&self, from: usize, to: usize) {
        self.state.lock().starved.insert((from, to));
    }

    /// Joins everything again.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        state.cut.clear();
        state.starved.clear();
    }

    /// Changes how bad it is.
    pub fn set_weather(&self, weather: Weather) {
        self.state.lock().weather = weather;
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.state.lock().cut.contains(&(from, to))
    }

    fn running(&self, node: usize) -> Option<Running> {
        self.state.lock().running.get(&node).cloned()
    }

    /// A message's way: it takes a while, and may never end.
    async fn carry(&self, from: usize, to: usize) {
        let weather = self.state.lock().weather;
        let random = rt::random();
        if random % 1000 < weather.lost || self.is_cut(from, to) {
            std::future::pending::<()>().await;
        }
        let longest = weather.delay.as_micros() as u64 + 1;
        rt::sleep(Duration::from_micros((random >> 16) % longest)).await;
        if self.is_cut(from, to) {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves when a real connection that was cut would have been given up. What was on its way
    /// when it was cut is lost here, though TCP would send it again if the cut is mended before.
    async fn stalls(&self, one: usize, other: usize) {
        while !self.is_cut(one, other) && !self.is_cut(other, one) {
            rt::sleep(KEEPALIVE.interval).await;
        }
        rt::sleep(KEEPALIVE.timeout).await;
    }

    fn is_repeated(&self) -> bool {
        let repeated = self.state.lock().weather.repeated;
        rt::random() % 1000 < repeated
    }
}

fn down() -> Status {
    Status::unavailable("connection refused")
}

impl Link {
    fn target(&self, to: &str) -> Option<usize> {
        self.network.state.lock().addresses.get(to).copied()
    }

    fn certificate(&self) -> Bytes {
        self.network.state.lock().certificates[self.own].clone()
    }

    /// A call that is answered once. The handler runs in the other node's process.
    fn call<Q, A, F, H>(&self, to: &str, request: Q, handler: H) -> Reply<A>
    where
        Q: Clone + Send + 'static,
        A: Send + 'static,
        F: Future<Output = Result<A, Status>> + Send + 'static,
        H: Fn(ReplicationService, Bytes, Q) -> F + Send + 'static,
    {
        let (network, own, certificate) = (self.network.clone(), self.own, self.certificate());
        let Some(target) = self.target(to) else {
            return Box::pin(async { Err(down()) });
        };
        Box::pin(async move {
            network.carry(own, target).await;
            let Some(other) = network.running(target) else {
                return Err(down());
            };
            if network.is_repeated() {
                let again = handler(other.service.clone(), certificate.clone(), request.clone());
                let network = network.clone();
                executor::spawn_in(other.process, async move {
                    network.carry(own, target).await;
                    // Nobody waits for this answer.
                    let _ = again.await;
                });
            }
            let (answer, answered) = oneshot::channel();
            let work = handler(other.service, certificate, request);
            executor::spawn_in(other.process, async move {
                // The caller may be gone.
                let _ = answer.send(work.await);
            });
            let response = answered.await.unwrap_or_else(|_| Err(down()));
            network.carry(target, own).await;
            response
        })
    }

    /// A call that is answered by a stream. `open` runs in the other node's process, which is where
    /// a service spawns its tasks.
    fn open<T, H>(&self, to: &str, open: H) -> Reply<Replies<T>>
    where
        T: Send + 'static,
        H: FnOnce(ReplicationService) -> Result<Replies<T>, Status> + Send + 'static,
    {
        let target = self.target(to);
        let (network, own) = (self.network.clone(), self.own);
        Box::pin(async move {
            let target = target.ok_or_else(down)?;
            network.carry(own, target).await;
            let other = network.running(target).ok_or_else(down)?;
            let (opened, opening) = oneshot::channel();
            executor::spawn_in(other.process, async move {
                // The caller may be gone.
                let _ = opened.send(open(other.service));
            });
            let items = opening.await.map_err(|_| down())??;
            Ok(Self { network, own }.stream(target, other.process, items))
        })
    }

    /// Carries a stream from the other node, in order, until the way is cut or the node is gone.
    fn stream<T: Send + 'static>(
        &self,
        from: usize,
        process: Process,
        items: Replies<T>,
    ) -> Replies<T> {
        let (network, own) = (self.network.clone(), self.own);
        Box::pin(stream::unfold(Some(items), move |items| {
            let network = network.clone();
            async move {
                let mut items = items?;
                let item = items.next().await?;
                network.carry(from, own).await;
                let alive = network.running(from).map(|other| other.process) == Some(process);
                if !alive {
                    return Some((Err(down()), None));
                }
                Some((item, Some(items)))
            }
        }))
    }
}

impl Cluster for Link {
    fn append(&self, to: &str, request: wire::AppendRequest) -> Reply<wire::AppendResponse> {
        if let Err(error) = codec::read_append(request.clone()) {
            let sent = format!("node {} sent an append: {error}", self.own);
            self.network.witness.report(sent);
        }
        let way = self.target(to).map(|target| (self.own, target));
        let is_starved = way.is_some_and(|way| self.network.state.lock().starved.contains(&way));
        if is_starved && !request.entries.is_empty() {
            return Box::pin(std::future::pending());
        }
        self.call(to, request, |service, certificate, request| async move {
            service.on_append(&certificate, request).await
        })
    }

    fn vote(&self, to: &str, request: wire::VoteRequest) -> Reply<wire::VoteResponse> {
        self.call(to, request, |service, certificate, request| async move {
            service.on_vote(&certificate, request).await
        })
    }

    fn install_snapshot(
        &self,
        to: &str,
        request: wire::SnapshotRequest,
    ) -> Reply<wire::SnapshotResponse> {
        let call = self.call(to, request, |service, certificate, request| async move {
            service.on_install_snapshot(&certificate, request).await
        });
        let (network, own, target) = (self.network.clone(), self.own, self.target(to));
        // The one call that may take minutes: here it matters that a stalled connection breaks.
        let stalled = async move {
            network.stalls(own, target?).await;
            Some(())
        };
        Box::pin(async move {
            tokio::select! {
                biased;
                response = call => response,
                Some(()) = stalled => Err(down()),
            }
        })
    }

    fn transfer_leader(
        &self,
        to: &str,
        request: wire::TransferRequest,
    ) -> Reply<wire::TransferResponse> {
        self.call(to, request, |service, certificate, request| async move {
            service.on_transfer_leader(&certificate, request).await
        })
    }

    fn status(&self, to: &str, request: wire::StatusRequest) -> Reply<wire::StatusResponse> {
        self.call(to, request, |service, certificate, request| async move {
            service.on_status(&certificate, &request)
        })
    }

    fn submit(
        &self,
        to: &str,
        mut requests: mpsc::Receiver<wire::SubmitRequest>,
    ) -> Reply<Replies<wire::SubmitResponse>> {
        let (network, own, certificate) = (self.network.clone(), self.own, self.certificate());
        let target = self.target(to);
        let (arriving, arrived) = mpsc::channel(16);
        let opening: Reply<Replies<_>> = self.open(to, move |service| {
            let answers = service.on_submit(certificate, ReceiverStream::new(arrived));
            Ok(Box::pin(answers))
        });
        Box::pin(async move {
            let answers = opening.await?;
            let target = target.ok_or_else(down)?;
            executor::spawn_here(async move {
                while let Some(request) = requests.recv().await {
                    network.carry(own, target).await;
                    if arriving.send(Ok(request)).await.is_err() {
                        return;
                    }
                }
            });
            Ok(answers)
        })
    }

    fn blocks(
        &self,
        to: &str,
        request: wire::BlocksRequest,
    ) -> Reply<Replies<wire::BlocksResponse>> {
        let certificate = self.certificate();
        self.open(to, move |service| service.on_blocks(&certificate, &request))
    }

    fn follow(&self, to: &str, channel: &str, start: u64, until: Until) -> Reply<Replies<Bytes>> {
        let channel = channel.to_owned();
        self.open(to, move |service| {
            let chain = service.channels.get(&channel);
            let chain = chain.ok_or_else(|| Status::not_found("no such channel"))?;
            follow_chain(chain.state.store.clone(), start, until)
        })
    }
}

/// Blocks of a chain from `start` on, as Deliver gives them.
fn follow_chain(
    store: Arc<dyn BlockDisk>,
    start: u64,
    until: Until,
) -> Result<Replies<Bytes>, Status> {
    if start > store.height() {
        return Err(Status::not_found("no such block"));
    }
    let end = match until {
        Until::Newest => store.height(),
        Until::Ever => u64::MAX,
    };
    let heights = store.subscribe();
    let state = (store, heights, start);
    let blocks = stream::unfold(state, move |(store, mut heights, number)| async move {
        if number >= end {
            return None;
        }
        while store.height() <= number {
            heights.changed().await.ok()?;
        }
        let block = store.block_bytes(number).ok().flatten()?;
        Some((Ok(block), (store, heights, number + 1)))
    });
    Ok(Box::pin(blocks))
}
