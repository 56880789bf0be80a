//! JSON queries of a simulation. Each result counts as a read of its key; that nothing else
//! matches is not recorded, so such a query is not repeated at commit: Fabric gives no protection
//! against phantoms here either. fabric: query_executor.go queryResultsItr

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use consilium_mango::{Access, Bookmark, Document, Index, MangoError, Query, plan};
use consilium_protocol::names::private_namespace;
use consilium_protocol::rwset::Version;

use super::Simulator;
use super::queries::{Cursor, CursorId};
use crate::database::{Family, Record, Snapshot, successor};
use crate::error::LedgerError;
use crate::indexes;
use crate::state::{self, VersionedValue, text};

/// Records fetched by one step.
const STEP: usize = 64;

/// The results of a JSON query that were not given out yet.
#[derive(Debug)]
pub(super) struct QueryCursor {
    query: Query,
    source: Source,
    /// State namespace and family of the documents.
    place: String,
    family: Family,
    /// Matches to pass over.
    skip: u64,
    /// Results that the page still has room for; `None` without paging.
    room: Option<u32>,
    /// Where the last result was.
    last: Option<Bookmark>,
}

/// Records in the order of the results.
#[derive(Debug)]
struct Source {
    /// `None`: the documents themselves.
    index: Option<Arc<Index>>,
    family: Family,
    /// Length of what stands before the part that bookmarks name.
    prefix: usize,
    /// What is left, `[start, end)`.
    start: Vec<u8>,
    end: Vec<u8>,
    descending: bool,
    fetched: std::vec::IntoIter<Record>,
    ended: bool,
}

/// A document that matches.
pub(super) struct Found {
    pub(super) key: String,
    pub(super) version: Version,
    pub(super) result: Bytes,
}

impl Simulator {
    /// Opens a cursor over the public documents that match a query in CouchDB's form. What is
    /// pulled is recorded key by key.
    pub fn query(&mut self, namespace: &str, query: &str) -> Result<CursorId, LedgerError> {
        self.open_query(namespace, None, query, "", None)
    }

    /// As [`query`](Self::query), from `bookmark` on (empty: from the start) and at most
    /// `page_size` results (0: no limit), after which [`bookmark`](Self::bookmark) says where to go
    /// on. Transactions with paginated queries cannot write.
    pub fn paginated_query(
        &mut self,
        namespace: &str,
        query: &str,
        bookmark: &str,
        page_size: u32,
    ) -> Result<CursorId, LedgerError> {
        self.begin_paginated()?;
        let room = (page_size > 0).then_some(page_size);
        self.open_query(namespace, None, query, bookmark, room)
    }

    /// Opens a cursor over the clear documents of a collection that match. Nothing of it is
    /// recorded, so such a transaction cannot write.
    pub fn private_query(
        &mut self,
        namespace: &str,
        collection: &str,
        query: &str,
    ) -> Result<CursorId, LedgerError> {
        self.begin_private_query(namespace, collection)?;
        self.open_query(namespace, Some(collection), query, "", None)
    }

    fn open_query(
        &mut self,
        namespace: &str,
        collection: Option<&str>,
        query: &str,
        bookmark: &str,
        room: Option<u32>,
    ) -> Result<CursorId, LedgerError> {
        let query = Query::parse(query, bookmark).map_err(refused)?;
        let place = match collection {
            None => namespace.to_owned(),
            Some(collection) => private_namespace(namespace, collection),
        };
        let family = indexes::state_family(collection);
        let known = indexes::ready(self.state.snapshot(), &self.indexes, &place)?;
        let access = plan(&query, &known).map_err(refused)?;
        let source = Source::new(&query, &place, family, access, known)?;
        Ok(self.open(Cursor::Query(Box::new(QueryCursor {
            skip: query.skip,
            query,
            source,
            place,
            family,
            room,
            last: None,
        }))))
    }
}

impl QueryCursor {
    /// Whether results are of public state.
    pub(super) fn is_public(&self) -> bool {
        self.family == Family::State
    }

    /// The namespace of public results.
    pub(super) fn namespace(&self) -> &str {
        &self.place
    }

    /// Where the results ended.
    pub(super) fn bookmark(&self) -> String {
        Bookmark::of_page(self.last.as_ref(), &self.query.bookmark)
    }

    /// The next result. Looks through as many documents as it takes, unless `stopped`.
    pub(super) fn next(
        &mut self,
        snapshot: &Snapshot,
        stopped: &AtomicBool,
    ) -> Result<Option<Found>, LedgerError> {
        if self.room == Some(0) {
            return Ok(None);
        }
        loop {
            go_on(stopped)?;
            let Some((record_key, record)) = self.source.next(snapshot)? else {
                return Ok(None);
            };
            let position = record_key.get(self.source.prefix..).unwrap_or_default();
            let (key, value) = match &self.source.index {
                None => (text(position.to_vec())?, record.into_vec()),
                Some(index) => {
                    let key = index
                        .key_of(position)
                        .ok_or_else(|| LedgerError::damaged("index record"))?;
                    let state_key = state::key(&self.place, key.as_bytes());
                    let value = snapshot.get(self.family, &state_key)?.ok_or_else(|| {
                        LedgerError::damaged(format!("an index points to [{key}]"))
                    })?;
                    (key.to_owned(), value)
                }
            };
            let VersionedValue { value, version, .. } = VersionedValue::decode(value)?;
            let Some(document) = Document::parse(&key, &value) else {
                continue;
            };
            let matches = self.query.matches(&document, stopped);
            // The answer is worth nothing if it was stopped meanwhile.
            go_on(stopped)?;
            if !matches {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.last = Some(Bookmark {
                index: self.source.id(),
                record: position.to_vec(),
            });
            if let Some(room) = &mut self.room {
                *room -= 1;
            }
            return Ok(Some(Found {
                key,
                version,
                result: self.query.result(document).into(),
            }));
        }
    }
}

impl Source {
    fn new(
        query: &Query,
        place: &str,
        state_family: Family,
        access: Access,
        known: Vec<Arc<Index>>,
    ) -> Result<Self, LedgerError> {
        let mut source = Source {
            index: None,
            family: state_family,
            prefix: 0,
            start: Vec::new(),
            end: Vec::new(),
            descending: false,
            fetched: Vec::new().into_iter(),
            ended: false,
        };
        match access {
            Access::Nothing => source.ended = true,
            Access::Documents { descending } => {
                source.start = state::key(place, &[]);
                source.end = state::scan_end(place, &[]);
                source.prefix = source.start.len();
                source.descending = descending;
            }
            Access::Records {
                index,
                start,
                end,
                descending,
            } => {
                let index = known
                    .into_iter()
                    .nth(index)
                    .ok_or_else(|| LedgerError::damaged("plan of a query"))?;
                let prefix = indexes::records_prefix(place, &index.id());
                source.family = Family::QueryIndex;
                source.prefix = prefix.len();
                source.start = [prefix.as_slice(), &start].concat();
                source.end = [prefix.as_slice(), &end].concat();
                source.descending = descending;
                source.index = Some(index);
            }
        }
        if !query.bookmark.is_empty() {
            source.go_behind(&query.bookmark)?;
        }
        source.ended |= source.start >= source.end;
        Ok(source)
    }

    fn id(&self) -> [u8; 8] {
        self.index
            .as_ref()
            .map(|index| index.id())
            .unwrap_or_default()
    }

    /// Goes on where a page ended. A bookmark of another way through the documents, such as an
    /// index that is gone, would leave out or repeat some.
    fn go_behind(&mut self, bookmark: &str) -> Result<(), LedgerError> {
        let parsed = Bookmark::decode(bookmark).map_err(refused)?;
        if self.ended {
            return Ok(());
        }
        if parsed.index != self.id() {
            return Err(refused(Bookmark::invalid(bookmark)));
        }
        let prefix = self.start.get(..self.prefix).unwrap_or_default();
        let position = [prefix, &parsed.record].concat();
        if self.descending {
            self.end = position.min(std::mem::take(&mut self.end));
        } else {
            self.start = successor(position).max(std::mem::take(&mut self.start));
        }
        Ok(())
    }

    fn next(&mut self, snapshot: &Snapshot) -> Result<Option<Record>, LedgerError> {
        if let Some(record) = self.fetched.next() {
            return Ok(Some(record));
        }
        if self.ended {
            return Ok(None);
        }
        let records = if self.descending {
            snapshot.scan_back(self.family, &self.start, &self.end, STEP)?
        } else {
            snapshot.scan(self.family, &self.start, Some(self.end.as_slice()), STEP)?
        };
        match records.last() {
            None => self.ended = true,
            Some((last, _)) if self.descending => self.end = last.to_vec(),
            Some((last, _)) => self.start = successor(last.to_vec()),
        }
        self.fetched = records.into_iter();
        Ok(self.fetched.next())
    }
}

/// Ends what is done for a transaction that nobody waits for any more.
fn go_on(stopped: &AtomicBool) -> Result<(), LedgerError> {
    if stopped.load(Ordering::Relaxed) {
        return Err(LedgerError::Refused("the transaction is over".into()));
    }
    Ok(())
}

fn refused(error: MangoError) -> LedgerError {
    LedgerError::Refused(error.to_string())
}
