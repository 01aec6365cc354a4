//! What became of one event: why it is counted, or is not.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{dead_letter::State, freshness::Freshness, named::named};

/// Slots for the latest duplicates of an org.
const SLOTS: u128 = 1024;

/// The slot that an event's duplicates are noted in.
pub fn slot_of(event_id: Uuid) -> i16 {
    i16::try_from(event_id.as_u128() % SLOTS).unwrap_or_default()
}

/// Which event is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FateQuery {
    pub org_id: Uuid,
    pub event_id: Uuid,
    /// Of the copy that is meant; none: any.
    pub occurred_at: Option<DateTime<Utc>>,
}

named! {
    #[derive(ToSchema)]
    #[schema(as = EventFate)]
    pub enum Verdict {
        /// It is counted.
        Stored = "stored",
        /// Another copy of it was stored first, and counts.
        Duplicate = "duplicate",
        /// It broke a rule, and is a dead letter.
        Rejected = "rejected",
        /// Nothing is known of it.
        Unknown = "unknown",
    }
}

/// An event that is counted
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredEvent {
    pub model_id: Uuid,
    pub occurred_at: DateTime<Utc>,
    /// The hour of UTC that it is counted in
    pub bucket_start: DateTime<Utc>,
    /// When its batch was committed; null where that row of the ledger was folded
    pub committed_at: Option<DateTime<Utc>>,
    /// Whether it is in the responses of usage and reliability already
    pub merged: bool,
}

impl StoredEvent {
    pub fn new(model_id: Uuid, occurred_at: DateTime<Utc>, committed_at: Option<DateTime<Utc>>, merged: bool) -> Self {
        let bucket_start = occurred_at.duration_trunc(TimeDelta::hours(1)).unwrap_or(occurred_at);
        Self { model_id, occurred_at, bucket_start, committed_at, merged }
    }
}

/// Copies of an event that were not counted
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Duplicates {
    /// How many are known of: at least so many came
    pub copies: u64,
    /// Whether the content of one differed from what was stored first
    pub conflict: bool,
    /// Of the last copy; of the last one that differed, where one did
    pub occurred_at: DateTime<Utc>,
    /// When the first of these copies was committed
    pub first_at: DateTime<Utc>,
    /// When the last one was
    pub last_at: DateTime<Utc>,
}

/// A copy that broke a rule
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventRejection)]
pub struct RejectedEvent {
    pub dead_letter_id: Uuid,
    pub rejected_at: DateTime<Utc>,
    /// Each `field: reason`
    pub reasons: Vec<String>,
    pub state: State,
}

/// Everything read in one snapshot.
#[derive(Clone, Debug)]
pub struct EventFate {
    /// Newest first. More than one where the same id came with moments that lie farther apart than the dedupe window.
    pub stored: Vec<StoredEvent>,
    pub duplicates: Option<Duplicates>,
    /// Newest first.
    pub rejections: Vec<RejectedEvent>,
    /// From when on the org has raw events; none where nothing was purged.
    pub raw_from: Option<DateTime<Utc>>,
    pub freshness: Freshness,
    pub as_of: Option<DateTime<Utc>>,
}

impl EventFate {
    /// What became of the event, or of its copy of a moment.
    pub fn verdict(&self, occurred_at: Option<DateTime<Utc>>) -> Verdict {
        let is_meant = |event: &StoredEvent| occurred_at.is_none_or(|at| at == event.occurred_at);
        let copy = self.duplicates.as_ref();
        if self.stored.iter().any(is_meant) {
            Verdict::Stored
        } else if copy.is_some_and(|copy| occurred_at.is_none_or(|at| at == copy.occurred_at)) {
            Verdict::Duplicate
        } else if !self.rejections.is_empty() {
            Verdict::Rejected
        } else {
            Verdict::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::freshness::FreshnessStatus;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn fate() -> EventFate {
        let freshness =
            Freshness { last_event_at: None, last_rollup_at: None, lag_ms: None, status: FreshnessStatus::Fresh };
        EventFate { stored: vec![], duplicates: None, rejections: vec![], raw_from: None, freshness, as_of: None }
    }

    #[test]
    fn active_keys_are_listed_first() {
        let (first, other) = (at("2026-03-01T10:20:30Z"), at("2026-03-01T10:20:31Z"));
        let event = StoredEvent::new(Uuid::nil(), first, None, true);
        assert_eq!(event.bucket_start, at("2026-03-01T10:00:00Z"));
        let copy = Duplicates { copies: 1, conflict: true, occurred_at: other, first_at: other, last_at: other };
        let letter = RejectedEvent {
            dead_letter_id: Uuid::nil(),
            rejected_at: other,
            reasons: vec!["status: is required".to_owned()],
            state: State::Open,
        };
        let unknown = fate();
        let rejected = EventFate { rejections: vec![letter], ..unknown.clone() };
        let duplicate = EventFate { duplicates: Some(copy), ..rejected.clone() };
        let stored = EventFate { stored: vec![event], ..duplicate.clone() };
        for (fate, any, of_first, of_other) in [
            (unknown, Verdict::Unknown, Verdict::Unknown, Verdict::Unknown),
            (rejected, Verdict::Rejected, Verdict::Rejected, Verdict::Rejected),
            (duplicate, Verdict::Duplicate, Verdict::Rejected, Verdict::Duplicate),
            (stored, Verdict::Stored, Verdict::Stored, Verdict::Duplicate),
        ] {
            assert_eq!([None, Some(first), Some(other)].map(|at| fate.verdict(at)), [any, of_first, of_other]);
        }
    }

    #[test]
    fn every_id_has_one_of_the_slots() {
        assert_eq!([0, 1023, 1024, u128::MAX].map(|n| slot_of(Uuid::from_u128(n))), [0, 1023, 0, 1023]);
    }
}
