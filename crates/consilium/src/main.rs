//! The `consilium` binary: command lines, configuration and wiring.
//!
//! Owns: how a person starts, stops and calls things, and how the crates are put together into
//! nodes. Must not know: any rule of the ledger. Start reading at [`cli`]; `node/` starts nodes,
//! `network/` builds a consortium on one machine, `contract/` deploys contracts to one, `commands/` are
//! the client commands, `demo/` runs health data through a network.

mod cli;
mod commands;
mod config;
mod contract;
mod demo;
mod network;
mod node;
mod operations;
mod progress;
mod telemetry;

use clap::Parser;
use cli::{CaCommand, Cli, Command, NetworkCommand, OrdererCommand, PeerCommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    end_quietly_on_closed_pipe();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    consilium_transport::install_crypto_provider();
    let run = async move {
        match cli.command {
            Command::Ca(CaCommand::Start(args)) => node::ca::start(args).await,
            Command::Orderer(OrdererCommand::Start(args)) => node::orderer::start(args).await,
            Command::Peer(PeerCommand::Start(args)) => node::peer::start(args).await,
            Command::Peer(PeerCommand::Channel(command)) => {
                commands::peer::channel::run(command).await
            }
            Command::Peer(PeerCommand::Snapshot(command)) => {
                commands::peer::snapshot::run(command).await
            }
            Command::Ledger(command) => commands::ledger::run(command).await,
            Command::Contract(command) => contract::run(command).await,
            Command::Network(NetworkCommand::Up(args)) => network::up(args).await.map(drop),
            Command::Network(NetworkCommand::Down(args)) => network::down(&args),
            Command::Network(NetworkCommand::Status(args)) => network::status(&args).await,
            Command::Network(NetworkCommand::Deploy(args)) => network::deploy(&args).await,
            Command::Network(NetworkCommand::AddOrg(args)) => {
                network::add_organization(&args).await
            }
            Command::Invoke(args) => commands::call::invoke(args).await,
            Command::Query(args) => commands::call::query(args).await,
            Command::Events(args) => commands::events::run(args).await,
            Command::Bench(args) => commands::bench::run(args).await,
            Command::Demo(args) => demo::run(args).await,
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: cannot start the runtime: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Prints what is wrong with the command line, or the help that was asked for.
fn explain(error: &clap::Error) -> std::process::ExitCode {
    // Nobody is there to be told of a closed output.
    let _ = error.print();
    // Scripts know Fabric's `peer` to fail with 1, whatever is wrong.
    let is_peer = std::env::args_os()
        .nth(1)
        .is_some_and(|name| name == "peer");
    match error.exit_code() {
        0 => std::process::ExitCode::SUCCESS,
        _ if is_peer => std::process::ExitCode::FAILURE,
        _ => std::process::ExitCode::from(2),
    }
}

/// `consilium … | head` closes our stdout while we print: end without a word, as other programs do.
fn end_quietly_on_closed_pipe() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>();
        if message.is_some_and(|text| text.starts_with("failed printing to stdout: Broken pipe")) {
            std::process::exit(0);
        }
        report(panic);
    }));
}
