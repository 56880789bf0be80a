//! Which peer of an organization pulls a channel's blocks from the ordering service. Pure: what others
//! said and the time come in, what to say and whether to lead comes out.
//!
//! Peers with the same view of their organization agree on the lowest PKI-ID among those that propose
//! themselves; a leader repeats its declaration, and who has not heard one for
//! [`leader_alive`](ElectionTimes::leader_alive) looks for another. Parted networks have a leader
//! each; when they meet, the one with the higher PKI-ID steps back. fabric: gossip/election/election.go

use std::time::{Duration, Instant};

use bytes::Bytes;

/// `peer.gossip.election` of `core.yaml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionTimes {
    /// Longest wait for other peers at the start (`startupGracePeriod`).
    pub startup_grace: Duration,
    /// How often their number is looked at meanwhile (`membershipSampleInterval`).
    pub membership_sample: Duration,
    /// Silence after which there is no leader any more (`leaderAliveThreshold`).
    pub leader_alive: Duration,
    /// How long proposals of others are awaited (`leaderElectionDuration`).
    pub duration: Duration,
}

impl Default for ElectionTimes {
    fn default() -> Self {
        Self {
            startup_grace: Duration::from_secs(15),
            membership_sample: Duration::from_secs(1),
            leader_alive: Duration::from_secs(10),
            duration: Duration::from_secs(5),
        }
    }
}

/// What a peer says about leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It would lead.
    Proposal,
    /// It leads.
    Declaration,
}

/// What an [`Election`] wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Tell the organization's peers in the channel.
    Say(Said),
    /// Begin or cease to lead.
    Lead(bool),
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Until as many peers are known as a sample ago.
    Settling {
        sampled: usize,
        next: Instant,
        until: Instant,
    },
    Proposing {
        until: Instant,
    },
    Leading {
        declared: Instant,
        next: Instant,
    },
    Following {
        until: Instant,
    },
}

/// One peer's part in the election of a channel's leader.
#[derive(Debug)]
pub struct Election {
    id: Bytes,
    times: ElectionTimes,
    phase: Phase,
    /// Somebody declared since this peer last looked.
    leader_known: bool,
    /// Somebody with a lower id proposed since then.
    better_known: bool,
    yields_until: Option<Instant>,
}

impl Election {
    /// The election as a peer with this PKI-ID enters it, knowing `peers` others.
    pub fn new(id: Bytes, times: ElectionTimes, peers: usize, now: Instant) -> Self {
        Self {
            id,
            times,
            phase: Phase::Settling {
                sampled: peers,
                next: now + times.membership_sample,
                until: now + times.startup_grace,
            },
            leader_known: false,
            better_known: false,
            yields_until: None,
        }
    }

    /// This peer has another PKI-ID from now on.
    pub fn rename(&mut self, id: Bytes) {
        self.id = id;
    }

    /// Whether this peer leads.
    pub fn leads(&self) -> bool {
        matches!(self.phase, Phase::Leading { .. })
    }

    /// When [`tick`](Self::tick) has to be called at the latest.
    pub fn due(&self) -> Instant {
        match self.phase {
            Phase::Settling { next, until, .. } => next.min(until),
            Phase::Proposing { until } | Phase::Following { until } => until,
            Phase::Leading { next, .. } => next,
        }
    }

    /// Another living peer of the organization said something; its signature was checked.
    pub fn hear(&mut self, from: &[u8], said: Said, now: Instant) -> Vec<Act> {
        let is_better = from < &self.id[..];
        match said {
            _ if from == self.id => Vec::new(),
            Said::Proposal => {
                self.better_known |= is_better;
                Vec::new()
            }
            Said::Declaration => {
                self.leader_known = true;
                match self.phase {
                    Phase::Settling { .. } | Phase::Proposing { .. } => self.go_on(now),
                    Phase::Leading { .. } if is_better => self.follow(now),
                    // The other one has to hear who leads, but not as often as it likes.
                    Phase::Leading { declared, next } => {
                        let soonest = declared + self.times.leader_alive / 10;
                        let next = next.min(soonest.max(now));
                        self.phase = Phase::Leading { declared, next };
                        Vec::new()
                    }
                    Phase::Following { .. } => Vec::new(),
                }
            }
        }
    }

    /// Time has passed; this peer knows `peers` others of its organization.
    pub fn tick(&mut self, peers: usize, now: Instant) -> Vec<Act> {
        if now < self.due() {
            return Vec::new();
        }
        match self.phase {
            Phase::Settling { sampled, until, .. } if sampled != peers && now < until => {
                self.phase = Phase::Settling {
                    sampled: peers,
                    next: now + self.times.membership_sample,
                    until,
                };
                Vec::new()
            }
            Phase::Proposing { .. } if !self.leader_known => {
                if self.better_known || self.is_yielding(now) {
                    return self.follow(now);
                }
                tracing::info!("this peer leads its organization");
                let mut acts = vec![Act::Lead(true)];
                acts.extend(self.declare(now));
                acts
            }
            Phase::Leading { .. } => self.declare(now),
            _ => self.go_on(now),
        }
    }

    /// Gives the lead up, if this peer has it, so that another one gets it: the ordering service
    /// cannot be reached from here. This peer does not propose itself again for a while, unless
    /// another one has led.
    pub fn give_up(&mut self, now: Instant) -> Vec<Act> {
        if !self.leads() {
            return Vec::new();
        }
        self.yields_until = Some(now + self.times.leader_alive * 6);
        self.follow(now)
    }

    fn is_yielding(&self, now: Instant) -> bool {
        self.yields_until.is_some_and(|until| now < until)
    }

    /// Follows the leader if there is one, and tries to become it otherwise.
    fn go_on(&mut self, now: Instant) -> Vec<Act> {
        if self.leader_known {
            self.yields_until = None;
            return self.follow(now);
        }
        if self.is_yielding(now) {
            return self.follow(now);
        }
        self.phase = Phase::Proposing {
            until: now + self.times.duration,
        };
        vec![Act::Say(Said::Proposal)]
    }

    fn declare(&mut self, now: Instant) -> Vec<Act> {
        self.phase = Phase::Leading {
            declared: now,
            next: now + self.times.leader_alive / 2,
        };
        vec![Act::Say(Said::Declaration)]
    }

    fn follow(&mut self, now: Instant) -> Vec<Act> {
        let led = self.leads();
        self.leader_known = false;
        self.better_known = false;
        self.phase = Phase::Following {
            until: now + self.times.leader_alive,
        };
        if led {
            vec![Act::Lead(false)]
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times() -> ElectionTimes {
        ElectionTimes::default()
    }

    fn entered(id: &'static str, now: Instant) -> Election {
        Election::new(Bytes::from_static(id.as_bytes()), times(), 1, now)
    }

    /// A peer that has proposed itself, and when.
    fn proposing(id: &'static str) -> (Election, Instant) {
        let now = Instant::now() + SECOND;
        let mut election = entered(id, now - SECOND);
        assert_eq!(election.tick(1, now), [Act::Say(Said::Proposal)]);
        (election, now)
    }

    #[test]
    fn a_peer_waits_until_its_view_is_stable_but_not_for_ever() {
        let start = Instant::now();
        let mut election = entered("b", start);
        assert_eq!(election.tick(1, start), []);
        assert_eq!(election.tick(2, start + SECOND), [], "a new peer");
        assert_eq!(election.tick(2, start + SECOND), [], "not due");
        let proposed = [Act::Say(Said::Proposal)];
        assert_eq!(election.tick(2, start + 2 * SECOND), proposed);

        let mut election = entered("b", start);
        let mut acts = Vec::new();
        for second in 1..=15 {
            acts = election.tick(second + 1, start + SECOND * second as u32);
            assert_eq!(acts.is_empty(), second < 15, "{second}");
        }
        assert_eq!(acts, proposed, "the grace is over");
    }

    #[test]
    fn the_lowest_of_those_who_propose_leads() {
        for (heard, leads) in [
            (vec![], true),
            (vec![("c", Said::Proposal)], true),
            (vec![("a", Said::Proposal)], false),
            (vec![("b", Said::Proposal)], true),
            (vec![("c", Said::Declaration)], false),
        ] {
            let (mut election, now) = proposing("b");
            for (from, said) in &heard {
                election.hear(from.as_bytes(), *said, now);
            }
            let acts = election.tick(1, now + times().duration);
            assert_eq!(election.leads(), leads, "{heard:?}");
            assert_eq!(acts.contains(&Act::Lead(true)), leads, "{heard:?}");
        }
    }

    #[test]
    fn a_leader_repeats_itself_and_steps_back_for_a_lower_one() {
        let (mut election, now) = proposing("b");
        let now = now + times().duration;
        let declared = [Act::Lead(true), Act::Say(Said::Declaration)];
        assert_eq!(election.tick(1, now), declared);
        let later = now + times().leader_alive / 2;
        assert_eq!(election.tick(1, later - SECOND), []);
        assert_eq!(election.tick(1, later), declared[1..]);
        // One with a higher id hears who leads, soon but not at once again.
        assert_eq!(election.hear(b"c", Said::Declaration, later), []);
        assert_eq!(election.due(), later + SECOND);
        assert_eq!(election.tick(1, later + SECOND), declared[1..]);
        assert_eq!(
            election.hear(b"a", Said::Declaration, later + SECOND),
            [Act::Lead(false)]
        );
        assert!(!election.leads());
    }

    #[test]
    fn who_hears_no_leader_any_more_proposes_itself() {
        let (mut election, mut now) = proposing("b");
        assert_eq!(election.hear(b"a", Said::Declaration, now), []);
        for _ in 0..3 {
            election.hear(b"a", Said::Declaration, now + SECOND);
            now += times().leader_alive;
            assert_eq!(election.tick(1, now), [], "the leader lives");
        }
        now += times().leader_alive;
        assert_eq!(election.tick(0, now), [Act::Say(Said::Proposal)]);
        now += times().duration;
        assert!(election.tick(0, now).contains(&Act::Lead(true)));
    }

    #[test]
    fn a_leader_without_orderers_lets_others_lead_and_comes_back_if_nobody_does() {
        let (mut election, now) = proposing("a");
        assert_eq!(election.give_up(now), [], "it does not lead");
        let mut now = now + times().duration;
        election.tick(1, now);
        assert_eq!(election.give_up(now), [Act::Lead(false)]);
        let gave_up = now;
        let mut acts = Vec::new();
        while acts.is_empty() {
            now = election.due();
            acts = election.tick(1, now);
        }
        assert_eq!(acts, [Act::Say(Said::Proposal)]);
        assert_eq!(now, gave_up + times().leader_alive * 6);

        // Another one leads, and dies: this peer does not hold back any more.
        let (mut election, now) = proposing("a");
        let mut now = now + times().duration;
        election.tick(1, now);
        election.give_up(now);
        election.hear(b"b", Said::Declaration, now);
        for acts in [&[][..], &[Act::Say(Said::Proposal)]] {
            now = election.due();
            assert_eq!(election.tick(1, now), acts);
        }
    }

    /// Peers of one organization over a network that loses nothing; some are dead.
    struct World {
        now: Instant,
        peers: Vec<Election>,
        living: Vec<bool>,
    }

    impl World {
        fn run(&mut self, time: Duration) {
            let end = self.now + time;
            while self.now < end {
                self.now += Duration::from_millis(100);
                for at in 0..self.peers.len() {
                    if !self.living[at] {
                        continue;
                    }
                    let known = self.living.iter().filter(|lives| **lives).count() - 1;
                    let acts = self.peers[at].tick(known, self.now);
                    self.carry(at, &acts);
                }
            }
        }

        fn carry(&mut self, from: usize, acts: &[Act]) {
            for act in acts {
                let Act::Say(said) = act else { continue };
                let id = self.peers[from].id.clone();
                for to in 0..self.peers.len() {
                    if to != from && self.living[to] {
                        let acts = self.peers[to].hear(&id, *said, self.now);
                        self.carry(to, &acts);
                    }
                }
            }
        }

        fn leaders(&self) -> Vec<usize> {
            let all = 0..self.peers.len();
            all.filter(|&at| self.living[at] && self.peers[at].leads())
                .collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whoever is there at whatever moment, in the end exactly one leads; and again when it dies.
        #[test]
        fn exactly_one_leads_until_it_dies(starts in prop::collection::vec(0u64..20_000, 1..6)) {
            let start = Instant::now();
            let peers = starts.iter().enumerate().map(|(number, late)| {
                let id = Bytes::from(vec![number as u8]);
                Election::new(id, times(), 0, start + Duration::from_millis(*late))
            });
            let peers: Vec<_> = peers.collect();
            let living = vec![true; peers.len()];
            let mut world = World { now: start, peers, living };
            for _ in 0..starts.len() {
                world.run(Duration::from_secs(90));
                let leaders = world.leaders();
                prop_assert_eq!(leaders.len(), 1, "{:?}", leaders);
                world.run(Duration::from_secs(30));
                prop_assert_eq!(&leaders, &world.leaders(), "the leader stays");
                world.living[leaders[0]] = false;
            }
        }
    }
}
