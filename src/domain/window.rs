//! The dedupe window: which recent keys a partition has seen, in bounded memory.
//!
//! It decides one thing: is this event *certainly* new? It may only say so when it holds every committed key of
//! the partition that lies within the window of the event. It keeps them in a [`Filter`], so that it can take a new
//! key for a known one, which costs a look-up; never a known one for a new one.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::{
    event::{EventKey, KeyHasher},
    filter::{Age, Filter},
};

const HOUR_MICROS: i64 = 3_600_000_000;
/// Ages that stand for a period each; the oldest one stands for all periods before these.
const PERIODS: i64 = Age::COUNT as i64 - 2;
/// The age of the first period; one less is that of all before.
const FIRST_PERIODS_AGE: i64 = 2;
/// Into so many periods twice the window is divided: keys that are so old are loaded and of use.
const PERIODS_KEPT: i64 = PERIODS - 4;
/// How many periods further at once: each time all keys are passed over.
const STEP: i64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// No event of this key within the window is committed or in flight.
    New,
    /// The database decides.
    Suspect,
}

pub struct Window {
    keys: Filter,
    hasher: KeyHasher,
    /// Keys by age, to know what forgetting the oldest frees.
    ages: [usize; Age::COUNT],
    /// Length of a period, microseconds.
    period: i64,
    /// The oldest period with an age of its own, as its number since 1970.
    first_period: i64,
    /// Microseconds: how far a resend's `occurred_at` may lie from the first one's.
    length: i64,
    /// Every committed key from here on is held. Microseconds since 1970.
    covered_from: i64,
    /// Up to here: later ones lie beyond the last period.
    covered_to: i64,
    /// Keys before this are not kept any more. At most `covered_from`.
    kept_from: i64,
}

impl Window {
    /// A cold window, which covers nothing: whatever the rules are now, an event may have been stored from any time
    /// under earlier ones.
    pub fn new(memory_bytes: usize, length: TimeDelta, now: DateTime<Utc>) -> Self {
        let length = length.num_microseconds().unwrap_or(i64::MAX);
        let period = (length.saturating_mul(2) / PERIODS_KEPT).max(HOUR_MICROS);
        // Events may be somewhat ahead of the clock.
        let last_period = now.timestamp_micros().div_euclid(period) + 1;
        Self {
            keys: Filter::new(memory_bytes),
            hasher: KeyHasher::default(),
            ages: [0; Age::COUNT],
            period,
            first_period: last_period - (PERIODS - 1),
            length,
            covered_from: i64::MAX,
            covered_to: i64::MAX,
            kept_from: i64::MIN,
        }
    }

    /// What [`Self::admit`] takes of a key.
    pub fn hash(&self, key: EventKey) -> u64 {
        self.hasher.hash(key)
    }

    /// Judges an event as it is decoded, by the hash of its key, and remembers it.
    pub fn admit(&mut self, hash: u64, occurred_at: DateTime<Utc>) -> Novelty {
        let at = occurred_at.timestamp_micros();
        self.reach(at);
        let known = self.remember(hash, at);
        let covered =
            self.covered_from <= at.saturating_sub(self.length) && self.covered_to > at.saturating_add(self.length);
        if covered && !known { Novelty::New } else { Novelty::Suspect }
    }

    /// Takes in a committed key read from the database.
    pub fn load(&mut self, key: EventKey, occurred_at: DateTime<Utc>) {
        self.remember(self.hash(key), occurred_at.timestamp_micros());
    }

    /// All committed keys from `from` on have been loaded; `None`: all there are.
    pub fn loaded(&mut self, from: Option<DateTime<Utc>>) {
        let from = from.map_or(i64::MIN, |from| from.timestamp_micros());
        self.covered_from = self.covered_from.min(from).max(self.kept_from);
    }

    /// Committed keys are missing: nothing counts as covered until it is loaded again.
    pub fn uncover(&mut self) {
        (self.covered_from, self.covered_to) = (i64::MAX, i64::MAX);
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
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys it may hold.
    pub fn capacity(&self) -> usize {
        self.keys.capacity()
    }

    /// How far back from `now` every committed key is held, at most the window's length.
    pub fn covered(&self, now: DateTime<Utc>) -> TimeDelta {
        let back = now.timestamp_micros().saturating_sub(self.covered_from);
        TimeDelta::microseconds(back.clamp(0, self.length))
    }

    /// Returns whether the key was there.
    fn remember(&mut self, hash: u64, at: i64) -> bool {
        let found = self.keys.age(hash);
        if at < self.kept_from {
            return found.is_some();
        }
        let Some(age) = self.age_of(at) else {
            self.covered_to = self.covered_to.min(at);
            return found.is_some();
        };
        if let Some(before) = found {
            // Of two moments the later is kept: it is forgotten last.
            if age > before {
                self.keys.set_age(hash, age);
                self.ages[before.index()] -= 1;
                self.ages[age.index()] += 1;
            }
            return true;
        }
        while self.keys.insert(hash, age).is_err() {
            self.forget_oldest();
            if at < self.kept_from {
                return false;
            }
        }
        self.ages[age.index()] += 1;
        false
    }

    /// Forgets the oldest keys until an eighth of the memory is free.
    fn forget_oldest(&mut self) {
        let enough = self.capacity() / 8 * 7;
        let mut left = self.len();
        let mut cut = Age::OLDEST.index();
        while cut < Age::COUNT && (left > enough || left == self.len()) {
            left -= std::mem::take(&mut self.ages[cut]);
            cut += 1;
        }
        self.keys.change_ages(|age| (age.index() >= cut).then_some(age));
        let kept_periods = i64::try_from(cut).unwrap_or_default() - FIRST_PERIODS_AGE;
        self.kept_from = self.kept_from.max((self.first_period + kept_periods).saturating_mul(self.period));
        self.covered_from = self.covered_from.max(self.kept_from);
    }

    /// The age of a key of that moment; none where it lies beyond the last period.
    fn age_of(&self, at: i64) -> Option<Age> {
        let period = at.div_euclid(self.period) - self.first_period;
        match u8::try_from(period.max(-1) + FIRST_PERIODS_AGE) {
            Ok(age) if usize::from(age) < Age::COUNT => Some(Age::new(age)),
            _ => None,
        }
    }

    /// Moves the periods on, so that the last ones include that moment. The first ones have no age of their own any more.
    fn reach(&mut self, at: i64) {
        let beyond = at.div_euclid(self.period) - (self.first_period + PERIODS - 1);
        if beyond <= 0 {
            return;
        }
        let periods = beyond + STEP;
        self.first_period += periods;
        let moved = |age: Age| {
            let age = i64::try_from(age.index()).unwrap_or_default() - periods;
            Age::new(u8::try_from(age.max(0)).unwrap_or_default())
        };
        self.keys.change_ages(|age| Some(moved(age)));
        let before = std::mem::replace(&mut self.ages, [0; Age::COUNT]);
        for (age, count) in (0..).zip(before).skip(1) {
            self.ages[moved(Age::new(age)).index()] += count;
        }
    }
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

    impl Window {
        fn judge(&mut self, key: EventKey, at: DateTime<Utc>) -> Novelty {
            self.admit(self.hash(key), at)
        }
    }

    fn window(memory_bytes: usize) -> Window {
        Window::new(memory_bytes, TimeDelta::hours(24), at(0))
    }

    #[test]
    fn a_cold_window_suspects_all() {
        let mut window = window(1 << 20);
        for hour in [0, 24, 1000] {
            assert_eq!(window.judge(key(1), at(hour)), Novelty::Suspect);
        }
        window.loaded(Some(at(0)));
        assert_eq!(window.judge(key(2), at(23)), Novelty::Suspect);
        assert_eq!(window.judge(key(3), at(24)), Novelty::New);
        assert_eq!(window.judge(key(3), at(25)), Novelty::Suspect);
    }

    #[test]
    fn loaded_keys_are_known_and_others_new() {
        let mut window = window(1 << 20);
        window.load(key(1), at(-5));
        window.loaded(Some(at(-24)));
        assert_eq!(window.judge(key(1), at(0)), Novelty::Suspect);
        assert_eq!(window.judge(key(2), at(0)), Novelty::New);
        assert_eq!(window.judge(key(3), at(-1)), Novelty::Suspect, "keys before -24 h are not loaded");
        window.loaded(None);
        assert_eq!(window.judge(key(4), at(-1)), Novelty::New);
    }

    #[test]
    fn keys_decoded_during_loading_are_known() {
        let mut window = window(1 << 20);
        assert_eq!(window.judge(key(1), at(-30)), Novelty::Suspect);
        window.loaded(Some(at(-60)));
        assert_eq!(window.judge(key(1), at(-30)), Novelty::Suspect);
        assert_eq!(window.judge(key(2), at(-30)), Novelty::New);
    }

    #[test]
    fn an_uncovered_window_suspects_until_reloaded() {
        let mut window = window(1 << 20);
        window.loaded(Some(at(-48)));
        window.close();
        window.uncover();
        assert_eq!(window.judge(key(1), at(0)), Novelty::Suspect);
        assert!(window.wants_more());
        window.loaded(Some(at(-100)));
        assert_eq!(window.judge(key(2), at(-24)), Novelty::New);
        assert_eq!(window.judge(key(3), at(-25)), Novelty::Suspect);
    }

    #[test]
    fn a_full_window_suspects_forgotten_hours() {
        let mut window = window(1 << 15);
        window.loaded(None);
        let mut n = 0;
        for hour in 0..60 {
            for _ in 0..200 {
                n += 1;
                window.judge(key(n), at(hour));
            }
        }
        assert!(window.len() <= window.capacity());
        assert!(!window.wants_more());
        assert_eq!(window.judge(key(1), at(0)), Novelty::Suspect);
        assert_eq!(window.judge(key(n + 1), at(30)), Novelty::Suspect);
        assert_eq!(window.judge(key(n + 2), at(84)), Novelty::New);
    }

    #[test]
    fn a_stored_event_far_ahead_costs_look_ups_near_it() {
        let mut window = window(1 << 20);
        window.load(key(1), at(9000));
        window.loaded(None);
        assert_eq!(window.judge(key(2), at(0)), Novelty::New);
        assert_eq!(window.judge(key(1), at(8990)), Novelty::Suspect);
        assert_eq!(window.judge(key(3), at(9025)), Novelty::Suspect);
    }

    #[test]
    fn a_window_of_a_month_holds_two() {
        let mut window = Window::new(1 << 20, TimeDelta::hours(768), at(0));
        window.loaded(None);
        for n in 0..1536 {
            window.judge(key(n), at(-i64::try_from(n).unwrap()));
        }
        assert_eq!(window.ages[Age::OLDEST.index()], 0, "all are distinguished by age");
    }

    proptest! {
        /// Against a plain list of all that was seen: never `New` for a key seen within the window.
        #[test]
        fn no_known_key_is_ever_certainly_new(
            events in prop::collection::vec(
                (0u128..400, prop_oneof![20 => 0i64..72, 1 => -4000i64..4000], prop::bool::weighted(0.1)), 1..2000,
            ),
            memory in 300usize..4000,
        ) {
            let mut window = window(memory);
            window.loaded(None);
            let mut seen: Vec<(u128, i64)> = Vec::new();
            for (n, hour, is_stored) in events {
                if is_stored {
                    window.load(key(n), at(hour));
                } else {
                    let known = seen.iter().any(|(m, h)| *m == n && (h - hour).abs() <= 24);
                    let novelty = window.judge(key(n), at(hour));
                    prop_assert!(!(known && novelty == Novelty::New), "key {n} at {hour}");
                }
                seen.push((n, hour));
            }
            prop_assert_eq!(window.ages.iter().sum::<usize>(), window.len());
        }
    }
}
