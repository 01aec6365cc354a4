//! The rows of a trace's file, and what all of them are together.

use std::io::Read;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use csv::{ByteRecord, ReaderBuilder, Terminator, Trim};
use sha2::{Digest, Sha256};

use crate::{
    domain::{event::MAX_TOKENS, timestamp},
    workload::WorkloadError,
};

const TIMESTAMP: &str = "TIMESTAMP";
const INPUT_TOKENS: &str = "ContextTokens";
const OUTPUT_TOKENS: &str = "GeneratedTokens";
const COLUMNS: [&str; 3] = [TIMESTAMP, INPUT_TOKENS, OUTPUT_TOKENS];

pub struct Row {
    /// UTC where nothing else is said, cut to microseconds.
    pub at: DateTime<Utc>,
    pub input_tokens: u32,
    pub output_tokens: u32,
}

pub struct Rows<R> {
    reader: csv::Reader<R>,
    record: ByteRecord,
}

impl<R: Read> Rows<R> {
    /// # Errors
    /// The first line does not name the columns TIMESTAMP, ContextTokens, GeneratedTokens.
    pub fn new(source: R) -> Result<Self, WorkloadError> {
        // The reader's own treatment of CR LF counts lines one short.
        let lines = Terminator::Any(b'\n');
        let mut reader =
            ReaderBuilder::new().flexible(true).quoting(false).terminator(lines).trim(Trim::All).from_reader(source);
        let headers = reader.byte_headers().map_err(|error| bad(1, TIMESTAMP, error.to_string()))?;
        for (i, column) in COLUMNS.into_iter().enumerate() {
            if headers.get(i) != Some(column.as_bytes()) {
                return Err(bad(1, column, format!("must be the name of column {}", i + 1)));
            }
        }
        Ok(Self { reader, record: ByteRecord::new() })
    }

    /// The next row; nothing at the end.
    ///
    /// # Errors
    /// A value that cannot be read: its line and column.
    pub fn next(&mut self) -> Result<Option<Row>, WorkloadError> {
        loop {
            let line = self.reader.position().line();
            let more = self.reader.read_byte_record(&mut self.record);
            if !more.map_err(|error| bad(line, TIMESTAMP, error.to_string()))? {
                return Ok(None);
            }
            let blank = self.record.len() == 1 && self.record[0].is_empty();
            if !blank {
                return self.row(line).map(Some);
            }
        }
    }

    fn row(&self, line: u64) -> Result<Row, WorkloadError> {
        if self.record.len() != COLUMNS.len() {
            let column = COLUMNS.get(self.record.len()).copied().unwrap_or(OUTPUT_TOKENS);
            return Err(bad(line, column, format!("the line has {} values, not {}", self.record.len(), COLUMNS.len())));
        }
        let text = |i: usize| str::from_utf8(&self.record[i]).map_err(|_| bad(line, COLUMNS[i], "is not UTF-8"));
        let tokens = |i: usize| {
            let value = text(i)?.parse().ok().filter(|tokens| *tokens <= MAX_TOKENS);
            value.ok_or_else(|| bad(line, COLUMNS[i], format!("must be an integer from 0 to {MAX_TOKENS}")))
        };
        let at = timestamp::recorded(text(0)?).ok_or_else(|| {
            bad(line, TIMESTAMP, "must be a time such as 2023-11-16 18:15:46.6805900 or 2024-05-10T00:00:00+00:00")
        })?;
        Ok(Row { at, input_tokens: tokens(1)?, output_tokens: tokens(2)? })
    }
}

/// What a trace is as a whole: known when every row has been read, before the first one is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    pub rows: u64,
    /// The earliest and the latest moment; none where there are no rows.
    span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Of the rows' values: the same whatever the lines' ends, and however the times are written.
    digest: [u8; 32],
}

impl Survey {
    /// Reads a trace to its end.
    ///
    /// # Errors
    /// The first row that cannot be read.
    pub fn of(source: impl Read) -> Result<Self, WorkloadError> {
        let mut rows = Rows::new(source)?;
        let (mut count, mut span, mut digest) = (0, None, Sha256::new());
        while let Some(Row { at, input_tokens, output_tokens }) = rows.next()? {
            count += 1;
            let (first, last) = span.unwrap_or((at, at));
            span = Some((at.min(first), at.max(last)));
            digest.update(at.timestamp_micros().to_le_bytes());
            digest.update(input_tokens.to_le_bytes());
            digest.update(output_tokens.to_le_bytes());
        }
        Ok(Self { rows: count, span, digest: digest.finalize().into() })
    }

    /// The digest in hexadecimal.
    pub fn name(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Days from the first one to the last, both counted.
    pub fn days(&self) -> u64 {
        let days = self.span.map_or(0, |(first, last)| (last.date_naive() - first.date_naive()).num_days());
        days.unsigned_abs() + 1
    }

    /// How far rows are moved for the first day to be the base date.
    pub fn shift(&self, base_date: NaiveDate) -> TimeDelta {
        self.span.map_or(TimeDelta::zero(), |(first, _)| base_date - first.date_naive())
    }

    /// When the first and the last event occurred then.
    pub fn shifted(&self, base_date: NaiveDate) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let (first, last) = self.span?;
        let shift = self.shift(base_date);
        Some((first.checked_add_signed(shift)?, last.checked_add_signed(shift)?))
    }
}

fn bad(line: u64, column: &'static str, problem: impl Into<String>) -> WorkloadError {
    WorkloadError::Trace { line, column, problem: problem.into() }
}
