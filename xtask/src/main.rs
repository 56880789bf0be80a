//! Chores of the workspace: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench`,
//! `cargo xtask simulate`, `cargo xtask validate` and `cargo xtask fuzz`.
//!
//! Owns: installing what a fresh machine lacks, building once, and running things in order. Must not
//! know: anything about the ledger; the demo itself is `consilium demo`.

mod bench;
mod contracts;
mod data;
mod demo;
mod fuzz;
mod run;
mod seeded;
mod simulate;
mod system;
mod test;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the Consilium workspace")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build, start a consortium, run health data through it and leave it running.
    Demo(demo::Demo),
    /// Install what the tests need and run all of them.
    Test(test::Test),
    /// Measure contracts in four languages as services, beside one in the peer.
    Bench(bench::Bench),
    /// Run the ordering service in simulated worlds, for as long as asked.
    Simulate(simulate::Simulate),
    /// Compare validation with its reference on random transactions.
    Validate(validate::Validate),
    /// Run every decoder under libFuzzer, for as long as asked.
    Fuzz(fuzz::Fuzz),
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = fuzz::wrapped() {
        return Ok(code);
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or_else(|| anyhow::anyhow!("xtask lies in the workspace"))?;
    std::env::set_current_dir(root)?;
    match Cli::parse().command {
        Command::Demo(demo) => demo.run(),
        Command::Test(test) => test.run(),
        Command::Bench(bench) => bench.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Validate(validate) => validate.run(),
        Command::Fuzz(fuzz) => fuzz.run(),
    }?;
    Ok(ExitCode::SUCCESS)
}
