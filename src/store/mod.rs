//! PostgreSQL with TimescaleDB, in rooms: [`ingest`] makes batches durable, [`rollups`] adds them up, [`read`] serves the API,
//! [`attribution`] sums them by client, person, team and error, [`exports`] keeps the jobs of files and reads their rows, [`lifecycle`] purges and maintains, [`access`] has keys and audit log.
//!
//! Beside them is what all share (connecting, transactions, errors, the clock, forms of rows and amounts), and what belongs to the
//! database as a whole: schema, probe, supervision log. [`names`] has what people call their ids. A statement of more than eight lines is a file in the `sql` folder of
//! its room.

pub mod access;
mod amount;
pub mod attribution;
mod bound;
pub mod clock;
mod columns;
mod connect;
pub mod edition;
mod error;
pub mod exports;
pub mod ingest;
pub mod lifecycle;
pub mod names;
mod packed;
mod patience;
pub mod probe;
pub mod read;
pub mod rollups;
pub mod rows;
pub mod schema;
pub(crate) mod step;
pub mod supervision;
pub mod transaction;

use std::time::Duration;

/// All that other modules know of the driver when they pass a connection on.
pub use sqlx::PgConnection;

pub use self::{
    connect::{connect, connect_loader, connect_owner, connect_writer, user_of},
    error::StoreError,
};
use crate::config::Database;

/// Receives the steps of long work: to show them, and as a sign of life.
pub type OnStep<'t> = &'t mut (dyn FnMut(&str) + Send);

/// An actor's own connection for writing: opened when it is needed, given up at the first error, since a new one has no
/// state that could be wrong.
pub struct Session {
    database: Database,
    conn: Option<PgConnection>,
    /// The last connection was given up, because of trouble with it or a deadline.
    lost: bool,
    stores_events: bool,
}

impl Session {
    pub fn new(database: Database) -> Self {
        Self { database, conn: None, lost: false, stores_events: false }
    }

    /// A session that stores or merges batches of events: see [`rollups::aggregates::skip_invalidations`].
    pub fn of_batches(database: Database) -> Self {
        Self { stores_events: true, ..Self::new(database) }
    }

    /// Does a piece of work within `database.write_timeout_ms`.
    pub async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let known = self.conn.take();
        let opened = known.is_none();
        let mut conn = match known {
            Some(conn) => conn,
            None => connect_writer(&self.database).await?,
        };
        if opened && self.lost {
            self.database.on_reconnect.call();
        }
        // Also where the work is cancelled.
        self.lost = true;
        let timeout = self.database.write_timeout();
        let working = async {
            if opened && self.stores_events {
                rollups::aggregates::skip_invalidations(&mut conn).await?;
            }
            work(&mut conn).await
        };
        let done = tokio::time::timeout(timeout, working).await.unwrap_or(Err(StoreError::Timeout(timeout)));
        self.lost = done.as_ref().is_err_and(StoreError::is_transient);
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
