//! A channel's ledger at a peer: opening, queries and snapshots. Commit is in `commit`.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::{common, protos};
use consilium_protocol::{block, envelope};
use parking_lot::{Mutex, RwLock};
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::chain::{self, Tip};
use crate::database::{Database, Family, LEDGER_FAMILIES};
use crate::error::LedgerError;
use crate::indexes::Indexes;
use crate::private::PrivateStore;
use crate::simulator::Simulator;
use crate::state::StateReader;
use crate::tx_index::{self, TxStatus};

pub(crate) const CHANNEL: &[u8] = b"channel";

/// A channel's ledger at a peer.
///
/// Queries may run at any time, beside a commit; they see whole blocks only. Commits follow one
/// another. Dropping it without ceremony, or `kill -9`, loses no committed block.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) channel: String,
    pub(crate) database: Arc<Database>,
    pub(crate) tip: RwLock<Tip>,
    /// Held through a commit: commits are serial by nature, and nobody else takes it.
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
        let channel = channel_of(genesis)?;
        let database = Database::open(path.as_ref(), LEDGER_FAMILIES)?;
        if Tip::load(&database)?.height > 0 {
            return Err(LedgerError::Exists(channel));
        }
        let ledger = Self::with(channel, database)?;
        ledger.commit_genesis(genesis.clone())?;
        Ok(Arc::new(ledger))
    }

    /// Opens the ledger at `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Self>, LedgerError> {
        let path = path.as_ref();
        // RocksDB would make an empty database.
        if !path.join("CURRENT").exists() {
            return Err(LedgerError::Missing(path.into()));
        }
        let database = Database::open(path, LEDGER_FAMILIES)?;
        let Some(channel) = database.get(Family::Meta, CHANNEL)? else {
            return Err(LedgerError::Missing(path.into()));
        };
        let channel =
            String::from_utf8(channel).map_err(|_| LedgerError::damaged("channel record"))?;
        Ok(Arc::new(Self::with(channel, database)?))
    }

    fn with(channel: String, database: Arc<Database>) -> Result<Self, LedgerError> {
        let tip = Tip::load(&database)?;
        let (height, _) = watch::channel(tip.height);
        let private = PrivateStore::load(&database)?;
        let indexes = Indexes::load(&database)?;
        Ok(Self {
            channel,
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
            bootstrapping_snapshot_info: None,
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
        let block = self.block(status.block)?;
        let bytes = block
            .and_then(|block| block.data?.data.into_iter().nth(status.index as usize))
            .ok_or_else(|| LedgerError::damaged(format!("transaction {tx_id} is not there")))?;
        let envelope = common::Envelope::decode(bytes).map_err(|error| {
            LedgerError::Refused(format!("transaction {tx_id} is no envelope: {error}"))
        })?;
        Ok(Some(protos::ProcessedTransaction {
            transaction_envelope: Some(envelope),
            validation_code: status.code as i32,
        }))
    }

    /// Where the first transaction with that id stands, and its code.
    pub fn tx_status(&self, tx_id: &str) -> Result<Option<TxStatus>, LedgerError> {
        self.database
            .get(Family::Index, &tx_index::key(tx_id))?
            .map(|record| TxStatus::decode(&record))
            .transpose()
    }

    /// Whether a transaction with that id is in the ledger, valid or not.
    pub fn has_transaction(&self, tx_id: &str) -> Result<bool, LedgerError> {
        self.database.contains(Family::Index, &tx_index::key(tx_id))
    }

    /// The state as of the last committed block.
    pub fn reader(&self) -> Result<StateReader, LedgerError> {
        StateReader::new(self.database.snapshot())
    }

    /// A simulation of transaction `tx_id` on the state as of the last committed block.
    pub fn simulator(&self, tx_id: &str) -> Result<Simulator, LedgerError> {
        Ok(Simulator::new(tx_id, self.reader()?))
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
