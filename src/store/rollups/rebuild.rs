//! Rebuilding the rollups of a day from raw events, so that what is pending is not counted twice.
//!
//! Merges are held off by a lock. In one snapshot, pending aggregates lose what they would add to the day, since their raw
//! events are counted, and the day's rollups become what raw events make. Batches that are committed meanwhile are in
//! neither: their aggregates are merged afterwards.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    merge::ROLLUP_LOCK,
    recount::{self, Pending, Rebuilt, Span},
    unit::Unit,
};
use crate::{
    domain::{revision::Reason, rollup},
    store::{
        StoreError,
        attribution::{self, ATTRIBUTION_LOCK},
        packed::PackedRows,
        transaction::in_snapshot,
    },
};

/// SQLSTATE of a transaction that met another's change.
const SERIALIZATION_FAILURE: &str = "40001";
/// How often a day is tried that met another's change. Only erasing and purging change rollups beside merges, and they
/// take turns with this.
const ATTEMPTS: u32 = 5;

/// Rebuilds a UTC day, of one org or of all. With a reason, final hours that change are noted as revisions. The connection is [prepared](recount::prepare) and has its turn.
pub async fn day(
    conn: &mut PgConnection,
    start: DateTime<Utc>,
    org_id: Option<Uuid>,
    reason: Option<Reason>,
    late_after: TimeDelta,
) -> Result<Rebuilt, StoreError> {
    while_nothing_is_merged(conn, async |tx| count_again(tx, start, org_id, reason, late_after).await).await
}

/// Does work in one snapshot while nothing is merged or folded, all of it or nothing; again from the start where it met another's
/// change.
pub async fn while_nothing_is_merged<T>(
    conn: &mut PgConnection,
    mut work: impl AsyncFnMut(&mut PgConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // Of what waits every row is read.
    attribution::unreadable::replace_all(conn).await?;
    // Before the snapshot: what a merge under way adds must be in it. Merges wait last, and for the shortest time.
    for lock in [ATTRIBUTION_LOCK, ROLLUP_LOCK] {
        sqlx::query("SELECT pg_advisory_lock($1)").bind(lock).execute(&mut *conn).await?;
    }
    let mut attempt = 1;
    let done = loop {
        match in_snapshot(conn, &mut work).await {
            Err(error) if attempt < ATTEMPTS && met_another(&error) => attempt += 1,
            tried => break tried,
        }
    };
    sqlx::query("SELECT pg_advisory_unlock($1), pg_advisory_unlock($2)")
        .bind(ROLLUP_LOCK)
        .bind(ATTRIBUTION_LOCK)
        .execute(&mut *conn)
        .await?;
    done
}

fn met_another(error: &StoreError) -> bool {
    error.sqlstate().is_some_and(|code| code == SERIALIZATION_FAILURE)
}

/// Makes the rollups of a UTC day, and its attribution, what its raw events make, [while nothing is merged](while_nothing_is_merged).
pub async fn count_again(
    tx: &mut PgConnection,
    start: DateTime<Utc>,
    org_id: Option<Uuid>,
    reason: Option<Reason>,
    late_after: TimeDelta,
) -> Result<Rebuilt, StoreError> {
    let span = Span::of(&mut *tx, start, org_id).await?;
    neutralise(&mut *tx, &span).await?;
    of_both(tx, "SELECT analytics.recall_rollups($1, $2, $3, $4)", &span).await?;
    recount::count(&mut *tx, &span, Pending::Counted).await?;
    // An hour that was final for any org is closed for all: a revision too many says nothing that is not so.
    let known_to: Option<DateTime<Utc>> =
        sqlx::query_scalar("SELECT max(greatest(watermark, told_to)) FROM analytics.partition_watermarks")
            .fetch_one(&mut *tx)
            .await?;
    let rebuilt = recount::put(&mut *tx, &span, reason.zip(known_to), late_after).await?;
    of_both(tx, "SELECT analytics.settle_rollups($1, $2, $3, $4)", &span).await?;
    // Also what stays as it is: raw events may have changed that rollups did not have, and sums may be wrong.
    sqlx::query("SELECT analytics.mark_hours($1, $2, $3)")
        .bind(span.start)
        .bind(span.end())
        .bind(span.org_id)
        .execute(&mut *tx)
        .await?;
    attribution::recount::all_sets(tx, &span).await?;
    Ok(rebuilt)
}

/// Calls a function of what is materialised for the hours and the days of the span: it is put into the tables, where it is made
/// what raw events make, and what is the same as before goes again. Nothing where there are no aggregates.
async fn of_both(tx: &mut PgConnection, function: &'static str, span: &Span) -> Result<(), StoreError> {
    for unit in Unit::ALL {
        sqlx::query(function)
            .bind(unit.as_str())
            .bind(span.start)
            .bind(span.end())
            .bind(span.org_id)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Takes out of pending aggregates what they would add to the span.
async fn neutralise(tx: &mut PgConnection, span: &Span) -> Result<(), StoreError> {
    let hours = rollup::hour_of(span.start)..rollup::hour_of(span.end());
    let is_counted = |key: &rollup::Key| {
        hours.contains(&key.bucket)
            && span.org_id.is_none_or(|org_id| org_id == key.org_id)
            && !span.left_out.contains(&key.org_id)
    };
    change_pending(tx, |pending| pending.neutralise(is_counted)).await
}

/// Changes the aggregates that wait to be merged: each row for which `change` says that it did. Unless merges are held off,
/// `change` must not.
pub async fn change_pending(
    tx: &mut PgConnection,
    change: impl FnMut(&mut rollup::Pending) -> bool,
) -> Result<(), StoreError> {
    PackedRows { table: "rollup_pending", column: "aggregates", only: "true" }.change(tx, change).await
}
