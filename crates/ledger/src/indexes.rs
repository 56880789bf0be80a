//! Indexes of JSON documents: which ones a chaincode declares, and their records.
//!
//! A place is a state namespace: that of a chaincode (`cc`), or that of a collection's clear values
//! (`cc$$pcollection`). Records: `d place 0x00 id` holds a definition and whether it is ready;
//! `e place 0x00 id record key` says that the document under that key has that index record. They
//! change in the batch that changes the state, so after a crash they agree with it.
//! fabric: statecouchdb.go ProcessIndexesForChaincodeDeploy

mod declare;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use consilium_mango::Index;
use consilium_protocol::names::private_namespace;
use parking_lot::{Mutex, RwLock};

use crate::database::{Database, Family, Snapshot, behind};
use crate::error::LedgerError;

/// A file of `META-INF/statedb/couchdb`, from a chaincode package or a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFile {
    /// The collection that it is for, `None` for public state.
    pub collection: Option<String>,
    /// The file's name.
    pub name: String,
    /// Its content.
    pub content: Bytes,
}

/// A declared index.
#[derive(Clone, Debug)]
struct Declared {
    index: Arc<Index>,
    definition: Bytes,
    /// All documents of the place are in it.
    ready: bool,
}

/// Declared indexes by place.
type Places = BTreeMap<String, Vec<Declared>>;

/// The indexes that a ledger keeps up. Changes only while a commit cannot run.
#[derive(Debug, Default)]
pub(crate) struct Indexes {
    places: RwLock<Arc<Places>>,
    /// Declarations follow one another.
    declaring: Mutex<()>,
    stopping: AtomicBool,
}

const BUILDING: u8 = 0;
const READY: u8 = 1;

impl Indexes {
    /// Reads the definitions. Those that this version makes other records of than the one that
    /// stored them are dropped; they come back when they are declared again.
    pub(crate) fn load(database: &Database) -> Result<Self, LedgerError> {
        let mut places = Places::new();
        let mut batch = database.batch();
        let definitions =
            database.scan(Family::QueryIndex, b"d", Some(b"e".as_slice()), usize::MAX)?;
        for (key, value) in definitions {
            let (place, id) = parse_definition_key(&key)?;
            match parse_definition(&value) {
                Some(declared) if declared.index.id() == id => {
                    places.entry(place).or_default().push(declared);
                }
                _ => {
                    tracing::warn!(place, "dropping an index of an older form");
                    drop_index(&mut batch, &place, &id)?;
                }
            }
        }
        batch.write(true)?;
        Ok(Self {
            places: RwLock::new(Arc::new(places)),
            declaring: Mutex::new(()),
            stopping: AtomicBool::new(false),
        })
    }

    fn places(&self) -> Arc<Places> {
        self.places.read().clone()
    }

    /// Those that are declared now, for [`ready`].
    pub(crate) fn known(&self) -> Known {
        Known(self.places())
    }
}

/// Indexes that are parsed already, whether a snapshot has them or not.
pub(crate) struct Known(Arc<Places>);

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Known {
    /// An id stands for one definition and one form of records, so it is the same index.
    fn get(&self, place: &str, id: &[u8; 8]) -> Option<Arc<Index>> {
        let mut declared = self.0.get(place)?.iter().map(|declared| &declared.index);
        declared.find(|index| index.id() == *id).cloned()
    }
}

/// The indexes that queries may use in a snapshot. That is read from there, so that index and state
/// are of the same moment; what is known need not be parsed for it.
pub(crate) fn ready(
    snapshot: &Snapshot,
    known: &Known,
    place: &str,
) -> Result<Vec<Arc<Index>>, LedgerError> {
    let start = definition_prefix(place);
    let mut end = start.clone();
    end.extend_from_slice(&[0xff; 9]);
    let mut indexes = Vec::new();
    let mut next = start;
    loop {
        let records = snapshot.scan(Family::QueryIndex, &next, Some(end.as_slice()), 256)?;
        let Some(behind) = behind(&records) else {
            return Ok(indexes);
        };
        next = behind;
        for (key, value) in &records {
            if value.first() != Some(&READY) {
                continue;
            }
            let (_, id) = parse_definition_key(key)?;
            let index = known.get(place, &id);
            indexes.extend(index.or_else(|| Some(parse_definition(value)?.index)));
        }
    }
}

/// Where the records of an index begin.
pub(crate) fn records_prefix(place: &str, id: &[u8; 8]) -> Vec<u8> {
    [b"e", place.as_bytes(), &[0], id].concat()
}

/// The place of a chaincode's public state or of one of its collections.
pub(crate) fn place(chaincode: &str, collection: Option<&str>) -> String {
    match collection {
        None => chaincode.into(),
        Some(collection) => private_namespace(chaincode, collection),
    }
}

fn definition_prefix(place: &str) -> Vec<u8> {
    [b"d", place.as_bytes(), &[0]].concat()
}

fn definition_key(place: &str, id: &[u8; 8]) -> Vec<u8> {
    [definition_prefix(place).as_slice(), id].concat()
}

fn parse_definition_key(key: &[u8]) -> Result<(String, [u8; 8]), LedgerError> {
    let parsed = key.split_last_chunk::<8>().and_then(|(start, id)| {
        let place = start.strip_prefix(b"d")?.strip_suffix(&[0])?;
        Some((String::from_utf8(place.to_vec()).ok()?, *id))
    });
    parsed.ok_or_else(|| LedgerError::damaged("key of an index definition"))
}

fn parse_definition(value: &[u8]) -> Option<Declared> {
    let (state, definition) = value.split_first()?;
    Some(Declared {
        index: Arc::new(Index::parse(definition).ok()?),
        definition: Bytes::copy_from_slice(definition),
        ready: *state == READY,
    })
}

fn drop_index(
    batch: &mut crate::database::Batch<'_>,
    place: &str,
    id: &[u8; 8],
) -> Result<(), LedgerError> {
    batch.delete(Family::QueryIndex, &definition_key(place, id))?;
    let start = records_prefix(place, id);
    let mut end = start.clone();
    // Greater than what a record begins with.
    end.push(0xff);
    batch.delete_range(Family::QueryIndex, &start, &end)
}

/// Where the state of a place lies.
pub(crate) fn state_family(collection: Option<&str>) -> Family {
    match collection {
        None => Family::State,
        Some(_) => Family::PrivateState,
    }
}
