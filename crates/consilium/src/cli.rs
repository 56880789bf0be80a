//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    bench::BenchArgs,
    call::CallArgs,
    certificates::CertificatesCommand,
    channel::ChannelCommand,
    config::ConfigCommand,
    discover::DiscoverArgs,
    events::EventsArgs,
    ledger::LedgerCommand,
    peer::{GoFlag, PeerArgs},
    programs::LinkPrograms,
};
use crate::contract::ContractCommand;

/// A consortium ledger, wire-compatible with Hyperledger Fabric, for healthcare.
#[derive(Debug, Parser)]
#[command(
    name = "consilium",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "\
Examples:
  consilium network up                          start a local consortium of three organizations
  consilium network status                      what runs, at which height
  consilium invoke --as hospital/User1 kv put color blue
  consilium query  --as hospital/User1 kv get color
  consilium network down --clean                stop it and delete its data")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// This program under the name of Fabric's `peer`.
#[derive(Debug, Parser)]
#[command(name = "peer", max_term_width = 100)]
pub struct PeerCli {
    /// What to do.
    #[command(flatten)]
    pub peer: PeerArgs,
}

/// This program under the name of Fabric's `discover`.
#[derive(Debug, Parser)]
#[command(name = "discover", max_term_width = 100)]
pub struct DiscoverCli {
    /// What to do.
    #[command(flatten)]
    pub discover: DiscoverArgs,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an organization's certificate authority.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Run an ordering node.
    #[command(subcommand)]
    Orderer(OrdererCommand),
    /// Run a peer, or have one do something, as with Fabric's `peer`.
    Peer(PeerArgs),
    /// Ask a peer who belongs to a channel and who endorses, as with Fabric's `discover`.
    Discover(DiscoverArgs),
    /// Run an organization's gateway for FHIR clients and browsers.
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// How a node's certificates stand, and renewing them.
    #[command(subcommand)]
    Certificates(CertificatesCommand),
    /// Verify a peer's ledgers, and repair them while the peer is down.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Read, change and agree on a channel's configuration.
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// Deploy a contract to all organizations of a channel.
    #[command(subcommand)]
    Contract(ContractCommand),
    /// Start, stop and look at a consortium on this machine.
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Submit a transaction and wait until it is committed.
    #[command(after_help = "\
Examples:
  consilium invoke kv put color blue
  consilium invoke --as regulator/User1 devices Certify '{\"di\":\"09504000059118\",…}'
  consilium invoke --transient key=value records RegisterRecords '[…]'")]
    Invoke(CallArgs),
    /// Evaluate a contract on one peer; nothing is ordered.
    #[command(after_help = "Example:\n  consilium query kv get color")]
    Query(CallArgs),
    /// Print the events of a chaincode as they are committed.
    #[command(after_help = "Example:\n  consilium events devices --from 0")]
    Events(EventsArgs),
    /// Measure a gateway, Consilium's or Fabric's; or, by subcommand, parts of a peer by themselves.
    #[command(after_help = "\
Examples:
  consilium bench --clients 50 --duration 30s
  consilium bench --clients 500 --payload 100 --pid 4711 --pid 4712
  consilium bench --mode evaluate --clients 100
  consilium bench replay --transactions 50000
  consilium bench cold-start --blocks 1000000")]
    Bench(BenchArgs),
    /// Explain configuration files and find mistakes in them before anything starts.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make links to this program under the names of Fabric's: configtxgen, configtxlator, cryptogen,
    /// discover, fabric-ca-client, fabric-ca-server, ledgerutil, orderer, osnadmin, peer.
    /// The words behind `consilium` work as well.
    #[command(after_help = "\
Examples:
  consilium link-programs ~/bin
  consilium configtxgen -version")]
    LinkPrograms(LinkPrograms),
    /// Run real health data through a consortium that is up, and show what happened.
    Demo(crate::demo::DemoArgs),
}

/// `consilium ca`.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Start the server; the first start makes the root certificates.
    #[command(after_help = "\
Example:
  consilium ca start --home ./ca --name ca-hospital --organization hospital.example \\
    --listen 127.0.0.1:7054 --admin admin --admin-secret-file ./secret --host localhost")]
    Start(CaStart),
}

/// Arguments of `consilium ca start`.
#[derive(Debug, Args)]
pub struct CaStart {
    /// Folder of keys, certificates and the database.
    #[arg(long, env = "CONSILIUM_CA_HOME", default_value = "ca")]
    pub home: PathBuf,
    /// Name of the CA.
    #[arg(long)]
    pub name: String,
    /// Organization (O) in the root certificate's subject.
    #[arg(long)]
    pub organization: String,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:7054")]
    pub listen: String,
    /// Enrollment id of the bootstrap registrar.
    #[arg(long, default_value = "admin")]
    pub admin: String,
    /// File with the registrar's secret.
    #[arg(long)]
    pub admin_secret_file: PathBuf,
    /// Host name or address in the server's TLS certificate; repeat for more.
    #[arg(long = "host", default_values = ["localhost", "127.0.0.1"])]
    pub hosts: Vec<String>,
}

/// `consilium orderer`.
#[derive(Debug, Subcommand)]
pub enum OrdererCommand {
    /// Start the node.
    #[command(after_help = "Example:\n  consilium orderer start --config ./orderer.yaml")]
    Start(NodeStart),
    /// Print the version of this program.
    Version,
}

/// Arguments of `start` of an orderer or a peer.
#[derive(Debug, Args)]
pub struct NodeStart {
    /// Configuration file; otherwise searched in FABRIC_CFG_PATH, the current folder and
    /// /etc/hyperledger/fabric.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// Arguments of `consilium peer start`.
#[derive(Debug, Args)]
pub struct PeerStart {
    /// Which node.
    #[command(flatten)]
    pub node: NodeStart,
    /// Start the peer in chaincode development mode: chaincode that is not installed registers as
    /// NAME:VERSION, from wherever its developer starts it, without TLS.
    // Scripts written for Fabric say `--peer-chaincodedev=true`.
    #[arg(long, switch = false)]
    pub peer_chaincodedev: bool,
}

/// `consilium network`.
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Start a consortium: per organization a CA, an orderer and a peer; one channel; contracts.
    Up(NetworkUp),
    /// Stop it.
    Down(NetworkDown),
    /// What runs, and where each node stands.
    Status(NetworkDir),
    /// As `consilium contract deploy`, on this network.
    // `--version` is the definition's, as in Fabric's `peer lifecycle chaincode`.
    #[command(
        disable_version_flag = true,
        after_help = "\
Example:
  consilium network deploy notes --service localhost:9999 \\
    --policy \"AND('HospitalMSP.peer','MakerMSP.peer')\""
    )]
    Deploy(NetworkDeploy),
    /// Add an organization to the channel: its CA and peer, a config update that the
    /// administrators of all others sign, the built-in contracts.
    #[command(after_help = "\
Examples:
  consilium network add-org clinic
  consilium network add-org insurer --title 'Health insurer' --free-ports")]
    AddOrg(NetworkAddOrg),
    /// Give an organization a new root certificate in three steps: both roots are trusted, everything is
    /// certified under the new one, the former one is trusted no more.
    #[command(after_help = "\
Examples:
  consilium network rotate-root hospital             # then applications take up tls/ca.crt
  consilium network rotate-root hospital --renew     # then applications take up their certificates
  consilium network rotate-root hospital --finish")]
    RotateRoot(NetworkRotateRoot),
}

/// Arguments of `consilium network add-org`.
#[derive(Debug, Args)]
pub struct NetworkAddOrg {
    /// Where the network lives.
    #[command(flatten)]
    pub dir: NetworkDir,
    /// What it is; by default its name.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// Take any free ports instead of the next thousand.
    #[arg(long)]
    pub free_ports: bool,
    /// Short name, as in `--as clinic/User1`; its MSP id becomes ClinicMSP.
    pub name: String,
}

/// Arguments of `consilium network rotate-root`.
#[derive(Debug, Args)]
pub struct NetworkRotateRoot {
    /// Where the network lives.
    #[command(flatten)]
    pub dir: NetworkDir,
    /// Certify nodes and users under the new root, once applications trust it.
    #[arg(long)]
    pub renew: bool,
    /// End the trust in the former root, once applications have their new certificates.
    #[arg(long, conflicts_with = "renew")]
    pub finish: bool,
    /// Short name of the organization.
    pub name: String,
}

/// Arguments of `consilium network deploy`.
#[derive(Debug, Args)]
pub struct NetworkDeploy {
    /// Where the network lives.
    #[command(flatten)]
    pub dir: NetworkDir,
    /// What to deploy.
    #[command(flatten)]
    pub program: Program,
}

/// A chaincode, what runs it and what is agreed on about it.
#[derive(Debug, Args)]
pub struct Program {
    /// Endorsement policy.
    #[arg(long)]
    pub policy: String,
    /// Install package, which the peers themselves or their external builders know how to run.
    #[arg(long, value_name = "FILE", group = "program")]
    pub package: Option<PathBuf>,
    /// Address of a chaincode that runs as a service; it registers under the package id printed.
    #[arg(long, value_name = "HOST:PORT", group = "program")]
    pub service: Option<String>,
    /// The same with a `connection.json`, for a service that wants TLS.
    #[arg(long, value_name = "FILE", group = "program")]
    pub connection: Option<PathBuf>,
    /// Built-in contract; by default the one called like the chaincode.
    #[arg(long, group = "program")]
    pub contract: Option<String>,
    /// Whatever its developer starts under NAME:VERSION, at peers in development mode.
    #[arg(long, group = "program")]
    pub development: bool,
    /// Folder `META-INF` of the chaincode, whose index definitions go into the package.
    #[arg(long, value_name = "FOLDER", conflicts_with = "contract")]
    pub metadata: Option<PathBuf>,
    /// Private data collections, in the JSON of Fabric's `--collections-config`.
    #[arg(long, value_name = "FILE")]
    pub collections: Option<PathBuf>,
    /// The chaincode has to be initialized, by a call with `is_init`, before anything else.
    #[arg(long)]
    pub init_required: bool,
    /// Version of the definition.
    #[arg(long, value_name = "TEXT", default_value = env!("CARGO_PKG_VERSION"))]
    pub version: String,
    /// Define a chaincode anew that is there already: the next sequence.
    #[arg(long)]
    pub upgrade: bool,
    /// Chaincode name.
    pub name: String,
}

/// Where a network lives.
#[derive(Debug, Clone, Args)]
pub struct NetworkDir {
    /// Folder of the network.
    #[arg(long, env = "CONSILIUM_NETWORK", default_value = "consilium-network")]
    pub dir: PathBuf,
}

/// `consilium gateway`.
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Serve FHIR R4, tokens and the console until SIGTERM.
    Start {
        /// The configuration file, gateway.yaml.
        #[arg(long)]
        config: PathBuf,
    },
    /// Register resources from files of NDJSON, one resource a line; patients before what is about
    /// them. The same command goes on where it was interrupted.
    #[command(after_help = "\
Example:
  consilium gateway import --config gateway.yaml --as keys --job 2026-12 Patient.ndjson Observation.ndjson")]
    Import(GatewayImport),
}

/// Arguments of `consilium gateway import`.
#[derive(Debug, Args)]
pub struct GatewayImport {
    /// The configuration file, gateway.yaml.
    #[arg(long)]
    pub config: PathBuf,
    /// Whose records they become: an identity of the wallet with hc.role `records` or `physician`.
    #[arg(long = "as", value_name = "NAME")]
    pub user: String,
    /// Name of the import, under which it goes on: letters, digits, `-` and `.`.
    #[arg(long)]
    pub job: String,
    /// Resources in one transaction, at most 1000.
    #[arg(long, default_value_t = 200)]
    pub batch: usize,
    /// The files.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// Arguments of `consilium network up`.
#[derive(Debug, Args)]
pub struct NetworkUp {
    /// Where the network lives.
    #[command(flatten)]
    pub dir: NetworkDir,
    /// Take any free ports instead of 7050 to 9056.
    #[arg(long)]
    pub free_ports: bool,
    /// Eight organizations instead of three, and all health contracts.
    #[arg(long)]
    pub health: bool,
    /// Folder of an external builder, which the peers let build contracts; repeat for more.
    #[arg(long = "builder", value_name = "FOLDER")]
    pub builders: Vec<PathBuf>,
    /// Start the peers in chaincode development mode.
    #[arg(long)]
    pub peer_chaincodedev: bool,
}

/// Arguments of `consilium network down`.
#[derive(Debug, Args)]
pub struct NetworkDown {
    /// Where the network lives.
    #[command(flatten)]
    pub dir: NetworkDir,
    /// Delete its folder too: ledgers, keys, everything.
    #[arg(long)]
    pub clean: bool,
}
