//! `configtxlator`: messages as JSON and back, and the update between two configurations.
//! fabric: cmd/configtxlator, internal/configtxlator

mod rest;

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use consilium_proto::common::{Config, ConfigUpdate};
use consilium_protocol::config::{ConfigError, update};
use prost::Message as _;

use super::golang::{self, kingpin};
use super::protolator::{self, Role};

const NAME: &str = "configtxlator";

/// Utility for channel configurations: messages as JSON and back, as Fabric's configtxlator.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    max_term_width = 100,
    disable_version_flag = true,
    args_override_self = true
)]
struct Configtxlator {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the REST server.
    Start(Start),
    /// Converts a JSON document to protobuf.
    #[command(
        name = "proto_encode",
        after_help = "\
Example:
  configtxlator proto_encode --type common.Config --input config.json --output config.pb"
    )]
    ProtoEncode(Convert),
    /// Converts a proto message to JSON.
    #[command(name = "proto_decode")]
    ProtoDecode(Convert),
    /// Takes two marshaled common.Config messages and computes the config update which transitions
    /// between the two.
    #[command(name = "compute_update")]
    ComputeUpdate(ComputeUpdate),
    /// Show version information.
    Version,
}

#[derive(Debug, Args)]
struct Start {
    /// The hostname or IP on which the REST server will listen.
    #[arg(long, default_value = "0.0.0.0")]
    hostname: String,
    /// The port on which the REST server will listen.
    #[arg(long, default_value_t = 7059)]
    port: u16,
    /// Allowable CORS domains, e.g. '*' or 'www.example.com' (may be repeated).
    #[arg(long = "CORS", value_name = "ORIGIN")]
    cors: Vec<String>,
}

#[derive(Debug, Args)]
struct Convert {
    /// The type of protobuf structure, for example 'common.Config'.
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// A file to read; by default what comes in.
    #[arg(long, value_name = "FILE", default_value = "/dev/stdin")]
    input: PathBuf,
    /// A file to write the output to.
    #[arg(long, value_name = "FILE", default_value = "/dev/stdout")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct ComputeUpdate {
    /// The original config message.
    #[arg(long, value_name = "FILE")]
    original: Option<PathBuf>,
    /// The updated config message.
    #[arg(long, value_name = "FILE")]
    updated: Option<PathBuf>,
    /// The name of the channel for this update.
    #[arg(long = "channel_id", value_name = "CHANNEL")]
    channel: String,
    /// A file to write the update to.
    #[arg(long, value_name = "FILE", default_value = "/dev/stdout")]
    output: PathBuf,
}

/// Runs the command line behind the program's name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let parsed: Configtxlator = match kingpin::parse(NAME, arguments) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    match parsed.command {
        Command::Start(args) => crate::run(rest::serve(args.hostname, args.port, args.cors)),
        Command::ProtoEncode(args) => convert(&args, "Error decoding", |kind, input| {
            let descriptor = protolator::message_type(kind).context("error encode input")?;
            protolator::from_json(&descriptor, input).context("error decoding input")
        }),
        Command::ProtoDecode(args) => convert(&args, "Error decoding", |kind, input| {
            let descriptor = protolator::message_type(kind).context("error encode input")?;
            let message = protolator::decode(descriptor, input).context("error unmarshalling")?;
            let json = protolator::to_json(&message, &Role::Plain);
            Ok(json.context("error encoding output")?.into_bytes())
        }),
        Command::ComputeUpdate(args) => compute_update(&args),
        Command::Version => {
            println!("{}", golang::version(NAME));
            ExitCode::SUCCESS
        }
    }
}

fn convert(
    args: &Convert,
    doing: &str,
    work: impl Fn(&str, &[u8]) -> anyhow::Result<Vec<u8>>,
) -> ExitCode {
    let input = match read(&args.input) {
        Ok(input) => input,
        Err(error) => return kingpin::refuse(NAME, &error.to_string()),
    };
    finish(doing, work(&args.kind, &input), &args.output)
}

fn compute_update(args: &ComputeUpdate) -> ExitCode {
    let open = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
    let (original, updated) = match (open(&args.original), open(&args.updated)) {
        (Ok(original), Ok(updated)) => (original, updated),
        (Err(error), _) | (_, Err(error)) => return kingpin::refuse(NAME, &error.to_string()),
    };
    let config = |which: &str, bytes: Option<Vec<u8>>| {
        let bytes = bytes.with_context(|| {
            format!("error reading {which} config: no file is named, use --{which}")
        })?;
        let decoded: Result<Config, _> = consilium_proto::decode(&bytes.into());
        decoded.with_context(|| format!("error unmarshalling {which} config"))
    };
    let computed = config("original", original).and_then(|original| {
        let update = computed(&original, &config("updated", updated)?, &args.channel);
        let update = update.context("error computing config update")?;
        Ok(update.encode_to_vec())
    });
    finish("Error computing update", computed, &args.output)
}

/// The update between two configurations.
fn computed(original: &Config, updated: &Config, channel: &str) -> anyhow::Result<ConfigUpdate> {
    update::compute(original, updated, channel).map_err(|error| match error {
        ConfigError::Invalid(reason) => anyhow::anyhow!(reason),
        other => anyhow::anyhow!(other),
    })
}

fn finish(doing: &str, made: anyhow::Result<Vec<u8>>, output: &Path) -> ExitCode {
    let written = made.and_then(|content| write(output, &content));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => kingpin::fail(NAME, &format!("{doing}: {error:#}")),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("/dev/stdin") {
        let mut input = Vec::new();
        std::io::stdin().read_to_end(&mut input)?;
        return Ok(input);
    }
    golang::read_file(path)
}

/// Readable by the owner only, as Fabric's.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if path == Path::new("/dev/stdout") {
        let mut out = std::io::stdout().lock();
        return Ok(out.write_all(content).and_then(|()| out.flush())?);
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(content));
    written.map_err(|error| anyhow::anyhow!(golang::file_error("open", path, &error)))
}
