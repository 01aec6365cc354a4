//! The exact value of a number as JSON writes it, as a whole number of decimal units. Never through a float.

use std::cmp::Ordering;

/// A number rounded to whole units, half to even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounded {
    pub units: i128,
    /// How the number as written compares with `units`: equal where nothing was rounded.
    pub written: Ordering,
}

impl Rounded {
    /// Whether the number as written lies between two bounds, both included.
    pub fn is_within(self, min: i128, max: i128) -> bool {
        let below = self.units < min || (self.units == min && self.written == Ordering::Less);
        let above = self.units > max || (self.units == max && self.written == Ordering::Greater);
        !below && !above
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("must be a JSON number")]
    NotANumber,
    #[error("is too large")]
    TooLarge,
}

/// The parts of a JSON number (RFC 8259, section 6).
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// Reads a JSON number as a count of units of 10^-`scale`.
pub fn scaled(text: &str, scale: u32) -> Result<Rounded, DecimalError> {
    let Parts { negative, whole, fraction, exponent } = parts(text.as_bytes()).ok_or(DecimalError::NotANumber)?;
    let length = |digits: &[u8]| i64::try_from(digits.len()).unwrap_or(i64::MAX);
    // Digits in front of this place are whole units; it may lie before the first one or behind the last.
    let point = length(whole).saturating_add(exponent).saturating_add(i64::from(scale));
    let kept = usize::try_from(point).unwrap_or(0);
    let mut all = whole.iter().chain(fraction).map(|digit| u128::from(digit - b'0'));
    let mut units: u128 = 0;
    for digit in all.by_ref().take(kept) {
        units = units.checked_mul(10).and_then(|units| units.checked_add(digit)).ok_or(DecimalError::TooLarge)?;
    }
    let missing = point.saturating_sub(length(whole).saturating_add(length(fraction)));
    if missing > 0 && units != 0 {
        let power = u32::try_from(missing).ok().and_then(|power| 10_u128.checked_pow(power));
        units = power.and_then(|power| units.checked_mul(power)).ok_or(DecimalError::TooLarge)?;
    }
    // Where the point lies before the first digit, a nought is the first one to be cut off.
    let first = if point < 0 { 0 } else { all.next().unwrap_or(0) };
    let more = all.any(|digit| digit != 0);
    let up = first > 5 || (first == 5 && (more || !units.is_multiple_of(2)));
    let written = match (up, first != 0 || more) {
        (true, _) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => Ordering::Equal,
    };
    let units = i128::try_from(units + u128::from(up)).map_err(|_| DecimalError::TooLarge)?;
    Ok(if negative { Rounded { units: -units, written: written.reverse() } } else { Rounded { units, written } })
}

fn parts(text: &[u8]) -> Option<Parts<'_>> {
    let (negative, rest) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let (whole, rest) = digits(rest);
    if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix(b".") {
        Some(rest) => Some(digits(rest)).filter(|(fraction, _)| !fraction.is_empty())?,
        None => (&rest[..0], rest),
    };
    let exponent = match rest {
        [] => 0,
        [b'e' | b'E', rest @ ..] => exponent(rest)?,
        _ => return None,
    };
    Some(Parts { negative, whole, fraction, exponent })
}

/// Larger ones than any text could make up for count as the largest.
fn exponent(text: &[u8]) -> Option<i64> {
    const LARGEST: i64 = 1 << 40;
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (number, rest) = digits(rest);
    if number.is_empty() || !rest.is_empty() {
        return None;
    }
    let size = number.iter().fold(0_i64, |size, digit| (size * 10 + i64::from(digit - b'0')).min(LARGEST));
    Some(if negative { -size } else { size })
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, scale: u32) -> (i128, Ordering) {
        let rounded = scaled(text, scale).unwrap();
        (rounded.units, rounded.written)
    }

    #[test]
    fn a_number_is_read_exactly_in_every_form() {
        for (text, scale, units) in [
            ("0", 4, 0),
            ("-0", 4, 0),
            ("-0.0e5", 0, 0),
            ("12.5", 4, 125_000),
            ("1e2", 0, 100),
            ("1.5E-3", 4, 15),
            ("1.50000", 1, 15),
            ("374.0", 0, 374),
            ("0.00374e5", 0, 374),
            ("100e-2", 0, 1),
            ("0e999999999999999999999", 12, 0),
            ("-3", 12, -3_000_000_000_000),
            ("10000000000", 12, 10_000_000_000_000_000_000_000),
        ] {
            assert_eq!(read(text, scale), (units, Ordering::Equal), "{text}");
        }
        assert_eq!(read(&format!("{}1", "0.".to_owned() + &"0".repeat(400)), 12), (0, Ordering::Greater));
        assert_eq!(read(&format!("1{}e-400", "0".repeat(400)), 0), (1, Ordering::Equal));
    }

    #[test]
    fn rounding_is_half_to_even() {
        use Ordering::{Greater, Less};
        for (text, units, written) in [
            ("0.5", 0, Greater),
            ("1.5", 2, Less),
            ("2.5", 2, Greater),
            ("2.50000000000000000000000000000000000000000000001", 3, Less),
            ("2.4999999999999999999999999999999999999999999999", 2, Greater),
            ("-2.5", -2, Less),
            ("-3.5", -4, Greater),
            ("-0.1", 0, Less),
            ("0.05", 0, Greater),
            ("0.9", 1, Less),
            ("1e-400", 0, Greater),
        ] {
            assert_eq!(read(text, 0), (units, written), "{text}");
        }
    }

    #[test]
    fn bounds_are_those_of_the_number_as_written() {
        let within = |text| scaled(text, 0).unwrap().is_within(0, 10);
        assert!(["0", "10", "9.9", "1e-9", "10.0"].into_iter().all(within));
        assert!(!["-1e-9", "10.00001", "11", "-1"].into_iter().any(within));
    }

    #[test]
    fn invalid_or_too_large_numbers_are_refused() {
        for text in [
            "", "-", "+1", "01", "1.", ".5", "1e", "1e+", "1 ", "NaN", "Infinity", "0x1", "1_0", "\"1\"", "null",
            "1.5.5",
        ] {
            assert_eq!(scaled(text, 4), Err(DecimalError::NotANumber), "{text}");
        }
        for text in ["1e999", "1e99999999999999999999", &"9".repeat(400), "170141183460469231731687303715884105728"] {
            assert_eq!(scaled(text, 0), Err(DecimalError::TooLarge), "{text}");
        }
    }
}
