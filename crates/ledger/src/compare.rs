//! Comparing a database with one that was made again from the same blocks.

use crate::chain::be64;
use crate::database::{Database, Family, Record};
use crate::error::LedgerError;
use crate::state::VersionedValue;
use crate::tx_index::TxStatus;
use crate::verify::LedgerFault;

/// Differences told per family: after some, the rest tells nothing new.
const MOST: usize = 20;
/// Records read at once; fewer if they are large.
const STEP: usize = 256;

/// All records of a family, in key order.
struct Records<'a> {
    database: &'a Database,
    family: Family,
    next: Vec<u8>,
    read: std::vec::IntoIter<Record>,
}

impl<'a> Records<'a> {
    fn new(database: &'a Database, family: Family) -> Self {
        Records {
            database,
            family,
            next: Vec::new(),
            read: Vec::new().into_iter(),
        }
    }

    fn next(&mut self) -> Result<Option<Record>, LedgerError> {
        if self.read.as_slice().is_empty() {
            let read = self.database.step(self.family, &self.next, STEP)?;
            if let Some((last, _)) = read.last() {
                self.next = [last, [0].as_slice()].concat();
            }
            self.read = read.into_iter();
        }
        Ok(self.read.next())
    }
}

/// Reads a whole family, so that RocksDB checks what it reads.
pub(crate) fn read_all(database: &Database, family: Family) -> Result<(), LedgerError> {
    let mut records = Records::new(database, family);
    while records.next()?.is_some() {}
    Ok(())
}

/// What differs between `database` and the same made `again`; without that, it is only read.
pub(crate) fn families(
    database: &Database,
    again: Option<&std::sync::Arc<Database>>,
    family: Family,
) -> Result<Vec<LedgerFault>, LedgerError> {
    let Some(again) = again else {
        read_all(database, family)?;
        return Ok(Vec::new());
    };
    let (mut here, mut there) = (Records::new(database, family), Records::new(again, family));
    let (mut stored, mut right) = (here.next()?, there.next()?);
    let mut faults = Vec::new();
    while faults.len() < MOST {
        let keys = (stored.as_ref().map(|r| &r.0), right.as_ref().map(|r| &r.0));
        let (what, key, value) = match (keys, &stored, &right) {
            ((None, None), ..) => break,
            ((Some(a), Some(b)), Some(stored), Some(right)) if a == b => (
                "another value than the blocks give",
                a,
                (stored.1 != right.1).then_some(&right.1),
            ),
            ((Some(a), b), Some(stored), _) if b.is_none_or(|b| a < b) => {
                ("a record that the blocks do not give", a, Some(&stored.1))
            }
            ((_, Some(b)), _, Some(right)) => {
                ("no record, and the blocks give one", b, Some(&right.1))
            }
            _ => break,
        };
        if let Some(value) = value {
            let (block, transaction) = origin(family, key, value);
            faults.push(LedgerFault {
                file: Some(database.path().into()),
                block,
                transaction,
                what: format!("{} has {what}", shown(family, key)),
                ..LedgerFault::default()
            });
        }
        let is_here = keys.1.is_none_or(|b| keys.0.is_some_and(|a| a <= b));
        let is_there = keys.0.is_none_or(|a| keys.1.is_some_and(|b| b <= a));
        if is_here {
            stored = here.next()?;
        }
        if is_there {
            right = there.next()?;
        }
    }
    Ok(faults)
}

/// The block and transaction that a record comes from, as far as it says so.
fn origin(family: Family, key: &[u8], value: &[u8]) -> (Option<u64>, Option<u32>) {
    match family {
        Family::State => match VersionedValue::decode(value.to_vec()) {
            Ok(value) => (
                Some(value.version.block),
                u32::try_from(value.version.tx).ok(),
            ),
            Err(_) => (None, None),
        },
        Family::History => {
            let block = key
                .len()
                .checked_sub(12)
                .and_then(|at| be64(&key[at..at + 8]));
            let index = key.last_chunk().map(|index| !u32::from_be_bytes(*index));
            (block.map(|block| !block), index)
        }
        Family::Index => match key.first() {
            Some(b'n') => (be64(&key[1..]), None),
            Some(b'h') => (be64(value), None),
            _ => match TxStatus::decode(value) {
                Ok(status) => (Some(status.block), Some(status.index)),
                Err(_) => (None, None),
            },
        },
        _ => (None, None),
    }
}

fn shown(family: Family, key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key).replace('\0', "/");
    let text: String = text.chars().take(100).collect();
    format!("{family:?} {text:?}")
}
