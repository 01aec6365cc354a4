//! Which events are stored already: the look-up that the dedupe window spares fresh events.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{
        batch::Candidate,
        event::{Event, EventKey, Metadata},
    },
    store::{StoreError, amount::Amount, bound::bound},
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
    let (Some(first), Some(last)) = (part.first(), part.last()) else { return Ok(()) };
    let (from, to) = (first.event.occurred_at - window, last.event.occurred_at + window);
    let mut by_key = part.to_vec();
    by_key.sort_unstable_by_key(|candidate| candidate.event.key());
    let mut keys = Keys::default();
    for candidate in &by_key {
        keys.push(candidate.event.key());
    }
    let rows: Vec<StoredRow> = sqlx::query_as_with(include_str!("sql/lookup.sql"), keys.arguments()?)
        .bind(from)
        .bind(to)
        .fetch_all(conn)
        .await?;
    // Of several stored ones it most likely repeats the one of its own moment, else the first one.
    let mut closest: BTreeMap<usize, (bool, DateTime<Utc>)> = BTreeMap::new();
    for row in rows {
        let key = row.key();
        let same_key = &by_key[by_key.partition_point(|candidate| candidate.event.key() < key)..];
        for candidate in same_key.iter().take_while(|candidate| candidate.event.key() == key) {
            let at = candidate.event.occurred_at;
            let rank = (row.occurred_at != at, row.occurred_at);
            let is_closer = closest.get(&candidate.message).is_none_or(|known| rank < *known);
            if (row.occurred_at - at).abs() <= window && is_closer {
                closest.insert(candidate.message, rank);
                found.insert(candidate.message, AlreadyStored { conflict: !row.equals(&candidate.event) });
            }
        }
    }
    Ok(())
}

bound! {
    /// What lookup.sql begins with.
    #[derive(Default)]
    struct Keys {
        orgs: Vec<Uuid>, events: Vec<Uuid>, firsts: Vec<i32>, lasts: Vec<i32>,
    }
}

impl Keys {
    /// Takes the next key in their order. An event that comes again with another moment is looked up once.
    fn push(&mut self, EventKey { org_id, event_id }: EventKey) {
        let is_same_org = self.orgs.last() == Some(&org_id);
        if is_same_org && self.events.last() == Some(&event_id) {
            return;
        }
        self.events.push(event_id);
        let place = i32::try_from(self.events.len()).unwrap_or(i32::MAX);
        if is_same_org {
            self.lasts.pop();
        } else {
            self.orgs.push(org_id);
            self.firsts.push(place);
        }
        self.lasts.push(place);
    }
}

#[derive(sqlx::FromRow)]
struct StoredRow {
    org_id: Uuid,
    event_id: Uuid,
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
    fn key(&self) -> EventKey {
        EventKey { org_id: self.org_id, event_id: self.event_id }
    }

    /// What cannot be read as an event's is not equal to it.
    fn equals(&self, event: &Event) -> bool {
        let number = |n: i32| u32::try_from(n).ok();
        // As the database writes it, with spaces and in another order.
        let pairs = |text: &String| serde_json::from_str::<BTreeMap<String, String>>(text).ok();
        let metadata = self.metadata.as_ref().map(|text| pairs(text).as_ref().map(Metadata::from));
        let stored = || {
            Some(Event {
                event_id: event.event_id,
                org_id: event.org_id,
                model_id: self.model_id,
                actor_id: self.actor_id,
                client_id: self.client_id.clone(),
                occurred_at: self.occurred_at,
                status: self.status.parse().ok()?,
                error_code: self.error_code.clone(),
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
