//! A consortium on one machine, as separate processes: `consilium network up|down|status`.

mod add;
mod deploy;
mod enroll;
mod files;
mod genesis;
pub mod participation;
mod plan;
mod process;
mod reconfigure;
mod rotate;

use std::{
    fs,
    future::Future,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use comfy_table::{Table, presets};
use consilium_msp::Certificate;

use crate::{
    certificates,
    cli::{NetworkDeploy, NetworkDir, NetworkDown, NetworkUp},
    commands::connect::target_of,
    contract::{self, Consortium},
    progress::Steps,
};
pub use add::add_organization;
pub use deploy::metadata_files;
pub use enroll::Registrar;
pub use plan::{Network, Organization};
pub use process::Process;
pub use reconfigure::edit_msp;
pub use rotate::rotate_root;

use participation::Participation;

/// `consilium network up`: makes the network if the folder is new, then starts whatever does not run.
///
/// # Errors
/// What could not be made or started, with the end of the log of the process concerned.
pub async fn up(args: NetworkUp) -> anyhow::Result<Network> {
    let dir = std::path::absolute(&args.dir.dir)?;
    let network = if dir.join("network.json").is_file() {
        anyhow::ensure!(
            args.builders.is_empty() && !args.peer_chaincodedev,
            "there is a network in {} already: edit `chaincode` in core.yaml of its peers, or delete it \
             by `consilium network down --clean`",
            dir.display()
        );
        Network::load(&dir)?
    } else {
        let mut network = if args.health {
            Network::health(&dir, args.free_ports)?
        } else {
            Network::standard(&dir, args.free_ports)?
        };
        network.development = args.peer_chaincodedev;
        for builder in &args.builders {
            network.builders.push(std::path::absolute(builder)?);
        }
        check_ports(&network.organizations)?;
        network.save()?;
        network
    };
    let steps = Steps::new(6);
    let step = |text: &str| steps.step(text);

    step("starting the certificate authorities");
    for organization in &network.organizations {
        start_ca(&network, organization)?;
    }
    step("enrolling nodes and users");
    futures_util::future::try_join_all(
        network
            .organizations
            .iter()
            .map(|organization| enroll(&network, organization)),
    )
    .await?;
    step("making the channel's genesis block");
    let genesis = if network.genesis_path().is_file() {
        fs::read(network.genesis_path())?.into()
    } else {
        genesis::write(&network)?
    };
    step("starting orderers and peers");
    for organization in &network.organizations {
        if organization.has_orderer {
            start_orderer(&network, organization)?;
        }
        start_peer(&network, organization)?;
    }
    for organization in network.orderers() {
        join_orderer(&network, organization, &genesis).await?;
    }
    for organization in &network.organizations {
        join_peer(&network, organization, &genesis).await?;
    }
    step("deploying the contracts");
    let consortium = Consortium::of_network(&network).await?;
    // At once, so that what each of them has to be approved for shares blocks.
    futures_util::future::try_join_all(
        deploy::contracts(&network)
            .iter()
            .map(|(name, deployment)| deploy::contract(&consortium, name, deployment)),
    )
    .await?;
    for organization in &network.organizations {
        if organization.has_gateway {
            start_gateway(&network, organization).await?;
        }
    }
    step("the network is up");
    steps.finish();
    println!("{}", topology(&network));
    println!("{}", next_steps(&network));
    Ok(network)
}

/// `consilium network down`.
///
/// # Errors
/// There is no network in the folder, or a process cannot be stopped.
pub fn down(args: &NetworkDown) -> anyhow::Result<()> {
    let network = Network::load(&args.dir.dir)?;
    let mut stopped = 0;
    for process in processes(&network) {
        stopped += usize::from(process.stop("TERM")?);
    }
    println!("stopped {stopped} processes");
    if args.clean {
        fs::remove_dir_all(&network.dir)
            .with_context(|| format!("cannot delete {}", network.dir.display()))?;
        println!("deleted {}", network.dir.display());
    }
    Ok(())
}

/// `consilium network deploy`.
///
/// # Errors
/// There is no network in the folder, or as [`contract::deploy`].
pub async fn deploy(args: &NetworkDeploy) -> anyhow::Result<()> {
    let network = Network::load(&args.dir.dir)?;
    let consortium = Consortium::of_network(&network).await?;
    contract::deploy(&consortium, &args.program).await
}

/// `consilium network status`.
///
/// # Errors
/// There is no network in the folder.
pub async fn status(args: &NetworkDir) -> anyhow::Result<()> {
    let network = Network::load(&args.dir)?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "node",
        "process",
        "address",
        "height",
        "newest block",
        "certificates until",
    ]);
    let mut healthy = true;
    for organization in &network.organizations {
        let [ca, orderer, peer] = nodes(&network, organization);
        let until = ends(&[network.ca_dir(organization).join("ca-cert.pem")]);
        table.add_row(row(&ca, &organization.ca_url(), "", "", until));
        if organization.has_orderer {
            let height = match channel_info(&network, organization).await {
                Ok(Some(info)) => {
                    healthy &= info.status == "active";
                    format!("{} ({})", info.height, info.status)
                }
                Ok(None) => {
                    healthy = false;
                    "not joined".into()
                }
                Err(_) => {
                    healthy = false;
                    "no answer".into()
                }
            };
            let until = ends(&node_certificates(&network.orderer_dir(organization)));
            let address = organization.orderer_endpoint();
            table.add_row(row(&orderer, &address, &height, "", until));
        }
        let (height, hash) = match peer_info(&network, organization).await {
            Ok(info) => (
                info.height.to_string(),
                hex::encode(&info.current_block_hash)
                    .chars()
                    .take(16)
                    .collect(),
            ),
            Err(_) => ("no answer".to_owned(), String::new()),
        };
        healthy &= height.parse::<u64>().is_ok();
        let until = ends(&node_certificates(&network.peer_dir(organization)));
        let address = organization.peer_endpoint();
        table.add_row(row(&peer, &address, &height, &hash, until));
        if organization.has_gateway {
            let gateway = gateway(&network, organization);
            healthy &= gateway.pid().is_some();
            let until = ends(&[network.gateway_dir(organization).join("tls/server.crt")]);
            let address = organization.gateway_url();
            table.add_row(row(&gateway, &address, "", "", until));
        }
    }
    println!("channel {} in {}", network.channel, network.dir.display());
    println!("{table}");
    anyhow::ensure!(healthy, "not every node answers");
    Ok(())
}

/// The signing and the TLS certificate of a node.
fn node_certificates(dir: &Path) -> [PathBuf; 2] {
    [
        dir.join("msp/signcerts/cert.pem"),
        dir.join("tls/server.crt"),
    ]
}

/// When the first of these certificates ends.
fn ends(files: &[PathBuf]) -> String {
    let dates = files.iter().filter_map(|file| {
        let certificate = Certificate::from_pem(&fs::read(file).ok()?).ok()?;
        Some(certificate.not_after())
    });
    dates.min().map_or_else(
        || "missing".to_owned(),
        |first| certificates::until(first, certificates::now()),
    )
}

fn row(process: &Process, address: &str, height: &str, hash: &str, until: String) -> [String; 6] {
    [
        process.name.clone(),
        process
            .pid()
            .map_or_else(|| "stopped".into(), |pid| pid.to_string()),
        address.to_owned(),
        height.to_owned(),
        hash.to_owned(),
        until,
    ]
}

/// Height and newest block hash of an organization's peer.
///
/// # Errors
/// It does not answer.
pub async fn peer_info(
    network: &Network,
    organization: &Organization,
) -> anyhow::Result<consilium_proto::common::BlockchainInfo> {
    let target = target_of(network, &format!("{}/Admin", organization.name))?;
    let admin = consilium_client::Admin::new(target.connect().await?, target.signer);
    Ok(admin.chain_info(&network.channel).await?)
}

/// An orderer's view of the channel.
///
/// # Errors
/// It does not answer.
pub async fn channel_info(
    network: &Network,
    organization: &Organization,
) -> anyhow::Result<Option<participation::ChannelInfo>> {
    let tls = network.user_dir(organization, "Admin").join("tls");
    Participation::new(organization.ports.orderer_admin, &tls)?
        .channel(&network.channel)
        .await
}

/// Names and process ids of the orderers and peers of the network in `dir` that run.
///
/// # Errors
/// There is no network in the folder.
pub fn running(dir: &Path) -> anyhow::Result<Vec<(String, u32)>> {
    let network = Network::load(dir)?;
    Ok(network
        .organizations
        .iter()
        .flat_map(|organization| {
            let [_, orderer, peer] = nodes(&network, organization);
            [orderer, peer]
        })
        .filter_map(|process| Some((process.name.clone(), process.pid()?)))
        .collect())
}

/// CA, orderer and peer of an organization.
pub fn nodes(network: &Network, organization: &Organization) -> [Process; 3] {
    ["ca", "orderer0", "peer0"]
        .map(|kind| Process::new(&network.dir, &format!("{kind}.{}", organization.domain)))
}

/// The gateway of an organization.
fn gateway(network: &Network, organization: &Organization) -> Process {
    Process::new(&network.dir, &format!("gateway0.{}", organization.domain))
}

fn processes(network: &Network) -> Vec<Process> {
    let mut all: Vec<_> = network
        .organizations
        .iter()
        .flat_map(|organization| {
            let gateway = organization
                .has_gateway
                .then(|| gateway(network, organization));
            nodes(network, organization).into_iter().chain(gateway)
        })
        .collect();
    // Gateways and peers first, CAs last: whoever depends on others goes first.
    all.sort_by_key(|process| match process.name.split('.').next() {
        Some("gateway0" | "peer0") => 0,
        Some("orderer0") => 1,
        _ => 2,
    });
    all
}

fn start_ca(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    let home = network.ca_dir(organization);
    fs::create_dir_all(&home)?;
    let secret = home.join("registrar.secret");
    if !secret.is_file() {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&secret)?;
        std::io::Write::write_all(
            &mut file,
            format!("{:032x}", rand::random::<u128>()).as_bytes(),
        )?;
    }
    let [ca, ..] = nodes(network, organization);
    ca.start(&[
        "ca".into(),
        "start".into(),
        "--home".into(),
        home.display().to_string(),
        "--name".into(),
        format!("ca-{}", organization.name),
        "--organization".into(),
        organization.domain.clone(),
        "--listen".into(),
        format!("127.0.0.1:{}", organization.ports.ca),
        "--admin".into(),
        enroll::REGISTRAR.into(),
        "--admin-secret-file".into(),
        secret.display().to_string(),
    ])?;
    Ok(())
}

/// Enrols what is missing of an organization's nodes and users.
async fn enroll(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    let result = async {
        let registrar = Registrar::connect(network, organization).await?;
        registrar.write_organization_msp()?;
        let orderer = network.orderer_dir(organization);
        if organization.has_orderer && !orderer.join("orderer.yaml").is_file() {
            registrar.node(&orderer, "orderer0", "orderer").await?;
            files::write_orderer(network, organization)?;
        }
        let peer = network.peer_dir(organization);
        if !peer.join("core.yaml").is_file() {
            registrar.node(&peer, "peer0", "peer").await?;
            files::write_peer(network, organization)?;
        }
        let gateway = network.gateway_dir(organization);
        if organization.has_gateway && !gateway.join("gateway.yaml").is_file() {
            registrar.node(&gateway, "gateway0", "client").await?;
            let role = [("hc.role", "records")];
            registrar.user(files::KEY_SERVICE, "client", &role).await?;
            files::write_gateway(network, organization)?;
        }
        registrar.user("Admin", "admin", &[]).await?;
        registrar.user("User1", "client", &[]).await?;
        anyhow::Ok(())
    };
    let [ca, ..] = nodes(network, organization);
    result
        .await
        .with_context(|| explain(&ca, &format!("cannot enrol {}", organization.name)))
}

/// Starts an organization's orderer, if it does not run.
///
/// # Errors
/// The process cannot be started.
pub fn start_orderer(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    let config = network.orderer_dir(organization).join("orderer.yaml");
    let [_, orderer, _] = nodes(network, organization);
    orderer.start(&[
        "orderer".into(),
        "start".into(),
        "--config".into(),
        config.display().to_string(),
    ])?;
    Ok(())
}

/// Starts an organization's peer, if it does not run.
///
/// # Errors
/// The process cannot be started.
pub fn start_peer(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    let config = network.peer_dir(organization).join("core.yaml");
    let [_, _, peer] = nodes(network, organization);
    peer.start(&[
        "peer".into(),
        "start".into(),
        "--config".into(),
        config.display().to_string(),
    ])?;
    Ok(())
}

/// Starts an organization's gateway, if it does not run, and waits until it listens.
async fn start_gateway(network: &Network, organization: &Organization) -> anyhow::Result<()> {
    // Made once, before the first of them could.
    crate::rest::make_secret(&network.pseudonym_key())?;
    let config = network.gateway_dir(organization).join("gateway.yaml");
    let process = gateway(network, organization);
    process.start(&[
        "gateway".into(),
        "start".into(),
        "--config".into(),
        config.display().to_string(),
    ])?;
    let address = ("127.0.0.1", organization.ports.gateway);
    alive(&process, "the gateway to listen", || async {
        Ok(tokio::net::TcpStream::connect(address)
            .await
            .map(|_| true)?)
    })
    .await
}

async fn join_orderer(
    network: &Network,
    organization: &Organization,
    genesis: &[u8],
) -> anyhow::Result<()> {
    let [_, process, _] = nodes(network, organization);
    let tls = network.user_dir(organization, "Admin").join("tls");
    let rest = Participation::new(organization.ports.orderer_admin, &tls)?;
    alive(&process, "the orderer to answer", || async {
        rest.channel(&network.channel).await.map(|_| true)
    })
    .await?;
    if rest.channel(&network.channel).await?.is_none() {
        rest.join(genesis)
            .await
            .with_context(|| explain(&process, "the orderer cannot join the channel"))?;
    }
    Ok(())
}

async fn join_peer(
    network: &Network,
    organization: &Organization,
    genesis: &bytes::Bytes,
) -> anyhow::Result<()> {
    let [.., process] = nodes(network, organization);
    let target = target_of(network, &format!("{}/Admin", organization.name))?;
    alive(&process, "the peer to answer", || async {
        target.connect().await.map(|_| true)
    })
    .await?;
    let admin = consilium_client::Admin::new(target.connect().await?, target.signer);
    if admin.chain_info(&network.channel).await.is_ok() {
        return Ok(());
    }
    admin
        .join(genesis.clone())
        .await
        .with_context(|| explain(&process, "the peer cannot join the channel"))
}

/// Waits up to a minute for `check`; fails early when the process dies.
async fn alive<F, Fut>(process: &Process, what: &str, check: F) -> anyhow::Result<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = anyhow::Result<bool>>,
{
    eventually(what, || async {
        match check().await {
            Ok(done) => Ok(done),
            Err(error) if process.pid().is_none() => {
                Err(error.context(explain(process, "the process ended")))
            }
            Err(_) => Ok(false),
        }
    })
    .await
    .with_context(|| explain(process, "the node did not start"))
}

/// Asks every 50 ms, for up to a minute, until `check` says true.
///
/// # Errors
/// What `check` answered, or that the minute is over.
pub async fn eventually<F, Fut>(what: &str, check: F) -> anyhow::Result<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = anyhow::Result<bool>>,
{
    for _ in 0..1200 {
        if check().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("waited a minute in vain for {what}")
}

fn explain(process: &Process, what: &str) -> String {
    format!(
        "{what}; end of {}:\n{}",
        process.log_file().display(),
        process.log_tail(12)
    )
}

fn check_ports(organizations: &[Organization]) -> anyhow::Result<()> {
    for organization in organizations {
        for port in organization.ports.all() {
            std::net::TcpListener::bind(("127.0.0.1", port)).with_context(|| {
                format!(
                    "port {port} on 127.0.0.1 is taken; stop what uses it (another network? \
                     `consilium network down --dir …`), or take other ports with --free-ports"
                )
            })?;
        }
    }
    Ok(())
}

/// The nodes as a table.
pub fn topology(network: &Network) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let has_gateways = network
        .organizations
        .iter()
        .any(|member| member.has_gateway);
    let mut header = vec!["organization", "MSP", "peer", "orderer", "CA"];
    if has_gateways {
        header.push("FHIR and console");
    }
    table.set_header(header);
    for organization in &network.organizations {
        let mut row = vec![
            organization.title.clone(),
            organization.msp_id.clone(),
            organization.peer_endpoint(),
            if organization.has_orderer {
                organization.orderer_endpoint()
            } else {
                String::new()
            },
            organization.ca_url(),
        ];
        if has_gateways {
            row.push(organization.gateway_url());
        }
        table.add_row(row);
    }
    table
}

fn next_steps(network: &Network) -> String {
    let dir = network.dir.display();
    format!(
        "channel {}, files in {dir}\n\
         \n  consilium network status --dir {dir}\
         \n  consilium invoke --network {dir} kv put color blue\
         \n  consilium query --network {dir} kv get color\
         \n  consilium network down --dir {dir} --clean",
        network.channel
    )
}
