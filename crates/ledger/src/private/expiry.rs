//! Block to live: data of a collection that says so leaves state after that many blocks, on members
//! and others alike. fabric: core/ledger/pvtdatapolicy/btlpolicy.go, pvtstatepurgemgmt
//!
//! Expiry is no part of the commit hash, but of what later transactions read.

use std::collections::BTreeMap;

use consilium_proto::protos::TxValidationCode;
use consilium_protocol::names::hashed_namespace;

use super::clear::put_clear;
use super::keys::{
    PrivatePlace, clear_key, collection_key, data_key, decode_version as decode, due_prefix,
    encode_version as encode, parse_data_key, parse_hashed as parse_due_key,
};
use super::{missing, stored};
use crate::collections;
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::mvcc::TxContent;
use crate::prepared::PreparedTransaction;
use crate::state::{self, StateReader, Unrecorded};
use crate::update_batch::UpdateBatch;

/// Adds to the commit's batch what expires with this block, and notes what will expire of what it
/// writes. `state` is the state before the block; definitions are taken from there.
pub(crate) fn expire(
    ledger: &Ledger,
    block: u64,
    transactions: &[PreparedTransaction],
    codes: &[TxValidationCode],
    updates: &UpdateBatch,
    state: &StateReader,
    batch: &mut Batch<'_>,
) -> Result<(), LedgerError> {
    expire_due(ledger, block, updates, state, batch)?;
    let mut lives = Lives {
        state,
        known: BTreeMap::new(),
    };
    for (namespace, changes) in &updates.namespaces {
        for (collection, keys) in &changes.collections {
            let Some(due) = lives.due(namespace, collection, block)? else {
                continue;
            };
            for (key_hash, update) in keys.iter().filter(|(_, update)| update.content.is_some()) {
                let mut record_key = due_prefix(due, b'k');
                record_key.extend_from_slice(&collection_key(namespace, collection));
                record_key.push(0);
                record_key.extend_from_slice(key_hash);
                batch.put(Family::PrivateData, &record_key, &encode(update.version))?;
            }
        }
    }
    for (index, (transaction, _)) in transactions.iter().zip(codes).enumerate() {
        let TxContent::Endorsed(rwset) = &transaction.content else {
            continue;
        };
        for namespace in &rwset.namespaces {
            for collection in &namespace.collections {
                if collection.pvt_rwset_hash.is_empty() {
                    continue;
                }
                if let Some(due) = lives.due(&namespace.name, &collection.name, block)? {
                    let mut record_key = due_prefix(due, b'd');
                    let place = PrivatePlace::new(index as u32, &namespace.name, &collection.name);
                    let data = data_key(block, &place);
                    record_key.extend_from_slice(&data);
                    batch.put(Family::PrivateData, &record_key, &[])?;
                }
            }
        }
    }
    Ok(())
}

fn expire_due(
    ledger: &Ledger,
    block: u64,
    updates: &UpdateBatch,
    state: &StateReader,
    batch: &mut Batch<'_>,
) -> Result<(), LedgerError> {
    let damaged = || LedgerError::damaged("expiry record");
    let start = due_prefix(block, b'd');
    let end = due_prefix(block, b'k' + 1);
    let due = ledger.database.scan(
        Family::PrivateData,
        &start,
        Some(end.as_slice()),
        usize::MAX,
    )?;
    for (record_key, record) in due {
        batch.delete(Family::PrivateData, &record_key)?;
        // "e", block number, kind.
        let rest = record_key.get(10..).ok_or_else(damaged)?;
        if record_key.get(9) == Some(&b'd') {
            let (written, place) = parse_data_key(rest).ok_or_else(damaged)?;
            stored::delete(ledger, batch, written, &place)?;
            missing::clear(batch, written, &place)?;
            continue;
        }
        let (namespace, collection, key_hash) = parse_due_key(rest).ok_or_else(damaged)?;
        let written = decode(&record).ok_or_else(damaged)?;
        let is_rewritten = updates
            .get(&namespace, Some(&collection), key_hash)
            .is_some();
        let state_namespace = hashed_namespace(&namespace, &collection);
        let committed = state.get_raw(&state_namespace, key_hash)?;
        if is_rewritten || committed.is_none_or(|committed| committed.version != written) {
            continue;
        }
        batch.delete(Family::State, &state::key(&state_namespace, key_hash))?;
        let by_hash = clear_key(&namespace, &collection, key_hash);
        if let Some(key) = ledger.database.get(Family::PrivateData, &by_hash)? {
            let key = state::text(key)?;
            put_clear(ledger, &namespace, &collection, &key, None, batch)?;
        }
    }
    Ok(())
}

/// How long collections live, each definition read once per block.
struct Lives<'a> {
    state: &'a StateReader,
    known: BTreeMap<(String, String), u64>,
}

impl Lives<'_> {
    /// The block with which data written in `block` expires, if it ever does.
    fn due(
        &mut self,
        namespace: &str,
        collection: &str,
        block: u64,
    ) -> Result<Option<u64>, LedgerError> {
        let place = (namespace.to_owned(), collection.to_owned());
        let blocks = match self.known.get(&place) {
            Some(blocks) => *blocks,
            None => {
                let blocks = self.block_to_live(namespace, collection)?;
                self.known.insert(place, blocks);
                blocks
            }
        };
        if blocks == 0 {
            return Ok(None);
        }
        // What lies beyond the last block number never expires.
        Ok(block
            .checked_add(blocks)
            .and_then(|last| last.checked_add(1)))
    }

    fn block_to_live(&self, namespace: &str, collection: &str) -> Result<u64, LedgerError> {
        let defined = match collections::defined(&mut Unrecorded(self.state), namespace) {
            Ok(defined) => defined,
            // A definition that cannot be read is not a reason to stop the channel.
            Err(LedgerError::Refused(reason)) => {
                tracing::warn!(namespace, collection, reason, "block to live is unknown");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(defined
            .as_ref()
            .and_then(|set| set.explicit(collection))
            .map_or(0, |config| config.block_to_live))
    }
}
