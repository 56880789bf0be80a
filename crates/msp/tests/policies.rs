//! Principals and policies over real signatures.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::{
    Identity, Msp, MspManager, MspVersion, Policy, PolicyError, PolicyManager, SignedData, Signer,
    SoftwareSigner, dsl, role_principal, signature_policy, verified_identities,
};
use consilium_proto::common::implicit_meta_policy::Rule;
use consilium_proto::common::msp_identity_anonymity::MspIdentityAnonymityType;
use consilium_proto::common::msp_principal::Classification;
use consilium_proto::common::msp_role::MspRoleType;
use consilium_proto::common::policy::PolicyType;
use consilium_proto::common::signature_policy::{NOutOf, Type};
use consilium_proto::common::{
    CombinedPrincipal, ConfigGroup, ConfigPolicy, ImplicitMetaPolicy, MspIdentityAnonymity,
    MspPrincipal, OrganizationUnit, Policy as PolicyMessage, SignaturePolicy,
    SignaturePolicyEnvelope,
};
use consilium_testkit::{NodeOu, Organization};
use prost::Message;

struct Network {
    organizations: Vec<Organization>,
    msps: Arc<MspManager>,
}

impl Network {
    fn new(count: usize) -> Self {
        let organizations: Vec<Organization> = (1..=count)
            .map(|number| {
                Organization::new(
                    &format!("Org{number}MSP"),
                    &format!("org{number}.example.com"),
                )
            })
            .collect();
        let msps = Arc::new(
            MspManager::new(organizations.iter().map(Organization::msp).collect()).expect("msps"),
        );
        Network {
            organizations,
            msps,
        }
    }

    fn signer(&self, organization: usize, unit: NodeOu) -> Arc<SoftwareSigner> {
        self.organizations[organization - 1].signer("someone", unit)
    }

    fn identity(&self, organization: usize, unit: NodeOu) -> Arc<Identity> {
        self.msps
            .deserialize(self.signer(organization, unit).serialized())
            .expect("identity")
    }

    fn policy(&self, text: &str) -> Arc<dyn Policy> {
        signature_policy(&dsl::parse(text).expect(text), self.msps.clone()).expect(text)
    }
}

fn signed(signer: &SoftwareSigner, data: &'static [u8]) -> SignedData {
    SignedData {
        data: Bytes::from_static(data),
        identity: signer.serialized().clone(),
        signature: signer.sign(data).expect("signature"),
    }
}

fn principal(classification: Classification, message: &impl Message) -> MspPrincipal {
    MspPrincipal {
        principal_classification: classification.into(),
        principal: message.encode_to_vec().into(),
    }
}

#[test]
fn roles_are_told_apart_by_units() {
    use MspRoleType::{Admin, Client, Member, Orderer, Peer};
    let network = Network::new(2);
    for (unit, roles) in [
        (NodeOu::Client, &[Member, Client][..]),
        (NodeOu::Peer, &[Member, Peer]),
        (NodeOu::Admin, &[Member, Admin]),
        (NodeOu::Orderer, &[Member, Orderer]),
    ] {
        let identity = network.identity(1, unit);
        for role in [Member, Admin, Client, Peer, Orderer] {
            let satisfied = network
                .msps
                .satisfies(&identity, &role_principal("Org1MSP", role));
            assert_eq!(
                satisfied.is_ok(),
                roles.contains(&role),
                "{unit:?} as {role:?}: {satisfied:?}"
            );
        }
        let error = network
            .msps
            .satisfies(&identity, &role_principal("Org2MSP", Member))
            .expect_err("another");
        assert_eq!(
            error.to_string(),
            "the identity is a member of a different MSP (expected Org2MSP, got Org1MSP)"
        );
    }
}

#[test]
fn without_units_only_members_and_listed_administrators_exist() {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let listed = organization.issue("admin", NodeOu::Client);
    let mut config = organization.msp_config();
    config.fabric_node_ous = None;
    config.admins = vec![Bytes::from(listed.cert_pem.clone())];
    let msp = Msp::new(&config, MspVersion::V3_0).expect("msp");
    let admin = msp
        .identity_of(listed.cert_pem.as_bytes())
        .expect("identity");
    let user = msp
        .identity_of(
            organization
                .issue("user", NodeOu::Admin)
                .cert_pem
                .as_bytes(),
        )
        .expect("identity");
    let outcome = |identity: &Identity, role| {
        msp.satisfies(identity, &role_principal("Org1MSP", role))
            .map_err(|error| error.to_string())
    };
    assert_eq!(outcome(&admin, MspRoleType::Admin), Ok(()));
    assert_eq!(outcome(&user, MspRoleType::Member), Ok(()));
    assert_eq!(
        outcome(&user, MspRoleType::Admin),
        Err("This identity is not an admin".into())
    );
    assert_eq!(
        outcome(&user, MspRoleType::Orderer),
        Err("invalid MSP role type 4".into())
    );
    assert!(
        outcome(&user, MspRoleType::Peer).is_err_and(
            |text| text.ends_with("NodeOUs not activated. Cannot tell apart identities.")
        )
    );
}

#[test]
fn principals_of_every_kind_are_understood() {
    let network = Network::new(1);
    let msp = network.msps.msp("Org1MSP").expect("msp");
    let (peer, other) = (
        network.identity(1, NodeOu::Peer),
        network.identity(1, NodeOu::Peer),
    );
    let unit = |name: &str, certifiers: Vec<u8>| {
        let unit = OrganizationUnit {
            msp_identifier: "Org1MSP".into(),
            organizational_unit_identifier: name.into(),
            certifiers_identifier: certifiers.into(),
        };
        principal(Classification::OrganizationUnit, &unit)
    };
    let certifiers = msp.certifiers_of(&peer).expect("path");
    let combined = |principals: &[MspPrincipal]| {
        principal(
            Classification::Combined,
            &CombinedPrincipal {
                principals: principals.to_vec(),
            },
        )
    };
    let anonymity = |kind: MspIdentityAnonymityType| {
        principal(
            Classification::Anonymity,
            &MspIdentityAnonymity {
                anonymity_type: kind.into(),
            },
        )
    };
    let this = MspPrincipal {
        principal_classification: Classification::Identity.into(),
        principal: peer.serialized().clone(),
    };
    let is_peer = role_principal("Org1MSP", MspRoleType::Peer);
    let is_admin = role_principal("Org1MSP", MspRoleType::Admin);

    for (what, principal, expected) in [
        ("unit with its path", unit("peer", certifiers.clone()), true),
        ("unit with another path", unit("peer", vec![1]), false),
        ("unit without a path", unit("peer", vec![]), false),
        ("another unit", unit("client", certifiers), false),
        ("itself", this.clone(), true),
        (
            "nominal",
            anonymity(MspIdentityAnonymityType::Nominal),
            true,
        ),
        (
            "anonymous",
            anonymity(MspIdentityAnonymityType::Anonymous),
            false,
        ),
        (
            "all of what it is",
            combined(&[is_peer.clone(), combined(std::slice::from_ref(&this))]),
            true,
        ),
        ("one that it is not", combined(&[is_peer, is_admin]), false),
        ("nothing combined", combined(&[]), false),
        (
            "a role that cannot be read",
            MspPrincipal {
                principal: Bytes::from_static(b"\xff"),
                ..Default::default()
            },
            false,
        ),
        (
            "an unknown kind",
            MspPrincipal {
                principal_classification: 9,
                ..Default::default()
            },
            false,
        ),
    ] {
        let satisfied = network.msps.satisfies(&peer, &principal);
        assert_eq!(satisfied.is_ok(), expected, "{what}: {satisfied:?}");
    }
    assert!(
        network.msps.satisfies(&other, &this).is_err(),
        "another certificate of the same kind"
    );
}

#[test]
fn only_good_signatures_of_distinct_identities_count() {
    let network = Network::new(2);
    let (first, second) = (
        network.signer(1, NodeOu::Peer),
        network.signer(2, NodeOu::Peer),
    );
    let good = signed(&first, b"data");
    let forged = SignedData {
        data: Bytes::from_static(b"other"),
        ..good.clone()
    };
    let stranger = signed(
        &Organization::new("Org9MSP", "org9").signer("x", NodeOu::Peer),
        b"data",
    );
    let set = [
        forged,
        stranger,
        good.clone(),
        good,
        signed(&second, b"data"),
    ];
    let identities = verified_identities(&network.msps, &set);
    let names: Vec<&str> = identities
        .iter()
        .map(|identity| identity.msp_id())
        .collect();
    assert_eq!(
        names,
        ["Org1MSP", "Org2MSP"],
        "a bad copy does not spoil a later good one"
    );
    assert_eq!(
        network
            .policy("AND('Org1MSP.peer', 'Org2MSP.peer')")
            .evaluate(&set),
        Ok(())
    );
    assert_eq!(
        network
            .policy("AND('Org1MSP.peer', 'Org1MSP.member')")
            .evaluate(&set),
        Err(PolicyError::NotSatisfied)
    );
}

#[test]
fn policies_with_broken_definitions_do_not_compile() {
    let network = Network::new(1);
    let rule = |rule: Type| Some(SignaturePolicy { r#type: Some(rule) });
    let identities = vec![role_principal("Org1MSP", MspRoleType::Member)];
    for (version, rule, text) in [
        (
            1,
            rule(Type::SignedBy(0)),
            "This evaluator only understands messages of version 0, but version was 1",
        ),
        (0, None, "Empty policy element"),
        (
            0,
            Some(SignaturePolicy { r#type: None }),
            "Empty policy element",
        ),
        (
            0,
            rule(Type::SignedBy(1)),
            "identity index out of range, requested 1, but identities length is 1",
        ),
        (
            0,
            rule(Type::SignedBy(-1)),
            "identity index out of range, requested -1, but identities length is 1",
        ),
        (
            0,
            rule(Type::NOutOf(NOutOf {
                n: 1,
                rules: vec![SignaturePolicy { r#type: None }],
            })),
            "Empty policy element",
        ),
    ] {
        let envelope = SignaturePolicyEnvelope {
            version,
            rule,
            identities: identities.clone(),
        };
        let outcome = signature_policy(&envelope, network.msps.clone()).map(|_| ());
        assert_eq!(outcome.expect_err(text).to_string(), text);
    }
}

fn group(policies: &[(&str, PolicyMessage)], groups: &[(&str, ConfigGroup)]) -> ConfigGroup {
    let policy = |policy: &PolicyMessage| ConfigPolicy {
        policy: Some(policy.clone()),
        ..ConfigPolicy::default()
    };
    ConfigGroup {
        policies: policies
            .iter()
            .map(|(name, message)| ((*name).to_owned(), policy(message)))
            .collect(),
        groups: groups
            .iter()
            .map(|(name, group)| ((*name).to_owned(), group.clone()))
            .collect(),
        ..ConfigGroup::default()
    }
}

fn message(kind: PolicyType, value: &impl Message) -> PolicyMessage {
    PolicyMessage {
        r#type: kind.into(),
        value: value.encode_to_vec().into(),
    }
}

fn signature_message(text: &str) -> PolicyMessage {
    message(PolicyType::Signature, &dsl::parse(text).expect(text))
}

fn meta(rule: Rule, sub_policy: &str) -> PolicyMessage {
    message(
        PolicyType::ImplicitMeta,
        &ImplicitMetaPolicy {
            rule: rule.into(),
            sub_policy: sub_policy.into(),
        },
    )
}

fn channel() -> ConfigGroup {
    let organization = |number: usize| {
        let writers = signature_message(&format!(
            "OR('Org{number}MSP.admin', 'Org{number}MSP.client')"
        ));
        let endorsement = signature_message(&format!("OR('Org{number}MSP.peer')"));
        group(&[("Writers", writers), ("Endorsement", endorsement)], &[])
    };
    let application = group(
        &[
            ("Writers", meta(Rule::Any, "Writers")),
            ("Endorsement", meta(Rule::Majority, "Endorsement")),
            ("Everyone", meta(Rule::All, "Writers")),
            ("Nobody", meta(Rule::Any, "Missing")),
        ],
        &[
            ("Org1", organization(1)),
            ("Org2", organization(2)),
            ("Org3", organization(3)),
        ],
    );
    group(
        &[("Writers", meta(Rule::Any, "Writers"))],
        &[
            ("Application", application),
            (
                "Empty",
                group(&[("Writers", meta(Rule::All, "Writers"))], &[]),
            ),
        ],
    )
}

#[test]
fn implicit_meta_policies_count_child_groups() {
    let network = Network::new(3);
    let policies = PolicyManager::new(&channel(), network.msps.clone()).expect("policies");
    let client = [network.identity(1, NodeOu::Client)];
    let peers = [
        network.identity(1, NodeOu::Peer),
        network.identity(3, NodeOu::Peer),
    ];
    let evaluate = |path: &str, identities: &[Arc<Identity>]| {
        policies
            .policy(path)
            .evaluate_identities(identities)
            .map_err(|error| error.to_string())
    };
    assert_eq!(evaluate("/Channel/Application/Writers", &client), Ok(()));
    assert_eq!(
        evaluate("Application/Writers", &client),
        Ok(()),
        "relative to the channel"
    );
    assert_eq!(
        evaluate("/Channel/Application/Org1/Writers", &client),
        Ok(())
    );
    assert_eq!(
        evaluate("/Channel/Empty/Writers", &[]),
        Ok(()),
        "over no group nothing is asked"
    );
    assert_eq!(
        evaluate("/Channel/Writers", &[]),
        Ok(()),
        "one child is always satisfied"
    );
    assert_eq!(evaluate("/Channel/Application/Endorsement", &peers), Ok(()));
    for (path, identities, text) in [
        (
            "/Channel/Application/Writers",
            &peers[..],
            "implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Writers' sub-policies to be satisfied",
        ),
        (
            "/Channel/Application/Everyone",
            &client,
            "implicit policy evaluation failed - 1 sub-policies were satisfied, but this policy requires 3 of the 'Writers' sub-policies to be satisfied",
        ),
        (
            "/Channel/Application/Endorsement",
            &peers[..1],
            "implicit policy evaluation failed - 1 sub-policies were satisfied, but this policy requires 2 of the 'Endorsement' sub-policies to be satisfied",
        ),
        (
            "/Channel/Application/Nobody",
            &client,
            "implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the 'Missing' sub-policies to be satisfied",
        ),
        (
            "/Channel/Application/Absent",
            &client,
            "no such policy: '/Channel/Application/Absent'",
        ),
        ("/Elsewhere", &client, "no such policy: '/Elsewhere'"),
    ] {
        assert_eq!(evaluate(path, identities), Err(text.into()), "{path}");
    }
    assert!(
        policies.has("/Channel/Application/Writers")
            && !policies.has("/Channel/Application/Absent")
    );
    let absent = policies
        .policy("/Channel/Application/Absent")
        .evaluate(&[])
        .expect_err("absent");
    assert!(absent.is_not_found());
}

#[test]
fn policies_that_do_not_compile_are_named() {
    let network = Network::new(1);
    let broken = |policy: PolicyMessage| {
        let tree = group(&[], &[("Application", group(&[("Writers", policy)], &[]))]);
        PolicyManager::new(&tree, network.msps.clone())
            .map(|_| ())
            .expect_err("broken")
            .to_string()
    };
    assert_eq!(
        broken(message(
            PolicyType::Signature,
            &SignaturePolicyEnvelope::default()
        )),
        "policy Writers at path Channel/Application did not compile: Empty policy element"
    );
    assert_eq!(
        broken(PolicyMessage {
            r#type: 2,
            value: Bytes::new()
        }),
        "policy Writers at path Channel/Application has unknown policy type: 2"
    );
    let mut tree = group(&[("Writers", meta(Rule::Any, "Writers"))], &[]);
    tree.policies.get_mut("Writers").expect("policy").policy = None;
    let nil = PolicyManager::new(&tree, network.msps.clone())
        .map(|_| ())
        .expect_err("nil");
    assert_eq!(nil.to_string(), "policy Writers at path Channel was nil");
}

#[test]
fn principal_sets_are_the_minimal_ways_to_satisfy_a_policy() {
    let network = Network::new(3);
    let peer = |number: usize| role_principal(&format!("Org{number}MSP"), MspRoleType::Peer);
    let sets = |text: &str| network.policy(text).principal_sets();
    assert_eq!(
        sets("OR('Org1MSP.peer', 'Org2MSP.peer')"),
        [vec![peer(1)], vec![peer(2)]]
    );
    assert_eq!(
        sets("AND('Org1MSP.peer', OR('Org1MSP.peer', 'Org2MSP.peer'))"),
        [vec![peer(1), peer(1)], vec![peer(1), peer(2)],]
    );
    assert_eq!(
        sets("OutOf(0, 'Org1MSP.peer')"),
        [Vec::<MspPrincipal>::new()]
    );
    assert!(
        sets("OutOf(2, 'Org1MSP.peer')").is_empty(),
        "never satisfied"
    );
    let policies = PolicyManager::new(&channel(), network.msps.clone()).expect("policies");
    assert_eq!(
        policies
            .policy("/Channel/Application/Endorsement")
            .principal_sets(),
        [
            vec![peer(1), peer(2)],
            vec![peer(1), peer(3)],
            vec![peer(2), peer(3)],
        ]
    );
}
