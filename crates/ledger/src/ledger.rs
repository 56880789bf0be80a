//! A channel's ledger at a peer: opening, queries and snapshots. Commit is in `commit`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use consilium_proto::{common, protos};
use consilium_protocol::{block, envelope, rwset::TxRwSet};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::chain::{self, Base, Tip};
use crate::commit::Reapply;
use crate::database::{Database, Family};
use crate::error::{LedgerError, Owner};
use crate::indexes::Indexes;
use crate::maintenance;
use crate::options::StoreOptions;
use crate::private::PrivateStore;
use crate::recovery::{self, Progress};
use crate::simulator::Simulator;
use crate::snapshot::{self, Joiner, Snapshots};
use crate::state::StateReader;
use crate::tx_index::{self, TxStatus};

pub(crate) const CHANNEL: &[u8] = b"channel";
/// Bytes of values that are fetched before a block is validated.
const PRELOADED: usize = 64 << 20;

/// Prefix of the name of a ledger's folder while the ledger is made. No channel's name begins so.
pub const UNFINISHED: &str = ".joining-";

/// Where the ledger of `path` is made before it is moved there, so that a crash leaves either a whole
/// ledger or none.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(UNFINISHED);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// A channel's ledger at a peer.
///
/// Queries may run at any time, beside a commit; they see whole blocks only. Commits follow one
/// another. Dropping it without ceremony, or `kill -9`, loses no committed block.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) channel: String,
    /// Number of the first block; not 0 if the ledger began with a snapshot.
    pub(crate) base: u64,
    pub(crate) snapshots: Arc<Snapshots>,
    /// The height before a rollback; 0 once it is reached again.
    pub(crate) before_reset: AtomicU64,
    pub(crate) database: Arc<Database>,
    pub(crate) tip: RwLock<Tip>,
    /// Held through a commit: commits are serial by nature. Requests for snapshots take it, too: the
    /// height stays while they are decided.
    pub(crate) committing: Mutex<()>,
    pub(crate) height: watch::Sender<u64>,
    pub(crate) private: PrivateStore,
    pub(crate) indexes: Indexes,
}

impl Ledger {
    /// Makes a ledger at `path` out of a channel's block 0, which is trusted as it is.
    pub fn create(
        path: impl AsRef<Path>,
        genesis: &common::Block,
    ) -> Result<Arc<Self>, LedgerError> {
        Self::create_with(path, genesis, &StoreOptions::default())
    }

    /// As [`create`](Self::create), with other options than the usual.
    pub fn create_with(
        path: impl AsRef<Path>,
        genesis: &common::Block,
        options: &StoreOptions,
    ) -> Result<Arc<Self>, LedgerError> {
        let channel = channel_of(genesis)?;
        let database = Database::open(path.as_ref(), Owner::Peer, options)?;
        let ledger = Self::with(channel, database, options.snapshots.clone())?;
        if ledger.height() > 0 || ledger.database.files.last_file()?.is_some() {
            return Err(LedgerError::Exists(ledger.channel.clone()));
        }
        ledger.commit_genesis(genesis.clone())?;
        Ok(Arc::new(ledger))
    }

    /// Opens the ledger at `path`. What a crash tore is cut off, and what the database lacks of the
    /// blocks is applied again.
    ///
    /// # Errors
    /// When the database or a block file is damaged by more than a crash; the error names the file
    /// and the command that repairs it.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Self>, LedgerError> {
        Self::open_with(path, &StoreOptions::default(), &mut |_| {})
    }

    /// As [`open`](Self::open), with other options than the usual; `progress` hears how far blocks
    /// are applied again.
    pub fn open_with(
        path: impl AsRef<Path>,
        options: &StoreOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<Self>, LedgerError> {
        let path = path.as_ref();
        // Opening would make an empty one.
        if !Database::exists(path) {
            return Err(LedgerError::Missing(path.into()));
        }
        let database = Database::open(path, Owner::Peer, options)?;
        maintenance::finish(&database)?;
        recovery::check_end(&database)?;
        let channel = match database.get(Family::Meta, CHANNEL)? {
            Some(channel) => {
                String::from_utf8(channel).map_err(|_| LedgerError::damaged("channel record"))?
            }
            // A database that was lost is made again, as block 0 says what it is of.
            None => match recovery::first_block(&database.files)? {
                Some(genesis) => channel_of(&genesis)?,
                None => return Err(LedgerError::Missing(path.into())),
            },
        };
        let ledger = Self::with(channel, database, options.snapshots.clone())?;
        recovery::recover(&ledger.database, &mut Reapply(&ledger), progress)?;
        ledger.snapshots.resume(&ledger.tip.read().clone())?;
        Ok(Arc::new(ledger))
    }

    /// Makes a ledger at `path` out of a snapshot, this kind of peer's or Fabric's, once all of it
    /// is verified. Blocks from the one after the snapshot's on can be committed to it. Private data
    /// of before is noted as missing. An interrupted import leaves no ledger.
    ///
    /// # Errors
    /// With Fabric's text, when a file does not have the hash that the snapshot gives for it; when
    /// there is a ledger already; when a file cannot be read; when `joiner` cannot run the channel,
    /// or gives up. Nothing is left then.
    pub fn create_from_snapshot(
        path: impl AsRef<Path>,
        folder: impl AsRef<Path>,
        joiner: &dyn Joiner,
        options: &StoreOptions,
    ) -> Result<Arc<Self>, LedgerError> {
        let path = path.as_ref();
        snapshot::import(path, folder.as_ref(), joiner, options)?;
        Self::open_with(path, options, &mut |_| {})
    }

    /// The channel that the snapshot in `folder` says it is of, unverified.
    ///
    /// # Errors
    /// When its two JSON files cannot be read.
    pub fn channel_of_snapshot(folder: impl AsRef<Path>) -> Result<String, LedgerError> {
        snapshot::Metadata::channel(folder.as_ref())
    }

    /// A ledger on an open database; snapshots go to the folder given.
    pub(crate) fn with(
        channel: String,
        database: Arc<Database>,
        snapshots: Option<PathBuf>,
    ) -> Result<Self, LedgerError> {
        let tip = Tip::load(&database)?;
        let (height, _) = watch::channel(tip.height);
        let private = PrivateStore::load(&database)?;
        let base = Base::load(&database)?.first;
        let before_reset = maintenance::height_before_reset(&database)?;
        let indexes = Indexes::load(&database)?;
        let snapshots = Snapshots::load(&channel, &database, snapshots)?;
        Ok(Self {
            channel,
            base,
            snapshots,
            before_reset: AtomicU64::new(before_reset),
            database,
            tip: RwLock::new(tip),
            committing: Mutex::new(()),
            height,
            private,
            indexes,
        })
    }

    /// The channel.
    pub fn channel_id(&self) -> &str {
        &self.channel
    }

    /// Number of blocks; the next block has this number.
    pub fn height(&self) -> u64 {
        self.tip.read().height
    }

    /// Number of the first block that is here.
    pub fn first_block(&self) -> u64 {
        self.base
    }

    /// The height that the ledger had before it was rolled back or reset, while it is below.
    pub fn height_before_reset(&self) -> Option<u64> {
        let before = self.before_reset.load(Ordering::Relaxed);
        (before > self.height()).then_some(before)
    }

    /// Follows the height; the current one is there at once.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }

    /// Height and hashes of the last block.
    pub fn info(&self) -> common::BlockchainInfo {
        let tip = self.tip.read();
        common::BlockchainInfo {
            height: tip.height,
            current_block_hash: tip.header_hash.clone(),
            previous_block_hash: tip.previous_hash.clone(),
            bootstrapping_snapshot_info: self.base.checked_sub(1).map(|last| {
                common::BootstrappingSnapshotInfo {
                    last_block_in_snapshot: last,
                }
            }),
        }
    }

    /// Commit hash of the last block; block 0 has none.
    pub fn commit_hash(&self) -> Option<[u8; 32]> {
        self.tip.read().commit_hash
    }

    /// The encoded `common.Block` with that number, validation flags and commit hash in it.
    pub fn block_bytes(&self, number: u64) -> Result<Option<Bytes>, LedgerError> {
        chain::block_bytes(&self.database, number)
    }

    /// The block with that number.
    pub fn block(&self, number: u64) -> Result<Option<common::Block>, LedgerError> {
        chain::block(&self.database, number)
    }

    /// The block with that header hash.
    pub fn block_by_hash(&self, header_hash: &[u8]) -> Result<Option<common::Block>, LedgerError> {
        match chain::number_by_hash(&self.database, header_hash)? {
            Some(number) => self.block(number),
            None => Ok(None),
        }
    }

    /// The block that holds the first transaction with that id.
    pub fn block_by_tx_id(&self, tx_id: &str) -> Result<Option<common::Block>, LedgerError> {
        match self.tx_status(tx_id)? {
            Some(status) => self.block(status.block),
            None => Ok(None),
        }
    }

    /// The first transaction with that id, with its validation code.
    pub fn transaction(
        &self,
        tx_id: &str,
    ) -> Result<Option<protos::ProcessedTransaction>, LedgerError> {
        let Some(status) = self.tx_status(tx_id)? else {
            return Ok(None);
        };
        let location = chain::location(&self.database, status.block)?;
        let files = &self.database.files;
        let bytes = chain::transaction(files, location, status.block, status.index)?;
        let envelope = consilium_proto::decode(&bytes).map_err(|error| {
            LedgerError::Refused(format!("transaction {tx_id} is no envelope: {error}"))
        })?;
        Ok(Some(protos::ProcessedTransaction {
            transaction_envelope: Some(envelope),
            validation_code: status.code as i32,
        }))
    }

    /// Where the first transaction with that id stands, and its code.
    ///
    /// # Errors
    /// With Fabric's text, when all that is known is that it stands in a block before the snapshot
    /// that this ledger began with.
    pub fn tx_status(&self, tx_id: &str) -> Result<Option<TxStatus>, LedgerError> {
        let Some(record) = self.database.get(Family::Index, &tx_index::key(tx_id))? else {
            return Ok(None);
        };
        if tx_index::is_before_snapshot(&record) {
            return Err(LedgerError::Refused(format!(
                "details for the TXID [{tx_id}] not available. \
                 Ledger bootstrapped from a snapshot. First available block = [{}]",
                self.base
            )));
        }
        TxStatus::decode(&record).map(Some)
    }

    /// Whether a transaction with that id is in the ledger, valid or not.
    pub fn has_transaction(&self, tx_id: &str) -> Result<bool, LedgerError> {
        self.database.contains(Family::Index, &tx_index::key(tx_id))
    }

    /// The state as of the last committed block.
    pub fn reader(&self) -> Result<StateReader, LedgerError> {
        StateReader::new(self.database.snapshot())
    }

    /// The same, with the keys that these transactions read or write fetched beforehand, as far as
    /// that takes no more than 64 MiB: for validating their block, and for
    /// [`commit_from`](Self::commit_from).
    pub fn reader_for<'a>(
        &self,
        rwsets: impl IntoIterator<Item = &'a TxRwSet>,
    ) -> Result<StateReader, LedgerError> {
        let mut reader = self.reader()?;
        reader.preload(rwsets, PRELOADED)?;
        Ok(reader)
    }

    /// A simulation of transaction `tx_id` on the state as of the last committed block.
    pub fn simulator(&self, tx_id: &str) -> Result<Simulator, LedgerError> {
        let state = self.reader()?;
        Ok(Simulator::new(tx_id, state, self.indexes.known()))
    }

    /// SHA-256 over all public and hashed state (keys, values, metadata, versions) in key order:
    /// equal on all peers of a channel at one height. Reads everything.
    pub fn state_fingerprint(&self) -> Result<[u8; 32], LedgerError> {
        let snapshot = self.database.snapshot();
        let mut hasher = Sha256::new();
        let mut next = Vec::new();
        loop {
            let records = snapshot.scan(Family::State, &next, None, 1024)?;
            let Some((last, _)) = records.last() else {
                return Ok(hasher.finalize().into());
            };
            next = last.to_vec();
            next.push(0);
            for part in records.iter().flat_map(|(key, value)| [key, value]) {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Whoever drops the last one may be unable to wait.
        self.snapshots.give_up();
    }
}

/// The channel that a genesis block is for.
fn channel_of(genesis: &common::Block) -> Result<String, LedgerError> {
    let malformed = |reason: &str| LedgerError::MalformedBlock {
        number: block::number(genesis),
        reason: reason.into(),
    };
    if chain::header(genesis)?.number != 0 {
        return Err(malformed("a ledger starts with block 0"));
    }
    let [config] = block::envelopes(genesis) else {
        return Err(malformed("a genesis block holds one transaction"));
    };
    let parsed = envelope::parse_bytes(config)
        .map_err(|error| malformed(&format!("its transaction is unreadable: {error}")))?;
    if parsed.kind() != Some(common::HeaderType::Config) {
        return Err(malformed("its transaction is no config transaction"));
    }
    Ok(parsed.channel_header.channel_id)
}
