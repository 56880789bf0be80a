//! Connections that wait for work.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Builder, Runtime};

use super::connection::Connection;
use super::{PostgresOptions, SCHEMA, STATEMENT};
use crate::store::StoreError;
use crate::store::database::{Row, Session, Value};

/// Connections at once: as many as requests are in work at once.
const MOST: usize = 8;

/// A database with Fabric CA's tables.
pub(crate) struct Postgres {
    options: PostgresOptions,
    /// Present until it is dropped.
    runtime: Option<Runtime>,
    idle: Mutex<Idle>,
    returned: Condvar,
}

/// Connections that nobody uses, and how many there are in all.
#[derive(Default)]
struct Idle {
    connections: Vec<Connection>,
    open: usize,
}

impl Postgres {
    /// Connects, and makes database and tables where they are not there.
    pub fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Database(format!("no thread for it: {error}")))?;
        let database = Self {
            options,
            runtime: Some(runtime),
            idle: Mutex::default(),
            returned: Condvar::new(),
        };
        database.with(|connection| connection.batch(SCHEMA))?;
        tracing::info!(
            database = database.options.name(),
            "connected to PostgreSQL"
        );
        Ok(database)
    }

    pub fn execute(&self, statement: &str, values: &[Value]) -> Result<u64, StoreError> {
        self.transaction(|session| session.execute(statement, values))
    }

    /// Repeated over a new connection if the old one was broken: reading twice does no harm.
    pub fn query(&self, statement: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.with_live(|connection| connection.query(statement, values))
    }

    /// Where a connection breaks between the statements of `work`, nothing was done; if it breaks
    /// while they are made final, nobody knows, and the error says so.
    pub fn transaction<T>(
        &self,
        work: impl FnOnce(&mut dyn Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lent = self.lend()?;
        // Nothing was done yet, so a connection that broke while it was idle can be replaced.
        const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
        if let Err(error) = lent.connection().batch(BEGIN) {
            if !lent.connection().is_broken() {
                return Err(error);
            }
            lent.renew()?;
            lent.connection().batch(BEGIN)?;
        }
        lent.within = true;
        match work(lent.connection()) {
            Ok(done) => {
                lent.connection().batch("COMMIT").map_err(|error| {
                    let broken = lent.connection().is_broken();
                    let unknown = ", and whether the change was made is not known";
                    let unknown = if broken { unknown } else { "" };
                    StoreError::Database(format!("{error}{unknown}"))
                })?;
                lent.within = false;
                Ok(done)
            }
            Err(error) => {
                // What cannot be undone over the connection is undone by its end.
                lent.within = lent.connection().batch("ROLLBACK").is_err();
                Err(error)
            }
        }
    }

    fn with_live<T>(
        &self,
        mut work: impl FnMut(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lent = self.lend()?;
        match work(lent.connection()) {
            Err(_) if lent.connection().is_broken() => {
                lent.renew()?;
                work(lent.connection())
            }
            done => done,
        }
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        work(self.lend()?.connection())
    }

    /// A connection that works as far as is known: one that waits, or a new one.
    fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let deadline = Instant::now() + STATEMENT;
        let mut idle = self.idle.lock();
        loop {
            while let Some(connection) = idle.connections.pop() {
                if !connection.is_broken() {
                    return Ok(Lent {
                        pool: self,
                        connection: Some(connection),
                        within: false,
                    });
                }
                idle.open -= 1;
            }
            if idle.open < MOST {
                idle.open += 1;
                drop(idle);
                let mut lent = Lent {
                    pool: self,
                    connection: None,
                    within: false,
                };
                lent.renew()?;
                return Ok(lent);
            }
            if self.returned.wait_until(&mut idle, deadline).timed_out() {
                return Err(StoreError::Database(
                    "all connections to the database are in use".into(),
                ));
            }
        }
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        // Present until this is dropped.
        let Some(runtime) = &self.runtime else {
            return Err(StoreError::Database("the server stops".into()));
        };
        Connection::open(runtime.handle(), &self.options)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Waiting for it would be a mistake inside of an asynchronous program.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A connection while it is used, and its place among the open ones.
struct Lent<'a> {
    pool: &'a Postgres,
    connection: Option<Connection>,
    /// Whether it is in the middle of a transaction, and so of no use to others.
    within: bool,
}

impl Lent<'_> {
    fn connection(&mut self) -> &mut Connection {
        // `lend` and `renew` leave one there or fail, and then nobody asks.
        self.connection.as_mut().expect("a connection is lent")
    }

    /// Another connection instead of one that broke.
    fn renew(&mut self) -> Result<(), StoreError> {
        self.connection = None;
        self.connection = Some(self.pool.connect()?);
        Ok(())
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock();
        let usable = |it: &Connection| !self.within && !it.is_broken();
        match self.connection.take().filter(usable) {
            Some(connection) => idle.connections.push(connection),
            None => idle.open -= 1,
        }
        drop(idle);
        self.pool.returned.notify_one();
    }
}
