//! Who must endorse: from policies and known peers to combinations of peers that satisfy them.
//!
//! Pure. A policy is given as alternatives, each a list of principals that different peers have to
//! hold. [`layouts`] merges the alternatives of several policies; a [`Plan`] then picks peers for a
//! layout, given which have answered and which have failed, so that the caller only has to ask, note
//! the outcome, and ask again. `fabric: discovery/endorsement/endorsement.go`.

use std::collections::BTreeSet;

/// Most layouts kept: a plan needs a choice, not all of them.
const LAYOUTS: usize = 256;

/// Something that a peer can hold, for example a role in an organization.
pub trait Principal: Clone + PartialEq {
    /// Whether whoever holds `self` holds `other` as well.
    fn implies(&self, other: &Self) -> bool;
}

/// Principals that different peers have to hold, together.
pub type Layout<P> = Vec<P>;

/// The ways to satisfy all policies at once; each policy is given by its alternatives.
///
/// A peer's one endorsement counts for every policy, so alternatives are merged principal by
/// principal: equal ones once, a principal that implies another one in its place. No policy at all
/// gives one empty layout; a policy without alternatives gives none.
pub fn layouts<P: Principal>(policies: &[Vec<Layout<P>>]) -> Vec<Layout<P>> {
    let mut merged: Vec<Layout<P>> = vec![Vec::new()];
    for alternatives in policies {
        let mut next: Vec<Layout<P>> = Vec::new();
        for layout in &merged {
            for alternative in alternatives {
                let combined = merge(layout, alternative);
                if !next.contains(&combined) {
                    next.push(combined);
                }
            }
        }
        next.sort_by_key(Vec::len);
        next.truncate(LAYOUTS);
        merged = next;
    }
    merged
}

fn merge<P: Principal>(layout: &[P], alternative: &[P]) -> Layout<P> {
    let mut merged = layout.to_vec();
    let mut used = vec![false; merged.len()];
    for principal in alternative {
        let place = |matches: &dyn Fn(&P) -> bool| {
            (0..used.len()).find(|&index| !used[index] && matches(&merged[index]))
        };
        // Equal ones first, so that a general principal does not take the place of a special one.
        let found = place(&|held| held == principal)
            .or_else(|| place(&|held| held.implies(principal)))
            .or_else(|| place(&|held| principal.implies(held)));
        match found {
            Some(index) => {
                used[index] = true;
                if !merged[index].implies(principal) {
                    merged[index] = principal.clone();
                }
            }
            None => {
                merged.push(principal.clone());
                used.push(true);
            }
        }
    }
    merged
}

/// Layouts and the peers that could fill them; peers are numbered by the caller in the order in
/// which it prefers to ask them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// For each layout, for each of its principals, the peers that hold it.
    layouts: Vec<Vec<Vec<usize>>>,
}

impl Plan {
    /// A plan over `peers` peers; layouts that no distinct peers can fill are dropped.
    pub fn new<P: Principal>(
        layouts: &[Layout<P>],
        peers: usize,
        holds: impl Fn(usize, &P) -> bool,
    ) -> Self {
        let layouts = layouts
            .iter()
            .map(|layout| {
                layout
                    .iter()
                    .map(|principal| (0..peers).filter(|&peer| holds(peer, principal)).collect())
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

/// Different peers for all places, preferring `answered` and then the caller's order: a bipartite
/// matching by augmenting paths.
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
    let mut taken: Vec<(usize, usize)> = Vec::new();
    for place in 0..candidates.len() {
        let mut visited = BTreeSet::new();
        if !augment(place, &candidates, &mut taken, &mut visited) {
            return None;
        }
    }
    let mut chosen: Vec<usize> = taken.into_iter().map(|(peer, _)| peer).collect();
    chosen.sort_unstable();
    Some(chosen)
}

fn augment(
    place: usize,
    candidates: &[Vec<usize>],
    taken: &mut Vec<(usize, usize)>,
    visited: &mut BTreeSet<usize>,
) -> bool {
    for &peer in &candidates[place] {
        if !visited.insert(peer) {
            continue;
        }
        let holder = taken.iter().position(|&(other, _)| other == peer);
        match holder {
            None => {
                taken.push((peer, place));
                return true;
            }
            Some(position) => {
                let other = taken[position].1;
                if augment(other, candidates, taken, visited) {
                    // `other` found another peer; its old entry becomes this place's.
                    taken[position].1 = place;
                    return true;
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `A.member`-like principals: upper case is the special role, lower case the general one.
    #[derive(Clone, Debug, PartialEq, Eq)]
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

    fn show(layouts: &[Layout<Role>]) -> String {
        let mut shown: Vec<String> = layouts
            .iter()
            .map(|layout| {
                let mut roles: Vec<char> = layout.iter().map(|role| role.0).collect();
                roles.sort_unstable();
                roles.into_iter().collect()
            })
            .collect();
        shown.sort();
        shown.join(" ")
    }

    #[test]
    fn alternatives_of_several_policies_are_merged_with_the_special_principal_in_place_of_the_general()
     {
        let cases = [
            (vec!["AB"], "AB"),
            (vec!["A B"], "A B"),
            (vec!["AB", "A"], "AB"),
            (vec!["A", "B"], "AB"),
            (vec!["a", "A"], "A"),
            (vec!["A", "a"], "A"),
            (vec!["AA", "A"], "AA"),
            (vec!["A B", "B C"], "AB AC B BC"),
            (vec!["aA", "A"], "Aa"),
            (vec!["A", ""], ""),
            (vec![], ""),
        ];
        for (policies, expected) in cases {
            let policies: Vec<_> = policies.into_iter().map(sets).collect();
            assert_eq!(show(&layouts(&policies)), expected, "{policies:?}");
        }
        assert_eq!(
            layouts::<Role>(&[]).len(),
            1,
            "no policy is satisfied by nobody"
        );
        assert!(
            layouts::<Role>(&[vec![]]).is_empty(),
            "an unsatisfiable policy stays so"
        );
    }

    fn plan(layouts: &str, peers: &str) -> Plan {
        let peers: Vec<Role> = peers.chars().map(Role).collect();
        Plan::new(&sets(layouts), peers.len(), |peer, role| {
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
            #[derive(Clone, PartialEq)]
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
            let plan = Plan::new(&wanted, peers.len(), |peer, number| peers[peer] == number.0);
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
