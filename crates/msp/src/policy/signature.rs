//! Signature policies: trees of "n out of" over principals.

use std::sync::Arc;

use consilium_proto::common::signature_policy::Type;
use consilium_proto::common::{MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope};

use super::sets::{self, Sets};
use super::{Policy, PolicyError, SignedData, holds, verified_identities};
use crate::identity::Identity;
use crate::msps::MspManager;
use crate::principal::Principal;

/// A compiled rule: indexes are checked, so evaluation cannot fail in other ways than being unsatisfied.
#[derive(Debug)]
enum Rule {
    SignedBy(usize),
    OutOf(i32, Vec<Rule>),
}

struct Compiled {
    rule: Rule,
    /// What the rule's indexes refer to; `None` for a principal that cannot be read, which nobody holds.
    principals: Vec<(MspPrincipal, Option<Principal>)>,
    msps: Arc<MspManager>,
}

/// Compiles a signature policy.
///
/// # Errors
/// [`PolicyError::Malformed`] with Fabric's text.
pub fn signature_policy(
    envelope: &SignaturePolicyEnvelope,
    msps: Arc<MspManager>,
) -> Result<Arc<dyn Policy>, PolicyError> {
    if envelope.version != 0 {
        return Err(PolicyError::Malformed(format!(
            "This evaluator only understands messages of version 0, but version was {}",
            envelope.version
        )));
    }
    let rule = compile(envelope.rule.as_ref(), &envelope.identities)?;
    let principals = envelope
        .identities
        .iter()
        .map(|principal| (principal.clone(), Principal::decode(principal).ok()))
        .collect();
    Ok(Arc::new(Compiled {
        rule,
        principals,
        msps,
    }))
}

fn compile(
    rule: Option<&SignaturePolicy>,
    principals: &[MspPrincipal],
) -> Result<Rule, PolicyError> {
    match rule.and_then(|rule| rule.r#type.as_ref()) {
        None => Err(PolicyError::Malformed("Empty policy element".into())),
        Some(Type::SignedBy(index)) => {
            let principal = usize::try_from(*index)
                .ok()
                .and_then(|index| principals.get(index));
            // Equal principals get one number, so that sets over them can be compared.
            let first =
                principal.and_then(|wanted| principals.iter().position(|other| other == wanted));
            first.map(Rule::SignedBy).ok_or_else(|| {
                PolicyError::Malformed(format!(
                    "identity index out of range, requested {index}, but identities length is {}",
                    principals.len()
                ))
            })
        }
        Some(Type::NOutOf(out_of)) => {
            let rules = out_of
                .rules
                .iter()
                .map(|rule| compile(Some(rule), principals))
                .collect::<Result<_, _>>()?;
            Ok(Rule::OutOf(out_of.n, rules))
        }
    }
}

impl Rule {
    /// The reference algorithm: greedy, in order, without going back, and without stopping early. Its
    /// results depend on the order of signatures, and every node has to get the same ones.
    fn evaluate(&self, used: &mut Vec<bool>, holds: &mut impl FnMut(usize, usize) -> bool) -> bool {
        match self {
            Rule::SignedBy(principal) => {
                let holder = (0..used.len())
                    .find(|&identity| !used[identity] && holds(identity, *principal));
                if let Some(identity) = holder {
                    used[identity] = true;
                }
                holder.is_some()
            }
            Rule::OutOf(required, rules) => {
                let mut satisfied = 0i32;
                for rule in rules {
                    let mut attempt = used.clone();
                    if rule.evaluate(&mut attempt, holds) {
                        satisfied = satisfied.saturating_add(1);
                        *used = attempt;
                    }
                }
                satisfied >= *required
            }
        }
    }

    /// Sets of principals, each of which satisfies the rule when distinct identities hold them.
    fn sufficient_sets(&self) -> Sets {
        let satisfies = |set: &Vec<usize>| {
            let mut used = vec![false; set.len()];
            self.evaluate(&mut used, &mut |identity, principal| {
                set[identity] == principal
            })
        };
        // The greedy match may waste identities on a branch that has enough already. Then one for every
        // leaf helps, if anything does.
        let mut leaves = Vec::new();
        self.leaves(&mut leaves);
        let sets = self.sets().into_iter();
        let widened = sets.map(|set| if satisfies(&set) { set } else { leaves.clone() });
        sets::minimal(widened.filter(satisfies).collect())
    }

    fn leaves(&self, out: &mut Vec<usize>) {
        match self {
            Rule::SignedBy(principal) => out.push(*principal),
            Rule::OutOf(_, rules) => rules.iter().for_each(|rule| rule.leaves(out)),
        }
    }

    fn sets(&self) -> Sets {
        match self {
            Rule::SignedBy(principal) => vec![vec![*principal]],
            Rule::OutOf(required, rules) => {
                let alternatives: Vec<Sets> = rules.iter().map(Rule::sets).collect();
                sets::out_of(
                    usize::try_from(*required).unwrap_or(0),
                    &alternatives,
                    sets::joined,
                )
            }
        }
    }
}

impl Policy for Compiled {
    fn evaluate(&self, set: &[SignedData]) -> Result<(), PolicyError> {
        self.evaluate_identities(&verified_identities(&self.msps, set))
    }

    fn evaluate_identities(&self, identities: &[Arc<Identity>]) -> Result<(), PolicyError> {
        let mut used = vec![false; identities.len()];
        let mut holder = |identity: usize, principal: usize| match &self.principals[principal].1 {
            Some(principal) => holds(&self.msps, &identities[identity], principal).is_ok(),
            None => false,
        };
        match self.rule.evaluate(&mut used, &mut holder) {
            true => Ok(()),
            false => Err(PolicyError::NotSatisfied),
        }
    }

    fn principal_sets(&self) -> Vec<Vec<MspPrincipal>> {
        self.rule
            .sufficient_sets()
            .into_iter()
            .map(|set| {
                set.into_iter()
                    .map(|index| self.principals[index].0.clone())
                    .collect()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Identities are numbers; identity `i` holds principal `p` when bit `p` of `i` is set.
    fn satisfied(rule: &Rule, identities: &[u8]) -> bool {
        let mut used = vec![false; identities.len()];
        rule.evaluate(&mut used, &mut |identity, principal| {
            identities[identity] >> principal & 1 == 1
        })
    }

    fn signed(principal: usize) -> Rule {
        Rule::SignedBy(principal)
    }

    #[test]
    fn the_greedy_match_consumes_identities_in_order() {
        const MEMBER: u8 = 1;
        const ADMIN: u8 = 0b11;
        let both = || Rule::OutOf(2, vec![signed(0), signed(1)]);
        for (rule, identities, expected, why) in [
            (both(), vec![ADMIN], false, "one identity serves one leaf"),
            (
                both(),
                vec![MEMBER, ADMIN],
                true,
                "the member fits the first leaf",
            ),
            (
                both(),
                vec![ADMIN, MEMBER],
                false,
                "the admin is consumed as a member",
            ),
            (
                Rule::OutOf(0, vec![signed(1)]),
                vec![],
                true,
                "none of anything",
            ),
            (Rule::OutOf(0, vec![]), vec![], true, "none of nothing"),
            (
                Rule::OutOf(2, vec![signed(0)]),
                vec![MEMBER, MEMBER],
                false,
                "more than there are rules",
            ),
            (
                Rule::OutOf(
                    2,
                    vec![Rule::OutOf(1, vec![signed(0), signed(0)]), signed(0)],
                ),
                vec![MEMBER, MEMBER],
                false,
                "one out of two consumes both, without stopping at the first",
            ),
            (
                Rule::OutOf(
                    2,
                    vec![Rule::OutOf(2, vec![signed(0), signed(1)]), signed(0)],
                ),
                vec![MEMBER],
                false,
                "a failed branch gives back what it took, but cannot count",
            ),
            (
                Rule::OutOf(
                    1,
                    vec![Rule::OutOf(2, vec![signed(0), signed(1)]), signed(0)],
                ),
                vec![MEMBER],
                true,
                "a failed branch gives back what it took",
            ),
            (
                Rule::OutOf(-1, vec![]),
                vec![],
                true,
                "a negative number is reached",
            ),
        ] {
            assert_eq!(
                satisfied(&rule, &identities),
                expected,
                "{why}: {rule:?} over {identities:?}"
            );
        }
    }

    fn rules() -> impl Strategy<Value = Rule> {
        let leaf = (0usize..3).prop_map(signed);
        leaf.prop_recursive(3, 16, 4, |inner| {
            (0i32..4, proptest::collection::vec(inner, 1..4))
                .prop_map(|(n, rules)| Rule::OutOf(n, rules))
        })
    }

    proptest! {
        #[test]
        fn whatever_a_principal_set_says_is_necessary(rule in rules(), identities in proptest::collection::vec(0u8..8, 0..6)) {
            // If no set can be covered even with an identity for each leaf, the policy must refuse.
            let coverable = rule.sets().iter().any(|set| {
                set.iter().all(|principal| identities.iter().any(|identity| identity >> principal & 1 == 1))
            });
            prop_assert!(coverable || !satisfied(&rule, &identities));
        }

        #[test]
        fn distinct_holders_of_a_principal_set_satisfy_the_policy(rule in rules()) {
            for set in rule.sufficient_sets() {
                let identities: Vec<u8> = set.iter().map(|principal| 1u8 << principal).collect();
                prop_assert!(satisfied(&rule, &identities), "{:?}", set);
            }
        }
    }
}
