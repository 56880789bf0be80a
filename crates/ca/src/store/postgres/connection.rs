//! One connection: made, used, and left when it is broken.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::types::{dollars, row};
use super::{Failure, PATIENCE, PostgresOptions, STATEMENT};
use crate::store::StoreError;
use crate::store::database::{Row, Session, Value};

/// What is waited for beyond a statement's own limit, which the database keeps.
const GRACE: Duration = Duration::from_secs(5);

/// A connection and what was prepared over it.
pub(super) struct Connection {
    handle: Handle,
    client: Arc<Client>,
    prepared: HashMap<String, Statement>,
    broken: bool,
}

impl Connection {
    /// Connects; waits while the database is away, as when it restarts. Makes the database if the
    /// server has none of that name, as Fabric CA does.
    pub fn open(handle: &Handle, options: &PostgresOptions) -> Result<Self, StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let mut made = false;
        loop {
            match Self::try_open(handle, options) {
                Ok(connection) => return Ok(connection),
                Err(Refused::Away(_)) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                Err(Refused::NoDatabase) if !made => {
                    create_database(handle, options)?;
                    made = true;
                }
                Err(Refused::NoDatabase) => {
                    let reason = "PostgreSQL has no such database, though it was made";
                    return Err(StoreError::Database(reason.into()));
                }
                Err(Refused::Away(reason) | Refused::For(reason)) => {
                    return Err(StoreError::Database(format!(
                        "cannot connect to PostgreSQL: {reason}"
                    )));
                }
            }
        }
    }

    fn try_open(handle: &Handle, options: &PostgresOptions) -> Result<Self, Refused> {
        let (config, tls) = ((*options.config).clone(), options.tls.clone());
        let connecting = async move { connect(config, tls).await };
        let client = match wait(handle, PATIENCE, connecting) {
            Ok(connected) => connected?,
            Err(failure) => return Err(Refused::Away(failure.error.to_string())),
        };
        let connection = Self {
            handle: handle.clone(),
            client: Arc::new(client),
            prepared: HashMap::new(),
            broken: false,
        };
        let milliseconds = STATEMENT.as_millis();
        let settings = format!("SET statement_timeout = {milliseconds}; SET timezone = 'UTC'");
        match connection.simple(&settings) {
            Ok(()) => Ok(connection),
            Err(failure) => Err(Refused::Away(failure.error.to_string())),
        }
    }

    /// Whether it cannot be used any more.
    pub fn is_broken(&self) -> bool {
        self.broken || self.client.is_closed()
    }

    /// Runs statements without parameters.
    pub fn simple(&self, statements: &str) -> Result<(), Failure> {
        let (client, statements) = (self.client.clone(), statements.to_owned());
        let running = async move { client.batch_execute(&statements).await };
        Ok(wait(&self.handle, STATEMENT + GRACE, running)??)
    }

    /// As [`simple`](Self::simple); remembers if the connection broke.
    pub fn batch(&mut self, statements: &str) -> Result<(), StoreError> {
        let done = self.simple(statements);
        self.noted(done)
    }

    fn noted<T>(&mut self, result: Result<T, Failure>) -> Result<T, StoreError> {
        result.map_err(|failure| {
            self.broken |= failure.broken;
            failure.error
        })
    }

    fn statement(&mut self, statement: &str) -> Result<Statement, Failure> {
        if let Some(known) = self.prepared.get(statement) {
            return Ok(known.clone());
        }
        let (client, text) = (self.client.clone(), dollars(statement));
        let preparing = async move { client.prepare(&text).await };
        let prepared = wait(&self.handle, STATEMENT + GRACE, preparing)??;
        self.prepared.insert(statement.to_owned(), prepared.clone());
        Ok(prepared)
    }

    fn run_execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, Failure> {
        let (client, prepared) = (self.client.clone(), self.statement(statement)?);
        let values = values.to_vec();
        let running = async move { client.execute_raw(&prepared, values).await };
        Ok(wait(&self.handle, STATEMENT + GRACE, running)??)
    }

    fn run_query(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, Failure> {
        let (client, prepared) = (self.client.clone(), self.statement(statement)?);
        let values = values.to_vec();
        let running = async move {
            let values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
                values.iter().map(|value| value as _).collect();
            let rows = client.query(&prepared, &values).await?;
            rows.iter().map(row).collect::<Result<Vec<_>, _>>()
        };
        Ok(wait(&self.handle, STATEMENT + GRACE, running)??)
    }
}

impl Session for Connection {
    fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, StoreError> {
        let done = self.run_execute(statement, values);
        self.noted(done)
    }

    fn query(&mut self, statement: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let done = self.run_query(statement, values);
        self.noted(done)
    }
}

/// Waits for something on the driver's runtime, from whatever thread.
fn wait<T: Send + 'static>(
    handle: &Handle,
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    let (done, result) = sync_channel(1);
    let task = handle.spawn(async move {
        // Nobody listens any more after the limit.
        let _ = done.send(work.await);
    });
    result.recv_timeout(limit).map_err(|error| {
        task.abort();
        Failure::gone(match error {
            RecvTimeoutError::Timeout => "the database does not answer",
            RecvTimeoutError::Disconnected => "the connection to the database ended",
        })
    })
}

/// Why there is no connection.
enum Refused {
    /// The database is not up, or cannot be reached: that may pass.
    Away(String),
    /// The server has no database of that name.
    NoDatabase,
    /// That will not pass.
    For(String),
}

impl From<tokio_postgres::Error> for Refused {
    fn from(error: tokio_postgres::Error) -> Self {
        use std::io::ErrorKind;
        match error.code() {
            Some(&SqlState::INVALID_CATALOG_NAME) => return Self::NoDatabase,
            Some(&SqlState::CANNOT_CONNECT_NOW | &SqlState::ADMIN_SHUTDOWN) => {
                return Self::Away(consilium_transport::causes(&error));
            }
            _ => {}
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        let mut kind = None;
        while let Some(one) = cause {
            kind = one
                .downcast_ref::<std::io::Error>()
                .map(|it| it.kind())
                .or(kind);
            cause = one.source();
        }
        let reason = consilium_transport::causes(&error);
        match kind {
            Some(
                ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NotFound
                | ErrorKind::UnexpectedEof
                | ErrorKind::BrokenPipe
                | ErrorKind::TimedOut,
            ) => Self::Away(reason),
            _ => Self::For(reason),
        }
    }
}

async fn connect(config: Config, tls: Option<Arc<ClientConfig>>) -> Result<Client, Refused> {
    // The tasks end with their connections.
    match tls {
        None => {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(ended(connection));
            Ok(client)
        }
        Some(tls) => {
            let tls = MakeRustlsConnect::new((*tls).clone());
            let (client, connection) = config.connect(tls).await?;
            tokio::spawn(ended(connection));
            Ok(client)
        }
    }
}

async fn ended(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        let error = consilium_transport::causes(&error);
        tracing::warn!(error, "a connection to the database ended");
    }
}

/// Makes the database, over one that every server has.
fn create_database(handle: &Handle, options: &PostgresOptions) -> Result<(), StoreError> {
    let name = options.config.get_dbname().unwrap_or_default().to_owned();
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    let mut reason = String::new();
    for other in ["postgres", "template1"] {
        let (mut config, tls) = ((*options.config).clone(), options.tls.clone());
        config.dbname(other);
        let statement = format!("CREATE DATABASE {quoted}");
        let creating = async move {
            let client = connect(config, tls).await?;
            match client.batch_execute(&statement).await {
                // Another server was faster, perhaps by a moment.
                Err(error)
                    if matches!(
                        error.code(),
                        Some(&SqlState::DUPLICATE_DATABASE | &SqlState::UNIQUE_VIOLATION)
                    ) =>
                {
                    Ok(())
                }
                done => done.map_err(Refused::from),
            }
        };
        reason = match wait(handle, STATEMENT + GRACE, creating) {
            Ok(Ok(())) => {
                tracing::info!(database = options.name(), "made the database");
                return Ok(());
            }
            Ok(Err(Refused::Away(reason) | Refused::For(reason))) => reason,
            Ok(Err(Refused::NoDatabase)) => format!("there is no database {other}"),
            Err(failure) => failure.error.to_string(),
        };
    }
    Err(StoreError::Database(format!(
        "PostgreSQL has no database {name}, and it cannot be made: {reason}"
    )))
}
