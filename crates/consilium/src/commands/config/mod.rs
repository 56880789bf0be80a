//! `consilium config check`: what a configuration means, and what is wrong with it, before anything
//! starts.

mod channel;
mod files;
mod node;
mod orderer;
mod peer;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use report::Report;

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Explain configuration files and find mistakes in them: ports, certificates, names, policies.
    ///
    /// Variables such as CORE_PEER_ADDRESS count as they do for the node. Nothing is changed.
    #[command(after_help = "\
Examples:
  consilium config check core.yaml
  consilium config check orderer.yaml configtx.yaml
  consilium config check organizations/org1.example.com/msp --msp-id Org1MSP")]
    Check(Check),
}

/// Arguments of `consilium config check`.
#[derive(Debug, Args)]
pub struct Check {
    /// core.yaml, orderer.yaml, configtx.yaml, or the folder of an MSP.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Id of the MSP in a folder.
    #[arg(long, value_name = "ID", default_value = "MSP")]
    msp_id: String,
}

/// Runs a subcommand; it ends with 1 when there are mistakes.
pub fn run(command: &ConfigCommand) -> ExitCode {
    let ConfigCommand::Check(args) = command;
    let mut mistakes = 0;
    for file in &args.files {
        let mut report = Report::default();
        check(file, &args.msp_id, &mut report);
        println!("{}", file.display());
        print!("{report}");
        mistakes += report.mistakes();
    }
    if mistakes == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{mistakes} mistakes");
    ExitCode::FAILURE
}

fn check(file: &Path, msp_id: &str, report: &mut Report) {
    if file.is_dir() {
        node::msp(report, "MSP", file, msp_id, None);
        return;
    }
    let content: serde_json::Map<String, serde_json::Value> = match crate::config::read(file) {
        Ok(content) => content,
        Err(error) => return report.mistake("", format!("{error:#}")),
    };
    let has = |key: &str| content.keys().any(|known| known.eq_ignore_ascii_case(key));
    if has("Profiles") || has("Organizations") {
        channel::check(file, report);
    } else if has("General") || has("FileLedger") {
        orderer::check(file, report);
    } else if has("peer") {
        peer::check(file, report);
    } else {
        report.mistake(
            "",
            "none of peer (core.yaml), General (orderer.yaml) and Profiles (configtx.yaml) is in it",
        );
    }
}
