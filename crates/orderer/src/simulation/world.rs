//! One run: nodes, clients, and everything that happens to them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::common::{self, HeaderType};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::envelope;
use consilium_transport::ClientTls;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::oneshot;

use super::disk::{Disk, Witness};
use super::executor::{self, Clock, Executor, Process};
use super::network::{Link, Network, Weather};
use super::verdict::{Answers, judge};
use crate::deliberate::Bug;
use crate::orderer::{Orderer, OrdererOptions};
use crate::refusal::Refusal;
use crate::rt;
use crate::submission::NewSubmission;

/// Longest run, in simulated time.
const LIMIT: Duration = Duration::from_secs(600);
/// How long a whole cluster in a fair network may take until all is well.
const RECOVERY: Duration = Duration::from_secs(120);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a node is known by.
#[derive(Clone)]
pub struct Keys {
    /// Signs blocks.
    pub signer: Arc<dyn Signer>,
    /// DER of its TLS certificate.
    pub certificate: Bytes,
    /// `host:port`, as the channel's configuration has it.
    pub address: String,
}

/// Makes the config update by which these nodes, given by their numbers, become the consenters.
pub type UpdateOf = Arc<dyn Fn(&ChannelConfig, &[usize]) -> common::Envelope + Send + Sync>;

/// The nodes of a world and the channel that they serve.
#[derive(Clone)]
pub struct Consortium {
    /// All nodes; the first `consenters` of them found the channel.
    pub nodes: Vec<Keys>,
    /// How many.
    pub consenters: usize,
    /// Lists them.
    pub genesis: common::Block,
    /// Changes the list.
    pub update: UpdateOf,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was wrong; empty if nothing.
    pub wrong: Vec<String>,
    /// Messages that were acknowledged.
    pub acknowledged: usize,
    /// Length of the chain.
    pub height: usize,
    /// Membership changes that were acknowledged.
    pub reconfigured: usize,
    /// A hash over every step, and how many there were: equal runs have equal ones.
    pub trace: (u64, u64),
    /// What happened, in order, with simulated times.
    pub story: String,
}

/// Runs one world. `bug` is there during the run.
pub fn run(seed: u64, consortium: &Consortium, bug: Option<Bug>) -> Outcome {
    let (executor, entered) = Executor::enter(seed);
    Bug::set(bug);
    let world = Arc::new(World::new(consortium.clone()));
    let running = world.clone();
    let ended = executor.run_until(LIMIT, async move { running.live().await });
    let mut wrong = match ended {
        Some(wrong) => wrong,
        None => vec!["the run did not end: everybody waits".to_owned()],
    };
    wrong.extend(world.witness.violations());
    let chains: Vec<Vec<Bytes>> = world.disks.iter().map(Disk::blocks).collect();
    let answers = world.answers.lock().clone();
    wrong.extend(judge(&chains, &answers));
    let trace = executor.trace();
    let outcome = Outcome {
        wrong,
        acknowledged: answers
            .values()
            .filter(|acknowledged| **acknowledged)
            .count(),
        height: chains.iter().map(Vec::len).max().unwrap_or_default(),
        reconfigured: *world.reconfigured.lock(),
        trace,
        story: std::mem::take(&mut *world.story.lock()),
    };
    drop(entered);
    Bug::set(None);
    outcome
}

/// A node's present process, if it has one.
#[derive(Clone, Default)]
struct Place {
    starts: u64,
    process: Option<Process>,
    orderer: Option<Arc<Orderer>>,
}

struct World {
    consortium: Consortium,
    channel: String,
    network: Arc<Network>,
    disks: Vec<Disk>,
    places: Mutex<Vec<Place>>,
    witness: Arc<Witness>,
    answers: Mutex<Answers>,
    reconfigured: Mutex<usize>,
    wiped: AtomicBool,
    calm: AtomicBool,
    story: Mutex<String>,
}

/// A number below `end`.
fn below(end: u64) -> u64 {
    rt::random() % end.max(1)
}

fn pick<T: Copy>(from: &[T]) -> Option<T> {
    let at = usize::try_from(below(from.len() as u64)).ok()?;
    from.get(at).copied()
}

fn the_executor() -> std::rc::Rc<Executor> {
    // A world only lives on a thread that has entered an executor.
    executor::current().expect("a simulated world")
}

impl World {
    fn new(consortium: Consortium) -> Self {
        let witness = Arc::new(Witness::default());
        let known = consortium
            .nodes
            .iter()
            .map(|node| (node.address.clone(), node.certificate.clone()));
        let config = ChannelConfig::from_block(&consortium.genesis).expect("a genesis block");
        Self {
            network: Network::new(known),
            disks: consortium
                .nodes
                .iter()
                .map(|_| Disk::new(witness.clone()))
                .collect(),
            places: Mutex::new(vec![Place::default(); consortium.nodes.len()]),
            channel: config.channel_id().to_owned(),
            consortium,
            witness,
            answers: Mutex::default(),
            reconfigured: Mutex::default(),
            wiped: AtomicBool::new(false),
            calm: AtomicBool::new(false),
            story: Mutex::default(),
        }
    }

    fn tell(&self, what: impl AsRef<str>) {
        let now = the_executor().now();
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.story.lock(),
            "{:>9.3} {}",
            now.as_secs_f64(),
            what.as_ref()
        );
    }

    /// Everything from the first start to the last check. Gives what is wrong.
    async fn live(self: Arc<Self>) -> Vec<String> {
        for node in 0..self.consortium.nodes.len() {
            self.start(node);
        }
        let clients: Vec<_> = (0..3)
            .map(|client| rt::spawn(self.clone().send_messages(client)))
            .collect();
        let steps = 4 + below(16);
        for _ in 0..steps {
            rt::sleep(Duration::from_millis(50 + below(2_000))).await;
            self.clone().strike().await;
        }
        self.recover();
        let wrong = match rt::timeout(RECOVERY, self.clone().settle()).await {
            Some(()) => Vec::new(),
            None => vec![format!(
                "no recovery in a whole cluster: {}",
                self.standing()
            )],
        };
        self.calm.store(true, Ordering::Relaxed);
        for client in clients {
            let _ = client.await;
        }
        // What the last messages made of the chains.
        match rt::timeout(RECOVERY, self.clone().settle()).await {
            Some(()) => wrong,
            None => vec![format!(
                "the chains do not become equal: {}",
                self.standing()
            )],
        }
    }

    fn process(&self, node: usize) -> Option<Process> {
        self.places.lock()[node].process
    }

    fn orderer(&self, node: usize) -> Option<Arc<Orderer>> {
        self.places.lock()[node].orderer.clone()
    }

    fn start(self: &Arc<Self>, node: usize) {
        let process = {
            let mut places = self.places.lock();
            let place = &mut places[node];
            place.starts += 1;
            let process = Process {
                node,
                start: place.starts,
            };
            place.process = Some(process);
            process
        };
        let executor = the_executor();
        executor.set_clock(
            node,
            Clock {
                offset: Duration::from_millis(below(20_000)),
                rate: 0.8 + below(450) as f64 / 1_000.0,
            },
        );
        let world = self.clone();
        executor.spawn(process, async move {
            if let Err(error) = world.open(node, process).await {
                world.tell(format!("node {node} cannot start: {error}"));
                world.kill(node, false);
            }
        });
    }

    async fn open(&self, node: usize, process: Process) -> Result<(), String> {
        let keys = &self.consortium.nodes[node];
        let tls = ClientTls::new(None, &[]).map_err(|error| error.to_string())?;
        let options = OrdererOptions::new(
            "",
            keys.signer.clone(),
            keys.certificate.clone(),
            keys.certificate.clone(),
            tls,
        );
        let link = Link {
            network: self.network.clone(),
            own: node,
        };
        let disk = Arc::new(self.disks[node].clone());
        let orderer = Orderer::open_on(options, disk, Arc::new(link))
            .await
            .map_err(|error| error.to_string())?;
        self.network.connect(node, process, orderer.replication());
        self.places.lock()[node].orderer = Some(orderer.clone());
        // Somebody joins it, sooner or later.
        rt::sleep(Duration::from_millis(below(3_000))).await;
        if orderer.channels().is_empty() {
            orderer
                .join(&self.consortium.genesis)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Ends a node's process; with `power` its machine too.
    fn kill(&self, node: usize, power: bool) {
        let (process, orderer) = {
            let mut places = self.places.lock();
            let place = &mut places[node];
            (place.process.take(), place.orderer.take())
        };
        let Some(process) = process else { return };
        self.network.disconnect(node);
        the_executor().kill(process);
        drop(orderer);
        if power {
            self.disks[node].lose_power();
        }
    }

    /// Nodes that the configuration lists, as the node with the longest chain has it.
    fn consenters(&self) -> (Vec<usize>, Option<Arc<ChannelConfig>>) {
        let mut newest: Option<(u64, Arc<ChannelConfig>)> = None;
        for node in 0..self.disks.len() {
            if let Some(orderer) = self.orderer(node)
                && let Some(config) = orderer.config(&self.channel)
            {
                let height = orderer
                    .channel_info(&self.channel)
                    .map_or(0, |info| info.height);
                if newest.as_ref().is_none_or(|(longest, _)| height > *longest) {
                    newest = Some((height, config));
                }
            }
        }
        let config = newest.map(|(_, config)| config);
        let listed: BTreeSet<String> = config
            .iter()
            .filter_map(|config| config.raft_metadata().ok())
            .flat_map(|metadata| metadata.consenters)
            .map(|consenter| format!("{}:{}", consenter.host, consenter.port))
            .collect();
        let nodes = self.consortium.nodes.iter().enumerate();
        let nodes = nodes.filter(|(_, keys)| listed.contains(&keys.address));
        (nodes.map(|(node, _)| node).collect(), config)
    }

    fn leader(&self) -> Option<usize> {
        (0..self.disks.len()).find(|node| {
            self.orderer(*node).is_some_and(|orderer| {
                let own = orderer.raft_id(&self.channel);
                own.is_some() && own == orderer.leader(&self.channel)
            })
        })
    }

    /// One thing that happens.
    async fn strike(self: Arc<Self>) {
        let all: Vec<usize> = (0..self.disks.len()).collect();
        let alive: Vec<usize> = all
            .iter()
            .copied()
            .filter(|node| self.process(*node).is_some())
            .collect();
        let dead: Vec<usize> = all
            .iter()
            .copied()
            .filter(|node| self.process(*node).is_none())
            .collect();
        match below(16) {
            0..=2 => {
                let victim = if below(2) == 0 {
                    self.leader()
                } else {
                    pick(&alive)
                };
                if let Some(node) = victim {
                    let power = below(2) == 0;
                    self.tell(format!("kill node {node}, power lost: {power}"));
                    self.kill(node, power);
                }
            }
            3 => {
                self.tell("kill everybody");
                for node in alive {
                    self.kill(node, below(2) == 0);
                }
            }
            4..=6 => {
                if let Some(node) = pick(&dead) {
                    self.tell(format!("start node {node}"));
                    self.start(node);
                }
            }
            7 | 8 => {
                let one = self
                    .leader()
                    .filter(|_| below(2) == 0)
                    .or_else(|| pick(&all));
                if let Some(one) = one {
                    let (there, back) = match below(3) {
                        0 => (true, true),
                        1 => (true, false),
                        _ => (false, true),
                    };
                    self.tell(format!("cut node {one}: out {there}, in {back}"));
                    for other in all.iter().filter(|other| **other != one) {
                        if there {
                            self.network.cut(one, *other);
                        }
                        if back {
                            self.network.cut(*other, one);
                        }
                    }
                }
            }
            9 => {
                if let (Some(one), Some(other)) = (pick(&all), pick(&all)) {
                    self.tell(format!("cut {one} from {other}, one way"));
                    self.network.cut(one, other);
                }
            }
            10 => {
                self.tell("heal the network");
                self.network.heal();
            }
            11 => {
                let weather = Weather {
                    delay: Duration::from_millis(1 + below(300)),
                    lost: below(200),
                    repeated: below(200),
                };
                self.tell(format!("{weather:?}"));
                self.network.set_weather(weather);
            }
            12 | 13 => self.reconfigure().await,
            14 => self.lose_disk(),
            _ => {
                if let Some(node) = pick(&alive) {
                    self.tell(format!("disk of node {node} is full"));
                    self.disks[node].set_full(true);
                }
            }
        }
    }

    /// A consenter comes back with an empty disk. Raft survives one that is lost at a time, and
    /// only where others have what it had.
    fn lose_disk(self: &Arc<Self>) {
        let (listed, _) = self.consenters();
        let Some(leader) = self.leader().and_then(|node| self.orderer(node)) else {
            return;
        };
        let voters = leader.voter_nodes(&self.channel);
        // A consenter that has never heard of the channel's leader could found it once more.
        let all_vote = listed.iter().all(|node| {
            self.orderer(*node).is_some_and(|orderer| {
                let own = orderer.raft_node(&self.channel);
                let status = orderer.raft_status(&self.channel);
                own.is_some_and(|own| voters.contains(&own))
                    && status.is_some_and(|status| status.last > Some(0))
            })
        });
        if voters.len() < 3
            || listed.len() != voters.len()
            || !all_vote
            || self.wiped.swap(true, Ordering::Relaxed)
        {
            return;
        }
        if let Some(node) = pick(&listed) {
            self.tell(format!("node {node} loses its disk"));
            self.kill(node, true);
            self.disks[node].wipe();
            self.start(node);
        }
    }

    /// An administrator adds or removes a consenter.
    async fn reconfigure(self: Arc<Self>) {
        let (mut listed, config) = self.consenters();
        let Some(config) = config else { return };
        let spare: Vec<usize> = (0..self.disks.len())
            .filter(|node| !listed.contains(node))
            .collect();
        let change = if below(2) == 0 && !spare.is_empty() {
            let added = pick(&spare);
            listed.extend(added);
            format!("add node {added:?}")
        } else if listed.len() > 1 {
            let at = usize::try_from(below(listed.len() as u64)).unwrap_or_default();
            format!("remove node {}", listed.remove(at))
        } else {
            return;
        };
        let update = (self.consortium.update)(&config, &listed);
        let alive: Vec<usize> = (0..self.disks.len())
            .filter(|node| self.orderer(*node).is_some())
            .collect();
        let Some(through) = pick(&alive) else { return };
        let world = self.clone();
        self.tell(format!("{change} through node {through}"));
        // The administrator waits; other things happen meanwhile.
        rt::spawn(async move {
            let answer = world.submit(through, Sent::Update(update)).await;
            let told = match answer {
                Ok(()) => {
                    *world.reconfigured.lock() += 1;
                    "done".to_owned()
                }
                Err(refusal) => refusal.to_string(),
            };
            world.tell(format!("{change}: {told}"));
        });
    }

    /// A client that sends one message after the other to whichever node it finds.
    async fn send_messages(self: Arc<Self>, client: usize) {
        for number in 0_u64.. {
            if self.calm.load(Ordering::Relaxed) {
                return;
            }
            rt::sleep(Duration::from_millis(below(120))).await;
            let node = usize::try_from(below(self.disks.len() as u64)).unwrap_or_default();
            if self.orderer(node).is_none() {
                continue;
            }
            let text = format!("message {number} of client {client}");
            self.answers.lock().insert(text.clone(), false);
            let answer = self.submit(node, Sent::Message(text.clone())).await;
            if answer.is_ok() {
                self.answers.lock().insert(text, true);
            }
        }
    }

    /// Hands a message to a node, in its process, as Broadcast does after the filters.
    async fn submit(&self, node: usize, sent: Sent) -> Result<(), Refusal> {
        let gone = || Refusal::unavailable("the node is gone");
        let (process, orderer) = {
            let places = self.places.lock();
            let place = &places[node];
            (
                place.process.ok_or_else(gone)?,
                place.orderer.clone().ok_or_else(gone)?,
            )
        };
        let (answer, answered) = oneshot::channel();
        let channel = self.channel.clone();
        the_executor().spawn(process, async move {
            // The client may have given up.
            let _ = answer.send(hand_over(&orderer, &channel, sent).await);
        });
        match rt::timeout(PATIENCE, answered).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err(gone()),
            None => Err(Refusal::unavailable("no answer in time")),
        }
    }

    /// Everything that was broken is mended.
    fn recover(self: &Arc<Self>) {
        self.tell("everything is mended");
        self.network.heal();
        self.network.set_weather(Weather::FAIR);
        for disk in &self.disks {
            disk.set_full(false);
        }
        self.restart_failed();
    }

    /// Whoever watches over the nodes starts those again that have stopped.
    fn restart_failed(self: &Arc<Self>) {
        for node in 0..self.disks.len() {
            let place = self.places.lock()[node].clone();
            let has_failed = match &place.orderer {
                Some(orderer) => orderer.failure(&self.channel).is_some(),
                // It may be starting.
                None => place.process.is_none(),
            };
            if has_failed {
                self.kill(node, false);
                self.start(node);
            }
        }
    }

    /// Waits until a message gets through and all nodes stand as the configuration says, with equal
    /// chains.
    async fn settle(self: Arc<Self>) {
        for number in 0_u64.. {
            rt::sleep(Duration::from_millis(500)).await;
            if number % 20 == 19 {
                self.restart_failed();
            }
            let (listed, _) = self.consenters();
            let Some(node) = pick(&listed) else { continue };
            let calm = self.calm.load(Ordering::Relaxed);
            let text = format!("settling {number}, {calm}");
            self.answers.lock().insert(text.clone(), false);
            if self
                .submit(node, Sent::Message(text.clone()))
                .await
                .is_err()
            {
                continue;
            }
            self.answers.lock().insert(text, true);
            // Clients go on until it is calm: then the chains can be compared.
            rt::sleep(Duration::from_secs(2)).await;
            if self.is_in_order(calm) {
                return;
            }
        }
    }

    fn is_in_order(&self, calm: bool) -> bool {
        let (listed, _) = self.consenters();
        let longest = self.disks.iter().map(|disk| disk.blocks().len()).max();
        (0..self.disks.len()).all(|node| {
            let Some(orderer) = self.orderer(node) else {
                return false;
            };
            let takes_part = orderer.raft_id(&self.channel).is_some();
            let votes = orderer
                .raft_node(&self.channel)
                .is_some_and(|own| orderer.voter_nodes(&self.channel).contains(&own));
            let is_listed = listed.contains(&node);
            let equal = Some(self.disks[node].blocks().len()) == longest;
            takes_part == is_listed
                && votes == is_listed
                && (!is_listed || orderer.voter_nodes(&self.channel).len() == listed.len())
                && (!calm || equal)
        })
    }

    /// For a story that did not end well.
    fn standing(&self) -> String {
        let (listed, _) = self.consenters();
        let nodes = (0..self.disks.len()).map(|node| {
            let orderer = self.orderer(node);
            let of = |orderer: &Arc<Orderer>| {
                let channel = &self.channel;
                let info = orderer.channel_info(channel);
                format!(
                    "{:?} {:?} node {:?} voters {:?} failure {:?}",
                    info.map(|info| (info.consensus_relation, info.status, info.height)),
                    orderer.raft_status(channel),
                    orderer.raft_node(channel),
                    orderer.voter_nodes(channel),
                    orderer.failure(channel),
                )
            };
            format!("\n  {node}: {}", orderer.as_ref().map_or("down".into(), of))
        });
        format!("listed {listed:?}{}", nodes.collect::<String>())
    }
}

/// What clients and administrators send.
enum Sent {
    Message(String),
    Update(common::Envelope),
}

async fn hand_over(orderer: &Orderer, channel: &str, sent: Sent) -> Result<(), Refusal> {
    let service = orderer.replication();
    let chain = service
        .channels
        .get(channel)
        .ok_or_else(|| Refusal::bad_request("channel does not exist"))?;
    chain.check_ready()?;
    let configuration = chain.state.configuration();
    let (envelope, config) = match sent {
        Sent::Message(text) => (message(channel, text), false),
        Sent::Update(update) => {
            let parsed = envelope::parse(&update)
                .map_err(|error| Refusal::bad_request(error.to_string()))?;
            let active = configuration.consenter_ids();
            let made = chain
                .checker
                .make_config(&configuration, &active, &update, &parsed)?;
            (made, true)
        }
    };
    let size = envelope.payload.len() + envelope.signature.len();
    let envelope: Bytes = envelope.encode_to_vec().into();
    let submission = NewSubmission {
        size,
        permit: service.budget.take(envelope.len()).await?,
        envelope,
        config,
        sequence: configuration.config.sequence(),
        forwarded: false,
    };
    let answered = chain.submit(submission).await;
    answered
        .await
        .unwrap_or_else(|_| Err(Refusal::unavailable("chain is stopped")))
}

/// A message whose signature nobody checks here.
fn message(channel: &str, text: String) -> common::Envelope {
    let header = common::ChannelHeader {
        r#type: HeaderType::EndorserTransaction as i32,
        channel_id: channel.to_owned(),
        ..Default::default()
    };
    let signature = common::SignatureHeader {
        creator: Bytes::from_static(b"client"),
        nonce: Bytes::from_static(b"nonce"),
    };
    let payload = common::Payload {
        header: Some(common::Header {
            channel_header: header.encode_to_vec().into(),
            signature_header: signature.encode_to_vec().into(),
        }),
        data: text.into(),
    };
    common::Envelope {
        payload: payload.encode_to_vec().into(),
        signature: Bytes::from_static(b"signature"),
    }
}
