//! Floors: from when on there is all of an org's data, and what is refused because it lies below.

use chrono::{DateTime, Utc};

use super::calendar::Buckets;

/// What a response misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    RawEvents,
    /// Raw events that are read only since buckets begin within an hour of UTC.
    RawEventsOfSplitHours,
    Rollups,
    /// Of one organisation or more.
    RollupsOfSome,
    Revisions,
    LedgerHours,
    Attribution,
}

impl Missing {
    /// For people: what is not kept.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RawEvents | Self::RawEventsOfSplitHours => "raw events",
            Self::Rollups => "rollups",
            Self::RollupsOfSome => "rollups of some organisations",
            Self::Revisions => "revisions",
            Self::LedgerHours => "hours of the ledger",
            Self::Attribution => "sums of attribution",
        }
    }
}

/// A query reads what was purged or erased: its response would have too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The first start that the query has a response for.
    pub start: DateTime<Utc>,
    pub what: Missing,
}

impl Gone {
    /// Whether that is so of a query that reads all of its buckets from one kind of data. `floor`: from when on there is all
    /// of it; none where there always is.
    pub fn below(buckets: &Buckets, floor: Option<DateTime<Utc>>, what: Missing) -> Option<Self> {
        let floor = floor.filter(|floor| buckets.start() < *floor)?;
        Some(Self { start: buckets.first_start_from(floor).unwrap_or(floor), what })
    }

    /// Whether that is so of a query that reads rollups, and raw events of the hours that a boundary lies within.
    pub fn of_rollups(buckets: &Buckets, rollups: Option<DateTime<Utc>>, raw: Option<DateTime<Utc>>) -> Option<Self> {
        let splits_from = buckets.split_hours().first().map(|part| part.0);
        let raw = raw.filter(|raw| splits_from.is_some_and(|from| from < *raw));
        let rollups = rollups.filter(|rollups| buckets.start() < *rollups);
        // What works for the later of the two works for the other as well.
        let what = if raw > rollups { Missing::RawEventsOfSplitHours } else { Missing::Rollups };
        let floor = raw.max(rollups)?;
        Some(Self { start: buckets.first_start_from(floor).unwrap_or(floor), what })
    }
}

/// From when on there is all of an org's rollups and raw events; none where there always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    pub hourly: Option<DateTime<Utc>>,
    pub daily: Option<DateTime<Utc>>,
    pub raw: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::domain::calendar::Granularity;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn buckets(granularity: Granularity, zone: Tz) -> Buckets {
        Buckets::covering(at("2026-03-01T00:00:00Z"), at("2026-03-05T00:00:00Z"), granularity, zone).unwrap()
    }

    const DAY: Granularity = Granularity::Day;
    const HOUR: Granularity = Granularity::Hour;

    #[test]
    fn a_start_below_its_floor_is_gone() {
        for (granularity, zone, floor, first) in [
            (DAY, Tz::UTC, None, None),
            (DAY, Tz::UTC, Some("2026-03-01T00:00:00Z"), None),
            (DAY, Tz::UTC, Some("2026-03-02T00:00:00Z"), Some("2026-03-02T00:00:00Z")),
            (HOUR, Tz::UTC, Some("2026-03-02T10:20:00Z"), Some("2026-03-02T11:00:00Z")),
            (DAY, Tz::Europe__Berlin, Some("2026-03-02T00:00:00Z"), Some("2026-03-02T23:00:00Z")),
        ] {
            let gone = Gone::below(&buckets(granularity, zone), floor.map(at), Missing::RawEvents);
            let expected = first.map(|first| Gone { start: at(first), what: Missing::RawEvents });
            assert_eq!(gone, expected, "{granularity:?} {zone} {floor:?}");
        }
    }

    #[test]
    fn split_hours_need_raw_events() {
        let (split, rollups) = (Missing::RawEventsOfSplitHours, Missing::Rollups);
        for (granularity, zone, of_rollups, raw, expected) in [
            // Of rollups alone: raw events do not matter.
            (DAY, Tz::UTC, None, Some("2026-03-02T00:00:00Z"), None),
            (DAY, Tz::Europe__Berlin, None, Some("2026-03-02T00:00:00Z"), None),
            (HOUR, Tz::Asia__Kolkata, None, Some("2026-03-02T00:00:00Z"), None),
            (DAY, Tz::Europe__Berlin, Some("2026-03-01T00:00:00Z"), None, Some(("2026-03-01T23:00:00Z", rollups))),
            (DAY, Tz::Europe__Berlin, Some("2026-02-28T23:00:00Z"), None, None),
            // The first day of the range begins at 18:30 the day before.
            (DAY, Tz::Asia__Kolkata, None, Some("2026-02-28T18:30:00Z"), None),
            (DAY, Tz::Asia__Kolkata, None, Some("2026-02-28T18:30:00.000001Z"), Some(("2026-03-01T18:30:00Z", split))),
            (DAY, Tz::Asia__Kolkata, None, Some("2026-04-01T00:00:00Z"), Some(("2026-04-01T18:30:00Z", split))),
            // Both: the later one.
            (
                DAY,
                Tz::Asia__Kolkata,
                Some("2026-03-02T00:00:00Z"),
                Some("2026-03-03T00:00:00Z"),
                Some(("2026-03-03T18:30:00Z", split)),
            ),
            (
                DAY,
                Tz::Asia__Kolkata,
                Some("2026-03-03T00:00:00Z"),
                Some("2026-03-02T00:00:00Z"),
                Some(("2026-03-03T18:30:00Z", rollups)),
            ),
        ] {
            let gone = Gone::of_rollups(&buckets(granularity, zone), of_rollups.map(at), raw.map(at));
            let expected = expected.map(|(start, what)| Gone { start: at(start), what });
            assert_eq!(gone, expected, "{granularity:?} {zone} {of_rollups:?} {raw:?}");
        }
    }
}
