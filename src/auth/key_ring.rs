//! The keys of the configured key set, as they were when its source was read last.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use super::jwks::{CheckingKey, KeySet};

/// Clones share the keys: an actor puts them in, the verifiers look them up.
#[derive(Clone, Default)]
pub struct KeyRing(Arc<RwLock<Option<Held>>>);

struct Held {
    keys: KeySet,
    /// When the source last said so.
    as_of: Instant,
}

/// Why there is no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// The source has not been read yet, or not for longer than its keys may be used.
    Away,
    /// The set has no key of this name, or the token names none and there is more than one.
    Unknown,
}

impl KeyRing {
    /// From now on these keys count, and no others.
    pub fn put(&self, keys: KeySet) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Held { keys, as_of: Instant::now() });
    }

    /// The source still says what it said.
    pub fn confirm(&self) {
        if let Some(held) = self.0.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
            held.as_of = Instant::now();
        }
    }

    /// Whether no token can be checked, since nothing was read yet or what was read has no key that can be used.
    pub fn is_empty(&self) -> bool {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().is_none_or(|held| held.keys.is_empty())
    }

    /// The key of that name, or the only one; of what was read at most that long ago.
    pub fn find(&self, kid: Option<&str>, not_older: Duration) -> Result<CheckingKey, NoKey> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let held = held.as_ref().filter(|held| held.as_of.elapsed() <= not_older).ok_or(NoKey::Away)?;
        let key = match kid {
            Some(kid) => held.keys.named(kid),
            None => held.keys.only(),
        };
        key.cloned().ok_or(NoKey::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::fixtures::{ec, ed, key_set};

    const DAY: Duration = Duration::from_secs(86_400);

    fn set(keys: &[serde_json::Value]) -> KeySet {
        KeySet::read(key_set(keys).as_bytes()).unwrap()
    }

    #[test]
    fn put_replaces_the_object() {
        let ring = KeyRing::default();
        assert_eq!(ring.find(Some("a"), DAY).err(), Some(NoKey::Away));
        ring.put(set(&[ec(1).jwk("a")]));
        assert!(ring.find(Some("a"), DAY).is_ok() && ring.find(None, DAY).is_ok());
        ring.put(set(&[ec(2).jwk("b"), ed(1).jwk("c")]));
        assert_eq!(ring.find(Some("a"), DAY).err(), Some(NoKey::Unknown));
        assert_eq!(ring.find(None, DAY).err(), Some(NoKey::Unknown), "one of two without a name");
    }

    #[test]
    fn unconfirmed_keys_expire() {
        let ring = KeyRing::default();
        ring.put(set(&[ec(1).jwk("a")]));
        // Until they are older than a millisecond.
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(ring.find(Some("a"), Duration::from_millis(1)).err(), Some(NoKey::Away));
        ring.confirm();
        assert!(ring.find(Some("a"), DAY).is_ok());
    }
}
