//! The questions that `_lifecycle` answers about definitions and approvals.

use super::agree::{self, read_source};
use super::definition::{Definition, after, read_sequence};
use super::record::{self, DEFINITIONS, OfOrg, Public};
use super::{LifecycleError, NAMESPACE};
use consilium_ledger::Simulator;
use consilium_proto::lifecycle::{
    ChaincodeSource, QueryApprovedChaincodeDefinitionResult,
    QueryApprovedChaincodeDefinitionsResult, QueryChaincodeDefinitionResult,
    QueryChaincodeDefinitionsResult, chaincode_source,
    query_approved_chaincode_definitions_result::ApprovedChaincodeDefinition,
    query_chaincode_definitions_result::ChaincodeDefinition,
};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::names::implicit_collection;

/// The committed definition of `name` and which organizations approved it.
pub(super) fn committed(
    name: &str,
    config: &ChannelConfig,
    simulator: &mut Simulator,
) -> Result<QueryChaincodeDefinitionResult, LifecycleError> {
    let definition = Definition::read(name, &mut Public(simulator))?
        .ok_or_else(|| LifecycleError::NotDefined(name.to_owned()))?;
    let approvals = agree::differences(&definition, config, simulator)?
        .into_iter()
        .map(|(msp_id, differences)| (msp_id, differences.is_empty()))
        .collect();
    Ok(QueryChaincodeDefinitionResult {
        sequence: definition.sequence,
        version: definition.version,
        endorsement_plugin: definition.endorsement_plugin,
        validation_plugin: definition.validation_plugin,
        validation_parameter: definition.validation_parameter,
        collections: Some(definition.collections),
        init_required: definition.init_required,
        approvals,
    })
}

/// Every committed definition of the channel.
pub(super) fn all_committed(
    simulator: &mut Simulator,
) -> Result<QueryChaincodeDefinitionsResult, LifecycleError> {
    let prefix = record::metadata_key(DEFINITIONS, "");
    let mut chaincode_definitions = Vec::new();
    for name in names(simulator, &prefix)? {
        match Definition::read(&name, &mut Public(simulator)) {
            Ok(Some(definition)) => chaincode_definitions.push(ChaincodeDefinition {
                name,
                sequence: definition.sequence,
                version: definition.version,
                endorsement_plugin: definition.endorsement_plugin,
                validation_plugin: definition.validation_plugin,
                validation_parameter: definition.validation_parameter,
                collections: Some(definition.collections),
                init_required: definition.init_required,
            }),
            Ok(None) => {}
            Err(LifecycleError::Unreadable { name, cause }) => {
                tracing::warn!(chaincode = name, cause, "chaincode definition unreadable");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(QueryChaincodeDefinitionsResult {
        chaincode_definitions,
    })
}

fn names(simulator: &mut Simulator, prefix: &str) -> Result<Vec<String>, LifecycleError> {
    let cursor = simulator.range(NAMESPACE, prefix, &after(prefix))?;
    let mut names = Vec::new();
    while let Some((key, _)) = simulator.next(cursor)? {
        names.extend(key.strip_prefix(prefix).map(str::to_owned));
    }
    simulator.close(cursor);
    Ok(names)
}

/// What the organization `msp_id` approved for `sequence` of `name`, for the latest if it is 0.
pub(super) fn approved(
    name: &str,
    sequence: i64,
    msp_id: &str,
    channel: &str,
    simulator: &mut Simulator,
) -> Result<QueryApprovedChaincodeDefinitionResult, LifecycleError> {
    let collection = implicit_collection(msp_id);
    let candidates = if sequence == 0 {
        let current = read_sequence(name, &mut Public(simulator))?;
        vec![current.saturating_add(1), current]
    } else {
        vec![sequence]
    };
    let mut own = OfOrg {
        simulator,
        collection: &collection,
    };
    let mut asked = sequence;
    for candidate in candidates {
        asked = candidate;
        if let Some(definition) = Definition::read_approved(name, candidate, &mut own)? {
            let package_id = read_source(name, candidate, &mut own)?;
            return Ok(QueryApprovedChaincodeDefinitionResult {
                sequence: candidate,
                version: definition.version,
                endorsement_plugin: definition.endorsement_plugin,
                validation_plugin: definition.validation_plugin,
                validation_parameter: definition.validation_parameter,
                collections: Some(definition.collections),
                init_required: definition.init_required,
                source: Some(source_of(package_id)),
            });
        }
    }
    Err(LifecycleError::NotApproved {
        name: name.to_owned(),
        sequence: asked,
        channel: channel.to_owned(),
    })
}

/// Everything the organization approved, in order of name and sequence. A query of private keys:
/// such a transaction cannot write, and this one does not.
pub(super) fn all_approved(
    msp_id: &str,
    simulator: &mut Simulator,
) -> Result<QueryApprovedChaincodeDefinitionsResult, LifecycleError> {
    let collection = implicit_collection(msp_id);
    let prefix = record::metadata_key(DEFINITIONS, "");
    let cursor = simulator.private_range(NAMESPACE, &collection, &prefix, &after(&prefix))?;
    let mut approvals = Vec::new();
    while let Some((key, _)) = simulator.next(cursor)? {
        let name = key
            .strip_prefix(&prefix)
            .and_then(|name| name.rsplit_once('#'));
        if let Some((name, Ok(sequence))) = name.map(|(name, n)| (name, n.parse::<i64>())) {
            approvals.push((name.to_owned(), sequence));
        }
    }
    simulator.close(cursor);
    approvals.sort();
    let mut own = OfOrg {
        simulator,
        collection: &collection,
    };
    let mut found = Vec::new();
    for (name, sequence) in approvals {
        let Some(definition) = Definition::read_approved(&name, sequence, &mut own)? else {
            continue;
        };
        let package_id = read_source(&name, sequence, &mut own)?;
        found.push(ApprovedChaincodeDefinition {
            name,
            sequence,
            version: definition.version,
            endorsement_plugin: definition.endorsement_plugin,
            validation_plugin: definition.validation_plugin,
            validation_parameter: definition.validation_parameter,
            collections: Some(definition.collections),
            init_required: definition.init_required,
            source: Some(source_of(package_id)),
        });
    }
    Ok(QueryApprovedChaincodeDefinitionsResult {
        approved_chaincode_definitions: found,
    })
}

fn source_of(package_id: Option<String>) -> ChaincodeSource {
    let source = match package_id.filter(|id| !id.is_empty()) {
        Some(package_id) => {
            chaincode_source::Type::LocalPackage(chaincode_source::Local { package_id })
        }
        None => chaincode_source::Type::Unavailable(chaincode_source::Unavailable {}),
    };
    ChaincodeSource {
        r#type: Some(source),
    }
}
