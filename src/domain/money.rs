//! Money: decimal cents with four places, exact from the wire to the answer.

use std::{fmt, iter::Sum, ops::AddAssign};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};

/// Decimal places that an amount keeps.
pub const SCALE: u32 = 4;
/// Ten-thousandths in a cent.
const UNIT: i128 = 10_i128.pow(SCALE);

/// An amount of cents as a whole number of ten-thousandths of a cent.
///
/// 128 bits hold the sum of more events than a database can (each is at most 10¹⁴ units), so sums do not overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Cents(i128);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseCentsError {
    #[error("must be a JSON number")]
    NotANumber,
    #[error("must have at most {SCALE} decimals")]
    TooPrecise,
}

impl Cents {
    /// Ten-thousandths of a cent.
    pub const fn from_units(units: i128) -> Self {
        Self(units)
    }

    /// Ten-thousandths of a cent.
    pub const fn units(self) -> i128 {
        self.0
    }

    /// Reads a JSON number from its text, never through a float. `1e2` and `1.50000` are numbers with at most four
    /// decimals; `0.00001` is not.
    pub fn from_json(text: &str) -> Result<Self, ParseCentsError> {
        if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return Err(ParseCentsError::NotANumber);
        }
        let scientific = text.bytes().any(|b| b | 0x20 == b'e');
        let parsed = if scientific { Decimal::from_scientific(text) } else { Decimal::from_str_exact(text) };
        // What the decimal type cannot hold is outside every bound of the contract, on the one side or the other.
        Self::from_decimal(parsed.map_err(|_| ParseCentsError::TooPrecise)?)
    }

    pub fn from_decimal(value: Decimal) -> Result<Self, ParseCentsError> {
        let value = value.normalize();
        if value.scale() > SCALE {
            return Err(ParseCentsError::TooPrecise);
        }
        // At most 29 digits times 10^4: within 128 bits.
        Ok(Self(value.mantissa() * 10_i128.pow(SCALE - value.scale())))
    }

    /// The amount for a `numeric` column.
    ///
    /// # Errors
    /// The amount has more than 28 digits, which no sum of accepted events reaches.
    pub fn to_decimal(self) -> Result<Decimal, rust_decimal::Error> {
        Decimal::try_from_i128_with_scale(self.0, SCALE)
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
    /// As a JSON number with up to four decimals and no trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, magnitude) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (whole, fraction) = (magnitude / UNIT.unsigned_abs(), magnitude % UNIT.unsigned_abs());
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:04}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Writes an amount as a JSON number with its exact digits (`#[serde(serialize_with = "money::as_json_number")]`).
pub fn as_json_number<S: Serializer>(amount: &Cents, serializer: S) -> Result<S::Ok, S::Error> {
    let text = serde_json::value::RawValue::from_string(amount.to_string()).map_err(S::Error::custom)?;
    text.serialize(serializer)
}

impl Serialize for Cents {
    /// The compact form of the pending row: units as an integer. Answers use [`as_json_number`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i128(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_form_of_a_json_number_exactly() {
        for (text, units) in [
            ("0", 0),
            ("-0", 0),
            ("12.5", 125_000),
            ("0.0001", 1),
            ("1e2", 1_000_000),
            ("1.5E-3", 15),
            ("1.50000", 15_000),
            ("10000000000", 100_000_000_000_000),
            ("-3", -30_000),
        ] {
            assert_eq!(Cents::from_json(text), Ok(Cents(units)), "{text}");
        }
    }

    #[test]
    fn refuses_a_fifth_decimal_and_what_is_no_number() {
        for text in ["0.00001", "1e-5", "1e-400", "0.30000000000000004"] {
            assert_eq!(Cents::from_json(text), Err(ParseCentsError::TooPrecise), "{text}");
        }
        for text in ["\"1\"", "null", "true", "[1]", "{}"] {
            assert_eq!(Cents::from_json(text), Err(ParseCentsError::NotANumber), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_decimal_come_back_unchanged(units in -1_000_000_000_000_000_000_i128..1_000_000_000_000_000_000) {
            let amount = Cents(units);
            prop_assert_eq!(Cents::from_json(&amount.to_string()), Ok(amount));
            prop_assert_eq!(Cents::from_decimal(amount.to_decimal().unwrap()), Ok(amount));
        }
    }
}
