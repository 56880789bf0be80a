//! What the register needs of a database: statements, rows and transactions, and the few points in
//! which SQLite and PostgreSQL say the same differently.
//!
//! Statements are written once, with parameters `?1`, `?2`, …; everything else in this folder knows
//! no driver.

use super::StoreError;
use super::postgres::Postgres;
use super::sqlite::Sqlite;

/// A value to store or compare with, or one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// Unix seconds. Only ever given: what is read comes as [`Dialect::seconds`].
    Moment(i64),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

/// A row that was read. Columns that are not there count as NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row(pub Vec<Value>);

impl Row {
    /// Text, or bytes that are text; empty for NULL.
    pub fn text(&self, column: usize) -> String {
        match self.0.get(column) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Some(Value::Integer(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// A number; 0 for NULL.
    pub fn integer(&self, column: usize) -> i64 {
        match self.0.get(column) {
            Some(Value::Integer(number)) => *number,
            _ => 0,
        }
    }

    /// The columns from `column` on.
    pub fn rest(mut self, column: usize) -> Vec<Value> {
        self.0.split_off(column.min(self.0.len()))
    }
}

/// Where a page of a list begins: after the row with these keys, or at the front.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cursor(pub Vec<Value>);

/// A connection, in which statements follow each other.
pub(super) trait Session {
    /// Runs a statement; how many rows it changed.
    fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, StoreError>;

    /// Runs a query.
    fn query(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, StoreError>;
}

/// Where the register is kept.
pub(super) enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Database {
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs one statement, which is whole or nothing; how many rows it changed.
    pub fn execute(&self, statement: &str, values: &[Value]) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(database) => database.execute(statement, values),
            Self::Postgres(database) => database.execute(statement, values),
        }
    }

    /// Runs one query.
    pub fn query(&self, statement: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(database) => database.query(statement, values),
            Self::Postgres(database) => database.query(statement, values),
        }
    }

    /// Does `work` as a whole, or, if it fails, not at all.
    pub fn transaction<T>(
        &self,
        work: impl FnOnce(&mut dyn Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self {
            Self::Sqlite(database) => database.transaction(work),
            Self::Postgres(database) => database.transaction(work),
        }
    }
}

/// How a database says things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// A column with a moment, down to the second. In SQLite moments are text, and Fabric CA writes
    /// fractions and offsets after the second.
    pub fn moment(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("substr({column}, 1, 19)"),
            Self::Postgres => format!("date_trunc('second', {column})"),
        }
    }

    /// A parameter that a moment is compared with.
    pub fn given_moment(self, parameter: usize) -> String {
        match self {
            Self::Sqlite => format!("substr(?{parameter}, 1, 19)"),
            Self::Postgres => format!("?{parameter}"),
        }
    }

    /// A column with a moment, as Unix seconds.
    pub fn seconds(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("unixepoch(substr({column}, 1, 19))"),
            Self::Postgres => {
                format!("CAST(EXTRACT(EPOCH FROM date_trunc('second', {column})) AS BIGINT)")
            }
        }
    }

    /// Whether a column of bytes is a parameter. SQLite knows bytes from text, and both are there.
    pub fn same(self, column: &str, parameter: usize) -> String {
        match self {
            Self::Sqlite => format!("{column} IN (?{parameter}, CAST(?{parameter} AS BLOB))"),
            Self::Postgres => format!("{column} = ?{parameter}"),
        }
    }

    /// Whether a column of bytes is this text.
    pub fn is(self, column: &str, text: &str) -> String {
        match self {
            Self::Sqlite => format!("CAST({column} AS TEXT) = '{text}'"),
            Self::Postgres => format!("{column} = '{text}'"),
        }
    }

    /// The order of text by its bytes, whatever the language of the database.
    pub fn by_bytes(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " COLLATE \"C\"",
        }
    }

    /// Keeps the rows of a query as they are until the transaction ends. In SQLite nobody else
    /// writes meanwhile.
    pub fn for_share(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR SHARE",
        }
    }

    /// Keeps others from changing who belongs where until the transaction ends.
    pub fn lock_affiliations(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("LOCK TABLE affiliations, users IN SHARE ROW EXCLUSIVE MODE"),
        }
    }

    /// What identities are listed by: their registration, or else their names.
    pub fn identity_keys(self) -> &'static str {
        match self {
            Self::Sqlite => "users.rowid",
            Self::Postgres => "users.id",
        }
    }

    /// What certificates are listed by: their issuance, or else their numbers.
    pub fn certificate_keys(self) -> &'static str {
        match self {
            Self::Sqlite => "certificates.rowid",
            Self::Postgres => "certificates.serial_number, certificates.authority_key_identifier",
        }
    }
}

/// A query that grows, and its values.
#[derive(Debug)]
pub(super) struct Query {
    pub text: String,
    pub values: Vec<Value>,
}

impl Query {
    pub fn new(text: String) -> Self {
        Self {
            text,
            values: Vec::new(),
        }
    }

    /// Takes in a value; the number of its parameter.
    pub fn value(&mut self, value: impl Into<Value>) -> usize {
        self.values.push(value.into());
        self.values.len()
    }

    /// Only rows after `cursor`, in the order of `keys`, at most `limit` of them. Comes last.
    pub fn page(&mut self, keys: &str, cursor: &Cursor, limit: usize) {
        if !cursor.0.is_empty() {
            let parameters: Vec<String> = cursor
                .0
                .iter()
                .map(|value| format!("?{}", self.value(value.clone())))
                .collect();
            let parameters = parameters.join(", ");
            self.text
                .push_str(&format!(" AND ({keys}) > ({parameters})"));
        }
        let limit = self.value(i64::try_from(limit).unwrap_or(i64::MAX));
        self.text
            .push_str(&format!(" ORDER BY {keys} LIMIT ?{limit}"));
    }
}
