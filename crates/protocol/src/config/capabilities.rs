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
        let levels: [(&'static str, &BTreeSet<String>, &[&str]); 3] = [
            ("Channel", &self.channel, &CHANNEL),
            ("Orderer", &self.orderer, &ORDERER),
            ("Application", &self.application, &APPLICATION),
        ];
        for (level, listed, known) in levels {
            if level == "Application" && !application_too {
                continue;
            }
            let unknown = listed.iter().find(|name| {
                !known.contains(&name.as_str())
                    && !(level == "Application" && APPLICATION_EXPERIMENTS.contains(&name.as_str()))
            });
            if let Some(name) = unknown {
                return Err(ConfigError::UnsupportedCapability {
                    level,
                    name: name.clone(),
                });
            }
        }
        Ok(())
    }
}
