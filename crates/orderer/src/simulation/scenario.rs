//! Scenarios with a script, for situations that chance rarely makes. Nothing happens to the world
//! but what its script does; then everything is mended, and what must hold after any run is checked.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::clients::{Sent, message};
use super::consortium::{Consortium, Outcome};
use super::network::Weather;
use super::world::{World, run_world, the_executor};
use crate::member::Member;
use crate::orderer::RaftStatus;
use crate::raft::Proposal;
use crate::rt;

/// How often a script looks whether something has come about.
const LOOK: Duration = Duration::from_millis(1);

/// Runs a world by a script; what the script gives as an error is wrong like anything else.
pub fn play<F>(seed: u64, consortium: &Consortium, script: impl FnOnce(Scenario) -> F) -> Outcome
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    run_world(seed, consortium, |world| {
        let script = script(Scenario(world.clone()));
        async move {
            let ended = script.await;
            let mut wrong = world.end(std::future::ready(())).await;
            wrong.extend(ended.err());
            wrong
        }
    })
}

/// A script's hold on its world. Nodes go by their numbers in the [`Consortium`].
#[derive(Clone)]
pub struct Scenario(Arc<World>);

impl Scenario {
    /// Simulated time since the beginning.
    pub fn now(&self) -> Duration {
        the_executor().now()
    }

    /// Lets time pass.
    pub async fn sleep(&self, duration: Duration) {
        rt::sleep(duration).await;
    }

    /// Does something beside the script. It resolves to what came of it.
    pub fn spawn<F>(&self, work: F) -> rt::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        rt::spawn(work)
    }

    /// Adds a line to the story.
    pub fn tell(&self, what: impl AsRef<str>) {
        self.0.tell(what);
    }

    /// Waits until something holds.
    ///
    /// # Errors
    /// It does not within `limit`.
    pub async fn wait(
        &self,
        limit: Duration,
        what: &str,
        holds: impl Fn() -> bool,
    ) -> Result<(), String> {
        let end = self.now() + limit;
        while !holds() {
            if self.now() >= end {
                let standing = self.0.standing();
                return Err(format!("not within {limit:?}: {what}; {standing}"));
            }
            rt::sleep(LOOK).await;
        }
        self.tell(what);
        Ok(())
    }

    /// Starts nodes, which join the channel within seconds.
    pub fn start(&self, nodes: impl IntoIterator<Item = usize>) {
        for node in nodes {
            self.0.start(node);
        }
    }

    /// Ends a node's process; with `power` its machine loses power too.
    pub fn kill(&self, node: usize, power: bool) {
        self.tell(format!("kill node {node}, power lost: {power}"));
        self.0.kill(node, power);
    }

    /// Cuts what goes from some nodes to others.
    pub fn cut(&self, from: &[usize], to: &[usize]) {
        self.tell(format!("cut {from:?} -> {to:?}"));
        for (from, to) in pairs(from, to) {
            self.0.network.cut(from, to);
        }
    }

    /// Cuts some nodes off from others.
    pub fn part(&self, some: &[usize], others: &[usize]) {
        self.cut(some, others);
        self.cut(others, some);
    }

    /// Loses log entries on their way from some nodes to others, and nothing else.
    pub fn starve(&self, from: &[usize], to: &[usize]) {
        self.tell(format!("no entries {from:?} -> {to:?}"));
        for (from, to) in pairs(from, to) {
            self.0.network.starve(from, to);
        }
    }

    /// Ends all cuts and losses.
    pub fn heal(&self) {
        self.tell("heal the network");
        self.0.network.heal();
    }

    /// Makes messages take up to so long.
    pub fn set_delay(&self, delay: Duration) {
        let weather = Weather::FAIR;
        self.0.network.set_weather(Weather { delay, ..weather });
    }

    /// The next read of a range of a node's log fails.
    pub fn fail_next_read(&self, node: usize) {
        self.0.disks[node].fail_next_scan();
    }

    /// How many reads of a node's log were made to fail.
    pub fn failed_reads(&self, node: usize) -> u64 {
        self.0.disks[node].failed_scans()
    }

    /// A client sends a message to a node, and waits.
    ///
    /// # Errors
    /// It is refused, or not answered.
    pub async fn send(&self, node: usize, text: &str) -> Result<(), String> {
        self.0.answers.lock().insert(text.to_owned(), false);
        let sent = Sent::Message(text.to_owned());
        let answer = self.0.submit(node, sent).await;
        answer.map_err(|refusal| refusal.to_string())?;
        self.0.answers.lock().insert(text.to_owned(), true);
        Ok(())
    }

    /// An administrator makes these the consenters, through a node, and waits. Nothing is to be
    /// done if they are.
    ///
    /// # Errors
    /// The update is refused, or not answered.
    pub async fn update(&self, through: usize, consenters: &[usize]) -> Result<(), String> {
        let (listed, config) = self.0.consenters();
        let config = config.ok_or("nobody has the channel")?;
        if listed
            .into_iter()
            .eq(consenters.iter().copied().collect::<BTreeSet<_>>())
        {
            return Ok(());
        }
        let update = (self.0.consortium.update)(&config, consenters);
        let answer = self.0.submit(through, Sent::Update(update)).await;
        self.tell(format!(
            "consenters {consenters:?} by {through}: {answer:?}"
        ));
        answer.map_err(|refusal| refusal.to_string())?;
        *self.0.reconfigured.lock() += 1;
        Ok(())
    }

    /// Gives a leader's Raft so many batches of one message each, at once and past the limit of
    /// batches in flight. Nobody waits for them; those that are applied count as acknowledged.
    pub fn propose(&self, leader: usize, name: &str, batches: u64) {
        self.tell(format!("{batches} batches for {leader}: {name}"));
        let place = self.0.places.lock()[leader].clone();
        let (Some(process), Some(member)) = (place.process, self.member(leader)) else {
            return;
        };
        for number in 0..batches {
            let text = format!("{name} {number}");
            self.0.answers.lock().insert(text.clone(), false);
            let envelope = message(&self.0.channel, text.clone()).encode_to_vec();
            let batch = Proposal::Batch(Arc::new(vec![Bytes::from(envelope)]));
            let (world, member) = (self.0.clone(), member.clone());
            the_executor().spawn(process, async move {
                if member.raft.client_write(batch).await.is_ok() {
                    world.answers.lock().insert(text, true);
                }
            });
        }
    }

    fn member(&self, node: usize) -> Option<Arc<Member>> {
        let service = self.0.orderer(node)?.replication();
        service.channels.get(&self.0.channel)?.member()
    }

    /// Which of these nodes believes that it leads.
    pub fn leader(&self, among: &[usize]) -> Option<usize> {
        let leads = |node: &&usize| {
            let status = self.raft(**node);
            status.is_some_and(|status| status.leader == Some(status.id))
        };
        among.iter().find(leads).copied()
    }

    /// How a node's Raft stands.
    pub fn raft(&self, node: usize) -> Option<RaftStatus> {
        self.0.orderer(node)?.raft_status(&self.0.channel)
    }

    /// The voters of the last membership in a node's log, committed or not; two sets while it
    /// changes. Nodes that do not run are left out.
    pub fn voters(&self, node: usize) -> Vec<BTreeSet<usize>> {
        let member = self.member(node);
        let sets = member.map_or_else(Vec::new, |member| member.voters());
        sets.iter().map(|set| self.nodes(set)).collect()
    }

    /// The voters of the last membership that a node has applied, if it is not changing.
    pub fn applied_voters(&self, node: usize) -> BTreeSet<usize> {
        let member = self.member(node);
        member.map_or_else(BTreeSet::new, |member| {
            self.nodes(&member.committed_voters())
        })
    }

    fn nodes(&self, ids: &BTreeSet<u64>) -> BTreeSet<usize> {
        (0..self.0.disks.len())
            .filter(|node| {
                let member = self.member(*node);
                member.is_some_and(|member| ids.contains(&member.node))
            })
            .collect()
    }

    /// Index of the last membership in a node's log.
    pub fn membership_index(&self, node: usize) -> Option<u64> {
        let metrics = self.member(node)?.raft.metrics();
        let metrics = openraft::async_runtime::watch::WatchReceiver::borrow_watched(&metrics);
        Some(metrics.membership_config.log_id().as_ref()?.index())
    }

    /// Last index and index of the membership of the snapshot that is on a node's disk.
    pub fn snapshot(&self, node: usize) -> Option<(u64, u64)> {
        let stored = self.0.disks[node].snapshot(&self.0.channel)?;
        let membership = stored.membership?.id?;
        Some((stored.id?.index, membership.index))
    }
}

fn pairs<'a>(from: &'a [usize], to: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    let all = from
        .iter()
        .flat_map(|from| to.iter().map(|to| (*from, *to)));
    all.filter(|(from, to)| from != to)
}
