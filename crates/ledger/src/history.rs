//! Which transactions wrote a public key, newest first.
//!
//! A record says only where the write is; values are read again from the block, so history costs
//! one small key per write. fabric: core/ledger/kvledger/history

use consilium_proto::queryresult;
use consilium_protocol::transaction;

use crate::chain;
use crate::database::{Batch, Family, Snapshot};
use crate::error::LedgerError;

/// `namespace 0x00 length(key) key`, then block and transaction inverted so that a forward scan
/// goes from new to old.
fn prefix(namespace: &str, key: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(namespace.len() + key.len() + 17);
    prefix.extend_from_slice(namespace.as_bytes());
    prefix.push(0);
    prefix.extend_from_slice(&(key.len() as u32).to_be_bytes());
    prefix.extend_from_slice(key.as_bytes());
    prefix
}

pub(crate) fn put(
    batch: &mut Batch<'_>,
    namespace: &str,
    key: &str,
    block: u64,
    index: u32,
) -> Result<(), LedgerError> {
    let mut record_key = prefix(namespace, key);
    record_key.extend_from_slice(&(!block).to_be_bytes());
    record_key.extend_from_slice(&(!index).to_be_bytes());
    batch.put(Family::History, &record_key, &[])
}

/// A walk through the writes of one key; needs the snapshot again for every step.
#[derive(Debug)]
pub(crate) struct Cursor {
    namespace: String,
    key: String,
    prefix: usize,
    next: Vec<u8>,
    end: Vec<u8>,
}

impl Cursor {
    pub(crate) fn new(namespace: &str, key: &str) -> Self {
        let next = prefix(namespace, key);
        let mut end = next.clone();
        // Longer than any record of this key, and before any other key's.
        end.extend_from_slice(&[0xff; 13]);
        Cursor {
            namespace: namespace.into(),
            key: key.into(),
            prefix: next.len(),
            next,
            end,
        }
    }

    pub(crate) fn next(
        &mut self,
        snapshot: &Snapshot,
    ) -> Result<Option<queryresult::KeyModification>, LedgerError> {
        let found = snapshot.scan(Family::History, &self.next, Some(self.end.as_slice()), 1)?;
        let Some((record_key, _)) = found.into_iter().next() else {
            return Ok(None);
        };
        self.next = record_key.to_vec();
        self.next.push(0);
        let damaged = || LedgerError::damaged("history record");
        let position = record_key.get(self.prefix..).ok_or_else(damaged)?;
        let (block, index) = position.split_at_checked(8).ok_or_else(damaged)?;
        let block = !chain::be64(block).ok_or_else(damaged)?;
        let index = !u32::from_be_bytes(index.try_into().map_err(|_| damaged())?);
        self.modification(snapshot, block, index).map(Some)
    }

    fn modification(
        &self,
        snapshot: &Snapshot,
        block: u64,
        index: u32,
    ) -> Result<queryresult::KeyModification, LedgerError> {
        let damaged = || {
            LedgerError::damaged(format!(
                "history points to transaction {index} of block {block}"
            ))
        };
        let location = chain::location_in(snapshot, block)?;
        let envelope = chain::transaction(snapshot.files(), location, block, index)?;
        let checked = transaction::check_syntax(&envelope).map_err(|_| damaged())?;
        let parsed = transaction::check_endorser_transaction(&checked)
            .and_then(|endorsed| endorsed.dispatch())
            .map_err(|_| damaged())?;
        let header = &parsed.envelope.channel_header;
        let write = parsed
            .rwset
            .namespaces
            .iter()
            .filter(|namespace| namespace.name == self.namespace)
            .flat_map(|namespace| &namespace.writes)
            .rfind(|write| write.key == self.key)
            .ok_or_else(damaged)?;
        Ok(queryresult::KeyModification {
            tx_id: header.tx_id.clone(),
            value: write.value.clone(),
            timestamp: header.timestamp,
            is_delete: write.is_delete || write.value.is_empty(),
        })
    }
}
