//! `consilium channel`: a channel's configuration as people read, change and agree on it.
//!
//! A proposal is a file that Fabric's tools know, too: the envelope that `peer channel signconfigtx`
//! signs and `peer channel update` submits. [`member`] says whose keys and nodes are used, [`file`]
//! reads and writes, [`text`] shows, [`agreement`] brings a proposal through.

mod agreement;
mod file;
mod member;
mod propose;
mod revoke;
mod text;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Subcommand};
use consilium_protocol::config::{ChannelConfig, settings};

use self::{agreement::Agreement, member::MemberArgs};

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Show the configuration in force, or that in a file, as settings.
    #[command(after_help = "\
Examples:
  consilium channel show
  consilium channel show orderer.batch
  consilium channel show --from config.block")]
    Show(ShowArgs),
    /// Show what a proposal changes, or how two configurations differ.
    #[command(after_help = "\
Examples:
  consilium channel diff proposal.pb
  consilium channel diff --from old.block
  consilium channel diff --from old.block --to new.block")]
    Diff(DiffArgs),
    /// Write a proposal to change settings, by the names that `show` gives them.
    #[command(after_help = "\
Examples:
  consilium channel propose --set orderer.batch-timeout=500ms --set orderer.batch-size.max-messages=100
  consilium channel propose --set application.org.MakerMSP.anchor-peers=peer0.maker:7051
  consilium channel propose --add application.org.MakerMSP.msp.crls=@crl.pem --submit
  consilium channel propose --add orderer.raft.consenters=orderer3:7050@tls/server.crt
  consilium channel propose --file updated.pb --out proposal.pb")]
    Propose(propose::ProposeArgs),
    /// Add an organization's signature to a proposal, after showing what it changes.
    #[command(after_help = "\
Examples:
  consilium channel sign proposal.pb --as maker/Admin
  consilium channel sign proposal.pb --peer peer0.maker:7051 --tls-ca tls/ca.crt \\
    --msp users/admin/msp --msp-id MakerMSP --channel health")]
    Sign(ProposalArgs),
    /// Tell whose signatures a proposal has and whose it still needs; ends with 1 while it needs any.
    #[command(after_help = "Example:\n  consilium channel status proposal.pb")]
    Status(ProposalArgs),
    /// Hand a proposal to the orderers and wait until it is in force.
    #[command(after_help = "Example:\n  consilium channel submit proposal.pb")]
    Submit(SubmitArgs),
    /// Take an organization into the channel: propose, sign with all keys at hand, submit or say
    /// what remains to be done.
    #[command(after_help = "\
Examples:
  consilium channel add-org ClinicMSP --msp-folder clinic/msp --anchor peer0.clinic:7051
  consilium channel add-org Clinic --org-msp-id ClinicMSP --msp-folder clinic/msp \\
    --profile hospital.yaml --signer maker/users/admin/msp:MakerMSP")]
    AddOrg(propose::AddOrgArgs),
    /// Take an organization out of the channel, in the same way.
    #[command(after_help = "Example:\n  consilium channel remove-org ClinicMSP")]
    RemoveOrg(propose::RemoveOrgArgs),
    /// Revoke a user at the organization's authority, and let every node of the channel refuse him.
    #[command(after_help = "\
Examples:
  consilium channel revoke User1
  consilium channel revoke user7 --reason keycompromise --as maker/Admin
  consilium channel revoke --crl msp/crls/crl.pem
  consilium channel revoke user7 --ca-url https://ca.org1:7054 --ca-root ca.pem --registrar registrar/msp \\
    --peer peer0.org1:7051 --tls-ca tlsca.pem --msp admin/msp --msp-id Org1MSP --channel mychannel")]
    Revoke(revoke::RevokeArgs),
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Only settings whose names begin like this.
    #[arg(default_value = "", hide_default_value = true)]
    begin: String,
    /// File with a configuration: a config block, or a Config message, encoded or in JSON.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Show the whole message in configtxlator's JSON instead; `propose --file` takes it back.
    #[arg(long, conflicts_with = "begin")]
    json: bool,
    #[command(flatten)]
    member: MemberArgs,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Proposal; its changes to the configuration in force, or to that of --from, are shown.
    #[arg(value_name = "PROPOSAL", conflicts_with = "to")]
    proposal: Option<PathBuf>,
    /// File with the first configuration; by default the one in force.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// File with the second configuration; by default the one in force.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    member: MemberArgs,
}

/// A proposal and who looks at it.
#[derive(Debug, Args)]
pub struct ProposalArgs {
    /// Proposal.
    #[arg(value_name = "PROPOSAL")]
    proposal: PathBuf,
    /// File with the configuration in force, where no peer is to be asked for it.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    member: MemberArgs,
}

/// Arguments of `submit`.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// Proposal.
    #[arg(value_name = "PROPOSAL")]
    proposal: PathBuf,
    #[command(flatten)]
    orderer: member::OrdererArgs,
    #[command(flatten)]
    member: MemberArgs,
}

/// Runs a subcommand.
///
/// # Errors
/// A file or a node does not answer, a proposal is none for the channel, or signatures are missing
/// where something was to be submitted.
pub async fn run(command: ChannelCommand) -> anyhow::Result<ExitCode> {
    match command {
        ChannelCommand::Show(args) => show(&args).await?,
        ChannelCommand::Diff(args) => diff(&args).await?,
        ChannelCommand::Propose(args) => propose::propose(&args).await?,
        ChannelCommand::Sign(args) => sign(&args).await?,
        ChannelCommand::Status(args) => {
            let config = current(args.from.as_ref(), &args.member).await?;
            let agreement = Agreement::read(&args.proposal, &config)?;
            print!("{}", agreement.status(&config)?);
            if !agreement.is_complete(&config)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        ChannelCommand::Submit(args) => {
            let member = args.member.member()?;
            let config = member.config().await?;
            let agreement = Agreement::read(&args.proposal, &config)?;
            agreement.submit(&config, &member, &args.orderer).await?;
        }
        ChannelCommand::AddOrg(args) => propose::add_organization(&args).await?,
        ChannelCommand::Revoke(args) => revoke::revoke(&args).await?,
        ChannelCommand::RemoveOrg(args) => propose::remove_organization(&args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration in a file, or the one in force at the member's peer.
async fn current(file: Option<&PathBuf>, member: &MemberArgs) -> anyhow::Result<ChannelConfig> {
    match file {
        Some(file) => file::configuration(file, &member.channel()),
        None => member.member()?.config().await,
    }
}

async fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let config = current(args.from.as_ref(), &args.member).await?;
    if args.json {
        print!("{}", file::json(&config)?);
        return Ok(());
    }
    println!("{}\n", text::title(&config));
    print!(
        "{}",
        text::settings(&settings::list(config.root()), &args.begin)
    );
    Ok(())
}

async fn diff(args: &DiffArgs) -> anyhow::Result<()> {
    let before = current(args.from.as_ref(), &args.member).await?;
    if let Some(file) = &args.proposal {
        let agreement = Agreement::read(file, &before)?;
        println!(
            "{}, and {} changes:\n",
            text::title(&before),
            file.display()
        );
        print!("{}", agreement.changes(&before)?);
        return Ok(());
    }
    anyhow::ensure!(
        args.from.is_some() || args.to.is_some(),
        "name a PROPOSAL, or a configuration with --from or --to"
    );
    let after = current(args.to.as_ref(), &args.member).await?;
    println!("- {}\n+ {}\n", text::title(&before), text::title(&after));
    let differences = settings::differences(before.root(), after.root());
    print!("{}", text::differences(&differences));
    Ok(())
}

async fn sign(args: &ProposalArgs) -> anyhow::Result<()> {
    let config = current(args.from.as_ref(), &args.member).await?;
    let mut agreement = Agreement::read(&args.proposal, &config)?;
    let signer = args.member.signer()?;
    println!(
        "{}, and {} signs these changes:\n",
        text::title(&config),
        signer.msp_id()
    );
    print!("{}", agreement.changes(&config)?);
    agreement.sign(signer.as_ref())?;
    agreement
        .write(&args.proposal, signer.as_ref())
        .with_context(|| format!("cannot write {}", args.proposal.display()))?;
    println!();
    print!("{}", agreement.status(&config)?);
    Ok(())
}
