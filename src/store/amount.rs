//! Amounts as PostgreSQL's `numeric`, exactly and without a detour: there is one in each of a million rows.
//!
//! In binary a `numeric` is a list of digits to the base 10,000, of which three lie behind the point: an amount's twelve
//! decimals. What has more decimals, or more digits than [`Cents`] holds, is an error and never rounded.

use rust_decimal::Decimal;
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef},
};

use crate::domain::money::Cents;

const BASE: u128 = 10_000;
/// Digits behind the point, and the decimals of one.
const PLACES: i32 = 3;
const DECIMALS: u16 = 4;
const NEGATIVE: u16 = 0x4000;
/// Digits of the largest amount.
const MOST_DIGITS: usize = 10;

/// An amount that is bound or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(pub Cents);

impl Type<Postgres> for Amount {
    fn type_info() -> PgTypeInfo {
        <Decimal as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Amount {
    fn array_type_info() -> PgTypeInfo {
        <Decimal as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Amount {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let mut bytes = Vec::new();
        write(&mut bytes, self.0);
        buffer.extend_from_slice(&bytes);
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Amount {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                Ok(Self(read(value.as_bytes()?).ok_or("is no amount of at most twelve decimals")?))
            }
            PgValueFormat::Text => Ok(Self(Cents::from_text(value.as_str()?)?)),
        }
    }
}

/// Writes an amount in the form that PostgreSQL takes a `numeric` in, without its length.
pub fn write(out: &mut Vec<u8>, amount: Cents) {
    let mut digits = [0_u16; MOST_DIGITS];
    let (mut rest, mut used) = (amount.units().unsigned_abs(), 0);
    while rest > 0 || used == 0 {
        digits[used] = u16::try_from(rest % BASE).unwrap_or_default();
        rest /= BASE;
        used += 1;
    }
    // Noughts at the end are not sent, and as many decimals are shown as there are digits for, at least one digit's.
    let end = digits.iter().take(2).take_while(|digit| **digit == 0).count();
    let digits = &digits[end.min(used - 1)..used];
    let shown = DECIMALS * (3 - u16::try_from(end).unwrap_or_default());
    // The weight of the first digit as a power of the base.
    let weight = i32::try_from(used).unwrap_or_default() - 1 - PLACES;
    let sign = if amount.units() < 0 { NEGATIVE } else { 0 };
    out.extend_from_slice(&u16::try_from(digits.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(&i16::try_from(weight).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&shown.to_be_bytes());
    for digit in digits.iter().rev() {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

/// Reads an amount in the form that PostgreSQL sends a `numeric` in. None where it has more than twelve decimals, is too
/// large, or is no number.
pub fn read(bytes: &[u8]) -> Option<Cents> {
    let (header, digits) = bytes.split_first_chunk::<8>()?;
    let [count, weight, sign, _scale] = header.as_chunks::<2>().0 else { return None };
    let (count, weight, sign) = (u16::from_be_bytes(*count), i16::from_be_bytes(*weight), u16::from_be_bytes(*sign));
    let (digits, rest) = digits.as_chunks::<2>();
    if digits.len() != usize::from(count) || !rest.is_empty() || sign & !NEGATIVE != 0 {
        return None;
    }
    // What is still to come in front of the end of the amount: the last of the digits may be followed by noughts.
    let mut places = i32::from(weight) + 1 + PLACES;
    let mut units: u128 = 0;
    for digit in digits {
        places -= 1;
        if places < 0 {
            return None;
        }
        units = units.checked_mul(BASE)?.checked_add(u128::from(u16::from_be_bytes(*digit)))?;
    }
    if units != 0 {
        units = units.checked_mul(BASE.checked_pow(u32::try_from(places).ok()?)?)?;
    }
    let units = i128::try_from(units).ok()?;
    Some(Cents::from_units(if sign == NEGATIVE { -units } else { units }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
        let mut bytes = u16::try_from(digits.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend([sign, 4].iter().chain(digits).flat_map(|part| part.to_be_bytes()));
        bytes
    }

    #[test]
    fn every_form_of_a_number_is_its_amount() {
        let amount = |weight, digits: &[u16]| read(&number(weight, 0, digits)).map(|cents| cents.to_string());
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(amount(0, &[]), is("0"));
        assert_eq!(amount(0, &[12]), is("12"));
        assert_eq!(amount(-1, &[5000]), is("0.5"));
        assert_eq!(amount(1, &[3]), is("30000"), "noughts at its end are left out");
        assert_eq!(amount(1, &[3, 0, 1]), is("30000.0001"));
        assert_eq!(amount(-2, &[1]), is("0.00000001"));
        assert_eq!(amount(-3, &[1]), is("0.000000000001"));
        assert_eq!(amount(-4, &[1]), None, "a thirteenth decimal");
        assert_eq!(amount(0, &[1, 2, 3, 4, 5]), None);
        assert_eq!(amount(6, &[1]), is("1000000000000000000000000"));
        assert_eq!(amount(7, &[1]), None, "more than an amount holds");
        assert_eq!(amount(i16::MAX, &[1]), None);
        assert_eq!(read(&number(0, NEGATIVE, &[7])), Some(Cents::from_ten_thousandths(-70_000)));
        assert_eq!(read(&number(0, 0xC000, &[])), None, "not a number");
        assert_eq!(read(&number(0, 0, &[1])[..9]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn no_more_decimals_are_shown_than_are_needed() {
        let shown = |text: &str| {
            let mut bytes = Vec::new();
            write(&mut bytes, Cents::from_text(text).unwrap());
            (u16::from_be_bytes([bytes[6], bytes[7]]), bytes.len() / 2 - 4)
        };
        assert_eq!(shown("0"), (4, 1));
        assert_eq!(shown("3"), (4, 2));
        assert_eq!(shown("1.2345"), (4, 2));
        assert_eq!(shown("1.23456"), (8, 3));
        assert_eq!(shown("0.000000000001"), (12, 1));
    }

    proptest! {
        #[test]
        fn written_values_are_read_back(units in any::<i128>()) {
            let amount = Cents::from_units(units.saturating_add(1));
            let mut bytes = Vec::new();
            write(&mut bytes, amount);
            prop_assert_eq!(read(&bytes), Some(amount));
        }

        #[test]
        fn small_amounts_come_back_too(units in -100_000_000_000_000_i128..100_000_000_000_000) {
            let mut bytes = Vec::new();
            write(&mut bytes, Cents::from_units(units));
            prop_assert_eq!(read(&bytes), Some(Cents::from_units(units)));
        }
    }
}
