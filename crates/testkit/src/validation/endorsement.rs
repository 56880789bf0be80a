//! Who endorsed, and whether that suffices: policies, straight from their bytes.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_proto::common::signature_policy::Type;
use consilium_proto::common::{
    MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope, msp_principal, msp_role,
};
use consilium_proto::protos::{ApplicationPolicy, application_policy};
use prost::Message as _;

use super::encode::without_unexpected;
use super::people::People;
use super::plan::Endorsing;
use super::trust::Trust;
use crate::NodeOu;

/// What of the channel's configuration endorsement depends on.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    /// Organizations of the application, which are also those whose identities are known.
    pub(super) organizations: BTreeSet<String>,
    /// How many of the organizations' Endorsement policies `/Channel/Application/Endorsement` asks.
    pub(super) endorsement: &'static str,
    /// What the last organization's MSP says.
    pub(super) trust: Trust,
}

/// The people whose good signatures a transaction carries, each once, in order of appearance.
pub(super) fn signers(
    people: &People,
    channel: &Channel,
    endorsements: &[Endorsing],
) -> Vec<usize> {
    let mut signers = Vec::new();
    for endorsing in endorsements {
        if let Endorsing::By(person) | Endorsing::Recoded(person) | Endorsing::Padded(person) =
            endorsing
            && channel.knows(people, *person)
            && !signers.contains(person)
        {
            signers.push(*person);
        }
    }
    signers
}

impl Channel {
    /// Whether somebody has a valid identity. That a certificate has ended does not matter.
    pub(super) fn knows(&self, people: &People, id: usize) -> bool {
        let person = people.person(id);
        self.organizations.contains(&person.msp_id) && self.trust.admits(id, person.issuer)
    }

    /// An encoded `ApplicationPolicy`.
    pub(super) fn application(&self, people: &People, policy: &Bytes, signers: &[usize]) -> bool {
        let Ok(policy) = ApplicationPolicy::decode(without_unexpected(policy)) else {
            return false;
        };
        match policy.r#type {
            Some(application_policy::Type::SignaturePolicy(envelope)) => {
                self.signature(people, &envelope, signers)
            }
            Some(application_policy::Type::ChannelConfigPolicyReference(path)) => {
                self.reference(people, &path, signers)
            }
            None => false,
        }
    }

    /// A policy of the channel's configuration, as `network::profile` makes it.
    pub(super) fn reference(&self, people: &People, path: &str, signers: &[usize]) -> bool {
        let has = |organization: &str, units: &[NodeOu]| {
            signers.iter().any(|signer| {
                let person = people.person(*signer);
                person.msp_id == organization && units.contains(&person.unit)
            })
        };
        let holding = |units: &[NodeOu]| {
            let organizations = self.organizations.iter();
            organizations.filter(|name| has(name, units)).count()
        };
        let all = self.organizations.len();
        let path = path.strip_prefix("/Channel/").unwrap_or(path);
        match path {
            "Application/Endorsement" => {
                let needed = match self.endorsement {
                    "ANY" => 1,
                    "MAJORITY" => all / 2 + 1,
                    _ => all,
                };
                holding(&[NodeOu::Peer]) >= needed
            }
            "Application/LifecycleEndorsement" => holding(&[NodeOu::Peer]) > all / 2,
            "Application/Writers" => holding(&[NodeOu::Client, NodeOu::Admin]) >= 1,
            _ => path
                .strip_prefix("Application/")
                .and_then(|rest| rest.strip_suffix("/Endorsement"))
                .is_some_and(|name| {
                    self.organizations.contains(name) && has(name, &[NodeOu::Peer])
                }),
        }
    }

    /// A signature policy: every signer counts for one principal at most, taken in order, and what a
    /// satisfied part took stays taken (`fabric: common/cauthdsl/cauthdsl.go`).
    pub(super) fn signature(
        &self,
        people: &People,
        policy: &SignaturePolicyEnvelope,
        signers: &[usize],
    ) -> bool {
        let mut free = signers.to_vec();
        let Some(rule) = &policy.rule else {
            return false;
        };
        policy.version == 0 && satisfied(people, rule, &policy.identities, &mut free)
    }
}

fn satisfied(
    people: &People,
    rule: &SignaturePolicy,
    principals: &[MspPrincipal],
    free: &mut Vec<usize>,
) -> bool {
    match &rule.r#type {
        None => false,
        Some(Type::SignedBy(index)) => {
            let principal = &principals[*index as usize];
            match free
                .iter()
                .position(|signer| holds(people, *signer, principal))
            {
                Some(at) => {
                    free.remove(at);
                    true
                }
                None => false,
            }
        }
        Some(Type::NOutOf(out_of)) => {
            let mut count = 0;
            for rule in &out_of.rules {
                let mut left = free.clone();
                if satisfied(people, rule, principals, &mut left) {
                    *free = left;
                    count += 1;
                }
            }
            count >= out_of.n
        }
    }
}

fn holds(people: &People, signer: usize, principal: &MspPrincipal) -> bool {
    assert_eq!(
        principal.principal_classification,
        msp_principal::Classification::Role as i32,
        "generated policies name roles"
    );
    let role = MspRole::decode(principal.principal.clone()).expect("a generated principal");
    let person = people.person(signer);
    role.msp_identifier == person.msp_id
        && match role.role() {
            msp_role::MspRoleType::Member => true,
            msp_role::MspRoleType::Admin => person.unit == NodeOu::Admin,
            msp_role::MspRoleType::Client => person.unit == NodeOu::Client,
            msp_role::MspRoleType::Peer => person.unit == NodeOu::Peer,
            msp_role::MspRoleType::Orderer => person.unit == NodeOu::Orderer,
        }
}
