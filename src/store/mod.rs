//! PostgreSQL with TimescaleDB: the schema, the batch transaction, the merging of rollups, and the reads.

pub mod aggregates;
mod amount;
pub mod api_keys;
pub mod audit;
pub mod background_jobs;
pub mod chunks;
pub mod clock;
mod columns;
pub mod commit;
mod connect;
pub mod corrections;
mod dead_letters;
mod duplicates;
pub mod engine;
pub mod erase;
mod error;
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
pub mod probe;
pub mod purge;
pub mod read;
pub mod rebuild;
pub mod recount;
pub mod reopen;
pub mod repair;
pub mod replays;
mod rows;
pub mod schema;
pub mod supervision;
pub mod transaction;
pub mod unread;
pub mod verify;

use std::time::Duration;

use sqlx::PgConnection;

pub use self::{
    connect::{connect, connect_loader, connect_owner, connect_writer, user_of},
    error::StoreError,
};
use crate::config::Database;

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
