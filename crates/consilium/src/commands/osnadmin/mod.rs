//! `osnadmin`: an orderer's channels, over its admin endpoint. fabric: cmd/osnadmin

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use consilium_proto::common::Block;
use consilium_protocol::{block, envelope};

use super::golang::{self, kingpin};
use crate::network::participation::{AdminTls, Participation};

/// Orderer Service Node (OSN) administration, as Fabric's osnadmin.
#[derive(Debug, Parser)]
#[command(
    name = "osnadmin",
    max_term_width = 100,
    disable_version_flag = true,
    subcommand_required = false,
    arg_required_else_help = false,
    args_override_self = true
)]
struct Osnadmin {
    #[command(flatten)]
    endpoint: Endpoint,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Endpoint {
    /// Admin endpoint of the OSN.
    #[arg(
        short = 'o',
        long = "orderer-address",
        global = true,
        value_name = "HOST:PORT"
    )]
    address: Option<String>,
    /// Path to file containing PEM-encoded TLS CA certificate(s) for the OSN; without it there is no TLS.
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Path to file containing PEM-encoded X509 public key to use for mutual TLS.
    #[arg(long, global = true, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Path to file containing PEM-encoded private key to use for mutual TLS.
    #[arg(long, global = true, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Remove the HTTP status message from the command output.
    #[arg(long, global = true)]
    no_status: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Channel actions.
    #[command(subcommand)]
    Channel(Channel),
}

#[derive(Debug, Subcommand)]
enum Channel {
    /// Join an OSN to a channel. If the channel does not yet exist, it will be created.
    #[command(after_help = "\
Example:
  osnadmin channel join -c health -b health.block -o localhost:7053 \\
    --ca-file tls/ca.crt --client-cert tls/client.crt --client-key tls/client.key")]
    Join(Join),
    /// List the channels of an OSN, or tell more of one of them.
    List(Named),
    /// Remove a channel from an OSN.
    Remove(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// Channel ID.
    #[arg(short = 'c', long = "channelID", value_name = "CHANNEL")]
    channel: Option<String>,
}

#[derive(Debug, Args)]
struct Join {
    #[command(flatten)]
    named: Named,
    /// Path to the file containing an up-to-date config block for the channel.
    #[arg(short = 'b', long = "config-block", value_name = "FILE")]
    block: Option<PathBuf>,
}

/// What is asked of the orderer.
enum Request {
    Join(Vec<u8>),
    List(Option<String>),
    Remove(String),
}

/// Runs the command line behind the program's name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let parsed: Osnadmin = match kingpin::read("osnadmin", arguments, refuse) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let no_status = parsed.endpoint.no_status;
    let (participation, request) = match prepare(parsed) {
        Ok(prepared) => prepared,
        Err(error) => return refuse("osnadmin", &format!("{error:#}")),
    };
    crate::run(async move {
        match ask(&participation, request).await {
            Ok((status, body)) => {
                let shown = match body.is_empty() {
                    true => Ok(String::new()),
                    false => golang::indent(&body),
                };
                match shown {
                    Ok(shown) if no_status => println!("{shown}"),
                    Ok(shown) => println!("Status: {status}\n{shown}"),
                    Err(error) => {
                        println!("Error: {error}\n");
                        return Ok(ExitCode::FAILURE);
                    }
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => {
                println!("Error: {error}\n");
                Ok(ExitCode::FAILURE)
            }
        }
    })
}

fn refuse(program: &str, complaint: &str) -> ExitCode {
    kingpin::fail(
        program,
        &format!("parsing arguments: {complaint}. Try --help"),
    )
}

fn prepare(parsed: Osnadmin) -> anyhow::Result<(Participation, Request)> {
    let required = |flag: &str| format!("required flag --{flag} not provided");
    let endpoint = parsed.endpoint;
    let address = endpoint.address.as_deref();
    let address = address.with_context(|| required("orderer-address"))?;
    let Some(Command::Channel(command)) = parsed.command else {
        anyhow::bail!("command not specified");
    };
    let named = |named: Named| named.channel.with_context(|| required("channelID"));
    let request = match command {
        Channel::List(args) => Request::List(args.channel.filter(|channel| !channel.is_empty())),
        Channel::Remove(args) => Request::Remove(named(args)?),
        Channel::Join(args) => {
            let channel = named(args.named)?;
            let block = args.block.with_context(|| required("config-block"))?;
            let tls = tls(&endpoint)?;
            let block = golang::read_file(&block).context("reading config block")?;
            check(&block, &channel)?;
            return Ok((
                Participation::connect(address, tls.as_ref())?,
                Request::Join(block),
            ));
        }
    };
    let tls = tls(&endpoint)?;
    Ok((Participation::connect(address, tls.as_ref())?, request))
}

fn tls(endpoint: &Endpoint) -> anyhow::Result<Option<AdminTls>> {
    let Some(roots) = given(endpoint.ca_file.as_deref()) else {
        return Ok(None);
    };
    let pair = "loading client cert/key pair";
    let read = |path: &Option<PathBuf>| {
        golang::read_file(path.as_deref().unwrap_or(Path::new(""))).context(pair)
    };
    Ok(Some(AdminTls {
        roots: golang::read_file(roots).context("reading orderer CA certificate")?,
        certificate: read(&endpoint.client_cert)?,
        key: read(&endpoint.client_key)?.into(),
    }))
}

fn given(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// That the administrator joins the channel they think they join.
fn check(bytes: &[u8], channel: &str) -> anyhow::Result<()> {
    let block: Block =
        consilium_proto::decode(&bytes.to_vec().into()).context("unmarshalling block")?;
    let first = block::envelopes(&block).first();
    let first = first.context("failed to retrieve channel id - block is empty")?;
    let envelope = envelope::parse_bytes(first)?;
    let found = envelope.channel();
    anyhow::ensure!(
        found == channel,
        "specified --channelID {channel} does not match channel ID {found} in config block"
    );
    Ok(())
}

async fn ask(participation: &Participation, request: Request) -> anyhow::Result<(u16, String)> {
    let (verb, answered) = match &request {
        Request::Join(block) => ("Post", participation.ask_to_join(block).await),
        Request::List(channel) => ("Get", participation.list(channel.as_deref()).await),
        Request::Remove(channel) => ("Delete", participation.remove(channel).await),
    };
    let answer = answered.map_err(|error| {
        let url = error.url().map(ToString::to_string).unwrap_or_default();
        let reason = anyhow::Error::new(error.without_url());
        anyhow::anyhow!("{verb} {url:?}: {reason:#}")
    })?;
    let status = answer.status().as_u16();
    let body = answer.text().await;
    let body = body.map_err(|error| anyhow::anyhow!("reading http response body: {error}"))?;
    Ok((status, body))
}
