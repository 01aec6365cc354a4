//! Where the messages come from: a trace's rows, or the synthetic workload.

use std::{fs::File, io::BufReader};

use anyhow::Context;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::{Args, base_date::Judge};
use crate::{
    config::Events,
    workload::{
        Kind, Note, WorkloadError,
        synthetic::{self, Synthetic},
        trace::{self, Survey, Trace},
    },
};

pub enum Source {
    Trace { trace: Box<Trace<BufReader<File>>>, base_date: NaiveDate, rows: u64, late_after: TimeDelta },
    Synthetic { load: Box<Synthetic>, events: Option<u64> },
}

impl Source {
    /// Opens it. A trace is read to its end, and each row judged, before the first one is published.
    ///
    /// # Errors
    /// A row that is none, or a time that cannot be published.
    pub fn open(args: &Args, events: &Events) -> anyhow::Result<Self> {
        let Some(path) = &args.trace else {
            let plan = synthetic::Plan {
                seed: args.seed,
                run: u64::try_from(Utc::now().timestamp_micros()).unwrap_or_default(),
                orgs: args.orgs.unwrap_or(250),
                models: args.models.unwrap_or(40),
                duplicates: args.duplicates,
                late: args.late,
                invalid: args.invalid,
            };
            return Ok(Self::Synthetic { load: Box::new(Synthetic::new(plan)), events: args.events });
        };
        let named = || path.display().to_string();
        let open = || Ok::<_, std::io::Error>(BufReader::new(File::open(path)?));
        let survey = Survey::of(open().with_context(named)?).with_context(named)?;
        let base_date =
            Judge { now: Utc::now(), survey: &survey, events }.base_date(args.base_date, &args.state_dir)?;
        let plan =
            trace::Plan { seed: args.seed, base_date, orgs: args.orgs.unwrap_or(5), models: args.models.unwrap_or(4) };
        let trace = Trace::new(open().with_context(named)?, &survey, plan).with_context(named)?;
        Ok(Self::Trace { trace: Box::new(trace), base_date, rows: survey.rows, late_after: events.late_after() })
    }

    /// The next message, to be published at `now` after `sent` others.
    pub fn next(&mut self, now: DateTime<Utc>, sent: u64, body: &mut Vec<u8>) -> Result<Option<Note>, WorkloadError> {
        match self {
            Self::Trace { trace, late_after, .. } => {
                let Some(mut note) = trace.next(body)? else { return Ok(None) };
                if let Some(usage) = note.usage {
                    note.kind = Kind::Original { late: usage.occurred_at < now - *late_after };
                }
                Ok(Some(note))
            }
            Self::Synthetic { events, .. } if events.is_some_and(|events| sent >= events) => Ok(None),
            Self::Synthetic { load, .. } => load.next(now, body).map(Some),
        }
    }

    /// Messages to come, where that is known.
    pub fn expected(&self) -> Option<u64> {
        match self {
            Self::Trace { rows, .. } => Some(*rows),
            Self::Synthetic { events, .. } => *events,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Trace { .. } => "trace",
            Self::Synthetic { .. } => "synthetic",
        }
    }

    pub fn base_date(&self) -> Option<NaiveDate> {
        match self {
            Self::Trace { base_date, .. } => Some(*base_date),
            Self::Synthetic { .. } => None,
        }
    }
}
