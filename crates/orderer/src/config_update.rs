//! From a submitted config update to the config message that is ordered, and from an ordered
//! config message to the next configuration. Pure, but for the nonce and the signature.
//!
//! fabric: orderer/common/msgprocessor/standardchannel.go, maintenancefilter.go

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::{common, decode, etcdraft};
use consilium_protocol::config::consenters::{self, TlsAuthorities};
use consilium_protocol::config::{ChannelConfig, ConfigError, check_maintenance};
use consilium_protocol::envelope::{self, HeaderSpec, ParsedEnvelope};
use prost::Message;

use crate::configuration::Configuration;
use crate::filters::{self, Rules};
use crate::refusal::Refusal;

/// Checks a submitted CONFIG_UPDATE against the configuration in force and makes the CONFIG
/// envelope that is to be ordered, signed by this orderer. `active` are the consenters that answer
/// at the moment, as far as this node can tell.
pub fn process(
    configuration: &Configuration,
    active: &BTreeSet<u64>,
    submitted: &common::Envelope,
    parsed: &ParsedEnvelope,
    signer: &dyn Signer,
    rules: &Rules,
    now: SystemTime,
) -> Result<common::Envelope, Refusal> {
    let config = &*configuration.config;
    filters::check(config, parsed, rules).map_err(|refusal| {
        refusal.within("config update for existing channel did not pass initial checks")
    })?;
    let channel = config.channel_id();
    let applying = format!("error applying config update to existing channel '{channel}'");
    let refused = |error: String| Refusal::bad_request(error).within(&applying);
    let proposed = config
        .propose_envelope(submitted)
        .map_err(|error| refused(error.to_string()))?;
    let next = proposed.config.clone().unwrap_or_default();
    let next = config
        .check_next(next)
        .map_err(|error| refused(error.to_string()))?;
    next.capabilities().check_supported(false).map_err(|error| {
        let level = match &error {
            ConfigError::UnsupportedCapability { level, .. } => level.to_ascii_lowercase(),
            _ => String::new(),
        };
        // Fabric has the reason twice.
        refused(format!(
            "config update is not compatible: config requires unsupported {level} capabilities: {error}: {error}"
        ))
    })?;
    consenters::check_update(config, &next, &configuration.ids, active, rules.now)
        .map_err(|error| refused(error.to_string()))?;

    let spec = HeaderSpec::new(
        common::HeaderType::Config,
        channel,
        envelope::timestamp(now),
    );
    let message = envelope::create_signed(spec, proposed.encode_to_vec().into(), signer)
        .map_err(|error| Refusal::unavailable(format!("cannot sign config message: {error}")))?;
    let made = envelope::parse(&message).map_err(|error| refused(error.to_string()))?;
    filters::check(config, &made, rules).map_err(|refusal| {
        refusal.within("config update for existing channel did not pass final checks")
    })?;
    maintenance(config, &next, submitted).map_err(|reason| {
        Refusal::bad_request(reason)
            .within("config transaction inspection failed")
            .within("config update for existing channel did not pass maintenance checks")
    })?;
    Ok(message)
}

/// The CONFIG_UPDATE inside a CONFIG message, to run it through [`process`] again.
pub fn last_update(config_message: &ParsedEnvelope) -> Result<common::Envelope, Refusal> {
    let wrapped: common::ConfigEnvelope = decode(&config_message.data)
        .map_err(|error| Refusal::bad_request(format!("malformed config message: {error}")))?;
    wrapped
        .last_update
        .ok_or_else(|| Refusal::bad_request("config message without an update"))
}

/// What an ordered CONFIG envelope makes of the configuration. The same on every node, at any time:
/// a refusal means that no block is made of it.
pub fn apply(current: &Configuration, message: &Bytes) -> Result<Configuration, String> {
    let config = &*current.config;
    let parsed = envelope::parse_bytes(message).map_err(|error| error.to_string())?;
    if parsed.channel_header.r#type != common::HeaderType::Config as i32 {
        return Err("not a config message".into());
    }
    if parsed.channel_header.channel_id != config.channel_id() {
        return Err(format!(
            "config message is for channel '{}'",
            parsed.channel_header.channel_id
        ));
    }
    let wrapped: common::ConfigEnvelope =
        decode(&parsed.data).map_err(|error| error.to_string())?;
    let next = config
        .validate(&wrapped)
        .map_err(|error| error.to_string())?;
    maintenance(config, &next, &wrapped.last_update.unwrap_or_default())?;
    let ids = next_ids(current, &next)?;
    current.followed_by(Arc::new(next), ids)
}

/// The rules of maintenance mode, and that the consensus type stays: this orderer knows one.
fn maintenance(
    current: &ChannelConfig,
    next: &ChannelConfig,
    submitted: &common::Envelope,
) -> Result<(), String> {
    let parsed = envelope::parse(submitted).map_err(|error| error.to_string())?;
    let update: common::ConfigUpdateEnvelope =
        decode(&parsed.data).map_err(|error| error.to_string())?;
    let update: common::ConfigUpdate =
        decode(&update.config_update).map_err(|error| error.to_string())?;
    check_maintenance(current, next, &update).map_err(|error| error.to_string())?;
    let (from, to) = (&current.consensus().r#type, &next.consensus().r#type);
    if from == to {
        return Ok(());
    }
    Err(format!(
        "attempted to change consensus type from {from} to {to}, transition not supported"
    ))
}

/// Checks the consenter list of a new configuration, time aside, and gives the ids in it.
fn next_ids(
    current: &Configuration,
    next: &ChannelConfig,
) -> Result<etcdraft::BlockMetadata, String> {
    let error = |error: ConfigError| error.to_string();
    let old = current.config.raft_metadata().map_err(error)?;
    let new = next.raft_metadata().map_err(error)?;
    consenters::check_metadata(&new, &TlsAuthorities::of_orderers(next).map_err(error)?)
        .map_err(error)?;
    let change = consenters::membership_change(&current.ids, &old.consenters, &new.consenters);
    Ok(change.map_err(error)?.ids)
}
