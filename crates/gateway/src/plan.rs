//! Whom to ask for endorsements: from combinations of principals and known peers to peers.
//!
//! Pure. A [`Plan`] picks peers for a layout ([`consilium_discovery::layouts`]), given which have
//! answered and which have failed, so that the caller only has to ask, note the outcome, and ask again.

use std::collections::BTreeSet;

use consilium_discovery::{Layout, Principal, matching};

/// Layouts and the peers that could fill them; peers are numbered by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// For each layout, for each of its principals, the peers that hold it, in the order in which to ask
    /// them.
    layouts: Vec<Vec<Vec<usize>>>,
}

impl Plan {
    /// A plan over `peers` in the order in which the caller prefers to ask them; layouts that no distinct
    /// peers can fill are dropped.
    pub fn new<P: Principal>(
        layouts: &[Layout<P>],
        peers: &[usize],
        holds: impl Fn(usize, &P) -> bool,
    ) -> Self {
        let layouts = layouts
            .iter()
            .map(|layout| {
                layout
                    .iter()
                    .map(|principal| {
                        let held = |peer: &usize| holds(*peer, principal);
                        peers.iter().copied().filter(held).collect()
                    })
                    .collect::<Vec<Vec<usize>>>()
            })
            .filter(|places| assign(places, &BTreeSet::new(), &BTreeSet::new()).is_some())
            .collect();
        Self { layouts }
    }

    /// A plan that asks for one peer out of each group.
    pub fn one_of_each(groups: Vec<Vec<usize>>) -> Self {
        Self {
            layouts: vec![groups],
        }
    }

    /// Whether no layout can be filled.
    pub fn is_empty(&self) -> bool {
        self.layouts.is_empty()
    }

    /// Number of layouts.
    pub fn len(&self) -> usize {
        self.layouts.len()
    }

    /// Puts layouts that have a place for `peer` first, otherwise keeping the order; shuffle before
    /// to spread load.
    pub fn prefer(&mut self, peer: usize) {
        self.layouts
            .sort_by_key(|places| !places.iter().any(|holders| holders.contains(&peer)));
    }

    /// Reorders layouts at random.
    pub fn shuffle(&mut self, rng: &mut impl rand::Rng) {
        use rand::seq::SliceRandom;
        self.layouts.shuffle(rng);
    }

    /// The peers that fill the first layout that still can be filled: those that have answered are
    /// used again, those that have failed are not. `None`: no layout is left.
    pub fn choose(
        &self,
        answered: &BTreeSet<usize>,
        failed: &BTreeSet<usize>,
    ) -> Option<Vec<usize>> {
        self.layouts
            .iter()
            .find_map(|places| assign(places, answered, failed))
    }
}

/// Different peers for all places, preferring `answered` and then the caller's order.
fn assign(
    places: &[Vec<usize>],
    answered: &BTreeSet<usize>,
    failed: &BTreeSet<usize>,
) -> Option<Vec<usize>> {
    let candidates: Vec<Vec<usize>> = places
        .iter()
        .map(|holders| {
            let usable = || {
                holders
                    .iter()
                    .copied()
                    .filter(|peer| !failed.contains(peer))
            };
            usable()
                .filter(|peer| answered.contains(peer))
                .chain(usable().filter(|peer| !answered.contains(peer)))
                .collect()
        })
        .collect();
    let mut chosen = matching(&candidates)?;
    chosen.sort_unstable();
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `A.member`-like principals: upper case is the special role, lower case the general one.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Role(char);

    impl Principal for Role {
        fn implies(&self, other: &Self) -> bool {
            self == other || (self.0.is_uppercase() && self.0.to_ascii_lowercase() == other.0)
        }
    }

    fn sets(text: &str) -> Vec<Layout<Role>> {
        text.split_whitespace()
            .map(|set| set.chars().map(Role).collect())
            .collect()
    }

    fn plan(layouts: &str, peers: &str) -> Plan {
        let order: Vec<usize> = (0..peers.len()).collect();
        ordered(layouts, peers, &order)
    }

    fn ordered(layouts: &str, peers: &str, order: &[usize]) -> Plan {
        let peers: Vec<Role> = peers.chars().map(Role).collect();
        Plan::new(&sets(layouts), order, |peer, role| {
            peers[peer].implies(role)
        })
    }

    fn chosen(plan: &Plan, answered: &[usize], failed: &[usize]) -> Option<Vec<usize>> {
        plan.choose(
            &answered.iter().copied().collect(),
            &failed.iter().copied().collect(),
        )
    }

    #[test]
    fn peers_are_chosen_in_order_and_failed_ones_replaced_until_no_layout_is_left() {
        let plan = plan("AB AC", "AABC");
        assert_eq!(chosen(&plan, &[], &[]), Some(vec![0, 2]));
        assert_eq!(
            chosen(&plan, &[1], &[]),
            Some(vec![1, 2]),
            "answers are used"
        );
        assert_eq!(chosen(&plan, &[], &[0]), Some(vec![1, 2]));
        assert_eq!(
            chosen(&plan, &[0], &[2]),
            Some(vec![0, 3]),
            "the other layout"
        );
        assert_eq!(chosen(&plan, &[0], &[2, 3]), None);
    }

    #[test]
    fn peers_are_chosen_in_the_order_that_the_caller_prefers() {
        let plan = ordered("AB", "AABB", &[3, 1, 0, 2]);
        assert_eq!(chosen(&plan, &[], &[]), Some(vec![1, 3]));
        assert_eq!(chosen(&plan, &[], &[3]), Some(vec![1, 2]));
        assert_eq!(chosen(&plan, &[0], &[]), Some(vec![0, 3]));
        assert!(ordered("AB", "AABB", &[0, 1]).is_empty());
    }

    #[test]
    fn one_peer_does_not_fill_two_places() {
        assert!(plan("AA", "AB").is_empty());
        assert!(plan("Aa", "A").is_empty());
        // The general place is given away so that the special one can be filled.
        assert_eq!(chosen(&plan("aA", "Aa"), &[], &[]), Some(vec![0, 1]));
        assert_eq!(chosen(&plan("Aa", "Aa"), &[], &[]), Some(vec![0, 1]));
    }

    #[test]
    fn layouts_with_a_place_for_the_preferred_peer_come_first() {
        let mut plan = plan("B A", "AB");
        assert_eq!(chosen(&plan, &[], &[]), Some(vec![1]));
        plan.prefer(0);
        assert_eq!(chosen(&plan, &[], &[]), Some(vec![0]));
    }

    proptest! {
        /// Whatever fails, the chosen peers are distinct, usable, and fill every place of a layout.
        #[test]
        fn a_choice_always_fills_a_layout(
            layouts in prop::collection::vec(prop::collection::vec(0usize..4, 0..4), 1..5),
            peers in prop::collection::vec(0usize..4, 0..7),
            failed in prop::collection::btree_set(0usize..7, 0..4),
            answered in prop::collection::btree_set(0usize..7, 0..4),
        ) {
            #[derive(Clone, PartialEq, Eq, Hash)]
            struct Number(usize);
            impl Principal for Number {
                fn implies(&self, other: &Self) -> bool {
                    self == other
                }
            }
            let wanted: Vec<Layout<Number>> = layouts
                .iter()
                .map(|layout| layout.iter().copied().map(Number).collect())
                .collect();
            let order: Vec<usize> = (0..peers.len()).collect();
            let plan = Plan::new(&wanted, &order, |peer, number| peers[peer] == number.0);
            let fits = |layout: &[usize]| {
                (0..4).all(|number| {
                    let needed = layout.iter().filter(|&&n| n == number).count();
                    let there = peers
                        .iter()
                        .enumerate()
                        .filter(|(peer, n)| **n == number && !failed.contains(peer))
                        .count();
                    needed <= there
                })
            };
            match plan.choose(&answered, &failed) {
                None => prop_assert!(!layouts.iter().any(|layout| fits(layout))),
                Some(chosen) => {
                    let distinct: BTreeSet<_> = chosen.iter().copied().collect();
                    prop_assert_eq!(distinct.len(), chosen.len());
                    prop_assert!(distinct.is_disjoint(&failed));
                    let mut numbers: Vec<usize> = chosen.iter().map(|&peer| peers[peer]).collect();
                    numbers.sort_unstable();
                    let filled = layouts.iter().any(|layout| {
                        let mut layout = layout.clone();
                        layout.sort_unstable();
                        layout == numbers
                    });
                    prop_assert!(filled);
                }
            }
        }
    }
}
