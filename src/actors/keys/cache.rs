//! What is known of API keys for a while.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::store::api_keys::Valid;

/// Keys that are remembered, some hundred bytes each. Anybody can make up ids.
const MOST: usize = 10_000;
/// How long one is remembered that was revoked here: longer than a look-up takes that began before.
const REVOKED_FOR: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Valid(Valid),
    /// There is no such key, or it counts no longer.
    Nobody,
    /// By this process: what a look-up that began before says of it is wrong.
    Revoked,
}

impl Known {
    pub fn key(self) -> Option<Valid> {
        match self {
            Self::Valid(key) => Some(key),
            Self::Nobody | Self::Revoked => None,
        }
    }
}

pub struct Cache {
    entries: HashMap<Uuid, (Known, Instant)>,
    /// How long an answer of the database counts.
    lasts: Duration,
}

impl Cache {
    pub fn new(lasts: Duration) -> Self {
        Self { entries: HashMap::new(), lasts }
    }

    pub fn get(&self, key_id: Uuid, now: Instant) -> Option<Known> {
        self.entries.get(&key_id).filter(|(_, until)| now < *until).map(|(known, _)| *known)
    }

    /// What the database said. A key counts until it expires at most.
    pub fn put(&mut self, key_id: Uuid, key: Option<Valid>, now: Instant) {
        if self.get(key_id, now) == Some(Known::Revoked) {
            return;
        }
        let lasts = key.and_then(|key| key.expires_in).map_or(self.lasts, |expires| expires.min(self.lasts));
        self.make_room(now);
        self.entries.insert(key_id, (key.map_or(Known::Nobody, Known::Valid), now + lasts));
    }

    pub fn revoke(&mut self, key_id: Uuid, now: Instant) {
        self.make_room(now);
        self.entries.insert(key_id, (Known::Revoked, now + REVOKED_FOR));
    }

    /// What the database said last may not hold any more. What was revoked here stays so.
    pub fn forget(&mut self, key_id: Uuid) {
        if self.entries.get(&key_id).is_some_and(|(known, _)| *known != Known::Revoked) {
            self.entries.remove(&key_id);
        }
    }

    /// When it is full, what is over goes; then what was made up; then all but what was revoked.
    fn make_room(&mut self, now: Instant) {
        for keep in [
            |known: &Known| matches!(known, Known::Valid(_) | Known::Nobody | Known::Revoked),
            |known: &Known| matches!(known, Known::Valid(_) | Known::Revoked),
            |known: &Known| matches!(known, Known::Revoked),
        ] {
            if self.entries.len() < MOST {
                return;
            }
            self.entries.retain(|_, (known, until)| now < *until && keep(known));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::api_key::{Holder, KeyRole};

    const KEY: Uuid = Uuid::from_u128(1);
    const LASTS: Duration = Duration::from_secs(10);

    fn key(expires_in: Option<Duration>) -> Option<Valid> {
        let holder = Holder { org_id: Uuid::nil(), role: KeyRole::Finance };
        Some(Valid { key_id: KEY, secret_sha256: [7; 32], holder, expires_in })
    }

    fn valid_until(expires_in: Option<Duration>, after: Duration) -> bool {
        let (mut cache, now) = (Cache::new(LASTS), Instant::now());
        cache.put(KEY, key(expires_in), now);
        cache.get(KEY, now + after).and_then(Known::key).is_some()
    }

    #[test]
    fn an_entry_lasts_for_its_time_and_never_longer_than_the_key() {
        let second = Duration::from_secs(1);
        assert!(valid_until(None, LASTS - second) && !valid_until(None, LASTS));
        assert!(valid_until(Some(2 * second), second) && !valid_until(Some(2 * second), 2 * second));
        let (mut cache, now) = (Cache::new(LASTS), Instant::now());
        cache.put(KEY, None, now);
        assert_eq!(cache.get(KEY, now), Some(Known::Nobody));
        assert_eq!(cache.get(KEY, now + LASTS), None);
    }

    #[test]
    fn what_was_revoked_here_is_not_brought_back_by_a_look_up_that_began_before() {
        let (mut cache, now) = (Cache::new(LASTS), Instant::now());
        cache.revoke(KEY, now);
        cache.put(KEY, key(None), now);
        assert_eq!(cache.get(KEY, now), Some(Known::Revoked));
    }

    #[test]
    fn what_may_have_changed_is_looked_up_again_unless_it_was_revoked() {
        let (mut cache, now) = (Cache::new(LASTS), Instant::now());
        cache.put(KEY, key(None), now);
        cache.forget(KEY);
        assert_eq!(cache.get(KEY, now), None);
        cache.revoke(KEY, now);
        cache.forget(KEY);
        assert_eq!(cache.get(KEY, now), Some(Known::Revoked));
    }

    #[test]
    fn made_up_ids_take_bounded_room_and_push_out_no_key() {
        let (mut cache, now) = (Cache::new(LASTS), Instant::now());
        cache.put(KEY, key(None), now);
        for id in 2..u128::try_from(3 * MOST).unwrap() {
            cache.put(Uuid::from_u128(id), None, now);
        }
        assert!(cache.entries.len() <= MOST);
        assert!(cache.get(KEY, now).and_then(Known::key).is_some());
    }
}
