//! The certificate authority's database: who may enrol, and what was issued.
//!
//! Tables and columns are those of Fabric CA, in its SQLite file or in PostgreSQL, so that an
//! existing database keeps working and its tools can read ours (fabric-ca: `lib/server/db`). What
//! differs between the two is in `database.rs` and below; the rest of this folder says once what
//! the register does.
//!
//! Several servers may share a database. What must hold among them is decided by conditions in one
//! statement, or within a transaction that keeps others out.

mod affiliations;
mod certificates;
mod database;
mod identities;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::options::{CaOptions, DatabaseOptions};

pub(crate) use affiliations::{Affiliated, above};
pub(crate) use certificates::{CertificateFilter, Times};
pub(crate) use database::Cursor;
use database::{Database, Row, Value};
pub(crate) use identities::IdentityFilter;
use postgres::Postgres;
pub use postgres::{DatabaseTls, PostgresOptions};
use sqlite::Sqlite;

/// Fabric CA hashes passwords with this bcrypt cost.
const BCRYPT_COST: u32 = 10;

/// Compared when the identity is unknown, so that the answer takes as long as for a known one.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| bcrypt::hash("nobody", BCRYPT_COST).unwrap_or_default());

/// What the database refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("certificate authority database: {0}")]
    Database(String),
    #[error("the database cannot hold a value: {0}")]
    Unfit(String),
    #[error("the password cannot be hashed: {0}")]
    Password(#[from] bcrypt::BcryptError),
    #[error("the identity's attributes cannot be read: {0}")]
    Attributes(#[from] serde_json::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// A named value of an identity. With `ecert` it enters certificates without being asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Name; the prefix `hf.` is reserved.
    pub name: String,
    /// Value, possibly empty.
    #[serde(default)]
    pub value: String,
    /// Whether enrolment certificates carry it by default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ecert: bool,
}

/// A registered identity.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub id: String,
    pub kind: String,
    pub affiliation: String,
    pub attributes: Vec<Attribute>,
    /// Enrolments so far; -1 when revoked.
    pub state: i64,
    /// -1 without limit.
    pub max_enrollments: i64,
    pub incorrect_password_attempts: i64,
    password_hash: String,
}

impl Identity {
    #[cfg(test)]
    pub fn with_attributes(id: &str, affiliation: &str, attributes: &[(&str, &str)]) -> Self {
        let attributes = attributes.iter().map(|(name, value)| Attribute {
            name: (*name).into(),
            value: (*value).into(),
            ecert: false,
        });
        Self {
            id: id.into(),
            kind: "client".into(),
            affiliation: affiliation.into(),
            attributes: attributes.collect(),
            state: 0,
            max_enrollments: -1,
            incorrect_password_attempts: 0,
            password_hash: String::new(),
        }
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self
            .attributes
            .iter()
            .find(|attribute| attribute.name == name);
        found.map(|attribute| attribute.value.as_str())
    }

    /// Takes tens of milliseconds of a core, by design.
    pub fn password_fits(&self, password: &str) -> bool {
        bcrypt::verify(password, &self.password_hash).unwrap_or(false)
    }
}

/// Spends the time of a password comparison.
pub(crate) fn compare_with_nobody(password: &str) {
    let _ = bcrypt::verify(password, &NOBODY);
}

/// An identity to be.
#[derive(Debug, Clone)]
pub(crate) struct NewIdentity<'a> {
    pub id: &'a str,
    pub password: &'a str,
    pub kind: &'a str,
    pub affiliation: &'a str,
    pub attributes: &'a [Attribute],
    pub max_enrollments: i64,
}

/// An issued certificate.
#[derive(Debug, Clone)]
pub(crate) struct NewCertificate<'a> {
    pub id: &'a str,
    /// Lower-case hex without leading zeros.
    pub serial: &'a str,
    /// Lower-case hex without leading zeros.
    pub authority_key_id: &'a str,
    /// Unix seconds.
    pub not_after: i64,
    pub pem: &'a str,
}

/// The database. Calls block on the disk or the network: make them off the reactor.
pub(crate) struct Store {
    database: Database,
}

impl Store {
    /// Opens the database that the options name, and makes its tables the first time.
    pub fn open(options: &CaOptions) -> Result<Self, StoreError> {
        let database = match &options.database {
            DatabaseOptions::File(file) => Database::Sqlite(Sqlite::open(&options.path(file))?),
            DatabaseOptions::Postgres(options) => {
                Database::Postgres(Postgres::open(options.clone())?)
            }
        };
        Ok(Self { database })
    }

    pub fn identity(&self, id: &str) -> Result<Option<Identity>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM users WHERE id = ?1");
        let found = self.database.query(&query, &[id.into()])?;
        found.first().map(read_identity).transpose()
    }

    /// Adds an identity; `false` if there is one of that name.
    pub fn add_identity(&self, identity: &NewIdentity<'_>) -> Result<bool, StoreError> {
        let hash = identities::hash(identity.password)?;
        let attributes = serde_json::to_string(identity.attributes)?;
        let added = self.database.execute(
            "INSERT INTO users (id, token, type, affiliation, attributes, state, \
             max_enrollments, level, incorrect_password_attempts) \
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, 2, 0) ON CONFLICT (id) DO NOTHING",
            &[
                identity.id.into(),
                hash.as_bytes().into(),
                identity.kind.into(),
                identity.affiliation.into(),
                attributes.into(),
                identity.max_enrollments.into(),
            ],
        )?;
        Ok(added == 1)
    }

    pub fn count_wrong_password(&self, id: &str) -> Result<(), StoreError> {
        self.database.execute(
            "UPDATE users SET incorrect_password_attempts = incorrect_password_attempts + 1 \
             WHERE id = ?1",
            &[id.into()],
        )?;
        Ok(())
    }

    pub fn forget_wrong_passwords(&self, id: &str) -> Result<(), StoreError> {
        self.database.execute(
            "UPDATE users SET incorrect_password_attempts = 0 \
             WHERE id = ?1 AND incorrect_password_attempts <> 0",
            &[id.into()],
        )?;
        Ok(())
    }

    pub fn has_affiliation(&self, name: &str) -> Result<bool, StoreError> {
        let query = "SELECT name FROM affiliations WHERE name = ?1";
        Ok(!self.database.query(query, &[name.into()])?.is_empty())
    }

    /// Adds an affiliation and those above it.
    pub fn add_affiliation(&self, name: &str) -> Result<(), StoreError> {
        self.database.transaction(|session| {
            let mut above = String::new();
            for part in name.split('.') {
                let path = match above.as_str() {
                    "" => part.to_owned(),
                    above => format!("{above}.{part}"),
                };
                session.execute(
                    "INSERT INTO affiliations (name, prekey, level) VALUES (?1, ?2, 1) \
                     ON CONFLICT (name) DO NOTHING",
                    &[(&path).into(), above.into()],
                )?;
                above = path;
            }
            Ok(())
        })
    }

    /// Records a certificate and, with `enrollments`, counts one enrolment of its owner, both or
    /// neither. `false` if the owner has used up `enrollments` (-1 for no limit) or was revoked or
    /// removed meanwhile: then nothing was written and the certificate must not be handed out.
    pub fn add_certificate(
        &self,
        certificate: &NewCertificate<'_>,
        enrollments: Option<i64>,
    ) -> Result<bool, StoreError> {
        let for_share = self.database.dialect().for_share();
        self.database.transaction(|session| {
            // Both keep whoever revokes the owner at the same time waiting until the certificate
            // is there to be revoked.
            let may = match enrollments {
                Some(limit) => {
                    let count = "UPDATE users SET state = state + 1 \
                         WHERE id = ?1 AND state >= 0 AND (?2 = -1 OR state < ?2)";
                    session.execute(count, &[certificate.id.into(), limit.into()])? == 1
                }
                None => {
                    let query =
                        format!("SELECT state FROM users WHERE id = ?1 AND state >= 0{for_share}");
                    !session.query(&query, &[certificate.id.into()])?.is_empty()
                }
            };
            if !may {
                return Ok(false);
            }
            session.execute(
                "INSERT INTO certificates (id, serial_number, authority_key_identifier, ca_label, \
                 status, reason, expiry, revoked_at, pem, level) \
                 VALUES (?1, ?2, ?3, '', 'good', 0, ?4, '0001-01-01 00:00:00+00:00', ?5, 1)",
                &[
                    certificate.id.into(),
                    certificate.serial.into(),
                    certificate.authority_key_id.into(),
                    Value::Moment(certificate.not_after),
                    certificate.pem.into(),
                ],
            )?;
            Ok(true)
        })
    }
}

/// The columns that [`read_identity`] reads.
const COLUMNS: &str = "users.id, token, type, affiliation, attributes, state, max_enrollments, \
    incorrect_password_attempts";

/// An identity from a row that begins with [`COLUMNS`].
fn read_identity(row: &Row) -> Result<Identity, StoreError> {
    let attributes = row.text(4);
    Ok(Identity {
        id: row.text(0),
        password_hash: row.text(1),
        kind: row.text(2),
        affiliation: row.text(3),
        attributes: match attributes.as_str() {
            "" | "null" => Vec::new(),
            json => serde_json::from_str(json)?,
        },
        state: row.integer(5),
        max_enrollments: row.integer(6),
        incorrect_password_attempts: row.integer(7),
    })
}
