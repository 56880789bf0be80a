//! What a simulation recorded so far, and its canonical encoding.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::{kvrwset, rwset};
use consilium_protocol::hash::sha256;
use consilium_protocol::rwset::{
    CollectionRwSet, KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash,
    KvWrite, KvWriteHash, NsRwSet, RangeQueryInfo, TxRwSet, Version,
};
use prost::Message;

type Metadata = BTreeMap<String, Bytes>;

/// By namespace. Ordered maps give the canonical order: keys, names and collections by bytes.
#[derive(Debug, Default)]
pub(super) struct Recording {
    namespaces: BTreeMap<String, NamespaceRecording>,
}

#[derive(Debug, Default)]
pub(super) struct NamespaceRecording {
    pub(super) reads: BTreeMap<String, Option<Version>>,
    pub(super) ranges: Vec<RangeQueryInfo>,
    /// An empty value deletes.
    pub(super) writes: BTreeMap<String, Bytes>,
    pub(super) metadata_writes: BTreeMap<String, Metadata>,
    collections: BTreeMap<String, CollectionRecording>,
}

/// By clear key: hashed entries are ordered by it, not by its hash.
#[derive(Debug, Default)]
pub(super) struct CollectionRecording {
    pub(super) reads: BTreeMap<String, Option<Version>>,
    pub(super) writes: BTreeMap<String, PrivateWrite>,
    pub(super) metadata_writes: BTreeMap<String, Metadata>,
}

#[derive(Debug)]
pub(super) enum PrivateWrite {
    /// A value, not empty.
    Put(Bytes),
    Delete,
    Purge,
}

impl Recording {
    pub(super) fn namespace(&mut self, name: &str) -> &mut NamespaceRecording {
        self.namespaces.entry(name.into()).or_default()
    }

    pub(super) fn collection(&mut self, namespace: &str, name: &str) -> &mut CollectionRecording {
        self.namespace(namespace)
            .collections
            .entry(name.into())
            .or_default()
    }

    /// Namespaces touched so far.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.namespaces.keys().map(String::as_str)
    }

    /// Collections touched in a namespace, and whether they were written.
    pub(super) fn collections(&self, namespace: &str) -> impl Iterator<Item = (&str, bool)> {
        self.namespaces
            .get(namespace)
            .into_iter()
            .flat_map(|namespace| &namespace.collections)
            .map(|(name, recording)| (name.as_str(), recording.is_written()))
    }

    /// The encoded `TxReadWriteSet` and the clear sets of collections.
    pub(super) fn encode(self) -> (Bytes, Option<rwset::TxPvtReadWriteSet>) {
        let mut public = TxRwSet::default();
        let mut private = rwset::TxPvtReadWriteSet::default();
        for (name, recording) in self.namespaces {
            let (namespace, clear) = recording.into_sets(name);
            public.namespaces.push(namespace);
            private.ns_pvt_rwset.extend(clear);
        }
        let private = (!private.ns_pvt_rwset.is_empty()).then_some(private);
        (public.encode(), private)
    }
}

impl NamespaceRecording {
    fn into_sets(self, name: String) -> (NsRwSet, Option<rwset::NsPvtReadWriteSet>) {
        let mut clear = rwset::NsPvtReadWriteSet {
            namespace: name.clone(),
            collection_pvt_rwset: Vec::new(),
        };
        let mut collections = Vec::new();
        for (collection, recording) in self.collections {
            let rwset = recording
                .clear()
                .map(|clear| Bytes::from(clear.encode_to_vec()));
            collections.push(recording.hashed(collection.clone(), rwset.as_deref()));
            clear.collection_pvt_rwset.extend(rwset.map(|rwset| {
                rwset::CollectionPvtReadWriteSet {
                    collection_name: collection,
                    rwset,
                }
            }));
        }
        let reads = self.reads.into_iter().map(|(key, version)| KvRead {
            key,
            version: version.map(Into::into),
        });
        let writes = self.writes.into_iter().map(|(key, value)| KvWrite {
            key,
            is_delete: value.is_empty(),
            value,
        });
        let metadata_writes =
            self.metadata_writes
                .into_iter()
                .map(|(key, metadata)| KvMetadataWrite {
                    key,
                    entries: entries(metadata),
                });
        let public = NsRwSet {
            name,
            reads: reads.collect(),
            ranges: self.ranges,
            writes: writes.collect(),
            metadata_writes: metadata_writes.collect(),
            collections,
        };
        let has_clear = !clear.collection_pvt_rwset.is_empty();
        (public, has_clear.then_some(clear))
    }
}

impl CollectionRecording {
    fn is_written(&self) -> bool {
        !self.writes.is_empty() || !self.metadata_writes.is_empty()
    }

    /// The clear set, if anything was written.
    fn clear(&self) -> Option<kvrwset::KvrwSet> {
        let writes = self.writes.iter().map(|(key, write)| {
            let value = match write {
                PrivateWrite::Put(value) => value.clone(),
                PrivateWrite::Delete | PrivateWrite::Purge => Bytes::new(),
            };
            KvWrite {
                key: key.clone(),
                is_delete: value.is_empty(),
                value,
            }
        });
        let metadata_writes = self.metadata_writes.keys().map(|key| KvMetadataWrite {
            key: key.clone(),
            entries: Vec::new(),
        });
        self.is_written().then(|| kvrwset::KvrwSet {
            writes: writes.collect(),
            metadata_writes: metadata_writes.collect(),
            ..Default::default()
        })
    }

    fn hashed(self, name: String, clear: Option<&[u8]>) -> CollectionRwSet {
        let hashed_reads = self.reads.into_iter().map(|(key, version)| KvReadHash {
            key_hash: hash(key.as_bytes()),
            version: version.map(Into::into),
        });
        let hashed_writes = self.writes.into_iter().map(|(key, write)| KvWriteHash {
            key_hash: hash(key.as_bytes()),
            is_delete: !matches!(write, PrivateWrite::Put(_)),
            value_hash: match &write {
                PrivateWrite::Put(value) => hash(value),
                PrivateWrite::Delete | PrivateWrite::Purge => Bytes::new(),
            },
            is_purge: matches!(write, PrivateWrite::Purge),
        });
        let metadata_writes =
            self.metadata_writes
                .into_iter()
                .map(|(key, metadata)| KvMetadataWriteHash {
                    key_hash: hash(key.as_bytes()),
                    entries: entries(metadata),
                });
        CollectionRwSet {
            name,
            hashed_reads: hashed_reads.collect(),
            hashed_writes: hashed_writes.collect(),
            metadata_writes: metadata_writes.collect(),
            pvt_rwset_hash: clear.map(hash).unwrap_or_default(),
        }
    }
}

fn hash(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&sha256(bytes))
}

fn entries(metadata: Metadata) -> Vec<KvMetadataEntry> {
    metadata
        .into_iter()
        .map(|(name, value)| KvMetadataEntry { name, value })
        .collect()
}
