//! Computing the update that turns one configuration into another, and signing it
//! (channel-config, section 4.1).

use super::ConfigError;
use crate::envelope::{self, HeaderSpec};
use common::{ConfigGroup, ConfigPolicy, ConfigValue};
use consilium_msp::{SignError, Signer};
use consilium_proto::common;
use prost::Message;
use prost_types::Timestamp;
use std::collections::BTreeMap;

pub use super::propose::{signed_data, update_of};

/// The smallest update from `original` to `updated` for `channel`. Versions and sequence of
/// `updated` are ignored.
pub fn compute(
    original: &common::Config,
    updated: &common::Config,
    channel: &str,
) -> Result<common::ConfigUpdate, ConfigError> {
    let group = |config: &common::Config, which: &str| {
        let missing =
            || ConfigError::Invalid(format!("no channel group included for {which} config"));
        config.channel_group.clone().ok_or_else(missing)
    };
    let (original, updated) = (group(original, "original")?, group(updated, "updated")?);
    let Outcome::Changed { read, write } = compare_groups(&original, &updated) else {
        return Err(ConfigError::NoDifference);
    };
    Ok(common::ConfigUpdate {
        channel_id: channel.to_owned(),
        read_set: Some(read),
        write_set: Some(write),
        isolated_data: BTreeMap::new(),
    })
}

enum Outcome<T> {
    /// A stub with the version only.
    Same(T),
    Changed {
        read: T,
        write: T,
    },
}

/// Members of one kind, sorted by what happens to them.
struct Members<T> {
    read: BTreeMap<String, T>,
    write: BTreeMap<String, T>,
    same: BTreeMap<String, T>,
    membership_changed: bool,
}

impl<T: Clone> Members<T> {
    /// Whether nothing at all differs.
    fn unchanged(&self) -> bool {
        self.read.is_empty() && self.write.is_empty() && !self.membership_changed
    }

    /// Lists the unchanged members in both sets, as a group whose version rises needs it.
    fn keep_same(&mut self) {
        for (key, stub) in std::mem::take(&mut self.same) {
            self.read.insert(key.clone(), stub.clone());
            self.write.insert(key, stub);
        }
    }
}

/// `compare` returns what goes into the sets for a member that both have; only groups have a part in
/// the read set.
fn compare_members<T>(
    original: &BTreeMap<String, T>,
    updated: &BTreeMap<String, T>,
    compare: impl Fn(&T, &T) -> Outcome<T>,
    add: impl Fn(&T) -> T,
    in_read_set: bool,
) -> Members<T> {
    let mut members = Members {
        read: BTreeMap::new(),
        write: BTreeMap::new(),
        same: BTreeMap::new(),
        membership_changed: false,
    };
    for (key, old) in original {
        let Some(new) = updated.get(key) else {
            members.membership_changed = true;
            continue;
        };
        match compare(old, new) {
            Outcome::Same(stub) => {
                members.same.insert(key.clone(), stub);
            }
            Outcome::Changed { read, write } => {
                if in_read_set {
                    members.read.insert(key.clone(), read);
                }
                members.write.insert(key.clone(), write);
            }
        }
    }
    for (key, new) in updated
        .iter()
        .filter(|(key, _)| !original.contains_key(*key))
    {
        members.membership_changed = true;
        members.write.insert(key.clone(), add(new));
    }
    members
}

fn compare_values(old: &ConfigValue, new: &ConfigValue) -> Outcome<ConfigValue> {
    let stub = ConfigValue {
        version: old.version,
        ..Default::default()
    };
    if old.value == new.value && old.mod_policy == new.mod_policy {
        return Outcome::Same(stub);
    }
    Outcome::Changed {
        read: stub,
        write: ConfigValue {
            version: old.version.saturating_add(1),
            ..new.clone()
        },
    }
}

fn compare_policies(old: &ConfigPolicy, new: &ConfigPolicy) -> Outcome<ConfigPolicy> {
    let stub = ConfigPolicy {
        version: old.version,
        ..Default::default()
    };
    if old.policy == new.policy && old.mod_policy == new.mod_policy {
        return Outcome::Same(stub);
    }
    Outcome::Changed {
        read: stub,
        write: ConfigPolicy {
            version: old.version.saturating_add(1),
            ..new.clone()
        },
    }
}

/// A group that did not exist: everything in it at version 0.
fn new_group(group: &ConfigGroup) -> ConfigGroup {
    let mut added = group.clone();
    added.version = 0;
    added
        .values
        .values_mut()
        .for_each(|value| value.version = 0);
    added
        .policies
        .values_mut()
        .for_each(|policy| policy.version = 0);
    for member in added.groups.values_mut() {
        *member = new_group(member);
    }
    added
}

fn compare_groups(old: &ConfigGroup, new: &ConfigGroup) -> Outcome<ConfigGroup> {
    let new_value = |value: &ConfigValue| ConfigValue {
        version: 0,
        ..value.clone()
    };
    let new_policy = |policy: &ConfigPolicy| ConfigPolicy {
        version: 0,
        ..policy.clone()
    };
    let mut values = compare_members(&old.values, &new.values, compare_values, new_value, false);
    let mut policies = compare_members(
        &old.policies,
        &new.policies,
        compare_policies,
        new_policy,
        false,
    );
    let mut groups = compare_members(&old.groups, &new.groups, compare_groups, new_group, true);
    let changes_itself = values.membership_changed
        || policies.membership_changed
        || groups.membership_changed
        || old.mod_policy != new.mod_policy;
    if !changes_itself && values.unchanged() && policies.unchanged() && groups.unchanged() {
        return Outcome::Same(ConfigGroup {
            version: old.version,
            ..Default::default()
        });
    }
    let mut write_version = old.version;
    let mut mod_policy = String::new();
    if changes_itself {
        values.keep_same();
        policies.keep_same();
        groups.keep_same();
        write_version = old.version.saturating_add(1);
        mod_policy.clone_from(&new.mod_policy);
    }
    Outcome::Changed {
        read: ConfigGroup {
            version: old.version,
            groups: groups.read,
            values: values.read,
            policies: policies.read,
            mod_policy: String::new(),
        },
        write: ConfigGroup {
            version: write_version,
            groups: groups.write,
            values: values.write,
            policies: policies.write,
            mod_policy,
        },
    }
}

/// Adds `signer`'s signature to an update.
pub fn sign(
    update: &mut common::ConfigUpdateEnvelope,
    signer: &dyn Signer,
) -> Result<(), SignError> {
    let signature_header = bytes::Bytes::from(envelope::signature_header(signer).encode_to_vec());
    let signature = signer.sign(&[&signature_header[..], &update.config_update].concat())?;
    update.signatures.push(common::ConfigSignature {
        signature_header,
        signature,
    });
    Ok(())
}

/// The CONFIG_UPDATE envelope that is submitted to an orderer.
pub fn submission(
    update: &common::ConfigUpdateEnvelope,
    channel: &str,
    timestamp: Timestamp,
    signer: &dyn Signer,
) -> Result<common::Envelope, SignError> {
    let spec = HeaderSpec::new(common::HeaderType::ConfigUpdate, channel, timestamp);
    envelope::create_signed(spec, update.encode_to_vec().into(), signer)
}

/// The CONFIG envelope that an orderer makes of an accepted update.
pub fn config_transaction(
    config: &common::ConfigEnvelope,
    channel: &str,
    timestamp: Timestamp,
    signer: &dyn Signer,
) -> Result<common::Envelope, SignError> {
    let spec = HeaderSpec::new(common::HeaderType::Config, channel, timestamp);
    envelope::create_signed(spec, config.encode_to_vec().into(), signer)
}
