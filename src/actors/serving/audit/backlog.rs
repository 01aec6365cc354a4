//! What waits to be recorded: refusals, and files that were fetched by a link. None of these waits for its record, or fails for
//! it. Each kind has a place of its own, so that a flood of one pushes out nothing of another.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::tally::{Bounds, Share, Tally};
use crate::{
    domain::{audit::AuditEvent, client_network::client_network},
    telemetry::metrics::Metrics,
};

/// Refusals of one who is known (a token, a key, also one that is revoked), by what was to be done.
const KNOWN: Bounds = Bounds { rows: 30, keys: 1000, of_tenant: Share { rows: 200, keys: 50 } };
/// Refusals of callers without one, by address.
const UNKNOWN: Bounds = Bounds { rows: 1, keys: 250, of_tenant: NOBODYS };
/// Files that were fetched by a link, by file and address.
const LINKS: Bounds = Bounds { rows: 5, keys: 1000, of_tenant: NOBODYS };
/// Where no tenant is known.
const NOBODYS: Share = Share { rows: 0, keys: 0 };

/// Clones are the same. It outlives the actor that records it.
#[derive(Clone)]
pub struct Backlog {
    waiting: Arc<Mutex<Waiting>>,
    metrics: Metrics,
}

struct Waiting {
    /// By subject and act.
    known: Tally<(String, &'static str)>,
    /// By address.
    unknown: Tally<Option<IpAddr>>,
    /// By file and address.
    links: Tally<(String, Option<IpAddr>)>,
}

impl Backlog {
    pub fn new(metrics: Metrics) -> Self {
        let waiting = Waiting { known: Tally::new(KNOWN), unknown: Tally::new(UNKNOWN), links: Tally::new(LINKS) };
        Self { waiting: Arc::new(Mutex::new(waiting)), metrics }
    }

    /// Somebody was refused, of that organisation where it is known.
    pub fn refused(&self, event: AuditEvent, tenant: Option<Uuid>) {
        let mut waiting = self.lock();
        let own_row = match event.actor.subject.clone() {
            Some(subject) => waiting.known.note((subject, event.action), tenant, event),
            None => waiting.unknown.note(event.actor.address.map(client_network), None, event),
        };
        if !own_row {
            self.metrics.audit_counted();
        }
    }

    /// Somebody fetched a file by a link.
    pub fn fetched(&self, event: AuditEvent) {
        let file = event.target.clone().unwrap_or_default();
        self.lock().links.note((file, event.actor.address.map(client_network)), None, event);
    }

    /// The oldest rows, at most about `limit` of each kind; of the minutes that are not over too, where these are the last.
    pub fn take(&self, limit: usize, last: bool) -> Taken {
        let mut waiting = self.lock();
        let Waiting { known, unknown, links } = &mut *waiting;
        known.close(last);
        unknown.close(last);
        links.close(last);
        Taken { known: known.take(limit), unknown: unknown.take(limit), links: links.take(limit) }
    }

    /// Rows that wait for the database, beside `taken` that are on their way to it.
    pub fn show(&self, taken: usize) {
        let waiting = self.lock();
        let rows = waiting.known.waiting() + waiting.unknown.waiting() + waiting.links.waiting();
        self.metrics.audit_pending(rows + taken);
    }

    /// These could not be recorded.
    pub fn put_back(&self, taken: Taken) {
        let mut waiting = self.lock();
        waiting.known.put_back(taken.known);
        waiting.unknown.put_back(taken.unknown);
        waiting.links.put_back(taken.links);
    }

    // Every change leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is about to be recorded.
#[derive(Default)]
pub struct Taken {
    known: Vec<AuditEvent>,
    unknown: Vec<AuditEvent>,
    links: Vec<AuditEvent>,
}

impl Taken {
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.unknown.is_empty() && self.links.is_empty()
    }

    pub fn rows(&self) -> Vec<AuditEvent> {
        [&self.known, &self.unknown, &self.links].into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::audit::{Actor, CredentialKind, Outcome},
        telemetry::metrics::Format,
    };

    fn refusal(subject: Option<&str>, address: &str) -> AuditEvent {
        let actor = Actor {
            subject: subject.map(str::to_owned),
            credential: CredentialKind::None,
            roles: Vec::new(),
            request_id: None,
            address: address.parse().ok(),
        };
        AuditEvent::new(actor, "usage.read", Outcome::Denied)
    }

    #[test]
    fn bad_keys_evict_no_known_refusals() {
        let (metrics, count) = (Metrics::default(), 180_000);
        let backlog = Backlog::new(metrics.clone());
        for n in 0..count {
            backlog.refused(refusal(None, "10.0.0.1"), None);
            if n % (count / 20) == 0 {
                backlog.refused(refusal(Some("ann"), "10.0.0.1"), None);
            }
        }
        let rows = backlog.take(100, true).rows();
        let of_ann = rows.iter().filter(|row| row.actor.subject.is_some());
        assert_eq!(of_ann.map(|row| row.count).collect::<Vec<_>>(), [1; 20]);
        let unknown: Vec<u64> = rows.iter().filter(|row| row.actor.subject.is_none()).map(|row| row.count).collect();
        assert_eq!(unknown, [1, count - 1], "one row at once, and one for the minute");
        let counted = format!("analytics_audit_counted_total {}", count - 1);
        assert!(metrics.encode(Format::Prometheus).unwrap().contains(&counted));
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let backlog = Backlog::new(Metrics::default());
        for n in 0..1000 {
            backlog.refused(refusal(None, &format!("2001:db8::1:{n:x}")), None);
        }
        assert_eq!(backlog.take(usize::MAX, true).rows().len(), 2);
    }
}
