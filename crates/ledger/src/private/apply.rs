//! At commit: taking staged clear sets whose hash stands in the block into the private state.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use consilium_proto::protos::TxValidationCode;
use consilium_proto::{kvrwset, rwset};
use consilium_protocol::hash::sha256;
use consilium_protocol::names::private_namespace;
use consilium_protocol::rwset::{CollectionRwSet, Version};
use prost::Message;

use super::{Staged, clear_key, data_key, staged, sweep};
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::mvcc::TxContent;
use crate::prepared::PreparedTransaction;
use crate::state::{self, VersionedValue};
use crate::update_batch::UpdateBatch;

/// Clear values as they will be after the block, by (namespace, collection, key).
type ClearUpdates = BTreeMap<(String, String, String), Option<VersionedValue>>;

/// Staged sets that leave the transient store with the batch: record keys and sizes. A map, as one
/// transaction id may stand in a block more than once.
#[must_use = "to be handed to `done` once the batch is written"]
#[derive(Default)]
pub(crate) struct Freed(BTreeMap<Box<[u8]>, u64>);

impl Freed {
    pub(super) fn add(&mut self, key: &[u8], size: u64) {
        self.0.insert(key.into(), size);
    }

    /// To be called once the batch is written.
    pub(crate) fn done(self, ledger: &Ledger) {
        let transient = &ledger.private.transient;
        transient.fetch_sub(self.0.values().sum(), Ordering::Relaxed);
    }
}

/// Adds what the block's transactions bring in private data to the commit's batch.
pub(crate) fn apply(
    ledger: &Ledger,
    block: u64,
    transactions: &[PreparedTransaction],
    codes: &[TxValidationCode],
    updates: &UpdateBatch,
    batch: &mut Batch<'_>,
) -> Result<Freed, LedgerError> {
    let mut freed = Freed::default();
    sweep(ledger, block, &mut freed)?;
    let mut clear = ClearUpdates::new();
    for (index, (transaction, code)) in transactions.iter().zip(codes).enumerate() {
        let TxContent::Endorsed(rwset) = &transaction.content else {
            continue;
        };
        let staged = staged(ledger, &transaction.tx_id)?;
        let version = Version::new(block, index as u64);
        let agreed = rwset.namespaces.iter().flat_map(|namespace| {
            let written = |c: &&CollectionRwSet| !c.pvt_rwset_hash.is_empty();
            let collections = namespace.collections.iter().filter(written);
            collections.map(move |collection| (namespace.name.as_str(), collection))
        });
        for (namespace, collection) in agreed {
            let found = staged
                .iter()
                .filter_map(|staged| find(&staged.set, namespace, &collection.name))
                .find(|set| sha256(set)[..] == collection.pvt_rwset_hash[..]);
            if let Some(set) = found {
                let key = data_key(block, index as u32, namespace, &collection.name);
                batch.put(Family::PrivateData, &key, set)?;
                if *code == TxValidationCode::Valid {
                    write(
                        ledger,
                        namespace,
                        &collection.name,
                        set,
                        version,
                        updates,
                        &mut clear,
                    )?;
                }
            }
            if *code == TxValidationCode::Valid {
                purge(ledger, namespace, collection, &mut clear)?;
            }
        }
        for Staged { key, size, .. } in staged {
            freed.add(&key, size);
        }
    }
    for key in freed.0.keys() {
        batch.delete(Family::Transient, key)?;
    }
    store(ledger, clear, batch)?;
    Ok(freed)
}

fn find<'a>(
    set: &'a rwset::TxPvtReadWriteSet,
    namespace: &str,
    collection: &str,
) -> Option<&'a Bytes> {
    set.ns_pvt_rwset
        .iter()
        .filter(|entry| entry.namespace == namespace)
        .flat_map(|entry| &entry.collection_pvt_rwset)
        .find(|entry| entry.collection_name == collection)
        .map(|entry| &entry.rwset)
}

fn write(
    ledger: &Ledger,
    namespace: &str,
    collection: &str,
    set: &Bytes,
    version: Version,
    updates: &UpdateBatch,
    clear: &mut ClearUpdates,
) -> Result<(), LedgerError> {
    // Its hash was endorsed; if it is no read-write set all the same, there is nothing to apply.
    let Ok(set) = kvrwset::KvrwSet::decode(set.clone()) else {
        tracing::warn!(namespace, collection, %version, "clear private data is no KVRWSet");
        return Ok(());
    };
    let place = |key: &str| (namespace.to_owned(), collection.to_owned(), key.to_owned());
    for write in set.writes {
        let value = (!write.is_delete && !write.value.is_empty()).then_some(VersionedValue {
            value: write.value,
            metadata: None,
            version,
        });
        clear.insert(place(&write.key), value);
    }
    // A change of metadata alone gives the hashed key a new version; the clear value follows.
    for write in set.metadata_writes {
        let place = place(&write.key);
        let current = match clear.get(&place) {
            Some(value) => value.clone(),
            None => stored(ledger, namespace, collection, &write.key)?,
        };
        let hashed = updates.get(namespace, Some(collection), &sha256(write.key.as_bytes()));
        let hash = hashed.and_then(|update| Some(&update.content.as_ref()?.value));
        if let (Some(mut current), Some(hash)) = (current, hash)
            && sha256(&current.value)[..] == hash[..]
        {
            current.version = version;
            clear.insert(place, Some(current));
        }
    }
    Ok(())
}

/// A purge removes the clear value also where the clear set is missing.
fn purge(
    ledger: &Ledger,
    namespace: &str,
    collection: &CollectionRwSet,
    clear: &mut ClearUpdates,
) -> Result<(), LedgerError> {
    for write in collection.hashed_writes.iter().filter(|w| w.is_purge) {
        let key = clear_key(namespace, &collection.name, &write.key_hash);
        if let Some(key) = ledger.database.get(Family::PrivateData, &key)? {
            let place = (namespace.into(), collection.name.clone(), state::text(key)?);
            clear.insert(place, None);
        }
    }
    Ok(())
}

fn stored(
    ledger: &Ledger,
    namespace: &str,
    collection: &str,
    key: &str,
) -> Result<Option<VersionedValue>, LedgerError> {
    let key = state::key(&private_namespace(namespace, collection), key.as_bytes());
    ledger
        .database
        .get(Family::PrivateState, &key)?
        .map(VersionedValue::decode)
        .transpose()
}

fn store(ledger: &Ledger, clear: ClearUpdates, batch: &mut Batch<'_>) -> Result<(), LedgerError> {
    for ((namespace, collection, key), value) in clear {
        let key_hash = sha256(key.as_bytes());
        let by_hash = clear_key(&namespace, &collection, &key_hash);
        let place = private_namespace(&namespace, &collection);
        let state_key = state::key(&place, key.as_bytes());
        if ledger.indexes.has(&place) {
            let before = stored(ledger, &namespace, &collection, &key)?.map(|before| before.value);
            let after = value.as_ref().map(|after| after.value.as_ref());
            ledger
                .indexes
                .replace(batch, &place, key.as_bytes(), before.as_deref(), after)?;
        }
        match value {
            Some(value) => {
                batch.put(Family::PrivateState, &state_key, &value.encode())?;
                batch.put(Family::PrivateData, &by_hash, key.as_bytes())?;
            }
            None => {
                batch.delete(Family::PrivateState, &state_key)?;
                batch.delete(Family::PrivateData, &by_hash)?;
            }
        }
    }
    Ok(())
}
