//! When to cut the waiting messages into a batch, and how many: a pure state machine.
//!
//! A batch becomes one block. Fabric's limits hold for every batch (ordering.md: a message over
//! `preferred_max_bytes` goes alone, a batch ends before it would pass that size, and at
//! `max_message_count`, a config message goes alone). Where Fabric then waits for a batch to fill
//! or for the batch timeout, this cutter cuts as soon as no batch is being replicated: a lone
//! message leaves at once, and under load the next batch grows while the last one is on its way.
//! Full batches may overtake that rule, up to a small number in flight.
//!
//! fabric: orderer/common/blockcutter/blockcutter.go

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Limits of the channel configuration in force, and of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most messages in a batch; at least 1.
    pub max_message_count: usize,
    /// Bytes that a batch of several messages does not exceed.
    pub preferred_max_bytes: usize,
    /// Longest wait of a message while fewer than `max_in_flight` batches are in flight.
    pub batch_timeout: Duration,
    /// Most batches that are proposed and not finished; at least 1.
    pub max_in_flight: usize,
}

/// How a message is to be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Together with others.
    Normal,
    /// Alone, and nothing else until it is finished.
    Config,
}

/// A message that waits to be ordered.
#[derive(Debug)]
pub struct Waiting<T> {
    /// The message.
    pub message: T,
    /// How it is to be ordered.
    pub kind: Kind,
    /// Length of payload plus signature, the size that the limits are about.
    pub size: usize,
    /// When it arrived.
    pub arrived: Instant,
}

/// Messages cut together.
#[derive(Debug)]
pub struct Batch<T> {
    /// At least one message, in order of arrival.
    pub messages: Vec<T>,
    /// The one message is a config message.
    pub config: bool,
    /// When the oldest of them arrived.
    pub oldest: Instant,
}

/// The waiting messages and what is in flight.
#[derive(Debug)]
pub struct Cutter<T> {
    waiting: VecDeque<Waiting<T>>,
    waiting_bytes: usize,
    waiting_config: usize,
    in_flight: usize,
    config_in_flight: bool,
}

impl<T> Default for Cutter<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waiting_config: 0,
            in_flight: 0,
            config_in_flight: false,
        }
    }
}

impl<T> Cutter<T> {
    /// Takes a message into the queue.
    pub fn add(&mut self, waiting: Waiting<T>) {
        self.waiting_bytes = self.waiting_bytes.saturating_add(waiting.size);
        self.waiting_config += usize::from(waiting.kind == Kind::Config);
        self.waiting.push_back(waiting);
    }

    /// Number of messages that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Number of batches in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The next batch to propose now, if any; it counts as in flight from here on.
    pub fn cut(&mut self, limits: &Limits, now: Instant) -> Option<Batch<T>> {
        if self.config_in_flight || self.in_flight >= limits.max_in_flight.max(1) {
            return None;
        }
        let oldest = self.waiting.front()?.arrived;
        let idle = self.in_flight == 0;
        let due = now.saturating_duration_since(oldest) >= limits.batch_timeout;
        let (count, complete) = self.front_batch(limits);
        if !(complete || idle || due) {
            return None;
        }
        let cut: Vec<Waiting<T>> = self.waiting.drain(..count).collect();
        for message in &cut {
            self.waiting_bytes -= message.size;
        }
        let config = cut.iter().any(|message| message.kind == Kind::Config);
        self.waiting_config -= usize::from(config);
        self.in_flight += 1;
        self.config_in_flight = config;
        let messages = cut.into_iter().map(|waiting| waiting.message).collect();
        Some(Batch {
            messages,
            config,
            oldest,
        })
    }

    /// When [`cut`](Self::cut) should be asked again though nothing else happens; `None` while
    /// only a finished batch or a new message can change its answer.
    pub fn wake_at(&self, limits: &Limits) -> Option<Instant> {
        if self.config_in_flight || self.in_flight >= limits.max_in_flight.max(1) {
            return None;
        }
        self.waiting
            .front()?
            .arrived
            .checked_add(limits.batch_timeout)
    }

    /// A batch was applied or given up.
    pub fn finished(&mut self, config: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if config {
            self.config_in_flight = false;
        }
    }

    /// Takes everything that waits, for instance to hand it to another leader.
    pub fn drain(&mut self) -> Vec<Waiting<T>> {
        self.waiting_bytes = 0;
        self.waiting_config = 0;
        self.waiting.drain(..).collect()
    }

    /// How many messages from the front make a batch, and whether it could not grow any more.
    /// At least one message waits.
    fn front_batch(&self, limits: &Limits) -> (usize, bool) {
        let all_fit = self.waiting_config == 0
            && self.waiting.len() < limits.max_message_count
            && self.waiting_bytes <= limits.preferred_max_bytes;
        if all_fit {
            return (self.waiting.len(), false);
        }
        let mut bytes = 0_usize;
        for (count, message) in self.waiting.iter().enumerate() {
            let alone = message.kind == Kind::Config || message.size > limits.preferred_max_bytes;
            if alone {
                return (count.max(1), true);
            }
            bytes = bytes.saturating_add(message.size);
            if bytes > limits.preferred_max_bytes {
                return (count, true);
            }
            if count + 1 >= limits.max_message_count {
                return (count + 1, true);
            }
        }
        (self.waiting.len(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        max_message_count: 3,
        preferred_max_bytes: 100,
        batch_timeout: Duration::from_millis(500),
        max_in_flight: 2,
    };

    struct Bench {
        cutter: Cutter<u32>,
        start: Instant,
        next: u32,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                cutter: Cutter::default(),
                start: Instant::now(),
                next: 0,
            }
        }

        fn add(&mut self, kind: Kind, size: usize, at_ms: u64) {
            let arrived = self.start + Duration::from_millis(at_ms);
            self.cutter.add(Waiting {
                message: self.next,
                kind,
                size,
                arrived,
            });
            self.next += 1;
        }

        fn cut(&mut self, at_ms: u64) -> Option<(Vec<u32>, bool)> {
            let now = self.start + Duration::from_millis(at_ms);
            self.cutter
                .cut(&LIMITS, now)
                .map(|batch| (batch.messages, batch.config))
        }
    }

    #[test]
    fn a_lone_message_is_cut_at_once() {
        let mut bench = Bench::new();
        bench.add(Kind::Normal, 10, 0);
        assert_eq!(bench.cut(0), Some((vec![0], false)));
        assert_eq!(bench.cut(0), None);
    }

    #[test]
    fn an_incomplete_batch_waits_while_another_is_in_flight() {
        let mut bench = Bench::new();
        bench.add(Kind::Normal, 10, 0);
        assert_eq!(bench.cut(0), Some((vec![0], false)));
        bench.add(Kind::Normal, 10, 1);
        bench.add(Kind::Normal, 10, 2);
        assert_eq!(bench.cut(2), None);
        bench.cutter.finished(false);
        assert_eq!(bench.cut(3), Some((vec![1, 2], false)));
    }

    #[test]
    fn the_batch_timeout_bounds_the_wait_behind_a_slow_batch() {
        let mut bench = Bench::new();
        bench.add(Kind::Normal, 10, 0);
        bench.cut(0);
        bench.add(Kind::Normal, 10, 100);
        let due = bench.start + Duration::from_millis(600);
        assert_eq!(bench.cutter.wake_at(&LIMITS), Some(due));
        assert_eq!(bench.cut(599), None);
        assert_eq!(bench.cut(600), Some((vec![1], false)));
        bench.add(Kind::Normal, 10, 700);
        assert_eq!(bench.cutter.wake_at(&LIMITS), None, "the pipeline is full");
        assert_eq!(bench.cut(9_999), None);
    }

    /// Name, what waits while the pipeline is free, the batches that it becomes.
    type Case = (
        &'static str,
        &'static [(Kind, usize)],
        &'static [&'static [u32]],
    );

    #[test]
    fn full_batches_follow_the_size_rules() {
        const NORMAL: Kind = Kind::Normal;
        const CONFIG: Kind = Kind::Config;
        let cases: &[Case] = &[
            ("count", &[(NORMAL, 1); 7], &[&[0, 1, 2], &[3, 4, 5], &[6]]),
            (
                "exactly preferred bytes",
                &[(NORMAL, 60), (NORMAL, 40)],
                &[&[0, 1]],
            ),
            (
                "one byte more",
                &[(NORMAL, 60), (NORMAL, 41)],
                &[&[0], &[1]],
            ),
            (
                "oversize alone",
                &[(NORMAL, 1), (NORMAL, 101), (NORMAL, 1)],
                &[&[0], &[1], &[2]],
            ),
            (
                "oversize first",
                &[(NORMAL, 101), (NORMAL, 1)],
                &[&[0], &[1]],
            ),
            (
                "config alone",
                &[(NORMAL, 1), (CONFIG, 1), (NORMAL, 1)],
                &[&[0], &[1], &[2]],
            ),
            (
                "config oversize",
                &[(CONFIG, 500), (CONFIG, 500)],
                &[&[0], &[1]],
            ),
        ];
        for (name, messages, expected) in cases {
            let mut bench = Bench::new();
            for (kind, size) in *messages {
                bench.add(*kind, *size, 0);
            }
            let mut batches = Vec::new();
            while let Some((batch, config)) = bench.cut(0) {
                batches.push(batch);
                bench.cutter.finished(config);
            }
            assert_eq!(batches, *expected, "{name}");
        }
    }

    #[test]
    fn nothing_follows_a_config_message_until_it_is_finished() {
        let mut bench = Bench::new();
        bench.add(Kind::Config, 10, 0);
        bench.add(Kind::Normal, 101, 0);
        assert_eq!(bench.cut(0), Some((vec![0], true)));
        assert_eq!(bench.cut(10_000), None);
        bench.cutter.finished(true);
        assert_eq!(bench.cut(10_000), Some((vec![1], false)));
    }

    #[test]
    fn a_drained_cutter_starts_over() {
        let mut bench = Bench::new();
        bench.add(Kind::Config, 10, 0);
        bench.add(Kind::Normal, 50, 0);
        let drained = bench.cutter.drain();
        assert_eq!(
            drained.iter().map(|w| w.message).collect::<Vec<_>>(),
            [0, 1]
        );
        bench.add(Kind::Normal, 100, 0);
        assert_eq!(bench.cut(0), Some((vec![2], false)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add { config: bool, size: usize },
        Finish,
        Sleep(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let add = (any::<bool>(), any::<bool>(), 0_usize..150).prop_map(|(a, b, size)| Step::Add {
            config: a && b,
            size,
        });
        let step =
            prop_oneof![4 => add, 2 => Just(Step::Finish), 1 => (0_u64..700).prop_map(Step::Sleep)];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn every_message_is_cut_once_in_order_and_within_the_limits(steps in steps()) {
            let mut cutter = Cutter::default();
            let mut now = Instant::now();
            let mut added = Vec::new();
            let mut taken = Vec::new();
            let mut flying: VecDeque<bool> = VecDeque::new();
            let drain_at_the_end = std::iter::repeat_n(Step::Finish, 1_000);
            for step in steps.into_iter().chain(drain_at_the_end) {
                match step {
                    Step::Add { config, size } => {
                        let kind = if config { Kind::Config } else { Kind::Normal };
                        let message = (added.len(), kind, size);
                        added.push(message);
                        cutter.add(Waiting { message, kind, size, arrived: now });
                    }
                    Step::Finish => if let Some(config) = flying.pop_front() {
                        cutter.finished(config);
                    },
                    Step::Sleep(ms) => now += Duration::from_millis(ms),
                }
                while let Some(batch) = cutter.cut(&LIMITS, now) {
                    prop_assert!(!flying.contains(&true), "a config message was in flight");
                    let bytes: usize = batch.messages.iter().map(|m| m.2).sum();
                    prop_assert!(!batch.messages.is_empty());
                    prop_assert!(batch.messages.len() <= LIMITS.max_message_count);
                    prop_assert!(batch.messages.len() == 1 || bytes <= LIMITS.preferred_max_bytes);
                    prop_assert!(batch.messages.len() == 1 || batch.messages.iter().all(|m| m.1 == Kind::Normal));
                    prop_assert_eq!(batch.config, batch.messages[0].1 == Kind::Config);
                    taken.extend(batch.messages);
                    flying.push_back(batch.config);
                    prop_assert!(flying.len() <= LIMITS.max_in_flight);
                }
                prop_assert_eq!(cutter.in_flight(), flying.len());
                // With nothing in flight, nothing waits.
                prop_assert!(!flying.is_empty() || cutter.waiting() == 0);
            }
            prop_assert_eq!(taken, added);
        }
    }
}
