//! Writing a snapshot's files from the database as it was at one height.
//!
//! All peers of a channel write the same bytes at the same height, Fabric's among them, so the
//! order of everything is part of the format.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use consilium_proto::privacyenabledstate::SnapshotRecord;
use consilium_proto::protos::CollectionConfigPackage;
use consilium_protocol::names::hashed_collection;
use prost::Message;

use super::file::{FileWriter, put_ordered};
use super::metadata::Metadata;
use super::{CONFIG_HISTORY, PRIVATE_HASHES, PUBLIC_STATE, TX_IDS};
use crate::chain::Tip;
use crate::database::{Family, Record, Snapshot};
use crate::error::LedgerError;
use crate::private::collection_history;
use crate::state::VersionedValue;
use crate::tx_index;

/// Records read from the database in one step.
const STEP: usize = 1024;

/// The files written so far, with their hashes.
type Files = BTreeMap<String, [u8; 32]>;

/// Writes the snapshot of `channel` at `tip`, which `database` shows, into an empty folder. Ends with
/// an error soon after `stop` is set.
pub(crate) fn export(
    channel: &str,
    tip: &Tip,
    database: &Snapshot,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<(), LedgerError> {
    let database = &Source { database, stop };
    let mut files = Files::new();
    transaction_ids(database, folder, &mut files)?;
    collections(database, folder, &mut files)?;
    state(database, folder, &mut files)?;
    let last = tip
        .height
        .checked_sub(1)
        .ok_or_else(|| LedgerError::Snapshot("a channel without blocks has no snapshot".into()))?;
    let hashes = (tip.header_hash.to_vec(), tip.previous_hash.to_vec());
    Metadata::new(channel.to_owned(), last, hashes, tip.commit_hash, files)
        .write(folder)
        .map_err(LedgerError::snapshot_file(folder))
}

/// What is exported, until told to stop.
struct Source<'a> {
    database: &'a Snapshot,
    stop: &'a AtomicBool,
}

/// A data file and the file that says what is in it, made with the first record.
struct Pair<'a> {
    folder: &'a Path,
    name: &'static str,
    data: Option<FileWriter>,
}

impl<'a> Pair<'a> {
    fn new(folder: &'a Path, name: &'static str) -> Self {
        Self {
            folder,
            name,
            data: None,
        }
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut FileWriter) -> io::Result<()>,
    ) -> Result<(), LedgerError> {
        let path = self.folder.join(format!("{}.data", self.name));
        let fail = LedgerError::snapshot_file(&path);
        let data = match &mut self.data {
            Some(data) => data,
            none => none.insert(FileWriter::create(&path).map_err(&fail)?),
        };
        write(data).map_err(fail)
    }

    /// Ends the data file and writes the other; without a record there is neither.
    fn finish(
        self,
        files: &mut Files,
        metadata: impl FnOnce(&mut FileWriter) -> io::Result<()>,
    ) -> Result<(), LedgerError> {
        let Some(data) = self.data else {
            return Ok(());
        };
        let data_name = format!("{}.data", self.name);
        let path = self.folder.join(&data_name);
        let hash = data.finish().map_err(LedgerError::snapshot_file(&path))?;
        files.insert(data_name, hash);
        let name = format!("{}.metadata", self.name);
        let path = self.folder.join(&name);
        let write = || {
            let mut file = FileWriter::create(&path)?;
            metadata(&mut file)?;
            file.finish()
        };
        files.insert(name, write().map_err(LedgerError::snapshot_file(&path))?);
        Ok(())
    }
}

/// Every record of a family from `start` on, before `end`.
fn each(
    source: &Source<'_>,
    family: Family,
    start: &[u8],
    end: Option<&[u8]>,
    mut visit: impl FnMut(Record) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    let mut next = start.to_vec();
    loop {
        if source.stop.load(Ordering::Relaxed) {
            return Err(LedgerError::Snapshot("the ledger is being closed".into()));
        }
        let records = source.database.scan(family, &next, end, STEP)?;
        let Some((last, _)) = records.last() else {
            return Ok(());
        };
        next = last.to_vec();
        next.push(0);
        records.into_iter().try_for_each(&mut visit)?;
    }
}

/// All transaction ids but the empty one, the short ones first, since Fabric's index holds the
/// length before the id. fabric: common/ledger/blkstorage/blockindex.go
fn transaction_ids(
    database: &Source<'_>,
    folder: &Path,
    files: &mut Files,
) -> Result<(), LedgerError> {
    let mut pair = Pair::new(folder, TX_IDS);
    let mut count = 0u64;
    let (start, end) = tx_index::short_ids();
    each(database, Family::Index, start, Some(end), |(key, _)| {
        count += 1;
        pair.write(|file| file.bytes(tx_index::short_id(&key)))
    })?;
    // Ids that no client made; there are few, if any. Their keys have the length first and then a
    // hash, so those of one length are to be sorted.
    let mut equal = BTreeSet::<Vec<u8>>::new();
    let mut write = |equal: &mut BTreeSet<Vec<u8>>| {
        count += equal.len() as u64;
        let mut ids = std::mem::take(equal).into_iter();
        ids.try_for_each(|id| pair.write(|file| file.bytes(&id)))
    };
    let (start, end) = tx_index::long_ids();
    each(database, Family::Index, start, Some(end), |(_, record)| {
        let id = tx_index::long_id(&record)?;
        if equal.first().is_some_and(|other| other.len() != id.len()) {
            write(&mut equal)?;
        }
        equal.insert(id.to_vec());
        Ok(())
    })?;
    write(&mut equal)?;
    pair.finish(files, |file| file.number(count))
}

/// Which explicit collections chaincodes had, and since when.
/// fabric: core/ledger/confighistory/mgr.go, db_helper.go
fn collections(database: &Source<'_>, folder: &Path, files: &mut Files) -> Result<(), LedgerError> {
    let mut records = BTreeMap::new();
    for (chaincode, block, package) in collection_history(database.database)? {
        if package.config.is_empty() {
            continue;
        }
        records.insert(history_key(&chaincode, block), package);
    }
    let count = records.len() as u64;
    let mut pair = Pair::new(folder, CONFIG_HISTORY);
    for (key, package) in records {
        let package: CollectionConfigPackage = package;
        pair.write(|file| {
            file.bytes(&key)?;
            file.bytes(&package.encode_to_vec())
        })?;
    }
    pair.finish(files, |file| file.number(count))
}

/// Where Fabric keeps the collections that `chaincode` got with `block`: newest first.
pub(super) fn history_key(chaincode: &str, block: u64) -> Vec<u8> {
    let mut key = b"slscc\0".to_vec();
    key.extend_from_slice(chaincode.as_bytes());
    key.extend_from_slice(b"~collection");
    key.extend_from_slice(&(!block).to_be_bytes());
    key
}

/// Public state, and the hashes of private state.
/// fabric: core/ledger/kvledger/txmgmt/privacyenabledstate/snapshot.go
fn state(database: &Source<'_>, folder: &Path, files: &mut Files) -> Result<(), LedgerError> {
    let mut public = StateFiles::new(folder, PUBLIC_STATE);
    let mut hashed = StateFiles::new(folder, PRIVATE_HASHES);
    each(database, Family::State, &[], None, |(key, record)| {
        let split = key.iter().position(|byte| *byte == 0);
        let (namespace, key) = split
            .and_then(|at| Some((key.get(..at)?, key.get(at + 1..)?)))
            .ok_or_else(|| LedgerError::damaged("state key"))?;
        let namespace =
            std::str::from_utf8(namespace).map_err(|_| LedgerError::damaged("state namespace"))?;
        let value = VersionedValue::decode(record.into_vec())?;
        let file = if hashed_collection(namespace).is_some() {
            &mut hashed
        } else {
            &mut public
        };
        file.add(namespace, key, value)
    })?;
    public.finish(files)?;
    hashed.finish(files)
}

/// Records of state, and how many each namespace has.
struct StateFiles<'a> {
    pair: Pair<'a>,
    counts: Vec<(String, u64)>,
}

impl<'a> StateFiles<'a> {
    fn new(folder: &'a Path, name: &'static str) -> Self {
        Self {
            pair: Pair::new(folder, name),
            counts: Vec::new(),
        }
    }

    fn add(
        &mut self,
        namespace: &str,
        key: &[u8],
        value: VersionedValue,
    ) -> Result<(), LedgerError> {
        match self.counts.last_mut() {
            Some((last, count)) if last == namespace => *count += 1,
            _ => self.counts.push((namespace.to_owned(), 1)),
        }
        let mut version = Vec::with_capacity(18);
        put_ordered(&mut version, value.version.block);
        put_ordered(&mut version, value.version.tx);
        let record = SnapshotRecord {
            key: key.to_vec().into(),
            value: value.value,
            metadata: value.metadata.unwrap_or_default(),
            version: version.into(),
        };
        self.pair.write(|file| file.bytes(&record.encode_to_vec()))
    }

    fn finish(self, files: &mut Files) -> Result<(), LedgerError> {
        let counts = self.counts;
        self.pair.finish(files, |file| {
            file.number(counts.len() as u64)?;
            for (namespace, count) in &counts {
                file.bytes(namespace.as_bytes())?;
                file.number(*count)?;
            }
            Ok(())
        })
    }
}
