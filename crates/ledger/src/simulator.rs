//! Simulation: a chaincode's reads and writes against a snapshot, recorded as a read-write set.
//!
//! Reads see the snapshot alone, never the simulation's own writes. What is recorded, and in which
//! order it is encoded, decides whether two endorsers sign the same bytes and what MVCC compares
//! later. fabric: core/ledger/kvledger/txmgmt/txmgr/tx_simulator.go, query_executor.go

mod private;
mod queries;
mod record;
mod rich;
mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use consilium_proto::{kvrwset, rwset};
use consilium_protocol::rwset::Version;

use crate::error::LedgerError;
use crate::indexes::Known;
use crate::state::{StateReader, VersionedValue};

pub use queries::CursorId;
use queries::{Cursor, RangeRecord};
use record::Recording;
use size::Written;

/// The metadata entry that holds a key's endorsement policy.
const VALIDATION_PARAMETER: &str = "VALIDATION_PARAMETER";

/// One transaction's simulation. Owns its snapshot, so it may be kept by an asynchronous task.
#[derive(Debug)]
pub struct Simulator {
    tx_id: String,
    state: StateReader,
    recording: Recording,
    /// Cursors by id; closed ones leave a gap.
    cursors: Vec<Option<Cursor>>,
    ranges: Vec<RangeRecord>,
    /// Collections found valid so far, and the chaincodes whose definition was read.
    collections: private::CollectionChecks,
    /// Key-level policies of written keys as committed, by namespace and collection ("" = public).
    policies: BTreeMap<(String, String), BTreeMap<String, Option<Bytes>>>,
    private_reads: BTreeSet<(String, String)>,
    public_written: Written,
    private_written: Written,
    wrote: bool,
    paginated: bool,
    queried_private: bool,
    stopped: Arc<AtomicBool>,
    indexes: Known,
}

/// What a simulation hands back.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulationResults {
    /// The encoded `TxReadWriteSet`: what endorsers sign.
    pub public: Bytes,
    /// Clear values of collections, if any were written.
    pub private: Option<rwset::TxPvtReadWriteSet>,
    /// Every namespace that was touched, for planning endorsements.
    pub namespaces: Vec<TouchedNamespace>,
    /// Height of the ledger that was read.
    pub height: u64,
}

/// What a simulation did in one namespace, as far as endorsement policies care.
/// fabric: core/endorser/endorser.go buildChaincodeInterest
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchedNamespace {
    /// The namespace.
    pub name: String,
    /// A public key without key-level policy was written, or nothing was written at all.
    pub needs_namespace_policy: bool,
    /// Key-level policies (encoded `SignaturePolicyEnvelope`) of written public keys, one per key.
    pub key_policies: Vec<Bytes>,
    /// Collections that were touched.
    pub collections: Vec<TouchedCollection>,
}

/// What a simulation did in one collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchedCollection {
    /// The collection.
    pub name: String,
    /// A clear value was read (reading hashes does not count).
    pub read_private: bool,
    /// Something was written, metadata included.
    pub wrote: bool,
    /// Key-level policies of written keys, one per key.
    pub key_policies: Vec<Bytes>,
}

impl Simulator {
    pub(crate) fn new(tx_id: &str, state: StateReader, indexes: Known) -> Self {
        Simulator {
            tx_id: tx_id.into(),
            state,
            recording: Recording::default(),
            cursors: Vec::new(),
            ranges: Vec::new(),
            collections: Default::default(),
            policies: BTreeMap::new(),
            private_reads: BTreeSet::new(),
            public_written: Written::default(),
            private_written: Written::default(),
            wrote: false,
            paginated: false,
            queried_private: false,
            stopped: Arc::default(),
            indexes,
        }
    }

    /// The transaction that is simulated.
    pub fn tx_id(&self) -> &str {
        &self.tx_id
    }

    /// Once set, JSON queries under way end with an error instead of looking on for matches.
    pub fn stop_signal(&self) -> Arc<AtomicBool> {
        self.stopped.clone()
    }

    /// Height of the ledger that is read.
    pub fn height(&self) -> u64 {
        self.state.height()
    }

    /// The snapshot, for reads that must not be recorded.
    pub fn state(&self) -> &StateReader {
        &self.state
    }

    /// Reads a public key; records its version.
    pub fn get_state(&mut self, namespace: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.read(namespace, key)?.map(|value| value.value))
    }

    /// Writes a public key; an empty value deletes it.
    pub fn put_state(
        &mut self,
        namespace: &str,
        key: &str,
        value: Bytes,
    ) -> Result<(), LedgerError> {
        self.begin_write()?;
        self.note_policy(namespace, "", key)?;
        let writes = &mut self.recording.namespace(namespace).writes;
        let replaced = writes.get(key).map_or(0, |old| size::entry(key, old));
        self.public_written
            .count(size::entry(key, &value), replaced)?;
        writes.insert(key.into(), value);
        Ok(())
    }

    /// Deletes a public key.
    pub fn delete_state(&mut self, namespace: &str, key: &str) -> Result<(), LedgerError> {
        self.put_state(namespace, key, Bytes::new())
    }

    /// Metadata of a public key by name, empty without; recorded like a read of the key.
    pub fn get_metadata(
        &mut self,
        namespace: &str,
        key: &str,
    ) -> Result<BTreeMap<String, Bytes>, LedgerError> {
        let value = self.read(namespace, key)?;
        entries(value.as_ref())
    }

    /// Replaces all metadata of a public key; an empty map removes it.
    pub fn put_metadata(
        &mut self,
        namespace: &str,
        key: &str,
        metadata: BTreeMap<String, Bytes>,
    ) -> Result<(), LedgerError> {
        self.begin_write()?;
        self.note_policy(namespace, "", key)?;
        let writes = &mut self.recording.namespace(namespace).metadata_writes;
        let replaced = writes.get(key).map_or(0, |old| size::metadata(key, old));
        self.public_written
            .count(size::metadata(key, &metadata), replaced)?;
        writes.insert(key.into(), metadata);
        Ok(())
    }

    /// Ends the simulation.
    pub fn finish(self) -> Result<SimulationResults, LedgerError> {
        let height = self.height();
        let namespaces = self.touched();
        let Simulator {
            mut recording,
            ranges,
            ..
        } = self;
        for range in ranges {
            range.record(&mut recording);
        }
        let (public, private) = recording.encode();
        Ok(SimulationResults {
            public,
            private,
            namespaces,
            height,
        })
    }

    fn read(&mut self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError> {
        let value = self.state.get(namespace, key)?;
        self.record_read(namespace, key, value.as_ref().map(|value| value.version));
        Ok(value)
    }

    fn record_read(&mut self, namespace: &str, key: &str, version: Option<Version>) {
        self.recording
            .namespace(namespace)
            .reads
            .insert(key.into(), version);
    }

    fn begin_write(&mut self) -> Result<(), LedgerError> {
        if self.paginated {
            return Err(self.unsupported(
                "Transaction has already performed a paginated query. Writes are not allowed",
            ));
        }
        if self.queried_private {
            return Err(self.unsupported(
                "Transaction has already performed queries on pvt data. Writes are not allowed",
            ));
        }
        self.wrote = true;
        Ok(())
    }

    /// Fabric's text, spelled as it is there.
    fn unsupported(&self, reason: &str) -> LedgerError {
        LedgerError::Refused(format!(
            "txid [{}]: unsuppored transaction. {reason}",
            self.tx_id
        ))
    }

    /// Remembers the committed policy of a key that is about to be written.
    fn note_policy(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<(), LedgerError> {
        let committed = if collection.is_empty() {
            self.state.get(namespace, key)?
        } else {
            let key_hash = consilium_protocol::hash::sha256(key.as_bytes());
            self.state.get_hashed(namespace, collection, &key_hash)?
        };
        let policy = match committed {
            Some(value) => value.metadata_entry(VALIDATION_PARAMETER)?,
            None => None,
        };
        self.policies
            .entry((namespace.into(), collection.into()))
            .or_default()
            .insert(key.into(), policy);
        Ok(())
    }

    fn touched(&self) -> Vec<TouchedNamespace> {
        let ranged = self.ranges.iter().map(RangeRecord::namespace);
        let mut names: BTreeSet<&str> = ranged.collect();
        names.extend(self.recording.names());
        names
            .into_iter()
            .map(|name| self.touched_namespace(name))
            .collect()
    }

    fn touched_namespace(&self, name: &str) -> TouchedNamespace {
        let policies_of = |collection: &str| -> Vec<Bytes> {
            self.policies
                .get(&(name.into(), collection.into()))
                .into_iter()
                .flat_map(|keys| keys.values().flatten().cloned())
                .collect()
        };
        let wrote_something = self.policies.keys().any(|(namespace, _)| namespace == name);
        let wrote_open_key = self
            .policies
            .get(&(name.into(), String::new()))
            .is_some_and(|keys| keys.values().any(Option::is_none));
        let collections =
            self.recording
                .collections(name)
                .map(|(collection, wrote)| TouchedCollection {
                    name: collection.into(),
                    read_private: self
                        .private_reads
                        .contains(&(name.into(), collection.into())),
                    wrote,
                    key_policies: policies_of(collection),
                });
        TouchedNamespace {
            name: name.into(),
            needs_namespace_policy: wrote_open_key || !wrote_something,
            key_policies: policies_of(""),
            collections: collections.collect(),
        }
    }
}

/// Metadata as a map.
fn entries(value: Option<&VersionedValue>) -> Result<BTreeMap<String, Bytes>, LedgerError> {
    let Some(metadata) = value.and_then(|value| value.metadata.as_ref()) else {
        return Ok(BTreeMap::new());
    };
    let metadata = consilium_proto::decode::<kvrwset::KvMetadataWrite>(metadata)
        .map_err(|error| LedgerError::damaged(format!("state metadata: {error}")))?;
    Ok(metadata
        .entries
        .into_iter()
        .map(|entry| (entry.name, entry.value))
        .collect())
}
