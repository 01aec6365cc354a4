//! Timestamps of RFC 3339, by one grammar for events, parameters and traces:
//! `2026-01-31T10:00:00.123456Z`, with `T`, `t` or a space, any number of decimals, and `Z`, `z` or an offset such as `+01:00`.
//!
//! A leap second (`:60`) is an instant that neither PostgreSQL nor most clocks have. An event's is the last microsecond of
//! its minute, so that it stays in its hour; a range's start or end, which lies between hours, is the second that follows.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, TimeDelta, Utc};

/// A timestamp as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    /// Of a leap second, the same fraction of the second before it.
    at: DateTime<Utc>,
    leap: bool,
}

/// When an event occurred, cut to microseconds.
pub fn occurred(text: &str) -> Option<DateTime<Utc>> {
    read(text, false).map(Written::cut)
}

/// The same, for a source that may leave UTC unsaid.
pub fn recorded(text: &str) -> Option<DateTime<Utc>> {
    read(text, true).map(Written::cut)
}

/// A moment chosen by a client, such as the start of a range.
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    let Written { at, leap } = read(text, false)?;
    at.checked_add_signed(TimeDelta::seconds(i64::from(leap)))
}

impl Written {
    fn cut(self) -> DateTime<Utc> {
        if self.leap {
            return self.at.trunc_subsecs(0) + TimeDelta::microseconds(999_999);
        }
        self.at.trunc_subsecs(6)
    }
}

fn read(text: &str, utc_unsaid: bool) -> Option<Written> {
    let (fixed, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b't' | b' ', h0, h1, b':', n0, n1, b':', s0, s1] = *fixed
    else {
        return None;
    };
    let year = i32::try_from(two(y0, y1)? * 100 + two(y2, y3)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, two(m0, m1)?, two(d0, d1)?)?;
    let second = two(s0, s1)?;
    let leap = second == 60;
    let (nanos, rest) = fraction(rest)?;
    let time = NaiveTime::from_hms_nano_opt(two(h0, h1)?, two(n0, n1)?, if leap { 59 } else { second }, nanos)?;
    let ahead = match rest {
        [] if utc_unsaid => TimeDelta::zero(),
        rest => offset(rest)?,
    };
    let at = NaiveDateTime::new(date, time).checked_sub_signed(ahead)?.and_utc();
    Some(Written { at, leap })
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

/// Nanoseconds of the decimals, if there are any; those behind the ninth are cut off.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let places = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    Some((places.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0')), rest))
}

fn offset(text: &[u8]) -> Option<TimeDelta> {
    match *text {
        [b'Z' | b'z'] => Some(TimeDelta::zero()),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (two(h0, h1)?, two(m0, m1)?);
            let ahead = TimeDelta::minutes(i64::from(hours * 60 + minutes));
            (hours < 24 && minutes < 60).then_some(if sign == b'+' { ahead } else { -ahead })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn occurred_at(text: &str) -> Option<String> {
        occurred(text).map(|at| at.to_rfc3339())
    }

    #[test]
    fn every_form_of_a_timestamp_is_its_moment() {
        for (text, at) in [
            ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00+00:00"),
            ("2026-03-01t10:00:00z", "2026-03-01T10:00:00+00:00"),
            ("2026-03-01 10:00:00+00:00", "2026-03-01T10:00:00+00:00"),
            ("2026-03-01T10:00:00.1234567+01:30", "2026-03-01T08:30:00.123456+00:00"),
            ("2026-03-01T10:00:00.999999999999-23:59", "2026-03-02T09:59:00.999999+00:00"),
            ("2026-02-28T23:59:59.5-00:00", "2026-02-28T23:59:59.500+00:00"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00+00:00"),
        ] {
            assert_eq!(occurred_at(text).as_deref(), Some(at), "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_at_a_minutes_boundary() {
        for (text, event, range) in [
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z", "2017-01-01T00:00:00Z"),
            ("2026-03-01T10:59:60.75+01:00", "2026-03-01T09:59:59.999999Z", "2026-03-01T10:00:00.75Z"),
            ("2026-03-01T09:59:59.999999Z", "2026-03-01T09:59:59.999999Z", "2026-03-01T09:59:59.999999Z"),
        ] {
            assert_eq!(occurred(text), Some(event.parse().unwrap()), "{text}");
            assert_eq!(instant(text), Some(range.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn invalid_timestamps_are_refused() {
        for text in [
            "",
            "2026-03-01",
            "2026-03-01T10:00:00",
            "2026-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T10:60:00Z",
            "2026-03-01T10:00:61Z",
            "2026-03-01T10:00:00.Z",
            "2026-03-01T10:00:00,5Z",
            "2026-03-01T10:00Z",
            "2026-03-01T10:00:00+24:00",
            "2026-03-01T10:00:00+01:60",
            "2026-03-01T10:00:00+0100",
            "2026-03-01T10:00:00\u{2212}01:00",
            "2026-03-01_10:00:00Z",
            "+026-03-01T10:00:00Z",
            "2026-03-01T10:00:00Z ",
            "1772359200",
            "2026-03-01T10:00:00ZZ",
            "2026-03-01T10:00:00 Z",
        ] {
            assert_eq!(occurred(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_record_may_leave_utc_unsaid() {
        for text in ["2023-11-16 18:15:46.6805900", "2023-11-16T18:15:46.68059Z", "2023-11-16 18:15:46.680590+00:00"] {
            assert_eq!(recorded(text).map(|at| at.to_rfc3339()).as_deref(), Some("2023-11-16T18:15:46.680590+00:00"));
        }
        assert_eq!(occurred("2023-11-16 18:15:46.6805900"), None);
    }

    proptest! {
        #[test]
        fn written_values_are_read_back(micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000) {
            let at = DateTime::from_timestamp_micros(micros).unwrap();
            prop_assert_eq!(occurred(&at.to_rfc3339()), Some(at));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,40}") {
            let _ = (occurred(&text), instant(&text), recorded(&text));
        }
    }
}
