//! Which records answer a query.
//!
//! An index is usable if it covers all results: the selector demands its fields, or the query sorts
//! by them. Of the usable ones that which uses most of the selector is taken.
//! couchdb: mango_idx_view:is_usable/3, mango_cursor_view:choose_best_index/1

use std::borrow::Borrow;

use crate::collation;
use crate::error::MangoError;
use crate::index::Index;
use crate::query::Query;
use crate::range::Bounds;

/// Where the results are, in the order in which they are given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing can match.
    Nothing,
    /// Among all documents, by key.
    Documents {
        /// From the last key to the first.
        descending: bool,
    },
    /// Among the documents of some of an index's records.
    Records {
        /// The index's place in the list that was planned with.
        index: usize,
        /// The first record, inclusive.
        start: Vec<u8>,
        /// The end, exclusive.
        end: Vec<u8>,
        /// From the last record to the first.
        descending: bool,
    },
}

/// Chooses among `indexes`.
///
/// # Errors
/// `no_usable_index` if the query sorts and no index has that order, and `invalid_index` if it
/// insists on an index that does not serve it.
pub fn plan<I: Borrow<Index>>(query: &Query, indexes: &[I]) -> Result<Access, MangoError> {
    let selector = &query.selector;
    // Without a partial filter, or asked for by name: only then it may leave documents out.
    let usable: Vec<(usize, &Index)> = indexes
        .iter()
        .map(Borrow::borrow)
        .enumerate()
        .filter(|(_, index)| index.filter.is_none() || is_hinted(query, index))
        .filter(|(_, index)| is_usable(query, index))
        .collect();
    let by_key = documents_usable(query);
    if usable.is_empty() && !by_key {
        return Err(MangoError::no_usable_index());
    }
    let hinted: Vec<_> = usable
        .iter()
        .copied()
        .filter(|(_, index)| is_hinted(query, index))
        .collect();
    let candidates = match (&query.use_index, hinted.is_empty()) {
        (Some(hint), true) if !query.allow_fallback => {
            let named = match &hint.name {
                Some(name) => format!("_design/{}, {name}", hint.ddoc),
                None => format!("_design/{}", hint.ddoc),
            };
            return Err(MangoError::refused(
                "invalid_index",
                format!(
                    "{named} specified by `use_index` could not be found or it is not suitable."
                ),
            ));
        }
        (None, _) if !query.allow_fallback && usable.is_empty() => {
            return Err(MangoError::refused(
                "invalid_index",
                "You must specify an index with the `use_index` parameter.",
            ));
        }
        (_, false) => hinted,
        (_, true) => usable,
    };
    let ranges = selector.ranges();
    if query.asks_for_nothing() || ranges.values().any(Bounds::is_empty) {
        return Ok(Access::Nothing);
    }
    let best = candidates
        .into_iter()
        .map(|(place, index)| {
            let prefix: Vec<&Bounds> = index
                .columns
                .iter()
                .map_while(|column| ranges.get(column))
                .collect();
            (place, index, prefix)
        })
        .min_by_key(|(_, index, prefix)| {
            // Fewest fields of the selector left out, then fewest columns, then by name.
            let left_out = ranges.len().saturating_sub(prefix.len());
            (left_out, index.columns.len(), &index.ddoc, &index.name)
        });
    let descending = query.descending;
    Ok(match best {
        Some((place, _, prefix)) => {
            let (start, end) = key_range(&prefix);
            Access::Records {
                index: place,
                start,
                end,
                descending,
            }
        }
        None => Access::Documents { descending },
    })
}

fn is_hinted(query: &Query, index: &Index) -> bool {
    query.use_index.as_ref().is_some_and(|hint| {
        hint.ddoc == index.ddoc && hint.name.as_ref().is_none_or(|name| *name == index.name)
    })
}

fn is_usable(query: &Query, index: &Index) -> bool {
    let covers = index.columns.iter().all(|column| {
        column.is_id() || query.sort.contains(column) || query.selector.requires(column)
    });
    covers && gives_order(query, index)
}

/// Columns that the selector fixes to one value may stand before those of the sort.
fn gives_order(query: &Query, index: &Index) -> bool {
    let Some(first) = query.sort.first() else {
        return true;
    };
    let sorted = index
        .columns
        .iter()
        .position(|column| column == first || !query.selector.fixes(column));
    sorted.is_some_and(|place| {
        index
            .columns
            .get(place..)
            .is_some_and(|columns| columns.starts_with(&query.sort))
    })
}

/// Documents by key serve queries without sort, and sorting by `_id` if that is selected by.
fn documents_usable(query: &Query) -> bool {
    match query.sort.as_slice() {
        [] => true,
        [only] => only.is_id() && query.selector.ranges().keys().any(|path| path.is_id()),
        _ => false,
    }
}

/// Records whose first columns are within the bounds, and maybe more.
fn key_range(prefix: &[&Bounds]) -> (Vec<u8>, Vec<u8>) {
    let low = prefix.iter().map_while(|bounds| bounds.low.as_ref());
    let start = low.flatten().copied().collect();
    let high = prefix.iter().map_while(|bounds| bounds.high.as_ref());
    let mut end: Vec<u8> = high.flatten().copied().collect();
    end.push(collation::AFTER);
    (start, end)
}
