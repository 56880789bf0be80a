//! Rounds of asking peers of the own organization which of the latest blocks they have, and for those
//! that are missing. Pure. fabric: gossip/gossip/algo/pull.go, gossip/gossip/channel/channel.go

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use bytes::Bytes;

/// Block numbers out of one message at most.
const DIGESTS: usize = 1024;

/// One peer's rounds in a channel. A round is: [`begin`](Self::begin), [`learn`](Self::learn) what
/// others have, [`requests`](Self::requests), [`takes`](Self::takes) what they send.
#[derive(Debug, Default)]
pub struct Pull {
    /// By nonce of the greeting, whom it went to; the answer has to come from there.
    greeted: HashMap<u64, Bytes>,
    owners: BTreeMap<u64, Vec<Bytes>>,
    /// By nonce, what was asked of whom.
    asked: HashMap<u64, (Bytes, BTreeSet<u64>)>,
}

impl Pull {
    /// A new round with these peers; ends the one before.
    pub fn begin(&mut self, peers: impl IntoIterator<Item = (u64, Bytes)>) {
        *self = Self {
            greeted: peers.into_iter().collect(),
            ..Self::default()
        };
    }

    /// What a peer says it has, of which this one could use `wanted`.
    pub fn learn(&mut self, from: &Bytes, nonce: u64, digests: &[Bytes], wanted: &Range<u64>) {
        if self.greeted.get(&nonce) != Some(from) {
            return;
        }
        for number in digests.iter().take(DIGESTS).filter_map(number) {
            if !wanted.contains(&number) {
                continue;
            }
            let owners = self.owners.entry(number).or_default();
            if !owners.contains(from) {
                owners.push(from.clone());
            }
        }
    }

    /// What to ask of whom, with the nonce of the greeting; `pick` chooses among so many peers.
    pub fn requests(
        &mut self,
        mut pick: impl FnMut(usize) -> usize,
    ) -> Vec<(u64, Bytes, Vec<u64>)> {
        let mut wanted: BTreeMap<Bytes, BTreeSet<u64>> = BTreeMap::new();
        for (number, owners) in std::mem::take(&mut self.owners) {
            // There is one: an entry is made for the first.
            let owner = &owners[pick(owners.len()) % owners.len()];
            wanted.entry(owner.clone()).or_default().insert(number);
        }
        let greeted = std::mem::take(&mut self.greeted);
        let mut requests = Vec::new();
        for (nonce, peer) in greeted {
            let Some(numbers) = wanted.remove(&peer) else {
                continue;
            };
            requests.push((nonce, peer.clone(), numbers.iter().copied().collect()));
            self.asked.insert(nonce, (peer, numbers));
        }
        requests
    }

    /// Whether blocks were asked of a peer with this nonce.
    pub fn is_awaited(&self, from: &Bytes, nonce: u64) -> bool {
        self.asked.get(&nonce).is_some_and(|(peer, _)| peer == from)
    }

    /// Whether a block was asked for, with this nonce and of this peer; it does not come twice.
    pub fn takes(&mut self, from: &Bytes, nonce: u64, number: u64) -> bool {
        match self.asked.get_mut(&nonce) {
            Some((peer, numbers)) => peer == from && numbers.remove(&number),
            None => false,
        }
    }
}

/// A block number as it stands in digests: in decimal digits.
pub fn number(digest: &Bytes) -> Option<u64> {
    std::str::from_utf8(digest).ok()?.parse().ok()
}

/// The same of a number.
pub fn digest(number: u64) -> Bytes {
    number.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(name: &'static str) -> Bytes {
        Bytes::from_static(name.as_bytes())
    }

    fn digests(numbers: &[u64]) -> Vec<Bytes> {
        numbers.iter().copied().map(digest).collect()
    }

    #[test]
    fn each_missing_block_is_asked_of_one_peer_that_has_it() {
        let mut pull = Pull::default();
        pull.begin([(1, id("a")), (2, id("b")), (3, id("c"))]);
        let wanted = 5..9;
        pull.learn(&id("a"), 1, &digests(&[3, 4, 5, 6]), &wanted);
        pull.learn(&id("b"), 2, &digests(&[5, 6, 7, 9]), &wanted);
        // Another's nonce, nobody's, and what is no number.
        pull.learn(&id("a"), 2, &digests(&[8]), &wanted);
        pull.learn(&id("c"), 9, &digests(&[8]), &wanted);
        pull.learn(&id("c"), 3, &[id("eight"), id("-8"), id("")], &wanted);
        let mut requests = pull.requests(|of| of - 1);
        requests.sort();
        assert_eq!(
            requests,
            [(1, id("a"), vec![]), (2, id("b"), vec![5, 6, 7])][1..]
        );
        assert!(pull.is_awaited(&id("b"), 2));
        assert!(!pull.is_awaited(&id("a"), 2) && !pull.is_awaited(&id("a"), 1));
        for (from, nonce, number, taken) in [
            ("a", 2, 5, false),
            ("b", 1, 5, false),
            ("b", 2, 8, false),
            ("b", 2, 5, true),
            ("b", 2, 5, false),
        ] {
            assert_eq!(
                pull.takes(&id(from), nonce, number),
                taken,
                "{from} {number}"
            );
        }
        pull.begin([]);
        assert!(!pull.is_awaited(&id("b"), 2), "a round ends the one before");
    }

    proptest! {
        #[test]
        fn nothing_is_asked_twice_and_nothing_of_whom_does_not_have_it(
            told in prop::collection::vec(prop::collection::vec(0u64..20, 0..20), 1..4),
            picks in prop::collection::vec(0usize..10, 20),
        ) {
            let mut pull = Pull::default();
            let peers: Vec<Bytes> = (0..told.len()).map(|n| Bytes::from(vec![n as u8])).collect();
            pull.begin(peers.iter().cloned().enumerate().map(|(n, peer)| (n as u64, peer)));
            for (at, numbers) in told.iter().enumerate() {
                pull.learn(&peers[at], at as u64, &digests(numbers), &(5..15));
            }
            let mut picks = picks.into_iter();
            let requests = pull.requests(|of| picks.next().unwrap_or(0) % of);
            let mut asked = BTreeSet::new();
            for (nonce, peer, numbers) in requests {
                prop_assert_eq!(&peers[nonce as usize], &peer);
                for number in numbers {
                    prop_assert!(told[nonce as usize].contains(&number));
                    prop_assert!(asked.insert(number));
                }
            }
            let all: BTreeSet<u64> = told.concat().into_iter().filter(|n| (5..15).contains(n)).collect();
            prop_assert_eq!(asked, all);
        }
    }
}
