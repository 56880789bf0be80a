//! Implicit meta policies: any, all or most of the child groups' policies of one name.

use std::sync::Arc;

use consilium_proto::common::MspPrincipal;
use consilium_proto::common::implicit_meta_policy::Rule;

use super::sets::{self, Sets};
use super::{Policy, PolicyError, SignedData, verified_identities};
use crate::identity::Identity;
use crate::msps::MspManager;

/// A compiled implicit meta policy.
pub(super) struct ImplicitMeta {
    /// One for each child group; a child without the policy has one that rejects everything.
    pub sub_policies: Vec<Arc<dyn Policy>>,
    pub required: usize,
    pub name: String,
    pub msps: Arc<MspManager>,
}

/// How many of `count` child groups have to be satisfied. Over no group at all nothing is asked.
pub fn threshold(rule: Rule, count: usize) -> usize {
    match rule {
        _ if count == 0 => 0,
        Rule::Any => 1,
        Rule::All => count,
        Rule::Majority => count / 2 + 1,
    }
}

impl Policy for ImplicitMeta {
    fn evaluate(&self, set: &[SignedData]) -> Result<(), PolicyError> {
        // All policies of a channel share its MSPs, so the signatures are verified once for all.
        self.evaluate_identities(&verified_identities(&self.msps, set))
    }

    fn evaluate_identities(&self, identities: &[Arc<Identity>]) -> Result<(), PolicyError> {
        let mut satisfied = 0;
        for policy in &self.sub_policies {
            if satisfied == self.required {
                break;
            }
            satisfied += usize::from(policy.evaluate_identities(identities).is_ok());
        }
        if satisfied >= self.required {
            return Ok(());
        }
        Err(PolicyError::TooFewSubPolicies {
            satisfied,
            required: self.required,
            sub_policy: self.name.clone(),
        })
    }

    fn principal_sets(&self) -> Vec<Vec<MspPrincipal>> {
        let mut principals: Vec<MspPrincipal> = Vec::new();
        let mut number = |principal: MspPrincipal| {
            principals
                .iter()
                .position(|known| *known == principal)
                .unwrap_or_else(|| {
                    principals.push(principal);
                    principals.len() - 1
                })
        };
        let alternatives: Vec<Sets> = self
            .sub_policies
            .iter()
            .map(|policy| {
                let sets = policy.principal_sets().into_iter();
                sets::minimal(
                    sets.map(|set| set.into_iter().map(&mut number).collect())
                        .collect(),
                )
            })
            .collect();
        sets::out_of(self.required, &alternatives, sets::covering)
            .into_iter()
            .map(|set| {
                set.into_iter()
                    .map(|index| principals[index].clone())
                    .collect()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_follow_the_number_of_child_groups() {
        for (count, any, all, majority) in [
            (0, 0, 0, 0),
            (1, 1, 1, 1),
            (2, 1, 2, 2),
            (3, 1, 3, 2),
            (4, 1, 4, 3),
            (5, 1, 5, 3),
        ] {
            assert_eq!(threshold(Rule::Any, count), any, "any of {count}");
            assert_eq!(threshold(Rule::All, count), all, "all of {count}");
            assert_eq!(
                threshold(Rule::Majority, count),
                majority,
                "majority of {count}"
            );
        }
    }
}
