//! Which policy judges writes to a namespace, and the defaults of a definition.

use super::{Definition, LEGACY_NAMESPACE, LifecycleError, NAMESPACE};
use bytes::Bytes;
use consilium_ledger::StateReader;
use consilium_proto::common::{
    MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope, msp_principal, msp_role,
    signature_policy,
};
use consilium_proto::protos::{ApplicationPolicy, ChaincodeData, application_policy};
use consilium_protocol::config::ChannelConfig;
use prost::Message;

const DEFAULT_POLICY: &str = "/Channel/Application/Endorsement";
const LIFECYCLE_POLICY: &str = "/Channel/Application/LifecycleEndorsement";

/// How transactions of a namespace are validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// The validation plugin, `vscc` for the built-in one.
    pub plugin: String,
    /// An encoded `protos.ApplicationPolicy`.
    pub parameter: Bytes,
}

/// How transactions that write to `namespace` are validated; `None` when no chaincode of that name
/// is defined (INVALID_CHAINCODE). Covers `_lifecycle` itself and chaincodes of before the
/// lifecycle. (endorse-validate-commit.md §3.2 step 9)
///
/// # Errors
/// [`LifecycleError::Unreadable`] when the definition is garbage.
pub fn validation(
    state: &StateReader,
    config: &ChannelConfig,
    namespace: &str,
) -> Result<Option<Validation>, LifecycleError> {
    if namespace == NAMESPACE {
        let parameter = endorsement_policy(config).encode_to_vec().into();
        return Ok(Some(Validation {
            plugin: "vscc".to_owned(),
            parameter,
        }));
    }
    if let Some(definition) = super::definition(state, namespace)? {
        return Ok(Some(Validation {
            plugin: definition.validation_plugin,
            parameter: definition.validation_parameter,
        }));
    }
    let Some(legacy) = state.get(LEGACY_NAMESPACE, namespace)? else {
        return Ok(None);
    };
    let legacy = consilium_proto::decode::<ChaincodeData>(&legacy.value).map_err(|error| {
        LifecycleError::Unreadable {
            name: namespace.to_owned(),
            cause: error.to_string(),
        }
    })?;
    let policy = ApplicationPolicy {
        r#type: legacy.policy.map(application_policy::Type::SignaturePolicy),
    };
    Ok(Some(Validation {
        plugin: legacy.vscc,
        parameter: policy.encode_to_vec().into(),
    }))
}

/// Who must endorse writes to `_lifecycle`: the channel's LifecycleEndorsement policy, or members
/// of a majority of organizations where the channel has none.
pub fn endorsement_policy(config: &ChannelConfig) -> ApplicationPolicy {
    if config.policies().has(LIFECYCLE_POLICY) {
        return reference(LIFECYCLE_POLICY);
    }
    let members: Vec<&str> = config
        .application_orgs()
        .iter()
        .map(|org| org.msp_id.as_str())
        .collect();
    of_members(members.len() / 2 + 1, &members)
}

/// Sets what a client left out before anything is compared or stored.
pub(super) fn set_defaults(
    definition: &mut Definition,
    config: &ChannelConfig,
) -> Result<(), LifecycleError> {
    if definition.endorsement_plugin.is_empty() {
        definition.endorsement_plugin = "escc".to_owned();
    }
    if definition.validation_plugin.is_empty() {
        definition.validation_plugin = "vscc".to_owned();
    }
    if definition.validation_parameter.is_empty() {
        if !config.policies().has(DEFAULT_POLICY) {
            return Err(LifecycleError::NoDefaultPolicy(
                config.channel_id().to_owned(),
            ));
        }
        definition.validation_parameter = reference(DEFAULT_POLICY).encode_to_vec().into();
    }
    Ok(())
}

/// A policy of the channel config by its path.
pub(super) fn reference(path: &str) -> ApplicationPolicy {
    ApplicationPolicy {
        r#type: Some(application_policy::Type::ChannelConfigPolicyReference(
            path.to_owned(),
        )),
    }
}

/// `n` signatures out of one member of each of `msp_ids`.
pub(super) fn of_members(n: usize, msp_ids: &[&str]) -> ApplicationPolicy {
    ApplicationPolicy {
        r#type: Some(application_policy::Type::SignaturePolicy(members(
            n, msp_ids,
        ))),
    }
}

pub(super) fn members(n: usize, msp_ids: &[&str]) -> SignaturePolicyEnvelope {
    let identities = msp_ids
        .iter()
        .map(|msp_id| MspPrincipal {
            principal_classification: msp_principal::Classification::Role.into(),
            principal: MspRole {
                msp_identifier: (*msp_id).to_owned(),
                role: msp_role::MspRoleType::Member.into(),
            }
            .encode_to_vec()
            .into(),
        })
        .collect();
    // Organizations of a channel number in tens, far below i32::MAX.
    let rules = (0..msp_ids.len() as i32)
        .map(|index| SignaturePolicy {
            r#type: Some(signature_policy::Type::SignedBy(index)),
        })
        .collect();
    let rule = signature_policy::NOutOf { n: n as i32, rules };
    SignaturePolicyEnvelope {
        version: 0,
        rule: Some(SignaturePolicy {
            r#type: Some(signature_policy::Type::NOutOf(rule)),
        }),
        identities,
    }
}
