//! Events so old that it is unknown whether they were stored before: what they could repeat may have
//! been purged.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, postgres::types::PgInterval};

use crate::{domain::batch::Candidate, store::StoreError};

/// Younger ones are never looked up: nothing of the last day is purged (see purge_raw_chunk).
const NEVER_GONE: TimeDelta = TimeDelta::days(1);

/// Which of the events, by the index of their messages, lie before the raw events that are there, or so close behind that
/// what they could repeat does. Called after the look-up of known events: a purge records the floor
/// in its own transaction, so that either the event or the floor is seen.
pub async fn beyond(
    conn: &mut PgConnection,
    candidates: &[&Candidate],
    window: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Vec<usize>, StoreError> {
    let old: Vec<&Candidate> =
        candidates.iter().copied().filter(|candidate| candidate.event.occurred_at < now - NEVER_GONE).collect();
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<i64> = sqlx::query_scalar(include_str!("sql/raw_floor.sql"))
        .bind(old.iter().map(|candidate| candidate.event.org_id).collect::<Vec<_>>())
        .bind(old.iter().map(|candidate| candidate.event.occurred_at).collect::<Vec<_>>())
        .bind(PgInterval { months: 0, days: 0, microseconds: window.num_microseconds().unwrap_or(i64::MAX) })
        .fetch_all(conn)
        .await?;
    let message = |n: i64| usize::try_from(n - 1).ok().and_then(|n| old.get(n)).map(|candidate| candidate.message);
    Ok(numbers.into_iter().filter_map(message).collect())
}
