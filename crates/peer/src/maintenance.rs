//! The ledgers of a peer that is not running: rebuilding, rolling back, resetting, pausing, resuming
//! and removing them; and verifying them, running or not.
//!
//! fabric: internal/peer/node, core/ledger/kvledger

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

use consilium_ledger::{Ledger, LedgerError, Progress, StoreOptions, Verified};
use consilium_proto::{common, protos::TxValidationCode};
use consilium_protocol::{block, config::ChannelConfig};

/// Folder of ledgers within a peer's data.
const LEDGERS: &str = "ledgers";
/// Held by a peer as long as it runs, and by whoever changes its ledgers meanwhile.
const LOCK: &str = "lock";
/// In the folder of a paused channel.
const PAUSED: &str = "paused";
/// Prefix of a ledger folder whose removal has not finished.
pub(crate) const LEAVING: &str = ".unjoining-";

/// Why ledgers cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// A peer runs, or another command.
    #[error(
        "the ledgers in {} are in use: stop the peer, or wait for the other command to end",
        .0.display()
    )]
    InUse(PathBuf),
    /// A file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// There is no such channel.
    #[error("ledgerID [{0}] does not exist")]
    NoChannel(String),
    /// The ledger refused or failed.
    #[error("channel {channel}: {source}")]
    Ledger {
        /// Channel id.
        channel: String,
        /// Why.
        source: LedgerError,
    },
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> MaintenanceError {
    move |source| MaintenanceError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Nobody else has the ledgers of a peer while this is there.
#[derive(Debug)]
pub struct LedgersLock {
    folder: PathBuf,
    /// The system gives the lock up when the process ends, however it does.
    _lock: File,
}

impl LedgersLock {
    /// Takes the ledgers in a peer's data folder.
    ///
    /// # Errors
    /// [`MaintenanceError::InUse`] while a peer or a command has them.
    pub fn take(data_dir: &Path) -> Result<Self, MaintenanceError> {
        let folder = data_dir.join(LEDGERS);
        let path = folder.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                folder,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(MaintenanceError::InUse(folder)),
            Err(TryLockError::Error(source)) => Err(io(&path)(source)),
        }
    }

    /// The channels, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn channels(&self) -> Result<Vec<String>, MaintenanceError> {
        channels(&self.folder)
    }

    fn ledger(&self, channel: &str) -> Result<PathBuf, MaintenanceError> {
        ledger(&self.folder, channel)
    }

    /// Opens the ledger of a channel.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn open(&self, channel: &str) -> Result<Arc<Ledger>, MaintenanceError> {
        Ledger::open(self.ledger(channel)?).map_err(of(channel))
    }

    /// Those of `channels` that began with a snapshot: they can be neither rebuilt nor rolled back.
    ///
    /// # Errors
    /// When the first block of one cannot be read.
    pub fn began_with_snapshot(
        &self,
        channels: &[String],
    ) -> Result<Vec<String>, MaintenanceError> {
        let mut found = Vec::new();
        for channel in channels {
            let path = self.ledger(channel)?;
            if Ledger::began_with_snapshot(path).map_err(of(channel))? {
                found.push(channel.clone());
            }
        }
        Ok(found)
    }

    /// Makes the database of a channel again from its block files.
    ///
    /// # Errors
    /// As [`Ledger::rebuild`].
    pub fn rebuild(
        &self,
        channel: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<consilium_ledger::Rebuilt, MaintenanceError> {
        let path = self.ledger(channel)?;
        Ledger::rebuild(path, &StoreOptions::default(), progress).map_err(of(channel))
    }

    /// Cuts a channel back so that `block` is its last one; gives the height before.
    ///
    /// # Errors
    /// As [`Ledger::rollback`].
    pub fn rollback(
        &self,
        channel: &str,
        block: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<u64, MaintenanceError> {
        let path = self.ledger(channel)?;
        Ledger::rollback(path, block, &StoreOptions::default(), progress).map_err(of(channel))
    }

    /// Lets a peer leave a channel alone from its next start on. Nothing happens if it does already.
    ///
    /// # Errors
    /// When there is no such channel, or its folder cannot be written.
    pub fn pause(&self, channel: &str) -> Result<(), MaintenanceError> {
        let folder = self.ledger(channel)?;
        let path = folder.join(PAUSED);
        File::create(&path)
            .and_then(|file| file.sync_all())
            .map_err(io(&path))?;
        sync(&folder)
    }

    /// Lets a peer serve a paused channel again.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn resume(&self, channel: &str) -> Result<(), MaintenanceError> {
        let folder = self.ledger(channel)?;
        if is_paused(&folder) {
            let path = folder.join(PAUSED);
            std::fs::remove_file(&path).map_err(io(&path))?;
        }
        sync(&folder)
    }

    /// Removes a channel with everything that is stored of it. If it is interrupted, the peer ends
    /// it at its next start.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn unjoin(&self, channel: &str) -> Result<(), MaintenanceError> {
        let path = self.ledger(channel)?;
        let leaving = self.folder.join(format!("{LEAVING}{channel}"));
        if leaving.exists() {
            std::fs::remove_dir_all(&leaving).map_err(io(&leaving))?;
        }
        std::fs::rename(&path, &leaving).map_err(io(&path))?;
        sync(&self.folder)?;
        std::fs::remove_dir_all(&leaving).map_err(io(&leaving))
    }
}

/// The channels of the peer with that data folder, in order; it may be running.
///
/// # Errors
/// When the folder cannot be read.
pub fn channels_of(data_dir: &Path) -> Result<Vec<String>, MaintenanceError> {
    channels(&data_dir.join(LEDGERS))
}

/// Verifies the ledger of a channel; nothing in it is changed, and its peer may be running. Orderers'
/// signatures are checked with the configuration that was in force at each block. `scratch` is an
/// empty folder with room for a second state.
///
/// # Errors
/// When something fails that is no damage.
pub fn verify(
    data_dir: &Path,
    channel: &str,
    scratch: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verified, MaintenanceError> {
    let path = ledger(&data_dir.join(LEDGERS), channel)?;
    let mut signatures = Signatures::default();
    let mut check = |block: &common::Block| signatures.check(block);
    let mut verified =
        consilium_ledger::verify(&path, scratch, &mut check, progress).map_err(of(channel))?;
    if signatures.unchecked > 0 {
        verified.unchecked.push(format!(
            "orderers' signatures of {} blocks: no configuration block comes before them",
            signatures.unchecked
        ));
    }
    Ok(verified)
}

/// Checks block after block with the configuration that the blocks before brought.
#[derive(Default)]
struct Signatures {
    config: Option<ChannelConfig>,
    /// Blocks whose configuration is not known.
    unchecked: u64,
}

impl Signatures {
    fn check(&mut self, block: &common::Block) -> Result<(), String> {
        // Block 0 is nobody's; where it is missing, nobody is known who could have signed.
        if block::number(block) > 0 {
            match &self.config {
                Some(config) => config
                    .verify_block_signatures(block)
                    .map_err(|error| format!("its orderer's signature: {error}"))?,
                None => self.unchecked += 1,
            }
        }
        let is_valid = block::flags(block).first() == Some(&(TxValidationCode::Valid as u8));
        if block::is_config(block) && is_valid {
            let config = ChannelConfig::from_block(block)
                .map_err(|error| format!("its configuration: {error}"))?;
            self.config = Some(config);
        }
        Ok(())
    }
}

fn of(channel: &str) -> impl Fn(LedgerError) -> MaintenanceError {
    move |source| MaintenanceError::Ledger {
        channel: channel.to_owned(),
        source,
    }
}

fn ledger(folder: &Path, channel: &str) -> Result<PathBuf, MaintenanceError> {
    // Only what is listed: a name could be a path.
    if channels(folder)?.iter().any(|name| name == channel) {
        return Ok(folder.join(channel));
    }
    Err(MaintenanceError::NoChannel(channel.to_owned()))
}

fn channels(folder: &Path) -> Result<Vec<String>, MaintenanceError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether a channel's folder says that it is paused.
pub(crate) fn is_paused(ledger: &Path) -> bool {
    ledger.join(PAUSED).exists()
}

fn sync(folder: &Path) -> Result<(), MaintenanceError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io(folder))
}
