//! Replaying a recorded chain through a peer's pipeline, from block files to committed state.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use clap::Args;
use consilium_ledger::{BlockStore, Ledger};
use consilium_peer::{
    BlockFeed, PeerChannel, SIGNATURES_REMEMBERED, SignatureMemory, VerificationPool,
};
use consilium_proto::{common, protos::TxValidationCode};
use consilium_protocol::{block, config::ChannelConfig};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use prost::Message;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    ceiling::{Ceiling, Measured},
    chain::{self, Plan},
    channel::CHAINCODE,
    resources,
};

/// Blocks read ahead, as many as an orderer's stream may bring before they are taken.
const READ_AHEAD: usize = 4;
/// Pause between two point reads: the reader watches latency, it is no load.
const READ_PAUSE: Duration = Duration::from_millis(1);
/// Longest read that is counted as what it is, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// Part of its threads' time that the ceiling has on a machine that does nothing else.
const ALONE: f64 = 0.95;

/// How to replay.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Transactions of the chain: each with its creator's signature and two endorsements, reading
    /// and writing one key.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    transactions: u32,
    /// Transactions of a block.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    block_size: u32,
    /// Folder of the chain: made if there is none, replayed again if there is. By default it is made
    /// for this run only.
    #[arg(long)]
    chain: Option<PathBuf>,
    /// Folder that the peer's ledger is made in for this run; its disk is the one that is measured.
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Threads that verify signatures, in the replay and for the ceiling; all cores by default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// How long the ceiling is measured, before the replay and once more behind it.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    ceiling: Duration,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    transactions: u64,
    /// Those with code VALID, counted in the ledger afterwards.
    valid: u64,
    blocks: u64,
    block_size: u32,
    threads: usize,
    seconds: f64,
    transactions_per_second: f64,
    /// Transactions per second whose three signatures all cores verify with nothing else to do.
    ceiling_per_second: f64,
    ceiling_before: f64,
    ceiling_after: f64,
    percent_of_ceiling: f64,
    /// The same of CPU time instead of time, where other work on the machine takes part of both:
    /// what cores without a pause would reach.
    percent_of_ceiling_by_cpu: Option<f64>,
    cpu_us_per_transaction: Option<f64>,
    /// The same while the ceiling is measured: what of it is signatures.
    ceiling_cpu_us_per_transaction: Option<f64>,
    /// Cores that the ceiling had: fewer than threads where other work ran on the machine.
    ceiling_cores: Option<f64>,
    /// The same by the threads' names: what `commit` takes, no number of cores makes shorter.
    cpu_us_by_thread: BTreeMap<String, f64>,
    peak_memory_bytes: Option<u64>,
    block_file_bytes_per_transaction: f64,
    database_bytes_per_transaction: f64,
    point_reads: u64,
    point_read_us: Latency,
    commit_hash: String,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    max: f64,
}

/// Replays and prints what came out.
///
/// # Errors
/// The chain cannot be made or read, or not all of it was committed as valid.
pub async fn run(args: ReplayArgs) -> anyhow::Result<()> {
    let _logging = crate::telemetry::init("warn")?;
    // A peer that is watched counts, too.
    let _metrics = crate::telemetry::metrics()?;
    let threads = match args.threads {
        Some(threads) => threads as usize,
        None => thread::available_parallelism()?.get(),
    };
    let scratch = match &args.scratch {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            tempfile::tempdir_in(folder)?
        }
        None => tempfile::tempdir()?,
    };
    let plan = Plan::new(args.transactions as usize, args.block_size as usize);
    let folder = match &args.chain {
        Some(folder) => folder.clone(),
        None => scratch.path().join("chain"),
    };
    let recorded =
        tokio::task::spawn_blocking(move || chain::open_or_make(&folder, plan)).await??;

    let ceiling = Arc::new(Ceiling::new(threads)?);
    let before = measure(&ceiling, args.ceiling).await?;
    let ledger = scratch.path().join("ledger");
    resources::forget_peak();
    let cpu = resources::cpu_seconds();
    let replayed = replay(&recorded, &ledger, plan, threads).await?;
    let cpu = resources::cpu_seconds().zip(cpu);
    let peak = resources::peak_memory();
    let after = measure(&ceiling, args.ceiling).await?;

    let transactions = plan.transactions as u64;
    let per_transaction = |part: &str| -> anyhow::Result<f64> {
        let bytes = resources::bytes_below(&ledger.join(part))?;
        Ok(bytes as f64 / transactions as f64)
    };
    let seconds = replayed.elapsed.as_secs_f64();
    let rate = transactions as f64 / seconds;
    let mean = (before.per_second + after.per_second) / 2.0;
    let cpu = cpu.map(|(after, before)| (after - before) * 1e6 / transactions as f64);
    let ceiling_cpu = before.cpu_us.zip(after.cpu_us);
    let ceiling_cpu = ceiling_cpu.map(|(before, after)| (before + after) / 2.0);
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    let reads = &replayed.reads;
    let report = Report {
        transactions,
        valid: replayed.valid,
        blocks: plan.height(),
        block_size: args.block_size,
        threads,
        seconds,
        transactions_per_second: rate,
        ceiling_per_second: mean,
        ceiling_before: before.per_second,
        ceiling_after: after.per_second,
        percent_of_ceiling: 100.0 * rate / mean,
        percent_of_ceiling_by_cpu: cpu.zip(ceiling_cpu).map(|(cpu, least)| 100.0 * least / cpu),
        cpu_us_per_transaction: cpu,
        ceiling_cores: ceiling_cpu.map(|cpu| cpu * mean / 1e6),
        ceiling_cpu_us_per_transaction: ceiling_cpu,
        cpu_us_by_thread: replayed
            .cpu_by_thread
            .into_iter()
            .map(|(name, seconds)| (name, seconds * 1e6 / transactions as f64))
            .collect(),
        peak_memory_bytes: peak,
        block_file_bytes_per_transaction: per_transaction("blocks")?,
        database_bytes_per_transaction: per_transaction("database")?,
        point_reads: reads.len(),
        point_read_us: Latency {
            p50: micros(reads.value_at_quantile(0.5)),
            p99: micros(reads.value_at_quantile(0.99)),
            max: micros(reads.max()),
        },
        commit_hash: replayed.commit_hash,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    // The definition of the chaincode is a transaction, too.
    ensure!(
        report.valid == transactions + 1,
        "{} of {} transactions are valid",
        report.valid,
        transactions + 1
    );
    Ok(())
}

async fn measure(ceiling: &Arc<Ceiling>, duration: Duration) -> anyhow::Result<Measured> {
    let ceiling = ceiling.clone();
    tokio::task::spawn_blocking(move || ceiling.measure(duration)).await?
}

struct Replayed {
    elapsed: Duration,
    valid: u64,
    reads: Histogram<u64>,
    cpu_by_thread: BTreeMap<String, f64>,
    commit_hash: String,
}

async fn replay(
    recorded: &Arc<BlockStore>,
    folder: &Path,
    plan: Plan,
    threads: usize,
) -> anyhow::Result<Replayed> {
    let genesis = recorded.block(0)?.context("the chain has no block 0")?;
    let config = ChannelConfig::from_block(&genesis)?;
    let local = config.msps().msps().next().cloned();
    let local = local.context("the channel has no organization")?;
    let ledger = Ledger::create(folder, &genesis)?;
    let channel = PeerChannel::open(ledger, local)?;
    let pool = VerificationPool::new(threads).map_err(|error| anyhow!(error))?;
    let memory = SignatureMemory::new(SIGNATURES_REMEMBERED);
    let mut feed = BlockFeed::start(channel.clone(), Arc::new(pool), Arc::new(memory))?;
    let (sender, mut blocks) = mpsc::channel(READ_AHEAD);
    let source = recorded.clone();
    let reading = thread::spawn(move || read_blocks(&source, plan.height(), &sender));
    let stop = Arc::new(AtomicBool::new(false));
    let watching = {
        let (ledger, stop) = (channel.ledger().clone(), stop.clone());
        thread::spawn(move || point_reads(&ledger, plan, &stop))
    };

    let bar = ProgressBar::new(plan.height());
    if let Ok(style) = ProgressStyle::with_template("replaying {bar:40} {pos}/{len} blocks") {
        bar.set_style(style);
    }
    let cpu_before = resources::cpu_by_thread();
    let started = Instant::now();
    while let Some(block) = blocks.recv().await {
        feed.take(block).await?;
        bar.set_position(channel.ledger().height());
    }
    // Nothing more comes: the last block that was taken is the last one.
    let last = feed.next();
    let mut height = channel.subscribe_height();
    tokio::select! {
        reached = height.wait_for(|&height| height >= last) => { reached?; }
        () = halted(&channel) => {}
    }
    let elapsed = started.elapsed();
    let mut cpu_by_thread = resources::cpu_by_thread();
    for (name, seconds) in &mut cpu_by_thread {
        *seconds -= cpu_before.get(name).copied().unwrap_or_default();
    }
    bar.finish_and_clear();
    stop.store(true, Ordering::Relaxed);
    feed.drain().await;
    if let Some(reason) = channel.halted() {
        return Err(anyhow!("the channel has stopped: {reason}"));
    }
    joined(reading)??;
    ensure!(last == plan.height(), "the chain ends at block {last}");
    let reads = joined(watching)??;
    let ledger = channel.ledger();
    ledger.close();
    Ok(Replayed {
        elapsed,
        valid: valid(ledger)?,
        reads,
        cpu_by_thread,
        commit_hash: ledger.commit_hash().map(hex::encode).unwrap_or_default(),
    })
}

fn joined<T>(thread: thread::JoinHandle<T>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))
}

async fn halted(channel: &PeerChannel) {
    while channel.halted().is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Blocks as a stream from an orderer brings them: read and decoded, in order, a few ahead.
fn read_blocks(
    source: &BlockStore,
    height: u64,
    blocks: &mpsc::Sender<common::Block>,
) -> anyhow::Result<()> {
    for number in 1..height {
        let bytes = source.block_bytes(number)?;
        let bytes = bytes.with_context(|| format!("the chain has no block {number}"))?;
        if blocks.blocking_send(common::Block::decode(bytes)?).is_err() {
            // Whoever takes them has given up, and says why.
            return Ok(());
        }
    }
    Ok(())
}

/// Reads one key after another as a query does, and notes how long each took.
fn point_reads(ledger: &Ledger, plan: Plan, stop: &AtomicBool) -> anyhow::Result<Histogram<u64>> {
    let mut latencies = Histogram::new_with_bounds(1, LONGEST, 3)?;
    while !stop.load(Ordering::Relaxed) {
        let key = plan.key(rand::random_range(0..usize::MAX));
        let began = Instant::now();
        ledger.reader()?.get(CHAINCODE, &key)?;
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Values beyond the histogram's range are counted at its end.
        latencies.saturating_record(nanos);
        thread::sleep(READ_PAUSE);
    }
    Ok(latencies)
}

/// Transactions with code VALID, as the ledger has them, without block 0.
fn valid(ledger: &Ledger) -> anyhow::Result<u64> {
    let mut count = 0;
    for number in 1..ledger.height() {
        let block = ledger.block(number)?.context("a block is missing")?;
        let flags = block::flags(&block).iter();
        count += flags
            .filter(|&&flag| flag == TxValidationCode::Valid as u8)
            .count() as u64;
    }
    Ok(count)
}

fn print(report: &Report) {
    println!(
        "{} transactions in {} blocks, {} threads: {:.0} committed per second ({:.2} s)",
        report.transactions,
        report.blocks,
        report.threads,
        report.transactions_per_second,
        report.seconds
    );
    println!(
        "ceiling, {} verifications per transaction and nothing else: {:.0} per second ({:.0} \
         before, {:.0} after)",
        super::ceiling::PER_TRANSACTION,
        report.ceiling_per_second,
        report.ceiling_before,
        report.ceiling_after
    );
    println!("{:.1} % of the ceiling", report.percent_of_ceiling);
    if let Some(percent) = report.percent_of_ceiling_by_cpu {
        println!("{percent:.1} % by CPU time");
    }
    if let Some(cores) = report.ceiling_cores
        && cores < ALONE * report.threads as f64
    {
        println!(
            "the ceiling had {cores:.1} of {} cores: other work ran on this machine, and only CPU \
             time can be relied on",
            report.threads
        );
    }
    println!("valid: {} (with the chaincode's definition)", report.valid);
    let cpu = report.cpu_us_per_transaction;
    if let Some((cpu, ceiling)) = cpu.zip(report.ceiling_cpu_us_per_transaction) {
        let threads = report.cpu_us_by_thread.iter();
        let threads = threads.filter(|(_, cpu)| **cpu >= 0.5);
        let threads: Vec<_> = threads
            .map(|(name, cpu)| format!("{name} {cpu:.1}"))
            .collect();
        println!(
            "CPU: {cpu:.0} µs per transaction ({}), {ceiling:.0} µs at the ceiling",
            threads.join(", ")
        );
    }
    if let Some(peak) = report.peak_memory_bytes {
        println!("peak memory: {:.0} MB", peak as f64 / 1e6);
    }
    println!(
        "on disk per transaction: {:.0} bytes in block files, {:.0} in the database",
        report.block_file_bytes_per_transaction, report.database_bytes_per_transaction
    );
    println!(
        "point reads during commit: {} of them, p50 {:.1} µs, p99 {:.1} µs, max {:.1} µs",
        report.point_reads,
        report.point_read_us.p50,
        report.point_read_us.p99,
        report.point_read_us.max
    );
    println!("commit hash: {}", report.commit_hash);
}
