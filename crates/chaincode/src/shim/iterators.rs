//! Query iterators of one call and the portions in which their results travel.

use crate::session::{Session, StateError};
use bytes::Bytes;
use consilium_ledger::{CursorId, LedgerError, Simulator};
use consilium_proto::protos::{
    QueryMetadata, QueryResponse, QueryResponseMetadata, QueryResultBytes,
};
use consilium_proto::queryresult::Kv;
use prost::Message;
use std::collections::HashMap;

/// Results per answer. One more is pulled before an answer says that there is more.
const PORTION: usize = 100;

/// What an iterator walks over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Keys,
    History,
}

#[derive(Debug)]
struct Open {
    cursor: CursorId,
    kind: Kind,
    /// Pulled but not sent.
    pending: Vec<QueryResultBytes>,
    pulled: u32,
    limit: u32,
    paginated: bool,
}

/// The iterators that a chaincode has open during one call; what it leaves open ends with the call.
#[derive(Debug, Default)]
pub(super) struct Iterators(HashMap<String, Open>);

/// A JSON query as a chaincode asks for it.
pub(super) struct QueryRequest<'a> {
    pub(super) namespace: &'a str,
    pub(super) collection: &'a str,
    pub(super) query: &'a str,
    /// An encoded `QueryMetadata`, or nothing.
    pub(super) metadata: Bytes,
}

/// A range as a chaincode asks for it.
pub(super) struct RangeRequest<'a> {
    pub(super) namespace: &'a str,
    pub(super) collection: &'a str,
    pub(super) start: &'a str,
    pub(super) end: &'a str,
    /// An encoded `QueryMetadata`, or nothing.
    pub(super) metadata: Bytes,
}

impl Iterators {
    /// Opens a range and gives its first portion.
    pub(super) fn open_range(
        &mut self,
        session: &Session,
        request: &RangeRequest<'_>,
        limit: u32,
    ) -> Result<QueryResponse, StateError> {
        let paging = paging(&request.metadata)?;
        session.with_simulator(|simulator| {
            let RangeRequest {
                namespace,
                collection,
                start,
                end,
                ..
            } = *request;
            let mut open = match paging {
                _ if !collection.is_empty() => {
                    let cursor = simulator.private_range(namespace, collection, start, end)?;
                    Open::new(cursor, Kind::Keys, limit)
                }
                Some(paging) => {
                    let start = if paging.bookmark.is_empty() {
                        start
                    } else {
                        &paging.bookmark
                    };
                    let size = u32::try_from(paging.page_size).unwrap_or(0);
                    let cursor = simulator.paginated_range(namespace, start, end, size)?;
                    let limit = if size > 0 { size.min(limit) } else { limit };
                    Open {
                        paginated: true,
                        ..Open::new(cursor, Kind::Keys, limit)
                    }
                }
                None => Open::new(simulator.range(namespace, start, end)?, Kind::Keys, limit),
            };
            let id = uuid::Uuid::new_v4().to_string();
            let response = open.portion(&id, namespace, simulator)?;
            self.keep(id, open, &response, simulator);
            Ok::<_, LedgerError>(response)
        })
    }

    /// Opens a JSON query and gives its first portion. On collections paging is ignored.
    pub(super) fn open_query(
        &mut self,
        session: &Session,
        request: &QueryRequest<'_>,
        limit: u32,
    ) -> Result<QueryResponse, StateError> {
        let paging = paging(&request.metadata)?;
        session.with_simulator(|simulator| {
            let QueryRequest {
                namespace,
                collection,
                query,
                ..
            } = *request;
            let mut open = match paging {
                _ if !collection.is_empty() => {
                    let cursor = simulator.private_query(namespace, collection, query)?;
                    Open::new(cursor, Kind::Keys, limit)
                }
                Some(paging) => {
                    let size = u32::try_from(paging.page_size).unwrap_or(0);
                    let bookmark = &paging.bookmark;
                    let cursor = simulator.paginated_query(namespace, query, bookmark, size)?;
                    let limit = if size > 0 { size.min(limit) } else { limit };
                    Open {
                        paginated: true,
                        ..Open::new(cursor, Kind::Keys, limit)
                    }
                }
                None => Open::new(simulator.query(namespace, query)?, Kind::Keys, limit),
            };
            let id = uuid::Uuid::new_v4().to_string();
            let response = open.portion(&id, namespace, simulator)?;
            self.keep(id, open, &response, simulator);
            Ok::<_, LedgerError>(response)
        })
    }

    /// Opens the history of a key and gives its first portion.
    pub(super) fn open_history(
        &mut self,
        session: &Session,
        namespace: &str,
        key: &str,
        limit: u32,
    ) -> Result<QueryResponse, StateError> {
        session.with_simulator(|simulator| {
            let mut open = Open::new(simulator.history(namespace, key)?, Kind::History, limit);
            let id = uuid::Uuid::new_v4().to_string();
            let response = open.portion(&id, namespace, simulator)?;
            self.keep(id, open, &response, simulator);
            Ok::<_, LedgerError>(response)
        })
    }

    /// The next portion of an open iterator.
    pub(super) fn next(
        &mut self,
        session: &Session,
        namespace: &str,
        id: &str,
    ) -> Result<QueryResponse, StateError> {
        let Some((id, mut open)) = self.0.remove_entry(id) else {
            return Err(LedgerError::UnknownCursor.into());
        };
        session.with_simulator(|simulator| {
            let response = open.portion(&id, namespace, simulator)?;
            self.keep(id, open, &response, simulator);
            Ok::<_, LedgerError>(response)
        })
    }

    /// Closes an iterator; one that is gone already is no mistake.
    pub(super) fn close(
        &mut self,
        session: &Session,
        id: &str,
    ) -> Result<QueryResponse, StateError> {
        if let Some(open) = self.0.remove(id) {
            session.with_simulator(|simulator| {
                simulator.close(open.cursor);
                Ok::<_, LedgerError>(())
            })?;
        }
        Ok(QueryResponse {
            has_more: false,
            id: id.to_owned(),
            ..QueryResponse::default()
        })
    }

    fn keep(
        &mut self,
        id: String,
        open: Open,
        response: &QueryResponse,
        simulator: &mut Simulator,
    ) {
        if response.has_more {
            self.0.insert(id, open);
        } else {
            simulator.close(open.cursor);
        }
    }
}

impl Open {
    fn new(cursor: CursorId, kind: Kind, limit: u32) -> Self {
        Self {
            cursor,
            kind,
            pending: Vec::new(),
            pulled: 0,
            limit,
            paginated: false,
        }
    }

    /// Pulls until a portion is full and one more result is there, or the end is.
    fn portion(
        &mut self,
        id: &str,
        namespace: &str,
        simulator: &mut Simulator,
    ) -> Result<QueryResponse, LedgerError> {
        while self.pulled < self.limit {
            let Some(result) = self.pull(namespace, simulator)? else {
                break;
            };
            self.pulled += 1;
            let result = QueryResultBytes {
                result_bytes: result.into(),
            };
            if !self.paginated && self.pending.len() == PORTION {
                let results = std::mem::replace(&mut self.pending, vec![result]);
                return Ok(QueryResponse {
                    results,
                    has_more: true,
                    id: id.to_owned(),
                    metadata: Bytes::new(),
                });
            }
            self.pending.push(result);
        }
        let metadata = if self.paginated {
            self.page_metadata(simulator)?
        } else {
            Bytes::new()
        };
        Ok(QueryResponse {
            results: std::mem::take(&mut self.pending),
            has_more: false,
            id: id.to_owned(),
            metadata,
        })
    }

    fn pull(
        &self,
        namespace: &str,
        simulator: &mut Simulator,
    ) -> Result<Option<Vec<u8>>, LedgerError> {
        match self.kind {
            Kind::Keys => Ok(simulator.next(self.cursor)?.map(|(key, value)| {
                Kv {
                    namespace: namespace.to_owned(),
                    key,
                    value,
                }
                .encode_to_vec()
            })),
            Kind::History => Ok(simulator
                .next_modification(self.cursor)?
                .map(|change| change.encode_to_vec())),
        }
    }

    fn page_metadata(&self, simulator: &mut Simulator) -> Result<Bytes, LedgerError> {
        let metadata = QueryResponseMetadata {
            fetched_records_count: i32::try_from(self.pulled).unwrap_or(i32::MAX),
            bookmark: simulator.bookmark(self.cursor)?,
        };
        Ok(metadata.encode_to_vec().into())
    }
}

/// The paging that a request asks for, if it does.
fn paging(metadata: &Bytes) -> Result<Option<QueryMetadata>, StateError> {
    if metadata.is_empty() {
        return Ok(None);
    }
    let metadata = QueryMetadata::decode(metadata.clone())
        .map_err(|error| StateError::Request(format!("unmarshal failed: {error}")))?;
    Ok((metadata.page_size != 0 || !metadata.bookmark.is_empty()).then_some(metadata))
}
