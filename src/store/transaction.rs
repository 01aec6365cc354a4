//! Transactions that always end. All of the store's begin here; a test searches the source for others.
//!
//! A `sqlx` transaction that is dropped is not rolled back before its connection is used again: until then it keeps its locks,
//! and on an idle connection that is for ever. Here the end is awaited, whatever the work returns.
//!
//! Cancelled, by a deadline for instance, the work cannot be ended from here. A caller that drops the future drops the connection with
//! it, as [`Session`](super::Session) and the readers' pool do: the server rolls back what a closed connection left.

use std::time::Duration;

use sqlx::{Connection, PgConnection, SqlSafeStr, SqlStr};
use tokio::time::timeout;
use tracing::{Instrument as _, Span};

use super::{StoreError, patience::with_patience, step::step};
use crate::domain::trace::span;

/// Longest wait for a rollback. A connection on which it takes longer is dead, and its error is known already.
const ROLLBACK_WITHIN: Duration = Duration::from_secs(5);

/// Advisory lock, which whoever reads from a [`Snapshot`] shares.
const SNAPSHOT_LOCK: i64 = 0x736e_6170;
/// A reader waits at most that long behind a change of what it reads.
const SHORT_LOCK: &str = "SET LOCAL lock_timeout = '1s'";

/// Everything of one moment.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";
/// Everything of one moment, and nothing is written.
const READ_ONLY_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Does work in a transaction: committed where the work returns `Ok`, else rolled back. Within another transaction it is a
/// savepoint of that one.
pub async fn in_transaction<T, E: From<sqlx::Error>>(
    conn: &mut PgConnection,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    run(conn, None, End::Commit, work).await
}

/// As [`in_transaction`], and all that it reads is of one moment.
pub async fn in_snapshot<T, E: From<sqlx::Error>>(
    conn: &mut PgConnection,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    run(conn, Some(SNAPSHOT.into_sql_str()), End::Commit, work).await
}

/// As [`in_snapshot`], and what is written, into temporary tables for instance, is rolled back.
pub async fn in_discarded_snapshot<T, E: From<sqlx::Error>>(
    conn: &mut PgConnection,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    run(conn, Some(SNAPSHOT.into_sql_str()), End::Rollback, work).await
}

/// How a transaction ends whose work succeeded.
#[derive(Clone, Copy)]
enum End {
    Commit,
    Rollback,
}

async fn run<T, E: From<sqlx::Error>>(
    conn: &mut PgConnection,
    begin: Option<SqlStr>,
    end: End,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    let is_savepoint = conn.is_in_transaction();
    let mut tx = match begin {
        Some(statement) => conn.begin_with(statement).await?,
        None => conn.begin().await?,
    };
    match (work(&mut tx).await, end) {
        (Ok(done), End::Commit) => {
            let step = if is_savepoint { Span::none() } else { step!(span::COMMIT) };
            tx.commit().instrument(step).await?;
            Ok(done)
        }
        (Ok(done), End::Rollback) => {
            tx.rollback().await?;
            Ok(done)
        }
        (Err(error), _) => {
            // The work's error says more than one of the rollback, which only means that the connection is lost.
            let _ = timeout(ROLLBACK_WITHIN, tx.rollback()).await;
            Err(error)
        }
    }
}

/// A read-only snapshot that lasts as long as its connection: for rows that are streamed. No view or table that is read changes
/// meanwhile: read by its new definition, a view would show old rows, and lack what the change has moved.
pub struct Snapshot(PgConnection);

impl Snapshot {
    pub async fn begin(mut conn: PgConnection) -> Result<Self, sqlx::Error> {
        // Of the session, since the first statement of the transaction would take the snapshot before it has the lock.
        sqlx::query("SELECT pg_advisory_lock_shared($1)").bind(SNAPSHOT_LOCK).execute(&mut conn).await?;
        sqlx::query(READ_ONLY_SNAPSHOT).execute(&mut conn).await?;
        Ok(Self(conn))
    }

    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// Changes views or tables that are read, in one transaction, while no [`Snapshot`] is: waits for these as long as they last, and
/// holds no reader up for it.
pub(super) async fn between_snapshots(
    owner: &mut PgConnection,
    mut change: impl AsyncFnMut(&mut PgConnection) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    with_patience(u32::MAX, async || {
        in_transaction(owner, async |tx| {
            sqlx::query(SHORT_LOCK).execute(&mut *tx).await?;
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(SNAPSHOT_LOCK).execute(&mut *tx).await?;
            change(tx).await
        })
        .await
    })
    .await
}
