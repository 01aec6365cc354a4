//! The dedupe window: which recent keys a partition has seen, in bounded memory.
//!
//! It decides one thing: is this event *certainly* new? It may only say so when it holds every committed key of
//! the partition that lies within the window of the event. It keeps 48-bit fingerprints, so that it can take a new
//! key for a known one (once in 10⁸ at the default size), which costs a look-up; never a known one for a new one.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
};

use chrono::{DateTime, TimeDelta, Utc};
use hashbrown::HashTable;

use crate::domain::event::EventKey;

const HOUR_MICROS: i64 = 3_600_000_000;
/// An entry is a fingerprint above and the hour of its event below, relative to the window's base.
const HOUR_BITS: u32 = 16;
/// Bytes that the table needs a slot: the entry and its control byte.
const SLOT_BYTES: usize = size_of::<u64>() + 1;
/// Hours before its making that a window distinguishes; all that is older counts as one hour, forgotten first.
const BASE_HOURS: i64 = 24 * 70;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// No event of this key within the window is committed or in flight.
    New,
    /// The database decides.
    Suspect,
}

pub struct Window {
    entries: HashTable<u64>,
    hasher: RandomState,
    /// Entries by hour, to know what forgetting the oldest frees.
    hours: BTreeMap<u16, usize>,
    base_hour: i64,
    max_entries: usize,
    /// Microseconds: how far a resend's `occurred_at` may lie from the first one's.
    length: i64,
    /// Every committed key from here on is held. Microseconds since 1970.
    covered_from: i64,
    /// Keys before this are not kept any more. At most `covered_from`.
    kept_from: i64,
}

impl Window {
    /// A cold window, which covers nothing: whatever the rules are now, an event may have been stored from any time
    /// under earlier ones. Hours are distinguished around `now`.
    pub fn new(memory_bytes: usize, length: TimeDelta, now: DateTime<Utc>) -> Self {
        // The table doubles: its last doubling needs the half-sized one beside it.
        let slots = (memory_bytes / SLOT_BYTES * 2 / 3).max(16);
        let slots = 1_usize << slots.ilog2();
        Self {
            entries: HashTable::new(),
            hasher: RandomState::new(),
            hours: BTreeMap::new(),
            base_hour: now.timestamp_micros().div_euclid(HOUR_MICROS) - BASE_HOURS,
            max_entries: slots / 8 * 7,
            length: length.num_microseconds().unwrap_or(i64::MAX),
            covered_from: i64::MAX,
            kept_from: i64::MIN,
        }
    }

    /// Judges an event as it is decoded, and remembers it.
    pub fn admit(&mut self, key: EventKey, occurred_at: DateTime<Utc>) -> Novelty {
        let at = occurred_at.timestamp_micros();
        let known = self.remember(key, at);
        let covered = self.covered_from <= at.saturating_sub(self.length);
        if covered && !known { Novelty::New } else { Novelty::Suspect }
    }

    /// Takes in a committed key read from the database.
    pub fn load(&mut self, key: EventKey, occurred_at: DateTime<Utc>) {
        self.remember(key, occurred_at.timestamp_micros());
    }

    /// All committed keys from `from` on have been loaded; `None`: all there are.
    pub fn loaded(&mut self, from: Option<DateTime<Utc>>) {
        let from = from.map_or(i64::MIN, |from| from.timestamp_micros());
        self.covered_from = self.covered_from.min(from).max(self.kept_from);
    }

    /// Committed keys are missing: nothing counts as covered until it is loaded again.
    pub fn uncover(&mut self) {
        self.covered_from = i64::MAX;
    }

    /// Nothing older than what is covered will be loaded any more, so it need not be kept.
    pub fn close(&mut self) {
        self.kept_from = self.covered_from;
    }

    /// Whether loading further back is of use; else what it would bring is forgotten at once.
    pub fn wants_more(&self) -> bool {
        self.covered_from > self.kept_from
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many keys it may hold.
    pub fn capacity(&self) -> usize {
        self.max_entries
    }

    /// How far back from `now` every committed key is held, at most the window's length.
    pub fn covered(&self, now: DateTime<Utc>) -> TimeDelta {
        let back = now.timestamp_micros().saturating_sub(self.covered_from);
        TimeDelta::microseconds(back.clamp(0, self.length))
    }

    /// Returns whether the key was there.
    fn remember(&mut self, key: EventKey, at: i64) -> bool {
        let fingerprint = self.hasher.hash_one(key) >> HOUR_BITS;
        let hash = spread(fingerprint);
        let hour = self.hour(at);
        let found = self.entries.find_mut(hash, |entry| *entry >> HOUR_BITS == fingerprint);
        if at < self.kept_from {
            return found.is_some();
        }
        if let Some(entry) = found {
            // Of two moments the later is kept: it is forgotten last.
            let before = hour_of(*entry);
            if hour > before {
                *entry = fingerprint << HOUR_BITS | u64::from(hour);
                self.uncount(before);
                *self.hours.entry(hour).or_default() += 1;
            }
            return true;
        }
        if self.entries.len() >= self.max_entries {
            self.forget_oldest();
            if at < self.kept_from {
                return false;
            }
        }
        self.entries.insert_unique(hash, fingerprint << HOUR_BITS | u64::from(hour), |e| spread(e >> HOUR_BITS));
        *self.hours.entry(hour).or_default() += 1;
        false
    }

    /// Forgets the oldest hours until an eighth of the memory is free.
    fn forget_oldest(&mut self) {
        let enough = self.max_entries / 8 * 7;
        let mut left = self.entries.len();
        let mut cut = 0;
        while left > enough
            && let Some((hour, count)) = self.hours.pop_first()
        {
            left -= count;
            cut = hour.saturating_add(1);
        }
        self.entries.retain(|entry| hour_of(*entry) >= cut);
        self.kept_from = self.kept_from.max((self.base_hour + i64::from(cut)).saturating_mul(HOUR_MICROS));
        self.covered_from = self.covered_from.max(self.kept_from);
    }

    fn hour(&self, at: i64) -> u16 {
        let hour = at.div_euclid(HOUR_MICROS) - self.base_hour;
        u16::try_from(hour.max(0)).unwrap_or(u16::MAX)
    }

    fn uncount(&mut self, hour: u16) {
        if let Some(count) = self.hours.get_mut(&hour) {
            *count -= 1;
            if *count == 0 {
                self.hours.remove(&hour);
            }
        }
    }
}

/// The table takes a hash's low bits for the slot and its high bits for the control byte.
fn spread(fingerprint: u64) -> u64 {
    fingerprint.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are the hour")]
fn hour_of(entry: u64) -> u16 {
    entry as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn key(n: u128) -> EventKey {
        EventKey { org_id: Uuid::from_u128(1), event_id: Uuid::from_u128(n) }
    }

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_000_000 / 3600 * 3600 + hour * 3600, 0).unwrap()
    }

    fn window(memory_bytes: usize) -> Window {
        Window::new(memory_bytes, TimeDelta::hours(24), at(0))
    }

    #[test]
    fn a_cold_window_suspects_all() {
        let mut window = window(1 << 20);
        for hour in [0, 24, 1000] {
            assert_eq!(window.admit(key(1), at(hour)), Novelty::Suspect);
        }
        window.loaded(Some(at(0)));
        assert_eq!(window.admit(key(2), at(23)), Novelty::Suspect);
        assert_eq!(window.admit(key(3), at(24)), Novelty::New);
        assert_eq!(window.admit(key(3), at(25)), Novelty::Suspect);
    }

    #[test]
    fn loaded_keys_are_known_and_others_new() {
        let mut window = window(1 << 20);
        window.load(key(1), at(-5));
        window.loaded(Some(at(-24)));
        assert_eq!(window.admit(key(1), at(0)), Novelty::Suspect);
        assert_eq!(window.admit(key(2), at(0)), Novelty::New);
        assert_eq!(window.admit(key(3), at(-1)), Novelty::Suspect, "keys before -24 h are not loaded");
        window.loaded(None);
        assert_eq!(window.admit(key(4), at(-1)), Novelty::New);
    }

    #[test]
    fn keys_decoded_during_loading_are_known() {
        let mut window = window(1 << 20);
        assert_eq!(window.admit(key(1), at(-30)), Novelty::Suspect);
        window.loaded(Some(at(-60)));
        assert_eq!(window.admit(key(1), at(-30)), Novelty::Suspect);
        assert_eq!(window.admit(key(2), at(-30)), Novelty::New);
    }

    #[test]
    fn an_uncovered_window_suspects_until_reloaded() {
        let mut window = window(1 << 20);
        window.loaded(Some(at(-48)));
        window.close();
        window.uncover();
        assert_eq!(window.admit(key(1), at(0)), Novelty::Suspect);
        assert!(window.wants_more());
        window.loaded(Some(at(-100)));
        assert_eq!(window.admit(key(2), at(-24)), Novelty::New);
        assert_eq!(window.admit(key(3), at(-25)), Novelty::Suspect);
    }

    #[test]
    fn a_full_window_suspects_forgotten_hours() {
        let mut window = window(1 << 16);
        window.loaded(None);
        let mut n = 0;
        for hour in 0..60 {
            for _ in 0..200 {
                n += 1;
                window.admit(key(n), at(hour));
            }
        }
        assert!(window.len() <= window.max_entries);
        assert!(!window.wants_more());
        assert_eq!(window.admit(key(1), at(0)), Novelty::Suspect);
        assert_eq!(window.admit(key(n + 1), at(30)), Novelty::Suspect);
        assert_eq!(window.admit(key(n + 2), at(84)), Novelty::New);
    }

    proptest! {
        /// Against a plain list of all that was seen: never `New` for a key seen within the window.
        #[test]
        fn no_known_key_is_ever_certainly_new(
            events in prop::collection::vec((0u128..400, 0i64..72), 1..2000), memory in 300usize..4000,
        ) {
            let mut window = window(memory);
            window.loaded(None);
            let mut seen: Vec<(u128, i64)> = Vec::new();
            for (n, hour) in events {
                let known = seen.iter().any(|(m, h)| *m == n && (h - hour).abs() <= 24);
                let novelty = window.admit(key(n), at(hour));
                prop_assert!(!(known && novelty == Novelty::New), "key {n} at {hour}");
                seen.push((n, hour));
            }
        }
    }
}
