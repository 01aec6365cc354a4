//! Counting raw events again: what the rollups of a day have to be, to be compared with what they are or put in its place.
//!
//! A day at a time, in one snapshot, kept in temporary tables until the transaction ends.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, postgres::PgArguments};
use uuid::Uuid;

use super::unit::Unit;
use crate::{
    domain::{
        histogram::Sum,
        query::Usage,
        revision::Reason,
        rollup::{Key, Measures, day_of_hour, first_open_hour, hour_of, hour_start},
    },
    store::{StoreError, amount::Amount, bound::bound, clock, columns::Columns, read::latency_bounds},
};

/// Rows that are read or kept by one statement.
const AT_ONCE: usize = 2000;

/// A UTC day, of one org or of all.
#[derive(Clone, Debug)]
pub struct Span {
    pub start: DateTime<Utc>,
    pub org_id: Option<Uuid>,
    /// Orgs whose raw events or rollups of the day were purged: neither can be held against the other.
    pub left_out: Vec<Uuid>,
}

impl Span {
    /// Orgs for which the day cannot be counted again.
    pub async fn of(conn: &mut PgConnection, start: DateTime<Utc>, org_id: Option<Uuid>) -> Result<Self, StoreError> {
        let left_out = sqlx::query_scalar(include_str!("sql/recount_left_out.sql")).bind(start).fetch_all(conn).await?;
        Ok(Self { start, org_id, left_out })
    }

    pub fn end(&self) -> DateTime<Utc> {
        self.start + TimeDelta::days(1)
    }

    fn arguments(&self) -> sqlx::Result<PgArguments> {
        SpanRow { start: self.start, end: self.end(), org_id: self.org_id, left_out: &self.left_out }.arguments()
    }
}

bound! {
    /// What statements about a span begin with.
    struct SpanRow<'a> {
        start: DateTime<Utc>, end: DateTime<Utc>, org_id: Option<Uuid>, left_out: &'a [Uuid],
    }
}

/// Whether events count whose batches are not merged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    Counted,
    LeftOut,
}

/// A rollup that is not what its raw events make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub unit: Unit,
    pub org_id: Uuid,
    pub bucket_start: DateTime<Utc>,
    pub model_id: Uuid,
    pub rollup: Usage,
    pub raw: Usage,
    /// The columns that differ; where one side has no row, all of them.
    pub columns: Vec<String>,
    /// As the rollup has it, and as raw events make it: none where there is no row.
    pub last_event_at: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
}

/// What a rebuild changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    pub put: u64,
    pub removed: u64,
    pub revisions: u64,
}

/// Makes the connection ready to count. Not within a transaction.
pub async fn prepare(conn: &mut PgConnection) -> Result<(), StoreError> {
    for unit in Unit::ALL {
        sqlx::query(unit.statement(
            "CREATE TEMP TABLE IF NOT EXISTS recounted_{unit} ON COMMIT DELETE ROWS AS
             SELECT org_id, bucket_start, model_id, {measures} FROM analytics.{unit}_rollups WITH NO DATA",
        ))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// From when on all raw events are there; none where none were purged.
pub async fn raw_from(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    let statement = "SELECT raw_from FROM analytics.raw_horizons WHERE org_id IS NULL";
    Ok(sqlx::query_scalar(statement).fetch_optional(conn).await?)
}

/// Counts the span. Within a transaction of one snapshot. Gives the number of raw events.
pub async fn count(tx: &mut PgConnection, span: &Span, pending: Pending) -> Result<u64, StoreError> {
    // All of it is read: no plan that is quick for the first rows only.
    sqlx::query("SET LOCAL cursor_tuple_fraction = 1").execute(&mut *tx).await?;
    sqlx::query_with(include_str!("sql/recount.sql"), span.arguments()?)
        .bind(pending == Pending::Counted)
        .bind(latency_bounds())
        .execute(&mut *tx)
        .await?;
    let mut events = 0;
    let mut days: BTreeMap<Key, Measures> = BTreeMap::new();
    let fetch = format!("FETCH {AT_ONCE} FROM recounted");
    loop {
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(fetch.as_str())).fetch_all(&mut *tx).await?;
        let more = rows.len() == AT_ONCE;
        let mut hours = Vec::with_capacity(rows.len());
        for row in rows {
            let (key, measures) = row.measures()?;
            events += measures.invocations();
            // Rows come org by org: what an org before has is complete.
            if days.last_key_value().is_some_and(|(last, _)| last.org_id != key.org_id) && days.len() >= AT_ONCE {
                keep(&mut *tx, Unit::Daily, std::mem::take(&mut days)).await?;
            }
            days.entry(Key { bucket: day_of_hour(key.bucket), ..key }).or_default().merge(&measures);
            hours.push((key, measures));
        }
        keep(&mut *tx, Unit::Hourly, hours).await?;
        if !more {
            break;
        }
    }
    keep(&mut *tx, Unit::Daily, days).await?;
    sqlx::query("CLOSE recounted").execute(&mut *tx).await?;
    for unit in Unit::ALL {
        sqlx::query(unit.statement("ANALYZE pg_temp.recounted_{unit}")).execute(&mut *tx).await?;
    }
    Ok(events)
}

async fn keep(
    tx: &mut PgConnection,
    unit: Unit,
    rows: impl IntoIterator<Item = (Key, Measures)>,
) -> Result<(), StoreError> {
    let mut columns = Columns::default();
    for (key, measures) in rows {
        columns.push(&key, unit.start_of(key.bucket), &measures, measures.latency.pack())?;
    }
    if columns.len() > 0 {
        let keep = unit.statement(include_str!("sql/recount_keep.sql"));
        sqlx::query_with(keep, columns.arguments()?).execute(tx).await?;
    }
    Ok(())
}

/// The first differences between what was counted and the rollups, and how many there are.
pub async fn differences(
    tx: &mut PgConnection,
    span: &Span,
    unit: Unit,
    most: i64,
) -> Result<(Vec<Difference>, u64), StoreError> {
    let statement = unit.statement(include_str!("sql/recount_differences.sql"));
    let rows: Vec<DifferenceRow> = sqlx::query_as_with(statement, span.arguments()?).bind(most).fetch_all(tx).await?;
    let found = rows.first().map_or(0, |row| unsigned(row.differing));
    let rows = rows.into_iter().map(|row| row.difference(unit)).collect::<Result<_, _>>()?;
    Ok((rows, found))
}

/// Puts what was counted in the place of the rollups, and notes for what reason hours changed that were final: those that
/// ended so long before a moment up to which everything is known.
pub async fn put(
    tx: &mut PgConnection,
    span: &Span,
    revise: Option<(Reason, DateTime<Utc>)>,
    late_after: TimeDelta,
) -> Result<Rebuilt, StoreError> {
    let now = clock::now(tx).await?;
    let mut rebuilt = Rebuilt::default();
    if let Some((reason, known_to)) = revise {
        let revised = sqlx::query_with(include_str!("sql/rebuild_revise.sql"), span.arguments()?)
            .bind(reason.as_str())
            .bind(hour_start(first_open_hour(known_to, late_after)))
            .bind(now)
            .execute(&mut *tx)
            .await?;
        rebuilt.revisions = revised.rows_affected();
    }
    for unit in Unit::ALL {
        let remove = unit.statement(include_str!("sql/rebuild_remove.sql"));
        let removed = sqlx::query_with(remove, span.arguments()?).execute(&mut *tx).await?;
        let put = sqlx::query(unit.statement(include_str!("sql/rebuild_put.sql"))).bind(now).execute(&mut *tx).await?;
        rebuilt.removed += removed.rows_affected();
        rebuilt.put += put.rows_affected();
    }
    Ok(rebuilt)
}

#[derive(FromRow)]
struct Row {
    org_id: Uuid,
    bucket_start: DateTime<Utc>,
    model_id: Uuid,
    successes: i64,
    errors: i64,
    timeouts: i64,
    throttled: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_cents: Amount,
    latency_sum: i64,
    latency_min: i32,
    latency_max: i32,
    last_event_at: DateTime<Utc>,
    latency_buckets: Vec<i32>,
    latency_counts: Vec<i64>,
}

impl Row {
    fn measures(self) -> Result<(Key, Measures), StoreError> {
        let key = Key { org_id: self.org_id, bucket: hour_of(self.bucket_start), model_id: self.model_id };
        let mut latency = Sum::default();
        for (bucket, count) in self.latency_buckets.iter().zip(&self.latency_counts) {
            latency.add(usize::try_from(*bucket).unwrap_or_default(), unsigned(*count));
        }
        let measures = Measures {
            by_status: [self.successes, self.errors, self.timeouts, self.throttled].map(unsigned),
            input_tokens: unsigned(self.input_tokens),
            output_tokens: unsigned(self.output_tokens),
            cost: self.cost_cents.0,
            latency_sum: unsigned(self.latency_sum),
            latency_min: self.latency_min.unsigned_abs(),
            latency_max: self.latency_max.unsigned_abs(),
            latency: latency.histogram(),
            last_event_at: self.last_event_at.timestamp_micros(),
        };
        Ok((key, measures))
    }
}

#[derive(FromRow)]
struct DifferenceRow {
    org_id: Uuid,
    bucket_start: DateTime<Utc>,
    model_id: Uuid,
    kept_invocations: i64,
    kept_input_tokens: i64,
    kept_output_tokens: i64,
    kept_cost_cents: Amount,
    raw_invocations: i64,
    raw_input_tokens: i64,
    raw_output_tokens: i64,
    raw_cost_cents: Amount,
    columns: Vec<String>,
    kept_last_event_at: Option<DateTime<Utc>>,
    raw_last_event_at: Option<DateTime<Utc>>,
    differing: i64,
}

impl DifferenceRow {
    fn difference(self, unit: Unit) -> Result<Difference, StoreError> {
        Ok(Difference {
            unit,
            org_id: self.org_id,
            bucket_start: self.bucket_start,
            model_id: self.model_id,
            rollup: Usage {
                invocations: unsigned(self.kept_invocations),
                input_tokens: unsigned(self.kept_input_tokens),
                output_tokens: unsigned(self.kept_output_tokens),
                cost: self.kept_cost_cents.0,
            },
            raw: Usage {
                invocations: unsigned(self.raw_invocations),
                input_tokens: unsigned(self.raw_input_tokens),
                output_tokens: unsigned(self.raw_output_tokens),
                cost: self.raw_cost_cents.0,
            },
            columns: self.columns,
            last_event_at: (self.kept_last_event_at, self.raw_last_event_at),
        })
    }
}

/// A count that cannot be negative; one that was changed by hand to be counts as none, and differs.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
