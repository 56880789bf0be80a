//! Requests that may be repeated, and imports that go on where they stopped.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{number, signed};
use super::{Position, Store, StoreError};

/// What is known of a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Never seen; it is remembered now.
    New,
    /// Seen with the same content, and this was the answer.
    Answered(String),
    /// Seen with the same content, and not finished.
    Unfinished,
    /// Seen with another content.
    Other,
}

pub(super) fn set_position(
    database: &Connection,
    job: &str,
    position: &Position,
) -> Result<(), StoreError> {
    database.execute(
        "INSERT OR REPLACE INTO imports (job, line, stored, refused) VALUES (?, ?, ?, ?)",
        params![
            job,
            signed(position.line),
            signed(position.stored),
            signed(position.refused)
        ],
    )?;
    Ok(())
}

impl Store {
    /// Looks a request up and remembers it when it is new.
    pub(crate) fn begin_request(
        &self,
        msp: &str,
        id: &str,
        content: &[&str],
    ) -> Result<Known, StoreError> {
        let hash = self.blind(content);
        self.with_database(|database| {
            let known: Option<(Vec<u8>, Option<String>)> = database
                .prepare_cached("SELECT hash, answer FROM requests WHERE msp = ? AND id = ?")?
                .query_row(params![msp, id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            Ok(match known {
                None => {
                    database.execute(
                        "INSERT INTO requests (msp, id, hash) VALUES (?, ?, ?)",
                        params![msp, id, hash],
                    )?;
                    Known::New
                }
                Some((before, _)) if before != hash => Known::Other,
                Some((_, Some(answer))) => Known::Answered(answer),
                Some((_, None)) => Known::Unfinished,
            })
        })
    }

    /// Forgets a request that did nothing, so that it can be tried again.
    pub(crate) fn forget_request(&self, msp: &str, id: &str) -> Result<(), StoreError> {
        self.with_database(|database| {
            database.execute(
                "DELETE FROM requests WHERE msp = ? AND id = ? AND answer IS NULL",
                params![msp, id],
            )?;
            Ok(())
        })
    }

    /// How far an import has come.
    pub(crate) fn position(&self, job: &str) -> Result<Position, StoreError> {
        self.with_database(|database| {
            let position = database
                .query_row(
                    "SELECT line, stored, refused FROM imports WHERE job = ?",
                    params![job],
                    |row| {
                        Ok(Position {
                            line: number(row, 0)?,
                            stored: number(row, 1)?,
                            refused: number(row, 2)?,
                        })
                    },
                )
                .optional()?;
            Ok(position.unwrap_or_default())
        })
    }

    /// Notes how far an import has come where nothing was to be committed.
    pub(crate) fn note_position(&self, job: &str, position: &Position) -> Result<(), StoreError> {
        self.with_database(|database| set_position(database, job, position))
    }
}
