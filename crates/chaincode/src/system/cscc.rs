//! `cscc`: joining channels and reading their configuration.
//! (fabric: core/scc/cscc/configure.go)

use super::{no_such_block, text};
use crate::host::Host;
use crate::outcome::{failure, success};
use crate::session::Session;
use bytes::Bytes;
use consilium_ledger::Ledger;
use consilium_proto::common::Block;
use consilium_proto::protos::{ChannelInfo, ChannelQueryResponse, JoinBySnapshotStatus, Response};
use consilium_protocol::block::last_config;
use consilium_protocol::config::ChannelConfig;
use prost::Message;

pub(super) fn invoke(host: &Host, session: &Session, args: &[Bytes]) -> Response {
    match answer(host, session, args) {
        Ok(payload) => success(payload),
        Err(cause) => failure(cause),
    }
}

fn answer(host: &Host, session: &Session, args: &[Bytes]) -> Result<Bytes, String> {
    let function = args.first().map(text).unwrap_or_default();
    let needs_argument = !matches!(function.as_str(), "GetChannels" | "JoinBySnapshotStatus");
    if args.is_empty() || (needs_argument && args.len() < 2) {
        return Err(format!("Incorrect number of arguments, {}", args.len()));
    }
    match function.as_str() {
        "JoinChain" => join(host, session, &args[1]),
        "GetConfigBlock" => {
            let channel = text(&args[1]);
            may_read(session, &function, &channel)?;
            let ledger = host.support.ledger(&channel);
            let ledger = ledger.ok_or_else(|| format!("Unknown channel ID, {channel}"))?;
            config_block(&ledger).map(|block| block.encode_to_vec().into())
        }
        "GetChannelConfig" => {
            let channel = text(&args[1]);
            if channel.is_empty() {
                return Err("empty channel name provided".to_owned());
            }
            may_read(session, &function, &channel)?;
            let config = host.support.config(&channel);
            let config = config.ok_or_else(|| format!("unknown channel ID, {channel}"))?;
            Ok(config.config().encode_to_vec().into())
        }
        "GetChannels" => {
            check_acl(session, &function, "")
                .map_err(|cause| format!("access denied for [{function}]: {cause}"))?;
            let channels = host.support.channels().into_iter();
            let channels = channels
                .map(|channel_id| ChannelInfo { channel_id })
                .collect();
            Ok(ChannelQueryResponse { channels }.encode_to_vec().into())
        }
        "JoinBySnapshotStatus" => {
            check_acl(session, &function, "")
                .map_err(|cause| format!("access denied for [{function}]: {cause}"))?;
            let folder = host.support.joining_by_snapshot();
            let status = JoinBySnapshotStatus {
                in_progress: folder.is_some(),
                bootstrapping_snapshot_dir: folder.unwrap_or_default(),
            };
            Ok(status.encode_to_vec().into())
        }
        "JoinChainBySnapshot" => {
            let folder = text(&args[1]);
            if folder.is_empty() {
                return Err("Cannot join the channel, no snapshot directory provided".to_owned());
            }
            check_acl(session, &function, "")
                .map_err(|cause| format!("access denied for [{function}]: [{cause}]"))?;
            host.support.join_by_snapshot(&folder)?;
            Ok(Bytes::new())
        }
        other => Err(format!("Requested function {other} not found.")),
    }
}

/// Refuses what the ACL of `function` does not allow the creator, on a channel or, without its name, at
/// this peer; without Fabric's prefix, which differs from function to function.
fn check_acl(session: &Session, function: &str, channel: &str) -> Result<(), String> {
    let resource = format!("cscc/{function}");
    let support = &session.support;
    support.check_acl(&resource, channel, &session.proposal)
}

fn may_read(session: &Session, function: &str, channel: &str) -> Result<(), String> {
    check_acl(session, function, channel)
        .map_err(|cause| format!("access denied for [{function}][{channel}]: {cause}"))
}

fn join(host: &Host, session: &Session, genesis: &Bytes) -> Result<Bytes, String> {
    if genesis.is_empty() {
        return Err("Cannot join the channel <nil> configuration block provided".to_owned());
    }
    let block = Block::decode(genesis.clone())
        .map_err(|error| format!("Failed to reconstruct the genesis block, {error}"))?;
    let config = ChannelConfig::from_block(&block);
    let channel = match &config {
        Ok(config) => config.channel_id().to_owned(),
        Err(error) => {
            return Err(format!(
                "\"JoinChain\" request failed to extract channel id from the block due to [{error}]"
            ));
        }
    };
    check_acl(session, "JoinChain", "")
        .map_err(|cause| format!("access denied for [JoinChain][{channel}]: [{cause}]"))?;
    if block
        .header
        .as_ref()
        .is_none_or(|header| header.number != 0)
    {
        return Err(format!(
            "\"JoinChain\" for channelID = {channel} failed because of validation of configuration block, because of the block is not the first of its channel"
        ));
    }
    host.support.join(block)?;
    Ok(Bytes::new())
}

/// The block that holds the configuration in force.
fn config_block(ledger: &Ledger) -> Result<Block, String> {
    let read = |number: u64| {
        ledger
            .block(number)
            .map_err(|error| error.to_string())?
            .ok_or_else(|| no_such_block(ledger, number))
    };
    let newest = read(ledger.height().saturating_sub(1))?;
    match newest.header.as_ref().map(|header| header.number) {
        Some(0) => Ok(newest),
        _ => read(last_config(&newest).map_err(|error| error.to_string())?),
    }
}
