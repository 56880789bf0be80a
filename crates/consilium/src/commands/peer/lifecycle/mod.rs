//! `consilium peer lifecycle chaincode`. fabric: internal/peer/lifecycle/chaincode

mod definitions;
mod packages;
mod queries;
mod readiness;
mod source;

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_client::{Admin, ClientError, LIFECYCLE};
use prost::Message;

use super::{
    Environment, GoFlag,
    orderer::OrdererArgs,
    rpc,
    targets::{Asking, Family, TargetArgs},
};

/// Perform _lifecycle operations.
#[derive(Debug, Subcommand)]
pub enum LifecycleCommand {
    /// Perform chaincode operations.
    Chaincode(ChaincodeCommand),
}

/// Perform chaincode operations.
#[derive(Debug, Args)]
pub struct ChaincodeCommand {
    #[command(flatten)]
    orderer: OrdererArgs,
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Package a chaincode and write the package to a file.
    #[command(after_help = "\
Example:
  consilium peer lifecycle chaincode package notes.tar.gz --lang node --path ./notes --label notes_1")]
    Package(packages::PackageArgs),
    /// Calculate the package ID for a packaged chaincode.
    #[command(name = "calculatepackageid")]
    CalculatePackageId(packages::CalculateArgs),
    /// Install a chaincode on a peer.
    Install(packages::InstallArgs),
    /// Query the installed chaincodes on a peer.
    #[command(name = "queryinstalled")]
    QueryInstalled(packages::QueryInstalledArgs),
    /// Get an installed chaincode package from a peer.
    #[command(name = "getinstalledpackage")]
    GetInstalledPackage(packages::GetInstalledArgs),
    /// Approve the chaincode definition for my organization.
    #[command(name = "approveformyorg")]
    ApproveForMyOrg(definitions::ApproveArgs),
    /// Query organization's approved chaincode definitions from its peer.
    #[command(name = "queryapproved")]
    QueryApproved(queries::QueryApprovedArgs),
    /// Check whether a chaincode definition is ready to be committed on a channel.
    #[command(name = "checkcommitreadiness")]
    CheckCommitReadiness(readiness::ReadinessArgs),
    /// Commit the chaincode definition on the channel.
    Commit(definitions::CommitArgs),
    /// Query the committed chaincode definitions by channel on a peer. Optional: provide a chaincode
    /// name to query a specific definition.
    #[command(name = "querycommitted")]
    QueryCommitted(queries::QueryCommittedArgs),
}

/// The peer of a connection profile that is meant.
#[derive(Clone, Debug, Default, Args)]
struct TargetPeer {
    /// When using a connection profile, the name of the peer to target for this action.
    #[arg(long = "targetPeer", text(), value_name = "NAME")]
    target_peer: String,
}

/// The form of answers.
#[derive(Clone, Debug, Args)]
struct OutputArgs {
    /// The output format for query results. Default is human-readable plain-text. json is currently
    /// the only supported format.
    #[arg(short = 'O', long, text(), value_name = "FORMAT")]
    output: String,
}

impl OutputArgs {
    fn is_json(&self) -> bool {
        self.output.eq_ignore_ascii_case("json")
    }
}

/// A channel.
#[derive(Clone, Debug, Args)]
struct ChannelArgs {
    /// The channel on which this command should be executed.
    #[arg(short = 'C', long = "channelID", text(), value_name = "CHANNEL")]
    channel: String,
    /// Name of the chaincode.
    #[arg(short, long, text())]
    name: String,
}

/// Runs a subcommand.
///
/// # Errors
/// With Fabric's texts: what is missing, or what a peer or an orderer answered.
pub async fn run(command: LifecycleCommand) -> anyhow::Result<()> {
    let LifecycleCommand::Chaincode(ChaincodeCommand { orderer, command }) = command;
    let environment = Environment::load()?;
    let environment = &environment;
    match &command {
        Subcommands::Package(args) => packages::package(args),
        Subcommands::CalculatePackageId(args) => packages::calculate(args),
        Subcommands::Install(args) => packages::install(environment, args).await,
        Subcommands::QueryInstalled(args) => packages::query_installed(environment, args).await,
        Subcommands::GetInstalledPackage(args) => packages::get_installed(environment, args).await,
        Subcommands::ApproveForMyOrg(args) => {
            definitions::approve(environment, &orderer, args).await
        }
        Subcommands::QueryApproved(args) => queries::approved(environment, args).await,
        Subcommands::CheckCommitReadiness(args) => readiness::print(environment, args).await,
        Subcommands::Commit(args) => definitions::commit(environment, &orderer, args).await,
        Subcommands::QueryCommitted(args) => queries::committed(environment, args).await,
    }
}

/// The one peer that a command asks.
async fn one_peer(
    environment: &Environment,
    command: &str,
    channel: Option<&str>,
    targets: &TargetArgs,
    target_peer: &str,
) -> anyhow::Result<Admin> {
    let signer = environment.signer()?;
    let asking = Asking {
        family: Family::Lifecycle,
        command,
        several: false,
        channel,
        target_peer,
    };
    let mut peers = targets.connect(environment, asking).await?.into_iter();
    let peer = peers.next().context("no endorser clients retrieved")?;
    Ok(Admin::new(peer.channel, signer))
}

/// What one peer answers to a call of `_lifecycle`; on a channel or, without one, about the peer itself.
async fn query(
    environment: &Environment,
    command: &str,
    channel: Option<&str>,
    targets: &TargetArgs,
    target_peer: &str,
    call: Vec<Bytes>,
) -> anyhow::Result<Bytes> {
    let admin = one_peer(environment, command, channel, targets, target_peer).await?;
    let answer = admin.query(channel.unwrap_or_default(), LIFECYCLE, call);
    answer
        .await
        .map_err(|error| failed("query failed", "failed to endorse proposal", &error))
}

/// The result in a peer's answer.
fn decoded<M: Message + Default>(answer: Bytes) -> anyhow::Result<M> {
    M::decode(answer).context("failed to unmarshal proposal response's response payload")
}

/// What a peer answered instead of a result. `refused` is the command's beginning where the chaincode
/// answered with a status, `unanswered` where nothing did.
fn failed(refused: &str, unanswered: &str, error: &ClientError) -> anyhow::Error {
    match error {
        ClientError::Proposal { status, message } => {
            anyhow::anyhow!("{refused} with status: {status} - {message}")
        }
        error => anyhow::anyhow!("{unanswered}: {}", rpc(error)),
    }
}
