//! Opening: database and block files are brought to the same whole block, whatever a crash tore.
//!
//! The files are the truth and the database follows. It may be behind: then it takes the records
//! that it lacks. At an orderer, which syncs neither with every block, it may also be ahead after a
//! loss of power: then it is cut back. What lies before the last known sync and cannot be read was
//! not torn by a crash; that is refused. `docs/ledger.md` says why this is enough.

use consilium_proto::common;

use crate::blockfile::{Appended, BlockFiles, Fault, Found, Location, Position, Record, Scan};
use crate::chain;
use crate::database::Database;
use crate::error::{LedgerError, Owner};
use crate::failpoint::Point;

/// How far long work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of block files that are done.
    pub done: u64,
    /// Bytes of block files in all.
    pub total: u64,
}

/// What one kind of chain does with what is found.
pub(crate) trait Follower {
    /// A record that the database has taken already; only those are shown that may be unsynced.
    fn known(&mut self, location: Location, record: &Record);

    /// Takes a record that the database lacks.
    fn take(&mut self, appended: &Appended, record: Record) -> Result<(), LedgerError>;

    /// Cuts the database back to the records before `end`.
    fn cut_back(&mut self, end: Position) -> Result<(), LedgerError>;
}

/// Refuses files that lack what the database of a peer knows: state cannot be cut back.
pub(crate) fn check_end(database: &Database) -> Result<(), LedgerError> {
    let end = database.files.end()?;
    if end < chain::taken(database)? {
        return Err(ends_early(database, end));
    }
    Ok(())
}

/// Brings database and block files together.
pub(crate) fn recover(
    database: &Database,
    follower: &mut dyn Follower,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), LedgerError> {
    let files = &database.files;
    let taken = chain::taken(database)?;
    let synced = chain::synced(database)?;
    let begin = synced.map_or(taken, |synced| synced.min(taken));
    let end = files.end()?;
    let total = files.distance(begin, end.max(begin))?;
    if end < begin {
        return Err(ends_early(database, end));
    }
    let mut scan = Scan::new(files, begin)?;
    let (mut lacking, mut done) = (0u64, 0u64);
    let stop = loop {
        let found = scan.step()?;
        if let Found::Record(location, _) = &found {
            done += u64::from(location.length);
        }
        match found {
            Found::Record(location, record) if location.end() <= taken => {
                follower.known(location, &record);
            }
            Found::Record(location, record) => {
                if lacking == 0 {
                    // What the database says must not become durable before what it says it of.
                    files.sync()?;
                }
                lacking += 1;
                // What is known to be on disk must not become less while blocks are applied again.
                let known = synced.map_or(begin, |synced| synced.min(end));
                let synced = location.end().max(known);
                follower.take(&Appended { location, synced }, record)?;
                database.point(Point::Reapplied)?;
                progress(Progress { done, total });
            }
            Found::End(end) => break end,
            Found::Damage(at, fault) => {
                refuse_unless_torn(database, synced, at, fault)?;
                break at;
            }
        }
    };
    if stop < taken {
        follower.cut_back(stop)?;
    }
    if stop < end {
        tracing::warn!(
            file = %files.path(stop.file).display(),
            offset = stop.offset,
            "a crash left a torn end in the block files; it is cut off"
        );
        database.point(Point::TailFound)?;
        files.cut(stop)?;
        database.point(Point::TailCut)?;
    }
    if lacking > 0 {
        tracing::info!(
            folder = %database.path().display(),
            records = lacking,
            "the database was behind the block files and has followed"
        );
    }
    if let Some(synced) = chain::synced(database)? {
        files.set_synced(synced.min(stop));
    }
    Ok(())
}

/// Block 0, if it is in the files.
pub(crate) fn first_block(files: &BlockFiles) -> Result<Option<common::Block>, LedgerError> {
    let mut scan = Scan::new(files, Position::first_of(0))?;
    match scan.step()? {
        Found::Record(_, record) if record.number == 0 => chain::decode(0, record.block).map(Some),
        Found::Damage(at, fault) => Err(files.corrupt(at, Some(0), fault)),
        _ => Ok(None),
    }
}

/// Damage is a crash's doing only where nothing was known to be on disk.
fn refuse_unless_torn(
    database: &Database,
    synced: Option<Position>,
    at: Position,
    fault: Fault,
) -> Result<(), LedgerError> {
    let files = &database.files;
    let height = chain::height(database)?;
    let was_whole = match synced {
        Some(synced) => at < synced,
        None => files.goes_on_after(at, height..=u64::MAX)?,
    };
    // A file gets records only after its first bytes are on disk.
    if was_whole || at.offset == 0 {
        let taken = chain::taken(database)?;
        // The next block, if the database stands right before it.
        let block = (at >= taken).then_some(height);
        return Err(files.corrupt(at, block, fault));
    }
    Ok(())
}

/// The refusal for files that lack what the database knows.
fn ends_early(database: &Database, end: Position) -> LedgerError {
    LedgerError::CorruptBlockFile {
        file: database.files.path(end.file),
        offset: end.offset,
        block: None,
        reason: "the file ends here, and the database knows blocks behind it".into(),
        repair: match database.owner() {
            Owner::Peer => database.owner().repair_of_database().into(),
            Owner::Orderer => database.owner().repair_of_blocks(None),
        },
    }
}
