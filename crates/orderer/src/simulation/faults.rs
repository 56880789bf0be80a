//! What befalls a world by chance.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use consilium_proto::common::Status;

use super::clients::Sent;
use super::network::Weather;
use super::world::{World, below, pick};
use crate::rt;

impl World {
    /// Everything from the first start to the last check. Gives what is wrong.
    pub(super) async fn live(self: Arc<Self>) -> Vec<String> {
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
        self.end(async move {
            for client in clients {
                let _ = client.await;
            }
        })
        .await
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
    /// only where others have what it had, and not while a removal is under way: of the group that
    /// is left then the lost one may be needed.
    fn lose_disk(self: &Arc<Self>) {
        let (listed, _) = self.consenters();
        let Some(leader) = self.leader().and_then(|node| self.orderer(node)) else {
            return;
        };
        let voters = leader.voter_nodes(&self.channel);
        if voters.len() < 3
            || listed.len() != voters.len()
            || !self.all_vote(&listed, &voters)
            || self.undecided.load(Ordering::Relaxed) > 0
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

    /// Whether every one of the listed consenters has a vote with the disk that it has now, and has
    /// heard of the channel's leader: one that has not could found the channel once more.
    fn all_vote(&self, listed: &[usize], voters: &[u64]) -> bool {
        listed.iter().all(|node| {
            self.orderer(*node).is_some_and(|orderer| {
                let own = orderer.raft_node(&self.channel);
                let status = orderer.raft_status(&self.channel);
                own.is_some_and(|own| voters.contains(&own))
                    && status.is_some_and(|status| status.last > Some(0))
            })
        })
    }

    /// Whether a consenter lost its disk and has no vote again yet. Nobody removes another one then:
    /// of the smaller group the lost one may be needed.
    fn is_short_of_one(&self, listed: &[usize]) -> bool {
        let leader = self.leader().and_then(|node| self.orderer(node));
        self.wiped.load(Ordering::Relaxed)
            && leader
                .is_none_or(|leader| !self.all_vote(listed, &leader.voter_nodes(&self.channel)))
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
        } else if listed.len() > 1 && !self.is_short_of_one(&listed) {
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
        self.undecided.fetch_add(1, Ordering::Relaxed);
        // The administrator waits; other things happen meanwhile.
        rt::spawn(async move {
            let answer = world.submit(through, Sent::Update(update)).await;
            let is_decided = match &answer {
                Ok(()) => true,
                // It may come into the chain all the same.
                Err(refusal) => refusal.status != Status::ServiceUnavailable,
            };
            if is_decided {
                world.undecided.fetch_sub(1, Ordering::Relaxed);
            }
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
}
