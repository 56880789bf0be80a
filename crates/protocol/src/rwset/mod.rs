//! Read-write sets: what a simulation read and wrote, as validators and ledgers work on it.
//!
//! The entries are the generated messages (`kvrwset`), so parsing is one pass over the bytes and
//! values stay slices of the received buffer. Canonical order, which makes two peers' results
//! byte-identical, is the builder's duty (hashing-and-signing, section 9): namespaces by name;
//! reads, writes and metadata writes by key; ranges in order of first execution; collections by
//! name; hashed entries in the order of their *clear* keys.

pub mod merkle;
mod version;

pub use version::{Version, append_ordered_varint, read_ordered_varint};

use crate::envelope::{ParseError, decode};
use crate::wire::{put_bytes, put_prefix};
use bytes::Bytes;
use consilium_proto::{kvrwset, rwset};
use prost::Message;

pub use consilium_proto::kvrwset::{
    KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash, KvWrite,
    KvWriteHash, RangeQueryInfo,
};

/// The public part of a transaction's results.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TxRwSet {
    /// One entry per namespace touched, by name.
    pub namespaces: Vec<NsRwSet>,
}

/// What happened in one namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NsRwSet {
    /// Chaincode name.
    pub name: String,
    /// Keys read and the versions seen.
    pub reads: Vec<KvRead>,
    /// Ranges iterated and what they held.
    pub ranges: Vec<RangeQueryInfo>,
    /// Keys written or deleted.
    pub writes: Vec<KvWrite>,
    /// Keys whose metadata was set or cleared.
    pub metadata_writes: Vec<KvMetadataWrite>,
    /// Hashed reads and writes of private data.
    pub collections: Vec<CollectionRwSet>,
}

/// Hashed reads and writes of one collection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CollectionRwSet {
    /// Collection name.
    pub name: String,
    /// Hashes of keys read and the versions seen.
    pub hashed_reads: Vec<KvReadHash>,
    /// Hashes of keys and values written.
    pub hashed_writes: Vec<KvWriteHash>,
    /// Hashes of keys whose metadata was set or cleared.
    pub metadata_writes: Vec<KvMetadataWriteHash>,
    /// SHA-256 of the collection's encoded clear `KVRWSet`; empty when nothing was written.
    pub pvt_rwset_hash: Bytes,
}

impl TxRwSet {
    /// Parses an encoded `TxReadWriteSet` with every message nested in it.
    pub fn parse(bytes: &Bytes) -> Result<Self, ParseError> {
        let outer: rwset::TxReadWriteSet = decode("TxReadWriteSet", bytes)?;
        let namespaces = outer
            .ns_rwset
            .into_iter()
            .map(NsRwSet::from_message)
            .collect::<Result<_, _>>()?;
        Ok(Self { namespaces })
    }

    /// Encodes as `TxReadWriteSet`, entries in the order they stand in.
    pub fn encode(&self) -> Bytes {
        let mut buffer = Vec::new();
        let mut namespace_bytes = Vec::new();
        for namespace in &self.namespaces {
            namespace_bytes.clear();
            namespace.encode_into(&mut namespace_bytes);
            put_prefix(&mut buffer, 2, namespace_bytes.len());
            buffer.extend_from_slice(&namespace_bytes);
        }
        buffer.into()
    }

    /// The entry of a namespace, if it was touched.
    pub fn namespace(&self, name: &str) -> Option<&NsRwSet> {
        self.namespaces
            .iter()
            .find(|namespace| namespace.name == name)
    }
}

impl NsRwSet {
    fn from_message(message: rwset::NsReadWriteSet) -> Result<Self, ParseError> {
        let public: kvrwset::KvrwSet = decode("KVRWSet", &message.rwset)?;
        let collections = message
            .collection_hashed_rwset
            .into_iter()
            .map(CollectionRwSet::from_message)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: message.namespace,
            reads: public.reads,
            ranges: public.range_queries_info,
            writes: public.writes,
            metadata_writes: public.metadata_writes,
            collections,
        })
    }

    fn encode_into(&self, buffer: &mut Vec<u8>) {
        let mut public = Vec::new();
        put_messages(&mut public, 1, &self.reads);
        put_messages(&mut public, 2, &self.ranges);
        put_messages(&mut public, 3, &self.writes);
        put_messages(&mut public, 4, &self.metadata_writes);
        put_bytes(buffer, 1, self.name.as_bytes());
        put_bytes(buffer, 2, &public);
        for collection in &self.collections {
            let collection = collection.encode();
            put_prefix(buffer, 3, collection.len());
            buffer.extend_from_slice(&collection);
        }
    }

    /// Whether anything of this namespace, public or hashed, was written: then its endorsement
    /// policy is to be checked.
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
            || !self.metadata_writes.is_empty()
            || self
                .collections
                .iter()
                .any(|c| !c.hashed_writes.is_empty() || !c.metadata_writes.is_empty())
    }
}

impl CollectionRwSet {
    fn from_message(message: rwset::CollectionHashedReadWriteSet) -> Result<Self, ParseError> {
        let hashed: kvrwset::HashedRwSet = decode("HashedRWSet", &message.hashed_rwset)?;
        Ok(Self {
            name: message.collection_name,
            hashed_reads: hashed.hashed_reads,
            hashed_writes: hashed.hashed_writes,
            metadata_writes: hashed.metadata_writes,
            pvt_rwset_hash: message.pvt_rwset_hash,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut hashed = Vec::new();
        put_messages(&mut hashed, 1, &self.hashed_reads);
        put_messages(&mut hashed, 2, &self.hashed_writes);
        put_messages(&mut hashed, 3, &self.metadata_writes);
        let mut buffer = Vec::with_capacity(hashed.len() + self.name.len() + 48);
        put_bytes(&mut buffer, 1, self.name.as_bytes());
        put_bytes(&mut buffer, 2, &hashed);
        put_bytes(&mut buffer, 3, &self.pvt_rwset_hash);
        buffer
    }
}

fn put_messages(buffer: &mut Vec<u8>, field: u32, messages: &[impl Message]) {
    for message in messages {
        put_prefix(buffer, field, message.encoded_len());
        message.encode_raw(buffer);
    }
}

#[cfg(test)]
mod tests;
