//! What may not change from one configuration to the next, whoever signs it (channel-config,
//! section 3, transition rules).

use super::{ChannelConfig, ConfigError};
use consilium_proto::common;

/// Sections that a proposed tree must have or must not have. Checked before the new tree is parsed.
pub(super) fn check_sections(
    current: &ChannelConfig,
    next: &common::ConfigGroup,
) -> Result<(), ConfigError> {
    let rules = [
        ("orderer section", "Orderer", true, false),
        (
            "application section",
            "Application",
            current.has_application(),
            false,
        ),
        (
            "consortiums section",
            "Consortiums",
            current.has_consortiums(),
            true,
        ),
    ];
    for (name, key, had, never_appears) in rules {
        let has = next.groups.contains_key(key);
        if had && !has {
            return Err(ConfigError::Transition(format!(
                "current config has {name}, but new config does not"
            )));
        }
        if never_appears && has && !had {
            return Err(ConfigError::Transition(format!(
                "current config has no {name}, but new config does"
            )));
        }
    }
    Ok(())
}

/// Rules between two valid configurations.
pub(super) fn check(current: &ChannelConfig, next: &ChannelConfig) -> Result<(), ConfigError> {
    let from = current.consensus();
    let to = next.consensus();
    if from.r#type != to.r#type && !current.channel_at_least("V1_4_2") {
        return Err(ConfigError::Transition(format!(
            "attempted to change consensus type from {} to {}",
            from.r#type, to.r#type
        )));
    }
    let same_msp = |kind: &str, group: &str, old: &str, new: &str| {
        if old == new {
            return Ok(());
        }
        Err(ConfigError::Transition(format!(
            "{kind} org {group} attempted to change MSP ID from {old} to {new}"
        )))
    };
    for org in next.orderer_orgs() {
        if let Some(old) = current
            .orderer_orgs()
            .iter()
            .find(|old| old.group == org.group)
        {
            same_msp("orderer", &org.group, &old.msp_id, &org.msp_id)?;
        }
    }
    for org in next.application_orgs() {
        if let Some(old) = current
            .application_orgs()
            .iter()
            .find(|old| old.group == org.group)
        {
            same_msp("application", &org.group, &old.msp_id, &org.msp_id)?;
        }
    }
    Ok(())
}
