//! Load on any Fabric-compatible gateway.

use std::{sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use consilium_client::{Call, Gateway};
use indicatif::{ProgressBar, ProgressStyle};

use super::load::{Load, Measured, Shared, payload};
use crate::commands::connect::{ConnectArgs, Target};

/// What to measure.
#[derive(Debug, Args)]
pub struct LoadArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Concurrent clients.
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// Connections that the clients share.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Most transactions per second over all clients; 0 is as many as possible.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// How long to measure.
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long to run before measuring.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    warmup: Duration,
    /// Bytes of the value that each transaction writes.
    #[arg(long, default_value_t = 100)]
    payload: usize,
    /// Submit transactions and wait for the commit, or evaluate only.
    #[arg(long, value_enum, default_value_t = Mode::Submit)]
    mode: Mode,
    /// Chaincode; it must have `put KEY VALUE` and `get KEY`.
    #[arg(long, default_value = "kv")]
    chaincode: String,
    /// Function to submit.
    #[arg(long, default_value = "put")]
    put: String,
    /// Function to evaluate.
    #[arg(long, default_value = "get")]
    get: String,
    /// Process whose CPU and memory to report; repeat for more. For a local network, its nodes.
    #[arg(long = "pid")]
    pids: Vec<u32>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Submit,
    Evaluate,
}

/// Runs the load and prints throughput, latency, errors and the cost per process.
///
/// # Errors
/// The gateway cannot be reached, or not one call succeeded.
pub async fn run(args: LoadArgs) -> anyhow::Result<()> {
    let value = payload(args.payload)?;
    let target = args.connect.target()?;
    let processes = processes(&args)?;
    let mut gateways = Vec::new();
    for _ in 0..args.connections.max(1) {
        gateways.push(target.gateway().await?);
    }
    // There is at least one.
    check(&gateways[0], &args, &target).await?;

    let load = Load {
        clients: args.clients,
        rate: args.rate,
        warmup: args.warmup,
        duration: args.duration,
    };
    let run_id = format!("{:08x}", rand::random::<u32>());
    let (mode, gateways): (_, Arc<[Gateway]>) = (args.mode, gateways.into());
    let names: Arc<[String; 3]> =
        [args.chaincode.clone(), args.put.clone(), args.get.clone()].into();
    let running = load.start(move |client, count| {
        let gateway = gateways[client % gateways.len()].clone();
        let (names, value) = (names.clone(), value.clone());
        let key = format!("{run_id}-{client}-{count}");
        async move {
            let [chaincode, put, get] = &*names;
            match mode {
                Mode::Submit => {
                    let call = Call::new(chaincode, put, [key.as_str(), &value]);
                    gateway.submit(call).await.map(drop)
                }
                Mode::Evaluate => {
                    let call = Call::new(chaincode, get, ["bench-check"]);
                    gateway.evaluate(call).await.map(drop)
                }
            }
        }
    })?;
    let bar = progress(&args, running.shared());
    let measured = running.finish(&processes).await;
    bar.abort();
    report(&args, &measured?)
}

/// One call before the load starts, so that a wrong name is one clear error and not thousands.
async fn check(gateway: &Gateway, args: &LoadArgs, target: &Target) -> anyhow::Result<()> {
    let put = Call::new(&args.chaincode, &args.put, ["bench-check", "1"]);
    gateway.submit(put).await.map_err(|error| {
        anyhow::anyhow!(
            "the gateway at {} does not take `{} {}`: {error}",
            target.endpoint,
            args.chaincode,
            args.put
        )
    })?;
    Ok(())
}

fn progress(args: &LoadArgs, shared: &Arc<Shared>) -> tokio::task::JoinHandle<()> {
    let total = args.warmup + args.duration;
    let bar = ProgressBar::new(u64::try_from(total.as_millis()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3}% {msg}") {
        bar.set_style(style);
    }
    let shared = shared.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tick.tick().await;
            let elapsed = shared.elapsed();
            bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
            let (done, errors, seconds) = shared.counts();
            bar.set_message(format!(
                "{done} done, {:.0}/s, {errors} errors",
                done as f64 / seconds
            ));
            if elapsed > total {
                bar.finish_and_clear();
                return;
            }
        }
    })
}

/// Processes to account for: those named, else the nodes of the local network.
fn processes(args: &LoadArgs) -> anyhow::Result<Vec<(String, u32)>> {
    if !args.pids.is_empty() || args.connect.gateway.is_some() {
        return Ok(args
            .pids
            .iter()
            .map(|pid| (format!("process {pid}"), *pid))
            .collect());
    }
    crate::network::running(&args.connect.network)
}

fn report(args: &LoadArgs, measured: &Measured) -> anyhow::Result<()> {
    let Measured {
        latencies,
        errors,
        done,
        costs,
    } = measured;
    let done = *done;
    let seconds = args.duration.as_secs_f64();
    let millis = |quantile| measured.millis(quantile);
    let cpu: f64 = costs.iter().map(|(_, cpu, _)| cpu).sum();
    let per_transaction = measured.cpu_millis();
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({
                "mode": format!("{:?}", args.mode).to_lowercase(),
                "clients": args.clients,
                "payload_bytes": args.payload,
                "seconds": seconds,
                "succeeded": done,
                "per_second": done as f64 / seconds,
                "latency_ms": {
                    "p50": millis(0.5), "p95": millis(0.95), "p99": millis(0.99),
                    "max": latencies.max() as f64 / 1000.0,
                },
                "errors": errors,
                "cpu_ms_per_transaction": per_transaction,
                "processes": costs.iter().map(|(name, cpu, memory)| serde_json::json!({
                    "name": name, "cpu_seconds": cpu, "resident_mb": *memory as f64 / 1e6,
                })).collect::<Vec<_>>(),
            }))?
        );
    } else {
        println!(
            "{} clients, {} byte values, {seconds:.0} s: {:.0} {} per second ({done} in all)",
            args.clients,
            args.payload,
            done as f64 / seconds,
            match args.mode {
                Mode::Submit => "committed transactions",
                Mode::Evaluate => "evaluations",
            }
        );
        println!(
            "latency: p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            millis(0.5),
            millis(0.95),
            millis(0.99),
            latencies.max() as f64 / 1000.0
        );
        println!("errors: {}", errors.values().sum::<u64>());
        for (kind, count) in errors.iter() {
            println!("  {count} x {kind}");
        }
        if !costs.is_empty() {
            let mut table = Table::new();
            table.load_style(presets::UTF8_BORDERS_ONLY);
            table.set_header(["process", "CPU s", "CPU ms per transaction", "memory MB"]);
            for (name, cpu, memory) in costs {
                table.add_row([
                    (*name).clone(),
                    format!("{cpu:.1}"),
                    format!("{:.3}", cpu * 1000.0 / done.max(1) as f64),
                    format!("{:.0}", *memory as f64 / 1e6),
                ]);
            }
            table.add_row([
                "all".to_owned(),
                format!("{cpu:.1}"),
                format!("{per_transaction:.3}"),
                String::new(),
            ]);
            println!("{table}");
        }
    }
    anyhow::ensure!(done > 0, "not one call succeeded");
    Ok(())
}
