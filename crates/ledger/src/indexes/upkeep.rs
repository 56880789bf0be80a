//! Keeping index records in step with the state: they change in the same batch.

use consilium_mango::Document;

use super::{Declared, Indexes, records_prefix};
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::state::StateReader;
use crate::update_batch::UpdateBatch;

impl Indexes {
    /// Adds to the commit's batch what changes in indexes of public state. `state` is the state
    /// before the block.
    pub(crate) fn update(
        &self,
        updates: &UpdateBatch,
        state: &StateReader,
        batch: &mut Batch<'_>,
    ) -> Result<(), LedgerError> {
        let places = self.places();
        for (namespace, changes) in &updates.namespaces {
            let Some(indexes) = places.get(namespace) else {
                continue;
            };
            for (key, update) in &changes.public {
                let before = state.get_raw(namespace, key)?;
                replace(
                    batch,
                    namespace,
                    indexes,
                    key,
                    before.as_ref().map(|before| before.value.as_ref()),
                    update.content.as_ref().map(|after| after.value.as_ref()),
                )?;
            }
        }
        Ok(())
    }

    /// Whether values at this place are indexed.
    pub(crate) fn has(&self, place: &str) -> bool {
        self.places().contains_key(place)
    }

    /// Adds to the commit's batch what changes in a place's indexes when one value does.
    pub(crate) fn replace(
        &self,
        batch: &mut Batch<'_>,
        place: &str,
        key: &[u8],
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<(), LedgerError> {
        match self.places().get(place) {
            Some(indexes) => replace(batch, place, indexes, key, before, after),
            None => Ok(()),
        }
    }
}

fn replace(
    batch: &mut Batch<'_>,
    place: &str,
    indexes: &[Declared],
    key: &[u8],
    before: Option<&[u8]>,
    after: Option<&[u8]>,
) -> Result<(), LedgerError> {
    if before == after {
        return Ok(());
    }
    let document = |value: Option<&[u8]>| Document::parse(std::str::from_utf8(key).ok()?, value?);
    let (before, after) = (document(before), document(after));
    for declared in indexes {
        let entry = |document: &Option<Document>| {
            let record = declared.index.entry(document.as_ref()?)?;
            let prefix = records_prefix(place, &declared.index.id());
            Some([prefix.as_slice(), &record, key].concat())
        };
        let (before, after) = (entry(&before), entry(&after));
        if before == after {
            continue;
        }
        if let Some(before) = before {
            batch.delete(Family::QueryIndex, &before)?;
        }
        if let Some(after) = after {
            batch.put(Family::QueryIndex, &after, &[])?;
        }
    }
    Ok(())
}

/// Adds the records of a document that is there already.
pub(super) fn add(
    batch: &mut Batch<'_>,
    place: &str,
    indexes: &[Declared],
    key: &[u8],
    value: &[u8],
) -> Result<(), LedgerError> {
    replace(batch, place, indexes, key, None, Some(value))
}
