//! `cryptogen`: authorities, nodes and users of test organizations, in folders.
//! fabric: cmd/cryptogen

mod authority;
mod organization;
mod specification;
mod template;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use super::golang::{self, kingpin};
use organization::Kind;
use specification::Specification;

/// Utility for generating key material of test networks, as Fabric's cryptogen.
#[derive(Debug, Parser)]
#[command(
    name = "cryptogen",
    max_term_width = 100,
    disable_version_flag = true,
    args_override_self = true
)]
struct Cryptogen {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Generate key material.
    #[command(after_help = "\
Example:
  cryptogen generate --config crypto-config.yaml --output organizations")]
    Generate(Generate),
    /// Show the default configuration template.
    Showtemplate,
    /// Show version information.
    Version,
    /// Extend existing network: what is missing is made, what is there stays.
    Extend(Extend),
}

#[derive(Debug, Args)]
struct Generate {
    /// The output directory in which to place artifacts.
    #[arg(long, value_name = "FOLDER", default_value = "crypto-config")]
    output: PathBuf,
    /// The configuration template to use.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Extend {
    /// The input directory in which existing network place.
    #[arg(long, value_name = "FOLDER", default_value = "crypto-config")]
    input: PathBuf,
    /// The configuration template to use.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What `showtemplate` prints, and what counts without `--config`.
const TEMPLATE: &str = include_str!("crypto-config.yaml");

/// What makes or extends one organization.
type Work = fn(&Path, Kind, &specification::Organization) -> anyhow::Result<()>;

/// Runs the command line behind the program's name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let parsed = kingpin::parse::<Cryptogen>("cryptogen", arguments);
    let command = match parsed {
        Ok(parsed) => parsed.command,
        Err(code) => return code,
    };
    match command {
        Subcommands::Generate(args) => {
            all(&args.output, args.config.as_deref(), organization::generate)
        }
        Subcommands::Extend(args) => all(&args.input, args.config.as_deref(), organization::extend),
        Subcommands::Showtemplate => {
            print!("{TEMPLATE}");
            ExitCode::SUCCESS
        }
        Subcommands::Version => {
            println!("{}", golang::version("cryptogen"));
            ExitCode::SUCCESS
        }
    }
}

fn all(base: &Path, config: Option<&Path>, work: Work) -> ExitCode {
    let specification = match read(config) {
        Ok(specification) => specification,
        Err(Unreadable::NoFile(complaint)) => return kingpin::refuse("cryptogen", &complaint),
        Err(Unreadable::NoSpecification(complaint)) => {
            print!("Error reading config: {complaint}");
            // Go's -1.
            return ExitCode::from(255);
        }
    };
    let Specification {
        orderer_orgs,
        peer_orgs,
    } = specification;
    let peers = peer_orgs.into_iter().map(|org| (Kind::Peers, org));
    let orderers = orderer_orgs.into_iter().map(|org| (Kind::Orderers, org));
    for (kind, mut org) in peers.chain(orderers) {
        if let Err(complaint) = org.complete(kind.name()) {
            print!(
                "Error processing {} configuration: {complaint}",
                kind.name()
            );
            return ExitCode::from(255);
        }
        if let Err(error) = work(base, kind, &org) {
            println!("{error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Why there is no specification.
enum Unreadable {
    /// `--config` names no file.
    NoFile(String),
    /// What is in it is none.
    NoSpecification(String),
}

fn read(config: Option<&Path>) -> Result<Specification, Unreadable> {
    let text = match config {
        None => TEMPLATE.to_owned(),
        Some(path) => {
            let content = golang::read_file(path);
            let content = content.map_err(|error| Unreadable::NoFile(error.to_string()))?;
            String::from_utf8(content).map_err(|error| {
                Unreadable::NoSpecification(format!("Error Unmarshalling YAML: {error}"))
            })?
        }
    };
    crate::config::keys_of(&text)
        .map_err(|error| Unreadable::NoSpecification(format!("Error Unmarshalling YAML: {error}")))
}
