//! `consilium ledger`: what an operator does with a peer's stored channels.
//!
//! fabric: internal/peer/node (rebuild-dbs, rollback, reset, pause, resume, unjoin)

mod scratch;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use consilium_ledger::{LedgerError, Progress, Verified};
use consilium_peer::maintenance::{self, LedgersLock, MaintenanceError};
use indicatif::{ProgressBar, ProgressStyle};

use self::scratch::Scratch;
use crate::config::{self, PeerConfig};

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Check every byte of a channel's chain and state; the peer may run meanwhile.
    ///
    /// Checksums, hashes, orderers' signatures, and everything again: the blocks are applied to an
    /// empty state, and commit hashes, state, history and index are compared. Needs room for that
    /// second state beside the peer's data.
    #[command(after_help = "\
Examples:
  consilium ledger verify --config ./core.yaml
  consilium ledger verify --data /var/hyperledger/production --channel health")]
    Verify(MaybeChannel),
    /// Make the databases again from the block files; all channels unless one is named.
    ///
    /// The peer must be down. Private data that is stored here stays.
    #[command(after_help = "Example:\n  consilium ledger rebuild --config ./core.yaml")]
    Rebuild(MaybeChannel),
    /// Cut a channel back to a block. The peer pulls the rest again when it starts.
    ///
    /// The peer must be down. It endorses nothing on the channel until it is where it was.
    #[command(after_help = "\
Example:
  consilium ledger rollback --config ./core.yaml --channel health --block 150")]
    Rollback(Rollback),
    /// Cut all channels back to their block 0. The peer must be down.
    Reset(PeerData),
    /// Leave a channel alone from the next start of the peer on. The peer must be down.
    Pause(OneChannel),
    /// Serve a paused channel again. The peer must be down.
    Resume(OneChannel),
    /// Remove a channel from the peer, with all that is stored of it. The peer must be down.
    Unjoin(OneChannel),
}

/// Where the peer's data is.
#[derive(Debug, Clone, Args)]
pub struct PeerData {
    /// The peer's core.yaml; otherwise searched in FABRIC_CFG_PATH, the current folder and
    /// /etc/hyperledger/fabric. Its `peer.fileSystemPath` is meant.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The peer's data folder itself.
    #[arg(long, conflicts_with = "config")]
    data: Option<PathBuf>,
}

impl PeerData {
    /// The peer with that data folder.
    pub fn of(data: PathBuf) -> Self {
        Self {
            config: None,
            data: Some(data),
        }
    }
}

/// A peer and maybe a channel.
#[derive(Debug, Args)]
pub struct MaybeChannel {
    #[command(flatten)]
    peer: PeerData,
    /// Channel; all if none is named.
    #[arg(short, long, visible_alias = "channelID")]
    channel: Option<String>,
}

impl MaybeChannel {
    /// All channels of a peer.
    pub fn all(peer: PeerData) -> Self {
        Self {
            peer,
            channel: None,
        }
    }
}

/// A peer and a channel.
#[derive(Debug, Args)]
pub struct OneChannel {
    #[command(flatten)]
    peer: PeerData,
    /// Channel.
    #[arg(short, long, visible_alias = "channelID")]
    channel: String,
}

impl OneChannel {
    /// A channel of a peer.
    pub fn new(peer: PeerData, channel: String) -> Self {
        Self { peer, channel }
    }
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    #[command(flatten)]
    of: OneChannel,
    /// The block that becomes the last one.
    #[arg(short, long, visible_alias = "blockNumber")]
    block: u64,
}

impl Rollback {
    /// Back to `block`.
    pub fn new(of: OneChannel, block: u64) -> Self {
        Self { of, block }
    }
}

/// Runs a subcommand.
///
/// # Errors
/// What was refused or found.
pub async fn run(command: LedgerCommand) -> anyhow::Result<()> {
    // Everything here blocks on the disk.
    tokio::task::spawn_blocking(move || run_blocking(command)).await?
}

fn run_blocking(command: LedgerCommand) -> anyhow::Result<()> {
    match command {
        LedgerCommand::Verify(args) => verify(&args),
        LedgerCommand::Rebuild(args) => rebuild(&args),
        LedgerCommand::Rollback(args) => {
            let ledgers = lock(&args.of.peer)?;
            Ok(rollback(&ledgers, &args.of.channel, args.block)?)
        }
        LedgerCommand::Reset(args) => {
            let ledgers = lock(&args)?;
            let channels = ledgers.channels()?;
            refuse_behind_snapshots(&ledgers, &channels, "reset")?;
            for channel in channels {
                reset(&ledgers, &channel)?;
            }
            Ok(())
        }
        LedgerCommand::Pause(args) => {
            lock(&args.peer)?.pause(&args.channel)?;
            println!(
                "{}: paused; the peer leaves it alone from its next start on",
                args.channel
            );
            Ok(())
        }
        LedgerCommand::Resume(args) => {
            lock(&args.peer)?.resume(&args.channel)?;
            println!(
                "{}: resumed; the peer serves it from its next start on",
                args.channel
            );
            Ok(())
        }
        LedgerCommand::Unjoin(args) => {
            lock(&args.peer)?.unjoin(&args.channel)?;
            println!("{}: removed", args.channel);
            Ok(())
        }
    }
}

fn data_dir(args: &PeerData) -> anyhow::Result<PathBuf> {
    if let Some(data) = &args.data {
        return Ok(data.clone());
    }
    let file = config::locate(args.config.as_deref(), "core.yaml")?;
    let config: PeerConfig = config::read_node(config::Node::Peer, &file)?;
    Ok(config::relative(&file, &config.peer.file_system_path))
}

fn lock(args: &PeerData) -> anyhow::Result<LedgersLock> {
    let data = data_dir(args)?;
    anyhow::ensure!(
        data.join("ledgers").is_dir(),
        "{} is not the data folder of a peer: there is no folder `ledgers` in it",
        data.display()
    );
    Ok(LedgersLock::take(&data)?)
}

/// Stops before anything is done to any channel.
fn refuse_behind_snapshots(
    ledgers: &LedgersLock,
    channels: &[String],
    doing: &str,
) -> anyhow::Result<()> {
    let behind = ledgers.began_with_snapshot(channels)?;
    anyhow::ensure!(
        behind.is_empty(),
        "cannot {doing} all channels, as these were bootstrapped from a snapshot: {}; nothing was \
         done to any channel",
        behind.join(", ")
    );
    Ok(())
}

fn rebuild(args: &MaybeChannel) -> anyhow::Result<()> {
    let ledgers = lock(&args.peer)?;
    let channels = match &args.channel {
        Some(channel) => vec![channel.clone()],
        None => ledgers.channels()?,
    };
    if args.channel.is_none() {
        refuse_behind_snapshots(&ledgers, &channels, "rebuild")
            .context("name the other channels one by one with --channel")?;
    }
    for channel in channels {
        let bar = Bar::new(&channel, "rebuilding");
        let rebuilt = ledgers.rebuild(&channel, &mut |progress| bar.show(progress))?;
        bar.end();
        println!(
            "{channel}: rebuilt up to block {}",
            rebuilt.ledger.height().saturating_sub(1)
        );
        if let Some(aside) = rebuilt.set_aside {
            println!(
                "{channel}: the old database could not be opened and is in {}; private data that \
                 only it held is missing now",
                aside.display()
            );
        }
        for kind in rebuilt.lost {
            println!("{channel}: {kind} could not be read and is missing now");
        }
    }
    Ok(())
}

fn rollback(ledgers: &LedgersLock, channel: &str, block: u64) -> Result<(), MaintenanceError> {
    let bar = Bar::new(channel, "rolling back");
    let before = ledgers.rollback(channel, block, &mut |progress| bar.show(progress))?;
    bar.end();
    println!(
        "{channel}: rolled back from block {} to block {block}",
        before.saturating_sub(1)
    );
    Ok(())
}

fn reset(ledgers: &LedgersLock, channel: &str) -> anyhow::Result<()> {
    match rollback(ledgers, channel, 0) {
        Err(MaintenanceError::Ledger {
            source: LedgerError::NotBeforeLast { .. },
            ..
        }) => {
            println!("{channel}: at block 0 already");
            Ok(())
        }
        done => Ok(done?),
    }
}

fn verify(args: &MaybeChannel) -> anyhow::Result<()> {
    let data = data_dir(&args.peer)?;
    let channels = match &args.channel {
        Some(channel) => vec![channel.clone()],
        None => maintenance::channels_of(&data)?,
    };
    let mut faults = 0;
    for channel in channels {
        let scratch = Scratch::new(&data)?;
        let bar = Bar::new(&channel, "verifying");
        let verified = maintenance::verify(&data, &channel, scratch.path(), &mut |progress| {
            bar.show(progress)
        })?;
        bar.end();
        tell(&channel, &verified);
        faults += verified.faults.len();
    }
    anyhow::ensure!(faults == 0, "{faults} faults found");
    Ok(())
}

fn tell(channel: &str, verified: &Verified) {
    for fault in &verified.faults {
        println!("{channel}: {fault}");
    }
    let outcome = match (verified.faults.len(), verified.unchecked.is_empty()) {
        (0, true) => "everything is as it was written".to_owned(),
        (0, false) => "what could be checked is as it was written".to_owned(),
        (faults, _) => format!("{faults} faults"),
    };
    println!(
        "{channel}: {} blocks, {} transactions: {outcome}",
        verified.blocks, verified.transactions
    );
    for what in &verified.unchecked {
        println!("{channel}: not checked: {what}");
    }
    if verified.behind > 0 {
        println!(
            "{channel}: {} more records are in the block files; the database takes them when the \
             peer commits or starts",
            verified.behind
        );
    }
}

/// How far long work has come; shown on a terminal only.
struct Bar(ProgressBar);

impl Bar {
    fn new(channel: &str, doing: &str) -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
        ) {
            bar.set_style(style);
        }
        bar.set_prefix(format!("{channel}: {doing}"));
        Self(bar)
    }

    fn show(&self, progress: Progress) {
        self.0.set_length(progress.total);
        self.0.set_position(progress.done);
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
