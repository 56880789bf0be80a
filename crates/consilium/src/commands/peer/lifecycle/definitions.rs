//! Definitions: approving and committing.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Args;
use consilium_client::{ApprovedDefinition, Call, LIFECYCLE};

use super::ChannelArgs;
use crate::{
    commands::peer::{
        Environment, Rest,
        flags::{self, GoFlag},
        orderer::OrdererArgs,
        rpc,
        targets::{Asking, Family, TargetArgs},
        transaction::{Endorsers, SubmitError, WaitUnlessTold},
    },
    definition,
};

/// A definition, by flags.
#[derive(Clone, Debug, Args)]
pub struct DefinitionArgs {
    #[command(flatten)]
    pub(super) of: ChannelArgs,
    /// Version of the chaincode.
    #[arg(short, long, text())]
    version: String,
    /// The sequence number of the chaincode definition for the channel.
    #[arg(
        long,
        default_value = "0",
        hide_default_value = true,
        value_parser = flags::integer,
        value_name = "NUMBER"
    )]
    sequence: i64,
    /// The name of the endorsement plugin to be used for this chaincode.
    #[arg(short = 'E', long = "endorsement-plugin", text(), value_name = "NAME")]
    endorsement_plugin: String,
    /// The name of the validation plugin to be used for this chaincode.
    #[arg(short = 'V', long = "validation-plugin", text(), value_name = "NAME")]
    validation_plugin: String,
    /// The endorsement policy associated to this chaincode specified as a signature policy.
    #[arg(long = "signature-policy", text(), value_name = "POLICY")]
    signature_policy: String,
    /// The endorsement policy associated to this chaincode specified as a channel config policy
    /// reference.
    #[arg(long = "channel-config-policy", text(), value_name = "POLICY")]
    channel_policy: String,
    /// Whether the chaincode requires invoking 'init'.
    #[arg(long = "init-required", switch = false)]
    init_required: bool,
    /// The path to the collection JSON file including the file name.
    #[arg(long = "collections-config", value_name = "FILE")]
    collections: Option<PathBuf>,
}

/// Arguments of `approveformyorg`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct ApproveArgs {
    #[command(flatten)]
    definition: DefinitionArgs,
    /// The identifier of the chaincode install package.
    #[arg(long = "package-id", text(), value_name = "ID")]
    package_id: String,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `commit`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct CommitArgs {
    #[command(flatten)]
    definition: DefinitionArgs,
    #[command(flatten)]
    send: SendArgs,
}

/// Where a transaction goes.
#[derive(Debug, Args)]
struct SendArgs {
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    wait: WaitUnlessTold,
    #[command(flatten)]
    _rest: Rest,
}

impl DefinitionArgs {
    /// The definition.
    ///
    /// # Errors
    /// A policy or a file is wrong, or something is missing: in Fabric's order.
    pub fn definition(&self) -> anyhow::Result<ApprovedDefinition> {
        let policy = definition::endorsement_policy(&self.signature_policy, &self.channel_policy)?;
        let collections = self.collections.as_deref();
        let collections = collections.map(definition::collections_of).transpose()?;
        for (name, value, flag) in [
            ("channelID", &self.of.channel, "-C"),
            ("name", &self.of.name, "-n"),
            ("version", &self.version, "-v"),
        ] {
            anyhow::ensure!(
                !value.is_empty(),
                "The required parameter '{name}' is empty. Rerun the command with {flag} flag"
            );
        }
        anyhow::ensure!(
            self.sequence != 0,
            "The required parameter 'sequence' is empty. Rerun the command with --sequence flag"
        );
        Ok(ApprovedDefinition {
            name: self.of.name.clone(),
            version: self.version.clone(),
            sequence: self.sequence,
            policy,
            collections,
            init_required: self.init_required,
            endorsement_plugin: self.endorsement_plugin.clone(),
            validation_plugin: self.validation_plugin.clone(),
        })
    }
}

/// Approves a definition.
///
/// # Errors
/// Something is missing, or what a peer or an orderer answered.
pub async fn approve(
    environment: &Environment,
    orderer: &OrdererArgs,
    args: &ApproveArgs,
) -> anyhow::Result<()> {
    let definition = args.definition.definition()?;
    let call = call(definition.approval(&args.package_id));
    let channel = &args.definition.of.channel;
    transact(
        environment,
        orderer,
        "approveformyorg",
        channel,
        &args.send,
        call,
    )
    .await
}

/// Commits a definition.
///
/// # Errors
/// Something is missing, or what a peer or an orderer answered.
pub async fn commit(
    environment: &Environment,
    orderer: &OrdererArgs,
    args: &CommitArgs,
) -> anyhow::Result<()> {
    let call = call(args.definition.definition()?.commit());
    let channel = &args.definition.of.channel;
    transact(environment, orderer, "commit", channel, &args.send, call).await
}

fn call(args: Vec<bytes::Bytes>) -> Call {
    Call {
        chaincode: LIFECYCLE.into(),
        args,
        ..Call::default()
    }
}

async fn transact(
    environment: &Environment,
    orderer: &OrdererArgs,
    command: &str,
    channel: &str,
    args: &SendArgs,
    call: Call,
) -> anyhow::Result<()> {
    let signer = environment.signer()?;
    let asking = Asking {
        family: Family::Lifecycle,
        command,
        several: true,
        channel: Some(channel),
        target_peer: "",
    };
    let peers = args.targets.connect(environment, asking).await?;
    let endorsers = Endorsers::new(peers, signer);
    let orderers = orderer
        .broadcast(environment, channel, endorsers.first().as_ref())
        .await
        .context("failed to retrieve broadcast client")?;
    let endorsed = endorsers.endorse(channel, call).await;
    let endorsed =
        endorsed.map_err(|error| anyhow::anyhow!("failed to endorse proposal: {}", rpc(&error)))?;
    let first = endorsed.responses.first();
    let first = first.context("no proposal responses received")?;
    let answer = first.response.clone();
    let answer = answer.context("received proposal response with nil response")?;
    anyhow::ensure!(
        answer.status == 200,
        "proposal failed with status: {} - {}",
        answer.status,
        answer.message
    );
    let transaction = endorsers
        .assemble(&endorsed)
        .context("failed to create signed transaction")?;
    let patience: Option<Duration> = args.wait.wait.then_some(args.wait.patience.event_timeout);
    endorsers
        .submit(channel, &endorsed.tx_id, &transaction, &orderers, patience)
        .await
        .map_err(|error| match error {
            SubmitError::Send(error) => error.context("failed to send transaction"),
            SubmitError::Wait(error) => error,
        })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_version_flag = true)]
    struct Line {
        #[command(flatten)]
        args: DefinitionArgs,
    }

    fn definition(line: &str) -> anyhow::Result<ApprovedDefinition> {
        let line = ["peer"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(line).unwrap().args.definition()
    }

    #[test]
    fn a_definition_is_what_the_flags_say() {
        let made = definition(
            "-C health -n notes -v 1.0 --sequence 3 -E escc -V vscc --init-required \
             --channel-config-policy /Channel/Application/Endorsement",
        )
        .unwrap();
        assert_eq!(
            (made.name.as_str(), made.version.as_str()),
            ("notes", "1.0")
        );
        assert_eq!(made.sequence, 3);
        assert!(made.init_required && made.collections.is_none());
        assert_eq!(made.endorsement_plugin, "escc");
        assert_eq!(made.validation_plugin, "vscc");
        assert!(!made.policy.is_empty());
    }

    #[test]
    fn what_is_missing_is_told_in_fabrics_words() {
        for (line, reason) in [
            (
                "",
                "The required parameter 'channelID' is empty. Rerun the command with -C flag",
            ),
            (
                "-C c",
                "The required parameter 'name' is empty. Rerun the command with -n flag",
            ),
            (
                "-C c -n n",
                "The required parameter 'version' is empty. Rerun the command with -v flag",
            ),
            (
                "-C c -n n -v 1",
                "The required parameter 'sequence' is empty. Rerun the command with --sequence flag",
            ),
            (
                "--signature-policy nonsense",
                "invalid signature policy: nonsense",
            ),
            (
                "--signature-policy OR('A.peer') --channel-config-policy x",
                "cannot specify both \"--signature-policy\" and \"--channel-config-policy\"",
            ),
            (
                "--collections-config /nowhere",
                "invalid collection configuration in file /nowhere",
            ),
        ] {
            let error = definition(line).unwrap_err().to_string();
            assert_eq!(error, reason, "{line}");
        }
    }
}
