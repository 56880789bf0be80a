//! `consilium peer snapshot`. fabric: internal/peer/snapshot

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use consilium_client::{ClientError, Snapshots};

use super::{Environment, GoFlag, flags, rpc};
use crate::commands::golang;

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Submit a request for a snapshot at the specified block.
    ///
    /// When the blockNumber parameter is set to 0 or not provided, it will submit a request for the
    /// last committed block.
    #[command(name = "submitrequest")]
    SubmitRequest(RequestArgs),
    /// Cancel a request for a snapshot at the specified block.
    #[command(name = "cancelrequest")]
    CancelRequest(RequestArgs),
    /// List pending requests for snapshots.
    #[command(name = "listpending")]
    ListPending(PeerArgs),
}

/// A block of a channel at a peer.
#[derive(Debug, Args)]
pub struct RequestArgs {
    #[command(flatten)]
    peer: PeerArgs,
    /// The block number for which a snapshot will be generated.
    #[arg(
        short = 'b',
        long = "blockNumber",
        default_value = "0",
        value_parser = flags::number,
        value_name = "NUMBER"
    )]
    block: u64,
}

/// A channel at a peer. `CORE_*` variables and core.yaml in FABRIC_CFG_PATH say the rest.
#[derive(Debug, Args)]
pub struct PeerArgs {
    /// The channel on which this command should be executed.
    // Fabric's own words for its absence are better known than clap's.
    #[arg(short = 'c', long = "channelID", text())]
    channel: String,
    /// The address of the peer to connect to; CORE_PEER_ADDRESS by default.
    #[arg(long = "peerAddress", text(), value_name = "HOST:PORT")]
    address: String,
    /// The path to the TLS root cert file of the peer to connect to, required if TLS is enabled and
    /// ignored if TLS is disabled.
    #[arg(long = "tlsRootCertFile", value_name = "FILE")]
    tls_roots: Option<PathBuf>,
}

/// Runs a subcommand.
///
/// # Errors
/// With Fabric's texts: what is missing, or what the peer answered.
pub async fn run(command: SnapshotCommand) -> anyhow::Result<()> {
    let environment = Environment::load()?;
    let signer = environment.signer()?;
    let (peer, block) = match &command {
        SnapshotCommand::SubmitRequest(args) | SnapshotCommand::CancelRequest(args) => {
            (&args.peer, args.block)
        }
        SnapshotCommand::ListPending(peer) => (peer, 0),
    };
    let channel = &peer.channel;
    anyhow::ensure!(
        !channel.is_empty(),
        "the required parameter 'channelID' is empty. Rerun the command with -c flag"
    );
    anyhow::ensure!(
        block > 0 || !matches!(command, SnapshotCommand::CancelRequest(_)),
        "the required parameter 'blockNumber' is empty or set to 0. Rerun the command with -b flag"
    );
    let roots = peer.tls_roots.clone().unwrap_or_default();
    anyhow::ensure!(
        !environment.is_on("peer.tls.enabled") || !roots.as_os_str().is_empty(),
        "the required parameter 'tlsRootCertFile' is empty. Rerun the command with --tlsRootCertFile flag"
    );
    // Without an address the environment's own roots are meant, as in Fabric.
    let other = (!peer.address.is_empty()).then_some((peer.address.as_str(), roots.as_path()));
    let connection = environment
        .connect("snapshot", other)
        .await
        .context("failed to retrieve snapshot client")?;
    let snapshots = Snapshots::new(connection.channel, signer);
    let failed = |doing: &'static str| {
        move |error: ClientError| anyhow::anyhow!("failed to {doing}: {}", rpc(&error))
    };
    match &command {
        SnapshotCommand::SubmitRequest(_) => {
            let submitted = snapshots.submit(channel, block).await;
            submitted.map_err(failed("submit the request"))?;
            println!("Snapshot request submitted successfully");
        }
        SnapshotCommand::CancelRequest(_) => {
            let cancelled = snapshots.cancel(channel, block).await;
            cancelled.map_err(failed("cancel the request"))?;
            println!("Snapshot request cancelled successfully");
        }
        SnapshotCommand::ListPending(_) => {
            let pending = snapshots.pending(channel).await;
            let pending = pending.map_err(failed("list pending requests"))?;
            println!(
                "Successfully got pending snapshot requests: {}",
                golang::list(&pending)
            );
        }
    }
    Ok(())
}
