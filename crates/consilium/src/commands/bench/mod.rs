//! `consilium bench`: load on a gateway, and parts of a peer by themselves.

mod ceiling;
mod chain;
mod channel;
mod cold_start;
mod contracts;
mod gateway;
mod load;
mod replay;
mod resources;

use clap::{Args, Subcommand};

/// What to measure.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    load: gateway::LoadArgs,
}

/// A part of a peer.
#[derive(Debug, Subcommand)]
enum Part {
    /// Replay a recorded chain through a peer's pipeline: committed transactions per second, beside
    /// what this machine can verify at most.
    #[command(after_help = "\
Examples:
  consilium bench replay                                    # 50000 transactions, blocks of 500
  consilium bench replay --chain /var/tmp/chain --json      # keep the chain, or take it again")]
    Replay(replay::ReplayArgs),
    /// Open a ledger of many small blocks, and time it.
    #[command(after_help = "\
Example:
  consilium bench cold-start --blocks 1000000 --ledger /var/tmp/million")]
    ColdStart(cold_start::ColdStartArgs),
    /// Call the same function of several chaincodes, one chaincode after the other: what a call
    /// costs at the endorser and through the gateway, and how many there are per second.
    #[command(after_help = "\
Example:
  consilium bench contracts kv notes-go notes-node          # kv runs in the peer, the others are services")]
    Contracts(Box<contracts::ContractsArgs>),
}

/// Runs the measurement and prints what came out.
///
/// # Errors
/// It cannot be set up, or what was to be measured did not work.
pub async fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.part {
        None => gateway::run(args.load).await,
        Some(Part::Contracts(args)) => contracts::run(*args).await,
        Some(Part::Replay(args)) => replay::run(args).await,
        Some(Part::ColdStart(args)) => {
            tokio::task::spawn_blocking(move || cold_start::run(&args)).await?
        }
    }
}
