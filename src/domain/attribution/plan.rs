//! Which parts a range is read from: whole UTC months and days where these have parts of their own, hours at the edges.

use chrono::{DateTime, Datelike as _, Days, DurationRound as _, Months, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::domain::{
    calendar::{Buckets, utc_day},
    named::named,
};

named! {
    /// The sizes of parts' buckets: of UTC.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Unit {
        Hour = "hour",
        Day = "day",
        Month = "month",
    }
}

impl Unit {
    /// The start of the bucket that a moment lies in.
    pub fn start_of(self, at: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Hour => at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at),
            Self::Day => utc_day(at),
            Self::Month => midnight(at.date_naive().with_day(1), at),
        }
    }

    /// The end of the bucket that starts then.
    pub fn end_of(self, start: DateTime<Utc>) -> DateTime<Utc> {
        let date = start.date_naive();
        match self {
            Self::Hour => start + TimeDelta::hours(1),
            Self::Day => midnight(date.checked_add_days(Days::new(1)), start),
            Self::Month => midnight(date.checked_add_months(Months::new(1)), start),
        }
    }
}

/// Where the calendar ends, the moment itself.
fn midnight(date: Option<NaiveDate>, else_at: DateTime<Utc>) -> DateTime<Utc> {
    date.map_or(else_at, |date| date.and_time(NaiveTime::MIN).and_utc())
}

/// Buckets of parts that follow each other. Each lies within one bucket of the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub unit: Unit,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

/// The parts to read, of a set whose days and months before those moments have parts of their own. Hours that a boundary lies within are
/// left out: of these raw events are read.
pub fn pieces(buckets: &Buckets, days_to: DateTime<Utc>, months_to: DateTime<Utc>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for start in buckets.starts() {
        let (hour, last) = (Unit::Hour.start_of(*start), Unit::Hour.start_of(buckets.end_of(*start)));
        let mut at = if hour == *start { hour } else { Unit::Hour.end_of(hour) };
        while at < last {
            let fits = |unit: Unit, to: DateTime<Utc>| {
                let end = unit.end_of(at);
                unit.start_of(at) == at && end <= last && at < to && end > at
            };
            let unit = match () {
                () if fits(Unit::Month, months_to) => Unit::Month,
                () if fits(Unit::Day, days_to) => Unit::Day,
                () => Unit::Hour,
            };
            let end = unit.end_of(at);
            match pieces.last_mut() {
                Some(before) if before.unit == unit && before.end == at => before.end = end,
                _ => pieces.push(Piece { unit, start: at, end }),
            }
            at = end;
        }
    }
    pieces
}

/// The parts of hours that raw events are read of, each within one bucket.
pub fn split_parts(buckets: &Buckets) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let cut = |(start, end): (DateTime<Utc>, DateTime<Utc>)| {
        let within = buckets.starts().iter().copied().filter(move |at| start < *at && *at < end);
        let starts: Vec<_> = [start].into_iter().chain(within).collect();
        let ends: Vec<_> = starts[1..].iter().copied().chain([end]).collect();
        starts.into_iter().zip(ends)
    };
    buckets.split_hours().into_iter().flat_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::calendar::Granularity;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn whole_months_and_days_are_read_as_such() {
        let buckets =
            Buckets::covering(at("2026-01-30T00:00:00Z"), at("2026-04-03T00:00:00Z"), Granularity::Day, Tz::UTC)
                .unwrap();
        let (days_to, months_to) = (at("2026-04-02T00:00:00Z"), at("2026-04-01T00:00:00Z"));
        let units = |buckets: &Buckets| {
            let all = pieces(buckets, days_to, months_to);
            all.iter().map(|piece| (piece.unit, (piece.end - piece.start).num_hours())).collect::<Vec<_>>()
        };
        assert_eq!(units(&buckets), [(Unit::Day, 62 * 24), (Unit::Hour, 24)], "a bucket is a day at most");
        let berlin = Buckets::covering(
            at("2026-03-27T23:00:00Z"),
            at("2026-03-30T22:00:00Z"),
            Granularity::Day,
            Tz::Europe__Berlin,
        );
        assert_eq!(units(&berlin.unwrap()), [(Unit::Hour, 71)]);
    }

    proptest! {
        /// Whatever the zone: pieces and parts of hours together are the range, once.
        #[test]
        fn pieces_cover_a_range_once(
            start in 0..800_i64, hours in 1..2000_i64, zone in 0..4_usize, by_day in any::<bool>(), folded in 0..800_i64,
        ) {
            let zone = [Tz::UTC, Tz::Europe__Berlin, Tz::Asia__Kolkata, Tz::Asia__Kathmandu][zone];
            let first = at("2026-01-01T00:00:00Z") + TimeDelta::hours(start);
            let granularity = if by_day { Granularity::Day } else { Granularity::Hour };
            let buckets = Buckets::covering(first, first + TimeDelta::hours(hours), granularity, zone).unwrap();
            let days_to = at("2026-01-01T00:00:00Z") + TimeDelta::days(folded);
            let all = pieces(&buckets, days_to, Unit::Month.start_of(days_to));
            let mut spans: Vec<_> = all.iter().map(|piece| (piece.start, piece.end)).chain(split_parts(&buckets)).collect();
            spans.sort();
            prop_assert_eq!(spans[0].0, buckets.start());
            prop_assert_eq!(spans[spans.len() - 1].1, buckets.end());
            prop_assert!(spans.windows(2).all(|two| two[0].1 == two[1].0));
            for piece in all {
                prop_assert!(piece.unit == Unit::Hour || piece.start < days_to);
                prop_assert!(piece.unit.start_of(piece.start) == piece.start && piece.unit.start_of(piece.end) == piece.end);
            }
        }
    }
}
