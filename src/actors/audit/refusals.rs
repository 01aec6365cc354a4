//! Refusals that wait to be recorded: a refusal itself never waits, and never fails for its record.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    domain::audit::{Actor, AuditEvent, CredentialKind, Outcome},
    telemetry::metrics::Metrics,
};

/// Refusals that are kept, some hundred bytes each. Further ones are counted.
const KEPT: usize = 1000;

/// Clones are the same list. It outlives the actor that records it.
#[derive(Clone)]
pub struct Refusals {
    waiting: Arc<Mutex<Waiting>>,
    metrics: Metrics,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<AuditEvent>,
    /// Refusals that found no place since the last that did.
    more: u64,
}

impl Refusals {
    pub fn new(metrics: Metrics) -> Self {
        Self { waiting: Arc::default(), metrics }
    }

    pub fn note(&self, event: AuditEvent) {
        let mut waiting = self.lock();
        if waiting.events.len() < KEPT {
            waiting.events.push_back(event);
        } else {
            waiting.more += 1;
            self.metrics.audit_overflow();
        }
    }

    /// The oldest ones, at most `limit`, and how many found no place.
    pub fn take(&self, limit: usize) -> Taken {
        let mut waiting = self.lock();
        let count = waiting.events.len().min(limit);
        Taken { events: waiting.events.drain(..count).collect(), more: std::mem::take(&mut waiting.more) }
    }

    /// These could not be recorded. They may be a few more than have a place.
    pub fn put_back(&self, taken: Taken) {
        let mut waiting = self.lock();
        waiting.more += taken.more;
        for event in taken.events.into_iter().rev() {
            waiting.events.push_front(event);
        }
    }

    // Every change leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is about to be recorded.
#[derive(Default)]
pub struct Taken {
    events: Vec<AuditEvent>,
    more: u64,
}

impl Taken {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.more == 0
    }

    /// A row each, and one that counts those that found no place.
    pub fn rows(&self) -> Vec<AuditEvent> {
        let more = (self.more > 0).then(|| overflow(self.more));
        self.events.iter().cloned().chain(more).collect()
    }
}

fn overflow(more: u64) -> AuditEvent {
    let actor =
        Actor { subject: None, credential: CredentialKind::None, roles: Vec::new(), request_id: None, address: None };
    AuditEvent::new(actor, "audit.overflow", Outcome::Denied).detail(format!("{more} more refusals"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> AuditEvent {
        overflow(0)
    }

    #[test]
    fn refusals_that_find_no_place_are_counted_in_a_row_and_by_a_metric() {
        let metrics = Metrics::default();
        let refusals = Refusals::new(metrics.clone());
        for _ in 0..KEPT + 7 {
            refusals.note(refusal());
        }
        // However often that fails, they are one row.
        for _ in 0..3 {
            refusals.put_back(refusals.take(10));
        }
        let taken = refusals.take(10).rows();
        assert_eq!(taken.len(), 11);
        assert_eq!(taken[10].detail.as_deref(), Some("7 more refusals"));
        assert!(metrics.encode().unwrap().contains("analytics_audit_overflow_total 7"));
        assert_eq!(refusals.take(usize::MAX).rows().len(), KEPT - 10, "counted once");
    }

    #[test]
    fn what_could_not_be_recorded_comes_first_again() {
        let refusals = Refusals::new(Metrics::default());
        let events: Vec<AuditEvent> = (0..3).map(|_| refusal()).collect();
        events.iter().cloned().for_each(|event| refusals.note(event));
        let first = refusals.take(2);
        refusals.put_back(first);
        let ids = |events: &[AuditEvent]| events.iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(&refusals.take(3).rows()), ids(&events));
    }
}
