//! Minimal sets of principals that satisfy a policy, for planning whom to ask for endorsements.

use std::collections::HashSet;

/// Multisets of principals by number, each sorted.
pub(super) type Sets = Vec<Vec<usize>>;

/// The most sets that are kept at any step: plans need a choice, not all of them.
pub(super) const LIMIT: usize = 512;

/// Sets that satisfy `required` of `alternatives`, each given by its own sets; `combine` joins two.
pub(super) fn out_of(
    required: usize,
    alternatives: &[Sets],
    combine: fn(&[usize], &[usize]) -> Vec<usize>,
) -> Sets {
    // `chosen[k]` are the sets that satisfy k of the alternatives seen so far.
    let mut chosen: Vec<Sets> = vec![Vec::new(); required.min(alternatives.len()) + 1];
    if required > alternatives.len() {
        return Vec::new();
    }
    chosen[0].push(Vec::new());
    for alternative in alternatives {
        for count in (1..=required).rev() {
            let mut extended = std::mem::take(&mut chosen[count]);
            'full: for before in &chosen[count - 1] {
                for addition in alternative {
                    if extended.len() >= LIMIT {
                        break 'full;
                    }
                    extended.push(combine(before, addition));
                }
            }
            chosen[count] = minimal(extended);
        }
    }
    chosen.swap_remove(required)
}

/// Both sets together: every leaf takes an identity of its own.
pub(super) fn joined(left: &[usize], right: &[usize]) -> Vec<usize> {
    let mut set = [left, right].concat();
    set.sort_unstable();
    set
}

/// What covers both sets when an identity may serve each of them once.
pub(super) fn covering(left: &[usize], right: &[usize]) -> Vec<usize> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    let mut set = Vec::new();
    loop {
        match (left.peek(), right.peek()) {
            (Some(l), Some(r)) if l == r => {
                set.push(**l);
                left.next();
                right.next();
            }
            (Some(l), Some(r)) if l < r => {
                set.push(**l);
                left.next();
            }
            (_, Some(r)) => {
                set.push(**r);
                right.next();
            }
            (Some(l), None) => {
                set.push(**l);
                left.next();
            }
            (None, None) => return set,
        }
    }
}

/// Without sets that contain another one; the order of the rest is kept.
pub(super) fn minimal(sets: Sets) -> Sets {
    let mut seen = HashSet::new();
    let mut distinct = Vec::with_capacity(sets.len());
    for mut set in sets {
        set.sort_unstable();
        if seen.insert(set.clone()) {
            distinct.push(set);
        }
    }
    // Only a smaller set can be contained in a set that differs from it.
    let shortest = distinct.iter().map(Vec::len).min().unwrap_or(0);
    let redundant = |set: &Vec<usize>| {
        set.len() > shortest
            && distinct
                .iter()
                .any(|smaller| smaller.len() < set.len() && contains(set, smaller))
    };
    distinct
        .iter()
        .filter(|set| !redundant(set))
        .cloned()
        .collect()
}

fn contains(larger: &[usize], smaller: &[usize]) -> bool {
    covering(larger, smaller).len() == larger.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(numbers: &[usize]) -> Vec<Sets> {
        numbers.iter().map(|number| vec![vec![*number]]).collect()
    }

    #[test]
    fn a_majority_has_every_pair_once() {
        let sets = out_of(2, &single(&[0, 1, 2]), joined);
        assert_eq!(sets, [vec![0, 1], vec![0, 2], vec![1, 2]]);
    }

    #[test]
    fn leaves_add_up_and_sub_policies_overlap() {
        assert_eq!(out_of(2, &single(&[0, 0]), joined), [vec![0, 0]]);
        assert_eq!(out_of(2, &single(&[0, 0]), covering), [vec![0]]);
    }

    #[test]
    fn nothing_is_needed_for_none_and_nothing_suffices_for_too_many() {
        assert_eq!(out_of(0, &single(&[0, 1]), joined), [Vec::<usize>::new()]);
        assert!(out_of(3, &single(&[0, 1]), joined).is_empty());
    }

    #[test]
    fn sets_that_contain_another_are_dropped() {
        assert_eq!(
            minimal(vec![vec![0, 1], vec![1], vec![1], vec![0, 0]]),
            [vec![1], vec![0, 0]]
        );
    }

    #[test]
    fn a_large_policy_stays_bounded() {
        let numbers: Vec<usize> = (0..40).collect();
        let sets = out_of(20, &single(&numbers), joined);
        assert!(!sets.is_empty() && sets.len() <= LIMIT);
        assert!(sets.iter().all(|set| set.len() == 20));
    }
}
