//! Moments as people write them: an RFC 3339 time, or a date. One parser for parameters, bodies and the command line.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use chrono_tz::Tz;

use super::{calendar, timestamp};

/// Years that a moment may be of.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2200;

/// A moment as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Time(DateTime<Utc>),
    /// Stands for its first moment, in the zone of the request.
    Date(NaiveDate),
}

/// Why a text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MomentError {
    #[error(
        "must be an RFC 3339 time such as 2026-01-31T00:00:00Z, or a date such as 2026-01-31, from the year 1970 to 2200"
    )]
    Form,
    /// A `+` in a query string is a space.
    #[error("has a space where the + of its offset should be: write %2B, such as 2026-01-31T00:00:00%2B02:00")]
    Plus,
}

impl Moment {
    /// Reads a moment. A leap second is the second that follows it, as in every count of seconds since 1970.
    ///
    /// # Errors
    /// The text is neither a time nor a date, or of a year that no event can be of.
    pub fn parse(text: &str) -> Result<Self, MomentError> {
        if let Some(date) = date(text) {
            return Some(Self::Date(date)).filter(|_| YEARS.contains(&date.year())).ok_or(MomentError::Form);
        }
        match timestamp::instant(text) {
            Some(time) if YEARS.contains(&time.year()) => Ok(Self::Time(time)),
            None if with_its_plus(text).is_some_and(|text| timestamp::instant(&text).is_some()) => {
                Err(MomentError::Plus)
            }
            _ => Err(MomentError::Form),
        }
    }

    /// The moment that is meant where days are those of a zone. `None` where the calendar ends.
    pub fn in_zone(self, zone: Tz) -> Option<DateTime<Utc>> {
        match self {
            Self::Time(time) => Some(time),
            Self::Date(date) => calendar::start_of(date, zone),
        }
    }
}

/// A date in its full form: the library's own parser takes others as well, such as 2026-1-31.
fn date(text: &str) -> Option<NaiveDate> {
    let is_form = text.len() == 10 && text.bytes().enumerate().all(|(n, b)| (b == b'-') == (n == 4 || n == 7));
    text.parse().ok().filter(|_| is_form)
}

/// A text whose last space is the `+` of an offset.
fn with_its_plus(text: &str) -> Option<String> {
    let (time, offset) = text.rsplit_once(' ')?;
    (offset.len() == 5).then(|| format!("{time}+{offset}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, zone: Tz) -> String {
        Moment::parse(text).unwrap().in_zone(zone).unwrap().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
    }

    #[test]
    fn a_date_is_its_days_first_moment() {
        for (zone, moment) in [
            (Tz::UTC, "2026-11-27T00:00:00Z"),
            (Tz::Europe__Berlin, "2026-11-26T23:00:00Z"),
            (Tz::Asia__Kolkata, "2026-11-26T18:30:00Z"),
        ] {
            assert_eq!(at("2026-11-27", zone), moment);
            assert_eq!(at("2026-11-27T00:00:00+02:00", zone), "2026-11-26T22:00:00Z", "an offset says it all");
        }
        // Clocks leave midnight out, and a whole day.
        assert_eq!(at("2023-03-26", Tz::Asia__Beirut), "2023-03-25T22:00:00Z");
        assert_eq!(at("2011-12-30", Tz::Pacific__Apia), at("2011-12-31", Tz::Pacific__Apia));
    }

    #[test]
    fn a_leap_second_is_the_next_second() {
        assert_eq!(at("2026-11-27T09:59:60Z", Tz::UTC), "2026-11-27T10:00:00Z");
        assert_eq!(at("2016-12-31T23:59:60.25Z", Tz::UTC), "2017-01-01T00:00:00.250Z");
        assert_eq!(at("2026-11-27T09:59:59.999999Z", Tz::UTC), "2026-11-27T09:59:59.999999Z");
    }

    #[test]
    fn invalid_moments_are_refused_with_a_reason() {
        for text in ["", "yesterday", "2026-1-31", "2026-02-30", "+026-01-31", "1969-12-31", "2201-01-01", "1767225600"]
        {
            assert_eq!(Moment::parse(text), Err(MomentError::Form), "{text}");
        }
        for text in ["2026-01-31T00:00:00", "1969-12-31T23:59:59Z", "2026-01-31T24:00:00Z", "2026-01-31T00:00:00 hello"]
        {
            assert_eq!(Moment::parse(text), Err(MomentError::Form), "{text}");
        }
        for text in ["2026-01-31T00:00:00 02:00", "2026-01-31 00:00:00.5 00:30"] {
            assert_eq!(Moment::parse(text), Err(MomentError::Plus), "{text}");
        }
    }
}
