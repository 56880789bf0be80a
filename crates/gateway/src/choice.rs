//! Which peer is asked first. Pure. fabric: internal/pkg/gateway/registry.go (sorter, hasChaincode)

use std::{cmp::Reverse, time::Duration};

/// Blocks that the own peer may be behind others and still come first: it costs no way over the network,
/// and what gossip says of heights is about so old.
const NEAR: u64 = 2;

/// What is known of a peer, apart from where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The peer that this gateway runs in.
    pub(crate) is_local: bool,
    /// It belongs to the gateway's organization.
    pub(crate) is_own: bool,
    /// How high its ledger is, if it has told.
    pub(crate) height: Option<u64>,
    /// Whether it has told that it runs the chaincodes as they are defined now.
    pub(crate) is_ready: bool,
    /// How long its last answers took.
    pub(crate) latency: Option<Duration>,
}

/// Numbers of the peers in the order in which to ask them: the own organization first; then who has told
/// that it can run what is asked for; then the highest, of which the nearest. Equal ones stay in the order
/// in which they came.
pub(crate) fn order(peers: &[Standing]) -> Vec<usize> {
    let height = |peer: &Standing| peer.height.unwrap_or(0);
    let best = peers.iter().filter(|peer| peer.is_own).map(height).max();
    let near = best.unwrap_or(0).saturating_sub(NEAR);
    let mut order: Vec<usize> = (0..peers.len()).collect();
    order.sort_by_key(|&number| {
        let peer = &peers[number];
        let is_near = peer.is_local && height(peer) >= near;
        (
            !peer.is_own,
            !peer.is_ready,
            !is_near,
            Reverse(height(peer)),
            !peer.is_local,
            about(peer.latency),
        )
    });
    order
}

/// How long, in powers of two of a millisecond: what differs by less is chance, and load shall spread.
/// Who was not asked yet counts as quick, so that it is.
fn about(latency: Option<Duration>) -> u32 {
    let milliseconds = latency.map_or(0, |latency| latency.as_millis());
    u128::BITS - milliseconds.leading_zeros()
}

/// What is remembered of a peer's latency after an answer took so long.
pub(crate) fn smoothed(before: Option<Duration>, latest: Duration) -> Duration {
    match before {
        Some(before) => (before * 3 + latest) / 4,
        None => latest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(is_own: bool, height: u64) -> Standing {
        Standing {
            is_own,
            height: Some(height),
            is_ready: true,
            ..Default::default()
        }
    }

    fn local(height: u64) -> Standing {
        Standing {
            is_local: true,
            ..peer(true, height)
        }
    }

    fn slow(milliseconds: u64, peer: Standing) -> Standing {
        Standing {
            latency: Some(Duration::from_millis(milliseconds)),
            ..peer
        }
    }

    #[test]
    fn peers_are_asked_by_organization_readiness_height_and_latency() {
        let unready = |peer| Standing {
            is_ready: false,
            ..peer
        };
        let unheard = Standing::default();
        for (what, peers, expected) in [
            ("nobody", vec![], vec![]),
            ("own first", vec![peer(false, 9), peer(true, 1)], vec![1, 0]),
            ("local first", vec![peer(true, 9), local(9)], vec![1, 0]),
            ("local is near", vec![peer(true, 9), local(7)], vec![1, 0]),
            ("local is behind", vec![peer(true, 9), local(6)], vec![0, 1]),
            (
                "height of others is no reason",
                vec![peer(false, 90), peer(true, 9), local(8)],
                vec![2, 1, 0],
            ),
            (
                "highest",
                vec![peer(false, 7), peer(false, 9), peer(false, 8)],
                vec![1, 2, 0],
            ),
            (
                "ready before high",
                vec![unready(peer(false, 9)), peer(false, 1)],
                vec![1, 0],
            ),
            (
                "local without the chaincode",
                vec![unready(local(9)), peer(true, 9)],
                vec![1, 0],
            ),
            (
                "heard of",
                vec![unheard.clone(), unready(peer(false, 1)), peer(false, 1)],
                vec![2, 1, 0],
            ),
            (
                "quick",
                vec![
                    slow(100, peer(false, 9)),
                    slow(5, peer(false, 9)),
                    slow(6, peer(false, 9)),
                    peer(false, 9),
                ],
                vec![3, 1, 2, 0],
            ),
            (
                "high before quick",
                vec![slow(1, peer(false, 8)), slow(900, peer(false, 9))],
                vec![1, 0],
            ),
        ] {
            assert_eq!(order(&peers), expected, "{what}");
        }
    }

    #[test]
    fn one_slow_answer_does_not_make_a_slow_peer() {
        let ms = Duration::from_millis;
        let mut latency = None;
        for (latest, expected) in [(8, 8), (8, 8), (88, 28), (8, 23)] {
            latency = Some(smoothed(latency, ms(latest)));
            assert_eq!(latency, Some(ms(expected)));
        }
    }

    proptest! {
        /// Whoever there is: everybody is in the order once, no other organization before the own.
        #[test]
        fn nobody_is_left_out(
            peers in prop::collection::vec(
                (any::<bool>(), any::<bool>(), prop::option::of(0u64..5), any::<bool>(), prop::option::of(0u64..99)),
                0..8,
            ),
        ) {
            let peers: Vec<_> = peers
                .into_iter()
                .map(|(is_local, is_own, height, is_ready, latency)| Standing {
                    is_local: is_local && is_own,
                    is_own,
                    height,
                    is_ready,
                    latency: latency.map(Duration::from_millis),
                })
                .collect();
            let order = order(&peers);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..peers.len()).collect::<Vec<_>>());
            prop_assert!(order.iter().is_sorted_by_key(|&at| !peers[at].is_own));
        }
    }
}
