//! Capabilities: what every node of a channel has to be able to do (channel-config, section 5).

use super::ConfigError;
use consilium_msp::MspVersion;
use std::collections::BTreeSet;

/// Channel capabilities, in the order of their release.
pub const CHANNEL: [&str; 6] = ["V1_1", "V1_3", "V1_4_2", "V1_4_3", "V2_0", "V3_0"];
/// Orderer capabilities, in the order of their release.
pub const ORDERER: [&str; 3] = ["V1_1", "V1_4_2", "V2_0"];
/// Application capabilities, in the order of their release.
pub const APPLICATION: [&str; 6] = ["V1_1", "V1_2", "V1_3", "V1_4_2", "V2_0", "V2_5"];
/// Application capabilities that exist only to be known.
const APPLICATION_EXPERIMENTS: [&str; 2] = [
    "V1_1_PVTDATA_EXPERIMENTAL",
    "V1_1_RESOURCETREE_EXPERIMENTAL",
];

/// The capabilities that a configuration lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Of the channel.
    pub channel: BTreeSet<String>,
    /// Of its orderers.
    pub orderer: BTreeSet<String>,
    /// Of its peers.
    pub application: BTreeSet<String>,
}

/// Whether `name` or one released after it is listed.
pub(super) fn at_least(listed: &BTreeSet<String>, released: &[&str], name: &str) -> bool {
    let first = released
        .iter()
        .position(|known| *known == name)
        .unwrap_or(released.len());
    released[first..]
        .iter()
        .any(|known| listed.contains(*known))
}

impl Capabilities {
    /// The rules by which the channel's MSPs work.
    pub fn msp_version(&self) -> MspVersion {
        let has = |name| self.channel.contains(name);
        if has("V3_0") {
            MspVersion::V3_0
        } else if has("V2_0") || has("V1_4_3") {
            MspVersion::V1_4_3
        } else if has("V1_4_2") || has("V1_3") {
            MspVersion::V1_3
        } else if has("V1_1") {
            MspVersion::V1_1
        } else {
            MspVersion::V1_0
        }
    }

    /// Fails if anything is listed that this software does not know. Orderers need not understand
    /// the application's capabilities, peers need all three levels.
    pub fn check_supported(&self, application_too: bool) -> Result<(), ConfigError> {
        check_known("Orderer", &self.orderer, &[&ORDERER])?;
        check_known("Channel", &self.channel, &[&CHANNEL])?;
        if application_too {
            let known: [&[&str]; 2] = [&APPLICATION, &APPLICATION_EXPERIMENTS];
            check_known("Application", &self.application, &known)?;
        }
        Ok(())
    }
}

fn check_known(
    level: &'static str,
    listed: &BTreeSet<String>,
    known: &[&[&str]],
) -> Result<(), ConfigError> {
    let is_known = |name: &str| known.iter().any(|names| names.contains(&name));
    match listed.iter().find(|name| !is_known(name)) {
        Some(name) => Err(ConfigError::UnsupportedCapability {
            level,
            name: name.clone(),
        }),
        None => Ok(()),
    }
}
