//! Current state: how keys and values lie in the database, and reading a snapshot of it.
//!
//! A key is `namespace 0x00 key`; the hashed keys of a collection are in the namespace
//! `<ns>$$h<collection>`. Clear values of collections are laid out alike in a family of their own,
//! so that public state is the same on every peer.

use std::collections::HashMap;

use bytes::Bytes;
use consilium_proto::{common, kvrwset, protos, queryresult};
use consilium_protocol::hash::sha256;
use consilium_protocol::names::{hashed_namespace, private_namespace};
use consilium_protocol::rwset::{NsRwSet, TxRwSet, Version};

use crate::chain;
use crate::collections::{self, CollectionSet, StateLookup};
use crate::database::{Family, Record, Snapshot, behind};
use crate::error::LedgerError;
use crate::history;

/// A value with what the ledger keeps beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedValue {
    /// The value; for a hashed key the SHA-256 of the clear value.
    pub value: Bytes,
    /// An encoded `KVMetadataWrite` without key, if the key has metadata.
    pub metadata: Option<Bytes>,
    /// The transaction that last wrote value or metadata.
    pub version: Version,
}

impl VersionedValue {
    /// The metadata entry called `name`. Damaged metadata is an error, as what it would have
    /// demanded is unknown.
    pub fn metadata_entry(&self, name: &str) -> Result<Option<Bytes>, LedgerError> {
        let Some(metadata) = &self.metadata else {
            return Ok(None);
        };
        let metadata = consilium_proto::decode::<kvrwset::KvMetadataWrite>(metadata)
            .map_err(|error| LedgerError::damaged(format!("state metadata: {error}")))?;
        Ok(metadata
            .entries
            .into_iter()
            // Fabric reads the entries into a map: the last one of a name counts.
            .rfind(|entry| entry.name == name)
            .map(|entry| entry.value))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let metadata = self.metadata.as_deref();
        let mut record =
            Vec::with_capacity(self.value.len() + metadata.map_or(0, <[u8]>::len) + 24);
        put_varint(&mut record, self.version.block);
        put_varint(&mut record, self.version.tx);
        put_varint(&mut record, metadata.map_or(0, |m| m.len() as u64 + 1));
        record.extend_from_slice(metadata.unwrap_or_default());
        record.extend_from_slice(&self.value);
        record
    }

    pub(crate) fn decode(record: Vec<u8>) -> Result<Self, LedgerError> {
        let mut rest = Bytes::from(record);
        let mut parse = || {
            let version = Version {
                block: take_varint(&mut rest)?,
                tx: take_varint(&mut rest)?,
            };
            let metadata = match take_varint(&mut rest)?.checked_sub(1) {
                None => None,
                Some(length) if length <= rest.len() as u64 => Some(rest.split_to(length as usize)),
                Some(_) => return None,
            };
            Some(VersionedValue {
                value: rest.clone(),
                metadata,
                version,
            })
        };
        parse().ok_or_else(|| LedgerError::damaged("state record"))
    }
}

fn put_varint(record: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        record.push(number as u8 | 0x80);
        number >>= 7;
    }
    record.push(number as u8);
}

fn take_varint(rest: &mut Bytes) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *rest.first()?;
        let _ = rest.split_to(1);
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

pub(crate) fn key(namespace: &str, key: &[u8]) -> Vec<u8> {
    let mut record_key = Vec::with_capacity(namespace.len() + 1 + key.len());
    record_key.extend_from_slice(namespace.as_bytes());
    record_key.push(0);
    record_key.extend_from_slice(key);
    record_key
}

/// Where a scan of `namespace` up to `end` (empty: to its end) stops.
pub(crate) fn scan_end(namespace: &str, end: &[u8]) -> Vec<u8> {
    if end.is_empty() {
        let mut record_key = namespace.as_bytes().to_vec();
        record_key.push(1);
        record_key
    } else {
        key(namespace, end)
    }
}

/// Records fetched by one step of a scan.
const SCAN_STEP: usize = 64;

/// A position in a scan of one namespace; needs the snapshot again for every step, so that it can
/// be kept beside it.
#[derive(Debug)]
pub(crate) struct Scan {
    family: Family,
    /// Length of `namespace 0x00`.
    prefix: usize,
    next: Vec<u8>,
    end: Vec<u8>,
    fetched: std::vec::IntoIter<Record>,
    ended: bool,
}

impl Scan {
    pub(crate) fn new(family: Family, namespace: &str, start: &[u8], end: &[u8]) -> Self {
        let next = key(namespace, start);
        let end = scan_end(namespace, end);
        Scan {
            family,
            prefix: namespace.len() + 1,
            ended: next >= end,
            next,
            end,
            fetched: Vec::new().into_iter(),
        }
    }

    /// Makes sure that the next record is fetched, if there is one.
    fn fill(&mut self, snapshot: &Snapshot) -> Result<(), LedgerError> {
        if !self.fetched.as_slice().is_empty() || self.ended {
            return Ok(());
        }
        let end = Some(self.end.as_slice());
        let records = snapshot.scan(self.family, &self.next, end, SCAN_STEP)?;
        match behind(&records) {
            Some(next) => self.next = next,
            None => self.ended = true,
        }
        self.fetched = records.into_iter();
        Ok(())
    }

    fn bare_key(&self, record_key: &[u8]) -> Result<Vec<u8>, LedgerError> {
        record_key
            .get(self.prefix..)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| LedgerError::damaged("state key"))
    }

    /// The next key without moving on.
    pub(crate) fn peek(&mut self, snapshot: &Snapshot) -> Result<Option<Vec<u8>>, LedgerError> {
        self.fill(snapshot)?;
        match self.fetched.as_slice().first() {
            Some((record_key, _)) => self.bare_key(record_key).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn next(
        &mut self,
        snapshot: &Snapshot,
    ) -> Result<Option<(Vec<u8>, VersionedValue)>, LedgerError> {
        self.fill(snapshot)?;
        let Some((record_key, value)) = self.fetched.next() else {
            return Ok(None);
        };
        Ok(Some((
            self.bare_key(&record_key)?,
            VersionedValue::decode(value.into_vec())?,
        )))
    }
}

/// The state of a channel at one block, unaffected by later commits. Owns what it reads and may
/// move between threads.
pub struct StateReader {
    snapshot: Snapshot,
    height: u64,
    /// What was read beforehand, by record key; `None` is a key that is not there.
    preloaded: HashMap<Vec<u8>, Option<VersionedValue>>,
}

impl StateReader {
    pub(crate) fn new(snapshot: Snapshot) -> Result<Self, LedgerError> {
        let height = chain::height_in(&snapshot)?;
        Ok(Self {
            snapshot,
            height,
            preloaded: HashMap::new(),
        })
    }

    /// Reads in few steps what validation and commit of a block will ask for: every key that its
    /// transactions read or write, up to `most` bytes of values. Nobody has judged these
    /// transactions yet: they may name any keys. What is left out is read when it is asked for.
    pub(crate) fn preload<'a>(
        &mut self,
        rwsets: impl IntoIterator<Item = &'a TxRwSet>,
        most: usize,
    ) -> Result<(), LedgerError> {
        let mut keys = Vec::new();
        for namespace in rwsets.into_iter().flat_map(|rwset| &rwset.namespaces) {
            touched(namespace, |space, bare| keys.push(key(space, bare)));
        }
        keys.sort_unstable();
        keys.dedup();
        let mut loaded = 0;
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() && loaded < most {
            let step: Vec<_> = keys.by_ref().take(SCAN_STEP).collect();
            let records = self.snapshot.get_many(Family::State, &step)?;
            for (key, record) in step.into_iter().zip(records) {
                loaded += record.as_ref().map_or(0, Vec::len);
                let value = record.map(VersionedValue::decode).transpose()?;
                self.preloaded.insert(key, value);
            }
        }
        Ok(())
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Height of the ledger when the snapshot was taken.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// A public key.
    pub fn get(&self, namespace: &str, key: &str) -> Result<Option<VersionedValue>, LedgerError> {
        self.get_raw(namespace, key.as_bytes())
    }

    /// The channel's configuration in force; `None` before the first block.
    pub fn channel_config(&self) -> Result<Option<common::Config>, LedgerError> {
        let stored = self.get("", collections::CHANNEL_CONFIG_KEY)?;
        stored
            .map(|stored| collections::channel_config(&stored.value))
            .transpose()
    }

    /// A hashed key of a collection; `key_hash` is the SHA-256 of the clear key.
    pub fn get_hashed(
        &self,
        namespace: &str,
        collection: &str,
        key_hash: &[u8],
    ) -> Result<Option<VersionedValue>, LedgerError> {
        self.get_raw(&hashed_namespace(namespace, collection), key_hash)
    }

    /// The clear value of a private key, if this peer has it in the version that the channel
    /// agreed on; [`LedgerError::PrivateDataUnavailable`] if the channel has another one.
    pub fn get_private(
        &self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<VersionedValue>, LedgerError> {
        let hashed = self.get_hashed(namespace, collection, &sha256(key.as_bytes()))?;
        let clear = self
            .snapshot
            .get(
                Family::PrivateState,
                &self::key(&private_namespace(namespace, collection), key.as_bytes()),
            )?
            .map(VersionedValue::decode)
            .transpose()?;
        let public = hashed.map(|value| value.version);
        let private = clear.as_ref().map(|value| value.version);
        if public != private {
            return Err(LedgerError::PrivateDataUnavailable {
                public: shown(public),
                private: shown(private),
            });
        }
        Ok(clear)
    }

    /// Public keys in `[start, end)` in byte order; an empty `end` means to the last key.
    pub fn range<'a>(
        &'a self,
        namespace: &str,
        start: &str,
        end: &str,
    ) -> impl Iterator<Item = Result<(String, VersionedValue), LedgerError>> + use<'a> {
        let mut scan = Scan::new(Family::State, namespace, start.as_bytes(), end.as_bytes());
        std::iter::from_fn(move || {
            let item = scan.next(&self.snapshot).transpose()?;
            Some(item.and_then(|(key, value)| Ok((text(key)?, value))))
        })
    }

    /// Every write of a public key, newest first.
    pub fn history<'a>(
        &'a self,
        namespace: &str,
        key: &str,
    ) -> impl Iterator<Item = Result<queryresult::KeyModification, LedgerError>> + use<'a> {
        let mut cursor = history::Cursor::new(namespace, key);
        std::iter::from_fn(move || cursor.next(&self.snapshot).transpose())
    }

    /// Collections of a chaincode as defined in this state, explicit ones only; `None` if the
    /// chaincode is not defined.
    pub fn collections(
        &self,
        chaincode: &str,
    ) -> Result<Option<protos::CollectionConfigPackage>, LedgerError> {
        Ok(collections::defined(&mut Unrecorded(self), chaincode)?
            .map(CollectionSet::into_explicit))
    }

    pub(crate) fn get_raw(
        &self,
        namespace: &str,
        key: &[u8],
    ) -> Result<Option<VersionedValue>, LedgerError> {
        let record_key = self::key(namespace, key);
        if let Some(value) = self.preloaded.get(&record_key) {
            return Ok(value.clone());
        }
        self.snapshot
            .get(Family::State, &record_key)?
            .map(VersionedValue::decode)
            .transpose()
    }
}

/// Every key of a namespace that the transaction reads or writes, with its namespace in state.
fn touched(namespace: &NsRwSet, mut each: impl FnMut(&str, &[u8])) {
    let name = &namespace.name;
    for read in &namespace.reads {
        each(name, read.key.as_bytes());
    }
    for write in &namespace.writes {
        each(name, write.key.as_bytes());
    }
    for write in &namespace.metadata_writes {
        each(name, write.key.as_bytes());
    }
    for collection in &namespace.collections {
        let space = hashed_namespace(name, &collection.name);
        for read in &collection.hashed_reads {
            each(&space, &read.key_hash);
        }
        for write in &collection.hashed_writes {
            each(&space, &write.key_hash);
        }
        for write in &collection.metadata_writes {
            each(&space, &write.key_hash);
        }
    }
}

impl std::fmt::Debug for StateReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateReader")
            .field("height", &self.height)
            .finish_non_exhaustive()
    }
}

/// Definition look-ups that leave no trace in a read-write set.
pub(crate) struct Unrecorded<'a>(pub(crate) &'a StateReader);

impl StateLookup for Unrecorded<'_> {
    fn lookup(&mut self, namespace: &str, key: &str) -> Result<Option<Bytes>, LedgerError> {
        Ok(self.0.get(namespace, key)?.map(|value| value.value))
    }
}

/// A key that came out of the database; only UTF-8 was ever put there.
pub(crate) fn text(key: Vec<u8>) -> Result<String, LedgerError> {
    String::from_utf8(key).map_err(|_| LedgerError::damaged("a state key is not UTF-8"))
}

/// A version as Fabric prints it.
fn shown(version: Option<Version>) -> String {
    version.map_or_else(|| "<nil>".into(), |version| version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::error::Owner;
    use crate::options::StoreOptions;
    use consilium_protocol::rwset::KvRead;
    use proptest::prelude::*;

    #[test]
    fn what_is_fetched_beforehand_is_bounded_and_the_rest_is_read_when_asked_for() {
        const KEYS: usize = 500;
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions::default();
        let database = Database::open(folder.path(), Owner::Peer, &options).unwrap();
        let name = |n: usize| format!("k{n:03}");
        let mut batch = database.batch();
        for n in 0..KEYS {
            let value = VersionedValue {
                value: vec![7; 1000].into(),
                metadata: None,
                version: Version::new(1, n as u64),
            };
            let key = key("cc", name(n).as_bytes());
            batch.put(Family::State, &key, &value.encode()).unwrap();
        }
        batch.write(false).unwrap();
        let reads = (0..KEYS).map(|n| KvRead {
            key: name(n),
            version: None,
        });
        let rwset = TxRwSet {
            namespaces: vec![NsRwSet {
                name: "cc".to_owned(),
                reads: reads.collect(),
                ..Default::default()
            }],
        };
        for (most, fetched) in [(usize::MAX, KEYS), (100_000, 2 * SCAN_STEP), (0, 0)] {
            let mut reader = StateReader::new(database.snapshot()).unwrap();
            reader.preload([&rwset], most).unwrap();
            assert_eq!(reader.preloaded.len(), fetched);
            for n in 0..KEYS {
                let found = reader.get("cc", &name(n)).unwrap().unwrap();
                assert_eq!(found.version.tx, n as u64);
            }
        }
    }

    proptest! {
        #[test]
        fn a_state_record_reads_back_as_it_was_written(
            value in proptest::collection::vec(any::<u8>(), 0..100),
            metadata in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..100)),
            block in any::<u64>(),
            tx in any::<u64>(),
        ) {
            let written = VersionedValue {
                value: value.into(),
                metadata: metadata.map(Bytes::from),
                version: Version { block, tx },
            };
            prop_assert_eq!(VersionedValue::decode(written.encode()).unwrap(), written);
        }

        #[test]
        fn a_damaged_state_record_is_an_error_and_no_panic(
            record in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = VersionedValue::decode(record);
        }
    }
}
