//! Amounts in the form that PostgreSQL sends a `numeric` in, without a detour: there is one in each of a million rows.

use crate::domain::money::Cents;

const BASE: i128 = 10_000;
const NEGATIVE: u16 = 0x4000;

/// Reads an amount. None where it has more than four decimals, or is none: its digits are to the base 10,000, of which the one
/// behind the point is just an amount's four decimals.
pub fn cents(bytes: &[u8]) -> Option<Cents> {
    let (header, digits) = bytes.split_first_chunk::<8>()?;
    let [count, weight, sign, _scale] = header.as_chunks::<2>().0 else { return None };
    let (count, weight, sign) = (u16::from_be_bytes(*count), i16::from_be_bytes(*weight), u16::from_be_bytes(*sign));
    let (digits, rest) = digits.as_chunks::<2>();
    if digits.len() != usize::from(count) || !rest.is_empty() || sign & !NEGATIVE != 0 {
        return None;
    }
    // What is still to come in front of the end of the amount: the last of the digits may be followed by noughts.
    let mut places = i32::from(weight) + 2;
    let mut units: i128 = 0;
    for digit in digits {
        let digit = i128::from(u16::from_be_bytes(*digit));
        places -= 1;
        if places < 0 {
            return None;
        }
        units = units.checked_mul(BASE)?.checked_add(digit)?;
    }
    if units != 0 {
        units = units.checked_mul(BASE.checked_pow(u32::try_from(places).ok()?)?)?;
    }
    Some(Cents::from_units(if sign == NEGATIVE { -units } else { units }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::rows;

    fn number(weight: i16, sign: u16, digits: &[u16]) -> Vec<u8> {
        let mut bytes = u16::try_from(digits.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend([sign, 4].iter().chain(digits).flat_map(|part| part.to_be_bytes()));
        bytes
    }

    #[test]
    fn every_form_of_a_number_is_its_amount() {
        let units = |weight, digits: &[u16]| cents(&number(weight, 0, digits)).map(Cents::units);
        assert_eq!(units(0, &[]), Some(0));
        assert_eq!(units(0, &[12]), Some(120_000));
        assert_eq!(units(-1, &[5000]), Some(5000), "a half");
        assert_eq!(units(1, &[3]), Some(300_000_000), "noughts at its end are left out");
        assert_eq!(units(1, &[3, 0, 1]), Some(300_000_001));
        assert_eq!(units(-2, &[1]), None, "a fifth decimal");
        assert_eq!(units(0, &[1, 2, 3]), None);
        assert_eq!(units(i16::MAX, &[1]), None);
        assert_eq!(cents(&number(0, 0x4000, &[7])).map(Cents::units), Some(-70_000));
        assert_eq!(cents(&number(0, 0xC000, &[])), None, "not a number");
        assert_eq!(cents(&number(0, 0, &[1])[..9]), None);
        assert_eq!(cents(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(units in -(10_i128.pow(30))..10_i128.pow(30)) {
            let mut field = Vec::new();
            rows::numeric(&mut field, Cents::from_units(units));
            // Behind its length.
            prop_assert_eq!(cents(&field[4..]), Some(Cents::from_units(units)));
        }
    }
}
