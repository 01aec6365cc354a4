//! Reconciliation: whether raw events, rollups and ledger agree. Reads only.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    recount::{self, Difference, Pending, Span},
    unit::Unit,
    verify_hours,
};
use crate::{
    domain::{calendar::utc_day, finding::Finding, query::Usage, rollup},
    store::{StoreError, attribution, lifecycle::chunks, transaction::in_discarded_snapshot},
};

/// Findings that are named; the others are counted.
pub const MOST_NAMED: usize = 20;

/// What was found to differ: the first ones, and how many there are.
#[derive(Debug, Default)]
pub struct Found {
    pub named: Vec<Finding>,
    pub all: u64,
}

impl Found {
    pub fn add(&mut self, named: impl IntoIterator<Item = Finding>, all: u64) {
        self.named.extend(named);
        self.named.truncate(MOST_NAMED);
        self.all += all;
    }
}

/// The days that anything is kept of: of raw events or rollups. None where there is nothing.
pub async fn first_day(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    let rollups = sqlx::query_scalar(
        "SELECT least((SELECT min(bucket_start) FROM analytics.daily_rollups),
                      (SELECT min(bucket_start) FROM analytics.daily_materialised))",
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok([chunks::oldest(conn).await?, rollups].into_iter().flatten().min())
}

/// Holds the rollups of a UTC day against its raw events. Gives the number of events. The connection is
/// [prepared](recount::prepare).
pub async fn day(
    conn: &mut PgConnection,
    start: DateTime<Utc>,
    org_id: Option<Uuid>,
    found: &mut Found,
) -> Result<u64, StoreError> {
    in_discarded_snapshot(conn, async |tx| day_in(tx, start, org_id, found).await).await
}

async fn day_in(
    tx: &mut PgConnection,
    start: DateTime<Utc>,
    org_id: Option<Uuid>,
    found: &mut Found,
) -> Result<u64, StoreError> {
    let span = Span::of(&mut *tx, start, org_id).await?;
    let events = recount::count(tx, &span, Pending::LeftOut).await?;
    for unit in Unit::ALL {
        let (named, all) = recount::differences(tx, &span, unit, most_named()).await?;
        found.add(named.into_iter().map(finding), all);
    }
    let mut note = |finding| found.add([finding], 1);
    verify_hours::over_models(tx, &span, &mut note).await?;
    verify_hours::by_label(tx, &span, &mut note).await?;
    attribution::verify::day(tx, &span, &mut note).await?;
    Ok(events)
}

fn finding(difference: Difference) -> Finding {
    let text = |usage: Usage, last_event_at: Option<DateTime<Utc>>| {
        let Usage { invocations, input_tokens, output_tokens, cost } = usage;
        let Some(last_event_at) = last_event_at else { return "no row".to_owned() };
        let last = last_event_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        format!(
            "{invocations} invocations, {input_tokens} and {output_tokens} tokens, {cost} cents, its last event at {last}"
        )
    };
    let (kept_last, raw_last) = difference.last_event_at;
    Finding::Rollup {
        unit: difference.unit.as_str(),
        org_id: difference.org_id,
        model_id: difference.model_id,
        bucket_start: difference.bucket_start,
        rollup: text(difference.rollup, kept_last),
        raw: text(difference.raw, raw_last),
        columns: difference.columns,
    }
}

/// Holds the ledger against the raw events of the batches that were committed from `from` to `to`, and against itself: its
/// chains, the partitions' progress, its hours. Gives the number of batches.
pub async fn ledger(
    conn: &mut PgConnection,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    found: &mut Found,
    mut on_step: impl FnMut(&str),
) -> Result<u64, StoreError> {
    sqlx::query(
        "CREATE TEMP TABLE IF NOT EXISTS counted_batches (batch_id uuid NOT NULL, events bigint NOT NULL)
         ON COMMIT DELETE ROWS",
    )
    .execute(&mut *conn)
    .await?;
    in_discarded_snapshot(conn, async |tx| ledger_in(tx, from, to, found, &mut on_step).await).await
}

async fn ledger_in(
    tx: &mut PgConnection,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    found: &mut Found,
    on_step: &mut impl FnMut(&str),
) -> Result<u64, StoreError> {
    let (batches, first, last): (i64, Option<DateTime<Utc>>, Option<DateTime<Utc>>) = sqlx::query_as(
        "SELECT count(*), min(occurred_from), max(occurred_to) FROM analytics.ingestion_batches
         WHERE completed_at >= $1 AND completed_at < $2",
    )
    .bind(from)
    .bind(to)
    .fetch_one(&mut *tx)
    .await?;
    if let (Some(first), Some(last)) = (first, last) {
        count_batches(tx, first, last, on_step).await?;
    }
    on_step("comparing the ledger");
    let rows: Vec<BatchRow> = sqlx::query_as(include_str!("sql/verify_batches.sql"))
        .bind(from)
        .bind(to)
        .bind(most_named())
        .fetch_all(&mut *tx)
        .await?;
    add(found, rows, |row| row.differing, BatchRow::finding);
    let rows: Vec<OrphanRow> =
        sqlx::query_as(include_str!("sql/verify_orphans.sql")).bind(most_named()).fetch_all(&mut *tx).await?;
    add(found, rows, |row| row.differing, |row| Finding::Orphans { batch_id: row.batch_id, raw: row.raw });
    let rows: Vec<ChainRow> = sqlx::query_as(include_str!("sql/verify_chain.sql"))
        .bind(from)
        .bind(to)
        .bind(most_named())
        .fetch_all(&mut *tx)
        .await?;
    add(found, rows, |row| row.differing, ChainRow::finding);
    let rows: Vec<ProgressRow> =
        sqlx::query_as(include_str!("sql/verify_progress.sql")).bind(most_named()).fetch_all(&mut *tx).await?;
    add(found, rows, |row| row.differing, ProgressRow::finding);
    let rows: Vec<UnreadRow> =
        sqlx::query_as(include_str!("sql/verify_unread.sql")).bind(most_named()).fetch_all(&mut *tx).await?;
    add(found, rows, |row| row.differing, UnreadRow::finding);
    let hour = |at| rollup::hour_start(rollup::hour_of(at));
    let rows: Vec<HourRow> = sqlx::query_as(include_str!("sql/verify_hours.sql"))
        .bind(hour(from))
        .bind(hour(to))
        .bind(most_named())
        .fetch_all(&mut *tx)
        .await?;
    add(
        found,
        rows,
        |row| row.differing,
        |row| Finding::LedgerHour { hour: row.hour, batches: row.batches, hours: row.hours },
    );
    Ok(u64::try_from(batches).unwrap_or_default())
}

/// Counts raw events by batch, a day at a time.
async fn count_batches(
    tx: &mut PgConnection,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    on_step: &mut impl FnMut(&str),
) -> Result<(), StoreError> {
    let day = TimeDelta::days(1);
    let mut start = utc_day(first);
    while start <= last {
        on_step(&format!("counting raw events of {} by batch", start.date_naive()));
        sqlx::query(
            "INSERT INTO pg_temp.counted_batches SELECT batch_id, count(*) FROM analytics.usage_events
             WHERE occurred_at >= $1 AND occurred_at < $2 GROUP BY batch_id",
        )
        .bind(start)
        .bind(start + day)
        .execute(&mut *tx)
        .await?;
        start += day;
    }
    sqlx::query("ANALYZE pg_temp.counted_batches").execute(tx).await?;
    Ok(())
}

fn add<R>(found: &mut Found, rows: Vec<R>, differing: impl Fn(&R) -> i64, finding: impl Fn(R) -> Finding) {
    let all = rows.first().map_or(0, differing);
    found.add(rows.into_iter().map(finding), u64::try_from(all).unwrap_or_default());
}

fn most_named() -> i64 {
    i64::try_from(MOST_NAMED).unwrap_or(i64::MAX)
}

#[derive(FromRow)]
struct BatchRow {
    batch_id: Uuid,
    stream: String,
    partition: i32,
    incarnation: i32,
    first_offset: i64,
    next_offset: i64,
    stored: i64,
    purged: i64,
    raw: i64,
    differing: i64,
}

impl BatchRow {
    fn finding(self) -> Finding {
        Finding::Batch {
            batch_id: self.batch_id,
            stream: self.stream,
            partition: self.partition,
            incarnation: self.incarnation,
            first_offset: self.first_offset,
            next_offset: self.next_offset,
            stored: self.stored,
            purged: self.purged,
            raw: self.raw,
        }
    }
}

#[derive(FromRow)]
struct OrphanRow {
    batch_id: Uuid,
    raw: i64,
    differing: i64,
}

#[derive(FromRow)]
struct ChainRow {
    stream: String,
    partition: i32,
    incarnation: i32,
    ends: i64,
    begins: i64,
    differing: i64,
}

impl ChainRow {
    fn finding(self) -> Finding {
        let Self { stream, partition, incarnation, ends, begins, .. } = self;
        Finding::Chain { stream, partition, incarnation, ends, begins }
    }
}

#[derive(FromRow)]
struct ProgressRow {
    stream: String,
    partition: i32,
    ledger: i64,
    next_offset: i64,
    differing: i64,
}

impl ProgressRow {
    fn finding(self) -> Finding {
        let Self { stream, partition, ledger, next_offset, .. } = self;
        Finding::Progress { stream, partition, ledger, next_offset }
    }
}

#[derive(FromRow)]
struct HourRow {
    hour: DateTime<Utc>,
    batches: String,
    hours: String,
    differing: i64,
}

#[derive(FromRow)]
struct UnreadRow {
    stream: String,
    partition: i32,
    incarnation: i32,
    first_offset: i64,
    next_offset: i64,
    noted_at: DateTime<Utc>,
    differing: i64,
}

impl UnreadRow {
    fn finding(self) -> Finding {
        let Self { stream, partition, incarnation, first_offset, next_offset, noted_at, .. } = self;
        Finding::Unread { stream, partition, incarnation, first_offset, next_offset, noted_at }
    }
}
