//! Small records of a caller beside its blocks, and how an orderer's index follows the block files.
//!
//! A record is kept with the place in the block files that it came from, and once more as of the
//! last sync. So the index can be cut back to any place after that sync.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::blockfile::{Appended, Kind, Location, Position, Record};
use crate::chain::{self, Tip};
use crate::database::{Batch, Database, Family};
use crate::error::LedgerError;
use crate::recovery::Follower;

const CURRENT: &[u8] = b"x";
const CURRENT_END: &[u8] = b"y";
const DURABLE: &[u8] = b"s";
/// Length of an encoded place.
const PLACE: usize = 12;

type Pair = (Vec<u8>, Vec<u8>);

fn place_of(record: &[u8]) -> Result<Position, LedgerError> {
    let place = record.get(..PLACE).and_then(Position::decode);
    place.ok_or_else(|| LedgerError::damaged("record beside the blocks"))
}

fn placed(begin: Position, value: &[u8]) -> Vec<u8> {
    [&begin.encode(), value].concat()
}

/// The value of a key.
pub(crate) fn get(database: &Database, key: &[u8]) -> Result<Option<Bytes>, LedgerError> {
    let record = database.get(Family::Meta, &[CURRENT, key].concat())?;
    let value = |record: Vec<u8>| {
        place_of(&record)?;
        Ok(Bytes::from(record).slice(PLACE..))
    };
    record.map(value).transpose()
}

/// Adds records that came with what begins at `begin`.
pub(crate) fn put(
    batch: &mut Batch<'_>,
    begin: Position,
    extras: &[Pair],
) -> Result<(), LedgerError> {
    for (key, value) in extras {
        let key = [CURRENT, key].concat();
        batch.put(Family::Meta, &key, &placed(begin, value))?;
    }
    Ok(())
}

/// Current records by key.
fn current(database: &Database) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, LedgerError> {
    let found = database.scan(Family::Meta, CURRENT, Some(CURRENT_END), usize::MAX)?;
    let pairs = found.into_iter();
    Ok(pairs
        .map(|(key, record)| (key[CURRENT.len()..].to_vec(), record.into_vec()))
        .collect())
}

/// Adds to the batch of `appended` and its `extras` the records as of what is on disk now.
pub(crate) fn put_durable(
    database: &Database,
    batch: &mut Batch<'_>,
    appended: &Appended,
    extras: &[Pair],
) -> Result<(), LedgerError> {
    let mut records = current(database)?;
    for (key, value) in extras {
        if appended.location.begin < appended.synced {
            records.insert(key.clone(), placed(appended.location.begin, value));
        }
    }
    for (key, record) in records {
        let key = [DURABLE, &key].concat();
        let known = database.get(Family::Meta, &key)?;
        // Some are large, and most have not changed.
        if known.is_none_or(|known| known.get(..PLACE) != record.get(..PLACE)) {
            batch.put(Family::Meta, &key, &record)?;
        }
    }
    Ok(())
}

/// The database of an orderer's chain while it follows the block files.
pub(crate) struct Index<'a> {
    database: &'a Database,
    /// The end of the chain, once it has been read.
    tip: Option<Tip>,
    /// Records in what may be unsynced, by key.
    seen: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(database: &'a Database) -> Self {
        Index {
            database,
            tip: None,
            seen: BTreeMap::new(),
        }
    }
}

fn pairs(record: &Record) -> Vec<Pair> {
    let pairs = record.extras.iter();
    pairs
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

impl Follower for Index<'_> {
    fn known(&mut self, location: Location, record: &Record) {
        for (key, value) in &record.extras {
            self.seen
                .insert(key.to_vec(), placed(location.begin, value));
        }
    }

    fn take(&mut self, appended: &Appended, record: Record) -> Result<(), LedgerError> {
        let mut batch = self.database.batch();
        if record.kind == Kind::Block {
            let block = chain::decode(record.number, record.block.clone())?;
            let tip = match self.tip.take() {
                Some(tip) => tip,
                None => Tip::load(self.database)?,
            };
            tip.check_next(&block).map_err(|error| {
                let files = &self.database.files;
                files.corrupt(appended.location.begin, Some(record.number), error)
            })?;
            let tip = Tip::after(&block)?;
            chain::put(
                &mut batch,
                record.number,
                &tip.header_hash,
                appended.location,
            )?;
            self.tip = Some(tip);
        }
        let extras = pairs(&record);
        chain::put_taken(&mut batch, appended)?;
        put(&mut batch, appended.location.begin, &extras)?;
        put_durable(self.database, &mut batch, appended, &extras)?;
        batch.write(false)
    }

    fn cut_back(&mut self, end: Position) -> Result<(), LedgerError> {
        let mut batch = self.database.batch();
        let mut height = chain::height(self.database)?;
        while let Some(last) = height.checked_sub(1) {
            let location = chain::location(self.database, last)?;
            if location.is_some_and(|location| location.begin < end) {
                break;
            }
            chain::remove_last(self.database, &mut batch, last)?;
            height = last;
        }
        for (key, record) in current(self.database)? {
            if place_of(&record)? < end {
                continue;
            }
            let durable = self.database.get(Family::Meta, &[DURABLE, &key].concat())?;
            let current = [CURRENT, &key].concat();
            match self.seen.get(&key).or(durable.as_ref()) {
                Some(record) => batch.put(Family::Meta, &current, record)?,
                None => batch.delete(Family::Meta, &current)?,
            }
        }
        chain::put_taken_at(&mut batch, end)?;
        tracing::warn!(
            database = %self.database.path().display(),
            height,
            "the index was ahead of the block files after a loss of power; it is cut back"
        );
        batch.write(true)
    }
}
