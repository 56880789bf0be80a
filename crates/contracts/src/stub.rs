//! What a contract may do during one transaction: the chaincode shim's services as a trait.
//!
//! Reads see the committed state that the endorser simulates on, **never the transaction's own
//! writes** (chaincode-shim.md §4). Every read is recorded and checked again at commit.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::caller::Caller;
use crate::contract::Response;
use crate::key::{KeyError, composite_range};

/// The proposal's timestamp: set by the client, the same for every endorser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds within the second, 0 to 999 999 999.
    pub nanos: i32,
}

/// One key of a range with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, as written.
    pub key: String,
    /// Its committed value, never empty.
    pub value: Bytes,
}

/// A part of a query's results, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Keys and values, at most as many as asked for.
    pub entries: Vec<KeyValue>,
    /// What the next page is asked for with. Of a range it is "" when there is no more; of a JSON
    /// query it stays the same then.
    pub bookmark: String,
}

/// One committed change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The transaction that wrote it.
    pub tx_id: String,
    /// That transaction's timestamp.
    pub timestamp: Timestamp,
    /// The value written; `None` when the key was deleted.
    pub value: Option<Bytes>,
}

/// Why the peer could not do what a contract asked for. It is not the caller's fault: contracts
/// pass it on as status 500.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StubError {
    /// The key cannot exist.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// This peer does not hold the value of a private key whose hash is on the ledger.
    #[error("private data of collection '{collection}' is not available on this peer: {reason}")]
    PrivateDataMissing {
        /// The collection asked for.
        collection: String,
        /// The ledger's reason.
        reason: String,
    },
    /// The creator or this peer may not touch this collection.
    #[error("no access to collection '{collection}': {reason}")]
    NoAccess {
        /// The collection asked for.
        collection: String,
        /// The ledger's reason.
        reason: String,
    },
    /// Anything else: the operation and the ledger's reason.
    #[error("{operation} failed: {reason}")]
    Failed {
        /// What was being done, for example `get_state`.
        operation: &'static str,
        /// The ledger's reason.
        reason: String,
    },
}

/// The services of the peer for one transaction of one contract. Object-safe; used from one
/// thread.
///
/// `limit` of a range is the number of entries read at most; entries beyond it are neither
/// returned nor protected against phantoms.
pub trait Stub {
    /// The channel of the proposal.
    fn channel_id(&self) -> &str;
    /// The transaction id, lower-case hexadecimal.
    fn tx_id(&self) -> &str;
    /// The proposal's timestamp.
    fn timestamp(&self) -> Timestamp;
    /// This endorser's own clock, when the host wants proposals with a far-off timestamp refused
    /// (healthcare.md R6); `None` switches that check off. Nothing else may depend on it.
    fn endorser_time(&self) -> Option<Timestamp> {
        None
    }
    /// Who signed the proposal.
    fn creator(&self) -> &Caller;
    /// The arguments; by convention the first is the function's name.
    fn args(&self) -> &[Bytes];
    /// The transient map: input that is not written to the block.
    fn transient(&self) -> &BTreeMap<String, Bytes>;

    /// The committed value, `None` when absent.
    fn get_state(&mut self, key: &str) -> Result<Option<Bytes>, StubError>;
    /// Writes a value at commit. The empty value is refused by shims: use [`Stub::delete_state`].
    fn put_state(&mut self, key: &str, value: &[u8]) -> Result<(), StubError>;
    /// Deletes a key at commit.
    fn delete_state(&mut self, key: &str) -> Result<(), StubError>;
    /// Keys from `start` (included) to `end` (excluded) in byte order; `end` empty: to the last.
    fn range(&mut self, start: &str, end: &str, limit: usize) -> Result<Vec<KeyValue>, StubError>;
    /// All composite keys that begin with these attributes, in byte order.
    fn range_composite(
        &mut self,
        object_type: &str,
        attributes: &[&str],
        limit: usize,
    ) -> Result<Vec<KeyValue>, StubError> {
        let (start, end) = composite_range(object_type, attributes)?;
        self.range(&start, &end, limit)
    }
    /// A page of a range, from `bookmark` on unless that is empty. A transaction that pages cannot
    /// write.
    fn range_page(
        &mut self,
        start: &str,
        end: &str,
        page_size: u32,
        bookmark: &str,
    ) -> Result<Page, StubError>;
    /// Documents that match a JSON query in CouchDB's form, `limit` at most. Each is a read that is
    /// checked again at commit; documents that come to match meanwhile are not noticed.
    fn query(&mut self, query: &str, limit: usize) -> Result<Vec<KeyValue>, StubError>;
    /// A page of a JSON query. A transaction that pages cannot write.
    fn query_page(
        &mut self,
        query: &str,
        page_size: u32,
        bookmark: &str,
    ) -> Result<Page, StubError>;
    /// As [`Stub::query`], among the values of a collection. Such a transaction cannot write.
    fn query_private(
        &mut self,
        collection: &str,
        query: &str,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StubError>;
    /// All committed changes of a key, newest first. Not checked again at commit: for evaluation.
    fn history(&mut self, key: &str) -> Result<Vec<HistoryEntry>, StubError>;
    /// Sets the key-level endorsement policy (an encoded `common.SignaturePolicyEnvelope`).
    fn set_key_policy(&mut self, key: &str, policy: &[u8]) -> Result<(), StubError>;

    /// A private value, `None` when the ledger knows of none.
    ///
    /// # Errors
    /// [`StubError::PrivateDataMissing`] when only its hash is here.
    fn get_private(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError>;
    /// Writes a private value at commit.
    fn put_private(&mut self, collection: &str, key: &str, value: &[u8]) -> Result<(), StubError>;
    /// Deletes a private value at commit; its history stays until purged.
    fn delete_private(&mut self, collection: &str, key: &str) -> Result<(), StubError>;
    /// Deletes a private value and its history from every peer.
    fn purge_private(&mut self, collection: &str, key: &str) -> Result<(), StubError>;
    /// SHA-256 of a private value, known to every peer.
    fn get_private_hash(&mut self, collection: &str, key: &str)
    -> Result<Option<Bytes>, StubError>;

    /// Sets the transaction's one event; a later call replaces it. The name must not be empty.
    fn set_event(&mut self, name: &str, payload: &[u8]) -> Result<(), StubError>;
    /// Calls another chaincode of the same channel in this transaction.
    fn invoke(&mut self, chaincode: &str, args: &[Bytes]) -> Result<Response, StubError>;
}
