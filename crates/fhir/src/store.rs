//! What a gateway keeps beside the ledger: ciphertexts, wrapped keys, and the custodian's private
//! search index, in one SQLite file.
//!
//! One file, because a document, its wrapped key and its index entries must appear and vanish
//! together, which a database transaction does and a folder of files does not; and because
//! resources are small. Tokens are kept as keyed hashes: the file names nobody. Keys of patients
//! are not in it ([`crate::Vault`]), so that a backup of it can be shredded with them.
//!
//! A document is `pending` while its transaction is on the way, then `current`, then `superseded`
//! by a later version. What a crash leaves pending is settled by asking the ledger.

mod find;
mod requests;
mod rows;

use std::path::Path;

use aws_lc_rs::hmac;
use consilium_contracts::vault::Sealed;
use parking_lot::Mutex;
use rusqlite::{Connection, params};

pub(crate) use find::{Comparison, Filter, Order, Query};
pub(crate) use requests::Known;

use crate::index::Entries;
use crate::reactor::off_the_reactor;

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS documents (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL, version INTEGER NOT NULL, kind TEXT NOT NULL,
  custodian TEXT NOT NULL, sid TEXT NOT NULL, class TEXT NOT NULL, confidentiality TEXT NOT NULL,
  epoch INTEGER NOT NULL, ciphertext BLOB NOT NULL, wrapped_key BLOB NOT NULL,
  ct_hash TEXT NOT NULL, pt_commit TEXT NOT NULL,
  state TEXT NOT NULL, tx TEXT NOT NULL DEFAULT '', block INTEGER NOT NULL DEFAULT 0,
  at INTEGER NOT NULL, request TEXT,
  UNIQUE (id, version)
) STRICT;
CREATE INDEX IF NOT EXISTS documents_by_subject ON documents (sid, kind, state);
CREATE INDEX IF NOT EXISTS documents_by_kind ON documents (kind, state, at);
CREATE INDEX IF NOT EXISTS documents_by_tx ON documents (tx);
CREATE INDEX IF NOT EXISTS documents_by_request ON documents (request) WHERE request IS NOT NULL;
CREATE INDEX IF NOT EXISTS documents_pending ON documents (n) WHERE state = 'pending';
CREATE TABLE IF NOT EXISTS tokens (
  value BLOB NOT NULL, n INTEGER NOT NULL REFERENCES documents (n) ON DELETE CASCADE,
  PRIMARY KEY (value, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_of ON tokens (n);
CREATE TABLE IF NOT EXISTS dates (
  n INTEGER NOT NULL REFERENCES documents (n) ON DELETE CASCADE, parameter TEXT NOT NULL,
  low INTEGER NOT NULL, high INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS dates_of ON dates (n, parameter);
CREATE TABLE IF NOT EXISTS subjects (
  kind TEXT NOT NULL, id TEXT NOT NULL, sid TEXT NOT NULL, PRIMARY KEY (kind, id)
) STRICT;
CREATE TABLE IF NOT EXISTS requests (
  msp TEXT NOT NULL, id TEXT NOT NULL, hash BLOB NOT NULL, answer TEXT, PRIMARY KEY (msp, id)
) STRICT;
CREATE TABLE IF NOT EXISTS imports (
  job TEXT PRIMARY KEY, line INTEGER NOT NULL, stored INTEGER NOT NULL, refused INTEGER NOT NULL
) STRICT;
";

/// The store cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the local store: {0}")]
pub struct StoreError(#[from] rusqlite::Error);

impl StoreError {
    /// Whether something of this name is there already.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.0.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
    }
}

/// The gateway's own database.
pub struct Store {
    database: Mutex<Connection>,
    key: hmac::Key,
}

/// A document before its transaction.
#[derive(Debug, Clone)]
pub(crate) struct NewDocument {
    pub id: String,
    pub version: u32,
    /// The resource type.
    pub kind: String,
    pub custodian: String,
    pub sid: String,
    /// The coarse kind on the ledger.
    pub class: &'static str,
    pub confidentiality: &'static str,
    pub epoch: u32,
    pub sealed: Sealed,
    pub entries: Entries,
}

/// A stored version of a document.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub id: String,
    pub version: u32,
    pub kind: String,
    pub custodian: String,
    pub sid: String,
    pub confidentiality: String,
    pub epoch: u32,
    pub sealed: Sealed,
    pub tx: String,
    /// Milliseconds since 1970.
    pub at: i64,
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// Lines that were dealt with.
    pub line: u64,
    /// Resources that are on the ledger.
    pub stored: u64,
    /// Lines that were refused.
    pub refused: u64,
}

/// Documents of one transaction that a crash left in the air.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub id: String,
    pub version: u32,
    pub ct_hash: String,
    pub custodian: String,
    pub request: Option<String>,
}

/// A version that a transaction wrote, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub kind: String,
    pub id: String,
    pub version: u32,
    pub custodian: String,
    pub sid: String,
}

/// What is written with the documents of a transaction when it is committed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settlement<'s> {
    pub tx: &'s str,
    pub block: u64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// The request that is answered by it: organization, id, answer.
    pub request: Option<(&'s str, &'s str, String)>,
    /// The import that gets further by it.
    pub import: Option<(&'s str, Position)>,
}

impl Store {
    /// Opens or makes the file. `key` hashes what is searched for; with another key nothing is
    /// found.
    ///
    /// # Errors
    /// The file cannot be opened, or is of another program.
    pub fn open(path: &Path, key: &[u8; 32]) -> Result<Self, StoreError> {
        Self::with(Connection::open(path)?, key)
    }

    /// A store that ends with the process.
    ///
    /// # Errors
    /// No memory.
    pub fn in_memory(key: &[u8; 32]) -> Result<Self, StoreError> {
        Self::with(Connection::open_in_memory()?, key)
    }

    fn with(database: Connection, key: &[u8; 32]) -> Result<Self, StoreError> {
        database.execute_batch(SCHEMA)?;
        Ok(Store {
            database: Mutex::new(database),
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        })
    }

    /// Every use of the file goes through here: it waits for others and for the disk.
    fn with_database<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        off_the_reactor(|| work(&mut self.database.lock()))
    }

    /// A keyed hash of texts; the first 16 bytes.
    pub(crate) fn blind(&self, parts: &[&str]) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let mut first = [0; 16];
        first.copy_from_slice(&tag.as_ref()[..16]);
        first
    }

    /// Stores documents as pending, all or none.
    pub(crate) fn prepare(
        &self,
        documents: &[NewDocument],
        request: Option<&str>,
        at: i64,
    ) -> Result<(), StoreError> {
        self.with_database(|database| {
        let transaction = database.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO documents (id, version, kind, custodian, sid, class, confidentiality, epoch, ciphertext, wrapped_key, ct_hash, pt_commit, state, at, request)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)",
            )?;
            let mut token = transaction
                .prepare_cached("INSERT OR IGNORE INTO tokens (value, n) VALUES (?, ?)")?;
            let mut date = transaction.prepare_cached(
                "INSERT INTO dates (n, parameter, low, high) VALUES (?, ?, ?, ?)",
            )?;
            for document in documents {
                let fingerprint = &document.sealed.fingerprint;
                let n = insert.insert(params![
                    document.id,
                    document.version,
                    document.kind,
                    document.custodian,
                    document.sid,
                    document.class,
                    document.confidentiality,
                    document.epoch,
                    document.sealed.ciphertext,
                    document.sealed.wrapped_key,
                    fingerprint.ct_hash,
                    fingerprint.pt_commit,
                    at,
                    request,
                ])?;
                for (parameter, form) in &document.entries.tokens {
                    let value = self.blind(&[&document.kind, parameter, form]);
                    token.execute(params![value, n])?;
                }
                for (parameter, span) in &document.entries.dates {
                    date.execute(params![n, parameter, span.low, span.high])?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
        })
    }

    /// Makes pending documents current, and the versions before them superseded.
    pub(crate) fn settle(
        &self,
        documents: &[(String, u32)],
        settlement: &Settlement<'_>,
    ) -> Result<(), StoreError> {
        self.with_database(|database| {
        let transaction = database.transaction()?;
        for (id, version) in documents {
            transaction
                .prepare_cached("UPDATE documents SET state = 'superseded' WHERE id = ? AND version < ? AND state = 'current'")?
                .execute(params![id, version])?;
            transaction
                .prepare_cached("UPDATE documents SET state = 'current', tx = ?, block = ?, at = ? WHERE id = ? AND version = ?")?
                .execute(params![settlement.tx, rows::signed(settlement.block), settlement.at, id, version])?;
        }
        if let Some((msp, id, answer)) = &settlement.request {
            transaction.execute(
                "UPDATE requests SET answer = ? WHERE msp = ? AND id = ?",
                params![answer, msp, id],
            )?;
        }
        if let Some((job, position)) = &settlement.import {
            requests::set_position(&transaction, job, position)?;
        }
        transaction.commit()?;
        Ok(())
        })
    }

    /// Removes documents whose transaction did not commit.
    pub(crate) fn discard(&self, documents: &[(String, u32)]) -> Result<(), StoreError> {
        self.with_database(|database| {
            let transaction = database.transaction()?;
            for (id, version) in documents {
                transaction.execute(
                    "DELETE FROM documents WHERE id = ? AND version = ? AND state = 'pending'",
                    params![id, version],
                )?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Removes everything about a subject at a custodian; gives the number of documents.
    pub(crate) fn erase(&self, custodian: &str, sid: &str) -> Result<usize, StoreError> {
        self.with_database(|database| {
        let transaction = database.transaction()?;
        // What identifies it stays, so that a later read can be told that it was erased.
        let count = transaction.execute(
            "UPDATE documents SET ciphertext = x'', wrapped_key = x'', state = 'erased' WHERE custodian = ? AND sid = ?",
            params![custodian, sid],
        )?;
        for table in ["tokens", "dates"] {
            transaction.execute(
                &format!("DELETE FROM {table} WHERE n IN (SELECT n FROM documents WHERE custodian = ? AND sid = ?)"),
                params![custodian, sid],
            )?;
        }
        transaction.commit()?;
        Ok(count)
        })
    }
}

#[cfg(test)]
mod tests;
