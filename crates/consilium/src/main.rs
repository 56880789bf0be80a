//! The `consilium` binary: command lines, configuration and wiring.
//!
//! Owns: how a person starts, stops and calls things, and how the crates are put together into
//! nodes. Must not know: any rule of the ledger. Start reading at [`cli`]; `node/` starts nodes, `rest/`
//! an organization's door over HTTP,
//! `network/` builds a consortium on one machine, `contract/` deploys contracts to one, `commands/` are
//! the client commands, `demo/` runs health data through a network.

mod certificates;
mod cli;
mod commands;
mod config;
mod contract;
mod definition;
mod demo;
mod network;
mod node;
mod operations;
mod progress;
mod rest;
mod telemetry;

use std::{ffi::OsStr, io::Write, path::Path, process::ExitCode};

use clap::Parser;
use cli::{CaCommand, Cli, Command, DiscoverCli, GatewayCommand, NetworkCommand, PeerCli};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    end_where_output_fails();
    consilium_transport::install_crypto_provider();
    if let Some(code) = commands::programs::run(std::env::args_os()) {
        return code;
    }
    let name = std::env::args_os().next().unwrap_or_default();
    if is_called(&name, "peer") {
        return match PeerCli::try_parse() {
            Ok(cli) => run(execute(Command::Peer(cli.peer))),
            Err(error) => commands::peer::explain(&error),
        };
    }
    if is_called(&name, "discover") {
        return match DiscoverCli::try_parse() {
            Ok(cli) => run(execute(Command::Discover(cli.discover))),
            Err(error) => commands::discover::explain(&error),
        };
    }
    match Cli::try_parse() {
        Ok(cli) => run(execute(cli.command)),
        Err(error) => explain(&error),
    }
}

/// Whether this program was started under the name of one of Fabric's, by a link for instance.
fn is_called(name: &OsStr, tool: &str) -> bool {
    Path::new(name).file_stem() == Some(OsStr::new(tool))
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Ca(CaCommand::Start(args)) => node::ca::start(args).await,
        Command::Orderer(command) => commands::orderer::execute(command).await,
        Command::Peer(args) => commands::peer::run(args).await,
        Command::Gateway(GatewayCommand::Start { config }) => rest::start(&config).await,
        Command::Gateway(GatewayCommand::Import(args)) => rest::import(&args).await,
        // It tells by itself what fails, as Fabric's does.
        Command::Discover(args) => return Ok(commands::discover::run(args).await),
        // The exit code is an answer, too.
        Command::Channel(command) => return commands::channel::run(command).await,
        Command::Certificates(command) => commands::certificates::run(command).await,
        Command::Ledger(command) => commands::ledger::run(command).await,
        Command::Contract(command) => contract::run(command).await,
        Command::Network(NetworkCommand::Up(args)) => network::up(args).await.map(drop),
        Command::Network(NetworkCommand::Down(args)) => network::down(&args),
        Command::Network(NetworkCommand::Status(args)) => network::status(&args).await,
        Command::Network(NetworkCommand::Deploy(args)) => network::deploy(&args).await,
        Command::Network(NetworkCommand::AddOrg(args)) => network::add_organization(&args).await,
        Command::Network(NetworkCommand::RotateRoot(args)) => network::rotate_root(&args).await,
        Command::Invoke(args) => commands::call::invoke(args).await,
        Command::Query(args) => commands::call::query(args).await,
        Command::Events(args) => commands::events::run(args).await,
        Command::Bench(args) => commands::bench::run(args).await,
        Command::Config(command) => return Ok(commands::config::run(&command)),
        Command::LinkPrograms(args) => commands::programs::link(&args),
        Command::Demo(args) => demo::run(args).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

fn run(command: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {}", commands::told(&error));
            ExitCode::FAILURE
        }
    }
}

/// Prints what is wrong with the command line, or the help that was asked for.
fn explain(error: &clap::Error) -> ExitCode {
    let command = std::env::args_os().nth(1).unwrap_or_default();
    if command == "peer" {
        return commands::peer::explain(error);
    }
    if command == "discover" {
        return commands::discover::explain(error);
    }
    // Nobody is there to be told of a closed output.
    let _ = error.print();
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}

/// `consilium … | head` closes our stdout while we print: end without a word, as other programs do.
/// Any other failure, such as a full disk, is told, and is a failure.
fn end_where_output_fails() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>();
        let failed = message.and_then(|text| text.strip_prefix("failed printing to stdout: "));
        match failed {
            Some(reason) if reason.starts_with("Broken pipe") => std::process::exit(0),
            Some(reason) => {
                // Nobody is there to be told of a closed stderr.
                let _ = writeln!(std::io::stderr(), "Error: cannot print: {reason}");
                std::process::exit(1);
            }
            None => report(panic),
        }
    }));
}
