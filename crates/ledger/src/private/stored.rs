//! Clear sets of committed transactions, as others may see them: without purged keys.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::{kvrwset, rwset};
use consilium_protocol::hash::sha256;
use consilium_protocol::rwset::Version;
use prost::Message;

use super::keys::{self, PrivatePlace};
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// Stored sets read at once of one block.
const STEP: usize = 256;

/// A stored set as it is.
pub(super) fn raw(
    ledger: &Ledger,
    block: u64,
    place: &PrivatePlace,
) -> Result<Option<Bytes>, LedgerError> {
    let key = keys::data_key(block, place);
    Ok(ledger
        .database
        .get(Family::PrivateData, &key)?
        .map(Bytes::from))
}

impl Ledger {
    /// The clear sets of a block's transactions that this peer has, by index in the block; purged
    /// keys are left out.
    ///
    /// # Errors
    /// The database's.
    pub fn private_data(
        &self,
        block: u64,
    ) -> Result<BTreeMap<u32, rwset::TxPvtReadWriteSet>, LedgerError> {
        let mut sets: BTreeMap<u32, rwset::TxPvtReadWriteSet> = BTreeMap::new();
        let mut next = keys::data_prefix(block);
        let end = keys::after(&next);
        loop {
            let end = Some(end.as_slice());
            let records = self.database.scan(Family::PrivateData, &next, end, STEP)?;
            let Some((last, _)) = records.last() else {
                return Ok(sets);
            };
            next = last.to_vec();
            next.push(0);
            for (key, set) in records {
                let (_, place) = keys::parse_data_key(&key)
                    .ok_or_else(|| LedgerError::damaged("private data record"))?;
                let set = without_purged(self, block, &place, Bytes::from(set.into_vec()))?;
                let namespaces = &mut sets.entry(place.index).or_default().ns_pvt_rwset;
                // Records come in key order, so those of one namespace stand together.
                if namespaces
                    .last()
                    .is_none_or(|last| last.namespace != place.namespace)
                {
                    namespaces.push(rwset::NsPvtReadWriteSet {
                        namespace: place.namespace,
                        collection_pvt_rwset: Vec::new(),
                    });
                }
                if let Some(last) = namespaces.last_mut() {
                    last.collection_pvt_rwset
                        .push(rwset::CollectionPvtReadWriteSet {
                            collection_name: place.collection,
                            rwset: set,
                        });
                }
            }
        }
    }

    /// One clear set of a committed block, without purged keys; `None` if this peer lacks it.
    ///
    /// # Errors
    /// The database's.
    pub fn private_set(
        &self,
        block: u64,
        place: &PrivatePlace,
    ) -> Result<Option<Bytes>, LedgerError> {
        self.database
            .get(Family::PrivateData, &keys::data_key(block, place))?
            .map(|set| without_purged(self, block, place, set.into()))
            .transpose()
    }
}

/// Stores a set, and under which keys it has to be found when they are purged.
pub(super) fn put(
    batch: &mut Batch<'_>,
    block: u64,
    place: &PrivatePlace,
    set: &[u8],
) -> Result<(), LedgerError> {
    batch.put(Family::PrivateData, &keys::data_key(block, place), set)?;
    for key in writer_keys(block, place, set) {
        batch.put(Family::PrivateData, &key, &[])?;
    }
    Ok(())
}

/// Takes a set away with what points to it.
pub(super) fn delete(
    ledger: &Ledger,
    batch: &mut Batch<'_>,
    block: u64,
    place: &PrivatePlace,
) -> Result<(), LedgerError> {
    let data_key = keys::data_key(block, place);
    if let Some(set) = ledger.database.get(Family::PrivateData, &data_key)? {
        for key in writer_keys(block, place, &set) {
            batch.delete(Family::PrivateData, &key)?;
        }
        batch.delete(Family::PrivateData, &data_key)?;
    }
    Ok(())
}

fn writer_keys(block: u64, place: &PrivatePlace, set: &[u8]) -> Vec<Vec<u8>> {
    // Its hash was endorsed; if it is no read-write set all the same, there is nothing to find.
    let Ok(set) = kvrwset::KvrwSet::decode(set) else {
        return Vec::new();
    };
    let version = Version::new(block, u64::from(place.index));
    set.writes
        .iter()
        .map(|write| {
            let hash = sha256(write.key.as_bytes());
            keys::writer_key(&place.namespace, &place.collection, &hash, version)
        })
        .collect()
}

/// The set without the keys that were purged since; the same bytes if none was.
fn without_purged(
    ledger: &Ledger,
    block: u64,
    place: &PrivatePlace,
    set: Bytes,
) -> Result<Bytes, LedgerError> {
    if !super::purge::any(ledger, &place.namespace, &place.collection)? {
        return Ok(set);
    }
    let Ok(mut parsed) = kvrwset::KvrwSet::decode(set.clone()) else {
        return Ok(set);
    };
    let version = Version::new(block, u64::from(place.index));
    let before = parsed.writes.len();
    let mut kept = Vec::with_capacity(before);
    for write in parsed.writes {
        let hash = sha256(write.key.as_bytes());
        if !super::purge::is_purged(ledger, place, &hash, version)? {
            kept.push(write);
        }
    }
    if kept.len() == before {
        return Ok(set);
    }
    parsed.writes = kept;
    Ok(parsed.encode_to_vec().into())
}
