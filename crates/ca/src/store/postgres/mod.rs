//! The register in PostgreSQL, which several servers may share.
//!
//! The driver is asynchronous and the register is not, and its callers may stand inside of an
//! asynchronous program or outside of one: so the connections live on a small runtime of their own,
//! and callers wait for it as they wait for a disk.

mod connection;
mod datasource;
mod pool;
#[cfg(test)]
mod tests;
mod types;

use std::time::Duration;

pub use datasource::{DatabaseTls, PostgresOptions};
pub(crate) use pool::Postgres;

use super::StoreError;

/// How long the database may be away, as while it restarts, until requests fail.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one statement may take, waiting for other transactions included.
const STATEMENT: Duration = Duration::from_secs(30);

/// What went wrong, and whether the connection is of no more use.
struct Failure {
    error: StoreError,
    broken: bool,
}

impl Failure {
    /// The connection, or the database behind it, is gone.
    fn gone(reason: impl Into<String>) -> Self {
        Self {
            error: StoreError::Database(reason.into()),
            broken: true,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refused) = error.as_db_error() else {
            return Self::gone(consilium_transport::causes(&error));
        };
        let code = refused.code().code();
        let message = format!("{} (SQLSTATE {code})", refused.message());
        Self {
            // Class 22, data exception: a text with a NUL or one too long for its column.
            error: match code.starts_with("22") {
                true => StoreError::Unfit(message),
                false => StoreError::Database(message),
            },
            // Class 57P: the database shuts down, or is not up yet; 25: the transaction is lost.
            broken: code.starts_with("57P") || code.starts_with("08") || code.starts_with("25"),
        }
    }
}

/// Tables and columns as Fabric CA makes them (fabric-ca: `lib/server/db/postgres`). The lock keeps
/// two servers that start at once from making a table twice, which PostgreSQL refuses in odd words.
const SCHEMA: &str = "
BEGIN;
SELECT pg_advisory_xact_lock(7054);
CREATE TABLE IF NOT EXISTS users (
    id VARCHAR(255), token bytea, type VARCHAR(256), affiliation VARCHAR(1024), attributes TEXT,
    state INTEGER, max_enrollments INTEGER, level INTEGER DEFAULT 0,
    incorrect_password_attempts INTEGER DEFAULT 0, PRIMARY KEY (id));
CREATE TABLE IF NOT EXISTS affiliations (
    name VARCHAR(1024) NOT NULL UNIQUE, prekey VARCHAR(1024), level INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS certificates (
    id VARCHAR(255), serial_number bytea NOT NULL, authority_key_identifier bytea NOT NULL,
    ca_label bytea, status bytea NOT NULL, reason int, expiry timestamp, revoked_at timestamp,
    pem bytea NOT NULL, level INTEGER DEFAULT 0,
    PRIMARY KEY (serial_number, authority_key_identifier));
CREATE TABLE IF NOT EXISTS properties (
    property VARCHAR(255), value VARCHAR(256), PRIMARY KEY (property));
INSERT INTO properties (property, value) VALUES
    ('identity.level', '2'), ('affiliation.level', '1'), ('certificate.level', '1'),
    ('credential.level', '1'), ('rcinfo.level', '1'), ('nonce.level', '1')
    ON CONFLICT (property) DO NOTHING;
COMMIT;
";
