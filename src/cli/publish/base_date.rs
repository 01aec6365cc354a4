//! The day that a trace is shifted to, remembered so that publishing it again is publishing the same events.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::Context;
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};

use crate::{
    config::Events,
    workload::trace::{Survey, default_base_date},
};

const FILE: &str = "trace-base-date";
/// So long a trace's publishing may take: its first moment has to be within the retention until then.
const PUBLISHING: TimeDelta = TimeDelta::hours(1);

/// Why a day cannot be a trace's base date. Found before anything is published.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("{0} is not over yet")]
    NotOver(NaiveDate),
    #[error(
        "the trace covers {days} days: from {date} on its last event would occur at {}, which lies ahead. Nothing was \
         published. Its base date can be {latest} or earlier; pass the same one each time, since another one makes other events",
        .last.to_rfc3339_opts(SecondsFormat::Secs, true)
    )]
    Ahead { date: NaiveDate, days: u64, last: DateTime<Utc>, latest: NaiveDate },
    #[error("events of {date} are older than the {retention_days} days for which raw events are kept")]
    TooOld { date: NaiveDate, retention_days: i64 },
    #[error("the trace reaches beyond the calendar")]
    NoCalendar,
}

/// What a day is judged by.
pub struct Judge<'a> {
    pub now: DateTime<Utc>,
    pub survey: &'a Survey,
    pub events: &'a Events,
}

impl Judge<'_> {
    /// The given date, else the remembered one, else the last one that the whole trace is over for, which is then remembered.
    ///
    /// # Errors
    /// An event of the trace would lie ahead, or be older than the retention.
    pub fn base_date(&self, given: Option<NaiveDate>, state_dir: &Path) -> anyhow::Result<NaiveDate> {
        if let Some(date) = given {
            return self.fit(date).context("--base-date");
        }
        let (own, common) = (state_dir.join(format!("{FILE}-{}", &self.survey.name()[..16])), state_dir.join(FILE));
        let again = |path: &Path| format!("{}: pass --base-date, or remove the file", path.display());
        if let Some(date) = remembered(&own)? {
            return self.fit(date).with_context(|| again(&own));
        }
        match remembered(&common)?.map(|date| self.fit(date)) {
            None => self.remember(&common),
            // Of a trace of fewer days, whose date stays: this one has a date of its own.
            Some(Err(Unfit::Ahead { .. })) => self.remember(&own),
            Some(date) => date.with_context(|| again(&common)),
        }
    }

    fn fit(&self, date: NaiveDate) -> Result<NaiveDate, Unfit> {
        let Self { now, survey, events } = *self;
        if date >= now.date_naive() {
            return Err(Unfit::NotOver(date));
        }
        let midnight = date.and_time(chrono::NaiveTime::MIN).and_utc();
        let last = if survey.rows == 0 { midnight } else { survey.shifted(date).ok_or(Unfit::NoCalendar)?.1 };
        if last > now + events.max_ahead() {
            return Err(Unfit::Ahead {
                date,
                days: survey.days(),
                last,
                latest: default_base_date(now, survey.days()),
            });
        }
        if midnight < now + PUBLISHING - events.retention() {
            return Err(Unfit::TooOld { date, retention_days: events.retention_days });
        }
        Ok(date)
    }

    fn remember(&self, path: &Path) -> anyhow::Result<NaiveDate> {
        let date = self.fit(default_base_date(self.now, self.survey.days()))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(path, format!("{date}\n")).with_context(|| path.display().to_string())?;
        Ok(date)
    }
}

fn remembered(path: &Path) -> anyhow::Result<Option<NaiveDate>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let date = NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d");
    Ok(Some(date.with_context(|| format!("{} must hold a date such as 2026-03-29", path.display()))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: Events = Events { retention_days: 400, max_ahead_seconds: 300, late_after_seconds: 3600 };

    fn day(text: &str) -> NaiveDate {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").unwrap()
    }

    fn survey(times: &[&str]) -> Survey {
        let rows: String = times.iter().map(|time| format!("{time},1,1\n")).collect();
        Survey::of(format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}").as_bytes()).unwrap()
    }

    /// The base date of a trace that begins in the evening and has so many days, requested at noon.
    fn date(given: Option<&str>, dir: &Path, today: &str, days: usize) -> anyhow::Result<NaiveDate> {
        let times = ["2023-11-16 23:59:59.5", "2023-11-17 23:59:59", "2023-11-18T00:00:00Z"];
        let now = day(today).and_hms_opt(12, 0, 0).unwrap().and_utc();
        Judge { now, survey: &survey(&times[..days]), events: &EVENTS }.base_date(given.map(day), dir)
    }

    #[test]
    fn the_base_date_is_chosen_once() {
        let dir = tempfile::tempdir().unwrap();
        let date = |given, today| date(given, dir.path(), today, 1);
        assert_eq!(date(None, "2026-03-30").unwrap(), day("2026-03-29"));
        assert_eq!(date(None, "2026-12-24").unwrap(), day("2026-03-29"));
        assert_eq!(date(Some("2026-12-01"), "2026-12-24").unwrap(), day("2026-12-01"));
        assert_eq!(date(None, "2026-12-24").unwrap(), day("2026-03-29"), "a given date is not remembered");
        let error = format!("{:#}", date(None, "2027-06-01").unwrap_err());
        assert!(error.contains("--base-date") && error.contains("400 days"), "{error}");
    }

    #[test]
    fn a_longer_trace_has_its_own_date() {
        let dir = tempfile::tempdir().unwrap();
        let date = |today, days| date(None, dir.path(), today, days).unwrap();
        assert_eq!(date("2026-03-30", 1), day("2026-03-29"));
        assert_eq!(date("2026-03-30", 3), day("2026-03-27"));
        assert_eq!(date("2026-12-24", 3), day("2026-03-27"), "it is remembered");
        assert_eq!(date("2026-12-24", 1), day("2026-03-29"), "and so is the other's");
    }

    #[test]
    fn a_date_whose_trace_lies_ahead_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = |given, days| format!("{:#}", date(Some(given), dir.path(), "2026-03-30", days).unwrap_err());
        assert_eq!(error("2026-03-30", 1), "--base-date: 2026-03-30 is not over yet");
        assert_eq!(
            error("2026-03-29", 2),
            "--base-date: the trace covers 2 days: from 2026-03-29 on its last event would occur at 2026-03-30T23:59:59Z, \
             which lies ahead. Nothing was published. Its base date can be 2026-03-28 or earlier; pass the same one each time, \
             since another one makes other events"
        );
        assert!(error("2020-01-01", 1).contains("older than the 400 days"));
    }
}
