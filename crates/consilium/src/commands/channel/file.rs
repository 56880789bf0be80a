//! Configurations and proposals in files.

use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use consilium_ca::folders;
use consilium_proto::common;
use consilium_protocol::config::{ChannelConfig, update};
use prost::Message;

use crate::commands::protolator;

/// Full name of the message that a configuration is.
const CONFIG: &str = "common.Config";

/// The configuration in a file: a config block, or a Config message of `channel`, encoded or in JSON.
///
/// # Errors
/// It cannot be read, or holds something else.
pub fn configuration(file: &Path, channel: &str) -> anyhow::Result<ChannelConfig> {
    let content = read(file)?;
    let config = match common::Block::decode(content.clone()).ok() {
        Some(block) if block.header.is_some() && block.data.is_some() => {
            ChannelConfig::from_block(&block)
        }
        _ => ChannelConfig::new(channel, message(&content)?),
    };
    config.with_context(|| file.display().to_string())
}

/// A Config message alone, which need not be a valid configuration.
///
/// # Errors
/// As [`configuration`].
pub fn config_message(file: &Path) -> anyhow::Result<common::Config> {
    let content = read(file)?;
    if let Ok(block) = common::Block::decode(content.clone())
        && block.header.is_some()
        && block.data.is_some()
    {
        let (_, envelope) = consilium_protocol::block::config_envelope(&block)
            .with_context(|| file.display().to_string())?;
        return envelope
            .config
            .with_context(|| format!("{} has no config", file.display()));
    }
    message(&content).with_context(|| file.display().to_string())
}

fn message(content: &Bytes) -> anyhow::Result<common::Config> {
    let encoded = match content.trim_ascii_start().starts_with(b"{") {
        true => protolator::from_json(&protolator::message_type(CONFIG)?, content)?.into(),
        false => content.clone(),
    };
    let config = common::Config::decode(encoded)
        .ok()
        .filter(|config| config.channel_group.is_some());
    config.context("it is neither a config block nor a Config message, nor one in JSON")
}

/// A configuration as `configtxlator proto_decode --type common.Config` shows it.
///
/// # Errors
/// A value of it is none that configtxlator knows.
pub fn json(config: &ChannelConfig) -> anyhow::Result<String> {
    let encoded = config.config().encode_to_vec();
    let message = protolator::decode(protolator::message_type(CONFIG)?, &encoded)?;
    protolator::to_json(&message, &protolator::Role::Plain)
}

/// The update in a proposal: an envelope, or the ConfigUpdate alone that `configtxlator
/// compute_update` writes.
///
/// # Errors
/// It cannot be read, or is none.
pub fn proposal(file: &Path) -> anyhow::Result<common::ConfigUpdateEnvelope> {
    let content = read(file)?;
    let envelope = common::Envelope::decode(content.clone());
    let refused = match envelope.map(|envelope| update::update_of(&envelope)) {
        Ok(Ok(update)) => return Ok(update),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    match common::ConfigUpdate::decode(content.clone()) {
        Ok(update) if !update.channel_id.is_empty() && update.write_set.is_some() => {
            Ok(common::ConfigUpdateEnvelope {
                config_update: content,
                signatures: Vec::new(),
            })
        }
        _ => anyhow::bail!("{} is no proposal: {refused}", file.display()),
    }
}

/// The value of a setting on the command line: text; `@FILE`, what is in a file; `TEXT@FILE`, the
/// text, and below it what is in the file. Of a folder, the MSP that it holds.
///
/// # Errors
/// The file or folder cannot be read.
pub fn value(text: &str) -> anyhow::Result<Bytes> {
    let Some((before, path)) = text.rsplit_once('@') else {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    };
    let content = read(Path::new(path))?;
    if before.is_empty() {
        return Ok(content);
    }
    Ok([before.as_bytes(), b"\n", &content].concat().into())
}

/// The MSP in a folder, as the message in a configuration.
///
/// # Errors
/// The folder holds none.
pub fn msp(folder: &Path, msp_id: &str) -> anyhow::Result<consilium_proto::msp::FabricMspConfig> {
    folders::read_msp_config(folder, msp_id)
        .with_context(|| format!("cannot read the MSP in {}", folder.display()))
}

pub fn read(file: &Path) -> anyhow::Result<Bytes> {
    let content = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(content.into())
}
