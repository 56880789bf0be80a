//! `consilium demo`: real health data through a real consortium, with refusals and a dead leader.

mod devices;
mod population;
mod records;
mod stage;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use comfy_table::{Table, presets};
use consilium_client::{Admin, Gateway};
use consilium_proto::{common, protos::TxValidationCode};
use consilium_protocol::block;
use records::Vault;
use stage::Stage;

use crate::{
    cli::{NetworkDir, NetworkDown, NetworkUp},
    commands::connect::target_of,
    network::{self, Network, Organization, Process},
};

/// Options of the demo.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the network lives; it is started when it does not run.
    #[command(flatten)]
    dir: NetworkDir,
    /// Folder with FHIR R4 resources as NDJSON, a file per type.
    #[arg(long)]
    data: PathBuf,
    /// Patients to load.
    #[arg(long, default_value_t = 200)]
    patients: usize,
    /// Begin with a new network, deleting the old one.
    #[arg(long)]
    fresh: bool,
    /// Stop the network at the end.
    #[arg(long)]
    once: bool,
    /// Take any free ports.
    #[arg(long)]
    free_ports: bool,
}

/// Starts the network, runs the stories, kills the leader in between and compares the peers.
///
/// # Errors
/// Any outcome that the story does not expect.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let population = population::read(&args.data, args.patients)?;
    ensure!(
        population.patients.len() >= args.patients,
        "{} has {} patients with documents, {} are needed",
        args.data.display(),
        population.patients.len(),
        args.patients
    );
    if args.fresh && args.dir.dir.join("network.json").is_file() {
        network::down(&NetworkDown {
            dir: args.dir.clone(),
            clean: true,
        })?;
    }
    println!("Consilium: eight organizations, one ledger\n");
    let network = network::up(NetworkUp {
        dir: args.dir.clone(),
        free_ports: args.free_ports,
        health: true,
        builders: Vec::new(),
        peer_chaincodedev: false,
    })
    .await?;
    let outcome = perform(&network, &population).await;
    if args.once {
        network::down(&NetworkDown {
            dir: args.dir,
            clean: false,
        })?;
    }
    outcome?;
    if !args.once {
        let dir = network.dir.display();
        println!(
            "The network goes on running. Next:\n\
             \n  consilium network status --dir {dir}\
             \n  consilium events --network {dir} devices --from 0 --count 5\
             \n  consilium bench --network {dir} --clients 50\
             \n  consilium network down --dir {dir} --clean\
             \n\nThe program is target/debug/consilium; README.md has a first application in Node."
        );
    }
    Ok(())
}

async fn perform(network: &Network, population: &population::Population) -> anyhow::Result<()> {
    let documents: usize = population
        .patients
        .iter()
        .map(|patient| patient.documents.len())
        .sum();
    let read: Vec<_> = population
        .resources
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    println!("health data: {}", read.join(", "));
    println!(
        "loading {} patients with {documents} documents, encrypted per patient; the ledger gets \
         fingerprints\n",
        population.patients.len()
    );
    let mut vault = Vault::open(&network.dir.join("vault"))?;
    let filled = vault.fill(population)?;
    let (patients, batches): (Vec<_>, Vec<_>) = filled.into_iter().unzip();
    let protagonist = patients
        .iter()
        .find(|patient| {
            ["clinical-note", "lab"]
                .iter()
                .all(|kind| patient.records.iter().any(|record| record.kind == *kind))
        })
        .context("no patient has both a clinical note and laboratory results")?;
    let name = format!("patient-{:06x}", rand::random::<u32>() & 0x00ff_ffff);
    let mut stage = Stage::open(network, &[(&name, &protagonist.sid)]).await?;

    let mut killed = None;
    let load = records::load(stage.gateway("hospital/clerk")?, batches, async || {
        killed = Some(kill_leader(network).await?);
        Ok(())
    })
    .await?;
    let (victim, pid, gap) = killed.context("the leader was not killed")?;
    println!(
        "  {} transactions in {:.1} s, latency p50 {:.1} ms, p95 {:.1} ms, max {:.0} ms",
        load.acknowledged.len(),
        load.elapsed.as_secs_f64(),
        quantile(&load.latencies, 0.5),
        quantile(&load.latencies, 0.95),
        quantile(&load.latencies, 1.0),
    );
    println!(
        "  half-way the Raft leader {victim} (process {pid}) was killed with SIGKILL; a new leader \
         after {:.1} s, {} calls repeated; the killed node runs again",
        gap.as_secs_f64(),
        load.repeated
    );

    records::story(&mut stage, &vault, protagonist, &name).await?;
    stage.end_act("Records: consent, access and refusal");
    let procedures: Vec<_> = patients
        .iter()
        .flat_map(|patient| {
            patient
                .procedures
                .iter()
                .map(|procedure| (procedure.clone(), patient.sid.clone()))
        })
        .take(5)
        .collect();
    ensure!(!procedures.is_empty(), "the data has no procedures");
    devices::story(&mut stage, &procedures).await?;
    stage.end_act("Devices: certification, custody, implants and recall");

    let mut acknowledged = load.acknowledged;
    acknowledged.extend(stage.acknowledged.iter().cloned());
    let (steps, refused) = stage.counts();
    verify(network, &acknowledged, steps, refused).await
}

fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    // An index below the length, and exact for any number of transactions that fits in memory.
    let index = (last as f64 * quantile).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// Kills the process of the Raft leader, waits for another to take over, and starts it again.
async fn kill_leader(network: &Network) -> anyhow::Result<(String, u32, Duration)> {
    let (organization, process) = find_leader(network, None)
        .await?
        .context("there is no Raft leader")?;
    let pid = process.pid().context("the leader's process is gone")?;
    process.stop("KILL")?;
    let since = Instant::now();
    network::eventually("another Raft leader", || async {
        Ok(find_leader(network, Some(&organization.name))
            .await?
            .is_some())
    })
    .await?;
    let gap = since.elapsed();
    network::start_orderer(network, organization)?;
    Ok((process.name.clone(), pid, gap))
}

/// The organization whose orderer says in its metrics that it leads the channel.
async fn find_leader<'a>(
    network: &'a Network,
    except: Option<&str>,
) -> anyhow::Result<Option<(&'a Organization, Process)>> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(2))
        .build()?;
    let wanted = format!("channel=\"{}\"", network.channel);
    for organization in &network.organizations {
        if except == Some(organization.name.as_str()) {
            continue;
        }
        let url = format!(
            "http://127.0.0.1:{}/metrics",
            organization.ports.orderer_operations
        );
        let Ok(response) = http.get(url).send().await else {
            continue;
        };
        let text = response.text().await.unwrap_or_default();
        let leads = text.lines().any(|line| {
            line.starts_with("consensus_etcdraft_is_leader")
                && line.contains(&wanted)
                && line.ends_with(" 1")
        });
        if leads {
            let [_, orderer, _] = network::nodes(network, organization);
            return Ok(Some((organization, orderer)));
        }
    }
    Ok(None)
}

/// Compares the peers and looks for every acknowledged transaction at each of them.
async fn verify(
    network: &Network,
    acknowledged: &[String],
    steps: usize,
    refused: usize,
) -> anyhow::Result<()> {
    let mut peers = Vec::new();
    for organization in &network.organizations {
        let target = target_of(network, &format!("{}/Admin", organization.name))?;
        let connection = target.connect().await?;
        let admin = Admin::new(connection.clone(), target.signer.clone());
        let gateway = Gateway::new(connection, target.signer, &network.channel);
        peers.push((organization, admin, gateway));
    }
    let mut height = 0;
    for (_, admin, _) in &peers {
        height = height.max(admin.chain_info(&network.channel).await?.height);
    }
    for (_, admin, _) in &peers {
        network::eventually("every peer to reach the same height", || async {
            Ok(admin.chain_info(&network.channel).await?.height >= height)
        })
        .await?;
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "peer",
        "height",
        "block hash",
        "state fingerprint",
        "acknowledged transactions",
    ]);
    let mut seen = Vec::new();
    for (organization, admin, gateway) in &peers {
        let mut missing = Vec::new();
        for tx_id in acknowledged {
            let (code, _) = gateway.commit_status(tx_id).await?;
            if code != TxValidationCode::Valid {
                missing.push(tx_id);
            }
        }
        ensure!(
            missing.is_empty(),
            "{} transactions are missing at {}: {missing:?}",
            missing.len(),
            organization.name
        );
        let newest = admin.block(&network.channel, height - 1).await?;
        let hash = hash_of(&newest)?;
        let state = state_fingerprint(organization, &network.channel).await?;
        table.add_row([
            format!("peer0.{}", organization.domain),
            height.to_string(),
            hash[..16].to_owned(),
            state.chars().take(16).collect(),
            format!("{} of {} there", acknowledged.len(), acknowledged.len()),
        ]);
        seen.push((hash, state));
    }
    println!("\nAfter it all\n{table}");
    ensure!(
        seen.windows(2).all(|pair| pair[0] == pair[1]),
        "the peers differ"
    );
    println!(
        "{} blocks; {} acknowledged transactions, none missing at any peer; {steps} steps told, \
         {refused} of them refused by a contract; all peers agree\n",
        height,
        acknowledged.len()
    );
    Ok(())
}

fn hash_of(newest: &common::Block) -> anyhow::Result<String> {
    let header = newest.header.as_ref().context("a block without header")?;
    Ok(hex::encode(block::header_hash(header)))
}

/// Hash over a peer's whole current state, from its operations endpoint.
async fn state_fingerprint(organization: &Organization, channel: &str) -> anyhow::Result<String> {
    let url = format!(
        "http://127.0.0.1:{}/channels/{channel}/state",
        organization.ports.peer_operations
    );
    let answer: serde_json::Value = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    Ok(answer["fingerprint"]
        .as_str()
        .context("no fingerprint in the peer's answer")?
        .to_owned())
}
