//! Whole days of UTC as options.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

/// A day, or a moment of it.
pub fn day(text: &str) -> Result<DateTime<Utc>, &'static str> {
    const FORM: &str = "must be a day such as 2026-01-31, or an RFC 3339 time";
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(start_of(day));
    }
    DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).map_err(|_| FORM)
}

fn start_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// The day that a moment is in.
pub fn floor(at: DateTime<Utc>) -> DateTime<Utc> {
    start_of(at.date_naive())
}

/// The first day that begins at that moment or later.
pub fn ceil(at: DateTime<Utc>) -> DateTime<Utc> {
    let floor = floor(at);
    if floor == at { at } else { floor.checked_add_days(Days::new(1)).unwrap_or(at) }
}

/// The starts of the days from one to another.
pub fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    std::iter::successors(Some(from), |day| day.checked_add_signed(TimeDelta::days(1))).take_while(move |day| *day < to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_date_or_a_time_and_ranges_go_out_to_whole_days() {
        let at = day("2026-01-31T01:30:00+02:00").unwrap();
        assert_eq!(floor(at), day("2026-01-30").unwrap());
        assert_eq!(ceil(at), day("2026-01-31").unwrap());
        assert_eq!(ceil(floor(at)), floor(at));
        assert_eq!(between(floor(at), day("2026-02-02").unwrap()).count(), 3);
        assert_eq!(between(at, at).count(), 0);
        for wrong in ["", "2026-02-30", "yesterday", "1767225600"] {
            assert!(day(wrong).is_err(), "{wrong}");
        }
    }
}
