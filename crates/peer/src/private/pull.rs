//! Asking other peers for private write sets. fabric: gossip/privdata/pull.go
//!
//! Each set is asked of one peer at a time, an endorser of its transaction first. A round ends when
//! every eligible peer was asked. Fabric goes on with rounds until its time is over even when all
//! have answered that they do not have it, so that a transaction whose data nobody has holds up
//! every block; here two rounds of clear answers are enough, and reconciliation does the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use consilium_gossip::{ExchangeError, Gossip, Member};
use consilium_proto::gossip::{PvtDataDigest, PvtDataElement};
use futures_util::future::join_all;

use super::access::{Access, is_agreed};

/// How long one peer may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Pause between rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// Rounds of clear answers before a search ends.
const ROUNDS: usize = 2;

/// A write set that is looked for.
pub(super) struct Wanted {
    pub(super) digest: PvtDataDigest,
    /// Members of this collection are asked.
    pub(super) access: Arc<Access>,
    /// Serialized identities of those to ask first.
    pub(super) preferred: BTreeSet<Bytes>,
    /// What it has to hash to; `None` leaves that to the ledger.
    pub(super) hash: Option<Bytes>,
}

/// What a search brought.
#[derive(Default)]
pub(super) struct Found {
    /// By the index of what was wanted.
    pub(super) sets: BTreeMap<usize, Bytes>,
    /// Whether anybody was there to be asked.
    pub(super) asked: bool,
}

/// One peer is asked for these.
struct Errand {
    peer: usize,
    wanted: Vec<usize>,
}

/// Rounds until everything is found or `patience` is over, but not more than [`ROUNDS`] if all
/// answers were clear.
pub(super) async fn search(
    gossip: &Gossip,
    channel: &str,
    wanted: &[Wanted],
    margin: u64,
    patience: Duration,
) -> Found {
    let started = Instant::now();
    let mut found = Found::default();
    for number in 1.. {
        let left = patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        let is_clear = round(gossip, channel, wanted, margin, left, &mut found).await;
        if found.sets.len() == wanted.len() || (is_clear && number >= ROUNDS) {
            break;
        }
        tokio::time::sleep(PAUSE.min(patience.saturating_sub(started.elapsed()))).await;
    }
    metrics::histogram!("gossip_privdata_pull_duration", "channel" => channel.to_owned())
        .record(started.elapsed().as_secs_f64());
    found
}

/// Asks every eligible peer once for what is missing; whether all answers were clear.
pub(super) async fn round(
    gossip: &Gossip,
    channel: &str,
    wanted: &[Wanted],
    margin: u64,
    patience: Duration,
    found: &mut Found,
) -> bool {
    let members = gossip.members(channel);
    let eligible: Vec<Vec<usize>> = wanted
        .iter()
        .map(|wanted| candidates(wanted, &members, margin))
        .collect();
    let mut tried = BTreeSet::new();
    let mut is_clear = true;
    let started = Instant::now();
    loop {
        let missing = (0..wanted.len()).filter(|index| !found.sets.contains_key(index));
        let errands = assign(missing, &eligible, &mut tried);
        let left = patience.saturating_sub(started.elapsed()).min(ANSWER);
        if errands.is_empty() || left.is_zero() {
            return is_clear;
        }
        found.asked = true;
        let asking = errands.iter().map(|errand| {
            let digests = errand
                .wanted
                .iter()
                .map(|&index| wanted[index].digest.clone());
            gossip.request_private(channel, &members[errand.peer], digests.collect(), left)
        });
        for (errand, answer) in errands.iter().zip(join_all(asking).await) {
            match answer {
                Ok(elements) => take(errand, wanted, elements, &mut found.sets),
                Err(error) => {
                    is_clear &= !matches!(error, ExchangeError::TimedOut | ExchangeError::Overflow);
                    tracing::debug!(
                        channel,
                        peer = members[errand.peer].endpoint,
                        %error,
                        "private data was asked for in vain"
                    );
                }
            }
        }
    }
}

/// The peers to ask for a set, endorsers first: members of the collection that have not let it
/// expire. Others of a kind come in random order, so that load spreads.
fn candidates(wanted: &Wanted, members: &[Member], margin: u64) -> Vec<usize> {
    use rand::seq::SliceRandom;
    let mut peers: Vec<usize> = (0..members.len())
        .filter(|&peer| {
            let member = &members[peer];
            let lives = has_not_expired(
                wanted.digest.block_seq,
                wanted.access.config.block_to_live,
                member.height.saturating_add(margin),
            );
            lives && wanted.access.admits(&super::member(&member.identity))
        })
        .collect();
    peers.shuffle(&mut rand::rng());
    peers.sort_by_key(|&peer| {
        let identity = members[peer].identity.serialized();
        !wanted.preferred.contains(identity)
    });
    peers
}

fn has_not_expired(block: u64, block_to_live: u64, height: u64) -> bool {
    block_to_live == 0 || height < block.saturating_add(block_to_live)
}

/// Gives each missing set to the next peer that was not asked for it yet.
fn assign(
    missing: impl Iterator<Item = usize>,
    eligible: &[Vec<usize>],
    tried: &mut BTreeSet<(usize, usize)>,
) -> Vec<Errand> {
    let mut errands: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in missing {
        let next = eligible[index]
            .iter()
            .find(|&&peer| !tried.contains(&(index, peer)));
        if let Some(&peer) = next {
            tried.insert((index, peer));
            errands.entry(peer).or_default().push(index);
        }
    }
    errands
        .into_iter()
        .map(|(peer, wanted)| Errand { peer, wanted })
        .collect()
}

/// Takes what was asked for and fits; anything else a peer sends is passed over.
fn take(
    errand: &Errand,
    wanted: &[Wanted],
    elements: Vec<PvtDataElement>,
    sets: &mut BTreeMap<usize, Bytes>,
) {
    // One for each that was asked for.
    for element in elements.into_iter().take(errand.wanted.len()) {
        let asked = errand
            .wanted
            .iter()
            .find(|&&index| Some(&wanted[index].digest) == element.digest.as_ref());
        let Some(&index) = asked else {
            continue;
        };
        let hash = wanted[index].hash.as_ref();
        let set = element
            .payload
            .into_iter()
            .find(|set| hash.is_none_or(|hash| is_agreed(set, hash)));
        if let Some(set) = set {
            sets.insert(index, set);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_about_to_expire_is_not_asked_for() {
        for (block, block_to_live, height, lives) in [
            (5, 0, u64::MAX, true),
            (5, 3, 7, true),
            (5, 3, 8, false),
            (u64::MAX, 3, 8, true),
        ] {
            assert_eq!(has_not_expired(block, block_to_live, height), lives);
        }
    }

    #[test]
    fn every_peer_is_asked_once_for_each_set() {
        let eligible = vec![vec![2, 0], vec![2], vec![]];
        let mut tried = BTreeSet::new();
        let mut rounds = Vec::new();
        loop {
            let errands = assign(0..3, &eligible, &mut tried);
            if errands.is_empty() {
                break;
            }
            rounds.push(
                errands
                    .into_iter()
                    .map(|errand| (errand.peer, errand.wanted))
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(rounds, [vec![(2, vec![0, 1])], vec![(0, vec![0])]]);
    }
}
