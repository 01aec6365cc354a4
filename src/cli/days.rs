//! Whole days of UTC as options.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::domain::moment::Moment;

/// A day, or a moment of it.
pub fn day(text: &str) -> Result<DateTime<Utc>, &'static str> {
    const FORM: &str = "must be a day such as 2026-01-31, or an RFC 3339 time";
    Moment::parse(text).ok().and_then(|moment| moment.in_zone(Tz::UTC)).ok_or(FORM)
}

/// The starts of the days from one to another.
pub fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    std::iter::successors(Some(from), |day| day.checked_add_signed(TimeDelta::days(1))).take_while(move |day| *day < to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::{next_utc_day, utc_day};

    #[test]
    fn ranges_are_widened_to_whole_days() {
        let at = day("2026-01-31T01:30:00+02:00").unwrap();
        assert_eq!(utc_day(at), day("2026-01-30").unwrap());
        assert_eq!(next_utc_day(at), day("2026-01-31").unwrap());
        assert_eq!(next_utc_day(utc_day(at)), utc_day(at));
        assert_eq!(between(utc_day(at), day("2026-02-02").unwrap()).count(), 3);
        assert_eq!(between(at, at).count(), 0);
        for wrong in ["", "2026-02-30", "yesterday", "1767225600"] {
            assert!(day(wrong).is_err(), "{wrong}");
        }
    }
}
