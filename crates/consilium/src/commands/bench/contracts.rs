//! The same calls of several chaincodes: what running one as a service costs, and what the gateway
//! costs.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use comfy_table::{Table, presets};
use consilium_client::{Admin, Call, Gateway};
use serde::Serialize;

use super::load::{Load, Measured, payload};
use crate::{
    commands::connect::{ConnectArgs, Target},
    network,
};

/// Latencies of the ways to call are measured in turn, so that whatever else the machine does meets
/// all of them.
const TURNS: u32 = 5;

/// The key that is read.
const KEY: &str = "bench-check";

/// What to measure.
#[derive(Debug, Args)]
pub struct ContractsArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Chaincodes on the channel with `put KEY VALUE` and `get KEY`; the others are compared with
    /// the first.
    #[arg(default_values = ["kv"])]
    chaincodes: Vec<String>,
    /// Concurrent clients where calls per second are measured.
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// Connections that the clients share.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// How long each measurement takes; there are five per chaincode.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long to run before each.
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    warmup: Duration,
    /// Bytes of the value that is written and read.
    #[arg(long, default_value_t = 100)]
    payload: usize,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What is called, and how.
#[derive(Clone, Copy)]
enum Way {
    /// A proposal of `get` to the endorser of the peer.
    Endorser,
    /// `get`, by the gateway of the same peer.
    Evaluate,
    /// `put`, by the gateway, until it is committed.
    Submit,
}

/// What came out for one chaincode. Latencies are medians in milliseconds with one client.
#[derive(Debug, Serialize)]
struct Row {
    chaincode: String,
    endorser_ms: f64,
    evaluate_ms: f64,
    submit_ms: f64,
    evaluations_per_second: f64,
    transactions_per_second: f64,
    cpu_ms_per_evaluation: f64,
    cpu_ms_per_transaction: f64,
}

struct Bench {
    channel: String,
    gateways: Arc<[Gateway]>,
    endorser: Admin,
    value: Arc<str>,
    processes: Vec<(String, u32)>,
    warmup: Duration,
    duration: Duration,
}

/// Measures and prints.
///
/// # Errors
/// A chaincode does not answer, or a measured call fails.
pub async fn run(args: ContractsArgs) -> anyhow::Result<()> {
    let bench = Bench::new(&args, args.connect.target()?).await?;
    let mut rows = Vec::new();
    for chaincode in &args.chaincodes {
        bench.check(chaincode).await?;
        eprintln!("measuring {chaincode}");
        rows.push(bench.measure(chaincode, args.clients).await?);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{}", table(&rows));
        println!(
            "Latencies are medians with one client, calls per second those of {} clients; CPU is \
             that of the network's nodes, without services.",
            args.clients
        );
    }
    Ok(())
}

impl Bench {
    async fn new(args: &ContractsArgs, target: Target) -> anyhow::Result<Self> {
        let value = payload(args.payload)?;
        let mut gateways = Vec::new();
        for _ in 0..args.connections.max(1) {
            gateways.push(target.gateway().await?);
        }
        let processes = if args.connect.gateway.is_some() {
            Vec::new()
        } else {
            network::running(&args.connect.network)?
        };
        Ok(Self {
            channel: target.channel.clone(),
            gateways: gateways.into(),
            endorser: Admin::new(target.connect().await?, target.signer.clone()),
            value,
            processes,
            warmup: args.warmup,
            duration: args.duration,
        })
    }

    /// One call of each kind before the load, so that a wrong name is one clear error.
    async fn check(&self, chaincode: &str) -> anyhow::Result<()> {
        let put = Call::new(chaincode, "put", [KEY, &self.value]);
        // There is at least one.
        let gateway = &self.gateways[0];
        gateway
            .submit(put)
            .await
            .map_err(|error| anyhow::anyhow!("{chaincode} does not take `put {KEY} …`: {error}"))?;
        let get = Call::new(chaincode, "get", [KEY]);
        let value = gateway
            .evaluate(get)
            .await
            .map_err(|error| anyhow::anyhow!("{chaincode} does not take `get {KEY}`: {error}"))?;
        anyhow::ensure!(
            value == self.value.as_bytes(),
            "{chaincode} does not give back what was put"
        );
        Ok(())
    }

    /// Calls per second first, so that a service is warm when latencies are measured.
    async fn measure(&self, chaincode: &str, clients: usize) -> anyhow::Result<Row> {
        let evaluations = self.load(chaincode, Way::Evaluate, clients, 1).await?;
        let transactions = self.load(chaincode, Way::Submit, clients, 1).await?;
        let [mut endorser, mut evaluate, mut submit] = [const { Vec::new() }; 3];
        for _ in 0..TURNS {
            endorser.push(self.load(chaincode, Way::Endorser, 1, TURNS).await?);
            evaluate.push(self.load(chaincode, Way::Evaluate, 1, TURNS).await?);
            submit.push(self.load(chaincode, Way::Submit, 1, TURNS).await?);
        }
        let [endorser, evaluate, submit] = [endorser, evaluate, submit].map(together);
        let seconds = self.duration.as_secs_f64();
        Ok(Row {
            chaincode: chaincode.to_owned(),
            endorser_ms: endorser?.millis(0.5),
            evaluate_ms: evaluate?.millis(0.5),
            submit_ms: submit?.millis(0.5),
            evaluations_per_second: evaluations.done as f64 / seconds,
            transactions_per_second: transactions.done as f64 / seconds,
            cpu_ms_per_evaluation: evaluations.cpu_millis(),
            cpu_ms_per_transaction: transactions.cpu_millis(),
        })
    }

    /// One of `turns` parts of a measurement.
    async fn load(
        &self,
        chaincode: &str,
        way: Way,
        clients: usize,
        turns: u32,
    ) -> anyhow::Result<Measured> {
        let load = Load {
            clients,
            rate: 0,
            warmup: self.warmup / turns,
            duration: self.duration / turns,
        };
        let (gateways, endorser) = (self.gateways.clone(), self.endorser.clone());
        let (channel, chaincode): (Arc<str>, Arc<str>) =
            (self.channel.as_str().into(), chaincode.into());
        let (value, run) = (self.value.clone(), rand::random::<u32>());
        let name = chaincode.clone();
        let running = load.start(move |client, count| {
            let gateway = gateways[client % gateways.len()].clone();
            let (endorser, channel, chaincode) =
                (endorser.clone(), channel.clone(), chaincode.clone());
            let value = value.clone();
            async move {
                match way {
                    Way::Endorser => {
                        let args = [&b"get"[..], KEY.as_bytes()]
                            .map(Bytes::from_static)
                            .to_vec();
                        endorser.query(&channel, &chaincode, args).await.map(drop)
                    }
                    Way::Evaluate => {
                        let call = Call::new(&chaincode, "get", [KEY]);
                        gateway.evaluate(call).await.map(drop)
                    }
                    Way::Submit => {
                        let key = format!("{run:08x}-{client}-{count}");
                        let call = Call::new(&chaincode, "put", [key.as_str(), &value]);
                        gateway.submit(call).await.map(drop)
                    }
                }
            }
        })?;
        let measured = running.finish(&self.processes).await?;
        if let Some((error, count)) = measured.errors.first_key_value() {
            anyhow::bail!("{name}: {count} calls failed: {error}");
        }
        Ok(measured)
    }
}

/// What several parts came to.
fn together(parts: Vec<Measured>) -> anyhow::Result<Measured> {
    let mut parts = parts.into_iter();
    let first = parts.next().context("nothing was measured")?;
    let measured = parts.try_fold(first, Measured::and)?;
    anyhow::ensure!(measured.done > 0, "no call ended in time");
    Ok(measured)
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "chaincode",
        "endorser ms",
        "its service ms",
        "gateway ms",
        "evaluate ms",
        "submit ms",
        "evaluations/s",
        "CPU ms",
        "transactions/s",
        "CPU ms",
    ]);
    for row in rows {
        // What the first one, in the peer itself, does not have.
        let service = rows
            .first()
            .map_or(0.0, |first| row.endorser_ms - first.endorser_ms);
        table.add_row([
            row.chaincode.clone(),
            format!("{:.2}", row.endorser_ms),
            format!("{service:+.2}"),
            format!("{:+.2}", row.evaluate_ms - row.endorser_ms),
            format!("{:.2}", row.evaluate_ms),
            format!("{:.2}", row.submit_ms),
            format!("{:.0}", row.evaluations_per_second),
            format!("{:.2}", row.cpu_ms_per_evaluation),
            format!("{:.0}", row.transactions_per_second),
            format!("{:.2}", row.cpu_ms_per_transaction),
        ]);
    }
    table
}
