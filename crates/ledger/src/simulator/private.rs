//! Collections in a simulation: clear values in the private set, hashes in the public one.

use std::collections::{BTreeMap, btree_map};

use bytes::Bytes;
use consilium_protocol::hash::sha256;
use consilium_protocol::rwset::Version;

use super::record::PrivateWrite;
use super::{Simulator, entries, size};
use crate::collections::{self, CHANNEL_CONFIG_KEY, CollectionSet, StateLookup};
use crate::error::LedgerError;
use crate::state::VersionedValue;

/// Definitions that this simulation has read.
pub(super) type CollectionChecks = BTreeMap<String, CollectionSet>;

/// Definition look-ups that end up in the read set.
struct Recorded<'a>(&'a mut Simulator);

impl StateLookup for Recorded<'_> {
    fn lookup(&mut self, namespace: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        self.0.get_state(namespace, key)
    }
}

impl Simulator {
    /// Reads the clear value of a private key; records its hash and version.
    pub fn get_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, LedgerError> {
        self.check_collection(namespace, collection)?;
        self.private_reads
            .insert((namespace.into(), collection.into()));
        let value = self.state.get_private(namespace, collection, key)?;
        self.record_hashed_read(namespace, collection, key, value.as_ref());
        Ok(value.map(|value| value.value))
    }

    /// Reads the SHA-256 of a private value, also on peers that are no members.
    pub fn get_private_hash(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, LedgerError> {
        let value = self.read_hashed(namespace, collection, key)?;
        Ok(value.map(|value| value.value))
    }

    /// Writes a private key; an empty value deletes it.
    pub fn put_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Bytes,
    ) -> Result<(), LedgerError> {
        let write = if value.is_empty() {
            PrivateWrite::Delete
        } else {
            PrivateWrite::Put(value)
        };
        self.write_private(namespace, collection, key, write)
    }

    /// Deletes a private key; earlier values stay in the members' private data stores.
    pub fn delete_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<(), LedgerError> {
        self.write_private(namespace, collection, key, PrivateWrite::Delete)
    }

    /// Deletes a private key with all its earlier values.
    pub fn purge_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<(), LedgerError> {
        self.write_private(namespace, collection, key, PrivateWrite::Purge)
    }

    /// Metadata of a private key by name; recorded like reading its hash.
    pub fn get_private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<BTreeMap<String, Bytes>, LedgerError> {
        let value = self.read_hashed(namespace, collection, key)?;
        entries(value.as_ref())
    }

    /// Replaces all metadata of a private key; an empty map removes it.
    pub fn put_private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        metadata: BTreeMap<String, Bytes>,
    ) -> Result<(), LedgerError> {
        self.check_collection(namespace, collection)?;
        self.begin_write()?;
        self.note_policy(namespace, collection, key)?;
        let recorded = self.recording.collection(namespace, collection);
        let writes = &mut recorded.metadata_writes;
        let replaced = writes.get(key).map_or(0, |old| size::metadata(key, old));
        self.private_written
            .count(size::metadata(key, &metadata), replaced)?;
        writes.insert(key.into(), metadata);
        Ok(())
    }

    fn write_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        write: PrivateWrite,
    ) -> Result<(), LedgerError> {
        self.check_collection(namespace, collection)?;
        self.begin_write()?;
        self.note_policy(namespace, collection, key)?;
        let writes = &mut self.recording.collection(namespace, collection).writes;
        let replaced = writes.get(key).map_or(0, |old| size_of(key, old));
        self.private_written.count(size_of(key, &write), replaced)?;
        writes.insert(key.into(), write);
        Ok(())
    }

    fn read_hashed(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<VersionedValue>, LedgerError> {
        self.check_collection(namespace, collection)?;
        let value = self
            .state
            .get_hashed(namespace, collection, &sha256(key.as_bytes()))?;
        self.record_hashed_read(namespace, collection, key, value.as_ref());
        Ok(value)
    }

    fn record_hashed_read(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Option<&VersionedValue>,
    ) {
        let version: Option<Version> = value.map(|value| value.version);
        self.recording
            .collection(namespace, collection)
            .reads
            .insert(key.into(), version);
    }

    /// Refuses collections that the chaincode's definition does not have. The first touch of a
    /// chaincode's collections reads its whole definition, which is recorded.
    pub(super) fn check_collection(
        &mut self,
        namespace: &str,
        collection: &str,
    ) -> Result<(), LedgerError> {
        if !self.collections.contains_key(namespace) {
            let defined = collections::defined(&mut Recorded(self), namespace)?;
            let defined = defined.ok_or_else(|| {
                LedgerError::Refused(format!(
                    "collection config not defined for chaincode [{namespace}], pass the collection configuration upon chaincode definition/instantiation"
                ))
            })?;
            self.collections.insert(namespace.into(), defined);
        }
        let known = match self.collections.entry(namespace.into()) {
            btree_map::Entry::Vacant(_) => false,
            btree_map::Entry::Occupied(set) => {
                let set = set.get();
                set.explicit(collection).is_some()
                    || set.allows_implicit()
                        && self
                            .state
                            .get("", CHANNEL_CONFIG_KEY)?
                            .is_some_and(|config| {
                                collections::is_implicit_of_member(&config.value, collection)
                            })
            }
        };
        if known {
            return Ok(());
        }
        Err(LedgerError::Refused(format!(
            "collection [{collection}] not defined in the collection config for chaincode [{namespace}]"
        )))
    }
}

fn size_of(key: &str, write: &PrivateWrite) -> usize {
    match write {
        PrivateWrite::Put(value) => size::entry(key, value),
        PrivateWrite::Delete | PrivateWrite::Purge => size::entry(key, &[]),
    }
}
