//! Buckets of time: hours of UTC, the days or months of a zone, or a range as a whole.

use chrono::{DateTime, Datelike, Days, DurationRound, Months, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use serde::Serialize;

/// The start of a moment's UTC day.
pub fn utc_day(at: DateTime<Utc>) -> DateTime<Utc> {
    // Fails only for moments some 300 years from now.
    at.duration_trunc(TimeDelta::days(1)).unwrap_or(at)
}

/// The first UTC day that starts at a moment or later.
pub fn next_utc_day(at: DateTime<Utc>) -> DateTime<Utc> {
    let day = utc_day(at);
    if day == at { at } else { day.checked_add_signed(TimeDelta::days(1)).unwrap_or(at) }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    Hour,
    #[default]
    Day,
    Month,
    /// One bucket, which is the range.
    None,
}

impl Granularity {
    /// Days of the longest range that may be requested at once.
    pub const fn max_days(self) -> u32 {
        match self {
            Self::Hour => 90,
            Self::Day | Self::Month | Self::None => 400,
        }
    }
}

/// Buckets that follow each other without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    pub granularity: Granularity,
    pub zone: Tz,
    /// Ascending, at least one.
    starts: Vec<DateTime<Utc>>,
    /// Of the last bucket, exclusive.
    end: DateTime<Utc>,
}

impl Buckets {
    /// Those that [start, end) touches. Hours are hours of UTC in every zone; days begin with the first moment of their
    /// date in the zone, months with that of their first date. The range as a whole begins and ends with a day of the zone where it is
    /// said to, else with an hour. `None` where the calendar ends, or the range is empty.
    pub fn covering(start: DateTime<Utc>, end: DateTime<Utc>, granularity: Granularity, zone: Tz) -> Option<Self> {
        if start >= end {
            return None;
        }
        let (mut starts, next): (Vec<_>, Box<dyn Iterator<Item = DateTime<Utc>>>) = match granularity {
            Granularity::Hour => {
                let first = start.duration_trunc(TimeDelta::hours(1)).ok()?;
                (vec![first], Box::new((1..).map_while(move |n| first.checked_add_signed(TimeDelta::hours(n)))))
            }
            Granularity::Day => {
                let date = start.with_timezone(&zone).date_naive();
                (vec![first_moment(date, zone)?], Box::new(moments_after(date, zone)))
            }
            Granularity::Month => {
                let date = start.with_timezone(&zone).date_naive().with_day(1)?;
                let next = (1..).map_while(move |n| start_of(date.checked_add_months(Months::new(n))?, zone));
                (vec![start_of(date, zone)?], Box::new(next))
            }
            Granularity::None => {
                let (first, last) = (hour_or_day(start, zone)?, hour_or_day(end, zone)?);
                let end = if last < end { last.checked_add_signed(TimeDelta::hours(1))? } else { last };
                return Some(Self { granularity, zone, starts: vec![first], end });
            }
        };
        for boundary in next {
            if boundary >= end {
                return Some(Self { granularity, zone, starts, end: boundary });
            }
            starts.push(boundary);
        }
        None
    }

    pub fn start(&self) -> DateTime<Utc> {
        self.starts[0]
    }

    pub fn end(&self) -> DateTime<Utc> {
        self.end
    }

    pub fn starts(&self) -> &[DateTime<Utc>] {
        &self.starts
    }

    /// When the bucket ends that starts then.
    pub fn end_of(&self, start: DateTime<Utc>) -> DateTime<Utc> {
        let following = self.starts.partition_point(|other| *other <= start);
        self.starts.get(following).copied().unwrap_or(self.end)
    }

    /// The first moment from then on that a bucket of this kind begins with. `None` where the calendar ends.
    pub fn first_start_from(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let just_after = moment.checked_add_signed(TimeDelta::microseconds(1))?;
        let around = Self::covering(moment, just_after, self.granularity, self.zone)?;
        Some(if around.start() == moment { moment } else { around.end })
    }

    /// Whether each bucket is a day of UTC, whatever the zone is called.
    pub fn are_utc_days(&self) -> bool {
        let midnight = |time: &DateTime<Utc>| time.duration_trunc(TimeDelta::days(1)).is_ok_and(|day| day == *time);
        self.granularity == Granularity::Day
            && self.starts.iter().chain([&self.end]).all(midnight)
            && self.starts.iter().all(|start| self.end_of(*start) - start == TimeDelta::days(1))
    }

    /// The parts of hours of UTC that a boundary of the range or between two buckets lies within. They ascend.
    pub fn split_hours(&self) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let mut parts: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
        for boundary in self.starts.iter().chain([&self.end]) {
            let Ok(hour) = boundary.duration_trunc(TimeDelta::hours(1)) else { continue };
            let part = (hour.max(self.start()), (hour + TimeDelta::hours(1)).min(self.end));
            if hour != *boundary && part.0 < part.1 && parts.last() != Some(&part) {
                parts.push(part);
            }
        }
        parts
    }
}

/// The moment itself where a day of the zone begins with it, else the start of its hour.
fn hour_or_day(moment: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    if first_moment(moment.with_timezone(&zone).date_naive(), zone) == Some(moment) {
        return Some(moment);
    }
    moment.duration_trunc(TimeDelta::hours(1)).ok()
}

/// The starts of the days after a date. A date that a zone leaves out has none.
fn moments_after(date: NaiveDate, zone: Tz) -> impl Iterator<Item = DateTime<Utc>> {
    (1..).map_while(move |n| date.checked_add_days(Days::new(n))).filter_map(move |date| first_moment(date, zone))
}

/// The first moment of a date in a zone; of the day after it where the zone leaves the date out.
pub fn start_of(date: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    first_moment(date, zone).or_else(|| first_moment(date.succ_opt()?, zone))
}

/// The same time of the day so many days of the zone later: days across a change of the clocks have 23 or 25 hours. The
/// later one where that time comes twice, the next one where it is left out.
pub fn days_later(at: DateTime<Utc>, days: u32, zone: Tz) -> Option<DateTime<Utc>> {
    let local = at.with_timezone(&zone).naive_local().checked_add_days(Days::new(u64::from(days)))?;
    (0..=24 * 60).find_map(|minutes| {
        let local = local.checked_add_signed(TimeDelta::minutes(minutes))?;
        Some(zone.from_local_datetime(&local).latest()?.to_utc())
    })
}

/// Where a zone's clocks leave midnight out, a date begins with the first minute that there is.
fn first_moment(date: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    (0..24 * 60).find_map(|minute| {
        let local = date.and_hms_opt(minute / 60, minute % 60, 0)?;
        Some(zone.from_local_datetime(&local).earliest()?.to_utc())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn days(start: &str, end: &str, zone: Tz) -> Buckets {
        Buckets::covering(at(start), at(end), Granularity::Day, zone).unwrap()
    }

    fn texts(buckets: &Buckets) -> Vec<String> {
        buckets.starts().iter().chain([&buckets.end()]).map(|time| time.format("%m-%dT%H:%M").to_string()).collect()
    }

    #[test]
    fn hours_are_utc_in_every_zone() {
        let (start, end) = (at("2026-03-01T10:59:59Z"), at("2026-03-01T12:00:00.000001Z"));
        for zone in [Tz::UTC, Tz::Asia__Kolkata] {
            let hours = Buckets::covering(start, end, Granularity::Hour, zone).unwrap();
            assert_eq!(texts(&hours), ["03-01T10:00", "03-01T11:00", "03-01T12:00", "03-01T13:00"]);
            assert_eq!(hours.split_hours(), []);
        }
        assert_eq!(Buckets::covering(start, start, Granularity::Hour, Tz::UTC), None);
        assert_eq!(Buckets::covering(end, start, Granularity::Day, Tz::UTC), None);
    }

    #[test]
    fn a_zones_day_has_23_to_25_hours() {
        let spring = days("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", Tz::Europe__Berlin);
        assert_eq!(texts(&spring), ["03-27T23:00", "03-28T23:00", "03-29T22:00", "03-30T22:00"]);
        let autumn = days("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", Tz::Europe__Berlin);
        assert_eq!(texts(&autumn), ["10-24T22:00", "10-25T23:00"]);
        assert_eq!(autumn.end_of(autumn.start()) - autumn.start(), TimeDelta::hours(25));
        let utc = days("2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z", Tz::UTC);
        assert!(utc.are_utc_days() && !spring.are_utc_days());
        assert!(days("2026-07-01T00:00:00Z", "2026-07-03T00:00:00Z", Tz::Africa__Abidjan).are_utc_days());
    }

    #[test]
    fn the_first_bucket_never_begins_too_early() {
        let kolkata = days("2026-03-01T18:30:00Z", "2026-03-02T18:30:00Z", Tz::Asia__Kolkata);
        let hours = Buckets::covering(kolkata.start(), kolkata.end(), Granularity::Hour, Tz::Asia__Kolkata).unwrap();
        for (buckets, moment, first) in [
            (&kolkata, "2026-01-01T00:00:00Z", "2026-01-01T18:30:00Z"),
            (&kolkata, "2026-01-01T18:30:00Z", "2026-01-01T18:30:00Z"),
            (&kolkata, "2026-01-01T18:30:00.000001Z", "2026-01-02T18:30:00Z"),
            (&hours, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            (&hours, "2026-01-01T00:00:01Z", "2026-01-01T01:00:00Z"),
        ] {
            assert_eq!(buckets.first_start_from(at(moment)), Some(at(first)), "{moment}");
        }
        assert_eq!(hours.first_start_from(DateTime::<Utc>::MAX_UTC), None);
    }

    #[test]
    fn skipped_midnights_and_skipped_dates_are_handled() {
        let beirut = days("2023-03-25T12:00:00Z", "2023-03-26T12:00:00Z", Tz::Asia__Beirut);
        assert_eq!(texts(&beirut), ["03-24T22:00", "03-25T22:00", "03-26T21:00"]);
        let apia = days("2011-12-29T12:00:00Z", "2011-12-31T10:00:00Z", Tz::Pacific__Apia);
        assert_eq!(texts(&apia), ["12-29T10:00", "12-30T10:00", "12-31T10:00"]);
    }

    #[test]
    fn months_are_those_of_the_zone() {
        let months = |start, end, zone| Buckets::covering(at(start), at(end), Granularity::Month, zone).unwrap();
        let berlin = months("2026-02-28T23:00:00Z", "2026-05-01T00:00:00Z", Tz::Europe__Berlin);
        assert_eq!(texts(&berlin), ["02-28T23:00", "03-31T22:00", "04-30T22:00", "05-31T22:00"]);
        let utc = months("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z", Tz::UTC);
        assert_eq!(texts(&utc), ["12-01T00:00", "01-01T00:00"]);
        let kolkata = months("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", Tz::Asia__Kolkata);
        assert_eq!(texts(&kolkata), ["02-28T18:30", "03-31T18:30"]);
        assert_eq!(kolkata.split_hours().len(), 2);
        assert_eq!(utc.first_start_from(at("2026-12-01T00:00:01Z")), Some(at("2027-01-01T00:00:00Z")));
    }

    #[test]
    fn a_range_as_a_whole_keeps_days_and_hours() {
        let whole = |start, end, zone| texts(&Buckets::covering(at(start), at(end), Granularity::None, zone).unwrap());
        for (start, end, zone, expected) in [
            ("2026-03-01T10:59:59Z", "2026-03-01T12:00:00.000001Z", Tz::UTC, ["03-01T10:00", "03-01T13:00"]),
            ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", Tz::UTC, ["03-01T00:00", "04-01T00:00"]),
            // Days of India begin within an hour; other moments within one do not stay.
            ("2026-02-28T18:30:00Z", "2026-03-31T18:30:00Z", Tz::Asia__Kolkata, ["02-28T18:30", "03-31T18:30"]),
            ("2026-02-28T18:30:00Z", "2026-03-31T18:31:00Z", Tz::Asia__Kolkata, ["02-28T18:30", "03-31T19:00"]),
            ("2026-02-28T18:30:00Z", "2026-03-31T18:30:00Z", Tz::UTC, ["02-28T18:00", "03-31T19:00"]),
        ] {
            assert_eq!(whole(start, end, zone), expected, "{start} {end} {zone}");
        }
    }

    #[test]
    fn zones_off_the_hour_split_hours() {
        let kolkata = days("2026-03-01T18:30:00Z", "2026-03-02T18:30:00Z", Tz::Asia__Kolkata);
        let split =
            [("2026-03-01T18:30:00Z", "2026-03-01T19:00:00Z"), ("2026-03-02T18:00:00Z", "2026-03-02T18:30:00Z")];
        assert_eq!(kolkata.split_hours(), split.map(|(from, to)| (at(from), at(to))));
        let two = days("2026-03-01T18:30:00Z", "2026-03-03T00:00:00Z", Tz::Asia__Kolkata);
        assert_eq!(two.split_hours()[1], (at("2026-03-02T18:00:00Z"), at("2026-03-02T19:00:00Z")));
        assert_eq!(days("2026-03-01T00:00:00Z", "2026-03-05T00:00:00Z", Tz::America__New_York).split_hours(), []);
    }

    #[test]
    fn local_days_are_counted_as_days() {
        for (from, days, zone, to) in [
            ("2026-09-30T22:00:00Z", 90, Tz::Europe__Berlin, "2026-12-29T23:00:00Z"),
            ("2026-02-28T23:00:00Z", 90, Tz::Europe__Berlin, "2026-05-29T22:00:00Z"),
            ("2026-09-30T22:00:00Z", 90, Tz::UTC, "2026-12-29T22:00:00Z"),
            // 02:30 comes twice that day, and is left out that day.
            ("2026-10-24T00:30:00Z", 1, Tz::Europe__Berlin, "2026-10-25T01:30:00Z"),
            ("2026-03-28T01:30:00Z", 1, Tz::Europe__Berlin, "2026-03-29T01:00:00Z"),
            ("2011-12-29T12:00:00Z", 1, Tz::Pacific__Apia, "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(days_later(at(from), days, zone), Some(at(to)), "{from} {zone}");
        }
        assert_eq!(days_later(DateTime::<Utc>::MAX_UTC, 1, Tz::UTC), None);
    }

    proptest! {
        /// Every moment of the range is in the bucket of its own local date, for every zone and year.
        #[test]
        fn buckets_are_the_dates_of_the_zone(
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()), start in 0i64..4_000_000_000, hours in 1i64..2000,
        ) {
            let start = DateTime::from_timestamp(start, 0).unwrap();
            let end = start + TimeDelta::hours(hours);
            let buckets = Buckets::covering(start, end, Granularity::Day, zone).unwrap();
            prop_assert!(buckets.start() <= start && end <= buckets.end());
            let date = |time: DateTime<Utc>| time.with_timezone(&zone).date_naive();
            for start in buckets.starts() {
                let end = buckets.end_of(*start);
                prop_assert!(*start < end);
                prop_assert_eq!(date(*start), date(end - TimeDelta::seconds(1)));
                prop_assert!(date(end) > date(*start));
            }
        }
    }
}
