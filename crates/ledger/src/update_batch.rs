//! What the valid transactions of a block change in public and hashed state.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_protocol::rwset::Version;

/// The new content of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The new value with its metadata, `None` if the key is deleted.
    pub content: Option<Content>,
    /// The transaction that wrote it.
    pub version: Version,
}

/// Value and metadata of a key that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The value; for hashed keys the value's hash.
    pub value: Bytes,
    /// An encoded `KVMetadataWrite` without key.
    pub metadata: Option<Bytes>,
}

/// Updated keys in byte order.
pub type KeyUpdates = BTreeMap<Bytes, Update>;

/// Updates within one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceUpdates {
    /// Public keys.
    pub public: KeyUpdates,
    /// Hashed keys by collection.
    pub collections: BTreeMap<String, KeyUpdates>,
}

/// Merged updates of the valid transactions of a block so far; a later write of a key replaces an
/// earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateBatch {
    /// By namespace, in byte order.
    pub namespaces: BTreeMap<String, NamespaceUpdates>,
}

impl UpdateBatch {
    /// Updates of public keys (`collection` is `None`) or of hashed keys.
    pub fn keys(&self, namespace: &str, collection: Option<&str>) -> Option<&KeyUpdates> {
        let namespace = self.namespaces.get(namespace)?;
        match collection {
            None => Some(&namespace.public),
            Some(collection) => namespace.collections.get(collection),
        }
    }

    /// The update of one key.
    pub fn get(&self, namespace: &str, collection: Option<&str>, key: &[u8]) -> Option<&Update> {
        self.keys(namespace, collection)?.get(key)
    }

    pub(crate) fn put(
        &mut self,
        namespace: &str,
        collection: Option<&str>,
        key: Bytes,
        update: Update,
    ) {
        let updates = self.namespaces.entry(namespace.into()).or_default();
        match collection {
            None => updates.public.insert(key, update),
            Some(collection) => updates
                .collections
                .entry(collection.into())
                .or_default()
                .insert(key, update),
        };
    }
}
