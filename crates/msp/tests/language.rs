//! The policy language, by example and by property.

use consilium_msp::dsl::{self, parse, parse_implicit_meta};
use consilium_msp::role_principal;
use consilium_proto::common::SignaturePolicy;
use consilium_proto::common::implicit_meta_policy::Rule;
use consilium_proto::common::msp_role::MspRoleType;
use consilium_proto::common::signature_policy::{NOutOf, Type};
use proptest::prelude::*;

fn signed_by(index: i32) -> SignaturePolicy {
    SignaturePolicy {
        r#type: Some(Type::SignedBy(index)),
    }
}

fn out_of(n: i32, rules: Vec<SignaturePolicy>) -> SignaturePolicy {
    SignaturePolicy {
        r#type: Some(Type::NOutOf(NOutOf { n, rules })),
    }
}

#[test]
fn gates_become_n_out_of_with_one_identity_for_each_occurrence() {
    let pair = || vec![signed_by(0), signed_by(1)];
    for (text, expected) in [
        ("OR('A.member')", out_of(1, vec![signed_by(0)])),
        ("AND('A.member', 'B.member')", out_of(2, pair())),
        ("And('A.member','B.member')", out_of(2, pair())),
        ("and( \"A.member\" ,\t'B.member' )", out_of(2, pair())),
        ("or('A.member', 'A.member')", out_of(1, pair())),
        ("OutOf(2, 'A.member', 'B.member')", out_of(2, pair())),
        ("outof(0, 'A.member', 'B.member')", out_of(0, pair())),
        ("OUTOF(3, 'A.member', 'B.member')", out_of(3, pair())),
        ("OutOf('2', 'A.member', 'B.member')", out_of(2, pair())),
        (
            "OR('A.member', AND('B.peer', 'C.admin'), 'D.client')",
            out_of(
                1,
                // Fabric evaluates the inner gate first.
                vec![
                    signed_by(2),
                    out_of(2, vec![signed_by(0), signed_by(1)]),
                    signed_by(3),
                ],
            ),
        ),
    ] {
        let envelope = parse(text).expect(text);
        assert_eq!(envelope.version, 0);
        assert_eq!(envelope.rule, Some(expected), "{text}");
    }
}

#[test]
fn the_last_dot_separates_the_role() {
    for (text, msp_id, role) in [
        ("OR('Org1MSP.admin')", "Org1MSP", MspRoleType::Admin),
        (
            "OR('org.example.com.peer')",
            "org.example.com",
            MspRoleType::Peer,
        ),
        ("OR('a-b.client')", "a-b", MspRoleType::Client),
        ("OR('peer.orderer')", "peer", MspRoleType::Orderer),
    ] {
        assert_eq!(
            parse(text).expect(text).identities,
            [role_principal(msp_id, role)],
            "{text}"
        );
    }
}

#[test]
fn what_is_no_policy_is_refused_with_the_reason() {
    for (text, expected) in [
        ("", "invalid policy string ''"),
        ("'A.member'", "invalid policy string ''A.member''"),
        ("7", "invalid policy string '7'"),
        ("OR('A.member'", "invalid policy string 'OR('A.member''"),
        (
            "OR('A.member') extra",
            "invalid policy string 'OR('A.member') extra'",
        ),
        ("OR('A.member)", "invalid policy string 'OR('A.member)'"),
        ("foo", "unrecognized token 'foo' in policy string"),
        (
            "XOR('A.member')",
            "unrecognized token 'XOR' in policy string",
        ),
        (
            "aND('A.member')",
            "unrecognized token 'aND' in policy string",
        ),
        (
            "OR('A.member', barf)",
            "unrecognized token 'barf' in policy string",
        ),
        ("OR('A.owner')", "error parsing principal A.owner"),
        ("OR('A')", "error parsing principal A"),
        ("OR('.member')", "error parsing principal .member"),
        ("OR('A B.member')", "error parsing principal A B.member"),
        ("OR('Ä.member')", "error parsing principal Ä.member"),
        (
            "OutOf(4, 'A.member', 'B.member')",
            "invalid t-out-of-n predicate, t 4, n 2",
        ),
        (
            "OutOf(-1, 'A.member', 'B.member')",
            "invalid t-out-of-n predicate, t -1, n 2",
        ),
        (
            "OutOf(99999999999, 'A.member')",
            "invalid t-out-of-n predicate, t 99999999999, n 1",
        ),
        (
            "OutOf(1)",
            "expected at least two arguments to NOutOf. Given 1",
        ),
        (
            "OutOf()",
            "expected at least two arguments to NOutOf. Given 0",
        ),
    ] {
        assert_eq!(parse(text).expect_err(text).to_string(), expected);
    }
}

#[test]
fn deep_nesting_is_refused_without_exhausting_the_stack() {
    let nested = |depth: usize| format!("{}'A.member'{}", "OR(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(20)).is_ok());
    assert!(parse(&nested(100_000)).is_err());
}

#[test]
fn implicit_meta_policies_are_two_words() {
    for (text, rule, sub_policy) in [
        ("ANY Readers", Rule::Any, "Readers"),
        ("ALL Writers", Rule::All, "Writers"),
        ("MAJORITY Endorsement", Rule::Majority, "Endorsement"),
    ] {
        let policy = parse_implicit_meta(text).expect(text);
        assert_eq!(
            (policy.rule(), policy.sub_policy.as_str()),
            (rule, sub_policy)
        );
    }
    for text in [
        "",
        "ANY",
        "any Readers",
        "ANY  Readers",
        "MOST Readers",
        "ANY Readers Writers",
    ] {
        assert!(parse_implicit_meta(text).is_err(), "{text:?}");
    }
}

/// A tree of gates as text, with the rule it has to become.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(u8),
    Gate(u8, u8, Vec<Tree>),
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Tree::Leaf(number) => format!("'Org{number}MSP.member'"),
            Tree::Gate(kind, n, children) => {
                let arguments: Vec<String> = children.iter().map(Tree::text).collect();
                let arguments = arguments.join(", ");
                match kind {
                    0 => format!("AND({arguments})"),
                    1 => format!("or({arguments})"),
                    _ => format!(
                        "OutOf({}, {arguments})",
                        usize::from(*n) % (children.len() + 2)
                    ),
                }
            }
        }
    }

    fn rule(&self, next: &mut i32) -> SignaturePolicy {
        match self {
            Tree::Leaf(_) => {
                *next += 1;
                signed_by(*next - 1)
            }
            Tree::Gate(kind, n, children) => {
                let n = match kind {
                    0 => children.len() as i32,
                    1 => 1,
                    _ => i32::from(*n) % (children.len() as i32 + 2),
                };
                let is_gate = |child: &Tree| matches!(child, Tree::Gate(..));
                let mut rules = vec![SignaturePolicy::default(); children.len()];
                for gates in [true, false] {
                    for (rule, child) in rules.iter_mut().zip(children) {
                        if is_gate(child) == gates {
                            *rule = child.rule(next);
                        }
                    }
                }
                out_of(n, rules)
            }
        }
    }
}

fn gates() -> impl Strategy<Value = Tree> {
    let gate = |inner: BoxedStrategy<Tree>| {
        (0u8..3, any::<u8>(), proptest::collection::vec(inner, 1..4))
            .prop_map(|(kind, n, children)| Tree::Gate(kind, n, children))
    };
    let leaf = any::<u8>().prop_map(Tree::Leaf);
    gate(
        leaf.prop_recursive(3, 20, 4, move |inner| gate(inner.boxed()))
            .boxed(),
    )
}

proptest! {
    #[test]
    fn every_tree_of_gates_is_read_as_it_is_written(tree in gates()) {
        let envelope = parse(&tree.text()).expect("own text");
        let mut leaves = 0;
        prop_assert_eq!(envelope.rule, Some(tree.rule(&mut leaves)));
        prop_assert_eq!(envelope.identities.len(), leaves as usize);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[ANDORoutf0-9a-z.'\"(), -]{0,60}") {
        let _ = parse(&text);
        let _ = parse_implicit_meta(&text);
    }
}

#[test]
fn a_policy_is_described_in_the_words_that_make_it() {
    for text in [
        "OR('Org1MSP.admin')",
        "OR('Org1MSP.member', 'Org2.with.dots.peer')",
        "AND('A.client', 'B.orderer', 'C.member')",
        "OutOf(2, 'A.member', 'B.member', 'C.member')",
        "OutOf(0, 'A.member', 'B.member')",
        "OutOf(3, 'A.member', 'B.member')",
        "AND(OR('A.member', 'B.member'), OutOf(2, 'C.peer', OR('D.peer'), 'E.peer'))",
    ] {
        let policy = dsl::parse(text).expect(text);
        assert_eq!(dsl::describe(&policy), text);
    }
    for text in ["ANY Readers", "ALL Writers", "MAJORITY Admins"] {
        let policy = dsl::parse_implicit_meta(text).expect(text);
        assert_eq!(dsl::describe_implicit_meta(&policy), text);
    }
}

#[test]
fn what_the_language_has_no_words_for_is_described_in_brackets() {
    use consilium_proto::common::{MspPrincipal, OrganizationUnit, SignaturePolicyEnvelope};
    use prost::Message as _;
    let mut policy = dsl::parse("OR('A.member')").expect("a policy");
    let unit = OrganizationUnit {
        msp_identifier: "A".into(),
        organizational_unit_identifier: "ward".into(),
        certifiers_identifier: bytes::Bytes::from_static(&[0xab]),
    };
    policy.identities[0] = MspPrincipal {
        principal_classification: 1,
        principal: unit.encode_to_vec().into(),
    };
    assert_eq!(dsl::describe(&policy), "OR((unit ward of A under ab))");
    policy.identities.clear();
    assert_eq!(dsl::describe(&policy), "OR((nobody))");
    assert_eq!(
        dsl::describe(&SignaturePolicyEnvelope::default()),
        "(nothing)"
    );
    let refused = dsl::parse("OR((unit ward of A under ab))");
    assert!(refused.is_err(), "it does not parse");
}
