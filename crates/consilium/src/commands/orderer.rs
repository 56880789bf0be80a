//! This program under the name of Fabric's `orderer`. fabric: orderer/common/server/main.go

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use super::golang::{self, kingpin};
use crate::cli::{NodeStart, OrdererCommand};

/// An ordering node, as Fabric's orderer. Without a command it starts.
#[derive(Debug, Parser)]
#[command(
    name = "orderer",
    max_term_width = 100,
    disable_version_flag = true,
    subcommand_required = false,
    arg_required_else_help = false
)]
struct Orderer {
    #[command(subcommand)]
    command: Option<OrdererCommand>,
}

/// Runs the command line behind the program's name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let parsed: Orderer = match kingpin::parse("orderer", arguments) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let command = parsed.command;
    let command = command.unwrap_or(OrdererCommand::Start(NodeStart { config: None }));
    crate::run(async {
        execute(command).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs a command.
///
/// # Errors
/// The node cannot start.
pub async fn execute(command: OrdererCommand) -> anyhow::Result<()> {
    match command {
        OrdererCommand::Start(args) => crate::node::orderer::start(args).await,
        OrdererCommand::Version => {
            println!("{}", golang::version("orderer"));
            Ok(())
        }
    }
}
