//! Credentials that are not accepted: how many an address may show.
//!
//! Beyond the limit a request is refused at the least cost: no look-up, no record, no log line. A good credential is
//! accepted all the same, since an address may be that of many: a token by its signature, an API key where it was
//! accepted lately.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{error::Problem, limiter::Limiter};
use crate::config::Rate;

/// Addresses and keys that are remembered, each some ten bytes.
const MOST: usize = 20_000;
/// How long a key is remembered as a good one. Whether it still is, is looked up as ever.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// Clones count together. Processes count each for itself.
#[derive(Clone, Default)]
pub struct Attempts(Option<Arc<Inner>>);

struct Inner {
    limiter: Limiter<IpAddr>,
    /// Until when an address is over its limit.
    over: Mutex<Remembered<IpAddr>>,
    /// Until when a key is known as a good one.
    good: Mutex<Remembered<Uuid>>,
}

impl Attempts {
    pub fn new(rate: Rate) -> Self {
        let inner = Limiter::new(rate).map(|limiter| Inner { limiter, over: Mutex::default(), good: Mutex::default() });
        Self(inner.map(Arc::new))
    }

    /// Counts a request of this address without a good credential.
    ///
    /// # Errors
    /// 429 where there were too many.
    pub fn refused(&self, address: Option<IpAddr>) -> Result<(), Problem> {
        let (Some(inner), Some(address)) = (&self.0, address) else { return Ok(()) };
        inner.limiter.count(address).map_err(|problem| {
            let retry_after = problem.retry_after().unwrap_or(1);
            lock(&inner.over).put(address, Instant::now() + Duration::from_secs(retry_after.into()));
            Problem::AddressLimited { retry_after }
        })
    }

    /// Whether a key of this address may be looked up.
    ///
    /// # Errors
    /// 429 where the address is over its limit, and the key is none that was good.
    pub fn may_look_up(&self, address: Option<IpAddr>, key_id: Uuid) -> Result<(), Problem> {
        let (Some(inner), Some(address)) = (&self.0, address) else { return Ok(()) };
        let now = Instant::now();
        if lock(&inner.over).has(&address, now) && !lock(&inner.good).has(&key_id, now) {
            return Err(Problem::AddressLimited { retry_after: 1 });
        }
        Ok(())
    }

    pub fn accepted(&self, key_id: Uuid) {
        if let Some(inner) = &self.0 {
            lock(&inner.good).put(key_id, Instant::now() + GOOD_FOR);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Things, and until when each counts.
struct Remembered<K>(HashMap<K, Instant>);

impl<K> Default for Remembered<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: std::hash::Hash + Eq> Remembered<K> {
    fn put(&mut self, key: K, until: Instant) {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            let now = Instant::now();
            self.0.retain(|_, until| *until > now);
            if self.0.len() >= MOST {
                return;
            }
        }
        self.0.insert(key, until);
    }

    fn has(&self, key: &K, now: Instant) -> bool {
        self.0.get(key).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Uuid = Uuid::from_u128(1);
    const UNKNOWN: Uuid = Uuid::from_u128(2);

    #[test]
    fn an_address_over_its_limit_uses_known_keys() {
        let attempts = Attempts::new(Rate { per_second: 1, burst: 2 });
        let (bad, other) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        attempts.accepted(GOOD);
        assert_eq!([attempts.refused(bad), attempts.refused(bad)], [Ok(()), Ok(())]);
        assert_eq!(attempts.may_look_up(bad, UNKNOWN), Ok(()));
        assert_eq!(attempts.refused(bad), Err(Problem::AddressLimited { retry_after: 1 }));
        assert_eq!(attempts.may_look_up(bad, UNKNOWN), Err(Problem::AddressLimited { retry_after: 1 }));
        assert_eq!(attempts.may_look_up(bad, GOOD), Ok(()));
        assert_eq!(attempts.may_look_up(other, UNKNOWN), Ok(()));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut remembered = Remembered::default();
        let until = Instant::now() + GOOD_FOR;
        (0..2 * MOST).for_each(|key| remembered.put(key, until));
        assert_eq!(remembered.0.len(), MOST);
        let over = Instant::now();
        remembered.0.values_mut().for_each(|until| *until = over);
        remembered.put(2 * MOST, until);
        assert_eq!(remembered.0.len(), 1);
    }
}
