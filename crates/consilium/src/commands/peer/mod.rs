//! What an administrator has a peer do, with the flags, messages, environment and exit codes of
//! Fabric's `peer`.
//!
//! [`Environment`] reads `core.yaml` and `CORE_*` and gives the signer and the connection; each
//! subject has a module. `targets` are the peers that flags name, `orderer` the orderers, and
//! `transaction` brings a call from the ones to the others. fabric: internal/peer

pub mod chaincode;
pub mod channel;
mod environment;
mod flags;
pub mod lifecycle;
pub mod node;
mod orderer;
mod profile;
pub mod snapshot;
mod targets;
mod transaction;
mod usage;

use std::process::ExitCode;

use clap::{Args, Subcommand, error::ErrorKind};
use consilium_client::ClientError;

use crate::cli::PeerStart;
use crate::commands::golang;

pub use environment::{Environment, TlsFiles, dial};
pub use flags::GoFlag;
pub use usage::complaint;

/// `consilium peer`, and this program under the name `peer`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true, args_override_self = true)]
pub struct PeerArgs {
    /// Read and passed over, as in Fabric.
    #[arg(long = "logging-level", global = true, hide = true)]
    _logging_level: Option<String>,
    #[command(subcommand)]
    command: PeerCommand,
}

#[derive(Debug, Subcommand)]
enum PeerCommand {
    /// Start the node; the same as `peer node start`.
    #[command(after_help = "\
Examples:
  consilium peer start --config ./core.yaml
  consilium peer start --peer-chaincodedev      chaincode registers by itself, see docs/contracts.md")]
    Start(PeerStart),
    /// Query or invoke a chaincode: invoke, query.
    Chaincode(chaincode::ChaincodeCommand),
    /// Operate a channel: fetch, getinfo, join, joinbysnapshot, joinbysnapshotstatus, list,
    /// signconfigtx, update.
    Channel(channel::ChannelCommand),
    /// Perform _lifecycle operations: chaincode.
    #[command(subcommand)]
    Lifecycle(lifecycle::LifecycleCommand),
    /// Operate a peer node: start, reset, rollback, pause, resume, rebuild-dbs, unjoin, upgrade-dbs.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Manage snapshot requests: submitrequest, cancelrequest, listpending.
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
    /// Print the version of this program.
    Version(Rest),
}

/// Arguments that a command has no use for. Fabric's commands pass most of them over.
#[derive(Debug, Default, Args)]
pub struct Rest {
    #[arg(hide = true)]
    rest: Vec<String>,
}

impl Rest {
    /// For the commands that do not.
    ///
    /// # Errors
    /// There are some.
    fn refuse(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.rest.is_empty(),
            "trailing args detected: {}",
            golang::list(&self.rest)
        );
        Ok(())
    }
}

/// The channel that a command is about.
#[derive(Debug, Args)]
pub struct OfChannel {
    /// The channel.
    #[arg(short = 'c', long = "channelID", text(), value_name = "CHANNEL")]
    channel: String,
}

impl OfChannel {
    /// For the commands that need one.
    ///
    /// # Errors
    /// There is none.
    fn named(&self) -> anyhow::Result<&str> {
        anyhow::ensure!(!self.channel.is_empty(), "Must supply channel ID");
        Ok(&self.channel)
    }
}

/// Runs a command.
///
/// # Errors
/// With Fabric's texts: what is missing, or what a peer or an orderer answered.
pub async fn run(args: PeerArgs) -> anyhow::Result<()> {
    match args.command {
        PeerCommand::Start(args) => crate::node::peer::start(args).await,
        PeerCommand::Chaincode(command) => chaincode::run(command).await,
        PeerCommand::Channel(command) => channel::run(command).await,
        PeerCommand::Lifecycle(command) => lifecycle::run(command).await,
        PeerCommand::Node(command) => node::run(command).await,
        PeerCommand::Snapshot(command) => snapshot::run(command).await,
        PeerCommand::Version(args) => {
            anyhow::ensure!(args.rest.is_empty(), "trailing args detected");
            println!("{}", golang::version("peer"));
            Ok(())
        }
    }
}

/// Says what is wrong with a command line, or prints the help that was asked for. Scripts know
/// Fabric's `peer` to fail with 1, whatever is wrong, and to be content without a command.
pub fn explain(error: &clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        print!("{}", error.render().ansi());
        return ExitCode::SUCCESS;
    }
    if let Some(complaint) = complaint(error, "peer") {
        eprintln!("Error: {complaint}\nFor more information, try '--help'.");
        return ExitCode::FAILURE;
    }
    // Nobody is there to be told of a closed output.
    let _ = error.print();
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// An answer that is an error, as Go's gRPC prints it.
pub fn rpc(error: &ClientError) -> String {
    match error {
        ClientError::Refused { code, message, .. } => {
            let code = match code {
                tonic::Code::Ok => "OK".to_owned(),
                tonic::Code::Cancelled => "Canceled".to_owned(),
                code => format!("{code:?}"),
            };
            format!("rpc error: code = {code} desc = {message}")
        }
        error => error.to_string(),
    }
}

/// fabric: internal/peer/channel/join.go, internal/peer/common/common.go
fn bad_response(status: i32, message: &str) -> String {
    format!("bad proposal response {status}: {message}")
}
