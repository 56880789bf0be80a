//! `ledgerutil`: comparing snapshots, finding the transactions that wrote a key, and checking a peer's
//! chains. fabric: cmd/ledgerutil

mod compare;
mod identify;
mod output;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use consilium_peer::maintenance::LedgersLock;

use super::golang::kingpin;

/// Ledger Utility Tool, as Fabric's ledgerutil.
#[derive(Debug, Parser)]
#[command(
    name = "ledgerutil",
    max_term_width = 100,
    disable_version_flag = true,
    args_override_self = true
)]
struct Ledgerutil {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare channel snapshots from two different peers.
    Compare(Compare),
    /// Identify potentially divergent transactions.
    Identifytxs(Identify),
    /// Verify the integrity of a ledger. `consilium ledger verify` checks much more.
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Output {
    /// Folder for results, by default the current one.
    #[arg(short = 'o', long = "outputDir", value_name = "FOLDER")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Compare {
    /// First ledger snapshot directory.
    #[arg(value_name = "snapshotPath1")]
    one: PathBuf,
    /// Second ledger snapshot directory.
    #[arg(value_name = "snapshotPath2")]
    other: PathBuf,
    #[command(flatten)]
    output: Output,
    /// Maximum number of differences to record in first_diffs_by_height.json; 0: it is not made.
    #[arg(
        short = 'f',
        long = "firstDiffs",
        default_value_t = 10,
        value_name = "NUMBER"
    )]
    first: usize,
}

#[derive(Debug, Args)]
struct Identify {
    /// JSON file of the records to look for, such as `compare` makes.
    #[arg(value_name = "snapshotDiffsPath")]
    records: PathBuf,
    /// The peer's data folder. The peer must be down.
    #[arg(
        value_name = "blockStorePath",
        default_value = "/var/hyperledger/production"
    )]
    data: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Verify {
    /// The peer's data folder. The peer must be down.
    #[arg(
        value_name = "blockStorePath",
        default_value = "/var/hyperledger/production"
    )]
    data: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Runs the command line behind the program's name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let refuse = |program: &str, complaint: &str| {
        kingpin::fail(
            program,
            &format!("parsing arguments: {complaint}. Try --help"),
        )
    };
    let parsed: Ledgerutil = match kingpin::read("ledgerutil", arguments, refuse) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let (doing, done) = match parsed.command {
        Command::Compare(args) => ("Ledger Compare Error: ", compare::run(&args)),
        Command::Identifytxs(args) => {
            ("Ledger Identify Transactions Error: ", identify::run(&args))
        }
        Command::Verify(args) => ("Verify Ledger Error:", verify::run(&args)),
    };
    done.unwrap_or_else(|error| {
        println!("{doing}{error:#}");
        ExitCode::FAILURE
    })
}

impl Output {
    /// Where results go.
    fn folder(&self) -> anyhow::Result<PathBuf> {
        match &self.output {
            Some(folder) if !folder.as_os_str().is_empty() => Ok(folder.clone()),
            _ => Ok(std::env::current_dir()?),
        }
    }

    /// Makes a folder of this name for results.
    ///
    /// # Errors
    /// It holds results already.
    fn make(&self, name: &str, doing: &str) -> anyhow::Result<PathBuf> {
        let base = self.folder()?;
        let folder = base.join(name);
        std::fs::create_dir_all(&folder)?;
        anyhow::ensure!(
            std::fs::read_dir(&folder)?.next().is_none(),
            "{name} already exists in {}. Choose a different location or remove the existing results. \
             Aborting {doing}",
            base.display()
        );
        Ok(folder)
    }
}

/// The ledgers in a peer's data folder, for nobody else.
fn ledgers(data: &std::path::Path, doing: &str) -> anyhow::Result<LedgersLock> {
    anyhow::ensure!(
        data.join("ledgers").is_dir(),
        "provided path {} is empty. Aborting {doing}: there is no folder `ledgers` in it, as a peer of \
         this program has",
        data.display()
    );
    Ok(LedgersLock::take(data)?)
}
