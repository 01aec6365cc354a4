//! What the database holds, counted by plain SQL of the tests' own, to be compared with what was published.

use std::collections::{BTreeMap, BTreeSet};

use analytics_service::domain::labelled::Labelled;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr};
use uuid::Uuid;

use super::{attribution::wrongly_attributed, eventually};

/// Invocations, input tokens, output tokens and cost of one org.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    pub invocations: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cost: Decimal,
}

/// The ledger's sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerSums {
    pub received: i64,
    pub stored: i64,
    pub duplicates: i64,
    pub conflicts: i64,
    pub rejected: i64,
    pub late: i64,
}

impl Totals {
    /// By org, as a publisher's report has them.
    pub fn published(report: &Value) -> BTreeMap<Uuid, Self> {
        let orgs = report["orgs"].as_array().unwrap();
        let of = |org: &Value| {
            let totals = &org["totals"];
            let int = |name: &str| totals[name].as_i64().unwrap();
            Self {
                invocations: int("invocations"),
                input_tokens: int("inputTokens"),
                output_tokens: int("outputTokens"),
                cost: decimal(&totals["costEstimateCents"]),
            }
        };
        let by_org = orgs.iter().map(|org| (org["orgId"].as_str().unwrap().parse().unwrap(), of(org)));
        by_org.filter(|(_, totals)| totals.invocations > 0).collect()
    }

    pub async fn raw(conn: &mut PgConnection) -> BTreeMap<Uuid, Self> {
        Self::read(
            conn,
            "SELECT org_id, count(*), sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cost_cents)
             FROM analytics.usage_events GROUP BY org_id",
        )
        .await
    }

    /// Of `hourly_rollups` or `daily_rollups`.
    pub async fn rolled_up(conn: &mut PgConnection, table: &str) -> BTreeMap<Uuid, Self> {
        let statement = format!(
            "SELECT org_id, sum(successes + errors + timeouts + throttled)::bigint, sum(input_tokens)::bigint,
                    sum(output_tokens)::bigint, sum(cost_cents)
             FROM analytics.{table} GROUP BY org_id"
        );
        Self::read(conn, AssertSqlSafe(statement)).await
    }

    /// By a statement that gives org, events, tokens in and out, and cost.
    pub async fn read(conn: &mut PgConnection, statement: impl SqlSafeStr) -> BTreeMap<Uuid, Self> {
        let rows: Vec<(Uuid, i64, i64, i64, Decimal)> = sqlx::query_as(statement).fetch_all(conn).await.unwrap();
        let totals = |(org, invocations, input_tokens, output_tokens, cost)| {
            (org, Self { invocations, input_tokens, output_tokens, cost })
        };
        rows.into_iter().map(totals).collect()
    }
}

impl LedgerSums {
    /// Rows of kind repair are no part of it: what they record is counted where it was counted first.
    pub async fn of_batches(conn: &mut PgConnection) -> Self {
        Self::read(
            conn,
            "SELECT sum(received)::bigint, sum(stored)::bigint, sum(duplicates)::bigint, sum(conflicts)::bigint,
                    sum(rejected)::bigint, sum(late)::bigint FROM analytics.ingestion_batches
             WHERE kind <> 'repair'",
        )
        .await
    }

    pub async fn of_hours(conn: &mut PgConnection) -> Self {
        Self::read(
            conn,
            "SELECT sum(received)::bigint, sum(stored)::bigint, sum(duplicates)::bigint, sum(conflicts)::bigint,
                    sum(rejected)::bigint, sum(late)::bigint FROM analytics.ledger_hourly",
        )
        .await
    }

    async fn read(conn: &mut PgConnection, statement: &'static str) -> Self {
        type Row = (Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);
        let row: Row = sqlx::query_as(statement).fetch_one(conn).await.unwrap();
        let n = Option::unwrap_or_default;
        Self {
            received: n(row.0),
            stored: n(row.1),
            duplicates: n(row.2),
            conflicts: n(row.3),
            rejected: n(row.4),
            late: n(row.5),
        }
    }
}

/// The number that a statement gives.
pub async fn number(conn: &mut PgConnection, statement: impl SqlSafeStr) -> i64 {
    sqlx::query_scalar(statement).fetch_one(conn).await.unwrap()
}

/// Holes in the chain of ledger rows: each must start where the last of its partition and incarnation ended, the first
/// at 0.
pub async fn ledger_holes(conn: &mut PgConnection) -> i64 {
    number(
        conn,
        "SELECT count(*) FROM (
             SELECT first_offset, lag(next_offset, 1, 0::bigint) OVER (
                 PARTITION BY stream, incarnation, partition ORDER BY first_offset) AS expected
             FROM analytics.ingestion_batches WHERE kind IN ('live', 'gap', 'unread', 'fold')) AS chain
         WHERE first_offset <> expected",
    )
    .await
}

/// Batches of which not exactly those events are there that the ledger says: stored and not purged.
pub async fn raw_imbalance(conn: &mut PgConnection) -> i64 {
    number(
        conn,
        "SELECT count(*) FROM analytics.ingestion_batches b
         FULL JOIN (SELECT batch_id, count(*) AS events FROM analytics.usage_events GROUP BY batch_id) r USING (batch_id)
         WHERE coalesce(r.events, 0) <> b.stored - b.purged OR (b.batch_id IS NULL)",
    )
    .await
}

/// Keys that are stored more than once although they lie within a day of each other.
pub async fn double_counted(conn: &mut PgConnection) -> i64 {
    number(
        conn,
        "SELECT count(*) FROM (
             SELECT occurred_at - lag(occurred_at) OVER (PARTITION BY org_id, event_id ORDER BY occurred_at) AS apart
             FROM analytics.usage_events) AS keys
         WHERE apart <= INTERVAL '24 hours'",
    )
    .await
}

/// Raw events, and both kinds of rollups, are these.
pub async fn assert_totals(conn: &mut PgConnection, expected: &BTreeMap<Uuid, Totals>) {
    assert_eq!(Totals::raw(conn).await, *expected, "raw events");
    assert_eq!(Totals::rolled_up(conn, "hourly_rollups").await, *expected, "hourly rollups");
    assert_eq!(Totals::rolled_up(conn, "daily_rollups").await, *expected, "daily rollups");
}

/// Messages that a publisher's report says are in the stream.
pub fn sent(report: &Value) -> i64 {
    report["sent"].as_i64().unwrap() + report["resent"].as_i64().unwrap()
}

/// Waits until that many messages are in the ledger and nothing is left to merge, as long as it goes on: a busy machine is slow.
/// What it saw is in a failed test's output.
pub async fn settled(conn: &mut PgConnection, messages: i64) {
    let mut seen = (-1, -1);
    while seen.0 < messages || seen.1 != 0 {
        seen = eventually("more is received and merged", async || {
            let received = LedgerSums::of_batches(conn).await.received;
            let pending = number(&mut *conn, "SELECT count(*) FROM analytics.rollup_pending").await;
            ((received, pending) != seen).then_some((received, pending))
        })
        .await;
        eprintln!("{} of {messages} messages received, {} rows to merge", seen.0, seen.1);
    }
}

/// A number of a report to its last digit.
pub fn decimal(number: &Value) -> Decimal {
    number.to_string().parse().unwrap()
}

/// The whole truth about a run: raw events, rollups and ledger are what the publisher says.
pub async fn assert_exact(conn: &mut PgConnection, report: &Value) -> LedgerSums {
    let batches = assert_stored(conn, report).await;
    assert_eq!(batches.received, sent(report), "every message is accounted for");
    assert_eq!(batches.rejected, report["invalid"].as_i64().unwrap());
    batches
}

/// What of it holds whatever became of the copies that a publisher sent when its connection was lost: they may have
/// reached the stream or not.
pub async fn assert_stored(conn: &mut PgConnection, report: &Value) -> LedgerSums {
    assert_totals(conn, &Totals::published(report)).await;
    let batches = LedgerSums::of_batches(conn).await;
    assert_eq!(batches, LedgerSums::of_hours(conn).await, "the ledger's hours are the sum of its batches");
    assert_eq!(batches.received, batches.stored + batches.duplicates + batches.rejected);
    let count = |name: &str| report[name].as_i64().unwrap();
    assert_eq!(batches.stored, count("events"));
    assert_eq!(batches.late, count("late"));
    assert_eq!(ledger_holes(conn).await, 0, "the ledger is a chain");
    assert_eq!(double_counted(conn).await, 0, "nothing is counted twice");
    batches
}

/// What holds in every database whatever happened to it: raw events that are merged are what the rollups have. The first hours in
/// which they are not. Rollups outlive raw events that were purged.
const UNEQUAL: &str = "
    WITH raw AS (
        SELECT org_id, model_id, date_trunc('hour', occurred_at, 'UTC') AS hour, count(*) AS invocations,
               sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost_cents) AS cost_cents
        FROM analytics.usage_events e
        WHERE NOT EXISTS (SELECT FROM analytics.rollup_pending p WHERE p.batch_id = e.batch_id)
        GROUP BY 1, 2, 3),
    kept AS (
        SELECT org_id, model_id, bucket_start AS hour, successes + errors + timeouts + throttled AS invocations,
               input_tokens, output_tokens, cost_cents
        FROM (TABLE analytics.hourly_rollups UNION ALL TABLE analytics.hourly_materialised) AS both_places
        WHERE successes + errors + timeouts + throttled > 0)
    SELECT format('%s %s %s: raw %s, rolled up %s', org_id, model_id, hour,
                  (raw.invocations, raw.input_tokens, raw.output_tokens, raw.cost_cents),
                  (kept.invocations, kept.input_tokens, kept.output_tokens, kept.cost_cents))
    FROM raw FULL JOIN kept USING (org_id, model_id, hour)
    WHERE (raw.invocations, raw.input_tokens, raw.output_tokens, raw.cost_cents)
          IS DISTINCT FROM (kept.invocations, kept.input_tokens, kept.output_tokens, kept.cost_cents)
      AND (raw.hour IS NOT NULL OR NOT EXISTS (SELECT FROM analytics.ingestion_batches WHERE purged > 0))
    ORDER BY 1 LIMIT 3";

/// Hours over all models that are not marked as changed, and are not the sums of their rollups.
const WRONGLY_SUMMED: &str = "
    WITH kept AS (
        SELECT org_id, bucket_start, sum(successes) AS successes, sum(errors) AS errors, sum(timeouts) AS timeouts,
               sum(throttled) AS throttled, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
               sum(cost_cents) AS cost_cents
        FROM analytics.org_hours_summed s JOIN analytics.hourly_usage u ON u.bucket_start >= s.summed_from AND u.bucket_start < s.summed_to
        GROUP BY 1, 2)
    SELECT format('%s %s: rolled up %s, summed %s', org_id, bucket_start, kept.successes, o.successes)
    FROM analytics.org_hours o FULL JOIN kept USING (org_id, bucket_start)
    WHERE o.changed IS NOT TRUE
      AND (o.successes, o.errors, o.timeouts, o.throttled, o.input_tokens, o.output_tokens, o.cost_cents)
          IS DISTINCT FROM (kept.successes, kept.errors, kept.timeouts, kept.throttled, kept.input_tokens, kept.output_tokens,
                            kept.cost_cents)
    ORDER BY 1 LIMIT 3";

/// Hours by client and by error code that are not marked as changed, and are not what raw events make that are merged: counted by
/// org, hour and label.
async fn wrongly_summed_by_label(conn: &mut PgConnection) -> Vec<String> {
    type Key = (Uuid, DateTime<Utc>, Option<String>);
    let mut wrong = Vec::new();
    for (column, label) in [("clients", "client_id"), ("error_codes", "error_code")] {
        let packed = format!(
            "SELECT org_id, bucket_start, {column} FROM analytics.org_hours_by o JOIN analytics.org_hours_by_summed s
             ON o.bucket_start >= s.summed_from AND o.bucket_start < s.summed_to WHERE {column} IS NOT NULL"
        );
        let packed: Vec<(Uuid, DateTime<Utc>, Vec<u8>)> =
            sqlx::query_as(AssertSqlSafe(packed)).fetch_all(&mut *conn).await.unwrap();
        let mut summed: BTreeMap<Key, [i64; 4]> = BTreeMap::new();
        for (org, hour, packed) in packed {
            let mut labels = Labelled::default();
            labels.add_packed(hour, &packed).unwrap();
            for (hour, label, outcomes) in labels.into_points() {
                assert_eq!(outcomes.latency.count(), outcomes.invocations());
                summed.insert((org, hour, label), outcomes.by_status.map(|count| i64::try_from(count).unwrap()));
            }
        }
        // But for hours that are read from raw events.
        let counted = format!(
            "SELECT e.org_id, date_trunc('hour', e.occurred_at, 'UTC') AS hour, e.{label},
                    count(*) FILTER (WHERE status = 'success'), count(*) FILTER (WHERE status = 'error'),
                    count(*) FILTER (WHERE status = 'timeout'), count(*) FILTER (WHERE status = 'throttled')
             FROM analytics.usage_events e JOIN analytics.org_hours_by_summed s
                  ON e.occurred_at >= s.summed_from AND e.occurred_at < s.summed_to
             WHERE NOT EXISTS (SELECT FROM analytics.rollup_pending p WHERE p.batch_id = e.batch_id)
               AND NOT EXISTS (SELECT FROM analytics.org_hours_by o
                               WHERE o.org_id = e.org_id AND o.bucket_start = date_trunc('hour', e.occurred_at, 'UTC') AND {column} IS NULL)
               AND e.occurred_at >= coalesce(analytics.floor_of(e.org_id, 'raw'), '-infinity')
             GROUP BY 1, 2, 3"
        );
        type Counted = (Uuid, DateTime<Utc>, Option<String>, i64, i64, i64, i64);
        let counted: Vec<Counted> = sqlx::query_as(AssertSqlSafe(counted)).fetch_all(&mut *conn).await.unwrap();
        let counted: BTreeMap<Key, [i64; 4]> =
            counted.into_iter().map(|(org, hour, label, a, b, c, d)| ((org, hour, label), [a, b, c, d])).collect();
        let all: BTreeSet<&Key> = summed.keys().chain(counted.keys()).collect();
        let differing = all.into_iter().filter(|key| summed.get(*key) != counted.get(*key)).take(3);
        wrong.extend(
            differing.map(|key| format!("{key:?}: {column} {:?}, raw {:?}", summed.get(key), counted.get(key))),
        );
    }
    wrong
}

/// What must not be in any database, whatever was done to the service: holes in the ledger, events that are stored twice, rollups
/// and attribution that are not what raw events add up to. In one snapshot: what a process was killed at may be committed after its
/// end.
pub async fn contradictions(conn: &mut PgConnection) -> Vec<String> {
    sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *conn).await.unwrap();
    let mut found: Vec<String> = sqlx::query_scalar(UNEQUAL).fetch_all(&mut *conn).await.unwrap();
    if has_table(conn, "analytics.org_hours").await {
        found.extend(sqlx::query_scalar::<_, String>(WRONGLY_SUMMED).fetch_all(&mut *conn).await.unwrap());
    }
    if has_table(conn, "analytics.org_hours_by").await {
        found.extend(wrongly_summed_by_label(conn).await);
    }
    if has_table(conn, "analytics.attribution_sets").await {
        found.extend(wrongly_attributed(conn).await);
    }
    for (what, many) in
        [("holes in the ledger", ledger_holes(conn).await), ("stored twice", double_counted(conn).await)]
    {
        if many > 0 {
            found.push(format!("{what}: {many}"));
        }
    }
    sqlx::query("COMMIT").execute(conn).await.unwrap();
    found
}

async fn has_table(conn: &mut PgConnection, table: &str) -> bool {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(conn).await.unwrap()
}
