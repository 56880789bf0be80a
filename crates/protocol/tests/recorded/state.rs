//! A plain replay of valid transactions' writes, as much as the commit hash needs.

use bytes::Bytes;
use consilium_protocol::commit_hash::UpdateEntry;
use consilium_protocol::hash::SHA256_OF_EMPTY;
use consilium_protocol::rwset::{KvMetadataEntry, TxRwSet, Version};
use std::collections::BTreeMap;

/// Namespace, collection (empty: public), key or its hash.
pub type Key = (String, String, Bytes);

#[derive(Clone)]
pub struct Value {
    pub value: Bytes,
    pub metadata: Vec<KvMetadataEntry>,
}

#[derive(Default)]
pub struct State {
    committed: BTreeMap<Key, Value>,
    /// Of the block at hand; `None` is a delete.
    updates: BTreeMap<Key, (Option<Value>, Version)>,
}

/// What one transaction does to one key.
#[derive(Default)]
struct Change {
    value: Option<Option<Bytes>>,
    metadata: Option<Vec<KvMetadataEntry>>,
}

impl State {
    pub fn apply(&mut self, rwset: &TxRwSet, version: Version) {
        let mut changes: BTreeMap<Key, Change> = BTreeMap::new();
        for namespace in &rwset.namespaces {
            let public = |key: &str| {
                (
                    namespace.name.clone(),
                    String::new(),
                    Bytes::copy_from_slice(key.as_bytes()),
                )
            };
            for write in &namespace.writes {
                let kept = !write.is_delete && !write.value.is_empty();
                changes.entry(public(&write.key)).or_default().value =
                    Some(kept.then(|| write.value.clone()));
            }
            for write in &namespace.metadata_writes {
                changes.entry(public(&write.key)).or_default().metadata =
                    Some(write.entries.clone());
            }
            for collection in &namespace.collections {
                let hashed =
                    |key: &Bytes| (namespace.name.clone(), collection.name.clone(), key.clone());
                for write in &collection.hashed_writes {
                    let hash = &write.value_hash;
                    let kept = !write.is_delete && !hash.is_empty() && hash[..] != SHA256_OF_EMPTY;
                    changes.entry(hashed(&write.key_hash)).or_default().value =
                        Some(kept.then(|| hash.clone()));
                }
                for write in &collection.metadata_writes {
                    changes.entry(hashed(&write.key_hash)).or_default().metadata =
                        Some(write.entries.clone());
                }
            }
        }
        for (key, change) in changes {
            let latest = match self.updates.get(&key) {
                Some((value, _)) => value.clone(),
                None => self.committed.get(&key).cloned(),
            };
            let next = match change.value {
                Some(None) => None,
                Some(Some(value)) => {
                    let kept = || latest.map(|latest| latest.metadata).unwrap_or_default();
                    Some(Value {
                        value,
                        metadata: change.metadata.unwrap_or_else(kept),
                    })
                }
                // Metadata of a key that does not exist is dropped.
                None => match latest {
                    None => continue,
                    Some(latest) => Some(Value {
                        metadata: change.metadata.unwrap_or_default(),
                        ..latest
                    }),
                },
            };
            self.updates.insert(key, (next, version));
        }
    }

    pub fn entries(&self) -> Vec<UpdateEntry<'_>> {
        let entries =
            self.updates
                .iter()
                .map(
                    |((namespace, collection, key), (value, version))| UpdateEntry {
                        namespace,
                        collection,
                        key,
                        value: value.as_ref().map(|value| &value.value[..]),
                        version: *version,
                    },
                );
        entries.collect()
    }

    pub fn commit(&mut self) {
        for (key, (value, _)) in std::mem::take(&mut self.updates) {
            match value {
                Some(value) => self.committed.insert(key, value),
                None => self.committed.remove(&key),
            };
        }
    }
}
