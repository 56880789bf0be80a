//! From what a simulation touched to the policies that its endorsements must satisfy
//! (`fabric: discovery/endorsement/endorsement.go`).

use std::{collections::BTreeSet, sync::Arc};

use consilium_msp::{Identity, Policy};
use consilium_peer::{PeerChannel, validate::ChaincodePolicy, validate::Policies};
use consilium_proto::{
    common::{self, MspPrincipal, msp_principal::Classification, msp_role::MspRoleType},
    protos::{
        ChaincodeInterest, StaticCollectionConfig, collection_config, collection_policy_config,
    },
};
use consilium_protocol::config::ChannelConfig;
use prost::Message;

use crate::{
    members::Member,
    plan::{self, Layout},
};

const LIFECYCLE: &str = "_lifecycle";
const IMPLICIT_COLLECTION: &str = "_implicit_org_";

/// What endorsers of a transaction have to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Requirements {
    /// Combinations of principals, any of which suffices.
    pub(crate) layouts: Vec<Layout<Held>>,
    /// For each collection whose clear values are read: the organizations that have them.
    pub(crate) readers: Vec<(String, BTreeSet<String>)>,
}

impl Requirements {
    /// Whether a member may see every collection that is read.
    pub(crate) fn may_read(&self, member: &Member) -> bool {
        self.readers
            .iter()
            .all(|(_, organizations)| organizations.contains(&member.msp_id))
    }
}

/// A principal as far as it can be told of peers whose certificates we do not have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Held {
    /// A role in an organization.
    Role { msp_id: String, role: i32 },
    /// Anything else.
    Other(MspPrincipal),
}

impl Held {
    fn of(principal: MspPrincipal) -> Self {
        if principal.principal_classification == Classification::Role as i32
            && let Ok(role) = common::MspRole::decode(principal.principal.clone())
        {
            return Self::Role {
                msp_id: role.msp_identifier,
                role: role.role,
            };
        }
        Self::Other(principal)
    }

    /// Whether a member holds this; `own` is the certificate of the local peer.
    pub(crate) fn is_held_by(
        &self,
        member: &Member,
        own: Option<&Identity>,
        config: &ChannelConfig,
    ) -> bool {
        match self {
            Self::Role { msp_id, role } => {
                *msp_id == member.msp_id
                    && (*role == MspRoleType::Peer as i32 || *role == MspRoleType::Member as i32)
            }
            Self::Other(principal) => match own.filter(|_| member.is_local) {
                Some(own) => config
                    .msps()
                    .msp(own.msp_id())
                    .is_some_and(|msp| msp.satisfies(own, principal).is_ok()),
                // An organizational unit of another peer's certificate is unknown here: asking
                // costs nothing, and validation decides.
                None => {
                    principal.principal_classification == Classification::OrganizationUnit as i32
                        && common::OrganizationUnit::decode(principal.principal.clone())
                            .is_ok_and(|unit| unit.msp_identifier == member.msp_id)
                }
            },
        }
    }
}

impl plan::Principal for Held {
    fn implies(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        match (self, other) {
            (
                Self::Role { msp_id, .. },
                Self::Role {
                    msp_id: other_msp,
                    role: other_role,
                },
            ) => msp_id == other_msp && *other_role == MspRoleType::Member as i32,
            _ => false,
        }
    }
}

/// The requirements of an interest under what is committed now. Errors are discovery's.
pub(crate) fn requirements(
    channel: &PeerChannel,
    interest: &ChaincodeInterest,
) -> Result<Requirements, String> {
    let policies = channel.policies();
    let mut alternatives: Vec<Vec<Layout<Held>>> = Vec::new();
    let mut readers: Vec<(String, BTreeSet<String>)> = Vec::new();
    let mut require = |policy: &Arc<dyn Policy>| {
        alternatives.push(
            policy
                .principal_sets()
                .into_iter()
                .map(|set| set.into_iter().map(Held::of).collect())
                .collect(),
        );
    };
    for call in &interest.chaincodes {
        let defined = chaincode(channel, &call.name)?;
        let mut special = 0usize;
        for name in &call.collection_names {
            let rules = collection(&policies, defined.as_deref(), name)?;
            if let Some(policy) = rules.policy {
                require(&policy);
                special += 1;
            }
            if !call.no_private_reads {
                readers.push((name.clone(), rules.organizations));
            }
        }
        for policy in &call.key_policies {
            require(&policies.compile_signature(policy)?);
            special += 1;
        }
        if !call.disregard_namespace_policy {
            let policy = match &defined {
                None => policies.lifecycle()?,
                Some(defined) => policies.application(&defined.policy)?,
            };
            require(&policy);
        } else if special == 0 {
            return Err(format!(
                "requested to disregard chaincode {}'s policy but key and collection policies are missing, either disable the disregard flag or provide key or collection policies",
                call.name
            ));
        }
    }
    let layouts = plan::layouts(&alternatives);
    if layouts.is_empty() {
        return Err("endorsement policy cannot be satisfied".to_owned());
    }
    Ok(Requirements { layouts, readers })
}

/// The rules of a chaincode; `None` stands for `_lifecycle`.
fn chaincode(channel: &PeerChannel, name: &str) -> Result<Option<Arc<ChaincodePolicy>>, String> {
    if name == LIFECYCLE {
        return Ok(None);
    }
    channel
        .chaincode_policy(name)?
        .map(Some)
        .ok_or_else(|| format!("policy not found: chaincode {name} is not defined on the channel"))
}

struct CollectionRules {
    policy: Option<Arc<dyn Policy>>,
    organizations: BTreeSet<String>,
}

fn collection(
    policies: &Policies,
    defined: Option<&ChaincodePolicy>,
    name: &str,
) -> Result<CollectionRules, String> {
    if let Some(msp_id) = name.strip_prefix(IMPLICIT_COLLECTION) {
        return Ok(CollectionRules {
            policy: Some(policies.implicit_collection(msp_id)?),
            organizations: BTreeSet::from([msp_id.to_owned()]),
        });
    }
    let config = defined
        .and_then(|defined| defined.collections.as_ref())
        .into_iter()
        .flat_map(|package| &package.config)
        .find_map(|config| match &config.payload {
            Some(collection_config::Payload::StaticCollectionConfig(config))
                if config.name == name =>
            {
                Some(config)
            }
            _ => None,
        })
        .ok_or_else(|| format!("collection {name} doesn't exist in collection config"))?;
    Ok(CollectionRules {
        policy: config
            .endorsement_policy
            .as_ref()
            .map(|policy| policies.compile(policy))
            .transpose()?,
        organizations: organizations(config),
    })
}

/// MSP ids of the principals of the member policy: the organizations whose peers have the values.
fn organizations(config: &StaticCollectionConfig) -> BTreeSet<String> {
    let Some(collection_policy_config::Payload::SignaturePolicy(envelope)) = config
        .member_orgs_policy
        .as_ref()
        .and_then(|policy| policy.payload.as_ref())
    else {
        return BTreeSet::new();
    };
    envelope
        .identities
        .iter()
        .filter_map(|principal| {
            let bytes = principal.principal.clone();
            match Classification::try_from(principal.principal_classification) {
                Ok(Classification::Role) => common::MspRole::decode(bytes)
                    .ok()
                    .map(|role| role.msp_identifier),
                Ok(Classification::OrganizationUnit) => common::OrganizationUnit::decode(bytes)
                    .ok()
                    .map(|unit| unit.msp_identifier),
                Ok(Classification::Identity) => {
                    consilium_proto::msp::SerializedIdentity::decode(bytes)
                        .ok()
                        .map(|identity| identity.mspid)
                }
                _ => None,
            }
        })
        .collect()
}
