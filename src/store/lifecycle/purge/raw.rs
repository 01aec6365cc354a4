//! Raw events: everybody's oldest days as whole chunks, and the older events of orgs that keep theirs for a shorter time.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{ATTEMPTS, RawPurged, Run};
use crate::store::{OnStep, StoreError, lifecycle::chunks, patience::with_patience, transaction::in_transaction};

pub async fn purge(conn: &mut PgConnection, run: &Run<'_>, on_step: OnStep<'_>) -> Result<RawPurged, StoreError> {
    let mut purged = RawPurged { before: run.cutoffs.raw, ..RawPurged::default() };
    if run.dry_run {
        count_days(conn, run, &mut purged, on_step).await?;
    } else {
        while let Some(day) = take_day(conn, run.cutoffs.raw).await? {
            purged.chunks += 1;
            purged.events += day.events;
            purged.bytes += day.bytes;
            on_step(&format!("raw events of {} are gone", day.range_start.date_naive()));
        }
    }
    for org in &run.orgs {
        let Some(before) = run.retention.org_raw_cutoff(org, run.now) else { continue };
        let events = purge_org(conn, run, org.org_id, before, on_step).await?;
        purged.orgs += u64::from(events > 0);
        purged.org_events += events;
    }
    Ok(purged)
}

/// What `purge_raw_chunk` deleted.
#[derive(sqlx::FromRow)]
struct Day {
    range_start: DateTime<Utc>,
    events: i64,
    bytes: i64,
}

/// Deletes the oldest chunk that ended before that. `None`: there is none.
async fn take_day(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<Option<Day>, StoreError> {
    with_patience(ATTEMPTS, async || {
        let purge = sqlx::query_as("SELECT range_start, events, bytes FROM analytics.purge_raw_chunk($1)");
        Ok(purge.bind(before).fetch_optional(&mut *conn).await?)
    })
    .await
}

async fn count_days(
    conn: &mut PgConnection,
    run: &Run<'_>,
    purged: &mut RawPurged,
    on_step: OnStep<'_>,
) -> Result<(), StoreError> {
    for (start, end) in chunks::spans(conn, Some(run.cutoffs.raw)).await? {
        if end > run.cutoffs.raw {
            continue;
        }
        on_step(&format!("raw events of {} are counted", start.date_naive()));
        let (events, bytes): (i64, i64) = sqlx::query_as(include_str!("../sql/purge_count_day.sql"))
            .bind(start)
            .bind(end)
            .fetch_one(&mut *conn)
            .await?;
        purged.chunks += 1;
        purged.events += events;
        purged.bytes += bytes;
    }
    Ok(())
}

/// An org's events before that, a chunk a transaction: what goes, what the ledger says of it and the org's raw floor change
/// together.
async fn purge_org(
    conn: &mut PgConnection,
    run: &Run<'_>,
    org_id: Uuid,
    before: DateTime<Utc>,
    on_step: OnStep<'_>,
) -> Result<i64, StoreError> {
    let mut all = 0;
    for (start, end) in chunks::spans(conn, Some(before)).await? {
        on_step(&format!("raw events of org {org_id} of {}", start.date_naive()));
        // What everybody's retention takes is counted there.
        if run.dry_run && end <= run.cutoffs.raw {
            continue;
        }
        let statement = if run.dry_run {
            "SELECT count(*) FROM analytics.usage_events WHERE org_id = $1 AND occurred_at >= $2 AND occurred_at < $3"
        } else {
            include_str!("../sql/purge_org_day.sql")
        };
        all += in_transaction::<i64, StoreError>(conn, async |tx| {
            if !run.dry_run {
                // A compressed chunk is unpacked where something of it goes, however much that is.
                sqlx::query("SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
                    .execute(&mut *tx)
                    .await?;
                raise_floor(tx, org_id, before).await?;
            }
            Ok(sqlx::query_scalar(statement).bind(org_id).bind(start).bind(end.min(before)).fetch_one(tx).await?)
        })
        .await?;
    }
    Ok(all)
}

/// Says that an org's events before that are gone. All of it at once: what comes from before is refused from now on.
async fn raise_floor(conn: &mut PgConnection, org_id: Uuid, to: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO analytics.raw_horizons AS h (org_id, raw_from) VALUES ($1, $2)
         ON CONFLICT ON CONSTRAINT raw_horizons_key DO UPDATE SET raw_from = excluded.raw_from
         WHERE h.raw_from < excluded.raw_from",
    )
    .bind(org_id)
    .bind(to)
    .execute(conn)
    .await?;
    Ok(())
}
