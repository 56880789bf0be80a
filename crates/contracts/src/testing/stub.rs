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
}

impl TestStub<'_> {
    fn place(&self, collection: &str, key: &str) -> (String, String, String) {
        (
            self.namespace.clone(),
            collection.to_owned(),
            key.to_owned(),
        )
    }

    fn write(&mut self, key: &str, value: Option<Bytes>) -> Result<(), StubError> {
        if key.is_empty() {
            return Err(StubError::Failed {
                operation: "put_state",
                reason: "key must not be an empty string".into(),
            });
        }
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
        self.write(key, Some(Bytes::copy_from_slice(value)))
    }

    fn delete_state(&mut self, key: &str) -> Result<(), StubError> {
        self.write(key, None)
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
        let size = page_size as usize;
        let mut entries = self.range(start, end, size.saturating_add(1))?;
        let next = (entries.len() > size).then(|| entries.pop()).flatten();
        Ok(Page {
            entries,
            bookmark: next.map(|next| next.key).unwrap_or_default(),
        })
    }

    fn query(&mut self, query: &str, limit: usize) -> Result<Vec<KeyValue>, StubError> {
        let ledger = self.ledger;
        Ok(ledger.query(self, None, query, "", limit)?.entries)
    }

    fn query_page(
        &mut self,
        query: &str,
        page_size: u32,
        bookmark: &str,
    ) -> Result<Page, StubError> {
        let ledger = self.ledger;
        ledger.query(self, None, query, bookmark, page_size as usize)
    }

    fn query_private(
        &mut self,
        collection: &str,
        query: &str,
        limit: usize,
    ) -> Result<Vec<KeyValue>, StubError> {
        let ledger = self.ledger;
        let page = ledger.query(self, Some(collection), query, "", limit)?;
        Ok(page.entries)
    }

    fn history(&mut self, key: &str) -> Result<Vec<HistoryEntry>, StubError> {
        let place = (self.namespace.clone(), key.to_owned());
        Ok(self.ledger.history.get(&place).cloned().unwrap_or_default())
    }

    fn set_key_policy(&mut self, key: &str, policy: &[u8]) -> Result<(), StubError> {
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
        let place = self.place(collection, key);
        self.sets
            .private_writes
            .insert(place, Some(Bytes::copy_from_slice(value)));
        Ok(())
    }

    fn delete_private(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        let place = self.place(collection, key);
        self.sets.private_writes.insert(place, None);
        Ok(())
    }

    fn purge_private(&mut self, collection: &str, key: &str) -> Result<(), StubError> {
        self.delete_private(collection, key)
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
