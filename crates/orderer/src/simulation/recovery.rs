//! Mending everything, and waiting until all is well.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::clients::Sent;
use super::network::Weather;
use super::world::{World, pick};
use crate::orderer::Orderer;
use crate::rt;

/// How long a whole cluster in a fair network may take until all is well.
const RECOVERY: Duration = Duration::from_secs(120);

impl World {
    /// Mends everything and waits until all is well; `quiet` ends when nobody sends any more. Gives
    /// what is wrong.
    pub(super) async fn end(self: Arc<Self>, quiet: impl Future<Output = ()>) -> Vec<String> {
        self.recover();
        let mut wrong = match rt::timeout(RECOVERY, self.clone().settle()).await {
            Some(()) => Vec::new(),
            None => vec![format!(
                "no recovery in a whole cluster: {}",
                self.standing()
            )],
        };
        self.calm.store(true, Ordering::Relaxed);
        quiet.await;
        // What the last messages made of the chains.
        if rt::timeout(RECOVERY, self.clone().settle()).await.is_none() {
            wrong.push(format!(
                "the chains do not become equal: {}",
                self.standing()
            ));
        }
        wrong
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
    pub(super) fn standing(&self) -> String {
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
