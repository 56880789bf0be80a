//! Which peers a private write set goes to. Pure.
//! fabric: gossip/privdata/distributor.go disseminationPlanForMsg

use std::collections::BTreeMap;

use rand::{Rng, seq::SliceRandom};

/// A peer that gets a write set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Index among the eligible peers.
    pub(crate) peer: usize,
    /// Whether it has to acknowledge.
    pub(crate) is_required: bool,
}

/// Chooses among eligible peers, given by their organizations: first one of each organization, in
/// random order, then any others, `maximum` in all; the first `required` have to acknowledge.
///
/// # Errors
/// Fabric's text when there are fewer than `required`.
pub(crate) fn choose(
    organizations: &[&str],
    required: usize,
    maximum: usize,
    rng: &mut impl Rng,
) -> Result<Vec<Target>, String> {
    if organizations.len() < required {
        return Err(format!(
            "required to disseminate to at least {required} peers, but know of only {} eligible peers",
            organizations.len()
        ));
    }
    let mut by_organization: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (peer, organization) in organizations.iter().enumerate() {
        by_organization.entry(organization).or_default().push(peer);
    }
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for (_, mut peers) in by_organization {
        peers.shuffle(rng);
        first.extend(peers.pop());
        rest.append(&mut peers);
    }
    first.shuffle(rng);
    rest.shuffle(rng);
    Ok(first
        .into_iter()
        .chain(rest)
        .take(maximum)
        .enumerate()
        .map(|(place, peer)| Target {
            peer,
            is_required: place < required,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn too_few_peers_are_refused_in_fabrics_words() {
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(
            choose(&["a"], 2, 3, &mut rng).unwrap_err(),
            "required to disseminate to at least 2 peers, but know of only 1 eligible peers"
        );
        assert_eq!(choose(&[], 0, 3, &mut rng), Ok(vec![]));
        assert_eq!(choose(&["a", "b"], 0, 0, &mut rng), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn a_plan_spreads_over_organizations_and_keeps_its_counts(
            organizations in proptest::collection::vec("[abc]", 0..12),
            required in 0usize..6,
            more in 0usize..6,
            seed in any::<u64>(),
        ) {
            let names: Vec<&str> = organizations.iter().map(String::as_str).collect();
            let maximum = required + more;
            let mut rng = StdRng::seed_from_u64(seed);
            let Ok(plan) = choose(&names, required, maximum, &mut rng) else {
                prop_assert!(names.len() < required);
                return Ok(());
            };
            prop_assert_eq!(plan.len(), maximum.min(names.len()));
            prop_assert_eq!(plan.iter().filter(|target| target.is_required).count(), required);
            let peers: BTreeSet<usize> = plan.iter().map(|target| target.peer).collect();
            prop_assert_eq!(peers.len(), plan.len(), "nobody gets it twice");
            let all: BTreeSet<&str> = names.iter().copied().collect();
            let reached: BTreeSet<&str> = plan.iter().map(|target| names[target.peer]).collect();
            prop_assert_eq!(reached.len(), all.len().min(maximum));
        }
    }
}
