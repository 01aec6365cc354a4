//! The day that a trace is shifted to, remembered so that publishing it again is publishing the same events.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, bail};
use chrono::{DateTime, NaiveDate, Utc};

use crate::{config::Events, domain::workload::trace::default_base_date};

const FILE: &str = "trace-base-date";

/// The given date, else the remembered one, else the last full UTC day, which is then remembered.
///
/// # Errors
/// The date is not over yet, or events of that day are older than the retention.
pub fn base_date(
    given: Option<NaiveDate>,
    state_dir: &Path,
    now: DateTime<Utc>,
    events: &Events,
) -> anyhow::Result<NaiveDate> {
    if let Some(date) = given {
        check(date, now, events).context("--base-date")?;
        return Ok(date);
    }
    let path = state_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let date = NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d")
                .with_context(|| format!("{} must hold a date such as 2026-03-29", path.display()))?;
            check(date, now, events)
                .with_context(|| format!("{}: pass --base-date, or remove the file", path.display()))?;
            Ok(date)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let date = default_base_date(now);
            fs::create_dir_all(state_dir).with_context(|| state_dir.display().to_string())?;
            fs::write(&path, format!("{date}\n")).with_context(|| path.display().to_string())?;
            Ok(date)
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn check(date: NaiveDate, now: DateTime<Utc>, events: &Events) -> anyhow::Result<()> {
    if date >= now.date_naive() {
        bail!("{date} is not over yet");
    }
    // The day's first moment has to be within the retention for as long as publishing takes.
    if date.and_time(chrono::NaiveTime::MIN).and_utc() < now + chrono::TimeDelta::hours(1) - events.retention() {
        bail!("events of {date} are older than the {} days for which raw events are kept", events.retention_days);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: Events = Events { retention_days: 400, max_ahead_seconds: 300, late_after_seconds: 3600 };

    fn day(text: &str) -> NaiveDate {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").unwrap()
    }

    fn noon(text: &str) -> DateTime<Utc> {
        day(text).and_hms_opt(12, 0, 0).unwrap().and_utc()
    }

    #[test]
    fn the_last_full_day_is_taken_once_and_remembered_until_it_is_too_old() {
        let dir = std::env::temp_dir().join(format!("base-date-{}", uuid::Uuid::new_v4()));
        let date = |given, now| base_date(given, &dir, noon(now), &EVENTS);
        assert_eq!(date(None, "2026-03-30").unwrap(), day("2026-03-29"));
        assert_eq!(date(None, "2026-12-24").unwrap(), day("2026-03-29"));
        assert_eq!(date(Some(day("2026-12-01")), "2026-12-24").unwrap(), day("2026-12-01"));
        assert_eq!(date(None, "2026-12-24").unwrap(), day("2026-03-29"), "a given date is not remembered");
        let error = format!("{:#}", date(None, "2027-06-01").unwrap_err());
        assert!(error.contains("--base-date") && error.contains("400 days"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_day_that_is_not_over_is_refused() {
        let error = base_date(Some(day("2026-03-30")), Path::new("."), noon("2026-03-30"), &EVENTS).unwrap_err();
        assert_eq!(format!("{error:#}"), "--base-date: 2026-03-30 is not over yet");
    }
}
