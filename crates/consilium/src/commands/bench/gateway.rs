//! Load on any Fabric-compatible gateway.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use consilium_client::{Call, ClientError, Gateway};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use crate::commands::connect::{ConnectArgs, Target};

/// Latencies are counted in microseconds up to ten minutes.
const LONGEST: u64 = 600_000_000;

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

struct Shared {
    latencies: Mutex<Histogram<u64>>,
    errors: Mutex<std::collections::BTreeMap<String, u64>>,
    done: AtomicU64,
    sequence: AtomicU64,
    measure_from: Instant,
    stop_at: Instant,
    start: Instant,
    rate: u64,
}

/// Runs the load and prints throughput, latency, errors and the cost per process.
///
/// # Errors
/// The gateway cannot be reached, or not one call succeeded.
pub async fn run(args: LoadArgs) -> anyhow::Result<()> {
    let target = args.connect.target()?;
    let processes = processes(&args)?;
    let mut gateways = Vec::new();
    for _ in 0..args.connections.max(1) {
        gateways.push(target.gateway().await?);
    }
    check(&gateways[0], &args, &target).await?;

    let start = Instant::now();
    let shared = Arc::new(Shared {
        latencies: Mutex::new(Histogram::new_with_bounds(1, LONGEST, 3)?),
        errors: Mutex::default(),
        done: AtomicU64::new(0),
        sequence: AtomicU64::new(0),
        measure_from: start + args.warmup,
        stop_at: start + args.warmup + args.duration,
        start,
        rate: args.rate,
    });
    let run_id = format!("{:08x}", rand::random::<u32>());
    let value: Arc<str> = "x".repeat(args.payload).into();
    let tasks: Vec<_> = (0..args.clients)
        .map(|client| {
            tokio::spawn(drive(
                gateways[client % gateways.len()].clone(),
                shared.clone(),
                args.mode,
                [args.chaincode.clone(), args.put.clone(), args.get.clone()],
                format!("{run_id}-{client}"),
                value.clone(),
            ))
        })
        .collect();
    let bar = progress(&args, &shared);
    tokio::time::sleep_until(shared.measure_from.into()).await;
    let before: Vec<_> = processes.iter().map(|(_, pid)| usage(*pid)).collect();
    tokio::time::sleep_until(shared.stop_at.into()).await;
    let after: Vec<_> = processes.iter().map(|(_, pid)| usage(*pid)).collect();
    for task in tasks {
        let _ = task.await;
    }
    bar.abort();
    report(&args, &shared, &processes, &before, &after)
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

async fn drive(
    gateway: Gateway,
    shared: Arc<Shared>,
    mode: Mode,
    [chaincode, put, get]: [String; 3],
    prefix: String,
    value: Arc<str>,
) {
    let mut count = 0u64;
    loop {
        if shared.rate > 0 {
            let slot = shared.sequence.fetch_add(1, Ordering::Relaxed);
            let due = shared.start + Duration::from_secs_f64(slot as f64 / shared.rate as f64);
            tokio::time::sleep_until(due.into()).await;
        }
        let began = Instant::now();
        if began >= shared.stop_at {
            return;
        }
        let outcome = match mode {
            Mode::Submit => {
                let key = format!("{prefix}-{count}");
                gateway
                    .submit(Call::new(&chaincode, &put, [key.as_str(), &value]))
                    .await
                    .map(drop)
            }
            Mode::Evaluate => gateway
                .evaluate(Call::new(&chaincode, &get, ["bench-check"]))
                .await
                .map(drop),
        };
        count += 1;
        let ended = Instant::now();
        if began < shared.measure_from || ended > shared.stop_at {
            continue;
        }
        match outcome {
            Ok(()) => {
                let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                // Values beyond the histogram's range are counted at its end.
                shared.latencies.lock().saturating_record(micros);
                shared.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                *shared.errors.lock().entry(kind(&error)).or_default() += 1;
                // A refused client would otherwise spin.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn kind(error: &ClientError) -> String {
    match error {
        ClientError::Refused {
            step,
            code,
            message,
            details,
        } => match details.first() {
            Some(detail) => format!(
                "{step:?}: {code:?} {message}; {}: {}",
                detail.msp_id, detail.message
            ),
            None => format!("{step:?}: {code:?} {message}"),
        },
        ClientError::Invalid { code, .. } => code.as_str_name().to_owned(),
        other => other.to_string(),
    }
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
            let elapsed = shared.start.elapsed();
            bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
            let measured = shared.measure_from.elapsed().as_secs_f64().max(0.001);
            let done = shared.done.load(Ordering::Relaxed);
            let errors: u64 = shared.errors.lock().values().sum();
            bar.set_message(format!(
                "{done} done, {:.0}/s, {errors} errors",
                done as f64 / measured
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

/// CPU seconds and resident bytes of a process, from proc(5).
fn usage(pid: u32) -> Option<(f64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &stat[stat.rfind(')')? + 2..];
    let fields: Vec<_> = rest.split(' ').collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .ok()?;
    // The unit of these fields is 1/100 s on every Linux that Rust supports.
    Some((ticks as f64 / 100.0, resident * 1024))
}

fn report(
    args: &LoadArgs,
    shared: &Shared,
    processes: &[(String, u32)],
    before: &[Option<(f64, u64)>],
    after: &[Option<(f64, u64)>],
) -> anyhow::Result<()> {
    let latencies = shared.latencies.lock();
    let errors = shared.errors.lock();
    let done = shared.done.load(Ordering::Relaxed);
    let seconds = args.duration.as_secs_f64();
    let millis = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    let costs: Vec<_> = processes
        .iter()
        .zip(before.iter().zip(after))
        .filter_map(|((name, _), (before, after))| {
            let (before, after) = ((*before)?, (*after)?);
            Some((name, after.0 - before.0, after.1))
        })
        .collect();
    let cpu: f64 = costs.iter().map(|(_, cpu, _)| cpu).sum();
    let per_transaction = cpu * 1000.0 / done.max(1) as f64;
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
                "errors": *errors,
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
            for (name, cpu, memory) in &costs {
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
