//! Organizations that come and go.

use super::edit::msp_of;
use crate::config::ConfigError;
use crate::config::genesis::{Organization, application_organization};
use consilium_msp::Certificate;
use consilium_proto::{common, etcdraft, orderer};
use prost::Message;

fn refuse<T>(reason: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid(reason.into()))
}

/// Adds an organization to those with peers.
///
/// # Errors
/// It is there already, or one of its policies does not parse.
pub fn add_application_organization(
    root: &mut common::ConfigGroup,
    organization: &Organization,
) -> Result<(), ConfigError> {
    let Some(section) = root.groups.get_mut("Application") else {
        return refuse("the channel has no application section");
    };
    if section.groups.contains_key(&organization.name) {
        return refuse(format!("{} is a member already", organization.name));
    }
    let same_id = section.groups.iter().find(|(_, group)| {
        msp_of(group).is_ok_and(|config| config.name == organization.msp_config.name)
    });
    if let Some((name, _)) = same_id {
        return refuse(format!(
            "{name} is a member with the MSP id {} already",
            organization.msp_config.name
        ));
    }
    let group = application_organization(organization)?;
    section.groups.insert(organization.name.clone(), group);
    Ok(())
}

/// Removes an organization from the sections that it is in. Those of its orderers that are consenters
/// have to go before, one at a time.
///
/// # Errors
/// It is in no section, or one of its orderers is a consenter.
pub fn remove_organization(root: &mut common::ConfigGroup, name: &str) -> Result<(), ConfigError> {
    let own = consenters_of(root, name)?;
    if !own.is_empty() {
        return refuse(format!(
            "{name} runs consenters of the channel: {}; remove them first, one at a time, with --remove orderer.raft.consenters=HOST:PORT",
            own.join(", ")
        ));
    }
    let mut removed = false;
    for section in ["Orderer", "Application"] {
        if let Some(group) = root.groups.get_mut(section) {
            removed |= group.groups.remove(name).is_some();
        }
    }
    if removed {
        return Ok(());
    }
    let members: std::collections::BTreeSet<&String> = root
        .groups
        .values()
        .flat_map(|section| section.groups.keys())
        .collect();
    let members: Vec<&str> = members.into_iter().map(String::as_str).collect();
    refuse(format!(
        "{name} is no organization of the channel; there are {}",
        members.join(", ")
    ))
}

/// The addresses of the etcdraft consenters whose TLS certificate an organization's root issued.
fn consenters_of(root: &common::ConfigGroup, name: &str) -> Result<Vec<String>, ConfigError> {
    let Some(section) = root.groups.get("Orderer") else {
        return Ok(Vec::new());
    };
    let (Some(group), Some(consensus)) = (
        section.groups.get(name),
        section.values.get("ConsensusType"),
    ) else {
        return Ok(Vec::new());
    };
    let consensus: orderer::ConsensusType =
        crate::envelope::decode("ConsensusType", &consensus.value)?;
    if consensus.r#type != "etcdraft" {
        return Ok(Vec::new());
    }
    let metadata = etcdraft::ConfigMetadata::decode(consensus.metadata).unwrap_or_default();
    let config = msp_of(group)?;
    let roots: Vec<_> = config
        .tls_root_certs
        .iter()
        .chain(&config.tls_intermediate_certs)
        .filter_map(|pem| Certificate::from_pem(pem).ok())
        .collect();
    Ok(metadata
        .consenters
        .iter()
        .filter(|consenter| {
            Certificate::from_pem(&consenter.server_tls_cert)
                .is_ok_and(|own| roots.iter().any(|root| own.is_signed_by(root)))
        })
        .map(|consenter| format!("{}:{}", consenter.host, consenter.port))
        .collect())
}
