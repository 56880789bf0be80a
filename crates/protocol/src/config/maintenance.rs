//! Maintenance mode: the state in which a channel's consensus type may be exchanged
//! (ordering, section 8).

use super::{ChannelConfig, ConfigError};
use consilium_proto::orderer::consensus_type::State;
use consilium_proto::{common, etcdraft};

const RAFT: &str = "etcdraft";
const BFT: &str = "BFT";

/// Rules of maintenance mode for a change from `current` to `next` by `update`: entering and leaving
/// it is the only change; type and metadata change together, inside it, and only from etcdraft to
/// BFT. Without the capability there is no such mode.
pub fn check_maintenance(
    current: &ChannelConfig,
    next: &ChannelConfig,
    update: &common::ConfigUpdate,
) -> Result<(), ConfigError> {
    let refuse = |reason: String| Err(ConfigError::Transition(reason));
    let (from, to) = (current.consensus(), next.consensus());
    if !current.orderer_at_least("V1_4_2") {
        if to.state != State::Normal as i32 {
            return refuse(format!(
                "next config attempted to change ConsensusType.State to {}, but capability is disabled",
                state_name(to.state)
            ));
        }
        if from.r#type != to.r#type {
            return refuse(format!(
                "next config attempted to change ConsensusType.Type from {} to {}, but capability is disabled",
                from.r#type, to.r#type
            ));
        }
        return Ok(());
    }
    if from.state != to.state {
        only_consensus_type(update).or_else(|reason| refuse(reason.into()))?;
        let changing = format!(
            "but ConsensusType.State is changing from {} to {}",
            state_name(from.state),
            state_name(to.state)
        );
        if from.r#type != to.r#type {
            return refuse(format!(
                "attempted to change ConsensusType.Type from {} to {}, {changing}",
                from.r#type, to.r#type
            ));
        }
        if from.metadata != to.metadata {
            return refuse(format!(
                "attempted to change ConsensusType.Metadata, {changing}"
            ));
        }
    }
    if from.r#type == to.r#type {
        return Ok(());
    }
    let change = format!(
        "attempted to change consensus type from {} to {}",
        from.r#type, to.r#type
    );
    if !current.in_maintenance() {
        return refuse(format!(
            "{change}, but current config ConsensusType.State is not in maintenance mode"
        ));
    }
    if (from.r#type.as_str(), to.r#type.as_str()) != (RAFT, BFT) {
        return refuse(format!("{change}, transition not supported"));
    }
    check_mapping(current, next)
}

/// Name of a state as Fabric prints it; unknown ones as numbers.
fn state_name(state: i32) -> String {
    State::try_from(state).map_or_else(
        |_| state.to_string(),
        |state| state.as_str_name().to_owned(),
    )
}

fn only_consensus_type(update: &common::ConfigUpdate) -> Result<(), &'static str> {
    let write_set = update
        .write_set
        .as_ref()
        .ok_or("config update contains no changes")?;
    if write_set.groups.is_empty() {
        return Err("config update contains no changes");
    }
    if !write_set.values.is_empty() {
        return Err("config update contains changes to values in group Channel");
    }
    if write_set.groups.len() > 1 {
        return Err("config update contains changes to more than one group");
    }
    let orderer = write_set
        .groups
        .get("Orderer")
        .ok_or("update does not contain the Orderer group")?;
    if !orderer.groups.is_empty() {
        return Err("config update contains changes to groups within the Orderer group");
    }
    if !orderer.values.contains_key("ConsensusType") {
        return Err("config update does not contain the ConsensusType value");
    }
    if orderer.values.len() > 1 {
        return Err(
            "config update contain more then just the ConsensusType value in the Orderer group",
        );
    }
    Ok(())
}

/// The BFT consenters have to be the etcdraft ones.
fn check_mapping(current: &ChannelConfig, next: &ChannelConfig) -> Result<(), ConfigError> {
    let refuse = |reason: String| {
        Err(ConfigError::Transition(format!(
            "invalid BFT consenter mapping configuration: {reason}"
        )))
    };
    let raft = current.raft_metadata()?.consenters;
    let bft = next.consenter_mapping();
    if bft.is_empty() {
        return refuse("Invalid new config: bft consenters are missing".into());
    }
    if raft.len() != bft.len() {
        return refuse(format!(
            "Invalid new config: the number of bft consenters: {} is not equal to the number of raft consenters: {}",
            bft.len(),
            raft.len()
        ));
    }
    let is_mapped = |old: &&etcdraft::Consenter| {
        bft.iter().any(|new| {
            (
                &old.host,
                old.port,
                &old.client_tls_cert,
                &old.server_tls_cert,
            ) == (
                &new.host,
                new.port,
                &new.client_tls_cert,
                &new.server_tls_cert,
            )
        })
    };
    match raft.iter().find(|old| !is_mapped(old)) {
        Some(old) => refuse(format!(
            "No suitable BFT consenter for Raft consenter: {}:{}",
            old.host, old.port
        )),
        None => Ok(()),
    }
}
