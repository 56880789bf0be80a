//! Reading single documents.

use consilium_contracts::vault::{Fingerprint, Sealed};
use rusqlite::{OptionalExtension, Row, params};

use super::{Document, Pending, Store, StoreError, Written};

/// The columns that [`document`] reads, in its order.
pub(super) const COLUMNS: &str = "id, version, kind, custodian, sid, confidentiality, epoch, ciphertext, wrapped_key, ct_hash, pt_commit, tx, at";

/// A count; SQLite's integers are signed.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let signed: i64 = row.get(column)?;
    Ok(u64::try_from(signed).unwrap_or_default())
}

/// A count as SQLite has it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    let ciphertext: Vec<u8> = row.get(7)?;
    Ok(Document {
        id: row.get(0)?,
        version: row.get(1)?,
        kind: row.get(2)?,
        custodian: row.get(3)?,
        sid: row.get(4)?,
        confidentiality: row.get(5)?,
        epoch: row.get(6)?,
        sealed: Sealed {
            wrapped_key: row.get(8)?,
            fingerprint: Fingerprint {
                ct_hash: row.get(9)?,
                pt_commit: row.get(10)?,
                size: ciphertext.len() as u64,
            },
            ciphertext,
        },
        tx: row.get(11)?,
        at: row.get(12)?,
    })
}

impl Store {
    /// The latest committed version of a resource, also when it was erased.
    pub(crate) fn current(&self, kind: &str, id: &str) -> Result<Option<Document>, StoreError> {
        self.one(
            "kind = ?1 AND id = ?2 AND state IN ('current', 'erased') ORDER BY version DESC LIMIT 1",
            params![kind, id],
        )
    }

    /// One committed version.
    pub(crate) fn version(
        &self,
        kind: &str,
        id: &str,
        version: u32,
    ) -> Result<Option<Document>, StoreError> {
        self.one(
            "kind = ?1 AND id = ?2 AND version = ?3 AND state <> 'pending'",
            params![kind, id, version],
        )
    }

    fn one(
        &self,
        condition: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<Option<Document>, StoreError> {
        self.with_database(|database| {
            let mut statement = database.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM documents WHERE {condition}"
            ))?;
            Ok(statement.query_row(values, document).optional()?)
        })
    }

    /// What a transaction wrote.
    pub(crate) fn written_by(&self, tx: &str) -> Result<Vec<Written>, StoreError> {
        self.with_database(|database| {
            let mut statement = database.prepare_cached(
                "SELECT kind, id, version, custodian, sid FROM documents WHERE tx = ? ORDER BY n",
            )?;
            let rows = statement.query_map(params![tx], |row| {
                Ok(Written {
                    kind: row.get(0)?,
                    id: row.get(1)?,
                    version: row.get(2)?,
                    custodian: row.get(3)?,
                    sid: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The pseudonym of a patient by the id of its resource, of whatever version.
    pub(crate) fn sid_of_patient(&self, id: &str) -> Result<Option<String>, StoreError> {
        self.with_database(|database| {
        Ok(database
            .prepare_cached("SELECT sid FROM documents WHERE kind = 'Patient' AND id = ? AND state <> 'pending' LIMIT 1")?
            .query_row(params![id], |row| row.get(0))
            .optional()?)
        })
    }

    /// What a request wrote: type, id, version and transaction, in its order.
    pub(crate) fn written_for(
        &self,
        custodian: &str,
        request: &str,
    ) -> Result<Vec<(String, String, u32, String)>, StoreError> {
        self.with_database(|database| {
        let mut statement = database.prepare(
            "SELECT kind, id, version, tx FROM documents WHERE custodian = ? AND request = ? AND state <> 'pending' ORDER BY n",
        )?;
        let rows = statement.query_map(params![custodian, request], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Documents whose transaction's end is not known.
    pub(crate) fn pending(&self) -> Result<Vec<Pending>, StoreError> {
        self.with_database(|database| {
        let mut statement = database.prepare(
            "SELECT id, version, ct_hash, custodian, request FROM documents WHERE state = 'pending' ORDER BY n",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(Pending {
                id: row.get(0)?,
                version: row.get(1)?,
                ct_hash: row.get(2)?,
                custodian: row.get(3)?,
                request: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Remembers whom something on the ledger is about that is stored nowhere else.
    pub(crate) fn remember_subject(
        &self,
        kind: &str,
        id: &str,
        sid: &str,
    ) -> Result<(), StoreError> {
        self.with_database(|database| {
            database.execute(
                "INSERT OR REPLACE INTO subjects (kind, id, sid) VALUES (?, ?, ?)",
                params![kind, id, sid],
            )?;
            Ok(())
        })
    }

    /// Whom it is about.
    pub(crate) fn subject(&self, kind: &str, id: &str) -> Result<Option<String>, StoreError> {
        self.with_database(|database| {
            Ok(database
                .prepare_cached("SELECT sid FROM subjects WHERE kind = ? AND id = ?")?
                .query_row(params![kind, id], |row| row.get(0))
                .optional()?)
        })
    }
}
