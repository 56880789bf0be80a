//! Merging the writes of one valid transaction into the block's updates: values and metadata of a
//! key travel separately and meet here. fabric: validation/tx_ops.go

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::kvrwset;
use consilium_protocol::hash::SHA256_OF_EMPTY;
use consilium_protocol::names::hashed_namespace;
use consilium_protocol::rwset::{CollectionRwSet, KvMetadataEntry, NsRwSet, TxRwSet, Version};
use prost::Message;

use super::StateView;
use crate::collections::CHANNEL_CONFIG_KEY;
use crate::error::LedgerError;
use crate::update_batch::{Content, Update, UpdateBatch};

const UPSERT: u8 = 1;
const METADATA_UPDATE: u8 = 2;
const METADATA_DELETE: u8 = 4;
const DELETE: u8 = 8;

/// What a transaction does to one key. `flags` is a sum, not a set: a read-write set that lists a
/// key twice, which only a forger's does, has to give the outcome that Fabric's arithmetic gives.
#[derive(Default)]
struct KeyOperation {
    flags: u8,
    value: Option<Bytes>,
    metadata: Option<Bytes>,
}

impl KeyOperation {
    fn write(&mut self, value: Option<Bytes>) {
        match value {
            Some(value) => {
                self.add(UPSERT);
                self.value = Some(value);
            }
            None => self.add(DELETE),
        }
    }

    fn write_metadata(&mut self, entries: &[KvMetadataEntry]) {
        if entries.is_empty() {
            self.add(METADATA_DELETE);
        } else {
            self.add(METADATA_UPDATE);
            let metadata = kvrwset::KvMetadataWrite {
                key: String::new(),
                entries: entries.to_vec(),
            };
            self.metadata = Some(metadata.encode_to_vec().into());
        }
    }

    fn add(&mut self, flag: u8) {
        self.flags = self.flags.wrapping_add(flag);
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The key's new content: `None` if nothing happens, `Some(None)` if the key is deleted.
    /// `latest` looks up what the key holds now.
    fn outcome(
        self,
        latest: impl FnOnce() -> Result<Option<Content>, LedgerError>,
    ) -> Result<Option<Option<Content>>, LedgerError> {
        if self.has(DELETE) {
            return Ok(Some(None));
        }
        if self.has(UPSERT) && (self.has(METADATA_UPDATE) || self.has(METADATA_DELETE)) {
            return Ok(self.value.map(|value| {
                Some(Content {
                    value,
                    metadata: self.metadata,
                })
            }));
        }
        let latest = latest()?;
        if self.flags | UPSERT == UPSERT {
            return Ok(self.value.map(|value| {
                Some(Content {
                    value,
                    metadata: latest.and_then(|latest| latest.metadata),
                })
            }));
        }
        // Metadata alone: a key that is not there, or was deleted before in this block, stays away.
        Ok(latest.map(|latest| {
            Some(Content {
                value: latest.value,
                metadata: self.metadata,
            })
        }))
    }
}

type Operations = BTreeMap<Bytes, KeyOperation>;

/// Adds the results of a valid transaction to `updates`.
pub(super) fn results(
    rwset: &TxRwSet,
    version: Version,
    updates: &mut UpdateBatch,
    state: &impl StateView,
) -> Result<(), LedgerError> {
    for namespace in &rwset.namespaces {
        // Public keys under `None`, hashed ones under their collection.
        let mut spaces: BTreeMap<Option<&str>, Operations> = BTreeMap::new();
        public_operations(namespace, spaces.entry(None).or_default());
        for collection in &namespace.collections {
            // Without a name it is the public part: Fabric keeps both in one map.
            let space = Some(collection.name.as_str()).filter(|name| !name.is_empty());
            let operations = spaces.entry(space).or_default();
            hashed_operations(collection, operations);
        }
        for (collection, operations) in spaces {
            merge(
                &namespace.name,
                collection,
                operations,
                version,
                updates,
                state,
            )?;
        }
    }
    Ok(())
}

fn public_operations(namespace: &NsRwSet, operations: &mut Operations) {
    for write in &namespace.writes {
        let deletes = write.is_delete || write.value.is_empty();
        let key = Bytes::copy_from_slice(write.key.as_bytes());
        let operation = operations.entry(key).or_default();
        operation.write((!deletes).then(|| write.value.clone()));
    }
    for write in &namespace.metadata_writes {
        let key = Bytes::copy_from_slice(write.key.as_bytes());
        operations
            .entry(key)
            .or_default()
            .write_metadata(&write.entries);
    }
}

fn hashed_operations(collection: &CollectionRwSet, operations: &mut Operations) {
    for write in &collection.hashed_writes {
        let deletes = write.is_delete
            || write.value_hash.is_empty()
            || write.value_hash == SHA256_OF_EMPTY[..];
        let operation = operations.entry(write.key_hash.clone()).or_default();
        operation.write((!deletes).then(|| write.value_hash.clone()));
    }
    for write in &collection.metadata_writes {
        operations
            .entry(write.key_hash.clone())
            .or_default()
            .write_metadata(&write.entries);
    }
}

fn merge(
    namespace: &str,
    collection: Option<&str>,
    operations: Operations,
    version: Version,
    updates: &mut UpdateBatch,
    state: &impl StateView,
) -> Result<(), LedgerError> {
    let state_namespace = match collection {
        None => namespace.to_owned(),
        Some(collection) => hashed_namespace(namespace, collection),
    };
    for (key, operation) in operations {
        let latest = || {
            if let Some(update) = updates.get(namespace, collection, &key) {
                return Ok(update.content.clone());
            }
            let committed = state.get(&state_namespace, &key)?;
            Ok(committed.map(|committed| Content {
                value: committed.value,
                metadata: committed.metadata,
            }))
        };
        if let Some(content) = operation.outcome(latest)? {
            updates.put(namespace, collection, key, Update { content, version });
        }
    }
    Ok(())
}

/// A config transaction replaces the configuration that lies in state.
pub(super) fn config(envelope: Bytes, version: Version, updates: &mut UpdateBatch) {
    let update = Update {
        content: Some(Content {
            value: envelope,
            metadata: None,
        }),
        version,
    };
    let key = Bytes::from_static(CHANNEL_CONFIG_KEY.as_bytes());
    updates.put("", None, key, update);
}
