//! How organizations agree: approve, readiness, commit.
//!
//! An approval is a private write of one organization into its own implicit collection; the others
//! see hashes. Readiness compares those hashes with what the approval *should* hash to. A commit is
//! the readiness check plus the public write, and each endorsement of it says that the endorsing
//! organization agrees. (fabric: core/chaincode/lifecycle/lifecycle.go)

use super::definition::{Definition, read_sequence};
use super::record::{self, DEFINITIONS, OfOrg, Public, Record, SOURCES, Stored};
use super::{LifecycleError, policy};
use consilium_ledger::Simulator;
use consilium_proto::lifecycle::state_data;
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::names::implicit_collection;
use std::collections::BTreeMap;

const SOURCE_TYPE: &str = "ChaincodeLocalPackage";

/// Approves `proposed` for the organization `msp_id` and notes which installed package it uses
/// (`""`: none, so the chaincode cannot be invoked on its peers).
pub(super) fn approve(
    mut proposed: Definition,
    package_id: &str,
    msp_id: &str,
    config: &ChannelConfig,
    simulator: &mut Simulator,
) -> Result<(), LifecycleError> {
    let name = proposed.name.clone();
    let requested = proposed.sequence;
    let current = read_sequence(&name, &mut Public(simulator))?;
    check_sequence(current, requested)?;
    policy::set_defaults(&mut proposed, config)?;
    if requested == current {
        check_against_committed(&proposed, &mut Public(simulator))?;
    }
    let collection = implicit_collection(msp_id);
    let mut own = OfOrg {
        simulator,
        collection: &collection,
    };
    if let Some(approved) = Definition::read_approved(&name, requested, &mut own)? {
        let unchanged = approved.parameters_differ(&proposed).is_none()
            && read_source(&name, requested, &mut own)?.as_deref() == Some(package_id);
        if unchanged && requested == current {
            return Err(LifecycleError::RepeatsCommitted {
                sequence: requested,
                name,
            });
        }
        if unchanged {
            return Err(LifecycleError::RepeatsUncommitted {
                sequence: requested,
                name,
            });
        }
    }
    let approval = record::approval_name(&name, requested);
    proposed
        .parameters()
        .write(DEFINITIONS, &approval, &mut own)?;
    source(package_id).write(SOURCES, &approval, &mut own)
}

fn check_sequence(current: i64, requested: i64) -> Result<(), LifecycleError> {
    if current == 0 && requested == 0 {
        return Err(LifecycleError::SequenceZero);
    }
    if requested < current {
        return Err(LifecycleError::SequencePast { current, requested });
    }
    let next = current.saturating_add(1);
    if requested > next {
        return Err(LifecycleError::SequenceFuture { requested, next });
    }
    Ok(())
}

fn check_against_committed(
    proposed: &Definition,
    state: &mut impl record::ReadState,
) -> Result<(), LifecycleError> {
    let committed = Definition::read(&proposed.name, state)?
        .ok_or_else(|| LifecycleError::NotDefined(proposed.name.clone()))?;
    match committed.parameters_differ(proposed) {
        None => Ok(()),
        Some(difference) => Err(LifecycleError::RedefinesCommitted {
            sequence: committed.sequence,
            name: committed.name,
            difference,
        }),
    }
}

/// Which organizations' approvals match `proposed`: per MSP id what differs, nothing if approved.
pub(super) fn readiness(
    proposed: &mut Definition,
    config: &ChannelConfig,
    simulator: &mut Simulator,
) -> Result<BTreeMap<String, Vec<String>>, LifecycleError> {
    let current = read_sequence(&proposed.name, &mut Public(simulator))?;
    let next = current.saturating_add(1);
    if proposed.sequence != next {
        return Err(LifecycleError::SequenceNotNext {
            requested: proposed.sequence,
            next,
        });
    }
    policy::set_defaults(proposed, config)?;
    differences(proposed, config, simulator)
}

/// Commits `proposed`, provided that the organization `msp_id` has approved exactly it.
pub(super) fn commit(
    mut proposed: Definition,
    msp_id: &str,
    config: &ChannelConfig,
    simulator: &mut Simulator,
) -> Result<(), LifecycleError> {
    if !config
        .application_orgs()
        .iter()
        .any(|org| org.msp_id == msp_id)
    {
        return Err(LifecycleError::ForeignChannel);
    }
    let differences = readiness(&mut proposed, config, simulator)?;
    proposed
        .record()
        .write(DEFINITIONS, &proposed.name, &mut Public(simulator))?;
    if differences.get(msp_id).is_some_and(Vec::is_empty) {
        Ok(())
    } else {
        Err(LifecycleError::NotAgreedHere(msp_id.to_owned()))
    }
}

/// Compares `definition` with every organization's approval of its sequence, by hashes.
pub(super) fn differences(
    definition: &Definition,
    config: &ChannelConfig,
    simulator: &mut Simulator,
) -> Result<BTreeMap<String, Vec<String>>, LifecycleError> {
    let parameters = definition.parameters();
    let approval = record::approval_name(&definition.name, definition.sequence);
    let mut found = BTreeMap::new();
    for org in config.application_orgs() {
        let collection = implicit_collection(&org.msp_id);
        let mut state = OfOrg {
            simulator,
            collection: &collection,
        };
        let differing = parameters.differences(DEFINITIONS, &approval, &mut state)?;
        found.insert(org.msp_id.clone(), differing);
    }
    Ok(found)
}

/// What an organization keeps about its package.
pub(super) fn source(package_id: &str) -> Record {
    let id = record::encode(state_data::Type::String(package_id.to_owned()));
    Record {
        datatype: SOURCE_TYPE,
        fields: vec![("PackageID", id)],
    }
}

/// The package id that an organization approved with `sequence`, `None` when it approved nothing.
pub(super) fn read_source(
    name: &str,
    sequence: i64,
    state: &mut impl record::ReadState,
) -> Result<Option<String>, LifecycleError> {
    let approval = record::approval_name(name, sequence);
    match Stored::read(SOURCES, &approval, SOURCE_TYPE, state)? {
        None => Ok(None),
        Some(stored) => stored.text("PackageID").map(Some),
    }
}
