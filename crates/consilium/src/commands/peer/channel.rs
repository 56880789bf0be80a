//! `consilium peer channel`. fabric: internal/peer/channel

mod blocks;
mod config;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_client::{Admin, ClientError};
use consilium_msp::Signer;

use super::{Environment, GoFlag, OfChannel, Rest, bad_response, orderer::OrdererArgs, rpc};
use crate::commands::golang;

/// Operate a channel. `CORE_*` variables and core.yaml in FABRIC_CFG_PATH say which peer is meant.
#[derive(Debug, Args)]
pub struct ChannelCommand {
    #[command(flatten)]
    orderer: OrdererArgs,
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Fetch a specified block, writing it to a file.
    #[command(after_help = "\
Examples:
  consilium peer channel fetch newest -c health
  consilium peer channel fetch config config.block -c health -o localhost:7050 --tls --cafile tls/ca.crt")]
    Fetch(blocks::FetchArgs),
    /// Get blockchain information of a specified channel.
    #[command(name = "getinfo")]
    GetInfo(InfoArgs),
    /// Joins the peer to a channel.
    Join(JoinArgs),
    /// Joins the peer to a channel by the specified snapshot.
    #[command(name = "joinbysnapshot")]
    JoinBySnapshot(JoinBySnapshot),
    /// Query if joinbysnapshot is running for any channel.
    #[command(name = "joinbysnapshotstatus")]
    JoinBySnapshotStatus(Rest),
    /// List of channels peer has joined.
    List(Rest),
    /// Signs the supplied configtx update file in place on the filesystem.
    #[command(name = "signconfigtx")]
    SignConfigTx(config::SignArgs),
    /// Signs and sends the supplied configtx update file to the channel.
    Update(config::UpdateArgs),
}

/// Arguments of `join`.
#[derive(Debug, Args)]
struct JoinArgs {
    /// Path to file containing genesis block.
    #[arg(short = 'b', long = "blockpath", value_name = "FILE")]
    block: Option<PathBuf>,
    #[command(flatten)]
    _rest: Rest,
}

/// Arguments of `getinfo`.
#[derive(Debug, Args)]
struct InfoArgs {
    #[command(flatten)]
    of: OfChannel,
    #[command(flatten)]
    _rest: Rest,
}

/// Arguments of `joinbysnapshot`.
#[derive(Debug, Args)]
pub struct JoinBySnapshot {
    /// Path to the snapshot directory, on the peer's machine.
    #[arg(long = "snapshotpath", text(), value_name = "FOLDER")]
    snapshot: String,
    #[command(flatten)]
    _rest: Rest,
}

/// Runs a subcommand.
///
/// # Errors
/// With Fabric's texts: what is missing, or what the peer or an orderer answered.
pub async fn run(command: ChannelCommand) -> anyhow::Result<()> {
    let ChannelCommand { orderer, command } = command;
    let environment = Environment::load()?;
    // An identity is needed for all of them, and told of first.
    let signer = environment.signer()?;
    match command {
        Subcommands::Fetch(args) => blocks::fetch(&environment, signer, &orderer, &args).await,
        Subcommands::SignConfigTx(args) => config::sign_file(signer.as_ref(), &args),
        Subcommands::Update(args) => {
            config::update(&environment, signer.as_ref(), &orderer, &args).await
        }
        Subcommands::GetInfo(args) => {
            let channel = args.of.named()?;
            info(&peer(&environment, signer).await?, channel).await
        }
        Subcommands::Join(args) => {
            let file = args.block.unwrap_or_default();
            anyhow::ensure!(
                !file.as_os_str().is_empty(),
                "Must supply genesis block path"
            );
            join(&environment, signer, &file).await
        }
        Subcommands::JoinBySnapshot(args) => {
            anyhow::ensure!(
                !args.snapshot.is_empty(),
                "the required parameter 'snapshotpath' is empty. Rerun the command with --snapshotpath flag"
            );
            let admin = peer(&environment, signer).await?;
            let begun = admin.join_by_snapshot(&args.snapshot).await;
            begun.map_err(|error| anyhow::anyhow!(join_failed(&error)))?;
            eprintln!("Successfully submitted proposal to join channel");
            eprintln!(
                "The joinbysnapshot operation is in progress. Use \"peer channel joinbysnapshotstatus\" to check the status."
            );
            Ok(())
        }
        Subcommands::JoinBySnapshotStatus(args) => {
            args.refuse()?;
            snapshot_status(&peer(&environment, signer).await?).await
        }
        Subcommands::List(args) => {
            args.refuse()?;
            list(&peer(&environment, signer).await?).await
        }
    }
}

/// The environment's own peer.
async fn peer(environment: &Environment, signer: Arc<dyn Signer>) -> anyhow::Result<Admin> {
    let connected = environment.connect("endorser", None).await;
    let connected = connected.context("error getting endorser client for channel")?;
    Ok(Admin::new(connected.channel, signer))
}

async fn join(
    environment: &Environment,
    signer: Arc<dyn Signer>,
    file: &Path,
) -> anyhow::Result<()> {
    let block = golang::read_file(file)
        .map_err(|error| anyhow::anyhow!("genesis block file not found {error}"))?;
    let joined = peer(environment, signer).await?.join(block.into()).await;
    joined.map_err(|error| anyhow::anyhow!(join_failed(&error)))?;
    eprintln!("Successfully submitted proposal to join channel");
    Ok(())
}

async fn info(admin: &Admin, channel: &str) -> anyhow::Result<()> {
    let args = vec![
        Bytes::from_static(b"GetChainInfo"),
        Bytes::copy_from_slice(channel.as_bytes()),
    ];
    // A call that concerns the peer, as in Fabric: so `qscc` itself says that it has no such channel.
    let answer = admin
        .query("", "qscc", args)
        .await
        .map_err(|error| match error {
            ClientError::Proposal { status, message } => {
                anyhow::anyhow!("received bad response, status {status}: {message}")
            }
            error => anyhow::anyhow!("failed sending proposal: {}", rpc(&error)),
        })?;
    let json =
        golang::json("common.BlockchainInfo", &answer).context("cannot read qscc response")?;
    println!("Blockchain info: {json}");
    Ok(())
}

async fn list(admin: &Admin) -> anyhow::Result<()> {
    let channels = admin.channels().await.map_err(|error| match error {
        ClientError::Proposal { status, message } => {
            anyhow::anyhow!("Received bad response, status {status}: {message}")
        }
        error => anyhow::anyhow!("Failed sending proposal, got {}", rpc(&error)),
    })?;
    println!("Channels peers has joined: ");
    for channel in channels {
        println!("{channel}");
    }
    Ok(())
}

async fn snapshot_status(admin: &Admin) -> anyhow::Result<()> {
    let status = admin.join_by_snapshot_status().await;
    let status = status.map_err(|error| anyhow::anyhow!(query_failed(&error)))?;
    if status.in_progress {
        println!(
            "A joinbysnapshot operation is in progress for snapshot at {}",
            status.bootstrapping_snapshot_dir
        );
    } else {
        println!("No joinbysnapshot operation is in progress");
    }
    Ok(())
}

/// fabric: internal/peer/channel/join.go executeJoin
fn join_failed(error: &ClientError) -> String {
    match error {
        ClientError::Proposal { status, message } => {
            format!("proposal failed (err: {})", bad_response(*status, message))
        }
        error => format!("proposal failed (err: {})", rpc(error)),
    }
}

/// fabric: internal/peer/channel/joinbysnapshotstatus.go
fn query_failed(error: &ClientError) -> String {
    match error {
        ClientError::Proposal { status, message } => {
            format!("received bad response, status {status}: {message}")
        }
        error => format!("failed sending proposal, due to {}", rpc(error)),
    }
}

#[cfg(test)]
mod tests {
    use consilium_client::Step;

    use super::*;

    #[test]
    fn refusals_read_as_fabrics_do() {
        let answered = ClientError::Proposal {
            status: 500,
            message: "no".into(),
        };
        let failed = ClientError::Refused {
            step: Step::Proposal,
            code: tonic::Code::Unknown,
            message: "access denied".into(),
            details: Vec::new(),
        };
        assert_eq!(
            join_failed(&answered),
            "proposal failed (err: bad proposal response 500: no)"
        );
        assert_eq!(
            join_failed(&failed),
            "proposal failed (err: rpc error: code = Unknown desc = access denied)"
        );
        assert_eq!(
            query_failed(&answered),
            "received bad response, status 500: no"
        );
        assert_eq!(
            query_failed(&failed),
            "failed sending proposal, due to rpc error: code = Unknown desc = access denied"
        );
    }
}
