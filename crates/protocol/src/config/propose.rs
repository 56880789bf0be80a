//! Deciding on a configuration update: the same code for the orderer that applies it and for peers
//! that recompute it (channel-config, section 4.2).

use super::tree::{self, Items, Placed};
use super::{ChannelConfig, ConfigError, transition};
use crate::envelope::{self, decode};
use crate::names;
use bytes::{BufMut, BytesMut};
use consilium_msp::SignedData;
use consilium_proto::common;

fn unauthorized<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Unauthorized(text.into()))
}

/// The update that a CONFIG_UPDATE envelope carries.
pub fn update_of(envelope: &common::Envelope) -> Result<common::ConfigUpdateEnvelope, ConfigError> {
    let parsed = envelope::parse(envelope)?;
    if parsed.kind() != Some(common::HeaderType::ConfigUpdate) {
        return Err(envelope::ParseError::EnvelopeType {
            found: envelope::header_type_name(parsed.channel_header.r#type),
            expected: common::HeaderType::ConfigUpdate.as_str_name(),
        }
        .into());
    }
    Ok(decode("ConfigUpdateEnvelope", &parsed.data)?)
}

impl ChannelConfig {
    /// Applies an update: checks its read set, versions, and for every changed item the policy that
    /// protects it. Returns the next configuration (sequence one higher) without `last_update`, which
    /// the caller sets to the envelope that was submitted. The result is not yet checked for being a
    /// valid configuration: [`ChannelConfig::validate`] does that.
    pub fn propose(
        &self,
        update: &common::ConfigUpdateEnvelope,
    ) -> Result<common::ConfigEnvelope, ConfigError> {
        let config = common::Config {
            sequence: self.sequence().saturating_add(1),
            channel_group: Some(self.updated_tree(update)?),
        };
        Ok(common::ConfigEnvelope {
            config: Some(config),
            last_update: None,
        })
    }

    /// [`ChannelConfig::propose`] from a submitted envelope, which becomes `last_update`.
    pub fn propose_envelope(
        &self,
        submitted: &common::Envelope,
    ) -> Result<common::ConfigEnvelope, ConfigError> {
        let update = update_of(submitted).map_err(|error| {
            ConfigError::Envelope(format!(
                "error converting envelope to config update: {error}"
            ))
        })?;
        let mut proposed = self.propose(&update)?;
        proposed.last_update = Some(submitted.clone());
        Ok(proposed)
    }

    /// Checks that a config envelope is the successor of this configuration, by applying its
    /// `last_update` again, and returns what it makes of the channel. This is what peers, and
    /// orderers that replay, do. Capabilities are not looked at: after this, a node asks
    /// [`super::capabilities::Capabilities::check_supported`] whether it can go on at all.
    pub fn validate(
        &self,
        envelope: &common::ConfigEnvelope,
    ) -> Result<ChannelConfig, ConfigError> {
        let config = envelope
            .config
            .as_ref()
            .ok_or_else(|| ConfigError::Envelope("config envelope has nil config".into()))?;
        if Some(config.sequence) != self.sequence().checked_add(1) {
            return Err(ConfigError::Envelope(format!(
                "config currently at sequence {}, cannot validate config at sequence {}",
                self.sequence(),
                config.sequence
            )));
        }
        let submitted = envelope.last_update.clone().unwrap_or_default();
        let computed = self.updated_tree(&update_of(&submitted)?)?;
        if config.channel_group.as_ref() != Some(&computed) {
            return Err(ConfigError::Envelope(
                "ConfigEnvelope LastUpdate did not produce the supplied config result".into(),
            ));
        }
        self.check_next(config.clone())
    }

    /// Checks that `config` is a valid configuration that this one may turn into, signatures aside.
    pub fn check_next(&self, config: common::Config) -> Result<ChannelConfig, ConfigError> {
        if let Some(root) = &config.channel_group {
            transition::check_sections(self, root)?;
        }
        let next = ChannelConfig::new(self.channel_id(), config)?;
        transition::check(self, &next)?;
        Ok(next)
    }

    /// The configuration that an update leads to, whoever has signed it. As [`Self::propose`], the
    /// result is not checked for being a valid one.
    pub fn preview(
        &self,
        update: &common::ConfigUpdateEnvelope,
    ) -> Result<common::Config, ConfigError> {
        let update = self.decode_update(update)?;
        Ok(common::Config {
            sequence: self.sequence().saturating_add(1),
            channel_group: Some(self.changes(&update)?.applied()?),
        })
    }

    /// The items that an update changes, each with the path of the policy that protects it. New items
    /// are protected by the group that they are added to.
    pub fn protected_items(
        &self,
        update: &common::ConfigUpdateEnvelope,
    ) -> Result<Vec<(String, String)>, ConfigError> {
        let update = self.decode_update(update)?;
        let changes = self.changes(&update)?;
        Ok(changes
            .existing()
            .map(|(key, existing)| (key.clone(), existing.mod_policy_path()))
            .collect())
    }

    fn updated_tree(
        &self,
        envelope: &common::ConfigUpdateEnvelope,
    ) -> Result<common::ConfigGroup, ConfigError> {
        let update = self.decode_update(envelope)?;
        let changes = self.changes(&update)?;
        let set = signed_data(envelope)?;
        for (key, existing) in changes.existing() {
            self.check_policy(key, existing, &set)
                .map_err(|e| within("error validating DeltaSet", e))?;
        }
        changes.applied()
    }

    fn decode_update(
        &self,
        envelope: &common::ConfigUpdateEnvelope,
    ) -> Result<common::ConfigUpdate, ConfigError> {
        let update: common::ConfigUpdate = decode("ConfigUpdate", &envelope.config_update)?;
        if update.channel_id != self.channel_id() {
            return unauthorized(format!(
                "ConfigUpdate for channel '{}' but envelope for channel '{}'",
                update.channel_id,
                self.channel_id()
            ));
        }
        Ok(update)
    }

    /// Everything that an update has to satisfy but for signatures.
    fn changes<'a>(&'a self, update: &'a common::ConfigUpdate) -> Result<Changes<'a>, ConfigError> {
        let current = tree::flatten(self.root())?;
        let read_set = tree::flatten_optional(update.read_set.as_ref())
            .map_err(|e| within("error mapping ReadSet", e))?;
        check_read_set(&current, &read_set).map_err(|e| within("error validating ReadSet", e))?;
        let write_set = tree::flatten_optional(update.write_set.as_ref())
            .map_err(|e| within("error mapping WriteSet", e))?;
        let delta: Items<'_> = write_set
            .iter()
            .filter(|(key, written)| {
                read_set
                    .get(*key)
                    .is_none_or(|read| read.item.version() != written.item.version())
            })
            .map(|(key, written)| (key.clone(), written.clone()))
            .collect();
        check_delta(&current, &delta).map_err(|e| within("error validating DeltaSet", e))?;
        Ok(Changes {
            current,
            write_set,
            delta,
        })
    }

    fn check_policy(
        &self,
        key: &str,
        existing: &Placed<'_>,
        set: &[SignedData],
    ) -> Result<(), ConfigError> {
        let path = existing.mod_policy_path();
        if existing.item.mod_policy().is_empty() || !self.policies().has(&path) {
            return unauthorized(format!(
                "unexpected missing policy {} for item {key}",
                existing.item.mod_policy()
            ));
        }
        self.policies()
            .policy(&path)
            .evaluate(set)
            .or_else(|error| unauthorized(format!("policy for {key} not satisfied: {error}")))
    }
}

/// An update beside the configuration that it is for.
struct Changes<'a> {
    current: Items<'a>,
    write_set: Items<'a>,
    /// What it sets: the items of the write set that are not read at the same version.
    delta: Items<'a>,
}

impl<'a> Changes<'a> {
    /// Those of the changed items that are there, as they are there.
    fn existing(&self) -> impl Iterator<Item = (&String, &Placed<'a>)> {
        self.delta
            .keys()
            .filter_map(|key| Some((key, self.current.get(key)?)))
    }

    /// The tree after the update.
    fn applied(self) -> Result<common::ConfigGroup, ConfigError> {
        let mut items = self.current;
        items.extend(self.delta);
        if let Some(key) = self.write_set.keys().find(|key| !items.contains_key(*key)) {
            return unauthorized(format!(
                "full config did not verify: writeset contained key {key} which did not appear in proposed config"
            ));
        }
        let mut root = tree::rebuild(&items)?;
        // Asked of all items, not of the tree: an update that removes the capabilities still heals.
        if items.contains_key(ORDERER_CAPABILITIES) {
            fill_mod_policies(&mut root);
        }
        Ok(root)
    }
}

/// Where capabilities begin: a channel that has these has them at all.
const ORDERER_CAPABILITIES: &str = "[Value]  /Channel/Orderer/Capabilities";

fn check_delta(current: &Items<'_>, delta: &Items<'_>) -> Result<(), ConfigError> {
    if delta.is_empty() {
        return unauthorized("delta set was empty -- update would have no effect");
    }
    for (key, changed) in delta {
        check_mod_policy(changed.item.mod_policy()).or_else(|reason| {
            unauthorized(format!("invalid mod_policy for element {key}: {reason}"))
        })?;
        let version = changed.item.version();
        let Some(existing) = current.get(key) else {
            // A new item is protected by the group it is added to, which has to change as well.
            if version != 0 {
                return unauthorized(format!(
                    "attempted to set key {key} to version {version}, but key does not exist"
                ));
            }
            continue;
        };
        if existing.item.version().checked_add(1) != Some(version) {
            return unauthorized(format!(
                "attempt to set key {key} to version {version}, but key is at version {}",
                existing.item.version()
            ));
        }
    }
    Ok(())
}

/// Puts a step's name before the text of what went wrong in it.
fn within(step: &str, error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Unauthorized(text) => ConfigError::Unauthorized(format!("{step}: {text}")),
        other => ConfigError::Unauthorized(format!("{step}: {other}")),
    }
}

fn check_read_set(current: &Items<'_>, read_set: &Items<'_>) -> Result<(), ConfigError> {
    for (key, read) in read_set {
        let Some(existing) = current.get(key) else {
            return unauthorized(format!(
                "existing config does not contain element for {key} but was in the read set"
            ));
        };
        let (version, now) = (read.item.version(), existing.item.version());
        if version != now {
            return unauthorized(format!(
                "proposed update requires that key {key} be at version {version}, but it is currently at version {now}"
            ));
        }
    }
    Ok(())
}

fn check_mod_policy(policy: &str) -> Result<(), String> {
    if policy.is_empty() {
        return Err("mod_policy not set".into());
    }
    let relative = policy.strip_prefix('/').unwrap_or(policy);
    for (index, element) in relative.split('/').enumerate() {
        names::validate_config_key(element)
            .map_err(|e| format!("path element at {index} is invalid: {e}"))?;
    }
    Ok(())
}

/// The signatures of an update: each covers its signature header followed by the update.
pub fn signed_data(
    envelope: &common::ConfigUpdateEnvelope,
) -> Result<Vec<SignedData>, ConfigError> {
    let signatures = envelope.signatures.iter().map(|signature| {
        let header: common::SignatureHeader =
            decode("SignatureHeader", &signature.signature_header)?;
        let mut data = BytesMut::with_capacity(
            signature.signature_header.len() + envelope.config_update.len(),
        );
        data.put_slice(&signature.signature_header);
        data.put_slice(&envelope.config_update);
        Ok(SignedData {
            data: data.freeze(),
            identity: header.creator,
            signature: signature.signature.clone(),
        })
    });
    signatures.collect()
}

/// Channels born under Fabric 1.0 have items that nobody could change; capabilities heal them.
fn fill_mod_policies(group: &mut common::ConfigGroup) {
    fn fill(mod_policy: &mut String) {
        if mod_policy.is_empty() {
            mod_policy.push_str("Admins");
        }
    }
    fill(&mut group.mod_policy);
    group
        .values
        .values_mut()
        .for_each(|value| fill(&mut value.mod_policy));
    group
        .policies
        .values_mut()
        .for_each(|policy| fill(&mut policy.mod_policy));
    group.groups.values_mut().for_each(fill_mod_policies);
}
