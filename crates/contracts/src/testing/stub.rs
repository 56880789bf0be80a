//! The stub of a [`TestLedger`].

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Proposal, RangeRead, ReadWriteSet, TestLedger};
use crate::caller::Caller;
use crate::contract::Response;
use crate::stub::{HistoryEntry, KeyValue, Page, Stub, StubError, Timestamp};

pub(super) struct TestStub<'l> {
    pub(super) ledger: &'l TestLedger,
    pub(super) namespace: String,
    pub(super) args: Vec<Bytes>,
    pub(super) tx_id: String,
    pub(super) timestamp: Timestamp,
    pub(super) proposal: &'l Proposal,
    pub(super) sets: ReadWriteSet,
    pub(super) event: Option<(String, Bytes)>,
    pub(super) used: Used,
}

/// What the transaction did that excludes something else.
#[derive(Default)]
pub(super) struct Used {
    wrote: bool,
    paginated: bool,
    queried_private: bool,
}

/// Results that one query gives at most, as a peer has it without other settings.
const QUERY_LIMIT: usize = 100_000;

impl TestStub<'_> {
    fn refused(&self, operation: &'static str, reason: &str) -> StubError {
        StubError::Failed {
            operation,
            reason: format!("txid [{}]: unsuppored transaction. {reason}", self.tx_id),
        }
    }

    fn begin_write(&mut self, operation: &'static str) -> Result<(), StubError> {
        if self.used.paginated {
            let reason =
                "Transaction has already performed a paginated query. Writes are not allowed";
            return Err(self.refused(operation, reason));
        }
        if self.used.queried_private {
            let reason =
                "Transaction has already performed queries on pvt data. Writes are not allowed";
            return Err(self.refused(operation, reason));
        }
        self.used.wrote = true;
        Ok(())
    }

    /// Begins a page and gives its size.
    fn begin_page(&mut self, operation: &'static str, page_size: u32) -> Result<usize, StubError> {
        if self.used.wrote {
            let reason = "Paginated queries are supported only in a read-only transaction";
            return Err(self.refused(operation, reason));
        }
        self.used.paginated = true;
        Ok(match page_size as usize {
            0 => QUERY_LIMIT,
            size => size.min(QUERY_LIMIT),
        })
    }

    fn begin_private_query(&mut self, operation: &'static str) -> Result<(), StubError> {
        if self.used.wrote {
            let reason = "Queries on pvt data is supported only in a read-only transaction";
            return Err(self.refused(operation, reason));
        }
        self.used.queried_private = true;
        Ok(())
    }

    fn write_private(
        &mut self,
        operation: &'static str,
        collection: &str,
        key: &str,
        value: Option<Bytes>,
    ) -> Result<(), StubError> {
        self.begin_write(operation)?;
        let place = self.place(collection, key);
        self.sets.private_writes.insert(place, value);
        Ok(())
    }

    fn place(&self, collection: &str, key: &str) -> (String, String, String) {
        (
            self.namespace.clone(),
            collection.to_owned(),
            key.to_owned(),
        )
    }

    fn write(
        &mut self,
        operation: &'static str,
        key: &str,
        value: Option<Bytes>,
    ) -> Result<(), StubError> {
        if key.is_empty() {
            return Err(StubError::Failed {
                operation: "put_state",
                reason: "key must not be an empty string".into(),
            });
        }
        self.begin_write(operation)?;
        self.sets
            .writes
            .insert((self.namespace.clone(), key.to_owned()), value);
        Ok(())
    }
}

impl Stub for TestStub<'_> {
    fn channel_id(&self) -> &str {
        "health"
    }

    fn tx_id(&self) -> &str {
        &self.tx_id
    }

    fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    fn endorser_time(&self) -> Option<Timestamp> {
        self.ledger
            .endorser_time
            .map(|seconds| Timestamp { seconds, nanos: 0 })
    }

    fn creator(&self) -> &Caller {
        &self.proposal.caller
    }

    fn args(&self) -> &[Bytes] {
        &self.args
    }

    fn transient(&self) -> &BTreeMap<String, Bytes> {
        &self.proposal.transient
    }

    fn get_state(&mut self, key: &str) -> Result<Option<Bytes>, StubError> {
        let place = (self.namespace.clone(), key.to_owned());
        let found = self.ledger.state.get(&place);
        self.sets
            .reads
            .push((place.0, place.1, found.map(|v| v.version)));
        Ok(found.map(|v| v.value.clone()))
    }

    fn put_state(&mut self, key: &str, value: &[u8]) -> Result<(), StubError> {
        self.write("put_state", key, Some(Bytes::copy_from_slice(value)))
    }

    fn delete_state(&mut self, key: &str) -> Result<(), StubError> {
        self.write("delete_state", key, None)
    }

    fn range(&mut self, start: &str, end: &str, limit: usize) -> Result<Vec<KeyValue>, StubError> {
        let found: Vec<_> = self
            .ledger
            .scan(&self.namespace, start, end, limit)
            .collect();
        self.sets.ranges.push(RangeRead {
            namespace: self.namespace.clone(),
            start: start.to_owned(),
            end: end.to_owned(),
            limit,
            found: found
                .iter()
                .map(|(key, versioned)| ((*key).to_owned(), versioned.version))
                .collect(),
        });
        Ok(found
            .into_iter()
            .map(|(key, versioned)| KeyValue {
                key: key.to_owned(),
                value: versioned.value.clone(),
            })
            .collect())
    }

    fn range_page(
        &mut self,
        start: &str,
        end: &str,
        page_size: u32,
        bookmark: &str,
    ) -> Result<Page, StubError> {
        let start = if bookmark.is_empty() { start } else { bookmark };
        let size = self.begin_page("range_page", page_size)?;
        let mut entries = self.range(start, end, size + 1)?;
        let next = (entries.len() > size).then(|| entries.pop()).flatten();
        Ok(Page {
            entries,
            bookmark: next.map(|next| next.key).unwrap_or_default(),
        })
    }

    fn query(&mut self, query: &str, limit: usize) -> Result<Vec<KeyValue>, StubError> {
        let ledger = self.ledger;
        let page = ledger.query(self, "query", None, query, "", limit.min(QUERY_LIMIT))?;
        Ok(page.entries)
    }

    fn query_page(
        &mut self,
        query: &str,
        page_size: u32,
        bookmark: &str,
    ) -> Result<Page, StubError> {
        let ledger = self.ledger;
        let size = self.begin_page("query_page", page_size)?;
        ledger.query(self, "query_page", None, query, bookmark, size)
    }

    fn query_private(
        &mut self,
        collection: &str,
        query: &str,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StubError> {
        let ledger = self.ledger;
        self.begin_private_query("query_private")?;
        let (collection, limit) = (Some(collection), limit.min(QUERY_LIMIT));
        let page = ledger.query(self, "query_private", collection, query, "", limit)?;
        Ok(page.entries)
    }

    fn history(&mut self, key: &str) -> Result<Vec<HistoryEntry>, StubError> {
        let place = (self.namespace.clone(), key.to_owned());
        Ok(self.ledger.history.get(&place).cloned().unwrap_or_default())
    }

    fn set_key_policy(&mut self, key: &str, policy: &[u8]) -> Result<(), StubError> {
        self.begin_write("set_key_policy")?;
        self.sets.policies.insert(
            (self.namespace.clone(), key.to_owned()),
            Bytes::copy_from_slice(policy),
        );
        Ok(())
    }

    fn get_private(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StubError> {
        let place = self.place(collection, key);
        let found = self.ledger.private.get(&place);
        if found.is_some() && self.ledger.hidden.contains(collection) {
            return Err(StubError::PrivateDataMissing {
                collection: collection.to_owned(),
                reason: "this peer is not a member".into(),
            });
        }
        let version = found.map(|v| v.version);
        let value = found.map(|v| v.value.clone());
        self.sets
            .private_reads
            .push((place.0, place.1, place.2, version));
        Ok(value)
    }

    fn put_private(&mut self, collection: &str, key: &str, value: &[u8]) -> Result<(), StubError> {
        let value = Some(Bytes::copy_from_slice(value));
        self.write_private("put_private", collection, key, value)
    }

    fn delete_private(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        self.write_private("delete_private", collection, key, None)
    }

    fn purge_private(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        self.write_private("purge_private", collection, key, None)
    }

    fn get_private_hash(
        &mut self,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, StubError> {
        let place = self.place(collection, key);
        Ok(self
            .ledger
            .private
            .get(&place)
            .map(|v| Bytes::copy_from_slice(&Sha256::digest(&v.value))))
    }

    fn set_event(&mut self, name: &str, payload: &[u8]) -> Result<(), StubError> {
        if name.is_empty() {
            return Err(StubError::Failed {
                operation: "set_event",
                reason: "event name can not be empty string".into(),
            });
        }
        self.event = Some((name.to_owned(), Bytes::copy_from_slice(payload)));
        Ok(())
    }

    fn invoke(&mut self, chaincode: &str, args: &[Bytes]) -> Result<Response, StubError> {
        let Some(contract) = self.ledger.contracts.get(chaincode) else {
            return Err(StubError::Failed {
                operation: "invoke",
                reason: format!("chaincode {chaincode} not found"),
            });
        };
        let namespace = std::mem::replace(&mut self.namespace, chaincode.to_owned());
        let own_args = std::mem::replace(&mut self.args, args.to_vec());
        let event = self.event.take();
        let response = contract.invoke(self);
        self.namespace = namespace;
        self.args = own_args;
        self.event = event;
        Ok(response)
    }
}
