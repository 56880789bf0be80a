//! A chain of blocks with its own database: what an orderer keeps for a channel.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::common;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::blockfile::{Appended, Position, encode_block, encode_extras};
use crate::chain::{self, Tip};
use crate::database::Database;
use crate::error::{LedgerError, Owner};
use crate::extras::{self, Index};
use crate::options::StoreOptions;
use crate::recovery;

/// An append-only chain of blocks, indexed by number and by header hash.
///
/// Appending checks number and previous hash, nothing else: signatures and content are the
/// caller's. Small records of the caller ("extra") can be written atomically with a block, for
/// example the position in a replicated log that the block came from.
///
/// Everything is in the block files; the database follows them and can be made again from them.
#[derive(Debug)]
pub struct BlockStore {
    database: Arc<Database>,
    tip: RwLock<Tip>,
    /// Held by whoever appends, so that two appends cannot both follow one tip. What the database
    /// knows to be on disk.
    appending: Mutex<Position>,
    height: watch::Sender<u64>,
}

impl BlockStore {
    /// Opens the store at `path`, creating it if nothing is there.
    ///
    /// # Errors
    /// When the database or a block file is damaged by more than a crash; the error names the file
    /// and what repairs it.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Self>, LedgerError> {
        Self::open_with(path, &StoreOptions::default())
    }

    /// As [`open`](Self::open), with other options than the usual.
    pub fn open_with(
        path: impl AsRef<Path>,
        options: &StoreOptions,
    ) -> Result<Arc<Self>, LedgerError> {
        let database = Database::open(path.as_ref(), Owner::Orderer, options)?;
        recovery::recover(&database, &mut Index::new(&database), &mut |_| {})?;
        let tip = Tip::load(&database)?;
        let synced = chain::synced(&database)?.unwrap_or(Position::first_of(0));
        let (height, _) = watch::channel(tip.height);
        Ok(Arc::new(Self {
            database,
            tip: RwLock::new(tip),
            appending: Mutex::new(synced),
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
        let mut synced = self.appending.lock();
        self.tip.read().check_next(block)?;
        let tip = Tip::after(block)?;
        let number = tip.height - 1;
        let record = encode_block(number, block, extra).ok_or_else(|| chain::too_large(number))?;
        let appended = self.database.files.append(&record, sync)?;
        let mut batch = self.database.batch();
        chain::put(&mut batch, number, &tip.header_hash, appended.location)?;
        self.take(batch, &appended, extra, &mut synced)?;
        let height = tip.height;
        *self.tip.write() = tip;
        self.height.send_replace(height);
        Ok(())
    }

    /// Stores `extra` records without a block. With `sync` they and everything before are on disk
    /// when this returns.
    pub fn put_extra(&self, extra: &[(Vec<u8>, Vec<u8>)], sync: bool) -> Result<(), LedgerError> {
        let mut synced = self.appending.lock();
        let height = self.height();
        let record = encode_extras(height, extra).ok_or_else(|| chain::too_large(height))?;
        let appended = self.database.files.append(&record, sync)?;
        self.take(self.database.batch(), &appended, extra, &mut synced)
    }

    /// Lets the database follow an appended record. It is never synced: the files are the truth.
    fn take(
        &self,
        mut batch: crate::database::Batch<'_>,
        appended: &Appended,
        extra: &[(Vec<u8>, Vec<u8>)],
        synced: &mut Position,
    ) -> Result<(), LedgerError> {
        chain::put_taken(&mut batch, appended)?;
        extras::put(&mut batch, appended.location.begin, extra)?;
        if appended.synced > *synced {
            extras::put_durable(&self.database, &mut batch, appended, extra)?;
        }
        chain::write(&self.database, batch, false)?;
        *synced = appended.synced.max(*synced);
        Ok(())
    }

    /// A record stored with [`append`](Self::append) or [`put_extra`](Self::put_extra).
    pub fn extra(&self, key: &[u8]) -> Result<Option<Bytes>, LedgerError> {
        extras::get(&self.database, key)
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
