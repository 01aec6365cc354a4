//! Aggregates: what a batch adds to the rollups, and how batches fold into one another.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

use chrono::{DateTime, TimeDelta, Utc};
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    event::{Event, Status},
    histogram::Histogram,
    ledger::Ledger,
    money::Cents,
    packed::{Form, PackedError},
};

const HOUR_SECONDS: i64 = 3600;
const HOURS_A_DAY: i32 = 24;

/// A rollup row's key: org, UTC bucket as its number since 1970, model. In the order of the tables' primary keys, so
/// that sorted keys are locked in one order by everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub org_id: Uuid,
    pub bucket: i32,
    pub model_id: Uuid,
}

/// What is summed for one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measures {
    /// In the order of [`Status::ALL`].
    pub by_status: [u64; 4],
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: Cents,
    /// Milliseconds.
    pub latency_sum: u64,
    pub latency_min: u32,
    pub latency_max: u32,
    pub latency: Histogram,
    /// Microseconds since 1970.
    pub last_event_at: i64,
}

impl Default for Measures {
    /// Of no event: adding it changes nothing.
    fn default() -> Self {
        Self {
            by_status: [0; 4],
            input_tokens: 0,
            output_tokens: 0,
            cost: Cents::default(),
            latency_sum: 0,
            // The largest that the column holds: adding it is adding nothing.
            latency_min: i32::MAX.unsigned_abs(),
            latency_max: 0,
            latency: Histogram::default(),
            last_event_at: i64::MIN,
        }
    }
}

impl Measures {
    fn record(&mut self, event: &Event) {
        self.by_status[event.status as usize] += 1;
        self.input_tokens += u64::from(event.input_tokens);
        self.output_tokens += u64::from(event.output_tokens);
        self.cost += event.cost_estimate_cents;
        self.latency_sum += u64::from(event.latency_ms);
        self.latency_min = self.latency_min.min(event.latency_ms);
        self.latency_max = self.latency_max.max(event.latency_ms);
        self.latency.record(event.latency_ms);
        self.last_event_at = self.last_event_at.max(event.occurred_at.timestamp_micros());
    }

    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.by_status.iter_mut().zip(other.by_status) {
            *sum += count;
        }
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cost += other.cost;
        self.latency_sum += other.latency_sum;
        self.latency_min = self.latency_min.min(other.latency_min);
        self.latency_max = self.latency_max.max(other.latency_max);
        self.latency.merge(&other.latency);
        self.last_event_at = self.last_event_at.max(other.last_event_at);
    }

    pub fn invocations(&self) -> u64 {
        self.by_status.iter().sum()
    }

    pub fn of_status(&self, status: Status) -> u64 {
        self.by_status[status as usize]
    }
}

/// The hour bucket of a moment.
pub fn hour_of(at: DateTime<Utc>) -> i32 {
    // Every accepted moment lies within some thousand years of 1970.
    i32::try_from(at.timestamp().div_euclid(HOUR_SECONDS)).unwrap_or(i32::MAX)
}

/// The day bucket of a moment.
pub fn day_of(at: DateTime<Utc>) -> i32 {
    day_of_hour(hour_of(at))
}

/// The first hour that is not final when everything up to that moment is known: an hour is, that long after its end.
pub fn first_open_hour(known_to: DateTime<Utc>, late_after: TimeDelta) -> i32 {
    hour_of(known_to - late_after)
}

/// The day bucket that an hour bucket lies in.
pub fn day_of_hour(hour: i32) -> i32 {
    hour.div_euclid(HOURS_A_DAY)
}

/// Where an hour bucket starts.
pub fn hour_start(hour: i32) -> DateTime<Utc> {
    DateTime::from_timestamp(i64::from(hour) * HOUR_SECONDS, 0).unwrap_or_default()
}

/// Where a day bucket starts.
pub fn day_start(day: i32) -> DateTime<Utc> {
    hour_start(day.saturating_mul(HOURS_A_DAY))
}

/// What one committed batch adds: its pending row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub hourly: Vec<(Key, Measures)>,
    pub ledger: Ledger,
    /// Publish time of the batch's last message that has one, microseconds since 1970.
    pub published_to: Option<i64>,
}

/// Versions of the packed form, its first byte: a pending row outlives the process that wrote it. In the first one costs are
/// ten-thousandths of a cent, in the second 10⁻¹² cents. What the first one can hold is still written in it, so that processes
/// of the build before, which know no other, can work beside this one until a finer cost comes.
const IN_TEN_THOUSANDTHS: Form = Form { what: PENDING, version: 1 };
const IN_UNITS: Form = Form { what: PENDING, version: 2 };
const PENDING: &str = "pending aggregates";

impl Pending {
    /// Aggregates the events that were stored.
    pub fn of<'a>(stored: impl Iterator<Item = &'a Event>, ledger: Ledger, published_to: Option<i64>) -> Self {
        let mut hourly: Vec<(Key, Measures)> = Vec::new();
        let mut places: HashMap<Key, usize, RandomState> = HashMap::default();
        for event in stored {
            let key = Key { org_id: event.org_id, bucket: hour_of(event.occurred_at), model_id: event.model_id };
            let place = *places.entry(key).or_insert(hourly.len());
            if place == hourly.len() {
                hourly.push((key, Measures::default()));
            }
            hourly[place].1.record(event);
        }
        Self { hourly, ledger, published_to }
    }

    /// Makes it add nothing to these hours, since what it has of them is counted otherwise; when their last event was is
    /// still recorded. Whether there were any.
    pub fn neutralise(&mut self, is_counted: impl Fn(&Key) -> bool) -> bool {
        let mut found = false;
        for (_, measures) in self.hourly.iter_mut().filter(|(key, _)| is_counted(key)) {
            *measures = Measures { last_event_at: measures.last_event_at, ..Measures::default() };
            found = true;
        }
        found
    }

    /// Takes out what it would add to an org's rollups, and when its events were. Its counts for the ledger stay. Whether
    /// there was anything.
    pub fn forget(&mut self, org_id: Uuid) -> bool {
        let before = self.hourly.len();
        self.hourly.retain(|(key, _)| key.org_id != org_id);
        self.hourly.len() < before
    }

    pub fn pack(mut self) -> Result<Vec<u8>, PackedError> {
        if self.hourly.iter().any(|(_, measures)| measures.cost.ten_thousandths().is_none()) {
            return IN_UNITS.pack(&self);
        }
        for (_, measures) in &mut self.hourly {
            measures.cost = Cents::from_units(measures.cost.ten_thousandths().unwrap_or_default());
        }
        IN_TEN_THOUSANDTHS.pack(&self)
    }

    pub fn unpack(bytes: &[u8]) -> Result<Self, PackedError> {
        if bytes.first() == Some(&IN_UNITS.version) {
            return IN_UNITS.unpack(bytes);
        }
        let mut pending: Self = IN_TEN_THOUSANDTHS.unpack(bytes)?;
        for (_, measures) in &mut pending.hourly {
            measures.cost = Cents::from_ten_thousandths(measures.cost.units());
        }
        Ok(pending)
    }
}

/// Many pending rows folded: what one merge adds to each table.
#[derive(Debug, Default)]
pub struct Merge {
    pub hourly: BTreeMap<Key, Measures>,
    pub daily: BTreeMap<Key, Measures>,
    /// By org and model, when the last event of neutral hours was: for markers alone. What rollups have of such an hour was
    /// counted from raw events, which may not have that event any more.
    pub neutral: BTreeMap<(Uuid, Uuid), i64>,
    /// Those of the hours that a replay adds to.
    pub replayed: BTreeSet<Key>,
    /// By (org, hour of commit).
    pub ledger: BTreeMap<(Option<Uuid>, i32), crate::domain::ledger::Counts>,
    /// Publish time of the last message, microseconds since 1970.
    pub published_to: Option<i64>,
    pub batches: usize,
}

/// A merge while batches are folded into it.
#[derive(Default)]
pub struct Folding {
    hourly: HashMap<Key, Measures, RandomState>,
    /// All but its hours and days.
    merge: Merge,
}

impl Folding {
    /// Takes in what a batch that was committed at that moment adds.
    pub fn add(&mut self, pending: Pending, committed_at: DateTime<Utc>, replayed: bool) {
        let merge = &mut self.merge;
        for (key, measures) in pending.hourly {
            if measures.invocations() == 0 {
                let last = merge.neutral.entry((key.org_id, key.model_id)).or_insert(measures.last_event_at);
                *last = measures.last_event_at.max(*last);
                continue;
            }
            if replayed {
                merge.replayed.insert(key);
            }
            match self.hourly.entry(key) {
                Entry::Occupied(mut sum) => sum.get_mut().merge(&measures),
                Entry::Vacant(first) => {
                    first.insert(measures);
                }
            }
        }
        let hour = hour_of(committed_at);
        for (org_id, counts) in pending.ledger.0 {
            *merge.ledger.entry((org_id, hour)).or_default() += counts;
        }
        merge.published_to = merge.published_to.max(pending.published_to);
        merge.batches += 1;
    }

    /// With the days, which are summed from the hours.
    pub fn finish(self) -> Merge {
        let Self { hourly, mut merge } = self;
        merge.hourly = hourly.into_iter().collect();
        for (key, measures) in &merge.hourly {
            let day = Key { bucket: day_of_hour(key.bucket), ..*key };
            merge.daily.entry(day).or_default().merge(measures);
        }
        merge
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ledger::{Fate, Tally};

    fn event(org: u128, at: &str, cost: i128) -> Event {
        Event {
            event_id: Uuid::from_u128(9),
            org_id: Uuid::from_u128(org),
            model_id: Uuid::from_u128(7),
            actor_id: None,
            client_id: None,
            occurred_at: at.parse().unwrap(),
            status: Status::Timeout,
            error_code: None,
            latency_ms: 5,
            input_tokens: 10,
            output_tokens: 20,
            cost_estimate_cents: Cents::from_ten_thousandths(cost),
            metadata: None,
        }
    }

    #[test]
    fn buckets_before_1970_are_utc_too() {
        let hour = hour_of("1969-12-31T22:59:59.999999Z".parse().unwrap());
        assert_eq!((hour, day_of_hour(hour)), (-2, -1));
        assert_eq!(
            day_start(day_of_hour(hour_of("2026-03-01T23:10:00Z".parse().unwrap()))).to_rfc3339(),
            "2026-03-01T00:00:00+00:00"
        );
    }

    #[test]
    fn an_hour_is_final_after_another_hour() {
        let first_open = |at: &str| first_open_hour(at.parse().unwrap(), TimeDelta::hours(1));
        let ten = hour_of("2026-03-01T10:00:00Z".parse().unwrap());
        assert_eq!(first_open("2026-03-01T11:59:59.999999Z"), ten);
        assert_eq!(first_open("2026-03-01T12:00:00Z"), ten + 1, "the hour that ended at eleven is final");
    }

    #[test]
    fn folding_packed_batches_keeps_every_sum() {
        let mut tally = Tally::default();
        tally.count(Some(Uuid::from_u128(1)), Fate::Stored { late: false });
        let ledger = Ledger::from(tally);
        let first = [event(1, "2026-03-01T10:00:00Z", 1), event(1, "2026-03-01T11:00:00Z", 2)];
        let second = [event(1, "2026-03-01T10:59:59.999999Z", 3), event(2, "2026-03-01T10:00:00Z", 4)];
        let mut merge = Folding::default();
        for events in [&first, &second] {
            let pending = Pending::of(events.iter(), ledger.clone(), Some(5));
            let unpacked = Pending::unpack(&pending.clone().pack().unwrap()).unwrap();
            assert_eq!(unpacked, pending);
            merge.add(unpacked, "2026-03-01T12:30:00Z".parse().unwrap(), false);
        }
        let merge = merge.finish();
        assert_eq!((merge.hourly.len(), merge.daily.len(), merge.batches), (3, 2, 2));
        let (_, day) = merge.daily.first_key_value().unwrap();
        assert_eq!(
            (day.cost, day.input_tokens, day.of_status(Status::Timeout)),
            (Cents::from_ten_thousandths(6), 30, 3)
        );
        assert_eq!(day.latency.count(), 3);
        assert_eq!(merge.ledger.values().map(|counts| counts.received).sum::<u64>(), 2);
    }

    #[test]
    fn a_neutral_hour_keeps_its_last_event() {
        let events = [event(1, "2026-03-01T10:00:00Z", 1), event(1, "2026-03-01T11:00:00Z", 2)];
        let mut pending = Pending::of(events.iter(), Ledger::default(), None);
        let ten = hour_of(events[0].occurred_at);
        assert!(pending.neutralise(|key| key.bucket == ten));
        assert!(!pending.neutralise(|key| key.bucket == ten + 5));
        let mut merge = Folding::default();
        merge.add(Pending::unpack(&pending.clone().pack().unwrap()).unwrap(), events[1].occurred_at, false);
        let merge = merge.finish();
        let (_, day) = merge.daily.first_key_value().unwrap();
        assert_eq!((day.invocations(), day.cost, day.latency_min), (1, Cents::from_ten_thousandths(2), 5));
        assert_eq!(merge.hourly.keys().map(|key| key.bucket).collect::<Vec<_>>(), [ten + 1]);
        assert_eq!(day.last_event_at, events[1].occurred_at.timestamp_micros());
        assert_eq!(merge.neutral.into_values().collect::<Vec<_>>(), [events[0].occurred_at.timestamp_micros()]);
    }

    #[test]
    fn a_forgotten_org_leaves_only_counts() {
        let events = [event(1, "2026-03-01T10:00:00Z", 1), event(2, "2026-03-01T10:00:00Z", 2)];
        let mut tally = Tally::default();
        tally.count(Some(Uuid::from_u128(1)), Fate::Stored { late: false });
        let ledger = Ledger::from(tally);
        let mut pending = Pending::of(events.iter(), ledger.clone(), None);
        assert!(pending.forget(Uuid::from_u128(1)));
        assert!(!pending.forget(Uuid::from_u128(1)));
        assert_eq!(pending.hourly.iter().map(|(key, _)| key.org_id).collect::<Vec<_>>(), [Uuid::from_u128(2)]);
        assert_eq!(pending.ledger, ledger);
    }

    #[test]
    fn a_row_of_the_build_before_still_counts() {
        // Of the build before: version 1, one hour, whose cost is 12,345 ten-thousandths of a cent.
        let mut pending = Pending::of([event(1, "2026-03-01T10:00:00Z", 12_345)].iter(), Ledger::default(), Some(5));
        let packed = pending.clone().pack().unwrap();
        assert_eq!(
            packed[0], IN_TEN_THOUSANDTHS.version,
            "processes of the build before can read what they could write"
        );
        let mut before = pending.clone();
        before.hourly[0].1.cost = Cents::from_units(12_345);
        assert_eq!(packed[1..], postcard::to_stdvec(&before).unwrap());
        assert_eq!(Pending::unpack(&packed).unwrap(), pending);
        pending.hourly[0].1.cost = Cents::from_units(1);
        let packed = pending.clone().pack().unwrap();
        assert_eq!((packed[0], Pending::unpack(&packed).unwrap()), (IN_UNITS.version, pending));
    }

    #[test]
    fn a_pending_row_of_another_version_is_named() {
        assert_eq!(
            Pending::unpack(&[9, 0]).unwrap_err().to_string(),
            "pending aggregates: version 9 is not known here"
        );
        assert!(Pending::unpack(&[]).is_err());
    }
}
