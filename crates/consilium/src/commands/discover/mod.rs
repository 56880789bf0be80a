//! `consilium discover`, and this program under the name of Fabric's `discover`: its flags, files,
//! output and exit codes. fabric: cmd/discover, cmd/common, discovery/cmd

pub mod answer;
mod settings;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use consilium_client::{ClientError, Discovery};
use consilium_proto::{
    discovery::{
        ChaincodeQuery, ConfigQuery, LocalPeerQuery, PeerMembershipQuery, Query, QueryResult,
        query, query_result,
    },
    protos::{ChaincodeCall, ChaincodeInterest},
};

use super::{
    peer::{GoFlag, dial, rpc},
    told,
};
use settings::{Settings, SettingsArgs};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Command line client for the discovery service of a peer.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct DiscoverArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: DiscoverCommand,
}

#[derive(Debug, Subcommand)]
enum DiscoverCommand {
    /// Discover peers; of a channel, where one is named.
    Peers(AskArgs),
    /// Discover channel config.
    Config(AskArgs),
    /// Discover chaincode endorsers.
    #[command(after_help = "\
Example:
  consilium discover --configFile conf.yaml endorsers --channel health --server localhost:7051 \\
    --chaincode notes --collection notes:either,kept")]
    Endorsers(EndorsersArgs),
    /// Save the config passed by flags into the file specified by --configFile.
    #[command(name = "saveConfig")]
    SaveConfig,
}

/// Whom to ask about what.
#[derive(Debug, Args)]
struct AskArgs {
    /// Sets the endpoint of the server to connect.
    #[arg(long, text(), value_name = "HOST:PORT")]
    server: String,
    /// Sets the channel the query is intended to.
    #[arg(long, text())]
    channel: String,
}

/// Arguments of `endorsers`.
#[derive(Debug, Args)]
struct EndorsersArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Specifies the chaincode name(s); repeat for more.
    #[arg(long = "chaincode", value_name = "NAME")]
    chaincodes: Vec<String>,
    /// Specifies the collection name(s) as a mapping from chaincode to a comma separated list of
    /// collections; repeat for more.
    #[arg(long = "collection", value_name = "CC:C1,C2")]
    collections: Vec<String>,
    /// Specifies chaincodes that are not expected to have private data read; repeat for more.
    #[arg(long = "noPrivateReads", value_name = "CHAINCODE")]
    no_private_reads: Vec<String>,
}

/// Runs a command, which says by itself what fails.
pub async fn run(args: DiscoverArgs) -> ExitCode {
    match execute(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", told(&error));
            ExitCode::FAILURE
        }
    }
}

async fn execute(args: DiscoverArgs) -> anyhow::Result<()> {
    let given = &args.settings;
    match args.command {
        DiscoverCommand::SaveConfig => given.save(),
        DiscoverCommand::Peers(ask) => {
            let settings = given.load()?;
            ask.server()?;
            let (query, with_state) = match ask.channel.as_str() {
                "" => (query::Query::LocalPeers(LocalPeerQuery {}), false),
                _ => {
                    let query = PeerMembershipQuery {
                        filter: Some(ChaincodeInterest::default()),
                    };
                    (query::Query::PeerQuery(query), true)
                }
            };
            let result = ask.send(&settings, query, true).await?;
            println!("{}", answer::peers(result, with_state)?);
            Ok(())
        }
        DiscoverCommand::Config(ask) => {
            let settings = given.load()?;
            ask.server()?;
            ask.named_channel()?;
            let query = query::Query::ConfigQuery(ConfigQuery {});
            let result = ask.send(&settings, query, true).await?;
            println!("{}", answer::config(result)?);
            Ok(())
        }
        DiscoverCommand::Endorsers(args) => {
            let settings = given.load()?;
            args.ask.named_channel()?;
            args.ask.server()?;
            let query = query::Query::CcQuery(ChaincodeQuery {
                interests: vec![args.interest()?],
            });
            let result = args.ask.send(&settings, query, false).await?;
            println!("{}", answer::endorsers(result)?);
            Ok(())
        }
    }
}

impl AskArgs {
    fn server(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.server.is_empty(), "no server specified");
        Ok(())
    }

    fn named_channel(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.channel.is_empty(), "no channel specified");
        Ok(())
    }

    /// `wordy` as two of Fabric's three commands are about what fails.
    async fn send(
        &self,
        settings: &Settings,
        query: query::Query,
        wordy: bool,
    ) -> anyhow::Result<query_result::Result> {
        let sent = self.ask(settings, query).await;
        let result = sent.map_err(|(step, error)| match wordy {
            true => error
                .context(step)
                .context(format!("failed connecting to {}", self.server)),
            false => error,
        })?;
        let result = result.result;
        result.ok_or_else(|| anyhow::anyhow!("the server answered nothing"))
    }

    async fn ask(
        &self,
        settings: &Settings,
        query: query::Query,
    ) -> Result<QueryResult, (&'static str, anyhow::Error)> {
        let connecting = |error| ("failed connecting to discovery service", error);
        let tls = settings.tls().map_err(connecting)?;
        let signer = settings.signer().map_err(connecting)?;
        let connected = dial("discovery", &self.server, tls, CONNECT_TIMEOUT).await;
        let connected = connected.map_err(connecting)?;
        let asked = Query {
            channel: self.channel.clone(),
            query: Some(query),
        };
        let discovery = Discovery::new(connected.channel, signer, connected.tls_hash);
        let refused = |error| ("discovery service refused our Request", error);
        match tokio::time::timeout(ANSWER_TIMEOUT, discovery.ask(asked)).await {
            Ok(answer) => {
                answer.map_err(|error: ClientError| refused(anyhow::anyhow!(rpc(&error))))
            }
            Err(_) => Err(refused(anyhow::anyhow!(
                "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
            ))),
        }
    }
}

impl EndorsersArgs {
    /// What the question is about.
    fn interest(&self) -> anyhow::Result<ChaincodeInterest> {
        let known = |name: &str| self.chaincodes.iter().any(|known| known == name);
        if let Some(name) = self.no_private_reads.iter().find(|name| !known(name)) {
            anyhow::bail!(
                "chaincode {name} is specified as not containing private data reads but should be explicitly defined via a chaincode flag"
            );
        }
        let mut collections = Vec::new();
        for given in &self.collections {
            let Some((name, list)) = given.split_once([':', '=']) else {
                anyhow::bail!("discover: error: expected KEY=VALUE got '{given}', try --help");
            };
            anyhow::ensure!(
                known(name),
                "a collection specified chaincode {name} but it wasn't specified with a chaincode flag"
            );
            collections.push((name, list.split(',').map(str::to_owned).collect::<Vec<_>>()));
        }
        anyhow::ensure!(
            !self.chaincodes.is_empty(),
            "failed creating request: invocation chain should not be empty"
        );
        anyhow::ensure!(
            self.chaincodes.iter().all(|name| !name.is_empty()),
            "failed creating request: chaincode name should not be empty"
        );
        let calls = self.chaincodes.iter().map(|name| {
            // Of several lists for one chaincode the last one counts.
            let of_this = collections.iter().rev().find(|(of, _)| of == name);
            ChaincodeCall {
                name: name.clone(),
                collection_names: of_this.map(|(_, list)| list.clone()).unwrap_or_default(),
                no_private_reads: self.no_private_reads.contains(name),
                ..ChaincodeCall::default()
            }
        });
        Ok(ChaincodeInterest {
            chaincodes: calls.collect(),
        })
    }
}

/// Says what is wrong with a command line, or prints the help that was asked for; Fabric's ends with 1.
pub fn explain(error: &clap::Error) -> ExitCode {
    // Nobody is there to be told of a closed output.
    let _ = error.print();
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DiscoverArgs,
    }

    fn interest(line: &str) -> anyhow::Result<ChaincodeInterest> {
        let line = ["discover", "endorsers"]
            .into_iter()
            .chain(line.split_whitespace());
        match Line::try_parse_from(line).unwrap().args.command {
            DiscoverCommand::Endorsers(args) => args.interest(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn collections_and_private_reads_belong_to_chaincodes_that_are_named() {
        let made = interest(
            "--chaincode a --chaincode b --collection a:x,y --collection b=z --noPrivateReads b",
        )
        .unwrap();
        let [a, b] = &made.chaincodes[..] else {
            panic!("two chaincodes");
        };
        assert_eq!((a.name.as_str(), a.no_private_reads), ("a", false));
        assert_eq!(a.collection_names, ["x", "y"]);
        assert_eq!((b.name.as_str(), b.no_private_reads), ("b", true));
        assert_eq!(b.collection_names, ["z"]);
        for (line, reason) in [
            (
                "",
                "failed creating request: invocation chain should not be empty",
            ),
            (
                "--chaincode a --noPrivateReads b",
                "chaincode b is specified as not containing",
            ),
            (
                "--chaincode a --collection b:x",
                "a collection specified chaincode b but",
            ),
            (
                "--chaincode a --collection a",
                "discover: error: expected KEY=VALUE got 'a'",
            ),
        ] {
            let error = interest(line).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
    }
}
