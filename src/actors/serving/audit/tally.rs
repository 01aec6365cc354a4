//! What is recorded one by one up to a number a minute, and counted beyond it: the log of a flood is as short as that of a few.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::domain::audit::AuditEvent;

/// How long is counted into one row.
const MINUTE: Duration = Duration::from_secs(60);
/// Events that wait for the database. While there are so many, minutes are not closed but counted on.
const KEPT: usize = 1000;

/// How much of a kind has rows of its own.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Rows of one key in a minute; what follows is one row together.
    pub rows: u32,
    /// Keys of a minute; what others do is one row together.
    pub keys: usize,
    pub of_tenant: Share,
}

/// What of that is a tenant's, which has as many callers as it makes API keys: the others' rows are not its to take.
#[derive(Clone, Copy)]
pub struct Share {
    /// Rows of its keys in a minute; what follows is one row of each key.
    pub rows: u32,
    /// What further ones do is one row of the tenant.
    pub keys: usize,
}

/// By key: the caller that the events are counted by.
pub struct Tally<K> {
    bounds: Bounds,
    minutes: HashMap<K, Minute>,
    tenants: HashMap<Uuid, Tenant>,
    /// Of those keys that there is no room for.
    others: Option<Minute>,
    /// Rows, oldest first.
    ready: VecDeque<AuditEvent>,
}

/// What a tenant has of the minutes at hand.
#[derive(Default)]
struct Tenant {
    rows: u32,
    keys: usize,
    /// Of its keys beyond its share.
    others: Option<Minute>,
}

struct Minute {
    began: Instant,
    rows: u32,
    tenant: Option<Uuid>,
    counted: Option<Counted>,
}

/// Events that have no row of their own.
struct Counted {
    first: AuditEvent,
    last: Instant,
    count: u64,
    /// How often each: details of ours, so they are few.
    details: BTreeMap<String, u64>,
}

impl<K: Eq + Hash> Tally<K> {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, minutes: HashMap::new(), tenants: HashMap::new(), others: None, ready: VecDeque::new() }
    }

    /// Whether the event has a row of its own; else it is counted. The tenant is the caller's, where it is known.
    pub fn note(&mut self, key: K, tenant: Option<Uuid>, event: AuditEvent) -> bool {
        let Self { bounds, minutes, tenants, others, ready } = self;
        let Bounds { rows, keys, of_tenant } = *bounds;
        let mut share = tenant.map(|tenant| tenants.entry(tenant).or_default());
        if !minutes.contains_key(&key) {
            if let (Some(id), Some(share)) = (tenant, &mut share)
                && share.keys >= of_tenant.keys
            {
                let event = event.of_nobody().detail(format!("by further callers of organisation {id}"));
                share.others.get_or_insert_with(|| Minute::new(None)).count(event);
                return false;
            }
            if minutes.len() >= keys {
                others.get_or_insert_with(|| Minute::new(None)).count(event.of_nobody());
                return false;
            }
        }
        let minute = minutes.entry(key).or_insert_with(|| {
            share.iter_mut().for_each(|share| share.keys += 1);
            Minute::new(tenant)
        });
        let within_share = share.as_ref().is_none_or(|share| share.rows < of_tenant.rows);
        if minute.rows < rows && within_share && ready.len() < KEPT {
            minute.rows += 1;
            share.iter_mut().for_each(|share| share.rows += 1);
            ready.push_back(event);
            return true;
        }
        minute.count(event);
        false
    }

    /// Closes the minutes that are over, or all.
    pub fn close(&mut self, all: bool) {
        let Self { minutes, tenants, others, ready, .. } = self;
        let room = KEPT.saturating_sub(ready.len());
        let (mut closed, now) = (Vec::new(), Instant::now());
        let mut over = |minute: &mut Minute| {
            let over = all || now.duration_since(minute.began) >= MINUTE && closed.len() < room;
            if over {
                closed.extend(minute.counted.take());
            }
            over
        };
        minutes.retain(|_, minute| {
            let over = over(minute);
            if over && let Some(tenant) = minute.tenant.and_then(|tenant| tenants.get_mut(&tenant)) {
                tenant.keys = tenant.keys.saturating_sub(1);
                tenant.rows = tenant.rows.saturating_sub(minute.rows);
            }
            !over
        });
        for others in tenants.values_mut().map(|tenant| &mut tenant.others).chain([others]) {
            if others.as_mut().is_some_and(&mut over) {
                *others = None;
            }
        }
        tenants.retain(|_, tenant| tenant.keys > 0 || tenant.others.is_some());
        ready.extend(closed.into_iter().map(Counted::row));
    }

    /// The oldest rows, at most `limit`.
    pub fn take(&mut self, limit: usize) -> Vec<AuditEvent> {
        let count = self.ready.len().min(limit);
        self.ready.drain(..count).collect()
    }

    /// Rows that wait for the database.
    pub fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// These could not be recorded.
    pub fn put_back(&mut self, rows: Vec<AuditEvent>) {
        rows.into_iter().rev().for_each(|row| self.ready.push_front(row));
    }
}

impl Minute {
    fn new(tenant: Option<Uuid>) -> Self {
        Self { began: Instant::now(), rows: 0, tenant, counted: None }
    }

    fn count(&mut self, event: AuditEvent) {
        let counted = self.counted.get_or_insert_with(|| Counted {
            last: event.noted_at,
            count: 0,
            details: BTreeMap::new(),
            first: event.clone(),
        });
        counted.count += event.count;
        counted.last = event.noted_at;
        let first = &mut counted.first;
        // What is not the same of all is of none.
        first.org_id = first.org_id.filter(|org_id| event.org_id == Some(*org_id));
        if first.target != event.target {
            first.target = None;
        }
        if let Some(detail) = event.detail {
            *counted.details.entry(detail).or_default() += 1;
        }
    }
}

impl Counted {
    fn row(self) -> AuditEvent {
        let mut details: Vec<_> = self.details.into_iter().collect();
        details.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let details: Vec<String> = details.iter().map(|(detail, count)| format!("{count} times: {detail}")).collect();
        let detail = (!details.is_empty()).then(|| details.join("; "));
        let mut actor = self.first.actor;
        // It was not one request.
        actor.request_id = None;
        AuditEvent {
            id: Uuid::now_v7(),
            first_at: Some(self.first.noted_at),
            noted_at: self.last,
            count: self.count,
            actor,
            detail,
            ..self.first
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Actor, CredentialKind, Outcome};

    fn event(detail: &str) -> AuditEvent {
        let actor = Actor {
            subject: None,
            credential: CredentialKind::None,
            roles: Vec::new(),
            request_id: Some("one".to_owned()),
            address: Some([10, 0, 0, 1].into()),
        };
        AuditEvent::new(actor, "authenticate", Outcome::Denied).detail(detail)
    }

    fn tally(rows: u32, keys: usize) -> Tally<u32> {
        Tally::new(Bounds { rows, keys, of_tenant: Share { rows: 20, keys: 5 } })
    }

    #[test]
    fn a_flood_is_one_row_with_its_count() {
        let mut tally = tally(1, 10);
        assert!(tally.note(1, None, event("expired")));
        for n in 0..5000 {
            assert!(!tally.note(1, None, event(if n == 0 { "expired" } else { "signature" })));
        }
        tally.close(false);
        assert_eq!(tally.take(usize::MAX).len(), 1, "the minute is not over");
        tally.close(true);
        let rows = tally.take(usize::MAX);
        assert_eq!((rows.len(), rows[0].count), (1, 5000));
        assert!(rows[0].first_at.is_some_and(|first| first <= rows[0].noted_at));
        assert_eq!(rows[0].detail.as_deref(), Some("4999 times: signature; 1 times: expired"));
        assert_eq!((rows[0].actor.address, &rows[0].actor.request_id), (Some([10, 0, 0, 1].into()), &None));
    }

    #[test]
    fn no_org_takes_rows_of_others() {
        let mut tally = tally(2, 10);
        for _ in 0..5000 {
            tally.note(1, None, event("x"));
        }
        assert!(tally.note(2, None, event("y")) && tally.note(2, None, event("y")) && !tally.note(2, None, event("y")));
        let own = tally.take(usize::MAX);
        assert_eq!(own.iter().filter(|row| row.detail.as_deref() == Some("y")).count(), 2);
    }

    #[test]
    fn keys_beyond_the_bound_are_counted_together() {
        let mut tally = tally(1, 3);
        for key in 0..1000 {
            tally.note(key, None, event("x"));
        }
        tally.close(true);
        let rows = tally.take(usize::MAX);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 1000, "each is in one row");
        assert_eq!((rows.len(), rows[3].count, rows[3].actor.address), (4, 997, None));
    }

    #[test]
    fn a_tenant_takes_no_rows_of_other_tenants() {
        let mut tally = tally(10, 100);
        let (many, few) = (Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2)));
        for n in 0..2000 {
            tally.note(n % 500, many, event("x"));
        }
        assert!(tally.note(1000, few, event("y")), "it has a row of its own");
        let own = tally.take(usize::MAX);
        assert_eq!(own.len(), 21, "the tenant has its share");
        tally.close(true);
        let rows = tally.take(usize::MAX);
        assert_eq!(own.len() as u64 + rows.iter().map(|row| row.count).sum::<u64>(), 2001, "each is in one row");
        let further = rows.iter().find(|row| row.count == 1980).unwrap();
        assert!(further.detail.as_ref().unwrap().contains(&Uuid::from_u128(1).to_string()), "{further:?}");
        assert!(tally.tenants.is_empty());
    }

    #[test]
    fn minutes_are_counted_during_a_database_outage() {
        let mut tally = tally(10, 2000);
        for n in 0..5000 {
            tally.note(n % 1500, None, event("x"));
        }
        for _ in 0..3 {
            tally.close(false);
            let taken = tally.take(100);
            tally.put_back(taken);
        }
        assert_eq!(tally.ready.len(), KEPT);
        tally.close(true);
        assert_eq!(tally.take(usize::MAX).iter().map(|row| row.count).sum::<u64>(), 5000);
    }

    #[test]
    fn unrecorded_events_come_first_again() {
        let mut tally = tally(10, 10);
        let events: Vec<AuditEvent> = (0..3).map(|n| event(&n.to_string())).collect();
        events.iter().cloned().for_each(|event| assert!(tally.note(1, None, event)));
        let first = tally.take(2);
        tally.put_back(first);
        let ids = |events: &[AuditEvent]| events.iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(&tally.take(3)), ids(&events));
    }
}
