//! How long something is to be good: a number and a unit.

use std::time::Duration;

/// At least a second, at most ten years: a longer one is a slip.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "must be a number and s, m, h or d, from 1s to 3650d";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(FORM)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(FORM),
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or(FORM)?;
    if (1..=3650 * 86_400).contains(&seconds) { Ok(Duration::from_secs(seconds)) } else { Err(FORM) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_has_a_unit_and_a_bound() {
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse("3650d"), Ok(Duration::from_secs(315_360_000)));
        for wrong in ["", "h", "1", "-1h", "1w", "0s", "3651d", "99999999999999999999d", "1é"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
