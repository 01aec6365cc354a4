//! What `status` shows that nothing else reads: processes, partitions, dead letters, exports, replays, maintenance.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{
    domain::{
        export::CANCELLED,
        freshness::Thresholds,
        partition::Topology,
        status::installation::{
            AsOf, DeadLetters, MOST_COUNTED, MaintenanceRun, Partition, PartitionEvent, Process, ReasonCount, Replays,
            Waiting,
        },
    },
    store::StoreError,
};

/// Reasons of dead letters that are named.
const MOST_REASONS: i64 = 3;

pub async fn processes(conn: &mut PgConnection, topology: &Topology) -> Result<Vec<Process>, StoreError> {
    type Row = (String, Option<i64>, DateTime<Utc>, bool, Vec<i32>);
    let rows: Vec<Row> = sqlx::query_as(include_str!("sql/status_processes.sql"))
        .bind(&topology.base)
        .bind(topology.streams())
        .fetch_all(conn)
        .await?;
    let process = |(name, newest_migration, started_at, leased, partitions): Row| {
        let partitions = partitions.into_iter().filter_map(|partition| u16::try_from(partition).ok()).collect();
        Process { name, newest_migration, started_at, leased, partitions }
    };
    Ok(rows.into_iter().map(process).collect())
}

pub async fn partitions(
    conn: &mut PgConnection,
    topology: &Topology,
    thresholds: &Thresholds,
) -> Result<Vec<Partition>, StoreError> {
    let rows: Vec<PartitionRow> =
        sqlx::query_as(include_str!("sql/status_partitions.sql")).bind(topology.streams()).fetch_all(conn).await?;
    Ok(rows.into_iter().filter_map(|row| row.partition(thresholds)).collect())
}

#[derive(FromRow)]
struct PartitionRow {
    partition: i32,
    next_offset: i64,
    owner: Option<String>,
    leased: bool,
    watermark: Option<DateTime<Utc>>,
    lag_seconds: Option<f64>,
    complete_to: Option<DateTime<Utc>>,
    complete_lag_seconds: Option<f64>,
    unread: i64,
    gaps: i64,
    what: Option<String>,
    occurred_at: Option<DateTime<Utc>>,
    cause: Option<String>,
}

impl PartitionRow {
    fn partition(self, thresholds: &Thresholds) -> Option<Partition> {
        // What is ahead of the clock proves nothing.
        let behind = self.complete_lag_seconds.and_then(span).filter(|lag| *lag >= TimeDelta::zero());
        let status = behind.map(|lag| thresholds.judge(Some(lag.num_milliseconds())));
        let last_event =
            self.what.zip(self.occurred_at).map(|(what, at)| PartitionEvent { what, at, cause: self.cause });
        Some(Partition {
            partition: u16::try_from(self.partition).ok()?,
            owner: self.owner,
            leased: self.leased,
            next_offset: self.next_offset,
            watermark: self.watermark,
            lag: self.lag_seconds.and_then(span),
            as_of: AsOf { at: self.complete_to.filter(|_| behind.is_some()), status },
            unread: self.unread,
            gaps: self.gaps,
            last_event,
        })
    }
}

/// Seconds of the database as a span. None: more than there can be.
#[expect(clippy::cast_possible_truncation, reason = "from the database, and saturating")]
fn span(seconds: f64) -> Option<TimeDelta> {
    TimeDelta::try_milliseconds((seconds * 1000.0) as i64)
}

/// What is counted, and by which clock.
#[derive(Clone, Debug)]
pub struct Counts {
    pub looked_at: DateTime<Utc>,
    pub installed_at: Option<DateTime<Utc>>,
    pub dead_letters: DeadLetters,
    pub exports_running: i64,
    pub exports_failed_hour: i64,
    pub exports_failed_day: i64,
    pub replays: Replays,
}

pub async fn counts(conn: &mut PgConnection, topology: &Topology) -> Result<Counts, StoreError> {
    let row: CountsRow = sqlx::query_as(include_str!("sql/status_counts.sql"))
        .bind(MOST_COUNTED)
        .bind(CANCELLED)
        .bind(topology.streams())
        .fetch_one(&mut *conn)
        .await?;
    let reasons: Vec<(String, i64)> =
        sqlx::query_as(include_str!("sql/status_reasons.sql")).bind(MOST_REASONS).fetch_all(conn).await?;
    let reasons = reasons.into_iter().map(|(reason, count)| ReasonCount { reason, count }).collect();
    Ok(Counts {
        looked_at: row.looked_at,
        installed_at: row.installed_at,
        dead_letters: DeadLetters { open: row.dead_open, last_day: row.dead_last_day, reasons },
        exports_running: row.exports_running,
        exports_failed_hour: row.exports_failed_hour,
        exports_failed_day: row.exports_failed_day,
        replays: Replays {
            open: Waiting { count: row.replays_open, since: row.replays_since },
            failed_last_day: row.replays_failed_day,
        },
    })
}

#[derive(FromRow)]
struct CountsRow {
    looked_at: DateTime<Utc>,
    installed_at: Option<DateTime<Utc>>,
    dead_open: i64,
    dead_last_day: i64,
    exports_running: i64,
    exports_failed_hour: i64,
    exports_failed_day: i64,
    replays_open: i64,
    replays_since: Option<DateTime<Utc>>,
    replays_failed_day: i64,
}

/// The last run of each task; `verify` has a place of its own.
pub async fn maintenance(conn: &mut PgConnection) -> Result<Vec<MaintenanceRun>, StoreError> {
    Ok(runs(conn).await?.into_iter().filter(|run| run.task != "verify").collect())
}

/// The last run of each task.
pub async fn runs(conn: &mut PgConnection) -> Result<Vec<MaintenanceRun>, StoreError> {
    type Row =
        (String, String, DateTime<Utc>, Option<DateTime<Utc>>, Option<String>, Option<String>, Option<DateTime<Utc>>);
    // By its name: a schema before 20261129000120 has no last_done_at.
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT task, process, started_at, finished_at, outcome,
                CASE WHEN outcome = 'failed' THEN summary ->> 'error' END AS error,
                coalesce((to_jsonb(r) ->> 'last_done_at')::timestamptz, CASE WHEN outcome = 'done' THEN started_at END) AS last_done_at
         FROM analytics.maintenance_runs r ORDER BY task",
    )
    .fetch_all(conn)
    .await?;
    let run = |(task, process, started_at, finished_at, outcome, error, last_done_at)| MaintenanceRun {
        task,
        process,
        started_at,
        finished_at,
        outcome,
        error,
        last_done_at,
    };
    Ok(rows.into_iter().map(run).collect())
}
