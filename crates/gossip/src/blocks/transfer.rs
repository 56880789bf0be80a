//! A peer that is behind asks others for a range of blocks: whom, and which. Pure.
//! fabric: gossip/state/state.go antiEntropy, requestBlocksInRange

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use bytes::Bytes;
use consilium_proto::gossip::Payload;

/// Peers that are passed over at once; more are not noted, as the table is ours to keep small.
const PASSED_OVER: usize = 4096;

/// A peer that could be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its PKI-ID.
    pub pki_id: Bytes,
    /// How high its ledger is, as it says.
    pub height: u64,
}

/// What to ask, and of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Place of the peer among the candidates.
    pub candidate: usize,
    /// Number of the first block.
    pub from: u64,
    /// Number of the last one.
    pub to: u64,
}

/// The request of a peer that needs block `next`; `None` if nobody has it who was not asked before
/// (`tried`). `pick` chooses among so many. At most `batch` blocks, and none that the peer does not
/// claim to have.
pub fn ask(
    next: u64,
    candidates: &[Candidate],
    batch: u64,
    tried: &BTreeSet<Bytes>,
    pick: impl FnOnce(usize) -> usize,
) -> Option<Ask> {
    let useful: Vec<usize> = (0..candidates.len())
        .filter(|&at| candidates[at].height > next && !tried.contains(&candidates[at].pki_id))
        .collect();
    if useful.is_empty() {
        return None;
    }
    let candidate = useful[pick(useful.len()) % useful.len()];
    let last = next.saturating_add(batch.max(1) - 1);
    Some(Ask {
        candidate,
        from: next,
        to: last.min(candidates[candidate].height - 1),
    })
}

/// The last block to send to whom asks for `from..=to`, where a ledger has the blocks from `first` on
/// and below `height`; `None` if there is nothing to send. Fabric's requests reach one block further
/// than a batch; larger ones get a part of what they ask for, and go on from there.
pub fn serve(from: u64, to: u64, first: u64, height: u64, batch: u64) -> Option<u64> {
    if from > to || from < first || from >= height {
        return None;
    }
    Some(to.min(height - 1).min(from.saturating_add(batch)))
}

/// The blocks of an answer as far as they follow one another from `from` to `to`. Fabric leaves out
/// what it cannot read.
pub fn in_order(payloads: Vec<Payload>, from: u64, to: u64) -> Vec<Payload> {
    let mut expected = from..=to;
    payloads
        .into_iter()
        .take_while(|payload| expected.next() == Some(payload.seq_num))
        .collect()
}

/// Peers that brought a bad block, or nothing that they said to have: others come first for a while.
#[derive(Debug, Default)]
pub struct PassedOver(HashMap<Bytes, Instant>);

impl PassedOver {
    /// Passes a peer over for so long.
    pub fn note(&mut self, peer: &Bytes, time: Duration, now: Instant) {
        self.0.retain(|_, until| *until > now);
        if self.0.len() < PASSED_OVER || self.0.contains_key(peer) {
            self.0.insert(peer.clone(), now + time);
        }
    }

    /// Whether it is passed over now.
    pub fn has(&self, peer: &Bytes, now: Instant) -> bool {
        self.0.get(peer).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(heights: &[u64]) -> Vec<Candidate> {
        heights
            .iter()
            .enumerate()
            .map(|(number, &height)| Candidate {
                pki_id: Bytes::from(vec![number as u8]),
                height,
            })
            .collect()
    }

    #[test]
    fn a_peer_asks_whom_is_ahead_for_at_most_a_batch() {
        for (next, heights, batch, tried, expected) in [
            (5, &[5, 4][..], 10, &[][..], None),
            (5, &[6], 10, &[], Some((0, 5, 5))),
            (5, &[3, 100], 10, &[], Some((1, 5, 14))),
            (5, &[100, 12], 10, &[0], Some((1, 5, 11))),
            (5, &[100], 10, &[0], None),
            (5, &[100], 0, &[], Some((0, 5, 5))),
            (0, &[u64::MAX], u64::MAX, &[], Some((0, 0, u64::MAX - 1))),
            (5, &[], 10, &[], None),
        ] {
            let tried = tried.iter().map(|&n: &u8| Bytes::from(vec![n])).collect();
            let asked = ask(next, &candidates(heights), batch, &tried, |_| 0);
            let asked = asked.map(|ask| (ask.candidate, ask.from, ask.to));
            assert_eq!(asked, expected, "{next} of {heights:?}");
        }
    }

    #[test]
    fn what_is_served_is_what_there_is_and_no_more_than_a_batch() {
        for (from, to, first, height, expected) in [
            (0, 10, 0, 100, Some(10)),
            (0, 50, 0, 100, Some(10)),
            (95, 105, 0, 100, Some(99)),
            (100, 105, 0, 100, None),
            (5, 4, 0, 100, None),
            (5, 15, 6, 100, None),
            (6, 15, 6, 100, Some(15)),
            (0, 5, 0, 0, None),
            (u64::MAX, u64::MAX, 0, 100, None),
        ] {
            assert_eq!(
                serve(from, to, first, height, 10),
                expected,
                "{from}..={to}"
            );
        }
    }

    #[test]
    fn an_answer_counts_up_to_its_first_gap() {
        let payloads = |numbers: &[u64]| -> Vec<Payload> {
            let payload = |&seq_num| Payload {
                seq_num,
                ..Default::default()
            };
            numbers.iter().map(payload).collect()
        };
        for (came, used) in [
            (&[5, 6, 7][..], &[5, 6, 7][..]),
            (&[5, 6, 7, 8, 9], &[5, 6, 7, 8]),
            (&[5, 7], &[5]),
            (&[5, 5, 6], &[5]),
            (&[6, 7], &[]),
            (&[], &[]),
        ] {
            assert_eq!(in_order(payloads(came), 5, 8), payloads(used), "{came:?}");
        }
    }

    #[test]
    fn who_is_passed_over_is_asked_again_later() {
        let (now, time) = (Instant::now(), Duration::from_secs(10));
        let (one, two) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
        let mut passed_over = PassedOver::default();
        passed_over.note(&one, time, now);
        assert!(passed_over.has(&one, now) && !passed_over.has(&two, now));
        assert!(!passed_over.has(&one, now + time));
        passed_over.note(&two, time, now + time);
        assert_eq!(passed_over.0.len(), 1, "what is over is forgotten");
    }

    proptest! {
        #[test]
        fn a_request_begins_where_the_ledger_ends_and_stays_below_what_is_claimed(
            next in 0u64..50,
            heights in prop::collection::vec(0u64..100, 0..6),
            batch in 0u64..20,
            pick in 0usize..10,
        ) {
            let candidates = candidates(&heights);
            match ask(next, &candidates, batch, &BTreeSet::new(), |_| pick) {
                None => prop_assert!(heights.iter().all(|&height| height <= next)),
                Some(ask) => {
                    prop_assert_eq!(ask.from, next);
                    prop_assert!(ask.to >= next && ask.to - next < batch.max(1));
                    prop_assert!(ask.to < candidates[ask.candidate].height);
                }
            }
        }
    }
}
