//! Clear sets of committed blocks that this peer does not have.
//! fabric: core/ledger/pvtdatastorage (missing data entries)

use super::keys::{self, PrivatePlace};
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// Why a clear set is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingKind {
    /// It did not come; to be looked for.
    Eligible,
    /// It was looked for in vain; to be looked for less often.
    Deprioritized,
    /// The collection's policy does not let this peer have it.
    Ineligible,
}

impl MissingKind {
    pub(super) const ALL: [MissingKind; 3] = [
        MissingKind::Eligible,
        MissingKind::Deprioritized,
        MissingKind::Ineligible,
    ];

    fn code(self) -> u8 {
        match self {
            MissingKind::Eligible => b'e',
            MissingKind::Deprioritized => b'l',
            MissingKind::Ineligible => b'i',
        }
    }
}

/// A clear set that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MissingData {
    /// Block number.
    pub block: u64,
    /// Where in the block.
    pub place: PrivatePlace,
}

pub(super) fn put(
    batch: &mut Batch<'_>,
    kind: MissingKind,
    block: u64,
    place: &PrivatePlace,
) -> Result<(), LedgerError> {
    let key = keys::missing_key(kind.code(), block, place);
    batch.put(Family::PrivateData, &key, &[])
}

/// Forgets that a set is missing.
pub(super) fn clear(
    batch: &mut Batch<'_>,
    block: u64,
    place: &PrivatePlace,
) -> Result<(), LedgerError> {
    for kind in MissingKind::ALL {
        let key = keys::missing_key(kind.code(), block, place);
        batch.delete(Family::PrivateData, &key)?;
    }
    Ok(())
}

pub(super) fn is_noted(
    ledger: &Ledger,
    kind: MissingKind,
    missing: &MissingData,
) -> Result<bool, LedgerError> {
    let key = keys::missing_key(kind.code(), missing.block, &missing.place);
    ledger.database.contains(Family::PrivateData, &key)
}

/// Whether a set is noted as missing, for whatever reason.
pub(super) fn is_noted_at_all(
    ledger: &Ledger,
    block: u64,
    place: &PrivatePlace,
) -> Result<bool, LedgerError> {
    for kind in MissingKind::ALL {
        let key = keys::missing_key(kind.code(), block, place);
        if ledger.database.contains(Family::PrivateData, &key)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Ledger {
    /// Up to `limit` missing sets, newest block first; only those behind `after`, if given.
    ///
    /// # Errors
    /// The database's.
    pub fn missing_private(
        &self,
        kind: MissingKind,
        after: Option<&MissingData>,
        limit: usize,
    ) -> Result<Vec<MissingData>, LedgerError> {
        let prefix = [b'm', kind.code()];
        let start = match after {
            Some(last) => {
                let mut key = keys::missing_key(kind.code(), last.block, &last.place);
                key.push(0);
                key
            }
            None => prefix.to_vec(),
        };
        let end = keys::after(&prefix);
        let records =
            self.database
                .scan(Family::PrivateData, &start, Some(end.as_slice()), limit)?;
        records
            .into_iter()
            .map(|(key, _)| {
                let (block, place) = keys::parse_missing_key(&key)
                    .ok_or_else(|| LedgerError::damaged("record of missing private data"))?;
                Ok(MissingData { block, place })
            })
            .collect()
    }

    /// Moves records of missing sets from one kind to another; those that are not there any more
    /// (they came or expired meanwhile) stay away.
    ///
    /// # Errors
    /// The database's.
    pub fn move_missing_private(
        &self,
        missing: &[MissingData],
        from: MissingKind,
        to: MissingKind,
    ) -> Result<(), LedgerError> {
        let _turn = self.committing.lock();
        let mut batch = self.database.batch();
        for missing in missing {
            if is_noted(self, from, missing)? {
                clear(&mut batch, missing.block, &missing.place)?;
                put(&mut batch, to, missing.block, &missing.place)?;
            }
        }
        batch.write(false)
    }
}
