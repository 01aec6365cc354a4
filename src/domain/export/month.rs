//! Months of UTC.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};

use super::TimeRange;

/// A month of UTC, written as `2026-03`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(NaiveDate);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a month such as 2026-03, from the year 1970 to 2200")]
pub struct NoMonth;

impl Month {
    /// The one that a moment lies in.
    pub fn of(moment: DateTime<Utc>) -> Option<Self> {
        Self::starting(moment.date_naive().with_day(1)?)
    }

    /// The one of this first day.
    pub fn starting(day: NaiveDate) -> Option<Self> {
        (day.day() == 1 && (1970..=2200).contains(&day.year())).then_some(Self(day))
    }

    /// The one that a range is exactly.
    pub fn exactly(range: TimeRange) -> Option<Self> {
        Self::of(range.start).filter(|month| month.range() == range)
    }

    /// The last one that was over at a moment.
    pub fn last_over(moment: DateTime<Utc>) -> Option<Self> {
        Self::starting(Self::of(moment)?.0.checked_sub_months(Months::new(1))?)
    }

    pub fn first_day(self) -> NaiveDate {
        self.0
    }

    pub fn range(self) -> TimeRange {
        // There is a month after each up to the year 2200.
        let next = self.0.checked_add_months(Months::new(1)).unwrap_or(self.0);
        TimeRange { start: self.0.and_time(NaiveTime::MIN).and_utc(), end: next.and_time(NaiveTime::MIN).and_utc() }
    }

    /// As keys of objects have it: `202603`.
    pub fn compact(self) -> String {
        format!("{:04}{:02}", self.0.year(), self.0.month())
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        let day = NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").map_err(|_| NoMonth)?;
        // In the one form that it is shown in.
        Self::starting(day).filter(|month| month.to_string() == text).ok_or(NoMonth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_spans_first_midnight_to_next() {
        let february: Month = "2028-02".parse().unwrap();
        let range = february.range();
        assert_eq!((range.start, range.end), (at("2028-02-01T00:00:00Z"), at("2028-03-01T00:00:00Z")));
        assert_eq!(Month::of(at("2028-02-29T23:59:59.999999Z")), Some(february));
        assert_eq!(Month::exactly(range), Some(february));
        assert_eq!(Month::exactly(TimeRange { end: at("2028-02-29T00:00:00Z"), ..range }), None);
        assert_eq!(Month::last_over(at("2028-03-01T00:00:00Z")), Some(february));
        assert_eq!((february.to_string(), february.compact()), ("2028-02".to_owned(), "202802".to_owned()));
        assert_eq!("2026-12".parse::<Month>().unwrap().range().end, at("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn a_month_is_written_in_one_form() {
        for wrong in ["2026-13", "2026-3", "202603", "1969-12", "2201-01", "2026-03-01", "", "+2026-03"] {
            assert_eq!(wrong.parse::<Month>(), Err(NoMonth), "{wrong}");
        }
    }
}
