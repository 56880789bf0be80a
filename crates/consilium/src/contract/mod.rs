//! `consilium contract deploy`: a chaincode's whole lifecycle for a consortium, in one command.

mod consortium;
mod profile;
mod rollout;

use std::fs;

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, Subcommand};
use consilium_chaincode::{Connection, Package, lifecycle};
use consilium_client::ApprovedDefinition;

use crate::{
    cli::Program,
    definition,
    network::{Network, metadata_files},
    progress::Steps,
};
pub use consortium::Consortium;
pub use profile::administrators;
pub use rollout::{Rollout, follow, roll_out};

/// `consilium contract`.
#[derive(Debug, Subcommand)]
pub enum ContractCommand {
    /// Put a chaincode on a channel: install at every peer, approve by every organization, commit, and
    /// wait until every peer can run it.
    // `--version` is the definition's, as in Fabric's `peer lifecycle chaincode`.
    #[command(
        disable_version_flag = true,
        after_help = "\
Examples:
  consilium contract deploy notes --package notes.tar.gz \\
    --policy \"AND('HospitalMSP.peer','MakerMSP.peer')\"
  consilium contract deploy notes --service localhost:9999 --policy \"OR('HospitalMSP.peer')\"
  consilium contract deploy notes --package notes.tar.gz --upgrade --version 2.0 \\
    --policy \"OR('HospitalMSP.peer')\" --channel health \\
    --profile hospital.yaml --profile maker.yaml"
    )]
    Deploy(ContractDeploy),
}

/// Arguments of `consilium contract deploy`.
#[derive(Debug, Args)]
pub struct ContractDeploy {
    /// Folder of a local network, all of whose organizations take part.
    #[arg(long, env = "CONSILIUM_NETWORK", default_value = "consilium-network")]
    pub network: std::path::PathBuf,
    /// Connection profile (Fabric's, YAML or JSON) with the peers and the administrator of one or
    /// several organizations; repeat for more. Instead of a local network.
    #[arg(long = "profile", value_name = "FILE", requires = "channel")]
    pub profiles: Vec<std::path::PathBuf>,
    /// Channel; by default that of the local network.
    #[arg(long, short = 'C')]
    pub channel: Option<String>,
    /// What to deploy.
    #[command(flatten)]
    pub program: Program,
}

/// `consilium contract deploy`.
///
/// # Errors
/// As [`deploy`]; there is no such network, or a profile is wrong.
pub async fn run(command: ContractCommand) -> anyhow::Result<()> {
    let ContractCommand::Deploy(args) = command;
    let consortium = if args.profiles.is_empty() {
        let mut consortium = Consortium::of_network(&Network::load(&args.network)?).await?;
        if let Some(channel) = args.channel {
            consortium.channel = channel;
        }
        consortium
    } else {
        let channel = args.channel.context("--profile needs --channel")?;
        Consortium::of_profiles(&channel, &args.profiles).await?
    };
    deploy(&consortium, &args.program).await
}

/// Deploys to all members of a consortium. Prints the package id, under which a service has to
/// register.
///
/// # Errors
/// The chaincode is defined already and this is no upgrade (or the reverse), or a step is refused.
pub async fn deploy(consortium: &Consortium, program: &Program) -> anyhow::Result<()> {
    let name = &program.name;
    let channel = &consortium.channel;
    let package = package(program)?;
    let collections = program
        .collections
        .as_deref()
        .map(definition::collections_of);
    let collections = collections.transpose()?;
    let admin = &consortium.first()?.admin;
    let sequence = match admin.committed_sequence(channel, name).await? {
        None if program.upgrade => anyhow::bail!("{name} is not defined on {channel}"),
        None => 1,
        Some(sequence) if program.upgrade => sequence + 1,
        Some(sequence) => anyhow::bail!(
            "{name} is defined on {channel} already, with sequence {sequence}; --upgrade defines it anew"
        ),
    };
    let definition = ApprovedDefinition {
        name: name.clone(),
        version: program.version.clone(),
        sequence,
        policy: definition::signature_policy(&program.policy)?,
        collections,
        init_required: program.init_required,
        ..ApprovedDefinition::default()
    };
    let package_id = match &package {
        Some(package) => Package::parse(package)?.id,
        // What a peer in development mode waits for.
        None => format!("{name}:{}", program.version),
    };
    let rollout = Rollout {
        definition,
        package,
        package_id,
    };
    let steps = Steps::new(rollout.steps(consortium));
    roll_out(consortium, &rollout, &steps).await?;
    steps.finish();
    println!("{name} is defined on channel {channel}, sequence {sequence}");
    println!("package id: {}", rollout.package_id);
    Ok(())
}

/// The package that the arguments ask for; none for what a developer starts.
fn package(program: &Program) -> anyhow::Result<Option<Bytes>> {
    if program.development {
        anyhow::ensure!(
            program.metadata.is_none(),
            "--metadata belongs to a service"
        );
        return Ok(None);
    }
    if let Some(file) = &program.package {
        anyhow::ensure!(
            program.metadata.is_none(),
            "--metadata belongs to a service"
        );
        let read = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        return Ok(Some(read.into()));
    }
    let connection = match (&program.service, &program.connection) {
        (Some(address), _) => Some(Connection::plain(address)),
        (None, Some(file)) => {
            let json = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let parsed = Connection::parse(&json);
            Some(parsed.with_context(|| format!("{}", file.display()))?)
        }
        (None, None) => None,
    };
    let Some(connection) = connection else {
        anyhow::ensure!(
            program.metadata.is_none(),
            "--metadata belongs to a service"
        );
        let contract = program.contract.as_ref().unwrap_or(&program.name);
        let package = lifecycle::package_in_process(&program.name, contract)?;
        return Ok(Some(package.into()));
    };
    let metadata = match &program.metadata {
        Some(folder) => metadata_files(folder)?,
        None => Vec::new(),
    };
    let package = lifecycle::package_service_with(&program.name, &connection, &metadata)?;
    Ok(Some(package.into()))
}
