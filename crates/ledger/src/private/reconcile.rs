//! Clear sets that come after their block. What is accepted matches the hashes in the block, was
//! noted as missing, and brings back neither purged nor expired nor overwritten values.
//! fabric: core/ledger/kvledger/hashcheck_pvtdata.go, txmgmt/txmgr (RemoveStaleAndCommitPvtDataOfOldBlocks)

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use consilium_proto::{common, kvrwset};
use consilium_protocol::block;
use consilium_protocol::hash::{SHA256_OF_EMPTY, sha256};
use consilium_protocol::rwset::{CollectionRwSet, Version};
use prost::Message;

use super::clear::put_clear;
use super::keys::PrivatePlace;
use super::missing::{self, MissingData, MissingKind};
use super::{boot, purge, stored};
use crate::database::Batch;
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::mvcc::TxContent;
use crate::prepared::PreparedTransaction;
use crate::state::{StateReader, VersionedValue};

/// A clear set from another peer for a block that is committed.
#[derive(Clone, Debug)]
pub struct ReconciledSet {
    /// What it is for.
    pub missing: MissingData,
    /// The encoded `KVRWSet`, not trusted yet.
    pub set: Bytes,
}

/// What became of clear sets that came late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Those that are stored now.
    pub stored: Vec<MissingData>,
    /// Those whose content is not what the chain says, or not all of it.
    pub refused: Vec<MissingData>,
}

impl Ledger {
    /// Commits clear sets of old blocks. Those that do not fit the chain's hashes are refused;
    /// those that are not missing (any more) are passed over.
    ///
    /// # Errors
    /// The database's; then nothing is stored.
    pub fn commit_reconciled(&self, sets: &[ReconciledSet]) -> Result<Reconciled, LedgerError> {
        let _turn = self.committing.lock();
        let mut outcome = Reconciled::default();
        let mut blocks = BTreeMap::new();
        let mut latest: BTreeMap<(String, String, String), (Version, kvrwset::KvWrite)> =
            BTreeMap::new();
        let state = self.reader()?;
        let mut batch = self.database.batch();
        let mut seen = std::collections::BTreeSet::new();
        for ReconciledSet { missing, set } in sets {
            let mut noted = false;
            for kind in [MissingKind::Eligible, MissingKind::Deprioritized] {
                noted |= missing::is_noted(self, kind, missing)?;
            }
            if !noted || !seen.insert(missing.clone()) {
                continue;
            }
            let accepted = if missing.block < self.base {
                let writes = boot::writes(self, missing.block, &missing.place)?;
                accept(self, missing, None, &writes, set)?
            } else {
                let block = match blocks.entry(missing.block) {
                    Entry::Occupied(found) => found.into_mut(),
                    Entry::Vacant(place) => place.insert(self.block(missing.block)?),
                };
                let block = block.as_ref();
                match block.and_then(|block| expected(block, &missing.place)) {
                    Some(expected) if !expected.pvt_rwset_hash.is_empty() => {
                        let whole = Some(&expected.pvt_rwset_hash[..]);
                        accept(self, missing, whole, &expected.hashed_writes, set)?
                    }
                    _ => None,
                }
            };
            let Some(accepted) = accepted else {
                outcome.refused.push(missing.clone());
                continue;
            };
            stored::put(&mut batch, missing.block, &missing.place, &accepted)?;
            missing::clear(&mut batch, missing.block, &missing.place)?;
            outcome.stored.push(missing.clone());
            let version = Version::new(missing.block, u64::from(missing.place.index));
            let writes = kvrwset::KvrwSet::decode(accepted).map(|set| set.writes);
            for write in writes.unwrap_or_default() {
                let place = (
                    missing.place.namespace.clone(),
                    missing.place.collection.clone(),
                    write.key.clone(),
                );
                let newer = latest.get(&place).is_none_or(|(other, _)| *other < version);
                if newer {
                    latest.insert(place, (version, write));
                }
            }
        }
        for ((namespace, collection, _), (_, write)) in latest {
            apply(self, &state, &namespace, &collection, write, &mut batch)?;
        }
        batch.write(true)?;
        Ok(outcome)
    }
}

/// The hashes that a block has for a place.
fn expected(block: &common::Block, place: &PrivatePlace) -> Option<CollectionRwSet> {
    let envelope = block::envelopes(block).get(place.index as usize)?;
    let TxContent::Endorsed(rwset) = PreparedTransaction::parse(envelope).content else {
        return None;
    };
    rwset
        .namespaces
        .into_iter()
        .filter(|namespace| namespace.name == place.namespace)
        .flat_map(|namespace| namespace.collections)
        .find(|collection| collection.name == place.collection)
}

/// The part of `set` that may be stored: all of it if nothing of it was purged here or there, else
/// the keys that were not; `None` if it is not what the block says. `whole` is the hash of the set;
/// of sets from before a snapshot only those of the last writes of keys are known.
fn accept(
    ledger: &Ledger,
    missing: &MissingData,
    whole: Option<&[u8]>,
    writes: &[kvrwset::KvWriteHash],
    set: &Bytes,
) -> Result<Option<Bytes>, LedgerError> {
    if whole.is_none() && writes.is_empty() {
        return Ok(None);
    }
    let version = Version::new(missing.block, u64::from(missing.place.index));
    let mut wanted: BTreeMap<&[u8], &kvrwset::KvWriteHash> = BTreeMap::new();
    let mut purged = false;
    for write in writes {
        if purge::is_purged(ledger, &missing.place, &write.key_hash, version)? {
            purged = true;
        } else {
            wanted.insert(&write.key_hash, write);
        }
    }
    let is_whole = whole.is_some_and(|whole| sha256(set)[..] == *whole);
    if is_whole && !purged {
        return Ok(Some(set.clone()));
    }
    if purged && wanted.is_empty() {
        // Nothing is left of it; that it was here is remembered, so that nobody looks again.
        return Ok(Some(Bytes::new()));
    }
    let Ok(mut parsed) = kvrwset::KvrwSet::decode(set.clone()) else {
        return Ok(None);
    };
    if !is_whole && !parsed.metadata_writes.is_empty() {
        // Nothing vouches for these one by one.
        parsed.metadata_writes.clear();
    }
    parsed.reads.clear();
    parsed.range_queries_info.clear();
    let mut kept = Vec::new();
    for write in parsed.writes {
        let Some(hashes) = wanted.remove(&sha256(write.key.as_bytes())[..]) else {
            continue;
        };
        if !matches(&write, hashes) {
            return Ok(None);
        }
        kept.push(write);
    }
    // The sender has seen a purge that is still ahead of this peer: later.
    if !wanted.is_empty() {
        return Ok(None);
    }
    parsed.writes = kept;
    Ok(Some(parsed.encode_to_vec().into()))
}

/// Whether a stored set is the one that a block has the hash of, or what is left of it without keys
/// that were purged.
pub(super) fn is_part_of(set: &Bytes, expected: &CollectionRwSet) -> bool {
    if sha256(set)[..] == expected.pvt_rwset_hash[..] {
        return true;
    }
    let Ok(set) = kvrwset::KvrwSet::decode(set.clone()) else {
        return false;
    };
    set.writes.iter().all(|write| {
        let key_hash = sha256(write.key.as_bytes());
        let mut hashes = expected.hashed_writes.iter();
        hashes.any(|hashes| hashes.key_hash[..] == key_hash && matches(write, hashes))
    })
}

fn matches(write: &kvrwset::KvWrite, hashes: &kvrwset::KvWriteHash) -> bool {
    let deletes =
        |is_delete: bool, hash: &[u8]| is_delete || hash.is_empty() || *hash == SHA256_OF_EMPTY[..];
    if deletes(hashes.is_delete, &hashes.value_hash) {
        return write.is_delete || write.value.is_empty();
    }
    !write.is_delete && sha256(&write.value)[..] == hashes.value_hash[..]
}

/// Puts a late value into private state if it is the value that the channel has now.
fn apply(
    ledger: &Ledger,
    state: &StateReader,
    namespace: &str,
    collection: &str,
    write: kvrwset::KvWrite,
    batch: &mut Batch<'_>,
) -> Result<(), LedgerError> {
    let key = write.key.as_str();
    match state.get_hashed(namespace, collection, &sha256(key.as_bytes()))? {
        // The version may be a later one that changed metadata alone; the value decides.
        Some(hashed) if !write.is_delete && sha256(&write.value)[..] == hashed.value[..] => {
            let value = VersionedValue {
                value: write.value,
                metadata: None,
                version: hashed.version,
            };
            put_clear(ledger, namespace, collection, key, Some(value), batch)
        }
        Some(_) => Ok(()),
        // Deleted, purged or expired: what is left of an older value goes.
        None => put_clear(ledger, namespace, collection, key, None, batch),
    }
}
