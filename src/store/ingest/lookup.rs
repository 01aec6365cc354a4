//! Which events are stored already: the look-up that the dedupe window spares fresh events.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, postgres::types::PgInterval};
use uuid::Uuid;

use crate::{
    domain::{
        batch::Candidate,
        event::{Event, Metadata, Status},
    },
    store::{StoreError, amount::Amount},
};

/// An event that is known; whether its content differs from what was stored first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyStored {
    pub conflict: bool,
}

/// Looks events up: by the index of its message, each that lies within the window of a stored one of its key.
pub async fn look_up(
    conn: &mut PgConnection,
    candidates: &[&Candidate],
    window: TimeDelta,
) -> Result<BTreeMap<usize, AlreadyStored>, StoreError> {
    let mut sorted = candidates.to_vec();
    sorted.sort_unstable_by_key(|candidate| candidate.event.occurred_at);
    let mut found = BTreeMap::new();
    for part in by_time(&sorted, window) {
        look_up_part(conn, part, window, &mut found).await?;
    }
    Ok(found)
}

/// Parts in order of time, none longer than two windows: what is looked up for a part is opened in all the chunks that
/// any of it can be in, and a single old event would open them all for everyone.
fn by_time<'a>(sorted: &'a [&'a Candidate], window: TimeDelta) -> Vec<&'a [&'a Candidate]> {
    let mut parts = Vec::new();
    let mut rest = sorted;
    while let Some(first) = rest.first() {
        let end = first.event.occurred_at + window * 2;
        let (part, later) = rest.split_at(rest.partition_point(|candidate| candidate.event.occurred_at <= end));
        parts.push(part);
        rest = later;
    }
    parts
}

async fn look_up_part(
    conn: &mut PgConnection,
    part: &[&Candidate],
    window: TimeDelta,
    found: &mut BTreeMap<usize, AlreadyStored>,
) -> Result<(), StoreError> {
    let times: Vec<DateTime<Utc>> = part.iter().map(|candidate| candidate.event.occurred_at).collect();
    let (Some(first), Some(last)) = (times.first().copied(), times.last().copied()) else { return Ok(()) };
    let rows: Vec<StoredRow> = sqlx::query_as(include_str!("sql/lookup.sql"))
        .bind(part.iter().map(|candidate| candidate.event.org_id).collect::<Vec<_>>())
        .bind(part.iter().map(|candidate| candidate.event.event_id).collect::<Vec<_>>())
        .bind(times)
        .bind(PgInterval { months: 0, days: 0, microseconds: window.num_microseconds().unwrap_or(i64::MAX) })
        .bind(first - window)
        .bind(last + window)
        .fetch_all(conn)
        .await?;
    for row in rows {
        let candidate = usize::try_from(row.n - 1).ok().and_then(|n| part.get(n));
        let candidate = candidate.ok_or_else(|| StoreError::Permanent("an event that was not requested".to_owned()))?;
        found.insert(candidate.message, AlreadyStored { conflict: !row.equals(&candidate.event) });
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct StoredRow {
    n: i64,
    occurred_at: DateTime<Utc>,
    model_id: Uuid,
    latency_ms: i32,
    input_tokens: i32,
    output_tokens: i32,
    status: String,
    cost_cents: Amount,
    actor_id: Option<Uuid>,
    client_id: Option<String>,
    error_code: Option<String>,
    metadata: Option<String>,
}

impl StoredRow {
    /// What cannot be read as an event's is not equal to it.
    fn equals(self, event: &Event) -> bool {
        let number = |n: i32| u32::try_from(n).ok();
        // As the database writes it, with spaces and in another order.
        let pairs = |text: String| serde_json::from_str::<BTreeMap<String, String>>(&text).ok();
        let metadata = self.metadata.map(|text| pairs(text).as_ref().map(Metadata::from));
        let stored = || {
            Some(Event {
                event_id: event.event_id,
                org_id: event.org_id,
                model_id: self.model_id,
                actor_id: self.actor_id,
                client_id: self.client_id,
                occurred_at: self.occurred_at,
                status: Status::ALL.into_iter().find(|status| status.as_str() == self.status)?,
                error_code: self.error_code,
                latency_ms: number(self.latency_ms)?,
                input_tokens: number(self.input_tokens)?,
                output_tokens: number(self.output_tokens)?,
                cost_estimate_cents: self.cost_cents.0,
                metadata: match metadata {
                    Some(read) => Some(read?),
                    None => None,
                },
            })
        };
        stored().as_ref() == Some(event)
    }
}
