//! Admission: as many queries at a time as there are connections, and to each org its share of them.
//!
//! A bounded number waits, each for a bounded time. What becomes free goes to the org that has least, and of one org to
//! the one that came first.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::error::QueryError;
use crate::{
    domain::shares::Shares,
    telemetry::metrics::{Metrics, PermitTaken},
};

/// Whose question: an org's, or one about several or none.
pub type Tenant = Option<Uuid>;

/// Clones admit together.
#[derive(Clone)]
pub struct Admission(Arc<Inner>);

struct Inner {
    wait: Duration,
    metrics: Metrics,
    state: Mutex<State>,
}

struct State {
    permits: Shares<Tenant>,
    /// Places to wait in.
    queue: Shares<Tenant>,
    waiting: Vec<Waiting>,
    next: u64,
}

struct Waiting {
    id: u64,
    tenant: Tenant,
    admit: oneshot::Sender<Admitted>,
}

/// Held while a query runs.
pub struct Admitted {
    admission: Admission,
    tenant: Tenant,
    _counted: PermitTaken,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.lock().permits.give_back(&self.tenant);
        self.admission.admit_waiting();
    }
}

/// Waits no longer when it is dropped.
struct Leaves<'a> {
    admission: &'a Admission,
    id: u64,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        let at = state.waiting.iter().position(|waiting| waiting.id == self.id);
        let left = at.map(|at| state.leave(at));
        drop(state);
        drop(left);
    }
}

impl Admission {
    pub fn new(permits: usize, queue: usize, wait: Duration, metrics: Metrics) -> Self {
        let (permits, queue) = (Shares::new(permits), Shares::new(queue));
        let state = Mutex::new(State { permits, queue, waiting: Vec::new(), next: 0 });
        Self(Arc::new(Inner { wait, metrics, state }))
    }

    /// # Errors
    /// `Busy`: too many of the org wait already, or its turn does not come in time.
    pub async fn enter(&self, tenant: Tenant) -> Result<Admitted, QueryError> {
        let asked = Instant::now();
        let admitted = self.wait(tenant).await;
        self.0.metrics.query_waited(asked.elapsed());
        admitted
    }

    async fn wait(&self, tenant: Tenant) -> Result<Admitted, QueryError> {
        let (admitted, id) = {
            let mut state = self.lock();
            let waits = state.waiting.iter().any(|waiting| waiting.tenant == tenant);
            if !waits && state.permits.take(tenant) {
                drop(state);
                return Ok(self.admitted(tenant));
            }
            if !state.queue.take(tenant) {
                return Err(QueryError::Busy);
            }
            let (admit, admitted) = oneshot::channel();
            state.next += 1;
            let id = state.next;
            state.waiting.push(Waiting { id, tenant, admit });
            (admitted, id)
        };
        let _leaves = Leaves { admission: self, id };
        match tokio::time::timeout(self.0.wait, admitted).await {
            Ok(Ok(admitted)) => Ok(admitted),
            Ok(Err(_)) | Err(_) => Err(QueryError::Busy),
        }
    }

    fn admitted(&self, tenant: Tenant) -> Admitted {
        Admitted { admission: self.clone(), tenant, _counted: self.0.metrics.query_permit() }
    }

    /// Gives what is free to those that wait.
    fn admit_waiting(&self) {
        loop {
            let mut state = self.lock();
            let Some(at) = state.next_waiting() else { return };
            let Waiting { tenant, admit, .. } = state.leave(at);
            state.permits.take(tenant);
            drop(state);
            // Where no query waits any more, it is given back.
            drop(admit.send(self.admitted(tenant)));
        }
    }

    // A panic while the lock was held leaves a whole state: each change is complete before the next.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of those that may have a permit, one of the org that holds fewest.
    fn next_waiting(&self) -> Option<usize> {
        let may = self.waiting.iter().enumerate().filter(|(_, waiting)| self.permits.may_take(&waiting.tenant));
        may.min_by_key(|(at, waiting)| (self.permits.held(&waiting.tenant), *at)).map(|(at, _)| at)
    }

    fn leave(&mut self, at: usize) -> Waiting {
        let waiting = self.waiting.remove(at);
        self.queue.give_back(&waiting.tenant);
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Format;

    const ONE: Tenant = Some(Uuid::from_u128(1));
    const TWO: Tenant = Some(Uuid::from_u128(2));

    fn admission(permits: usize, queue: usize, wait: Duration) -> Admission {
        Admission::new(permits, queue, wait, Metrics::default())
    }

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(3600);

    async fn is_busy(admission: &Admission, tenant: Tenant) -> bool {
        matches!(admission.enter(tenant).await, Err(QueryError::Busy))
    }

    #[tokio::test]
    async fn waiting_too_long_for_a_permit_is_busy() {
        let admission = admission(1, 2, SHORT);
        let first = admission.enter(ONE).await;
        assert!(is_busy(&admission, ONE).await);
        drop(first);
        assert!(admission.enter(ONE).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_without_a_wait() {
        let admission = admission(1, 0, LONG);
        let _first = admission.enter(ONE).await;
        assert!(is_busy(&admission, ONE).await);
    }

    #[tokio::test]
    async fn a_cancelled_query_returns_its_permit() {
        let admission = admission(1, 2, LONG);
        let held = admission.enter(ONE).await;
        let waiting = tokio::time::timeout(Duration::from_millis(1), admission.enter(TWO)).await;
        assert!(waiting.is_err());
        assert!(admission.lock().waiting.is_empty());
        drop(held);
        assert!(admission.enter(ONE).await.is_ok());
        assert!(admission.0.metrics.encode(Format::Prometheus).unwrap().contains("analytics_query_permits 0"));
    }

    #[tokio::test]
    async fn one_orgs_slow_reads_leave_permits_for_others() {
        let admission = admission(4, 256, SHORT);
        let slow = [admission.enter(ONE).await, admission.enter(ONE).await];
        assert!(slow.iter().all(Result::is_ok));
        assert!(is_busy(&admission, ONE).await);
        assert!(admission.enter(TWO).await.is_ok());
    }

    #[tokio::test]
    async fn free_permits_go_to_the_least_served() {
        let admission = admission(2, 256, LONG);
        let (one, two) = (admission.enter(ONE).await, admission.enter(TWO).await);
        let third = Some(Uuid::from_u128(3));
        let again = tokio::spawn({
            let admission = admission.clone();
            async move { admission.enter(TWO).await }
        });
        while admission.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        let new = tokio::spawn({
            let admission = admission.clone();
            async move { admission.enter(third).await }
        });
        while admission.lock().waiting.len() < 2 {
            tokio::task::yield_now().await;
        }
        drop(one);
        let new = new.await.unwrap();
        assert!(new.is_ok() && !again.is_finished());
        drop((two, new));
        assert!(again.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn one_orgs_queue_leaves_places_for_others() {
        let admission = admission(1, 8, LONG);
        let _held = admission.enter(ONE).await;
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(admission.enter(ONE))).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one.as_mut()).is_pending());
        }
        assert!(is_busy(&admission, ONE).await);
        let mut other = Box::pin(admission.enter(TWO));
        assert!(futures_util::poll!(other.as_mut()).is_pending());
    }
}
