//! Which hours of a range are read from sums of hours, and which parts of it from raw events.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::calendar::Buckets;

/// From a moment to another, the end exclusive.
pub type Part = (DateTime<Utc>, DateTime<Utc>);

/// Most parts that raw events are read of: each is a scan of its own. Where there are more, sums between two of them are left out.
pub const MOST_PARTS: usize = 8;
const HOUR: TimeDelta = TimeDelta::hours(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Hours that sums may serve. An hour of these that has no sum has nothing.
    pub hours: Part,
    /// What is read from raw events, in order; hours of these are not read from sums.
    pub raw: Vec<Part>,
}

impl Coverage {
    /// Of the buckets, where hours are summed in `summed`, but for those in `without`, which are in order.
    pub fn of(buckets: &Buckets, summed: Part, without: &[DateTime<Utc>]) -> Self {
        let (start, end) = (buckets.start(), buckets.end());
        let first = hour_of(start);
        let first = if first < start { first + HOUR } else { first };
        let hours = (first.max(summed.0), hour_of(end).min(summed.1));
        if hours.0 >= hours.1 {
            return Self { hours: (start, start), raw: vec![(start, end)] };
        }
        // A boundary between two buckets may lie within an hour.
        let split: Vec<_> = buckets.split_hours().iter().map(|part| hour_of(part.0)).collect();
        let mut single: Vec<_> = without.iter().chain(&split).copied().collect();
        single.retain(|hour| hours.0 <= *hour && *hour < hours.1);
        single.sort_unstable();
        let parts = [(start, hours.0)].into_iter().chain(single.into_iter().map(|hour| (hour, hour + HOUR)));
        let mut raw: Vec<Part> = Vec::new();
        for part in parts.chain([(hours.1, end)]).filter(|part| part.0 < part.1) {
            match raw.last_mut() {
                Some(last) if part.0 <= last.1 => last.1 = last.1.max(part.1),
                _ => raw.push(part),
            }
        }
        join(&mut raw);
        Self { hours, raw }
    }

    /// Whether an hour is read from its sum.
    pub fn is_summed(&self, hour: DateTime<Utc>) -> bool {
        let before = self.raw.partition_point(|part| part.0 <= hour);
        before.checked_sub(1).is_none_or(|last| self.raw[last].1 <= hour)
    }
}

/// Joins those that lie nearest to each other until they are few.
fn join(parts: &mut Vec<Part>) {
    while parts.len() > MOST_PARTS {
        let gap = |n: &usize| parts[n + 1].0 - parts[*n].1;
        let Some(nearest) = (0..parts.len() - 1).min_by_key(gap) else { return };
        parts[nearest].1 = parts[nearest + 1].1;
        parts.remove(nearest + 1);
    }
}

fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    // Fails only for moments some 300 years from now.
    at.duration_trunc(HOUR).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::calendar::Granularity;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 / 86_400 * 86_400, 0).unwrap() + HOUR * i32::try_from(hours).unwrap()
    }

    fn days(from: i64, to: i64, zone: Tz) -> Buckets {
        Buckets::covering(at(from), at(to), Granularity::Day, zone).unwrap()
    }

    #[test]
    fn what_is_not_summed_is_read_from_raw_events() {
        let buckets = days(0, 72, Tz::UTC);
        let of = |summed, without: &[i64]| {
            Coverage::of(&buckets, summed, &without.iter().map(|hour| at(*hour)).collect::<Vec<_>>())
        };
        assert_eq!(of((at(-9), at(0)), &[]).raw, [(at(0), at(72))]);
        assert_eq!(of((at(-9), at(90)), &[]).raw, []);
        let some = of((at(10), at(70)), &[3, 11, 12, 30, 71]);
        assert_eq!(some.hours, (at(10), at(70)));
        assert_eq!(some.raw, [(at(0), at(10)), (at(11), at(13)), (at(30), at(31)), (at(70), at(72))]);
        assert!(some.is_summed(at(10)) && !some.is_summed(at(12)) && some.is_summed(at(13)) && !some.is_summed(at(71)));
        // Days of this zone begin at half past.
        let kolkata = Coverage::of(&days(0, 24, Tz::Asia__Kolkata), (at(-90), at(90)), &[]);
        let half = TimeDelta::minutes(30);
        assert_eq!(kolkata.raw, [(at(-6) + half, at(-5)), (at(18), at(19)), (at(42), at(42) + half)]);
    }

    proptest! {
        #[test]
        fn each_moment_is_read_once(
            (from, to) in (-200i64..200, 1i64..200), summed in (-250i64..250, 0i64..300),
            without in prop::collection::btree_set(-200i64..400, 0..60),
            zone in prop_oneof![Just(Tz::UTC), Just(Tz::Asia__Kolkata), Just(Tz::Europe__Berlin)],
        ) {
            let buckets = days(from, from + to, zone);
            let without: Vec<_> = without.into_iter().map(at).collect();
            let coverage = Coverage::of(&buckets, (at(summed.0), at(summed.0 + summed.1)), &without);
            prop_assert!(coverage.raw.len() <= MOST_PARTS);
            prop_assert!(coverage.raw.windows(2).all(|pair| pair[0].1 < pair[1].0));
            let (mut quarter, step) = (buckets.start() - HOUR, TimeDelta::minutes(15));
            while quarter < buckets.end() + HOUR {
                let raw = coverage.raw.iter().filter(|part| part.0 <= quarter && quarter < part.1).count();
                let hour = hour_of(quarter);
                let summed = coverage.hours.0 <= hour && hour < coverage.hours.1 && coverage.is_summed(hour);
                let wanted = buckets.start() <= quarter && quarter < buckets.end();
                prop_assert_eq!(raw + usize::from(summed), usize::from(wanted), "{}", quarter);
                if summed {
                    prop_assert!(!without.contains(&hour));
                    // All of the hour is of one bucket.
                    prop_assert!(buckets.end_of(hour) >= hour + HOUR);
                }
                quarter += step;
            }
        }
    }
}
