//! PostgreSQL with TimescaleDB: the schema, the batch transaction, the merging of rollups, and the reads.

pub mod clock;
pub mod commit;
mod dead_letters;
pub mod freshness;
mod known;
pub mod merge;
pub mod partitions;
pub mod read;
mod rows;
pub mod schema;

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
    #[error("partition {partition} is owned by epoch {found}, not {ours}: this process is fenced")]
    Fenced { partition: u16, ours: i64, found: i64 },
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
    let options = options(url)?;
    match tokio::time::timeout(timeout, options.connect()).await {
        Ok(conn) => Ok(conn?),
        Err(_) => Err(StoreError::Timeout(timeout)),
    }
}

/// Opens a connection for writing in bulk.
pub async fn connect_writer(database: &Database) -> Result<PgConnection, StoreError> {
    let timeout = database.connect_timeout();
    let options = options(&database.url)?.options([
        // Plans for the values at hand: the planner opens only the chunks that they lie in.
        ("plan_cache_mode", "force_custom_plan"),
        ("jit", "off"),
        // What a writer looks up was written lately and is in memory.
        ("random_page_cost", "1.1"),
        // Longer than a commit can take, shorter than for ever, should this process vanish without a word.
        ("idle_in_transaction_session_timeout", "60s"),
        ("tcp_user_timeout", "30s"),
    ]);
    match tokio::time::timeout(timeout, options.connect()).await {
        Ok(conn) => Ok(conn?),
        Err(_) => Err(StoreError::Timeout(timeout)),
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
