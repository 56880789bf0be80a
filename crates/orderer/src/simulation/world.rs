//! One run: the nodes of a world, and their coming and going.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use bytes::Bytes;
use consilium_protocol::config::ChannelConfig;
use consilium_transport::ClientTls;
use parking_lot::Mutex;

use super::consortium::{Consortium, Outcome};
use super::disk::{Disk, Witness};
use super::executor::{self, Clock, Executor, Process};
use super::network::{Link, Network};
use super::verdict::{Answers, judge};
use crate::deliberate::Bug;
use crate::orderer::{Orderer, OrdererOptions};
use crate::rt;

/// Longest run, in simulated time.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs one world. `bug` is there during the run.
pub fn run(seed: u64, consortium: &Consortium, bug: Option<Bug>) -> Outcome {
    Bug::set(bug);
    let outcome = run_world(seed, consortium, World::live);
    Bug::set(None);
    outcome
}

/// Runs one world; `life` is all that happens in it, and gives what is wrong.
pub(super) fn run_world<F>(
    seed: u64,
    consortium: &Consortium,
    life: impl FnOnce(Arc<World>) -> F,
) -> Outcome
where
    F: Future<Output = Vec<String>> + Send + 'static,
{
    let (executor, entered) = Executor::enter(seed);
    let world = Arc::new(World::new(consortium.clone()));
    let ended = executor.run_until(LIMIT, life(world.clone()));
    let mut wrong = match ended {
        Some(wrong) => wrong,
        None => vec!["the run did not end: everybody waits".to_owned()],
    };
    wrong.extend(world.witness.violations());
    for (node, disk) in world.disks.iter().enumerate() {
        let gaps = disk.log_gaps().into_iter();
        wrong.extend(gaps.map(|(one, next)| format!("node {node}'s log: {next} follows {one}")));
    }
    let chains: Vec<Vec<Bytes>> = world.disks.iter().map(Disk::blocks).collect();
    let answers = world.answers.lock().clone();
    wrong.extend(judge(&chains, &answers));
    let outcome = Outcome {
        wrong,
        acknowledged: answers
            .values()
            .filter(|acknowledged| **acknowledged)
            .count(),
        height: chains.iter().map(Vec::len).max().unwrap_or_default(),
        reconfigured: *world.reconfigured.lock(),
        trace: executor.trace(),
        story: std::mem::take(&mut *world.story.lock()),
    };
    drop(entered);
    outcome
}

/// A node's present process, if it has one.
#[derive(Clone, Default)]
pub(super) struct Place {
    starts: u64,
    pub(super) process: Option<Process>,
    pub(super) orderer: Option<Arc<Orderer>>,
}

/// Nodes, what is between them, and what was seen of them.
pub(super) struct World {
    pub(super) consortium: Consortium,
    pub(super) channel: String,
    pub(super) network: Arc<Network>,
    pub(super) disks: Vec<Disk>,
    pub(super) places: Mutex<Vec<Place>>,
    pub(super) witness: Arc<Witness>,
    pub(super) answers: Mutex<Answers>,
    pub(super) reconfigured: Mutex<usize>,
    /// Changes of the consenters of which nobody knows yet whether they will be.
    pub(super) undecided: AtomicUsize,
    pub(super) wiped: AtomicBool,
    pub(super) calm: AtomicBool,
    pub(super) story: Mutex<String>,
}

/// A number below `end`.
pub(super) fn below(end: u64) -> u64 {
    rt::random() % end.max(1)
}

pub(super) fn pick<T: Copy>(from: &[T]) -> Option<T> {
    let at = usize::try_from(below(from.len() as u64)).ok()?;
    from.get(at).copied()
}

pub(super) fn the_executor() -> std::rc::Rc<Executor> {
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
            network: Network::new(known, witness.clone()),
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
            undecided: AtomicUsize::new(0),
            wiped: AtomicBool::new(false),
            calm: AtomicBool::new(false),
            story: Mutex::default(),
        }
    }

    pub(super) fn tell(&self, what: impl AsRef<str>) {
        let now = the_executor().now();
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.story.lock(),
            "{:>9.3} {}",
            now.as_secs_f64(),
            what.as_ref()
        );
    }

    pub(super) fn process(&self, node: usize) -> Option<Process> {
        self.places.lock()[node].process
    }

    pub(super) fn orderer(&self, node: usize) -> Option<Arc<Orderer>> {
        self.places.lock()[node].orderer.clone()
    }

    pub(super) fn start(self: &Arc<Self>, node: usize) {
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
    pub(super) fn kill(&self, node: usize, power: bool) {
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
    pub(super) fn consenters(&self) -> (Vec<usize>, Option<Arc<ChannelConfig>>) {
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
        let listed = config.as_deref().map(|config| self.listed(config));
        (listed.into_iter().flatten().collect(), config)
    }

    /// Nodes that a configuration lists.
    pub(super) fn listed(&self, config: &ChannelConfig) -> BTreeSet<usize> {
        let metadata = config.raft_metadata().unwrap_or_default();
        let consenters = metadata.consenters.iter();
        let addresses: BTreeSet<String> = consenters
            .map(|consenter| format!("{}:{}", consenter.host, consenter.port))
            .collect();
        let nodes = self.consortium.nodes.iter().enumerate();
        nodes
            .filter(|(_, keys)| addresses.contains(&keys.address))
            .map(|(node, _)| node)
            .collect()
    }

    pub(super) fn leader(&self) -> Option<usize> {
        (0..self.disks.len()).find(|node| {
            self.orderer(*node).is_some_and(|orderer| {
                let own = orderer.raft_id(&self.channel);
                own.is_some() && own == orderer.leader(&self.channel)
            })
        })
    }
}
