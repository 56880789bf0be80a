//! `configtxgen`: genesis blocks out of `configtx.yaml`. fabric: cmd/configtxgen

mod creation;
pub mod encoder;
mod log;
pub mod profile;

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use consilium_proto::common::{Config, ConfigGroup};
use consilium_protocol::config::genesis;
use consilium_protocol::envelope;
use prost::Message as _;

use super::golang::{self, flags};
use super::protolator::{self, Role, Section};
use profile::{Profile, TopLevel};

/// Genesis blocks out of configtx.yaml, as Fabric's configtxgen. Flags may begin with one dash.
#[derive(Debug, Parser)]
#[command(
    name = "configtxgen",
    max_term_width = 100,
    disable_version_flag = true,
    args_override_self = true
)]
#[command(after_help = "\
Example:
  configtxgen -profile TwoOrgs -channelID health -outputBlock health.block -configPath .")]
struct Configtxgen {
    /// The path to write the genesis block to (if set).
    #[arg(
        long = "outputBlock",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    output_block: String,
    /// The channel ID to use in the configtx.
    #[arg(
        long = "channelID",
        value_name = "CHANNEL",
        default_value = "",
        hide_default_value = true
    )]
    channel: String,
    /// [DEPRECATED] The path to write a channel creation configtx to (if set).
    #[arg(
        long = "outputCreateChannelTx",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    output_create_channel_tx: String,
    /// [DEPRECATED] Specifies a profile to consider as the orderer system channel current state. Only
    /// valid in conjunction with 'outputCreateChannelTx'.
    #[arg(
        long = "channelCreateTxBaseProfile",
        value_name = "PROFILE",
        default_value = "",
        hide_default_value = true
    )]
    base_profile: String,
    /// The profile from configtx.yaml to use for generation.
    #[arg(
        long,
        value_name = "PROFILE",
        default_value = "",
        hide_default_value = true
    )]
    profile: String,
    /// The path containing the configuration to use (if set).
    #[arg(
        long = "configPath",
        value_name = "FOLDER",
        default_value = "",
        hide_default_value = true
    )]
    config_path: String,
    /// Prints the configuration contained in the block at the specified path.
    #[arg(
        long = "inspectBlock",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    inspect_block: String,
    /// [DEPRECATED] Prints the configuration contained in the transaction at the specified path.
    #[arg(
        long = "inspectChannelCreateTx",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    inspect_channel_create_tx: String,
    /// Read and passed over, as in Fabric 3.
    #[arg(
        long = "asOrg",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    _as_org: String,
    /// Prints the definition of an organization as JSON. (useful for adding an org to a channel
    /// manually)
    #[arg(
        long = "printOrg",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    print_org: String,
    /// Show version information.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    version: bool,
    /// Passed over, as in Fabric.
    #[arg(hide = true)]
    _rest: Vec<String>,
}

/// How it ends.
enum End {
    /// With 1, as after a complaint.
    Complaint(String),
    /// With 2, as Fabric's does where the configuration is wrong.
    Configuration(String),
}

/// Runs the command line behind the program's name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let args: Configtxgen = match flags::parse("configtxgen", arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let makes = !args.output_block.is_empty() || !args.output_create_channel_tx.is_empty();
    if makes && args.channel.is_empty() {
        log::fatal("Missing channelID, please specify it with '-channelID'");
        return ExitCode::FAILURE;
    }
    if args.version {
        println!("{}", golang::version("configtxgen"));
        return ExitCode::SUCCESS;
    }
    log::information("Loading configuration");
    match work(&args, makes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(End::Complaint(complaint)) => {
            log::fatal(&complaint);
            ExitCode::FAILURE
        }
        Err(End::Configuration(complaint)) => {
            log::fatal(&complaint);
            ExitCode::from(2)
        }
    }
}

fn work(args: &Configtxgen, makes: bool) -> Result<(), End> {
    let failed = |doing: &'static str| {
        move |error: anyhow::Error| End::Complaint(format!("Error on {doing}: {error:#}"))
    };
    if makes && args.profile.is_empty() {
        return Err(End::Complaint(
            "The '-profile' is required when '-outputBlock', '-outputChannelCreateTx' is specified"
                .to_owned(),
        ));
    }
    let load = |name: &str, is_wanted: bool| match is_wanted {
        true => load(args, name).map(Some),
        false => Ok(None),
    };
    let profile = load(&args.profile, makes)?;
    let base = load(&args.base_profile, !args.base_profile.is_empty())?;
    if let Some(profile) = &profile {
        if !args.output_block.is_empty() {
            output_block(profile, &args.channel, Path::new(&args.output_block))
                .map_err(failed("outputBlock"))?;
        }
        if !args.output_create_channel_tx.is_empty() {
            let path = Path::new(&args.output_create_channel_tx);
            output_transaction(profile, base.as_ref(), &args.channel, path)
                .map_err(failed("outputChannelCreateTx"))?;
        }
    }
    if !args.inspect_block.is_empty() {
        log::information("Inspecting block");
        let path = Path::new(&args.inspect_block);
        let read = std::fs::read(path)
            .map_err(|_| anyhow::anyhow!("could not read block {}", path.display()));
        read.and_then(|bytes| inspect("common.Block", &bytes))
            .map_err(failed("inspectBlock"))?;
    }
    if !args.inspect_channel_create_tx.is_empty() {
        log::information("Inspecting transaction");
        golang::read_file(Path::new(&args.inspect_channel_create_tx))
            .context("could not read channel create tx")
            .and_then(|bytes| inspect("common.Envelope", &bytes))
            .map_err(failed("inspectChannelCreateTx"))?;
    }
    if !args.print_org.is_empty() {
        let (mut top, file) = read(args)?;
        top.complete(folder(&file))
            .map_err(|error| End::Configuration(format!("{error:#}")))?;
        log::information(&format!("Loaded configuration: {}", file.display()));
        print_organization(&top, &args.print_org).map_err(failed("printOrg"))?;
    }
    Ok(())
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

fn read(args: &Configtxgen) -> Result<(TopLevel, PathBuf), End> {
    let folder = Some(args.config_path.as_str()).filter(|path| !path.is_empty());
    let read = profile::read(folder.map(Path::new));
    read.map_err(|error| End::Configuration(format!("{error:#}")))
}

fn load(args: &Configtxgen, name: &str) -> Result<Profile, End> {
    let (mut top, file) = read(args)?;
    let mut profile = top.profiles.remove(name).ok_or_else(|| {
        End::Complaint(format!(
            "Could not find profile: {name}. Please make sure that FABRIC_CFG_PATH or -configPath is \
             set to a path which contains configtx.yaml with the specified profile"
        ))
    })?;
    profile
        .complete(folder(&file))
        .map_err(|error| End::Configuration(format!("{error:#}")))?;
    log::information(&format!("Loaded configuration: {}", file.display()));
    Ok(profile)
}

fn output_block(profile: &Profile, channel: &str, path: &Path) -> anyhow::Result<()> {
    let group = bootstrap(profile).context("could not create bootstrapper")?;
    log::information("Generating genesis block");
    if profile.orderer.is_none() {
        bail!("refusing to generate block which is missing orderer section");
    }
    if profile.consortiums.is_some() {
        log::error(
            "Warning: 'Consortiums' should be nil since system channel is no longer supported in Fabric v3.x",
        );
    } else {
        if profile.application.is_none() {
            bail!(
                "refusing to generate application channel block which is missing application section"
            );
        }
        log::information("Creating application channel genesis block");
    }
    let config = Config {
        sequence: 0,
        channel_group: Some(group),
    };
    let now = envelope::timestamp(std::time::SystemTime::now());
    let block = genesis::block_of(channel, config, now, envelope::nonce());
    log::information("Writing genesis block");
    write(path, &block.encode_to_vec()).context("error writing genesis block")
}

fn bootstrap(profile: &Profile) -> anyhow::Result<ConfigGroup> {
    let orderer = profile.orderer.iter().flat_map(|part| &part.organizations);
    let application = profile
        .application
        .iter()
        .flat_map(|part| &part.organizations);
    let consortiums = profile.consortiums.iter().flat_map(|all| all.values());
    let consortiums = consortiums.flat_map(|part| &part.organizations);
    let mut all = orderer.chain(application).chain(consortiums);
    if let Some(foreign) = all.find(|organization| organization.skip_as_foreign) {
        bail!(
            "all org definitions must be local during bootstrapping: organization '{}' is marked to be skipped as foreign",
            foreign.name
        );
    }
    encoder::channel(profile).context("could not create channel group")
}

fn output_transaction(
    profile: &Profile,
    base: Option<&Profile>,
    channel: &str,
    path: &Path,
) -> anyhow::Result<()> {
    log::information("Generating new channel configtx");
    let transaction = creation::transaction(profile, base, channel)?;
    log::information("Writing new channel tx");
    write(path, &transaction.encode_to_vec()).context("error writing channel create tx")
}

fn inspect(kind: &str, bytes: &[u8]) -> anyhow::Result<()> {
    log::information(match kind {
        "common.Block" => "Parsing genesis block",
        _ => "Parsing transaction",
    });
    let message =
        protolator::decode(protolator::message_type(kind)?, bytes).with_context(|| match kind {
            "common.Block" => "error unmarshalling to block: error unmarshalling Block",
            _ => "Error unmarshalling envelope: error unmarshalling Envelope",
        })?;
    print!(
        "{}",
        protolator::to_json(&message, &Role::Plain).context("malformed contents")?
    );
    Ok(())
}

fn print_organization(top: &TopLevel, name: &str) -> anyhow::Result<()> {
    let found = top.organizations.iter().find(|org| org.name == name);
    let found = found.with_context(|| format!("organization {name} not found"))?;
    let bad = || format!("bad org definition for org {name}");
    let (group, section) = if found.orderer_endpoints.is_empty() {
        let group = encoder::application_organization(found).with_context(bad)?;
        (group, Section::ApplicationOrganization)
    } else {
        let none = profile::Capabilities::new();
        let capabilities = top.capabilities.get("Channel").unwrap_or(&none);
        let group = encoder::orderer_organization(found, capabilities).with_context(bad)?;
        (group, Section::OrdererOrganization)
    };
    let descriptor = protolator::message_type("common.ConfigGroup")?;
    let message = protolator::decode(descriptor, &group.encode_to_vec())?;
    let json = protolator::to_json(&message, &Role::Group(section));
    print!(
        "{}",
        json.with_context(|| format!("malformed org definition for org: {name}"))?
    );
    Ok(())
}

/// Writes a file for its owner and group, and makes its folder.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o750);
        builder
            .create(folder)
            .map_err(|error| anyhow::anyhow!(golang::file_error("mkdir", folder, &error)))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o640);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(content));
    written.map_err(|error| anyhow::anyhow!(golang::file_error("open", path, &error)))
}
