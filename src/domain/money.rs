//! Money: decimal cents with twelve places, exact from the wire to the response.

use std::{fmt, iter::Sum, ops::AddAssign};

use serde::{Deserialize, Serialize, Serializer, ser::Error as _};

use super::decimal::{self, DecimalError};

/// Decimal places that an amount keeps.
pub const SCALE: u32 = 12;
/// Units in a cent.
const UNIT: i128 = 10_i128.pow(SCALE);
/// Units in a ten-thousandth of a cent, the smallest amount that there was before.
const TEN_THOUSANDTH: i128 = 10_i128.pow(SCALE - 4);

/// An amount of cents as a whole number of 10⁻¹² cents.
///
/// 128 bits hold the sum of 10¹⁶ events, each of at most 10²² units: more than a database can have, so sums do not overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Cents(i128);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseCentsError {
    #[error(transparent)]
    Number(#[from] DecimalError),
    #[error("has more than {SCALE} decimals")]
    TooPrecise,
}

impl Cents {
    pub const ONE: Self = Self(UNIT);

    /// Of 10⁻¹² cents.
    pub const fn from_units(units: i128) -> Self {
        Self(units)
    }

    /// In 10⁻¹² cents.
    pub const fn units(self) -> i128 {
        self.0
    }

    pub const fn from_ten_thousandths(amount: i128) -> Self {
        Self(amount * TEN_THOUSANDTH)
    }

    /// None where it is no whole number of them.
    pub const fn ten_thousandths(self) -> Option<i128> {
        if self.0 % TEN_THOUSANDTH == 0 { Some(self.0 / TEN_THOUSANDTH) } else { None }
    }

    /// Reads a JSON number from its text, rounded half to even to [`SCALE`] decimals. None where it is none, or not from 0 to
    /// `max` as it is written.
    pub fn from_json_within(text: &str, max: Self) -> Option<Self> {
        let number = decimal::scaled(text, SCALE).ok()?;
        number.is_within(0, max.0).then_some(Self(number.units))
    }

    /// Reads an amount that was written by the service: a JSON number with no more decimals than are kept.
    pub fn from_text(text: &str) -> Result<Self, ParseCentsError> {
        let number = decimal::scaled(text, SCALE)?;
        if number.written.is_eq() { Ok(Self(number.units)) } else { Err(ParseCentsError::TooPrecise) }
    }
}

impl AddAssign for Cents {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for Cents {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        Self(amounts.map(|c| c.0).sum())
    }
}

impl fmt::Display for Cents {
    /// As a JSON number with up to twelve decimals and no trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, magnitude) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (whole, fraction) = (magnitude / UNIT.unsigned_abs(), magnitude % UNIT.unsigned_abs());
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:012}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Writes an amount as a JSON number with its exact digits (`#[serde(serialize_with = "money::as_json_number")]`).
pub fn as_json_number<S: Serializer>(amount: &Cents, serializer: S) -> Result<S::Ok, S::Error> {
    let text = serde_json::value::RawValue::from_string(amount.to_string()).map_err(S::Error::custom)?;
    text.serialize(serializer)
}

impl Serialize for Cents {
    /// The compact form of the pending row: units as an integer. Responses use [`as_json_number`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i128(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: Cents = Cents(10_i128.pow(22));

    #[test]
    fn a_cost_is_kept_to_twelve_decimals() {
        for (text, kept) in [
            ("0", "0"),
            ("-0", "0"),
            ("12.50", "12.5"),
            ("1.5E-3", "0.0015"),
            // What tokens times a price are in floats.
            ("0.0034999999999999996", "0.0035"),
            ("0.30000000000000004", "0.3"),
            ("74.77000000000001", "74.77"),
            // An embedding call.
            ("0.00004", "0.00004"),
            ("0.000000000001", "0.000000000001"),
            ("0.0000000000005", "0"),
            ("0.0000000000015", "0.000000000002"),
            ("0.00000000000050000000000001", "0.000000000001"),
            ("1e-400", "0"),
            ("1e10", "10000000000"),
            ("9999999999.999999999999", "9999999999.999999999999"),
        ] {
            assert_eq!(Cents::from_json_within(text, MAX).unwrap().to_string(), kept, "{text}");
        }
    }

    #[test]
    fn amounts_out_of_range_are_refused() {
        for text in [
            "-0.0001",
            "-1e-400",
            "10000000000.0000000000001",
            "1e11",
            "1e999",
            "\"1\"",
            "null",
            "true",
            "[1]",
            "{}",
            "NaN",
        ] {
            assert_eq!(Cents::from_json_within(text, MAX), None, "{text}");
        }
    }

    #[test]
    fn an_amount_is_read_exactly_or_refused() {
        assert_eq!(Cents::from_text("-1.0001"), Ok(Cents::from_ten_thousandths(-10_001)));
        assert_eq!(Cents::from_text("0.0000000000001"), Err(ParseCentsError::TooPrecise));
        assert_eq!(Cents::from_text("x"), Err(ParseCentsError::Number(DecimalError::NotANumber)));
        assert_eq!((Cents(1).ten_thousandths(), Cents(-300_000_000).ten_thousandths()), (None, Some(-3)));
    }

    proptest! {
        #[test]
        fn an_amounts_text_comes_back_unchanged(units in any::<i128>()) {
            let amount = Cents(units.saturating_add(1));
            prop_assert_eq!(Cents::from_text(&amount.to_string()), Ok(amount));
        }
    }
}
