//! A chain of blocks with its own database: what an orderer keeps for a channel.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::common;
use parking_lot::{Mutex, RwLock};
use prost::Message;
use tokio::sync::watch;

use crate::chain::{self, Tip};
use crate::database::{BLOCK_FAMILIES, Database, Family};
use crate::error::LedgerError;

/// An append-only chain of blocks, indexed by number and by header hash.
///
/// Appending checks number and previous hash, nothing else: signatures and content are the
/// caller's. Small records of the caller ("extra") can be written in the same atomic batch, for
/// example the position in a replicated log that the block came from.
#[derive(Debug)]
pub struct BlockStore {
    database: Arc<Database>,
    tip: RwLock<Tip>,
    /// Held by whoever appends, so that two appends cannot both follow one tip.
    appending: Mutex<()>,
    height: watch::Sender<u64>,
}

impl BlockStore {
    /// Opens the store at `path`, creating it if nothing is there.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Self>, LedgerError> {
        let database = Database::open(path.as_ref(), BLOCK_FAMILIES)?;
        let tip = Tip::load(&database)?;
        let (height, _) = watch::channel(tip.height);
        Ok(Arc::new(Self {
            database,
            tip: RwLock::new(tip),
            appending: Mutex::new(()),
            height,
        }))
    }

    /// Number of blocks; the next block has this number.
    pub fn height(&self) -> u64 {
        self.tip.read().height
    }

    /// Header hash of the last block, `None` without blocks.
    pub fn last_header_hash(&self) -> Option<Bytes> {
        let tip = self.tip.read();
        (tip.height > 0).then(|| tip.header_hash.clone())
    }

    /// Appends `block` and stores `extra` (key, value) records with it, all or nothing.
    ///
    /// With `sync` it is on disk when this returns; without, a crash of the machine (not of the
    /// process) may lose it together with everything after it. Blocks the thread on IO.
    pub fn append(
        &self,
        block: &common::Block,
        extra: &[(Vec<u8>, Vec<u8>)],
        sync: bool,
    ) -> Result<(), LedgerError> {
        let _turn = self.appending.lock();
        self.tip.read().check_next(block)?;
        let tip = Tip::after(block)?;
        let mut batch = self.database.batch();
        chain::put(
            &mut batch,
            tip.height - 1,
            &tip.header_hash,
            &block.encode_to_vec(),
        )?;
        for (key, value) in extra {
            batch.put(Family::Meta, &extra_key(key), value)?;
        }
        batch.write(sync)?;
        let height = tip.height;
        *self.tip.write() = tip;
        self.height.send_replace(height);
        Ok(())
    }

    /// Stores `extra` records without a block.
    pub fn put_extra(&self, extra: &[(Vec<u8>, Vec<u8>)], sync: bool) -> Result<(), LedgerError> {
        let mut batch = self.database.batch();
        for (key, value) in extra {
            batch.put(Family::Meta, &extra_key(key), value)?;
        }
        batch.write(sync)
    }

    /// A record stored with [`append`](Self::append) or [`put_extra`](Self::put_extra).
    pub fn extra(&self, key: &[u8]) -> Result<Option<Bytes>, LedgerError> {
        Ok(self
            .database
            .get(Family::Meta, &extra_key(key))?
            .map(Bytes::from))
    }

    /// The encoded `common.Block` with that number.
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

    /// Follows the height; the current one is there at once.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }
}

fn extra_key(key: &[u8]) -> Vec<u8> {
    [b"x", key].concat()
}
