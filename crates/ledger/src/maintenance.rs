//! Changing a ledger that no peer has open: making its database again, rolling it back.
//!
//! Each is a mark in the database, steps that may be done twice, and the end of the mark in the same
//! batch as the database's new beginning. Opening finishes what a crash interrupted, and then applies
//! the blocks again. fabric: core/ledger/kvledger/rebuild_dbs.go, rollback.go, reset.go

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blockfile::{BlockFiles, Found, Kind, Position, Scan};
use crate::chain::{self, Base, be64};
use crate::compare;
use crate::database::{Batch, Database, Family};
use crate::error::{LedgerError, Owner};
use crate::failpoint::Point;
use crate::ledger::Ledger;
use crate::options::StoreOptions;
use crate::recovery::{self, Progress};

const BEFORE_RESET: &[u8] = b"before reset";
const MARK: &[u8] = b"maintenance";
const REBUILD: &[u8] = b"rebuild";
/// Followed by the number of the last block that stays.
const ROLLBACK: &[u8] = b"rollback";

/// What a rebuild did.
#[derive(Debug)]
pub struct Rebuilt {
    /// The ledger, up to its last block.
    pub ledger: Arc<Ledger>,
    /// Where the database was put that could not be opened any more. Private data that only it held
    /// is missing now.
    pub set_aside: Option<PathBuf>,
    /// Kinds of private data that could not be read any more and are missing now.
    pub lost: Vec<&'static str>,
}

impl Ledger {
    /// Drops everything in the database at `path` that follows from the blocks, and applies them
    /// again. Private data that is stored here is applied with them.
    ///
    /// # Errors
    /// When the ledger is open elsewhere, began with a snapshot, or a block is damaged.
    pub fn rebuild(
        path: impl AsRef<Path>,
        options: &StoreOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Rebuilt, LedgerError> {
        let path = path.as_ref();
        if !Database::exists(path) {
            return Err(LedgerError::Missing(path.into()));
        }
        // Before anything is repaired or moved: the database may be what knows the snapshot.
        refuse_without_first_block(&Database::files_of(path, Owner::Peer))?;
        let (database, set_aside) = match open_readable(path, options) {
            Err(LedgerError::CorruptDatabase { .. }) => open_damaged(path, options)?,
            opened => (opened?, None),
        };
        refuse_behind_snapshot(&database, "rebuild databases of")?;
        // A rollback that was interrupted goes first.
        finish(&database)?;
        let mut batch = database.batch();
        batch.put(Family::Meta, MARK, REBUILD)?;
        batch.write(true)?;
        database.point(Point::RebuildMarked)?;
        let lost = reset(&database)?;
        drop(database);
        Ok(Rebuilt {
            ledger: Self::open_with(path, options, progress)?,
            set_aside,
            lost,
        })
    }

    /// Cuts the chain at `path` back so that `block` is its last block, and makes the database as it
    /// was then. Gives the height before.
    ///
    /// # Errors
    /// As [`rebuild`](Self::rebuild), and when nothing comes after `block`.
    pub fn rollback(
        path: impl AsRef<Path>,
        block: u64,
        options: &StoreOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<u64, LedgerError> {
        let path = path.as_ref();
        if !Database::exists(path) {
            return Err(LedgerError::Missing(path.into()));
        }
        let database = Database::open(path, Owner::Peer, options)?;
        refuse_behind_snapshot(&database, "rollback")?;
        finish(&database)?;
        let height = chain::height(&database)?;
        if end_of(&database, block)? >= database.files.end()? {
            let (target, last) = (block, block);
            return Err(LedgerError::NotBeforeLast { target, last });
        }
        let before = height.max(height_before_reset(&database)?);
        let mut batch = database.batch();
        let mark = [ROLLBACK, &block.to_be_bytes()].concat();
        batch.put(Family::Meta, MARK, &mark)?;
        batch.put(Family::Meta, BEFORE_RESET, &before.to_be_bytes())?;
        batch.write(true)?;
        database.point(Point::RollbackMarked)?;
        finish(&database)?;
        drop(database);
        Self::open_with(path, options, progress)?;
        Ok(height)
    }

    /// Whether the ledger at `path`, which nobody needs to have open, began with a snapshot: its
    /// block 0 is not there. Such a ledger can be neither rebuilt nor rolled back.
    ///
    /// # Errors
    /// When there is no ledger, or its first block cannot be read.
    pub fn began_with_snapshot(path: impl AsRef<Path>) -> Result<bool, LedgerError> {
        let path = path.as_ref();
        if !Database::exists(path) {
            return Err(LedgerError::Missing(path.into()));
        }
        let files = Database::files_of(path, Owner::Peer);
        Ok(recovery::first_block(&files)?.is_none())
    }
}

fn refuse_behind_snapshot(database: &Database, doing: &str) -> Result<(), LedgerError> {
    if Base::load(database)?.first > 0 {
        return Err(LedgerError::Refused(format!(
            "cannot {doing} the channel because it was bootstrapped from a snapshot"
        )));
    }
    Ok(())
}

/// Refuses to give up a database that no blocks are there to make again.
fn refuse_without_first_block(files: &BlockFiles) -> Result<(), LedgerError> {
    if recovery::first_block(files)?.is_some() {
        return Ok(());
    }
    Err(LedgerError::Refused(format!(
        "cannot rebuild databases of the channel because it was bootstrapped from a snapshot: its \
         block 0 is not in {}. If its database is damaged, remove the channel with \
         `consilium ledger unjoin` and join it again from the snapshot",
        files.folder().display()
    )))
}

/// Opens a database whose bookkeeping can be read: opening alone does not look at the records.
fn open_readable(path: &Path, options: &StoreOptions) -> Result<Arc<Database>, LedgerError> {
    let database = Database::open(path, Owner::Peer, options)?;
    compare::read_all(&database, Family::Meta)?;
    Ok(database)
}

/// Opens a damaged database: as far as RocksDB can repair it, else a new one.
fn open_damaged(
    path: &Path,
    options: &StoreOptions,
) -> Result<(Arc<Database>, Option<PathBuf>), LedgerError> {
    if let Err(error) = Database::repair(path) {
        tracing::warn!(path = %path.display(), %error, "RocksDB cannot repair the database");
    }
    match open_readable(path, options) {
        Err(LedgerError::CorruptDatabase { .. }) => {
            let aside = Database::set_aside(path)?;
            Ok((Database::open(path, Owner::Peer, options)?, Some(aside)))
        }
        opened => Ok((opened?, None)),
    }
}

/// Finishes what was interrupted.
pub(crate) fn finish(database: &Database) -> Result<(), LedgerError> {
    let Some(mark) = database.get(Family::Meta, MARK)? else {
        return Ok(());
    };
    if let Some(block) = mark.strip_prefix(ROLLBACK) {
        let block = be64(block).ok_or_else(|| LedgerError::damaged("mark of a rollback"))?;
        database.files.cut(end_of(database, block)?)?;
        database.point(Point::RollbackCut)?;
    }
    reset(database).map(drop)
}

/// Lets the database begin anew, and ends the mark. What could not be kept is named.
fn reset(database: &Database) -> Result<Vec<&'static str>, LedgerError> {
    let lost = database.drop_what_follows_from_blocks()?;
    // Clear keys, expiry and the history of collections follow from the blocks; the clear sets
    // themselves do not.
    for kind in [b'k', b'e', b'c'] {
        database.delete_range(Family::PrivateData, &[kind], &[kind + 1])?;
    }
    database.point(Point::RebuildDropped)?;
    let mut batch = database.batch();
    chain::forget(&mut batch)?;
    batch.delete(Family::Meta, MARK)?;
    // What was known to be on disk still is; behind it may lie what a crash tore.
    if let Some(synced) = chain::synced(database)? {
        chain::put_synced(&mut batch, synced.min(database.files.end()?))?;
    }
    batch.write(true)?;
    database.point(Point::RebuildReset)?;
    Ok(lost)
}

/// Where the record of a block ends. The index is not asked: it may be what is broken.
fn end_of(database: &Database, block: u64) -> Result<Position, LedgerError> {
    let files = &database.files;
    let last = files.last_file()?.unwrap_or_default();
    let mut begin = 0;
    for file in 0..=last {
        // The number of a file that is damaged there is not needed if the block is before.
        if files.first_block(file).is_ok_and(|first| first <= block) {
            begin = file;
        }
    }
    let mut scan = Scan::new(files, Position::first_of(begin))?;
    let mut found = None;
    loop {
        match scan.step()? {
            Found::Record(location, record) if record.kind == Kind::Block => {
                if record.number == block {
                    return Ok(location.end());
                }
                found = Some(record.number);
            }
            Found::Record(..) => {}
            Found::Damage(at, fault) => {
                let next = found.map(|number| number + 1);
                return Err(files.corrupt(at, next, fault));
            }
            Found::End(_) => {
                let (target, last) = (block, found.unwrap_or_default());
                return Err(LedgerError::NotBeforeLast { target, last });
            }
        }
    }
}

/// The height before a rollback, 0 without one.
pub(crate) fn height_before_reset(database: &Database) -> Result<u64, LedgerError> {
    match database.get(Family::Meta, BEFORE_RESET)? {
        Some(height) => be64(&height).ok_or_else(|| LedgerError::damaged("height before a reset")),
        None => Ok(0),
    }
}

/// Adds to a batch that the height from before a rollback is reached again.
pub(crate) fn forget_height_before_reset(batch: &mut Batch<'_>) -> Result<(), LedgerError> {
    batch.delete(Family::Meta, BEFORE_RESET)
}
