//! Reading what became of an event.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{OrgHead, ReadError, Reader, StoreError, count, first};
use crate::domain::{
    dead_letter::State,
    event_fate::{Duplicates, EventFate, FateQuery, RejectedEvent, StoredEvent, slot_of},
};

const EVENT: &str = include_str!("sql/event.sql");
/// Most stored events of one id, and most dead letters, that a response has.
const MOST: i64 = 20;

impl Reader {
    /// What became of an event. Probes every chunk of raw events, for as long as a statement may take.
    pub async fn event(&self, query: &FateQuery) -> Result<EventFate, ReadError> {
        let home = self.home(query.org_id);
        let rows = sqlx::query_as::<_, Row>(EVENT)
            .bind(query.org_id)
            .bind(query.event_id)
            .bind(self.plan.topology.stream_of(home))
            .bind(i32::from(home))
            .bind(slot_of(query.event_id))
            .bind(MOST);
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let first = first(&rows)?;
        let (freshness, as_of) = self.completeness(&first.head);
        let raw_from = first.raw_from;
        let mut fate = EventFate { stored: vec![], duplicates: None, rejections: vec![], raw_from, freshness, as_of };
        rows.into_iter().try_for_each(|row| row.add_to(&mut fate))?;
        Ok(fate)
    }
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    head: OrgHead,
    raw_from: Option<DateTime<Utc>>,
    /// None, as everything below it, where nothing is found.
    kind: Option<String>,
    /// Of the model, or of the dead letter.
    id: Option<Uuid>,
    occurred_at: Option<DateTime<Utc>>,
    /// Committed or rejected.
    first_at: Option<DateTime<Utc>>,
    last_at: Option<DateTime<Utc>>,
    /// Merged, a conflict, or corrected.
    flag: Option<bool>,
    copies: Option<i64>,
    reasons: Option<Vec<String>>,
}

impl Row {
    fn add_to(self, fate: &mut EventFate) -> Result<(), StoreError> {
        let missing = || StoreError::impossible("an event without its id, moment or state");
        let Some(kind) = self.kind else { return Ok(()) };
        let flag = self.flag.ok_or_else(missing)?;
        match kind.as_str() {
            "stored" => {
                let (model_id, occurred_at) = self.id.zip(self.occurred_at).ok_or_else(missing)?;
                fate.stored.push(StoredEvent::new(model_id, occurred_at, self.first_at, flag));
            }
            "duplicate" => {
                let copies = count("copies", self.copies)?;
                let occurred_at = self.occurred_at.ok_or_else(missing)?;
                let (first_at, last_at) = self.first_at.zip(self.last_at).ok_or_else(missing)?;
                fate.duplicates = Some(Duplicates { copies, conflict: flag, occurred_at, first_at, last_at });
            }
            "rejected" => {
                let (dead_letter_id, rejected_at) = self.id.zip(self.first_at).ok_or_else(missing)?;
                let reasons = self.reasons.ok_or_else(missing)?;
                let state = State::of(flag.then_some(rejected_at), self.last_at);
                fate.rejections.push(RejectedEvent { dead_letter_id, rejected_at, reasons, state });
            }
            _ => return Err(StoreError::impossible("an event of an unknown kind")),
        }
        Ok(())
    }
}
