//! The policy language and the evaluation of what it says.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use consilium_msp::{MspManager, SignedData, Signer, dsl, signature_policy};
use consilium_proto::common::msp_role::MspRoleType;
use consilium_proto::common::signature_policy::Type;
use consilium_proto::common::{MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope};
use consilium_testkit::{NodeOu, Organization};
use prost::Message;

use crate::agree::decoded;
use crate::input::number;

/// A text; or, behind a zero byte, an encoded policy.
pub(crate) fn run(data: &[u8]) -> bool {
    if let Some(encoded) = data.strip_prefix(&[0]) {
        let policy = decoded(&Bytes::copy_from_slice(encoded));
        return policy.is_some_and(|policy| evaluated(&policy, number(encoded)));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let Ok(policy) = dsl::parse(text) else {
        return dsl::parse_implicit_meta(text).is_ok();
    };
    let printed = print(policy.rule.as_ref(), &policy.identities);
    assert_eq!(dsl::parse(&printed), Ok(policy.clone()), "{printed}");
    evaluated(&policy, number(data))
}

fn print(rule: Option<&SignaturePolicy>, identities: &[MspPrincipal]) -> String {
    match rule.and_then(|rule| rule.r#type.as_ref()) {
        Some(Type::SignedBy(index)) => {
            let role = role(&identities[*index as usize]).expect("a role");
            let name = role.role().as_str_name().to_ascii_lowercase();
            format!("'{}.{name}'", role.msp_identifier)
        }
        Some(Type::NOutOf(gate)) => {
            let rules = gate.rules.iter().map(|rule| print(Some(rule), identities));
            format!(
                "OutOf({}, {})",
                gate.n,
                rules.collect::<Vec<_>>().join(", ")
            )
        }
        None => panic!("a parsed policy without a rule"),
    }
}

fn role(principal: &MspPrincipal) -> Option<MspRole> {
    MspRole::decode(principal.principal.clone()).ok()
}

/// Those who sign.
struct People {
    msps: Arc<MspManager>,
    /// Organization, unit and signature of each.
    signers: Vec<(&'static str, NodeOu, SignedData)>,
}

fn people() -> &'static People {
    static PEOPLE: OnceLock<People> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let mut msps = Vec::new();
        let mut signers = Vec::new();
        for name in ["Org1MSP", "Org2MSP"] {
            let organization = Organization::new(name, "example.com");
            for unit in [NodeOu::Client, NodeOu::Peer, NodeOu::Admin, NodeOu::Orderer] {
                let signer = organization.signer(unit.name(), unit);
                let data = Bytes::from_static(b"what the policy is about");
                let signature = signer.sign(&data).expect("a key in memory");
                let identity = signer.serialized().clone();
                let signed = SignedData {
                    data,
                    identity,
                    signature,
                };
                signers.push((name, unit, signed));
            }
            msps.push(organization.msp());
        }
        let msps = Arc::new(MspManager::new(msps).expect("two names"));
        People { msps, signers }
    })
}

/// Evaluation says what the definition of a policy says, for whoever signs.
fn evaluated(policy: &SignaturePolicyEnvelope, choice: usize) -> bool {
    let people = people();
    let compiled = signature_policy(policy, people.msps.clone());
    let Ok(compiled) = compiled else {
        return false;
    };
    if leaves(policy.rule.as_ref()) > 64 || !policy.identities.iter().all(is_role) {
        return true;
    }
    let chosen = people.signers.iter().enumerate();
    let chosen: Vec<_> = chosen
        .filter(|(index, _)| choice >> index & 1 == 1)
        .map(|(_, signer)| signer)
        .take(3)
        .collect();
    for signers in [&chosen[..], &[]] {
        let set: Vec<SignedData> = signers.iter().map(|(.., signed)| signed.clone()).collect();
        let mut used = vec![false; signers.len()];
        let holds = |index: usize, principal: usize| {
            let (name, unit, _) = signers[index];
            is_held(&policy.identities[principal], name, *unit)
        };
        let rule = policy.rule.as_ref();
        let expected = satisfied(rule, &mut used, &holds);
        assert_eq!(compiled.evaluate(&set).is_ok(), expected, "{policy:?}");
    }
    true
}

fn leaves(rule: Option<&SignaturePolicy>) -> usize {
    match rule.and_then(|rule| rule.r#type.as_ref()) {
        Some(Type::NOutOf(gate)) => gate.rules.iter().map(|rule| leaves(Some(rule))).sum(),
        _ => 1,
    }
}

fn is_role(principal: &MspPrincipal) -> bool {
    principal.principal_classification == 0 && role(principal).is_some()
}

fn is_held(principal: &MspPrincipal, name: &str, unit: NodeOu) -> bool {
    let Some(role) = role(principal) else {
        return false;
    };
    role.msp_identifier == name
        && match MspRoleType::try_from(role.role) {
            Ok(MspRoleType::Member) => true,
            Ok(MspRoleType::Admin) => unit == NodeOu::Admin,
            Ok(MspRoleType::Client) => unit == NodeOu::Client,
            Ok(MspRoleType::Peer) => unit == NodeOu::Peer,
            Ok(MspRoleType::Orderer) => unit == NodeOu::Orderer,
            Err(_) => false,
        }
}

/// fabric: common/cauthdsl/cauthdsl.go compile
fn satisfied(
    rule: Option<&SignaturePolicy>,
    used: &mut Vec<bool>,
    holds: &dyn Fn(usize, usize) -> bool,
) -> bool {
    match rule.and_then(|rule| rule.r#type.as_ref()) {
        Some(Type::SignedBy(principal)) => {
            let first = used
                .iter_mut()
                .enumerate()
                .find(|(index, used)| !**used && holds(*index, *principal as usize));
            match first {
                Some((_, used)) => {
                    *used = true;
                    true
                }
                None => false,
            }
        }
        Some(Type::NOutOf(gate)) => {
            let mut count = 0;
            for rule in &gate.rules {
                let mut trial = used.clone();
                if satisfied(Some(rule), &mut trial, holds) {
                    *used = trial;
                    count += 1;
                }
            }
            count >= gate.n
        }
        None => false,
    }
}
