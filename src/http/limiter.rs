//! A rate, for each key on its own.

use std::{
    hash::Hash,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};

use super::error::Problem;
use crate::config::Rate;

/// after so many requests, keys without recent requests are forgotten: their full allowance is theirs again.
const FORGET_EVERY: u32 = 1024;

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
    fn each_key_has_its_own_bound() {
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
    fn idle_keys_are_forgotten() {
        let limiter = Limiter::new(Rate { per_second: 1_000_000, burst: 1 }).unwrap();
        for key in 0..100 * FORGET_EVERY {
            limiter.count(key).unwrap();
        }
        assert!(limiter.limiter.len() <= 2 * FORGET_EVERY as usize, "{}", limiter.limiter.len());
    }
}
