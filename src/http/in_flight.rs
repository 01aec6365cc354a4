//! Bytes of requests and responses that this process holds for its clients, bounded by org and in all.
//!
//! A response counts from when it is made until the kernel has taken the last of it, so a client that does not read
//! takes from its own org's share, and then gets 429.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use super::error::Problem;
use crate::{config::Http, telemetry::metrics::Metrics};

/// Whose share a request's bytes are of: its org, or the caller where it concerns several or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant(pub Uuid);

impl Tenant {
    pub fn of_subject(subject: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, subject.as_bytes()))
    }
}

/// Clones count together. The default one has no bounds.
#[derive(Clone, Default)]
pub struct InFlight(Option<Arc<Inner>>);

struct Inner {
    all: usize,
    of_org: usize,
    held: Mutex<Held>,
    metrics: Metrics,
}

#[derive(Default)]
struct Held {
    all: usize,
    of: HashMap<Uuid, usize>,
}

impl InFlight {
    pub fn new(settings: &Http, metrics: Metrics) -> Self {
        let (all, of_org) = (settings.max_response_bytes, settings.max_response_bytes_per_org);
        Self(Some(Arc::new(Inner { all, of_org, held: Mutex::default(), metrics })))
    }

    /// Counts so many bytes until what is returned is dropped.
    ///
    /// # Errors
    /// 429 where the tenant holds too much, 503 where all do.
    pub fn reserve(&self, Tenant(tenant): Tenant, bytes: usize) -> Result<Option<Reserved>, Problem> {
        let Some(inner) = &self.0 else { return Ok(None) };
        let mut held = inner.held.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = held.of.get(&tenant).copied().unwrap_or_default();
        if of_tenant + bytes > inner.of_org {
            return Err(Problem::UnreadResponses);
        }
        if held.all + bytes > inner.all {
            return Err(Problem::Busy);
        }
        held.all += bytes;
        held.of.insert(tenant, of_tenant + bytes);
        inner.metrics.response_bytes(held.all);
        Ok(Some(Reserved { inner: Arc::clone(inner), tenant, bytes }))
    }
}

/// Bytes that count.
pub struct Reserved {
    inner: Arc<Inner>,
    tenant: Uuid,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut held = self.inner.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all -= self.bytes;
        if let Some(of_tenant) = held.of.get_mut(&self.tenant) {
            *of_tenant -= self.bytes;
            if *of_tenant == 0 {
                held.of.remove(&self.tenant);
            }
        }
        self.inner.metrics.response_bytes(held.all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_flight() -> InFlight {
        let metrics = Metrics::default();
        InFlight(Some(Arc::new(Inner { all: 250, of_org: 100, held: Mutex::default(), metrics })))
    }

    #[test]
    fn an_org_holds_and_returns_its_share() {
        let (in_flight, [one, two, three]) = (in_flight(), [1, 2, 3].map(|n| Tenant(Uuid::from_u128(n))));
        let held = in_flight.reserve(one, 80).unwrap();
        assert_eq!(in_flight.reserve(one, 30).err(), Some(Problem::UnreadResponses));
        let theirs = in_flight.reserve(two, 100).unwrap();
        assert_eq!(in_flight.reserve(three, 80).err(), Some(Problem::Busy));
        drop(held);
        assert!(in_flight.reserve(three, 80).is_ok());
        drop(theirs);
        let inner = in_flight.0.as_ref().unwrap();
        let held = inner.held.lock().unwrap();
        assert!(held.all == 0 && held.of.is_empty());
    }
}
