//! Finding and revoking certificates.

use super::database::{Cursor, Dialect, Query, Value};
use super::{Store, StoreError};
use crate::authority::now;
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

/// What stands in `revoked_at` of a good certificate: Go's zero time.
const NEVER: &str = "0001-01-01 00:00:00";

impl Store {
    pub fn certificate(
        &self,
        serial: &str,
        authority_key_id: &str,
    ) -> Result<Option<RecordedCertificate>, StoreError> {
        let query = format!(
            "SELECT id, status FROM certificates WHERE {}",
            is_numbered(self.database.dialect(), [1, 2])
        );
        let values = [serial.into(), authority_key_id.into()];
        let found = self.database.query(&query, &values)?;
        Ok(found.first().map(|row| RecordedCertificate {
            id: row.text(0),
            revoked: row.text(1) == "revoked",
        }))
    }

    pub fn revoke_certificate(
        &self,
        serial: &str,
        authority_key_id: &str,
        reason: i64,
    ) -> Result<(), StoreError> {
        let update = format!(
            "UPDATE certificates SET status = 'revoked', revoked_at = ?1, reason = ?2 WHERE {}",
            is_numbered(self.database.dialect(), [3, 4])
        );
        let values = [
            Value::Moment(now()),
            reason.into(),
            serial.into(),
            authority_key_id.into(),
        ];
        self.database.execute(&update, &values)?;
        Ok(())
    }

    /// Up to `limit` certificates (PEM) after `cursor`, each with its own.
    pub fn certificates(
        &self,
        filter: &CertificateFilter,
        cursor: &Cursor,
        limit: usize,
    ) -> Result<Vec<(Cursor, String)>, StoreError> {
        let dialect = self.database.dialect();
        let keys = dialect.certificate_keys();
        let mut query = Query::new(format!("SELECT pem, {keys} FROM certificates"));
        if !filter.affiliation.is_empty() {
            query
                .text
                .push_str(" INNER JOIN users ON users.id = certificates.id");
        }
        query.text.push_str(" WHERE 1 = 1");
        if !filter.affiliation.is_empty() {
            super::identities::below(&mut query, &filter.affiliation);
        }
        if !filter.id.is_empty() {
            let id = query.value(&filter.id);
            query
                .text
                .push_str(&format!(" AND certificates.id = ?{id}"));
        }
        for (column, number) in [
            ("serial_number", &filter.serial),
            ("authority_key_identifier", &filter.authority_key_id),
        ] {
            if !number.is_empty() {
                let number = query.value(number);
                let same = dialect.same(column, number);
                query.text.push_str(&format!(" AND {same}"));
            }
        }
        let inclusive = [">=", "<="];
        within(&mut query, dialect, "expiry", filter.expired, inclusive);
        within(&mut query, dialect, "revoked_at", filter.revoked, inclusive);
        let revoked_at = dialect.moment("revoked_at");
        if filter.not_revoked {
            query
                .text
                .push_str(&format!(" AND {revoked_at} = '{NEVER}'"));
        } else if filter.revoked != Times::default() {
            query
                .text
                .push_str(&format!(" AND {revoked_at} > '{NEVER}'"));
        }
        query.page(keys, cursor, limit);
        let rows = self.database.query(&query.text, &query.values)?;
        let pems = rows.into_iter().map(|row| {
            let pem = row.text(0);
            (Cursor(row.rest(1)), pem)
        });
        Ok(pems.collect())
    }

    /// All certificates that were revoked and expire within these times, ends not included.
    pub fn revoked(&self, expire: Times, revoked: Times) -> Result<Vec<Revoked>, StoreError> {
        let dialect = self.database.dialect();
        let mut query = Query::new(format!(
            "SELECT serial_number, {} FROM certificates WHERE {}",
            dialect.seconds("revoked_at"),
            dialect.is("status", "revoked")
        ));
        let exclusive = [">", "<"];
        within(&mut query, dialect, "expiry", expire, exclusive);
        within(&mut query, dialect, "revoked_at", revoked, exclusive);
        let order = format!(" ORDER BY {}", dialect.certificate_keys());
        query.text.push_str(&order);
        let rows = self.database.query(&query.text, &query.values)?;
        let listed = rows.iter().map(|row| Revoked {
            serial: row.text(0),
            at: row.integer(1),
        });
        Ok(listed.collect())
    }
}

/// A condition for the certificate with the serial number and the authority key identifier that
/// these parameters are.
fn is_numbered(dialect: Dialect, [serial, authority]: [usize; 2]) -> String {
    let serial = dialect.same("serial_number", serial);
    let authority = dialect.same("authority_key_identifier", authority);
    format!("{serial} AND {authority}")
}

/// Only those with a moment in `times`, compared so with its ends.
fn within(query: &mut Query, dialect: Dialect, column: &str, times: Times, ends: [&str; 2]) {
    for (comparison, end) in ends.into_iter().zip([times.from, times.to]) {
        let Some(second) = end else { continue };
        let given = query.value(Value::Moment(second));
        let (column, given) = (dialect.moment(column), dialect.given_moment(given));
        query
            .text
            .push_str(&format!(" AND {column} {comparison} {given}"));
    }
}
