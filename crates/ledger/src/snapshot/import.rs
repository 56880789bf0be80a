//! Making a ledger out of a snapshot.
//!
//! Everything is written into a folder of its own, which takes the ledger's place in one step once
//! all of it is on disk: an import that was interrupted leaves no ledger.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use consilium_proto::common;
use consilium_proto::privacyenabledstate::SnapshotRecord;
use consilium_proto::protos::collection_config::Payload;
use consilium_proto::protos::{CollectionConfigPackage, StaticCollectionConfig};
use consilium_protocol::names::{hashed_collection, implicit_collection_org};
use consilium_protocol::rwset::Version;
use prost::Message;

use super::file::{FileReader, take_ordered};
use super::metadata::{Metadata, given_up};
use super::{CONFIG_HISTORY, PRIVATE_HASHES, PUBLIC_STATE, TX_IDS};
use crate::blockfile::sync_folder;
use crate::chain::{self, Base};
use crate::collections::{CHANNEL_CONFIG_KEY, channel_config};
use crate::database::{Batch, Database, Family};
use crate::error::{LedgerError, Owner};
use crate::ledger::{CHANNEL, unfinished};
use crate::options::StoreOptions;
use crate::private::{self, BootKey};
use crate::state::{self, VersionedValue};
use crate::tx_index;

/// Bytes that are written to the database in one batch.
const BATCH_BYTES: usize = 8 << 20;

/// The peer that takes a snapshot over, as far as this crate has to ask it.
pub trait Joiner {
    /// Whether its organization is a member of an explicit collection.
    fn is_member(&self, collection: &StaticCollectionConfig) -> bool;
    /// Its organization's MSP id.
    fn msp_id(&self) -> &str;
    /// Whether it can run a channel with this configuration, which is the one in the snapshot.
    ///
    /// # Errors
    /// Why it cannot: then there will be no ledger.
    fn check_config(&self, channel: &str, config: &common::Config) -> Result<(), String>;
    /// Whether it has given up meanwhile; asked again and again.
    fn has_given_up(&self) -> bool;
}

/// Verifies the snapshot in `folder`, puts it into a new database and moves that to `path`. Gives
/// the channel's name.
pub(crate) fn import(
    path: &Path,
    folder: &Path,
    joiner: &dyn Joiner,
    options: &StoreOptions,
) -> Result<String, LedgerError> {
    let metadata = verified(folder, joiner)?;
    let channel = metadata.signable.channel_name.clone();
    if Database::exists(path) {
        return Err(LedgerError::Exists(channel));
    }
    let building = unfinished(path);
    let clean = |error| LedgerError::io("moving", &building, error);
    if building.exists() {
        fs::remove_dir_all(&building).map_err(clean)?;
    }
    let imported = fill(&building, folder, &metadata, joiner, options);
    if let Err(error) = imported {
        // What was made is of no use; the next attempt would remove it, too.
        let _ = fs::remove_dir_all(&building);
        return Err(error);
    }
    fs::rename(&building, path).map_err(clean)?;
    if let Some(parent) = path.parent() {
        sync_folder(parent)?;
    }
    Ok(channel)
}

/// What a snapshot says about itself, which its files are.
fn verified(folder: &Path, joiner: &dyn Joiner) -> Result<Metadata, LedgerError> {
    let metadata = Metadata::read_and_verify(folder, &|| joiner.has_given_up())?;
    consilium_protocol::names::validate_channel_id(&metadata.signable.channel_name)
        .map_err(|error| LedgerError::Snapshot(format!("the snapshot's channel: {error}")))?;
    Ok(metadata)
}

/// Everything of an import but its last write, which makes it one. Gives the channel's name.
#[cfg(feature = "fuzzing")]
pub(crate) fn read(
    database: &Database,
    folder: &Path,
    joiner: &dyn Joiner,
) -> Result<String, LedgerError> {
    let metadata = verified(folder, joiner)?;
    read_into(database, folder, &metadata, joiner)?;
    Ok(metadata.signable.channel_name)
}

fn fill(
    path: &Path,
    folder: &Path,
    metadata: &Metadata,
    joiner: &dyn Joiner,
    options: &StoreOptions,
) -> Result<(), LedgerError> {
    let database = Database::open(path, Owner::Peer, options)?;
    read_into(&database, folder, metadata, joiner)?.finish()
}

fn read_into<'a>(
    database: &'a Database,
    folder: &'a Path,
    metadata: &'a Metadata,
    joiner: &'a dyn Joiner,
) -> Result<Import<'a>, LedgerError> {
    let mut import = Import {
        database,
        batch: database.batch(),
        bytes: 0,
        folder,
        metadata,
        joiner,
    };
    import.transaction_ids()?;
    let collections = Collections {
        history: import.collections()?,
        joiner,
    };
    let mut config = None;
    import.state(PUBLIC_STATE, |namespace, key, value, _| {
        if namespace.is_empty() && key == CHANNEL_CONFIG_KEY.as_bytes() {
            config = Some(value.value.clone());
        }
        Ok(())
    })?;
    check_config(&metadata.signable.channel_name, config.as_ref(), joiner)?;
    import.state(PRIVATE_HASHES, |namespace, key, value, batch| {
        let (namespace, collection) =
            hashed_collection(namespace).ok_or_else(|| invalid(PRIVATE_HASHES, "namespace"))?;
        let boot = BootKey {
            namespace,
            collection,
            key_hash: key,
            value_hash: &value.value,
            version: value.version,
        };
        let eligible = collections.is_eligible(&boot);
        let lives = collections.block_to_live(namespace, collection);
        private::note_boot_key(&boot, eligible, lives, batch)
    })?;
    Ok(import)
}

/// A channel that the peer cannot run is not taken over.
fn check_config(
    channel: &str,
    stored: Option<&Bytes>,
    joiner: &dyn Joiner,
) -> Result<(), LedgerError> {
    let refuse = |reason: String| {
        LedgerError::Snapshot(format!("the snapshot's channel configuration: {reason}"))
    };
    let stored = stored.ok_or_else(|| refuse("there is none".into()))?;
    let config = channel_config(stored).map_err(|error| refuse(error.to_string()))?;
    joiner.check_config(channel, &config).map_err(refuse)
}

/// Collections by chaincode, and what this peer is to them.
struct Collections<'a> {
    /// Oldest first.
    history: BTreeMap<String, Vec<(u64, CollectionConfigPackage)>>,
    joiner: &'a dyn Joiner,
}

impl Collections<'_> {
    fn of(&self, namespace: &str) -> &[(u64, CollectionConfigPackage)] {
        self.history.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Whether this peer should have a value: the definition that was in force when it was written
    /// says so, or any later one.
    fn is_eligible(&self, key: &BootKey<'_>) -> bool {
        if let Some(organization) = implicit_collection_org(key.collection) {
            return organization == self.joiner.msp_id();
        }
        let history = self.of(key.namespace);
        let in_force = history
            .iter()
            .rposition(|(block, _)| *block < key.version.block);
        history
            .get(in_force.unwrap_or_default()..)
            .unwrap_or_default()
            .iter()
            .filter_map(|(_, package)| find(package, key.collection))
            .any(|collection| self.joiner.is_member(collection))
    }

    /// As the newest definition says; 0 is for ever.
    fn block_to_live(&self, namespace: &str, collection: &str) -> u64 {
        let newest = self.of(namespace).last();
        newest
            .and_then(|(_, package)| find(package, collection))
            .map_or(0, |collection| collection.block_to_live)
    }
}

fn find<'a>(
    package: &'a CollectionConfigPackage,
    name: &str,
) -> Option<&'a StaticCollectionConfig> {
    let configs = package.config.iter();
    let mut configs = configs.filter_map(|config| match config.payload.as_ref()? {
        Payload::StaticCollectionConfig(config) => Some(config),
    });
    configs.find(|config| config.name == name)
}

struct Import<'a> {
    database: &'a Database,
    batch: Batch<'a>,
    bytes: usize,
    folder: &'a Path,
    metadata: &'a Metadata,
    joiner: &'a dyn Joiner,
}

impl<'a> Import<'a> {
    /// Opens a data file and the file that says what is in it; `None` if the snapshot has neither.
    fn open(&self, name: &str) -> Result<Option<(FileReader, FileReader)>, LedgerError> {
        let (data, about) = (format!("{name}.data"), format!("{name}.metadata"));
        if !self.metadata.has(&data) {
            return Ok(None);
        }
        // Only files whose hash was checked are read.
        if !self.metadata.has(&about) {
            return Err(invalid(name, "it has no metadata file"));
        }
        let open = |file: String| {
            let path = self.folder.join(file);
            FileReader::open(&path).map_err(LedgerError::snapshot_file(&path))
        };
        Ok(Some((open(data)?, open(about)?)))
    }

    fn fail(&self, name: &str) -> impl Fn(std::io::Error) -> LedgerError + use<> {
        LedgerError::snapshot_file(&self.folder.join(format!("{name}.data")))
    }

    /// Counts what was added to the batch, and writes it when it is large.
    fn added(&mut self, bytes: usize) -> Result<(), LedgerError> {
        self.bytes += bytes + 32;
        if self.bytes >= BATCH_BYTES {
            if self.joiner.has_given_up() {
                return Err(given_up());
            }
            self.bytes = 0;
            let batch = std::mem::replace(&mut self.batch, self.database.batch());
            batch.write(false)?;
        }
        Ok(())
    }

    fn transaction_ids(&mut self) -> Result<(), LedgerError> {
        let Some((mut data, mut about)) = self.open(TX_IDS)? else {
            return Ok(());
        };
        let count = about.number().map_err(self.fail(TX_IDS))?;
        for _ in 0..count {
            let id = data.string().map_err(self.fail(TX_IDS))?;
            tx_index::put_before_snapshot(&mut self.batch, &id)?;
            self.added(id.len())?;
        }
        Ok(())
    }

    fn collections(
        &mut self,
    ) -> Result<BTreeMap<String, Vec<(u64, CollectionConfigPackage)>>, LedgerError> {
        let mut history: BTreeMap<String, Vec<_>> = BTreeMap::new();
        let Some((mut data, mut about)) = self.open(CONFIG_HISTORY)? else {
            return Ok(history);
        };
        let count = about.number().map_err(self.fail(CONFIG_HISTORY))?;
        for _ in 0..count {
            let key = data.bytes().map_err(self.fail(CONFIG_HISTORY))?;
            let value = data.bytes().map_err(self.fail(CONFIG_HISTORY))?;
            let (chaincode, block) =
                parse_history_key(&key).ok_or_else(|| invalid(CONFIG_HISTORY, "a key"))?;
            let value = Bytes::from(value);
            let package = CollectionConfigPackage::decode(value.clone())
                .map_err(|error| invalid(CONFIG_HISTORY, &error.to_string()))?;
            private::put_collections(&mut self.batch, &chaincode, block, &value)?;
            self.added(value.len())?;
            let versions = history.entry(chaincode).or_default();
            // Newest first in the file.
            versions.insert(0, (block, package));
        }
        Ok(history)
    }

    fn state(
        &mut self,
        name: &str,
        mut also: impl FnMut(&str, &[u8], &VersionedValue, &mut Batch<'a>) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        let Some((mut data, mut about)) = self.open(name)? else {
            return Ok(());
        };
        let fail = self.fail(name);
        for _ in 0..about.number().map_err(&fail)? {
            let namespace = about.string().map_err(&fail)?;
            if namespace.contains('\0') {
                return Err(invalid(name, "a namespace holds a zero byte"));
            }
            for _ in 0..about.number().map_err(&fail)? {
                let record = data.bytes().map_err(&fail)?;
                let size = record.len();
                let record = SnapshotRecord::decode(Bytes::from(record))
                    .map_err(|error| invalid(name, &error.to_string()))?;
                let version = version(&record.version).ok_or_else(|| invalid(name, "a version"))?;
                let value = VersionedValue {
                    value: record.value,
                    metadata: (!record.metadata.is_empty()).then_some(record.metadata),
                    version,
                };
                let key = state::key(&namespace, &record.key);
                self.batch.put(Family::State, &key, &value.encode())?;
                also(&namespace, &record.key, &value, &mut self.batch)?;
                self.added(size + namespace.len())?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), LedgerError> {
        let signable = &self.metadata.signable;
        let first = signable
            .last_block_number
            .checked_add(1)
            .ok_or_else(|| LedgerError::Snapshot("no block can follow the snapshot's".into()))?;
        let base = Base {
            first,
            header_hash: signable.last_block_hash.clone().into(),
            previous_hash: signable.previous_block_hash.clone().into(),
            commit_hash: self.metadata.commit_hash,
        };
        chain::put_base(&mut self.batch, &base)?;
        let channel = signable.channel_name.as_bytes();
        self.batch.put(Family::Meta, CHANNEL, channel)?;
        self.batch.write(true)
    }
}

fn version(bytes: &[u8]) -> Option<Version> {
    let (block, rest) = take_ordered(bytes)?;
    let (tx, rest) = take_ordered(rest)?;
    rest.is_empty().then_some(Version::new(block, tx))
}

/// Chaincode and block of a key that [`history_key`](super::export::history_key) made.
fn parse_history_key(key: &[u8]) -> Option<(String, u64)> {
    let rest = key.strip_prefix(b"slscc\0")?;
    let (name, block) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
    let name = name.strip_suffix(b"~collection")?;
    let chaincode = String::from_utf8(name.to_vec()).ok()?;
    Some((chaincode, !chain::be64(block)?))
}

fn invalid(name: &str, what: &str) -> LedgerError {
    LedgerError::Snapshot(format!("{name}.data cannot be read: {what}"))
}
