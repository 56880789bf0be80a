//! Finding and revoking certificates.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension, params, params_from_iter};

use super::{Store, StoreError};
use crate::crl::Revoked;

/// Which certificates to list; times in Unix seconds, both ends included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificateFilter {
    /// Of the identities of this affiliation and below it; of all if empty.
    pub affiliation: String,
    /// Of this identity, if not empty.
    pub id: String,
    /// Hex, leading zeros left out; any if empty.
    pub serial: String,
    /// Hex, leading zeros left out; any if empty.
    pub authority_key_id: String,
    pub expired: Times,
    pub revoked: Times,
    /// Only those that were never revoked.
    pub not_revoked: bool,
}

/// A time span, open where there is no end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

/// An issued certificate, as the register has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordedCertificate {
    pub id: String,
    pub revoked: bool,
}

/// A moment as it stands in the database, down to the second; Fabric CA writes fractions and
/// offsets after it.
const EXPIRY: &str = "substr(certificates.expiry, 1, 19)";
const REVOKED_AT: &str = "substr(certificates.revoked_at, 1, 19)";
/// What stands in `revoked_at` of a good certificate: Go's zero time.
const NEVER: &str = "0001-01-01 00:00:00";
/// A moment to compare with, from Unix seconds.
const AS_MOMENT: &str = "datetime(?, 'unixepoch')";

impl Store {
    pub fn certificate(
        &self,
        serial: &str,
        authority_key_id: &str,
    ) -> Result<Option<RecordedCertificate>, StoreError> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare_cached(
            "SELECT id, CAST(status AS TEXT) FROM certificates \
             WHERE serial_number IN (?1, CAST(?1 AS BLOB)) \
             AND authority_key_identifier IN (?2, CAST(?2 AS BLOB))",
        )?;
        let found = statement.query_row([serial, authority_key_id], |row| {
            Ok(RecordedCertificate {
                id: row.get(0)?,
                revoked: row.get::<_, String>(1)? == "revoked",
            })
        });
        Ok(found.optional()?)
    }

    pub fn revoke_certificate(
        &self,
        serial: &str,
        authority_key_id: &str,
        reason: i64,
    ) -> Result<(), StoreError> {
        self.connection.lock().execute(
            "UPDATE certificates \
             SET status = 'revoked', revoked_at = datetime('now') || '+00:00', reason = ?3 \
             WHERE serial_number IN (?1, CAST(?1 AS BLOB)) \
             AND authority_key_identifier IN (?2, CAST(?2 AS BLOB))",
            params![serial, authority_key_id, reason],
        )?;
        Ok(())
    }

    /// Up to `limit` certificates (PEM) after the row `after`, each with its row.
    pub fn certificates(
        &self,
        filter: &CertificateFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        let mut query = String::from(
            "SELECT certificates.rowid, CAST(certificates.pem AS TEXT) FROM certificates",
        );
        if !filter.affiliation.is_empty() {
            query.push_str(" INNER JOIN users ON users.id = certificates.id");
        }
        query.push_str(" WHERE certificates.rowid > ?");
        let mut values: Vec<Value> = vec![after.into()];
        if !filter.affiliation.is_empty() {
            query.push_str(super::identities::BELOW);
            values.extend(super::identities::below(&filter.affiliation));
        }
        for (column, value) in [
            ("certificates.id", &filter.id),
            ("CAST(certificates.serial_number AS TEXT)", &filter.serial),
            (
                "CAST(certificates.authority_key_identifier AS TEXT)",
                &filter.authority_key_id,
            ),
        ] {
            if !value.is_empty() {
                query.push_str(&format!(" AND {column} = ?"));
                values.push(value.clone().into());
            }
        }
        let mut within = |column: &str, times: Times| {
            for (comparison, moment) in [(">=", times.from), ("<=", times.to)] {
                if let Some(moment) = moment {
                    query.push_str(&format!(" AND {column} {comparison} {AS_MOMENT}"));
                    values.push(moment.into());
                }
            }
        };
        within(EXPIRY, filter.expired);
        within(REVOKED_AT, filter.revoked);
        if filter.not_revoked {
            query.push_str(&format!(" AND {REVOKED_AT} = '{NEVER}'"));
        } else if filter.revoked != Times::default() {
            query.push_str(&format!(" AND {REVOKED_AT} > '{NEVER}'"));
        }
        query.push_str(" ORDER BY certificates.rowid LIMIT ?");
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let connection = self.connection.lock();
        let mut statement = connection.prepare(&query)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// All certificates that were revoked and expire within these times, ends not included.
    pub fn revoked(&self, expire: Times, revoked: Times) -> Result<Vec<Revoked>, StoreError> {
        let mut query = format!(
            "SELECT CAST(serial_number AS TEXT), unixepoch({REVOKED_AT}) FROM certificates \
             WHERE CAST(status AS TEXT) = 'revoked'"
        );
        let mut values: Vec<Value> = Vec::new();
        for (column, times) in [(EXPIRY, expire), (REVOKED_AT, revoked)] {
            for (comparison, moment) in [(">", times.from), ("<", times.to)] {
                if let Some(moment) = moment {
                    query.push_str(&format!(" AND {column} {comparison} {AS_MOMENT}"));
                    values.push(moment.into());
                }
            }
        }
        query.push_str(" ORDER BY rowid");
        let connection = self.connection.lock();
        let mut statement = connection.prepare(&query)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            Ok(Revoked {
                serial: row.get(0)?,
                at: row.get::<_, Option<i64>>(1)?.unwrap_or_default(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
