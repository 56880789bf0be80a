//! Maintenance mode: the state in which a channel's consensus type may be exchanged
//! (ordering, section 8).

use super::{ChannelConfig, ConfigError};
use consilium_proto::common;

const RAFT: &str = "etcdraft";
const BFT: &str = "BFT";

/// Rules of maintenance mode for a change from `current` to `next` by `update`: entering and leaving
/// it is the only change; type and metadata change together, inside it, and only from etcdraft to
/// BFT. Without the capability in both configurations there is nothing to check.
pub fn check_maintenance(
    current: &ChannelConfig,
    next: &ChannelConfig,
    update: &common::ConfigUpdate,
) -> Result<(), ConfigError> {
    if !current.orderer_at_least("V1_4_2") || !next.orderer_at_least("V1_4_2") {
        return Ok(());
    }
    let refuse = |reason: String| Err(ConfigError::Transition(reason));
    let (from, to) = (current.consensus(), next.consensus());
    if from.state != to.state {
        only_consensus_type(update).or_else(|reason| refuse(reason.into()))?;
        if from.r#type != to.r#type {
            return refuse(format!(
                "attempted to change ConsensusType.Type from {} to {}, but ConsensusType.State is changing too",
                from.r#type, to.r#type
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
    if same_consenters(current, next)? {
        Ok(())
    } else {
        refuse(format!(
            "{change}, but the consenters do not correspond to those of etcdraft"
        ))
    }
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

fn same_consenters(current: &ChannelConfig, next: &ChannelConfig) -> Result<bool, ConfigError> {
    let raft = current.raft_metadata()?.consenters;
    let bft = next.consenter_mapping();
    Ok(raft.len() == bft.len()
        && raft.iter().all(|old| {
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
        }))
}
