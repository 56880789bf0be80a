//! Which combinations of principals satisfy several policies at once. Pure.
//! `fabric: common/policies/inquire`, `discovery/endorsement/endorsement.go`

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
};

/// Most layouts kept: a plan needs a choice, not all of them.
const LAYOUTS: usize = 256;
/// Most combinations tried for one more policy.
const COMBINATIONS: usize = 16_384;

/// Something that a peer can hold, for example a role in an organization.
pub trait Principal: Clone + Eq + Hash {
    /// Whether whoever holds `self` holds `other` as well. Transitive.
    fn implies(&self, other: &Self) -> bool;
}

/// Principals that different peers have to hold, together.
pub type Layout<P> = Vec<P>;

/// A layout by the numbers of its principals, sorted.
type Numbers = Vec<usize>;

/// The ways to satisfy all policies at once; each policy is given by its alternatives.
///
/// A peer's one endorsement counts for every policy, so alternatives are merged principal by
/// principal: equal ones once, a principal that implies another one in its place. Layouts that ask for
/// more than another one does are left out, shorter ones come first, and there are at most 256. No
/// policy at all gives one empty layout; a policy without alternatives gives none.
pub fn layouts<P: Principal>(policies: &[Vec<Layout<P>>]) -> Vec<Layout<P>> {
    let mut names = Names::default();
    let mut seen: HashSet<Vec<Numbers>> = HashSet::new();
    let mut merged: Vec<Numbers> = vec![Vec::new()];
    for alternatives in policies {
        let mut alternatives: Vec<Numbers> = alternatives
            .iter()
            .map(|alternative| names.numbers(alternative))
            .collect();
        alternatives.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        alternatives.dedup();
        if !seen.insert(alternatives.clone()) {
            // The same policy again asks for nothing more.
            continue;
        }
        let room = COMBINATIONS / merged.len().max(1);
        let mut known = HashSet::new();
        let mut next = Vec::new();
        for layout in &merged {
            for alternative in alternatives.iter().take(room) {
                let combined = names.merge(layout, alternative);
                if known.insert(combined.clone()) {
                    next.push(combined);
                }
            }
        }
        next.sort_by_key(Vec::len);
        next.truncate(LAYOUTS);
        merged = names.minimal(next);
    }
    merged
        .into_iter()
        .map(|layout| layout.into_iter().map(|n| names.all[n].clone()).collect())
        .collect()
}

/// Principals by number, so that layouts are cheap to compare.
struct Names<P> {
    all: Vec<P>,
    numbers: HashMap<P, usize>,
}

impl<P> Default for Names<P> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            numbers: HashMap::new(),
        }
    }
}

impl<P: Principal> Names<P> {
    fn numbers(&mut self, layout: &[P]) -> Numbers {
        let mut numbers: Numbers = layout
            .iter()
            .map(|principal| {
                if let Some(&number) = self.numbers.get(principal) {
                    return number;
                }
                self.all.push(principal.clone());
                self.numbers.insert(principal.clone(), self.all.len() - 1);
                self.all.len() - 1
            })
            .collect();
        numbers.sort_unstable();
        numbers
    }

    fn implies(&self, one: usize, other: usize) -> bool {
        one == other || self.all[one].implies(&self.all[other])
    }

    /// What satisfies both.
    fn merge(&self, layout: &[usize], alternative: &[usize]) -> Numbers {
        // Equal ones first, so that a general principal does not take the place of a special one.
        let (mut merged, mut free, rest) = without_equal(layout, alternative);
        for principal in rest {
            let stronger = free.iter().position(|&held| self.implies(held, principal));
            let place =
                stronger.or_else(|| free.iter().position(|&held| self.implies(principal, held)));
            match place {
                Some(index) => {
                    let held = free.swap_remove(index);
                    merged.push(if stronger.is_some() { held } else { principal });
                }
                None => merged.push(principal),
            }
        }
        merged.append(&mut free);
        merged.sort_unstable();
        merged
    }

    /// Whether whoever fills `layout` fills `other` as well.
    fn covers(&self, layout: &[usize], other: &[usize]) -> bool {
        if other.len() > layout.len() {
            return false;
        }
        let (_, free, rest) = without_equal(layout, other);
        let candidates: Vec<Vec<usize>> = rest
            .iter()
            .map(|&wanted| {
                let fits = |&place: &usize| self.implies(free[place], wanted);
                (0..free.len()).filter(fits).collect()
            })
            .collect();
        candidates.iter().all(|places| !places.is_empty()) && matching(&candidates).is_some()
    }

    /// Without layouts that ask for more than another one does; of equivalent ones the first stays.
    fn minimal(&self, layouts: Vec<Numbers>) -> Vec<Numbers> {
        let is_redundant = |index: usize| {
            let layout = &layouts[index];
            layouts.iter().enumerate().any(|(other_index, other)| {
                index != other_index
                    && self.covers(layout, other)
                    && (other_index < index || !self.covers(other, layout))
            })
        };
        let redundant: Vec<bool> = (0..layouts.len()).map(is_redundant).collect();
        let kept = layouts.into_iter().zip(redundant);
        kept.filter(|(_, redundant)| !redundant)
            .map(|(layout, _)| layout)
            .collect()
    }
}

/// What two sorted lists have in common, and what either has besides.
fn without_equal(left: &[usize], right: &[usize]) -> (Numbers, Numbers, Numbers) {
    let (mut l, mut r) = (0, 0);
    let (mut both, mut only_left, mut only_right) = (Vec::new(), Vec::new(), Vec::new());
    while l < left.len() && r < right.len() {
        match left[l].cmp(&right[r]) {
            std::cmp::Ordering::Equal => {
                both.push(left[l]);
                l += 1;
                r += 1;
            }
            std::cmp::Ordering::Less => {
                only_left.push(left[l]);
                l += 1;
            }
            std::cmp::Ordering::Greater => {
                only_right.push(right[r]);
                r += 1;
            }
        }
    }
    only_left.extend_from_slice(&left[l..]);
    only_right.extend_from_slice(&right[r..]);
    (both, only_left, only_right)
}

/// A candidate for each place, no candidate twice: those named first if that is possible. A bipartite
/// matching by augmenting paths; `None` when there is none.
pub fn matching(candidates: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut taken: Vec<(usize, usize)> = Vec::new();
    for place in 0..candidates.len() {
        let mut visited = BTreeSet::new();
        if !augment(place, candidates, &mut taken, &mut visited) {
            return None;
        }
    }
    taken.sort_unstable_by_key(|&(_, place)| place);
    Some(taken.into_iter().map(|(candidate, _)| candidate).collect())
}

fn augment(
    place: usize,
    candidates: &[Vec<usize>],
    taken: &mut Vec<(usize, usize)>,
    visited: &mut BTreeSet<usize>,
) -> bool {
    for &candidate in &candidates[place] {
        if !visited.insert(candidate) {
            continue;
        }
        let holder = taken.iter().position(|&(other, _)| other == candidate);
        match holder {
            None => {
                taken.push((candidate, place));
                return true;
            }
            Some(position) => {
                let other = taken[position].1;
                if augment(other, candidates, taken, visited) {
                    // `other` found another one; its old entry becomes this place's.
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
    fn alternatives_of_several_policies_are_merged_to_what_is_least() {
        let cases = [
            (vec!["AB"], "AB"),
            (vec!["A B"], "A B"),
            (vec!["AB", "A"], "AB"),
            (vec!["A", "B"], "AB"),
            (vec!["a", "A"], "A"),
            (vec!["A", "a"], "A"),
            (vec!["AA", "A"], "AA"),
            (vec!["A B", "B C"], "AC B"),
            (vec!["aA", "A"], "Aa"),
            (vec!["A", "aA"], "Aa"),
            (vec!["A aB"], "A Ba"),
            (vec!["A a"], "a"),
            (vec!["A AA"], "A"),
            (vec!["AB CD", "AB CD"], "AB CD"),
            (vec!["A B", "A B", "C"], "AC BC"),
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

    #[test]
    fn many_large_policies_take_bounded_work() {
        let policy = |shift: usize| -> Vec<Layout<Number>> {
            (0..512)
                .map(|n| vec![Number(n + shift), Number(n + shift + 7)])
                .collect()
        };
        let policies: Vec<_> = (0..20).map(|n| policy(n * 3)).collect();
        let found = layouts(&policies);
        assert!(!found.is_empty() && found.len() <= LAYOUTS);
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Number(usize);

    impl Principal for Number {
        fn implies(&self, other: &Self) -> bool {
            self == other
        }
    }

    #[test]
    fn a_matching_gives_every_place_its_own_candidate() {
        for (candidates, expected) in [
            (vec![], Some(vec![])),
            (vec![vec![3, 4]], Some(vec![3])),
            (vec![vec![1, 2], vec![1]], Some(vec![2, 1])),
            (vec![vec![1, 2], vec![1, 2], vec![2]], None),
            (vec![vec![1], vec![]], None),
        ] {
            assert_eq!(matching(&candidates), expected, "{candidates:?}");
        }
    }

    /// Whether peers, each with one role, satisfy an alternative: by trying all assignments.
    fn satisfied(peers: &[Role], alternative: &[Role]) -> bool {
        let Some((first, rest)) = alternative.split_first() else {
            return true;
        };
        (0..peers.len()).any(|index| {
            let mut others = peers.to_vec();
            others.remove(index).implies(first) && satisfied(&others, rest)
        })
    }

    fn policies() -> impl Strategy<Value = Vec<Vec<Layout<Role>>>> {
        let role = prop::sample::select(vec!['A', 'a', 'B', 'b', 'C']).prop_map(Role);
        let layout = prop::collection::vec(role, 1..4);
        prop::collection::vec(prop::collection::vec(layout, 1..4), 1..4)
    }

    proptest! {
        /// Whoever fills a layout satisfies every policy.
        #[test]
        fn every_layout_satisfies_all_policies(policies in policies()) {
            for layout in layouts(&policies) {
                for policy in &policies {
                    prop_assert!(policy.iter().any(|set| satisfied(&layout, set)), "{layout:?}");
                }
            }
        }

        /// Exactly those peers fill a layout that satisfy every policy.
        #[test]
        fn whoever_satisfies_all_policies_fills_a_layout(
            policies in policies(),
            peers in prop::collection::vec(prop::sample::select(vec!['A', 'B', 'C', 'a']).prop_map(Role), 0..6),
        ) {
            let satisfies = policies
                .iter()
                .all(|policy| policy.iter().any(|set| satisfied(&peers, set)));
            let fills = layouts(&policies).iter().any(|layout| satisfied(&peers, layout));
            prop_assert_eq!(satisfies, fills);
        }

        /// No layout asks for more than another one.
        #[test]
        fn layouts_are_minimal(policies in policies()) {
            let found = layouts(&policies);
            for (index, layout) in found.iter().enumerate() {
                for (other_index, other) in found.iter().enumerate() {
                    prop_assert!(index == other_index || !satisfied(layout, other), "{layout:?} {other:?}");
                }
            }
        }
    }
}
