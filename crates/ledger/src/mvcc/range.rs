//! Phantom protection: a range must hold now what it held at endorsement, counting the updates of
//! earlier transactions of the block. fabric: rangequery_validator.go, combined_iterator.go

use std::ops::Bound;

use consilium_protocol::rwset::{KvRead, RangeQueryInfo, Version, merkle};

use super::{StateView, VersionScan};
use crate::error::LedgerError;
use crate::update_batch::{KeyUpdates, Update, UpdateBatch};

pub(super) fn holds(
    namespace: &str,
    recorded: &RangeQueryInfo,
    updates: &UpdateBatch,
    state: &impl StateView,
) -> Result<bool, LedgerError> {
    let now = Merged::new(namespace, recorded, updates.keys(namespace, None), state)?;
    let reads = now.map(|item| {
        item.map(|(key, version)| KvRead {
            // A key that is no UTF-8 cannot have been recorded, so its exact form does not matter.
            key: String::from_utf8_lossy(&key).into_owned(),
            version: Some(version.into()),
        })
    });
    merkle::same_results(recorded.reads_info.as_ref(), reads)
}

/// Updates of a range in key order.
type RangeUpdates<'a> = Box<dyn Iterator<Item = (&'a [u8], &'a Update)> + 'a>;

/// What an iterator over the recorded range would give now.
struct Merged<'a> {
    committed: std::iter::Peekable<VersionScan<'a>>,
    updated: std::iter::Peekable<RangeUpdates<'a>>,
    /// The recorded end key itself, appended when the recording iterator stopped at it.
    last: Option<(Vec<u8>, Version)>,
}

impl<'a> Merged<'a> {
    fn new(
        namespace: &str,
        recorded: &RangeQueryInfo,
        updates: Option<&'a KeyUpdates>,
        state: &'a impl StateView,
    ) -> Result<Self, LedgerError> {
        let (start, end) = (recorded.start_key.as_bytes(), recorded.end_key.as_bytes());
        let last = if recorded.itr_exhausted {
            None
        } else {
            match updates.and_then(|updates| updates.get(end)) {
                Some(update) => update.content.is_some().then_some(update.version),
                None => state.version(namespace, end)?,
            }
            .map(|version| (end.to_vec(), version))
        };
        let updated: RangeUpdates<'a> = match updates {
            // `BTreeMap::range` panics on a start after the end.
            Some(updates) if end.is_empty() || start < end => {
                let upper = if end.is_empty() {
                    Bound::Unbounded
                } else {
                    Bound::Excluded(end)
                };
                Box::new(
                    updates
                        .range::<[u8], _>((Bound::Included(start), upper))
                        .map(|(key, update)| (key.as_ref(), update)),
                )
            }
            _ => Box::new(std::iter::empty()),
        };
        Ok(Merged {
            committed: state.scan(namespace, start, end)?.peekable(),
            updated: updated.peekable(),
            last,
        })
    }
}

impl Iterator for Merged<'_> {
    type Item = Result<(Vec<u8>, Version), LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let updated_first = match (self.committed.peek(), self.updated.peek()) {
                (Some(Ok((committed, _))), Some((updated, _))) => *updated <= committed.as_slice(),
                (Some(_), _) => false,
                (None, Some(_)) => true,
                (None, None) => return self.last.take().map(Ok),
            };
            if !updated_first {
                return self.committed.next();
            }
            let (key, update) = self.updated.next()?;
            // The update replaces the committed entry of the same key.
            self.committed
                .next_if(|entry| matches!(entry, Ok((committed, _)) if committed == key));
            if update.content.is_some() {
                return Some(Ok((key.to_vec(), update.version)));
            }
        }
    }
}
