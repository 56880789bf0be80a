//! What endorsers check of a proposed definition before they sign. Validators check none of it.

use super::collections::explicit_collections;
use super::error::DefinitionError;
use super::record::ReadState;
use super::{Definition, LifecycleError};
use consilium_proto::common::{
    MspPrincipal, MspRole, OrganizationUnit, SignaturePolicy, SignaturePolicyEnvelope,
    msp_principal, signature_policy,
};
use consilium_proto::decode;
use consilium_proto::msp::SerializedIdentity;
use consilium_proto::protos::{StaticCollectionConfig, collection_policy_config};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::names::{self, NameError};
use std::collections::BTreeSet;

/// Checks name, version and collections of `proposed`, the latter also against the committed
/// definition, which is read from `state` (these reads are recorded, see lifecycle.md §4).
pub(super) fn check(
    proposed: &Definition,
    config: &ChannelConfig,
    state: &mut (impl ReadState + LegacyLookup),
) -> Result<(), LifecycleError> {
    check_names(proposed).map_err(DefinitionError::from)?;
    check_collections(proposed, config)?;
    let committed = match Definition::read(&proposed.name, state) {
        Ok(committed) => committed,
        Err(LifecycleError::Unreadable { cause, .. }) => {
            return Err(DefinitionError::Committed(cause).into());
        }
        Err(error) => return Err(error),
    };
    match committed {
        Some(committed) => Ok(check_change(&committed, proposed)?),
        // Fabric falls back to the definitions of before the lifecycle, and records that it did.
        None => Ok(state.look_for_legacy(&proposed.name)?),
    }
}

/// State in which a chaincode deployed before the lifecycle can be looked for.
pub(super) trait LegacyLookup {
    /// Reads the legacy definition of `name`, for the record alone.
    fn look_for_legacy(&mut self, name: &str) -> Result<(), consilium_ledger::LedgerError>;
}

impl LegacyLookup for super::Public<'_> {
    fn look_for_legacy(&mut self, name: &str) -> Result<(), consilium_ledger::LedgerError> {
        self.0.get_state(super::LEGACY_NAMESPACE, name).map(drop)
    }
}

fn check_names(proposed: &Definition) -> Result<(), NameError> {
    names::validate_deployable_chaincode_name(&proposed.name)?;
    names::validate_chaincode_version(&proposed.version)
}

fn check_collections(proposed: &Definition, config: &ChannelConfig) -> Result<(), DefinitionError> {
    let members: BTreeSet<&str> = config.msps().msps().map(|msp| msp.id()).collect();
    if proposed
        .collections
        .config
        .iter()
        .any(|config| config.payload.is_none())
    {
        return Err(DefinitionError::CollectionKind);
    }
    let mut names = BTreeSet::new();
    for collection in explicit_collections(proposed) {
        let name = &collection.name;
        names::validate_collection_name(name)?;
        if !names.insert(name) {
            return Err(DefinitionError::CollectionDuplicate(name.clone()));
        }
        check_counts(collection)?;
        check_members(collection, &members)?;
    }
    Ok(())
}

fn check_counts(collection: &StaticCollectionConfig) -> Result<(), DefinitionError> {
    let name = collection.name.clone();
    let (maximum, required) = (
        collection.maximum_peer_count,
        collection.required_peer_count,
    );
    if maximum < required {
        return Err(DefinitionError::PeerCounts {
            name,
            maximum,
            required,
        });
    }
    if required < 0 {
        return Err(DefinitionError::RequiredPeers { name, required });
    }
    Ok(())
}

fn check_members(
    collection: &StaticCollectionConfig,
    members: &BTreeSet<&str>,
) -> Result<(), DefinitionError> {
    let name = &collection.name;
    let policy = collection
        .member_orgs_policy
        .as_ref()
        .and_then(|policy| policy.payload.as_ref());
    let Some(collection_policy_config::Payload::SignaturePolicy(policy)) = policy else {
        return Err(DefinitionError::NoMemberPolicy(name.clone()));
    };
    let fail = |cause: String| DefinitionError::MemberPolicy {
        name: name.clone(),
        cause,
    };
    check_or_gates(
        policy
            .rule
            .as_ref()
            .ok_or_else(|| fail("no rule".to_owned()))?,
        policy,
    )
    .map_err(fail)?;
    for principal in &policy.identities {
        let member = msp_of(principal).map_err(fail)?;
        if !members.contains(member.as_str()) {
            return Err(DefinitionError::ForeignMember {
                name: name.clone(),
                member,
            });
        }
    }
    Ok(())
}

/// Membership must be a plain list of alternatives.
fn check_or_gates(rule: &SignaturePolicy, policy: &SignaturePolicyEnvelope) -> Result<(), String> {
    match &rule.r#type {
        Some(signature_policy::Type::SignedBy(index)) => {
            let known = usize::try_from(*index).is_ok_and(|index| index < policy.identities.len());
            if known {
                Ok(())
            } else {
                Err(format!(
                    "identity index out of range, requested {index}, but identities length is {}",
                    policy.identities.len()
                ))
            }
        }
        Some(signature_policy::Type::NOutOf(gate)) if gate.n != 1 => Err(format!(
            "signature policy is not an OR concatenation, NOutOf {}",
            gate.n
        )),
        Some(signature_policy::Type::NOutOf(gate)) => gate
            .rules
            .iter()
            .try_for_each(|rule| check_or_gates(rule, policy)),
        None => Err("empty signature policy rule".to_owned()),
    }
}

/// The MSP that a principal names.
fn msp_of(principal: &MspPrincipal) -> Result<String, String> {
    use msp_principal::Classification;
    let bytes = &principal.principal;
    let failed = |error: prost::DecodeError| format!("could not parse principal: {error}");
    match Classification::try_from(principal.principal_classification) {
        Ok(Classification::Role) => decode(bytes)
            .map(|role: MspRole| role.msp_identifier)
            .map_err(failed),
        Ok(Classification::OrganizationUnit) => decode(bytes)
            .map(|unit: OrganizationUnit| unit.msp_identifier)
            .map_err(failed),
        Ok(Classification::Identity) => decode(bytes)
            .map(|identity: SerializedIdentity| identity.mspid)
            .map_err(failed),
        _ => Err(format!(
            "unexpected principal type {}",
            principal.principal_classification
        )),
    }
}

/// What may not change from one definition to the next.
fn check_change(committed: &Definition, proposed: &Definition) -> Result<(), DefinitionError> {
    let mut existing = explicit_collections(committed).peekable();
    if existing.peek().is_some() && explicit_collections(proposed).next().is_none() {
        return Err(DefinitionError::CollectionsDropped);
    }
    for old in existing {
        let Some(new) = explicit_collections(proposed).find(|new| new.name == old.name) else {
            return Err(DefinitionError::CollectionMissing(old.name.clone()));
        };
        if new.block_to_live != old.block_to_live {
            return Err(DefinitionError::BlockToLive {
                name: old.name.clone(),
                existing: old.block_to_live,
            });
        }
    }
    Ok(())
}
