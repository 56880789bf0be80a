//! At commit: taking staged clear sets whose hash stands in the block into the private state.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::kvrwset;
use consilium_proto::protos::TxValidationCode;
use consilium_protocol::hash::sha256;
use consilium_protocol::rwset::{CollectionRwSet, Version};
use prost::Message;

use super::clear::{clear as clear_value, put_clear};
use super::keys::{PrivatePlace, clear_key};
use super::missing::{self, MissingKind};
use super::transient::{Staged, staged, sweep};
use super::{PrivateBlock, purge as purges, stored as sets};
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::mvcc::TxContent;
use crate::prepared::PreparedTransaction;
use crate::state::{self, VersionedValue};
use crate::update_batch::UpdateBatch;

/// Keys and clear values as they will be after the block, by namespace, collection and hash of the
/// key, which is all that a purge names.
type ClearUpdates = BTreeMap<(String, String, [u8; 32]), (String, Option<VersionedValue>)>;

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
        for (key, size) in self.0 {
            ledger.private.transient.free(&key, size);
        }
    }
}

/// Adds what the block's transactions bring in private data to the commit's batch, and notes what of
/// it is not here.
pub(crate) fn apply(
    ledger: &Ledger,
    block: u64,
    transactions: &[PreparedTransaction],
    codes: &[TxValidationCode],
    updates: &UpdateBatch,
    private: &PrivateBlock,
    batch: &mut Batch<'_>,
) -> Result<Freed, LedgerError> {
    let mut freed = Freed::default();
    sweep(ledger, block, &mut freed)?;
    let mut clear = ClearUpdates::new();
    for (index, (transaction, code)) in transactions.iter().zip(codes).enumerate() {
        let TxContent::Endorsed(rwset) = &transaction.content else {
            continue;
        };
        let is_valid = *code == TxValidationCode::Valid;
        let collections = rwset.namespaces.iter().flat_map(|set| &set.collections);
        // What waits for a transaction without private data leaves when its time is over.
        let staged = if collections.into_iter().any(has_set) {
            staged(ledger, &transaction.tx_id)?
        } else {
            Vec::new()
        };
        let version = Version::new(block, index as u64);
        let agreed = rwset.namespaces.iter().flat_map(|namespace| {
            let collections = namespace.collections.iter().filter(|c| has_set(c));
            collections.map(move |collection| (namespace.name.as_str(), collection))
        });
        for (namespace, collection) in agreed {
            let place = PrivatePlace::new(index as u32, namespace, &collection.name);
            if is_valid {
                purges::mark(namespace, collection, version, batch)?;
            }
            if !private.unwanted.contains(&place) {
                match clear_set(&place, collection, &staged, private) {
                    Some(set) => {
                        sets::put(batch, block, &place, set)?;
                        if is_valid {
                            write(ledger, &place, set, version, updates, &mut clear)?;
                        }
                    }
                    None => {
                        // When a block is applied again, its sets are stored already.
                        // One of another block that a rollback cut off does not count.
                        let stored = sets::raw(ledger, block, &place)?
                            .filter(|set| super::reconcile::is_part_of(set, collection));
                        if let Some(set) = stored {
                            if is_valid {
                                write(ledger, &place, &set, version, updates, &mut clear)?;
                            }
                        } else if !missing::is_noted_at_all(ledger, block, &place)? {
                            let kind = if private.ineligible.contains(&place) {
                                MissingKind::Ineligible
                            } else {
                                MissingKind::Eligible
                            };
                            missing::put(batch, kind, block, &place)?;
                        }
                    }
                }
            }
            if is_valid {
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
    for ((namespace, collection, _), (key, value)) in clear {
        put_clear(ledger, &namespace, &collection, &key, value, batch)?;
    }
    Ok(freed)
}

/// Whether a clear set belongs to the hashes.
pub(crate) fn has_set(collection: &CollectionRwSet) -> bool {
    !collection.pvt_rwset_hash.is_empty()
}

/// The clear set with the right hash, if this peer may have it and has it.
fn clear_set<'a>(
    place: &PrivatePlace,
    collection: &CollectionRwSet,
    staged: &'a [Staged],
    private: &'a PrivateBlock,
) -> Option<&'a Bytes> {
    if private.ineligible.contains(place) {
        return None;
    }
    staged
        .iter()
        .filter_map(|staged| staged.find(&place.namespace, &place.collection))
        .chain(private.found.get(place))
        .find(|set| sha256(set)[..] == collection.pvt_rwset_hash[..])
}

fn write(
    ledger: &Ledger,
    place: &PrivatePlace,
    set: &Bytes,
    version: Version,
    updates: &UpdateBatch,
    clear: &mut ClearUpdates,
) -> Result<(), LedgerError> {
    let (namespace, collection) = (place.namespace.as_str(), place.collection.as_str());
    // Its hash was endorsed; if it is no read-write set all the same, there is nothing to apply.
    let Ok(set) = kvrwset::KvrwSet::decode(set.clone()) else {
        tracing::warn!(namespace, collection, %version, "clear private data is no KVRWSet");
        return Ok(());
    };
    let place = |key: &str| {
        let key_hash = sha256(key.as_bytes());
        (namespace.to_owned(), collection.to_owned(), key_hash)
    };
    for write in set.writes {
        let value = (!write.is_delete && !write.value.is_empty()).then_some(VersionedValue {
            value: write.value,
            metadata: None,
            version,
        });
        clear.insert(place(&write.key), (write.key, value));
    }
    // A change of metadata alone gives the hashed key a new version; the clear value follows.
    for write in set.metadata_writes {
        let place = place(&write.key);
        let current = match clear.get(&place) {
            Some((_, value)) => value.clone(),
            None => clear_value(ledger, namespace, collection, &write.key)?,
        };
        let hashed = updates.get(namespace, Some(collection), &place.2);
        let hash = hashed.and_then(|update| Some(&update.content.as_ref()?.value));
        if let (Some(mut current), Some(hash)) = (current, hash)
            && sha256(&current.value)[..] == hash[..]
        {
            current.version = version;
            clear.insert(place, (write.key, Some(current)));
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
        // What is no hash names no key.
        let Ok(key_hash) = <[u8; 32]>::try_from(&write.key_hash[..]) else {
            continue;
        };
        let place = (namespace.to_owned(), collection.name.clone(), key_hash);
        // A value that came earlier in this block is not in the database yet.
        if let Some((_, value)) = clear.get_mut(&place) {
            *value = None;
            continue;
        }
        let key = clear_key(namespace, &collection.name, &key_hash);
        if let Some(key) = ledger.database.get(Family::PrivateData, &key)? {
            clear.insert(place, (state::text(key)?, None));
        }
    }
    Ok(())
}
