//! Cursors of a simulation: ranges, which are recorded as far as they are pulled, and histories,
//! which are not.

use consilium_proto::queryresult;
use consilium_protocol::names::private_namespace;
use consilium_protocol::rwset::merkle::RangeSummary;
use consilium_protocol::rwset::{KvRead, RangeQueryInfo};

use super::Simulator;
use super::record::Recording;
use super::rich::{Found, QueryCursor};
use crate::database::Family;
use crate::error::LedgerError;
use crate::history;
use crate::state::{Scan, text};

/// Names an open cursor of one simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CursorId(usize);

#[derive(Debug)]
pub(super) enum Cursor {
    Range(RangeCursor),
    Private(Scan),
    History(history::Cursor),
    Query(Box<QueryCursor>),
}

#[derive(Debug)]
pub(super) struct RangeCursor {
    scan: Scan,
    /// Index of its record.
    record: usize,
    /// Results that the page still has room for; `None` without paging.
    room: Option<u32>,
}

/// One iterator's entry in the read set.
#[derive(Debug)]
pub(super) struct RangeRecord {
    namespace: String,
    start: String,
    /// Last key given out; once the iterator is exhausted, the end of the query.
    end: String,
    query_end: String,
    exhausted: bool,
    results: RangeSummary,
}

impl RangeRecord {
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Adds the entry, unless one of the same bounds is there already.
    pub(super) fn record(self, recording: &mut Recording) {
        let ranges = &mut recording.namespace(&self.namespace).ranges;
        let is_known = ranges.iter().any(|known| {
            known.start_key == self.start
                && known.end_key == self.end
                && known.itr_exhausted == self.exhausted
        });
        if !is_known {
            ranges.push(RangeQueryInfo {
                start_key: self.start,
                end_key: self.end,
                itr_exhausted: self.exhausted,
                reads_info: self.results.finish(),
            });
        }
    }
}

impl Simulator {
    /// Opens a cursor over public keys in `[start, end)`; an empty `end` means to the last key.
    /// What is pulled from it, and whether its end was seen, is recorded.
    pub fn range(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
    ) -> Result<CursorId, LedgerError> {
        self.open_range(namespace, start, end, None)
    }

    /// As [`range`](Self::range), but gives at most `page_size` results (0: no limit), after which
    /// [`bookmark`](Self::bookmark) says where to go on. Transactions with paginated queries cannot write.
    pub fn paginated_range(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
        page_size: u32,
    ) -> Result<CursorId, LedgerError> {
        self.begin_paginated()?;
        let room = (page_size > 0).then_some(page_size);
        self.open_range(namespace, start, end, room)
    }

    /// Opens a cursor over clear values of a collection. Nothing of it is recorded, so such a
    /// transaction cannot write.
    pub fn private_range(
        &mut self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<CursorId, LedgerError> {
        self.begin_private_query(namespace, collection)?;
        Ok(self.open(Cursor::Private(Scan::new(
            Family::PrivateState,
            &private_namespace(namespace, collection),
            start.as_bytes(),
            end.as_bytes(),
        ))))
    }

    /// Opens a cursor over the writes of a public key, newest first. Nothing of it is recorded.
    pub fn history(&mut self, namespace: &str, key: &str) -> Result<CursorId, LedgerError> {
        Ok(self.open(Cursor::History(history::Cursor::new(namespace, key))))
    }

    /// The next key and value of a range; `None` at its end or at the end of its page.
    pub fn next(&mut self, id: CursorId) -> Result<Option<(String, bytes::Bytes)>, LedgerError> {
        let snapshot = self.state.snapshot();
        let cursor = self.cursors.get_mut(id.0).and_then(Option::as_mut);
        match cursor.ok_or(LedgerError::UnknownCursor)? {
            Cursor::Range(cursor) => {
                if cursor.room == Some(0) {
                    return Ok(None);
                }
                let record = self
                    .ranges
                    .get_mut(cursor.record)
                    .ok_or(LedgerError::UnknownCursor)?;
                let Some((key, value)) = cursor.scan.next(snapshot)? else {
                    record.exhausted = true;
                    record.end.clone_from(&record.query_end);
                    return Ok(None);
                };
                let key = text(key)?;
                record.end.clone_from(&key);
                record.results.push(KvRead {
                    key: key.clone(),
                    version: Some(value.version.into()),
                });
                if let Some(room) = &mut cursor.room {
                    *room -= 1;
                }
                Ok(Some((key, value.value)))
            }
            Cursor::Private(scan) => match scan.next(snapshot)? {
                Some((key, value)) => Ok(Some((text(key)?, value.value))),
                None => Ok(None),
            },
            Cursor::Query(cursor) => {
                let found = cursor.next(snapshot, &self.stopped)?;
                let Some(Found {
                    key,
                    version,
                    result,
                }) = found
                else {
                    return Ok(None);
                };
                if cursor.is_public() {
                    let namespace = self.recording.namespace(cursor.namespace());
                    namespace.reads.insert(key.clone(), Some(version));
                }
                Ok(Some((key, result)))
            }
            Cursor::History(_) => Err(LedgerError::UnknownCursor),
        }
    }

    /// The next older write of a history; `None` at its end.
    pub fn next_modification(
        &mut self,
        id: CursorId,
    ) -> Result<Option<queryresult::KeyModification>, LedgerError> {
        match self.cursors.get_mut(id.0).and_then(Option::as_mut) {
            Some(Cursor::History(cursor)) => cursor.next(self.state.snapshot()),
            _ => Err(LedgerError::UnknownCursor),
        }
    }

    /// The first key of a range that was not given out, "" if there is none; of a JSON query, the
    /// place of the last result. Not recorded.
    pub fn bookmark(&mut self, id: CursorId) -> Result<String, LedgerError> {
        match self.cursors.get_mut(id.0).and_then(Option::as_mut) {
            Some(Cursor::Range(cursor)) => match cursor.scan.peek(self.state.snapshot())? {
                Some(key) => text(key),
                None => Ok(String::new()),
            },
            Some(Cursor::Query(cursor)) => Ok(cursor.bookmark()),
            _ => Err(LedgerError::UnknownCursor),
        }
    }

    /// Closes a cursor; its record stays. Unknown ones are ignored.
    pub fn close(&mut self, id: CursorId) {
        if let Some(cursor) = self.cursors.get_mut(id.0) {
            *cursor = None;
        }
    }

    fn open_range(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
        room: Option<u32>,
    ) -> Result<CursorId, LedgerError> {
        let record = self.ranges.len();
        self.ranges.push(RangeRecord {
            namespace: namespace.into(),
            start: start.into(),
            end: String::new(),
            query_end: end.into(),
            exhausted: false,
            results: RangeSummary::default(),
        });
        Ok(self.open(Cursor::Range(RangeCursor {
            scan: Scan::new(Family::State, namespace, start.as_bytes(), end.as_bytes()),
            record,
            room,
        })))
    }

    pub(super) fn begin_paginated(&mut self) -> Result<(), LedgerError> {
        if self.wrote {
            return Err(
                self.unsupported("Paginated queries are supported only in a read-only transaction")
            );
        }
        self.paginated = true;
        Ok(())
    }

    pub(super) fn begin_private_query(
        &mut self,
        namespace: &str,
        collection: &str,
    ) -> Result<(), LedgerError> {
        self.check_collection(namespace, collection)?;
        if self.wrote {
            return Err(self
                .unsupported("Queries on pvt data is supported only in a read-only transaction"));
        }
        self.queried_private = true;
        self.private_reads
            .insert((namespace.into(), collection.into()));
        Ok(())
    }

    pub(super) fn open(&mut self, cursor: Cursor) -> CursorId {
        self.cursors.push(Some(cursor));
        CursorId(self.cursors.len() - 1)
    }
}
