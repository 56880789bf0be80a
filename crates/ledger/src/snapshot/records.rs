//! The state in a snapshot, record by record: for those who compare snapshots.

use std::path::Path;

use bytes::Bytes;
use consilium_proto::privacyenabledstate::SnapshotRecord;
use prost::Message;

use super::file::{FileReader, take_ordered};
use super::{PRIVATE_HASHES, PUBLIC_STATE};
use crate::error::LedgerError;

/// Which state of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotState {
    /// Public keys and values.
    Public,
    /// Hashes of private keys and values.
    PrivateHashes,
}

/// A record, and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct StateRecord {
    /// Chaincode, with the collection behind it where hashes are meant.
    pub namespace: String,
    /// The whole record.
    pub record: SnapshotRecord,
    /// Block of the write.
    pub block: u64,
    /// Transaction in the block.
    pub transaction: u64,
}

/// Records in the order of namespaces and keys. Hashes of the files are not checked.
pub struct SnapshotRecords {
    name: &'static str,
    data: FileReader,
    about: FileReader,
    namespaces: u64,
    namespace: String,
    keys: u64,
}

impl SnapshotRecords {
    /// Opens the state in a snapshot's folder; `None` where it has none.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn open(folder: &Path, state: SnapshotState) -> Result<Option<Self>, LedgerError> {
        let name = match state {
            SnapshotState::Public => PUBLIC_STATE,
            SnapshotState::PrivateHashes => PRIVATE_HASHES,
        };
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        if !path("data").exists() {
            return Ok(None);
        }
        let open = |end: &str| FileReader::open(&path(end)).map_err(|error| invalid(name, &error));
        let (data, mut about) = (open("data")?, open("metadata")?);
        let namespaces = about.number().map_err(|error| invalid(name, &error))?;
        Ok(Some(Self {
            name,
            data,
            about,
            namespaces,
            namespace: String::new(),
            keys: 0,
        }))
    }

    /// The next record.
    ///
    /// # Errors
    /// The files are damaged.
    pub fn next_record(&mut self) -> Result<Option<StateRecord>, LedgerError> {
        let name = self.name;
        let fail = |error: std::io::Error| invalid(name, &error);
        while self.keys == 0 {
            if self.namespaces == 0 {
                return Ok(None);
            }
            self.namespaces -= 1;
            self.namespace = self.about.string().map_err(fail)?;
            self.keys = self.about.number().map_err(fail)?;
        }
        self.keys -= 1;
        let record = self.data.bytes().map_err(fail)?;
        let record = SnapshotRecord::decode(Bytes::from(record));
        let record = record.map_err(|error| invalid(name, &error))?;
        let height = take_ordered(&record.version)
            .and_then(|(block, rest)| Some((block, take_ordered(rest)?.0)));
        let (block, transaction) = height.ok_or_else(|| invalid(name, &"a version"))?;
        Ok(Some(StateRecord {
            namespace: self.namespace.clone(),
            record,
            block,
            transaction,
        }))
    }
}

fn invalid(name: &str, what: &dyn std::fmt::Display) -> LedgerError {
    LedgerError::Snapshot(format!("{name} cannot be read: {what}"))
}
