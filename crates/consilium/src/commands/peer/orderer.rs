//! The flags that say which orderer is meant, on every command of `peer channel`, `peer chaincode` and
//! `peer lifecycle chaincode`. fabric: internal/peer/common/ordererenv.go, ordererclient.go

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Args;
use consilium_client::{Admin, Blocks, ClientError, Orderer};
use consilium_msp::Signer;
use consilium_proto::common::{Config, Envelope};
use consilium_protocol::config::ChannelConfig;
use consilium_transport::{ClientTlsOptions, TlsIdentity};
use futures_util::future::try_join_all;

use super::{
    Environment, bad_response,
    environment::{Connected, TlsFiles, dial},
    flags::{self, GoFlag},
    rpc,
};
use crate::commands::golang;

const HEADING: &str = "Ordering service";

/// Which orderer, and how to connect to it. Paths are relative to the folder of core.yaml.
#[derive(Clone, Debug, Args)]
pub struct OrdererArgs {
    /// Ordering service endpoint; where it is needed and absent, the channel's configuration names
    /// one.
    #[arg(
        short = 'o',
        long = "orderer",
        global = true,
        text(),
        value_name = "HOST:PORT",
        help_heading = HEADING
    )]
    pub endpoint: String,
    /// Use TLS when communicating with the orderer endpoint.
    #[arg(
        long,
        global = true,
        switch = false,
        help_heading = HEADING
    )]
    tls: bool,
    /// Use mutual TLS when communicating with the orderer endpoint.
    #[arg(
        long,
        global = true,
        switch = false,
        help_heading = HEADING
    )]
    clientauth: bool,
    /// File containing PEM-encoded trusted certificates for the ordering endpoint.
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    cafile: Option<PathBuf>,
    /// File containing the PEM-encoded private key for mutual TLS with the orderer endpoint.
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    keyfile: Option<PathBuf>,
    /// File containing the PEM-encoded certificate for mutual TLS with the orderer endpoint.
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    certfile: Option<PathBuf>,
    /// The hostname to expect in the orderer's TLS certificate.
    #[arg(
        long = "ordererTLSHostnameOverride",
        global = true,
        text(),
        value_name = "NAME",
        help_heading = HEADING
    )]
    host_name: String,
    /// Timeout for client to connect.
    #[arg(
        long = "connTimeout",
        global = true,
        default_value = "3s",
        value_parser = flags::length_of_time,
        value_name = "TIME",
        help_heading = HEADING
    )]
    connect_timeout: Duration,
    /// How far to shift the time backwards by which the orderer's TLS certificate is judged.
    #[arg(
        long = "tlsHandshakeTimeShift",
        global = true,
        default_value = "0s",
        value_parser = flags::length_of_time,
        value_name = "TIME",
        help_heading = HEADING
    )]
    clock_behind: Duration,
}

impl OrdererArgs {
    /// Whether the flag names one orderer, and no more.
    pub fn names_one(&self) -> bool {
        self.endpoint.split(':').count() == 2
    }

    /// Blocks of the orderer that the flag names.
    ///
    /// # Errors
    /// A file cannot be read, or nobody answers.
    pub async fn blocks(
        &self,
        environment: &Environment,
        signer: Arc<dyn Signer>,
    ) -> anyhow::Result<Blocks> {
        let connected = self
            .connect(environment, &self.endpoint)
            .await
            .context("failed to create deliver client for orderer")?;
        Ok(Blocks::of_orderer(
            connected.channel,
            signer,
            connected.tls_hash,
        ))
    }

    /// The orderers that get what is submitted: those that the flag names, or the first in the
    /// configuration of the channel, for which `peer` is asked.
    ///
    /// # Errors
    /// A file cannot be read, nobody answers, or the peer does not know.
    pub async fn broadcast(
        &self,
        environment: &Environment,
        channel: &str,
        peer: Option<&Admin>,
    ) -> anyhow::Result<Broadcast> {
        let addresses = match (self.endpoint.as_str(), peer) {
            ("", Some(peer)) => {
                let first = configured(channel, peer).await.with_context(|| {
                    format!("error getting channel ({channel}) orderer endpoint")
                })?;
                let first = first.with_context(|| {
                    format!(
                        "no orderer endpoints retrieved for channel {channel}, pass orderer endpoint with -o flag instead"
                    )
                })?;
                eprintln!("Retrieved channel ({channel}) orderer endpoint: {first}");
                first
            }
            (named, _) => named.to_owned(),
        };
        let connecting = addresses
            .split(',')
            .map(|address| self.connect(environment, address));
        let connected = try_join_all(connecting).await?;
        let orderers = connected.into_iter().map(|one| Orderer::new(one.channel));
        Ok(Broadcast(orderers.collect()))
    }

    async fn connect(&self, environment: &Environment, address: &str) -> anyhow::Result<Connected> {
        let tls = match self.tls {
            true => Some(
                self.tls_files(environment)
                    .context("failed to load config for OrdererClient")?,
            ),
            false => None,
        };
        dial("orderer", address, tls, self.connect_timeout).await
    }

    fn tls_files(&self, environment: &Environment) -> anyhow::Result<TlsFiles> {
        let read = |what: &str, path: &Option<PathBuf>| {
            // Like Go, which reads the file that nobody named, and does not find it.
            let path = path.as_ref().map(|path| environment.beside(path));
            golang::read_file(&path.unwrap_or_default())
                .with_context(|| format!("unable to load orderer.tls.{what}.file"))
        };
        let roots = read("rootcert", &self.cafile)?;
        let identity = match self.clientauth {
            true => {
                let key = read("clientKey", &self.keyfile)?;
                let certificate = read("clientCert", &self.certfile)?;
                let identity = TlsIdentity::from_pem(&certificate, &key);
                Some(identity.context("failed to load client certificate")?)
            }
            false => None,
        };
        Ok(TlsFiles {
            roots,
            identity,
            options: ClientTlsOptions {
                server_name: (!self.host_name.is_empty()).then(|| self.host_name.clone()),
                clock_behind: self.clock_behind,
            },
        })
    }
}

/// The first orderer in the configuration of a channel.
async fn configured(channel: &str, peer: &Admin) -> anyhow::Result<Option<String>> {
    let config = peer.channel_config(channel).await;
    let config = config.map_err(|error| match error {
        ClientError::Proposal { status, message } => {
            anyhow::anyhow!("error {}", bad_response(status, &message))
        }
        error => anyhow::anyhow!("error endorsing GetChannelConfig: {}", rpc(&error)),
    })?;
    first_endpoint(channel, config)
}

fn first_endpoint(channel: &str, config: Config) -> anyhow::Result<Option<String>> {
    let config = ChannelConfig::new(channel, config).context("error loading channel config")?;
    Ok(config.orderer_endpoints().into_iter().next())
}

/// Orderers that each get what is submitted.
pub struct Broadcast(Vec<Orderer>);

impl Broadcast {
    /// Submits an envelope.
    ///
    /// # Errors
    /// One of the orderers refuses it or does not answer; in Fabric's words.
    pub async fn send(&self, envelope: &Envelope) -> anyhow::Result<()> {
        let sending = self.0.iter().map(|one| one.broadcast(envelope.clone()));
        let sent = try_join_all(sending).await;
        sent.map(drop).map_err(|error| match error {
            ClientError::NotOrdered { status, info } => {
                anyhow::anyhow!("got unexpected status: {} -- {info}", status.as_str_name())
            }
            error => anyhow::anyhow!(rpc(&error)),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        orderer: OrdererArgs,
    }

    fn args(line: &[&str]) -> OrdererArgs {
        let line = [&["peer"], line].concat();
        Line::try_parse_from(line).unwrap().orderer
    }

    #[test]
    fn flags_are_on_by_their_name_or_by_their_value() {
        for (line, tls, mutual) in [
            (&[][..], false, false),
            (&["--tls"], true, false),
            (&["--tls=true", "--clientauth"], true, true),
            (&["--tls=false", "--clientauth=1"], false, true),
        ] {
            let args = args(line);
            assert_eq!((args.tls, args.clientauth), (tls, mutual), "{line:?}");
        }
        let times = args(&["--connTimeout", "1m30s", "--tlsHandshakeTimeShift=2h"]);
        assert_eq!(times.connect_timeout, Duration::from_secs(90));
        assert_eq!(times.clock_behind, Duration::from_secs(7200));
        assert_eq!(args(&[]).connect_timeout, Duration::from_secs(3));
    }

    #[test]
    fn one_orderer_is_a_host_and_a_port() {
        for (endpoint, one) in [
            ("", false),
            ("localhost", false),
            ("localhost:7050", true),
            ("a:1,b:2", false),
        ] {
            assert_eq!(args(&["-o", endpoint]).names_one(), one, "{endpoint}");
        }
    }
}
