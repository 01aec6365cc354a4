//! The supervision log as actors write it: each event becomes a log line, a metric and a row.
//!
//! Rows are written by the recorder, as soon as the database takes them; until then they wait here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use uuid::Uuid;

use crate::{
    domain::supervision::{SupervisionEvent, SupervisionKind},
    telemetry::metrics::Metrics,
};

/// Events that are kept in memory: to be shown while the database is away, and to be recorded when it is back.
const KEPT: usize = 2000;

/// Longest cause or name, in characters.
const MAX_TEXT: usize = 1000;

/// Clones write to the same log.
#[derive(Clone)]
pub struct SupervisionLog {
    process: Arc<str>,
    metrics: Metrics,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    recent: VecDeque<SupervisionEvent>,
    unrecorded: VecDeque<SupervisionEvent>,
    /// Events that had to be given up unrecorded.
    lost: u64,
}

/// An event that is about to be noted.
#[derive(Clone, Debug)]
pub struct Note<'a> {
    pub actor: &'a str,
    pub generation: u64,
    pub what: SupervisionKind,
    pub cause: Option<String>,
    pub next_attempt: Option<Duration>,
    pub by_whom: Option<String>,
}

impl<'a> Note<'a> {
    pub fn new(actor: &'a str, what: SupervisionKind) -> Self {
        Self { actor, generation: 0, what, cause: None, next_attempt: None, by_whom: None }
    }

    pub fn generation(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    pub fn cause(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    pub fn next_attempt(self, after: Duration) -> Self {
        Self { next_attempt: Some(after), ..self }
    }

    pub fn by_whom(self, by_whom: impl Into<String>) -> Self {
        Self { by_whom: Some(by_whom.into()), ..self }
    }
}

impl SupervisionLog {
    /// `process` names this one among others: host and process number.
    pub fn new(process: &str, metrics: Metrics) -> Self {
        Self { process: process.into(), metrics, kept: Arc::default() }
    }

    pub fn note(&self, note: Note<'_>) {
        let Note { actor, generation, what, cause, next_attempt, by_whom } = note;
        let (cause, by_whom) = (cause.map(|text| storable(&text)), by_whom.map(|text| storable(&text)));
        let (cause_text, by) = (cause.as_deref(), by_whom.as_deref());
        if what.is_trouble() {
            tracing::error!(actor, generation, %what, cause = cause_text, ?next_attempt, by_whom = by, "supervision");
        } else {
            tracing::info!(actor, generation, %what, cause = cause_text, by_whom = by, "supervision");
        }
        self.metrics.supervision_event(actor, what);
        let event = SupervisionEvent {
            event_id: Uuid::now_v7(),
            occurred_at: Utc::now(),
            process: self.process.to_string(),
            actor: actor.to_owned(),
            generation,
            what,
            cause,
            next_attempt_at: next_attempt.map(|after| Utc::now() + after),
            by_whom,
        };
        let mut kept = self.lock();
        let kept = &mut *kept;
        for list in [&mut kept.recent, &mut kept.unrecorded] {
            list.push_back(event.clone());
        }
        if kept.recent.len() > KEPT {
            kept.recent.pop_front();
        }
        if kept.unrecorded.len() > KEPT {
            kept.unrecorded.pop_front();
            kept.lost += 1;
            if kept.lost.is_power_of_two() {
                tracing::warn!(lost = kept.lost, "supervision events are given up unrecorded: the database is away");
            }
        }
    }

    /// What happened last in this process, newest first.
    pub fn recent(&self) -> Vec<SupervisionEvent> {
        self.lock().recent.iter().rev().cloned().collect()
    }

    /// The oldest events that are not recorded yet, at most `limit`.
    pub fn unrecorded(&self, limit: usize) -> Vec<SupervisionEvent> {
        self.lock().unrecorded.iter().take(limit).cloned().collect()
    }

    /// These are rows now.
    pub fn recorded(&self, events: &[SupervisionEvent]) {
        self.lock().unrecorded.retain(|waiting| events.iter().all(|event| event.event_id != waiting.event_id));
    }

    // Every change leaves the lists whole.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes from outside is cut, and rid of the one character that the database has no place for.
fn storable(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_wait_for_recording_and_stay_readable() {
        let log = SupervisionLog::new("host/1", Metrics::default());
        for n in 0..3 {
            log.note(Note::new("writer/0", SupervisionKind::Failed).generation(n).cause("no luck"));
        }
        let first = log.unrecorded(2);
        assert_eq!(first.iter().map(|event| event.generation).collect::<Vec<_>>(), [0, 1]);
        log.recorded(&first);
        assert_eq!(log.unrecorded(10).len(), 1);
        assert_eq!(log.recent().iter().map(|event| event.generation).collect::<Vec<_>>(), [2, 1, 0]);
    }

    #[test]
    fn external_values_can_be_stored() {
        let log = SupervisionLog::new("host/1", Metrics::default());
        log.note(Note::new("lease", SupervisionKind::RestartRequested).by_whom(format!("a\0b{}", "c".repeat(5000))));
        let by_whom = log.recent()[0].by_whom.clone().unwrap();
        assert!(by_whom.starts_with("abc") && by_whom.len() == MAX_TEXT);
    }

    #[test]
    fn the_oldest_events_are_dropped_during_an_outage() {
        let log = SupervisionLog::new("host/1", Metrics::default());
        for n in 0..=KEPT {
            log.note(Note::new("writer/0", SupervisionKind::Started).generation(n as u64));
        }
        assert_eq!(log.unrecorded(usize::MAX).len(), KEPT);
        assert_eq!(log.unrecorded(1)[0].generation, 1);
    }
}
