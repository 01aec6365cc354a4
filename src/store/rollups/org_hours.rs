//! Hours of orgs over all models: summed when they are over, so that a query without models reads one row an hour.
//!
//! They are exact at any moment. Whoever changes a rollup marks its hour in the same transaction, by triggers; what is marked is
//! read from the rollups, and summed again at the next run. An hour that lies between `summed_from` and `summed_to` and has
//! no row has no rollups either. See docs/internals/rollups.md.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use super::{merge::hold_off, step_of_hours::StepOfHours};
use crate::{
    domain::histogram::Sum,
    store::{OnStep, StoreError, amount::Amount, bound::bound, clock, transaction::in_transaction},
};

/// How long before now hours are summed: what can be requested by the hour, and room for a process that learnt of it earlier.
const KEPT: TimeDelta = TimeDelta::days(92);
/// Rollups that are read at a time where hours have few: merges wait meanwhile, for some tenths of a second at the most.
const STEP: StepOfHours = StepOfHours { table: "hourly_usage", at: "bucket_start", few: 20_000 };
/// Changed hours that are summed again at a time.
const CHANGED: i64 = 500;
/// How many times the changed ones that were there at the beginning are gone through, while others change.
const ROUNDS: usize = 2;

const READ: &str = include_str!("sql/org_hours_read.sql");
const WHOLE_HOURS: &str = "analytics.hourly_usage AS u WHERE u.bucket_start >= $1 AND u.bucket_start < $2";
/// A part for each hour, so that each reads its own chunk alone where rollups are materialised.
const SINGLE_HOURS: &str = "unnest($1::uuid[], $2::timestamptz[]) AS k (org_id, bucket_start) CROSS JOIN LATERAL (
    SELECT * FROM analytics.hourly_usage AS h WHERE h.org_id = k.org_id AND h.bucket_start = k.bucket_start OFFSET 0) AS u";

/// The statement that sums whole hours over models: of $1 to $2 (exclusive), of one org $3 (null: all), without the orgs $4.
pub(super) fn sums_of_orgs() -> String {
    let hours = format!("{WHOLE_HOURS} AND ($3::uuid IS NULL OR u.org_id = $3) AND u.org_id <> ALL ($4::uuid[])");
    READ.replace("{hours}", &hours)
}

/// Sums what is over, but for the last hours in which events are still usual, and what has changed. Returns how many hours of
/// orgs it were. Running it again does what is left.
///
/// # Errors
/// What was done before stays done.
pub async fn sum(conn: &mut PgConnection, late_after: TimeDelta, on_step: OnStep<'_>) -> Result<u64, StoreError> {
    let hour = |at: DateTime<Utc>| at.duration_trunc(TimeDelta::hours(1)).map_err(super::super::columns::overflow);
    let now = clock::now(conn).await?;
    let (from, to) = (hour(now - KEPT)?, hour(now - late_after)?);
    let mut summed_to = keep_from(conn, from).await?;
    let mut summed = 0;
    while summed_to < to {
        let (ends, hours) = sum_next(conn, summed_to, to).await?;
        summed_to = ends;
        summed += hours;
        on_step(&format!("hours of organisations are summed up to {}", ends.format("%Y-%m-%d %H:00")));
    }
    for _ in 0..ROUNDS {
        let mut last = None;
        while let Some((after, hours)) = sum_changed(conn, last).await? {
            last = Some(after);
            summed += hours;
            on_step("changed hours of organisations are summed again");
        }
    }
    Ok(summed)
}

/// Deletes what is older than what is kept; all of it where the clock went back, since nothing is left of the hours that are to be kept
/// again. Returns up to where hours are summed.
async fn keep_from(conn: &mut PgConnection, from: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
    let to = in_transaction::<_, StoreError>(conn, async |tx| {
        let to: DateTime<Utc> = sqlx::query_scalar(
            "UPDATE analytics.org_hours_summed SET
                 summed_from = $1, summed_to = CASE WHEN $1 < summed_from THEN $1 ELSE greatest(summed_to, $1) END
             RETURNING summed_to",
        )
        .bind(from)
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM analytics.org_hours WHERE bucket_start < $1 OR bucket_start >= $2")
            .bind(from)
            .bind(to)
            .execute(tx)
            .await?;
        Ok(to)
    })
    .await?;
    Ok(to)
}

/// Sums the next hours. Returns up to where, and how many hours of orgs it were.
async fn sum_next(
    conn: &mut PgConnection,
    starts: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<(DateTime<Utc>, u64), StoreError> {
    let ends = STEP.end(conn, starts, to).await?;
    let hours = in_transaction(conn, async |tx| {
        // What changes rollups later finds its hours here.
        hold_off(tx).await?;
        let rows = sqlx::query_as(AssertSqlSafe(READ.replace("{hours}", WHOLE_HOURS)));
        let rows: Vec<Row> = rows.bind(starts).bind(ends).fetch_all(&mut *tx).await?;
        let hours = put(tx, rows).await?;
        sqlx::query("UPDATE analytics.org_hours_summed SET summed_to = $1").bind(ends).execute(tx).await?;
        Ok::<_, StoreError>(hours)
    })
    .await?;
    Ok((ends, hours))
}

/// Sums some hours again that have changed, behind the last one. Returns the last one, and how many it were; none: there are no more.
async fn sum_changed(
    conn: &mut PgConnection,
    last: Option<(Uuid, DateTime<Utc>)>,
) -> Result<Option<((Uuid, DateTime<Utc>), u64)>, StoreError> {
    in_transaction(conn, async |tx| {
        // What changes rollups later finds its hours here.
        hold_off(tx).await?;
        let keys: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
            "SELECT org_id, bucket_start FROM analytics.org_hours
             WHERE changed AND ($1::uuid IS NULL OR (org_id, bucket_start) > ($1, $2))
             ORDER BY org_id, bucket_start LIMIT $3",
        )
        .bind(last.map(|last| last.0))
        .bind(last.map(|last| last.1))
        .bind(CHANGED)
        .fetch_all(&mut *tx)
        .await?;
        let Some(last) = keys.last().copied() else { return Ok(None) };
        let (orgs, starts): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        // Of which nothing is left they have no row.
        sqlx::query(
            "DELETE FROM analytics.org_hours o USING unnest($1::uuid[], $2::timestamptz[]) AS k (org_id, bucket_start)
             WHERE o.org_id = k.org_id AND o.bucket_start = k.bucket_start",
        )
        .bind(&orgs)
        .bind(&starts)
        .execute(&mut *tx)
        .await?;
        let rows = sqlx::query_as(AssertSqlSafe(READ.replace("{hours}", SINGLE_HOURS)));
        let rows: Vec<Row> = rows.bind(&orgs).bind(&starts).fetch_all(&mut *tx).await?;
        Ok(Some((last, put(tx, rows).await?)))
    })
    .await
}

#[derive(FromRow)]
struct Row {
    org_id: Uuid,
    bucket_start: DateTime<Utc>,
    successes: i64,
    errors: i64,
    timeouts: i64,
    throttled: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_cents: Amount,
    packed: Option<Vec<u8>>,
    entries: Option<Vec<u8>>,
}

bound! {
    /// Of org_hours_put.sql.
    #[derive(Default)]
    struct OrgHours {
        orgs: Vec<Uuid>, starts: Vec<DateTime<Utc>>, successes: Vec<i64>, errors: Vec<i64>, timeouts: Vec<i64>,
        throttled: Vec<i64>, input_tokens: Vec<i64>, output_tokens: Vec<i64>, costs: Vec<Amount>,
        histograms: Vec<Vec<u8>>,
    }
}

async fn put(tx: &mut PgConnection, rows: Vec<Row>) -> Result<u64, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let mut columns = OrgHours::default();
    for row in rows {
        let mut latency = Sum::default();
        let read = latency.add_concatenated(row.packed.as_deref(), row.entries.as_deref());
        read.map_err(|error| StoreError::impossible(&error.to_string()))?;
        columns.orgs.push(row.org_id);
        columns.starts.push(row.bucket_start);
        columns.successes.push(row.successes);
        columns.errors.push(row.errors);
        columns.timeouts.push(row.timeouts);
        columns.throttled.push(row.throttled);
        columns.input_tokens.push(row.input_tokens);
        columns.output_tokens.push(row.output_tokens);
        columns.costs.push(row.cost_cents);
        columns.histograms.push(latency.histogram().pack());
    }
    let done = sqlx::query_with(include_str!("sql/org_hours_put.sql"), columns.arguments()?).execute(tx).await?;
    Ok(done.rows_affected())
}
