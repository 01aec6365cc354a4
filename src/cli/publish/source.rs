//! Where the messages come from: a trace's rows, or the synthetic workload.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::Context;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::{Args, base_date::base_date};
use crate::{
    config::Events,
    domain::workload::{
        Kind, Note, WorkloadError, synthetic,
        synthetic::Synthetic,
        trace::{self, Trace},
    },
};

/// Why there is no next message although there should be.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    #[error("an event at {0} would lie in the future: choose an earlier --base-date")]
    Ahead(DateTime<Utc>),
}

pub enum Source {
    Trace {
        trace: Box<Trace<BufReader<File>>>,
        base_date: NaiveDate,
        rows: u64,
        max_ahead: TimeDelta,
        late_after: TimeDelta,
    },
    Synthetic {
        load: Box<Synthetic>,
        events: Option<u64>,
    },
}

impl Source {
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
        let rows = lines(path).with_context(named)?.saturating_sub(1);
        let file = BufReader::new(File::open(path).with_context(named)?);
        let base_date = base_date(args.base_date, &args.state_dir, Utc::now(), events)?;
        let (orgs, models) = (args.orgs.unwrap_or(5), args.models.unwrap_or(4));
        let trace = Trace::new(file, trace::Plan { seed: args.seed, base_date, orgs, models }).with_context(named)?;
        Ok(Self::Trace {
            trace: Box::new(trace),
            base_date,
            rows,
            max_ahead: events.max_ahead(),
            late_after: events.late_after(),
        })
    }

    /// The next message, to be published at `now` after `sent` others.
    pub fn next(&mut self, now: DateTime<Utc>, sent: u64, body: &mut Vec<u8>) -> Result<Option<Note>, SourceError> {
        match self {
            Self::Trace { trace, max_ahead, late_after, .. } => {
                let Some(mut note) = trace.next(body)? else { return Ok(None) };
                if let Some(usage) = note.usage {
                    if usage.occurred_at > now + *max_ahead {
                        return Err(SourceError::Ahead(usage.occurred_at));
                    }
                    note.kind = Kind::Original { late: usage.occurred_at < now - *late_after };
                }
                Ok(Some(note))
            }
            Self::Synthetic { events, .. } if events.is_some_and(|events| sent >= events) => Ok(None),
            Self::Synthetic { load, .. } => Ok(Some(load.next(now, body)?)),
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

/// Lines of a file, the last one with or without its end.
fn lines(path: &Path) -> std::io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut lines, mut ended) = (0, true);
    loop {
        let chunk = reader.fill_buf()?;
        let Some(last) = chunk.last() else { break };
        ended = *last == b'\n';
        lines += chunk.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        let read = chunk.len();
        reader.consume(read);
    }
    Ok(lines + u64::from(!ended))
}
