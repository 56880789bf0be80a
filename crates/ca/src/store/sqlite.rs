//! The register in a file.

use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, TransactionBehavior, params_from_iter};

use super::StoreError;
use super::database::{Row, Session, Value};

/// How long another process may write before a statement fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file with Fabric CA's tables. Statements are made one after the other.
pub(crate) struct Sqlite(Mutex<Connection>);

impl Sqlite {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::prepare(Connection::open(path)?)
    }

    #[cfg(test)]
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(connection: Connection) -> Result<Self, StoreError> {
        connection.busy_timeout(PATIENCE)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(connection)))
    }

    pub fn execute(&self, statement: &str, values: &[Value]) -> Result<u64, StoreError> {
        execute(&self.0.lock(), statement, values)
    }

    pub fn query(&self, statement: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        query(&self.0.lock(), statement, values)
    }

    pub fn transaction<T>(
        &self,
        work: impl FnOnce(&mut dyn Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.0.lock();
        // Another process that writes is waited for now; later it would be an error.
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&mut transaction)?;
        transaction.commit()?;
        Ok(done)
    }
}

impl Session for rusqlite::Transaction<'_> {
    fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, StoreError> {
        execute(self, statement, values)
    }

    fn query(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        query(self, statement, values)
    }
}

fn execute(connection: &Connection, statement: &str, values: &[Value]) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(statement)?;
    let changed = statement.execute(params_from_iter(values))?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

fn query(
    connection: &Connection,
    statement: &str,
    values: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(statement)?;
    let columns = statement.column_count();
    let rows = statement.query_map(params_from_iter(values), |row| {
        let read = (0..columns).map(|column| Ok(read(row.get_ref(column)?)));
        read.collect::<rusqlite::Result<_>>().map(Row)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        // No column is a fraction.
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Integer(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Bytes(bytes) => bytes.as_slice().into(),
            Self::Moment(second) => moment(*second).into(),
        })
    }
}

/// As Fabric CA's driver writes moments, without fractions.
fn moment(second: i64) -> String {
    let moment = jiff::Timestamp::from_second(second).unwrap_or_default();
    moment.strftime("%Y-%m-%d %H:%M:%S+00:00").to_string()
}

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS users (
    id VARCHAR(255), token bytea, type VARCHAR(256), affiliation VARCHAR(1024), attributes TEXT,
    state INTEGER, max_enrollments INTEGER, level INTEGER DEFAULT 0,
    incorrect_password_attempts INTEGER DEFAULT 0, PRIMARY KEY (id));
CREATE TABLE IF NOT EXISTS affiliations (
    name VARCHAR(1024) NOT NULL UNIQUE, prekey VARCHAR(1024), level INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS certificates (
    id VARCHAR(255), serial_number blob NOT NULL, authority_key_identifier blob NOT NULL,
    ca_label blob, status blob NOT NULL, reason int, expiry timestamp, revoked_at timestamp,
    pem blob NOT NULL, level INTEGER DEFAULT 0,
    PRIMARY KEY (serial_number, authority_key_identifier));
CREATE TABLE IF NOT EXISTS properties (
    property VARCHAR(255), value VARCHAR(256), PRIMARY KEY (property));
INSERT INTO properties (property, value) VALUES
    ('identity.level', '2'), ('affiliation.level', '1'), ('certificate.level', '1'),
    ('credential.level', '1'), ('rcinfo.level', '1'), ('nonce.level', '1')
    ON CONFLICT (property) DO NOTHING;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_fabric_ca_reads_them() {
        for (second, expected) in [
            (0, "1970-01-01 00:00:00+00:00"),
            (1_800_000_000, "2027-01-15 08:00:00+00:00"),
            (-62_135_596_800, "0001-01-01 00:00:00+00:00"),
        ] {
            assert_eq!(moment(second), expected);
        }
    }
}
