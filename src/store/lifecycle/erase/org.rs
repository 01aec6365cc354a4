//! Erasing an org. What could bring something of it back goes first, then raw events without holding anybody up, then, in
//! one transaction while nothing is merged, what is made of them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Counts, Events, letters, letters_of, rows};
use crate::{
    domain::rollup::hour_start,
    store::{
        StoreError, attribution,
        lifecycle::chunks,
        rollups::{
            aggregates,
            rebuild::{change_pending, while_nothing_is_merged},
        },
        transaction::in_transaction,
    },
};

/// What there is of an org.
pub async fn count_org(conn: &mut PgConnection, org_id: Uuid) -> Result<Counts, StoreError> {
    let mut counts: Counts =
        sqlx::query_as(include_str!("../sql/erase_org_count.sql")).bind(org_id).fetch_one(&mut *conn).await?;
    counts.attribution = attribution::erase::count_org(&mut *conn, org_id).await?;
    counts.dead_letters = i64::try_from(letters_of(&mut *conn, Some(org_id), None).await?.len()).unwrap_or(i64::MAX);
    change_pending(conn, |pending| {
        let of_org = pending.hourly.iter().filter(|(key, _)| key.org_id == org_id).count();
        counts.pending_rollups += i64::try_from(of_org).unwrap_or(i64::MAX);
        false
    })
    .await?;
    Ok(counts)
}

/// API keys, settings, names, exports, and dead letters with their corrections: the ways by which more of the org could come.
pub async fn keys_and_letters(conn: &mut PgConnection, org_id: Uuid) -> Result<Counts, StoreError> {
    let ids = letters_of(&mut *conn, Some(org_id), None).await?;
    in_transaction(conn, async |tx| keys_and_letters_in(tx, org_id, &ids).await).await
}

async fn keys_and_letters_in(tx: &mut PgConnection, org_id: Uuid, ids: &[Uuid]) -> Result<Counts, StoreError> {
    let mut gone = Counts { dead_letters: letters(tx, ids).await?, ..Counts::default() };
    for (count, statement) in [
        (&mut gone.api_keys, "DELETE FROM analytics.api_keys WHERE org_id = $1"),
        (
            &mut gone.settings,
            "WITH buckets AS (DELETE FROM analytics.org_buckets WHERE org_id = $1 RETURNING 1),
                  settings AS (DELETE FROM analytics.org_settings WHERE org_id = $1 RETURNING 1)
             SELECT * FROM buckets UNION ALL SELECT * FROM settings",
        ),
        (&mut gone.names, "DELETE FROM analytics.names WHERE org_id = $1"),
        // A process that generates a file of the org finds at its next heartbeat that its job is gone.
        (&mut gone.exports, "DELETE FROM analytics.export_jobs WHERE org_id = $1"),
    ] {
        *count = rows(&sqlx::query(statement).bind(org_id).execute(&mut *tx).await?);
    }
    Ok(gone)
}

/// Raw events, a chunk in one transaction; storing and merging go on. How many it were.
pub async fn events_of_org(
    conn: &mut PgConnection,
    org_id: Uuid,
    mut on_piece: impl FnMut(DateTime<Utc>, i64),
) -> Result<i64, StoreError> {
    // Readers refuse what is about to go from here on, also where this is killed before its end.
    note(&mut *conn, org_id, None).await?;
    let mut gone = 0;
    for time in chunks::spans(conn, None).await? {
        let which = Events { org_id, actor_id: None, time: Some(time) };
        gone += in_transaction(conn, async |tx| super::events(tx, which).await).await?;
        on_piece(time.0, gone);
    }
    Ok(gone)
}

/// Raw events that came meanwhile, and all that is made of raw events. What is committed meanwhile is not touched: it is
/// in raw events and waits to be merged, or neither.
pub async fn rest_of_org(conn: &mut PgConnection, org_id: Uuid) -> Result<Counts, StoreError> {
    while_nothing_is_merged(conn, async |tx| {
        let raw_events = super::events(&mut *tx, Events { org_id, actor_id: None, time: None }).await?;
        let mut gone = Counts { raw_events, ..Counts::default() };
        let mut pending_to = None;
        change_pending(&mut *tx, |pending| {
            let before = pending.hourly.len();
            let of_org = pending.hourly.iter().filter(|(key, _)| key.org_id == org_id);
            pending_to = of_org.map(|(key, _)| hour_start(key.bucket.saturating_add(1))).max().max(pending_to);
            let changed = pending.forget(org_id);
            gone.pending_rollups += i64::try_from(before - pending.hourly.len()).unwrap_or(i64::MAX);
            changed
        })
        .await?;
        gone.attribution = attribution::erase::org_in(&mut *tx, org_id).await?;
        // From now on no markers of earlier merges are recorded.
        note(&mut *tx, org_id, pending_to).await?;
        for (count, statement) in [
            (&mut gone.hourly_rollups, "DELETE FROM analytics.hourly_rollups WHERE org_id = $1"),
            (&mut gone.daily_rollups, "DELETE FROM analytics.daily_rollups WHERE org_id = $1"),
            (&mut gone.revisions, "DELETE FROM analytics.rollup_revisions WHERE org_id = $1"),
            (&mut gone.duplicates, "DELETE FROM analytics.duplicates WHERE org_id = $1"),
        ] {
            *count = rows(&sqlx::query(statement).bind(org_id).execute(&mut *tx).await?);
        }
        let [hours, days] = aggregates::erase_org(&mut *tx, org_id).await?;
        gone.hourly_rollups += hours;
        gone.daily_rollups += days;
        sqlx::query("DELETE FROM analytics.misrouted_orgs WHERE org_id = $1").bind(org_id).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM analytics.retention_floors WHERE org_id = $1").bind(org_id).execute(&mut *tx).await?;
        Ok(gone)
    })
    .await
}

/// Notes that everything of an org up to now is erased, and what was pending up to a later moment.
async fn note(conn: &mut PgConnection, org_id: Uuid, pending_to: Option<DateTime<Utc>>) -> Result<(), StoreError> {
    sqlx::query(include_str!("../sql/erase_note.sql")).bind(org_id).bind(pending_to).execute(conn).await?;
    Ok(())
}

/// Freshness markers, after [the rest](rest_of_org). How many it were.
pub async fn markers(conn: &mut PgConnection, org_id: Uuid) -> Result<i64, StoreError> {
    in_transaction(conn, async |tx| {
        // A transaction that records markers at this moment may not see the erasure yet; every later one does.
        sqlx::query("LOCK TABLE analytics.freshness_status IN SHARE ROW EXCLUSIVE MODE").execute(&mut *tx).await?;
        // Not those of what came since.
        let statement = "DELETE FROM analytics.freshness_status f USING analytics.erasures e
                         WHERE f.org_id = $1 AND e.org_id = f.org_id AND f.last_rollup_at <= e.erased_at";
        Ok(rows(&sqlx::query(statement).bind(org_id).execute(tx).await?))
    })
    .await
}
