//! Locks for work on past data: whatever recounts, purges or switches engines does so alone.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{
    config::Database,
    store::{StoreError, connect_writer, schema},
};

/// Advisory lock of the session whose turn it is.
const TURN_LOCK: i64 = 0x006d_6169_6e74;
/// How often a turn is tried for while another has it.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// Longest that one statement of a task may run. Each works on a day or on some thousand rows.
const LIMITS: &str =
    "SET statement_timeout = '30min'; SET lock_timeout = '10min'; SET idle_in_transaction_session_timeout = '1min'";

/// Characters of an error that are recorded.
const MOST_OF_AN_ERROR: usize = 1000;

/// How a turn is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Changes the past: one at a time.
    Alone,
    /// Looks at it: several beside each other.
    Shared,
}

#[derive(Debug, thiserror::Error)]
pub enum TaskLockError {
    #[error("another maintenance command is at work: {0}")]
    Taken(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A connection that holds the turn until it is dropped.
pub struct TaskLock {
    pub conn: PgConnection,
    task: &'static str,
}

impl TaskLock {
    /// Waits at most that long for the turn at a task, named as its command is.
    ///
    /// # Errors
    /// `Taken`: another process or command has it; names it. `Store` also where this build does not work with the schema.
    pub async fn take(
        database: &Database,
        task: &'static str,
        access: Access,
        wait: Duration,
    ) -> Result<Self, TaskLockError> {
        let mut conn = connect_writer(database).await?;
        let statement = match access {
            Access::Alone => "SELECT pg_try_advisory_lock($1)",
            Access::Shared => "SELECT pg_try_advisory_lock_shared($1)",
        };
        let began = Instant::now();
        while !sqlx::query_scalar::<_, bool>(statement)
            .bind(TURN_LOCK)
            .fetch_one(&mut conn)
            .await
            .map_err(StoreError::from)?
        {
            if began.elapsed() >= wait {
                return Err(TaskLockError::Taken(at_work(&mut conn).await?));
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
        schema::check(&mut conn).await?;
        sqlx::raw_sql(LIMITS).execute(&mut conn).await.map_err(StoreError::from)?;
        Ok(Self { conn, task })
    }

    /// When the last run of the task began that was done, in any process, whatever became of later ones; and whether that is less
    /// than that time ago.
    pub async fn last_done(&mut self, within: TimeDelta) -> Result<Option<(DateTime<Utc>, bool)>, StoreError> {
        // By its name: a schema before 20261129000120 has no last_done_at, and forgets it when the next run begins.
        let last = sqlx::query_as(
            "SELECT began, began > clock_timestamp() - $2
             FROM analytics.maintenance_runs r, coalesce(
                 (to_jsonb(r) ->> 'last_done_at')::timestamptz, CASE WHEN outcome = 'done' THEN started_at END) AS began
             WHERE task = $1 AND began IS NOT NULL",
        );
        Ok(last.bind(self.task).bind(within).fetch_optional(&mut self.conn).await?)
    }

    /// Records that the task begins now.
    pub async fn begin(&mut self, process: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO analytics.maintenance_runs (task, process, started_at) VALUES ($1, $2, clock_timestamp())
             ON CONFLICT (task) DO UPDATE SET process = excluded.process, started_at = excluded.started_at,
                 finished_at = NULL, outcome = NULL, summary = NULL",
        )
        .bind(self.task)
        .bind(process)
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Records a task that has changed nothing and is done: several may have been at work beside each other, so the record is
    /// of the one that ended last.
    pub async fn note(&mut self, process: &str, took: TimeDelta, summary: &Value) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO analytics.maintenance_runs (task, process, started_at, finished_at, outcome, summary)
             VALUES ($1, $2, clock_timestamp() - $3, clock_timestamp(), 'done', $4::jsonb)
             ON CONFLICT (task) DO UPDATE SET process = excluded.process, started_at = excluded.started_at,
                 finished_at = excluded.finished_at, outcome = excluded.outcome, summary = excluded.summary",
        )
        .bind(self.task)
        .bind(process)
        .bind(took)
        .bind(summary.to_string())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Records that it is done, and what was done.
    pub async fn done(&mut self, summary: &Value) -> Result<(), StoreError> {
        self.finish("done", summary).await
    }

    /// Records that it has failed, and why. Where the connection is gone it stays a run that has not ended.
    pub async fn failed(&mut self, error: &str) -> Result<(), StoreError> {
        // The database has no place for the one character, and a reader no use for more.
        let error: String = error.chars().filter(|c| *c != '\0').take(MOST_OF_AN_ERROR).collect();
        self.finish("failed", &json!({ "error": error })).await
    }

    async fn finish(&mut self, outcome: &str, summary: &Value) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE analytics.maintenance_runs SET finished_at = clock_timestamp(), outcome = $2, summary = $3::jsonb
             WHERE task = $1",
        )
        .bind(self.task)
        .bind(outcome)
        .bind(summary.to_string())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }
}

/// Waits for the turn on a connection of whatever role, which holds it until it is closed. As long as it takes: the command at
/// work may be a long one.
pub async fn wait_for_turn(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::raw_sql("SET lock_timeout = 0").execute(&mut *conn).await?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(TURN_LOCK).execute(conn).await?;
    Ok(())
}

/// What began last and has not ended, for who waits in vain.
async fn at_work(conn: &mut PgConnection) -> Result<String, StoreError> {
    let last: Option<(String, String, DateTime<Utc>)> = sqlx::query_as(
        "SELECT task, process, started_at FROM analytics.maintenance_runs WHERE finished_at IS NULL
         ORDER BY started_at DESC LIMIT 1",
    )
    .fetch_optional(conn)
    .await?;
    let named = |(task, process, at)| format!("{task} by {process} since {at}");
    Ok(last.map_or_else(|| "it has not said which".to_owned(), named))
}
