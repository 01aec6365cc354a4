//! How often an org may be asked about, and how often a credential may ask.

use std::{
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};
use uuid::Uuid;

use super::{attempts::Attempts, error::Problem, in_flight::InFlight, log_lines::LogLines};
use crate::{
    auth::{Caller, Credential},
    config::{Rate, RateLimit, Settings},
    telemetry::metrics::Metrics,
};

/// After so many questions, keys are forgotten that have not asked lately: all of what they may is theirs again.
const FORGET_EVERY: u32 = 1024;

/// Clones count together. Processes count each for itself.
#[derive(Clone, Default)]
pub struct Limits {
    orgs: Option<Arc<Limiter<Uuid>>>,
    credentials: Option<Arc<Limiter<(Credential, String)>>>,
    pub attempts: Attempts,
    pub lines: LogLines,
    pub in_flight: InFlight,
}

impl Limits {
    pub fn new(settings: &Settings, metrics: Metrics) -> Self {
        let in_flight = InFlight::new(&settings.http, metrics);
        Self { in_flight, ..Self::of_rates(&settings.rate_limit) }
    }

    /// With no bound on anything else.
    pub fn of_rates(settings: &RateLimit) -> Self {
        Self {
            orgs: Limiter::new(settings.org()).map(Arc::new),
            credentials: Limiter::new(settings.credential()).map(Arc::new),
            attempts: Attempts::new(settings.refused()),
            ..Self::default()
        }
    }

    /// Counts a request of a credential.
    ///
    /// # Errors
    /// 429 where it asks too often.
    pub fn credential(&self, caller: &Caller) -> Result<(), Problem> {
        match &self.credentials {
            Some(limiter) => limiter.count((caller.credential, caller.subject.clone())),
            None => Ok(()),
        }
    }

    /// Counts a request about each of these orgs.
    ///
    /// # Errors
    /// 429 where one of them is asked about too often.
    pub fn orgs(&self, orgs: &[Uuid]) -> Result<(), Problem> {
        match &self.orgs {
            Some(limiter) => orgs.iter().try_for_each(|org_id| limiter.count(*org_id)),
            None => Ok(()),
        }
    }
}

pub(super) struct Limiter<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, HashMapStateStore<K>, DefaultClock>,
    clock: DefaultClock,
    counted: AtomicU32,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// None: it is switched off.
    pub(super) fn new(rate: Rate) -> Option<Self> {
        let (per_second, burst) = (NonZeroU32::new(rate.per_second)?, NonZeroU32::new(rate.burst)?);
        let clock = DefaultClock::default();
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let limiter = RateLimiter::new(quota, HashMapStateStore::default(), clock.clone());
        Some(Self { limiter, clock, counted: AtomicU32::new(0) })
    }

    pub(super) fn count(&self, key: K) -> Result<(), Problem> {
        if self.counted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let counted = self.limiter.check_key(&key);
        counted.map_err(|too_soon| rate_limited(too_soon.wait_time_from(self.clock.now())))
    }
}

/// In whole seconds, rounded up.
fn rate_limited(wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem::RateLimited { retry_after: u32::try_from(seconds).unwrap_or(u32::MAX).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_no_more_each_key_for_itself() {
        let limiter = Limiter::new(Rate { per_second: 1, burst: 3 }).unwrap();
        for key in [1, 2] {
            assert_eq!((0..3).filter(|_| limiter.count(key).is_ok()).count(), 3);
            assert_eq!(limiter.count(key), Err(Problem::RateLimited { retry_after: 1 }));
        }
        assert!(Limiter::<u8>::new(Rate { per_second: 0, burst: 3 }).is_none());
    }

    #[test]
    fn the_wait_is_rounded_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
            let problem = rate_limited(Duration::from_millis(millis));
            assert_eq!(problem, Problem::RateLimited { retry_after: seconds });
        }
    }

    #[test]
    fn keys_that_have_not_asked_lately_are_forgotten() {
        let limiter = Limiter::new(Rate { per_second: 1_000_000, burst: 1 }).unwrap();
        for key in 0..100 * FORGET_EVERY {
            limiter.count(key).unwrap();
        }
        assert!(limiter.limiter.len() <= 2 * FORGET_EVERY as usize, "{}", limiter.limiter.len());
    }
}
