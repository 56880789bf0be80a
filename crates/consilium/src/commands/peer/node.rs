//! `consilium peer node`: starting a peer, and what is done to its ledgers while it is down.
//!
//! fabric: internal/peer/node

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{Environment, OfChannel, Rest, flags};
use crate::{
    cli::PeerStart,
    commands::ledger::{self, LedgerCommand, MaybeChannel, OneChannel, PeerData, Rollback},
    node,
};

/// Operate a peer node.
///
/// All but `start` work on the folder in `peer.fileSystemPath`, while the peer is down.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Starts a node that interacts with the network.
    Start(StartArgs),
    /// Resets all channels to the genesis block.
    ///
    /// When the peer starts after the reset, it pulls the blocks again. Not supported if the peer
    /// has any channel that was bootstrapped from a snapshot.
    Reset(Rest),
    /// Rolls back a channel to a specified block number.
    ///
    /// When the peer starts after the rollback, it pulls the removed blocks again.
    Rollback(RollbackArgs),
    /// Pauses a channel on the peer. After its next start the peer leaves it alone.
    Pause(ChannelArgs),
    /// Resumes a channel on the peer.
    Resume(ChannelArgs),
    /// Makes the databases of all channels again from their blocks.
    ///
    /// Not supported if the peer has any channel that was bootstrapped from a snapshot.
    #[command(name = "rebuild-dbs")]
    RebuildDbs(Rest),
    /// Removes a channel from the peer, with all that is stored of it.
    Unjoin(ChannelArgs),
    /// Upgrades databases of earlier releases. There are none: nothing is done.
    #[command(name = "upgrade-dbs")]
    UpgradeDbs(Rest),
}

/// Arguments of `start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    #[command(flatten)]
    start: PeerStart,
    #[command(flatten)]
    _rest: Rest,
}

/// A channel.
#[derive(Debug, Args)]
pub struct ChannelArgs {
    #[command(flatten)]
    of: OfChannel,
    #[command(flatten)]
    _rest: Rest,
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    of: ChannelArgs,
    /// Block number to which the channel needs to be rolled back to.
    #[arg(
        short = 'b',
        long = "blockNumber",
        default_value = "0",
        value_parser = flags::number,
        value_name = "NUMBER"
    )]
    block: u64,
}

/// Runs a subcommand.
///
/// # Errors
/// Something is missing, the peer runs, or what was refused.
pub async fn run(command: NodeCommand) -> anyhow::Result<()> {
    let command = match command {
        NodeCommand::Start(args) => return node::peer::start(args.start).await,
        NodeCommand::Reset(_) => LedgerCommand::Reset(data()?),
        NodeCommand::Rollback(args) => {
            LedgerCommand::Rollback(Rollback::new(channel(&args.of)?, args.block))
        }
        NodeCommand::Pause(args) => LedgerCommand::Pause(channel(&args)?),
        NodeCommand::Resume(args) => LedgerCommand::Resume(channel(&args)?),
        NodeCommand::RebuildDbs(_) => LedgerCommand::Rebuild(MaybeChannel::all(data()?)),
        NodeCommand::Unjoin(args) => LedgerCommand::Unjoin(channel(&args)?),
        NodeCommand::UpgradeDbs(_) => {
            folder(&Environment::load()?)?;
            eprintln!("the databases are of this release's format; there is nothing to upgrade");
            return Ok(());
        }
    };
    ledger::run(command).await
}

fn channel(args: &ChannelArgs) -> anyhow::Result<OneChannel> {
    Ok(OneChannel::new(data()?, args.of.named()?.to_owned()))
}

/// The data of the environment's peer.
fn data() -> anyhow::Result<PeerData> {
    Ok(PeerData::of(folder(&Environment::load()?)?))
}

fn folder(environment: &Environment) -> anyhow::Result<PathBuf> {
    environment
        .path("peer.fileSystemPath")
        .context("neither core.yaml nor CORE_PEER_FILESYSTEMPATH says where the peer's data is")
}
