//! What is known of API keys for a while.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{domain::api_key::KeyState, store::access::api_keys::StoredKey};

/// Keys that are remembered, some hundred bytes each. Anybody can make up ids.
const MOST: usize = 10_000;
/// How long one is remembered that was revoked here: longer than a look-up takes that began before.
const REVOKED_FOR: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheEntry {
    Key(StoredKey),
    /// There is no such key.
    Missing,
    /// By this process: what a look-up that began before says of its state is wrong. None where the key itself is not known
    /// here.
    Revoked(Option<StoredKey>),
}

impl CacheEntry {
    /// What is to be held against a secret; none where the database must be queried.
    pub fn key(self) -> Option<Option<StoredKey>> {
        match self {
            Self::Key(key) | Self::Revoked(Some(key)) => Some(Some(key)),
            Self::Missing => Some(None),
            Self::Revoked(None) => None,
        }
    }
}

pub struct Cache {
    entries: HashMap<Uuid, (CacheEntry, Instant)>,
    /// How long a response of the database counts.
    lasts: Duration,
}

impl Cache {
    pub fn new(lasts: Duration) -> Self {
        Self { entries: HashMap::new(), lasts }
    }

    pub fn get(&self, key_id: Uuid, now: Instant) -> Option<CacheEntry> {
        self.entries.get(&key_id).filter(|(_, until)| now < *until).map(|(known, _)| *known)
    }

    /// What the database said. An active key counts until it expires at most; one that was revoked here stays so.
    pub fn put(&mut self, key_id: Uuid, key: Option<StoredKey>, now: Instant) {
        if let Some((CacheEntry::Revoked(known), _)) = self.entries.get_mut(&key_id).filter(|(_, until)| now < *until) {
            *known = key.map(revoked).or(*known);
            return;
        }
        let active = key.filter(|key| key.state == KeyState::Active);
        let lasts = active.and_then(|key| key.expires_in).map_or(self.lasts, |expires| expires.min(self.lasts));
        self.make_room(now);
        self.entries.insert(key_id, (key.map_or(CacheEntry::Missing, CacheEntry::Key), now + lasts));
    }

    pub fn revoke(&mut self, key_id: Uuid, now: Instant) {
        let known = self.get(key_id, now).and_then(CacheEntry::key).flatten().map(revoked);
        self.make_room(now);
        self.entries.insert(key_id, (CacheEntry::Revoked(known), now + REVOKED_FOR));
    }

    /// What the database said last may not hold any more. What was revoked here stays so.
    pub fn forget_all(&mut self) {
        self.entries.retain(|_, (known, _)| matches!(known, CacheEntry::Revoked(_)));
    }

    /// When it is full, what is over goes; then what was made up; then all but what was revoked.
    fn make_room(&mut self, now: Instant) {
        for keep in [
            |known: &CacheEntry| matches!(known, CacheEntry::Key(_) | CacheEntry::Missing | CacheEntry::Revoked(_)),
            |known: &CacheEntry| matches!(known, CacheEntry::Key(_) | CacheEntry::Revoked(_)),
            |known: &CacheEntry| matches!(known, CacheEntry::Revoked(_)),
        ] {
            if self.entries.len() < MOST {
                return;
            }
            self.entries.retain(|_, (known, until)| now < *until && keep(known));
        }
    }
}

fn revoked(key: StoredKey) -> StoredKey {
    StoredKey { state: KeyState::Revoked, ..key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::api_key::{Holder, KeyRole};

    const KEY: Uuid = Uuid::from_u128(1);
    const LASTS: Duration = Duration::from_secs(10);

    fn key(expires_in: Option<Duration>) -> Option<StoredKey> {
        let holder = Holder { org_id: Uuid::nil(), role: KeyRole::Finance, expires_at: None };
        Some(StoredKey { key_id: KEY, secret_sha256: [7; 32], holder, state: KeyState::Active, expires_in })
    }

    fn valid_until(expires_in: Option<Duration>, after: Duration) -> bool {
        let (mut cache, now) = (Cache::new(LASTS), Instant::now());
        cache.put(KEY, key(expires_in), now);
        cache.get(KEY, now + after).and_then(CacheEntry::key).is_some()
    }

    #[test]
    fn an_entry_never_outlives_its_key() {
        let second = Duration::from_secs(1);
        assert!(valid_until(None, LASTS - second) && !valid_until(None, LASTS));
        assert!(valid_until(Some(2 * second), second) && !valid_until(Some(2 * second), 2 * second));
        let (mut cache, now) = (Cache::new(LASTS), Instant::now());
        cache.put(KEY, None, now);
        assert_eq!(cache.get(KEY, now), Some(CacheEntry::Missing));
        assert_eq!(cache.get(KEY, now + LASTS), None);
    }

    #[test]
    fn an_earlier_lookup_does_not_restore_revoked_keys() {
        let (mut cache, now) = (Cache::new(LASTS), Instant::now());
        cache.revoke(KEY, now);
        cache.put(KEY, key(None), now);
        // It is known now, and revoked whatever the look-up said.
        assert_eq!(cache.get(KEY, now), Some(CacheEntry::Revoked(key(None).map(revoked))));
        let mut cache = Cache::new(LASTS);
        cache.put(KEY, key(None), now);
        cache.revoke(KEY, now);
        assert_eq!(
            cache.get(KEY, now).and_then(CacheEntry::key).flatten().map(|key| key.state),
            Some(KeyState::Revoked)
        );
    }

    #[test]
    fn forgotten_keys_are_looked_up_unless_revoked() {
        let (mut cache, now) = (Cache::new(LASTS), Instant::now());
        cache.put(KEY, key(None), now);
        cache.forget_all();
        assert_eq!(cache.get(KEY, now), None);
        cache.revoke(KEY, now);
        cache.forget_all();
        assert_eq!(cache.get(KEY, now), Some(CacheEntry::Revoked(None)));
    }

    #[test]
    fn unknown_ids_are_bounded_and_evict_no_key() {
        let (mut cache, now) = (Cache::new(LASTS), Instant::now());
        cache.put(KEY, key(None), now);
        for id in 2..u128::try_from(3 * MOST).unwrap() {
            cache.put(Uuid::from_u128(id), None, now);
        }
        assert!(cache.entries.len() <= MOST);
        assert!(cache.get(KEY, now).and_then(CacheEntry::key).is_some());
    }
}
