//! PostgreSQL with TimescaleDB: the schema, the batch transaction, the merging of rollups, and the reads.

pub mod aggregates;
mod amount;
pub mod api_keys;
pub mod audit;
pub mod chunks;
pub mod clock;
mod columns;
pub mod commit;
pub mod corrections;
mod dead_letters;
mod duplicates;
pub mod engine;
pub mod erase;
pub mod exports;
pub mod floors;
pub mod freshness;
mod horizon;
mod known;
pub mod layout;
pub mod lease;
pub mod maintain;
pub mod maintenance;
pub mod merge;
pub mod org_settings;
pub mod partitions;
pub mod pending;
pub mod purge;
pub mod read;
pub mod rebuild;
pub mod recount;
pub mod repair;
pub mod replays;
mod rows;
pub mod schema;
pub mod supervision;
pub mod transaction;
pub mod unread;
pub mod verify;

use std::{str::FromStr, time::Duration};

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};

use crate::config::{Database, Secret};

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database's trouble or the network's: the same may go through later.
    #[error("database: {0}")]
    Transient(#[source] sqlx::Error),
    #[error("database: no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Another process holds the partition: this one must stop working on it.
    #[error("partition {partition} is in epoch {found}, not {ours}: what was started in that one is fenced")]
    Fenced { partition: u16, ours: i64, found: i64 },
    /// The database does not have what it had confirmed: another one has taken its place. What it lacks is to be read again.
    #[error(
        "partition {partition} was committed up to offset {committed}, and the database has it up to {found}: commits were lost"
    )]
    LostCommits { partition: u16, committed: i64, found: i64 },
    /// The database refuses so many events that it is not they who are wrong.
    #[error("database: {0}")]
    Unfit(String),
    /// Will not go away by itself: a schema that is not ours, a value that cannot be.
    #[error("database: {0}")]
    Permanent(String),
}

impl StoreError {
    /// Whether the same may go through later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_) | Self::Timeout(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Transient(error)
    }
}

/// Opens one connection. Errors do not hold the URL.
pub async fn connect(url: &Secret, timeout: Duration) -> Result<PgConnection, StoreError> {
    open(&options(url)?, timeout).await
}

/// Opens a connection as the role that owns the schema: that of `database.migration_url`, where there is one.
pub async fn connect_owner(database: &Database) -> Result<PgConnection, StoreError> {
    let url = if database.migration_url.is_empty() { &database.url } else { &database.migration_url };
    connect(url, database.connect_timeout()).await
}

/// Opens a connection for writing in bulk.
pub async fn connect_writer(database: &Database) -> Result<PgConnection, StoreError> {
    let options = options(&database.url)?.application_name(&database.application_name).options([
        // Plans for the values at hand: the planner opens only the chunks that they lie in.
        ("plan_cache_mode", "force_custom_plan"),
        ("jit", "off"),
        // What a writer looks up was written lately and is in memory.
        ("random_page_cost", "1.1"),
        // Longer than a commit can take, shorter than for ever, should this process vanish without a word.
        ("idle_in_transaction_session_timeout", "60s"),
        ("tcp_user_timeout", "30s"),
    ]);
    open(&options, database.connect_timeout()).await
}

async fn open(options: &PgConnectOptions, timeout: Duration) -> Result<PgConnection, StoreError> {
    match tokio::time::timeout(timeout, options.connect()).await {
        Ok(conn) => Ok(conn?),
        Err(_) => Err(StoreError::Timeout(timeout)),
    }
}

/// An actor's own connection for writing: opened when it is needed, given up at the first error, since a new one has no
/// state that could be wrong.
pub struct Session {
    database: Database,
    conn: Option<PgConnection>,
}

impl Session {
    pub fn new(database: Database) -> Self {
        Self { database, conn: None }
    }

    /// Does a piece of work within `database.write_timeout_ms`.
    pub async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => connect_writer(&self.database).await?,
        };
        let timeout = self.database.write_timeout();
        let done = tokio::time::timeout(timeout, work(&mut conn)).await.unwrap_or(Err(StoreError::Timeout(timeout)));
        if done.is_ok() {
            self.conn = Some(conn);
        }
        done
    }
}

impl Session {
    /// Does a piece of work within a deadline of its own, and once more with a new connection where the first may have been
    /// lost since it was used last. Only for work that may be done twice.
    pub async fn run_within<T>(
        &mut self,
        deadline: Duration,
        mut work: impl AsyncFnMut(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let twice = async {
            let used = self.conn.is_some();
            match self.run(async |conn| work(conn).await).await {
                Err(error) if used && error.is_transient() => self.run(async |conn| work(conn).await).await,
                done => done,
            }
        };
        tokio::time::timeout(deadline, twice).await.unwrap_or(Err(StoreError::Timeout(deadline)))
    }
}

/// The role that a URL connects as.
pub fn user_of(url: &Secret) -> Result<String, StoreError> {
    Ok(options(url)?.get_username().to_owned())
}

fn options(url: &Secret) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url.expose())
        .map_err(|_| StoreError::Permanent("the connection URL cannot be read".to_owned()))?;
    // Our own deadlines judge statements; slow ones are no news at high load.
    Ok(options.application_name("analytics-service").log_slow_statements(log::LevelFilter::Off, Duration::ZERO))
}
