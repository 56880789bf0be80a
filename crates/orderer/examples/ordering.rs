//! Measures the ordering service from end to end.
//!
//! `cargo run -p consilium-orderer --example ordering -- --nodes 3 --channels 1 --clients 50`
//!
//! Orderers in one process, each with a runtime, a disk folder and a port of its own, under mutual
//! TLS. Every client has a connection of its own and one message in flight: it signs an envelope,
//! sends it, waits for the answer, and signs the next. Clients run in the same process: CPU time is
//! that of everything together, and is told by threads.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use consilium_msp::Signer;
use consilium_proto::common::{Envelope, HeaderType, Status};
use consilium_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use consilium_testkit::{NodeOu, network};
use consilium_transport::ClientTls;
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use metrics::{Counter, Gauge, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use support::{CHANNEL, Cluster, PATIENCE, identity, message_of};
use tokio::sync::{mpsc, watch};
use tonic::transport::Channel;

/// Time in /proc is told in these, on every Linux that there is.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a client waits after a message that was not ordered.
const PAUSE: Duration = Duration::from_millis(10);

/// Measures the ordering service from end to end.
#[derive(Parser)]
struct Options {
    /// Orderers, all of them consenters of every channel.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Channels.
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// Clients of each channel.
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How long clients send before that.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// Bytes of data in an envelope; header, certificate and signature come on top.
    #[arg(long, default_value_t = 1024)]
    size: usize,
}

fn main() {
    let options = Options::parse();
    let syncs = count_syncs();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("client")
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(&options, &syncs));
    // Connections are open still; nobody waits for them to close.
    std::process::exit(0);
}

async fn measure(options: &Options, syncs: &AtomicU64) {
    let (cluster, channels) = start(options).await;
    let (phases, phase) = watch::channel(Phase::WarmUp);
    let mut clients = tokio::task::JoinSet::new();
    // One credential, as an application's clients have.
    let signer = cluster.organization.signer("client", NodeOu::Client);
    for (number, channel) in (0..options.clients).flat_map(|_| &channels).enumerate() {
        let client = Client {
            service: connect(&cluster, number % options.nodes).await,
            signer: signer.clone(),
            channel: channel.clone(),
            data: vec![0x5a; options.size],
            phase: phase.clone(),
        };
        clients.spawn(client.run());
    }
    tokio::time::sleep(Duration::from_secs(options.warm_up)).await;

    let blocks = || -> u64 { channels.iter().map(|name| height(&cluster, name)).sum() };
    let leaders_before = leaders(&cluster, &channels);
    let before = (blocks(), syncs.load(Ordering::Relaxed), cpu_by_thread());
    let started = Instant::now();
    phases.send_replace(Phase::Measure);
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    phases.send_replace(Phase::End);
    let took = started.elapsed().as_secs_f64();
    let after = (blocks(), syncs.load(Ordering::Relaxed), cpu_by_thread());
    let leaders_after = leaders(&cluster, &channels);

    let mut seen = Seen::default();
    while let Some(client) = clients.join_next().await {
        let client = client.expect("no panic");
        seen.latencies.add(&client.latencies).expect("same bounds");
        seen.refused += client.refused;
    }
    let acknowledged = seen.latencies.len() as f64;
    let made = (after.0 - before.0) as f64;
    let synced = (after.1 - before.1) as f64 / options.nodes as f64;
    let cpu: BTreeMap<String, f64> = after
        .2
        .into_iter()
        .map(|(thread, used)| {
            let earlier = before.2.get(&thread).copied().unwrap_or_default();
            (thread, used - earlier)
        })
        .collect();
    let total: f64 = cpu.values().sum();
    let at = |share| seen.latencies.value_at_quantile(share) as f64 / 1000.0;

    println!(
        "{} nodes, {} channels, {} clients in total, {} bytes, {took:.1} s",
        options.nodes,
        options.channels,
        options.channels * options.clients,
        options.size,
    );
    println!(
        "acknowledged       {acknowledged:>9.0}   {:.0} per second",
        acknowledged / took
    );
    println!("not ordered        {:>9}", seen.refused);
    println!(
        "latency     p50 {:.1} ms   p95 {:.1} ms   p99 {:.1} ms   longest {:.1} ms",
        at(0.5),
        at(0.95),
        at(0.99),
        seen.latencies.max() as f64 / 1000.0
    );
    println!(
        "blocks             {made:>9.0}   {:.1} envelopes per block",
        acknowledged / made
    );
    println!(
        "syncs of a node    {synced:>9.0}   {:.2} per block",
        synced / made
    );
    println!(
        "CPU, clients too   {total:>8.2}s   {:.3} ms per envelope, {:.2} cores",
        total * 1000.0 / acknowledged,
        total / took
    );
    for (thread, used) in cpu.iter().filter(|(_, used)| **used > total / 200.0) {
        println!(
            "  {thread:<18} {:>5.1} %   {:.3} ms per envelope",
            used * 100.0 / total,
            used * 1000.0 / acknowledged
        );
    }
    if leaders_before != leaders_after {
        println!("leaders have changed in between");
    }
    // What is on its way lands before the folders are removed.
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Starts the orderers and waits until every channel has a leader that all of them know.
async fn start(options: &Options) -> (Cluster, Vec<String>) {
    // Timing of Raft as channels have it, not as tests want it.
    let cluster = Cluster::start(options.nodes, |profile| {
        profile.raft.tick_interval = "500ms".to_owned();
    })
    .await;
    let mut channels = vec![CHANNEL.to_owned()];
    for number in 1..options.channels {
        let name = format!("channel{number}");
        let consenters = (0..options.nodes).map(|index| cluster.consenter(index));
        let organizations = [&cluster.organization];
        let mut profile = network::profile(&name, &organizations, consenters.collect());
        profile.raft.tick_interval = "500ms".to_owned();
        let genesis = network::block(&profile);
        for index in 0..options.nodes {
            cluster.join_with(index, &genesis).await;
        }
        channels.push(name);
    }
    cluster
        .until("leaders", |cluster| {
            channels.iter().all(|name| {
                let mut known = (0..options.nodes).map(|index| cluster.orderer(index).leader(name));
                let first = known.next().flatten();
                first.is_some() && known.all(|other| other == first)
            })
        })
        .await;
    (cluster, channels)
}

fn height(cluster: &Cluster, channel: &str) -> u64 {
    let heights = cluster.running().into_iter().map(|index| {
        let info = cluster.orderer(index).channel_info(channel);
        info.map_or(0, |info| info.height)
    });
    heights.max().unwrap_or_default()
}

fn leaders(cluster: &Cluster, channels: &[String]) -> Vec<Option<u64>> {
    let node = cluster.orderer(0);
    channels.iter().map(|name| node.leader(name)).collect()
}

async fn connect(cluster: &Cluster, node: usize) -> AtomicBroadcastClient<Channel> {
    let own = identity(&cluster.organization.tls(&["127.0.0.1"]));
    let roots = [cluster.organization.tls_root_pem()];
    let tls = ClientTls::new(Some(own), &roots).expect("a client's TLS");
    let address = format!("127.0.0.1:{}", cluster.nodes[node].port);
    let channel = consilium_transport::connect(&address, Some(tls), PATIENCE).await;
    AtomicBroadcastClient::new(channel.expect("connected"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measure,
    End,
}

struct Client {
    service: AtomicBroadcastClient<Channel>,
    signer: Arc<dyn Signer>,
    channel: String,
    data: Vec<u8>,
    phase: watch::Receiver<Phase>,
}

/// What happened while it was measured.
struct Seen {
    /// Microseconds.
    latencies: Histogram<u64>,
    refused: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            latencies: Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds"),
            refused: 0,
        }
    }
}

impl Client {
    /// One message after the other until the end.
    async fn run(mut self) -> Seen {
        let mut seen = Seen::default();
        let (requests, queue) = mpsc::channel::<Envelope>(1);
        let queue = tokio_stream::wrappers::ReceiverStream::new(queue);
        let answers = self.service.broadcast(queue).await.expect("a stream");
        let mut answers = answers.into_inner();
        loop {
            let message = message_of(
                &*self.signer,
                &self.channel,
                HeaderType::EndorserTransaction,
                &self.data,
            );
            let sent = Instant::now();
            requests.send(message).await.expect("a stream");
            let answer = answers.next().await.expect("a stream").expect("an answer");
            let phase = *self.phase.borrow();
            let ordered = answer.status == Status::Success as i32;
            match (phase, ordered) {
                (Phase::End, _) => return seen,
                (Phase::WarmUp, _) => {}
                (Phase::Measure, true) => {
                    let micros = sent.elapsed().as_micros();
                    seen.latencies
                        .saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
                }
                (Phase::Measure, false) => seen.refused += 1,
            }
            if !ordered {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// User and system time of the process's threads, by their names.
fn cpu_by_thread() -> BTreeMap<String, f64> {
    let mut used = BTreeMap::new();
    let mut listed = 0.0;
    for thread in std::fs::read_dir("/proc/self/task").expect("proc") {
        // A thread may have ended meanwhile.
        let path = thread.expect("proc").path().join("stat");
        if let Some((name, seconds)) = std::fs::read_to_string(path).ok().as_deref().and_then(stat)
        {
            *used.entry(name).or_default() += seconds;
            listed += seconds;
        }
    }
    let process = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let (_, all) = stat(&process).expect("a process");
    used.insert("threads that ended".to_owned(), (all - listed).max(0.0));
    used
}

/// Name and seconds of CPU time.
fn stat(line: &str) -> Option<(String, f64)> {
    let (before, after) = line.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some((name.to_owned(), (user + system) / TICKS_PER_SECOND))
}

/// Lets the count of syncs be read, and drops all other metrics.
fn count_syncs() -> Arc<AtomicU64> {
    let syncs = Arc::new(AtomicU64::new(0));
    metrics::set_global_recorder(Syncs(syncs.clone())).expect("the only recorder");
    syncs
}

struct Syncs(Arc<AtomicU64>);

impl Recorder for Syncs {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == "consensus_log_syncs" {
            Counter::from_arc(self.0.clone())
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}
