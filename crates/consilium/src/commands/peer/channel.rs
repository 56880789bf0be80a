//! `consilium peer channel`. fabric: internal/peer/channel

use anyhow::Context;
use clap::{Args, Subcommand};
use consilium_client::{Admin, ClientError};

use super::{Environment, rpc};

/// Subcommands. `CORE_*` variables and core.yaml in FABRIC_CFG_PATH say which peer is meant.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Joins the peer to a channel by the specified snapshot.
    #[command(name = "joinbysnapshot")]
    JoinBySnapshot(JoinBySnapshot),
    /// Query if joinbysnapshot is running for any channel.
    #[command(name = "joinbysnapshotstatus")]
    JoinBySnapshotStatus(Nothing),
}

/// Arguments of `joinbysnapshot`.
#[derive(Debug, Args)]
pub struct JoinBySnapshot {
    /// Path to the snapshot directory, on the peer's machine.
    #[arg(
        long = "snapshotpath",
        default_value = "",
        hide_default_value = true,
        value_name = "FOLDER"
    )]
    snapshot: String,
}

/// No arguments.
#[derive(Debug, Args)]
pub struct Nothing {
    #[arg(hide = true)]
    trailing: Vec<String>,
}

/// Runs a subcommand.
///
/// # Errors
/// With Fabric's texts: what is missing, or what the peer answered.
pub async fn run(command: ChannelCommand) -> anyhow::Result<()> {
    let environment = Environment::load()?;
    let signer = environment.signer()?;
    match &command {
        ChannelCommand::JoinBySnapshot(args) => anyhow::ensure!(
            !args.snapshot.is_empty(),
            "the required parameter 'snapshotpath' is empty. Rerun the command with --snapshotpath flag"
        ),
        ChannelCommand::JoinBySnapshotStatus(args) => anyhow::ensure!(
            args.trailing.is_empty(),
            "trailing args detected: [{}]",
            args.trailing.join(" ")
        ),
    }
    let connection = environment
        .connect("endorser", None)
        .await
        .context("error getting endorser client for channel")?;
    let admin = Admin::new(connection, signer);
    match command {
        ChannelCommand::JoinBySnapshot(args) => {
            let begun = admin.join_by_snapshot(&args.snapshot).await;
            begun.map_err(|error| anyhow::anyhow!(join_failed(&error)))?;
            eprintln!("Successfully submitted proposal to join channel");
            eprintln!(
                "The joinbysnapshot operation is in progress. Use \"peer channel joinbysnapshotstatus\" to check the status."
            );
        }
        ChannelCommand::JoinBySnapshotStatus(_) => {
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
        }
    }
    Ok(())
}

/// fabric: internal/peer/channel/join.go executeJoin
fn join_failed(error: &ClientError) -> String {
    match error {
        ClientError::Proposal { status, message } => {
            format!("proposal failed (err: bad proposal response {status}: {message})")
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
