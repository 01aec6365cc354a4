//! The file: RFC 4180, UTF-8, lines that end with CR LF.
//!
//! Rows are in the order of bucket, model and text, numbers exact and written in one way: the same rows are the same bytes.
//! Rates and latencies are written as the API writes them. A text cell (client, error code) that a spreadsheet would take for
//! a formula has an apostrophe in front, also behind what some spreadsheets take for the end of a cell, see [`neutral`].

use std::{borrow::Cow, fmt::Write as _, io, mem};

use chrono::{DateTime, SecondsFormat, Utc};
use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};
use uuid::Uuid;

use super::{Spec, Totals};
use crate::domain::{histogram, money::Cents};

/// The columns that every file has.
pub const COLUMNS: [&str; 13] = [
    "org_id",
    "model_id",
    "bucket_start",
    "granularity",
    "invocations",
    "errors",
    "error_rate",
    "input_tokens",
    "output_tokens",
    "cost_estimate_cents",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
];

/// The percentiles that a file has.
pub const PERCENTS: [f64; 3] = [50.0, 95.0, 99.0];

/// What a file has of a bucket and model.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub bucket_start: DateTime<Utc>,
    pub model_id: Uuid,
    /// Client or error code; none where there is none, or files do not distinguish them.
    pub text: Option<String>,
    pub invocations: u64,
    /// All but success.
    pub errors: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: Cents,
    /// Of [`PERCENTS`], milliseconds.
    pub latency: [Option<f64>; 3],
}

/// Writes rows into memory, from where the caller takes them again and again: a file of any size needs no more
/// memory than what is not taken yet.
pub struct CsvRows {
    writer: Writer<Vec<u8>>,
    has_text: bool,
    org_id: String,
    granularity: &'static str,
    /// The last row's, as it is written: rows of one bucket follow each other.
    bucket: (Option<DateTime<Utc>>, String),
    /// A number as it is written.
    scratch: Scratch,
    rows: u64,
    totals: Totals,
}

impl CsvRows {
    /// Begins a file: its header is there to be taken.
    ///
    /// # Errors
    /// None that memory can have.
    pub fn new(spec: &Spec) -> io::Result<Self> {
        let column = spec.group_by.column();
        let mut rows = Self {
            writer: writer(0),
            has_text: column.is_some(),
            org_id: spec.org_id.to_string(),
            granularity: spec.granularity.as_str(),
            bucket: (None, String::new()),
            scratch: Scratch::default(),
            rows: 0,
            totals: Totals::default(),
        };
        rows.writer.write_record(COLUMNS.into_iter().chain(column))?;
        Ok(rows)
    }

    /// # Errors
    /// None that memory can have.
    pub fn write(&mut self, row: &Row) -> io::Result<()> {
        if self.bucket.0 != Some(row.bucket_start) {
            self.bucket = (Some(row.bucket_start), row.bucket_start.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        }
        let (writer, scratch) = (&mut self.writer, &mut self.scratch);
        writer.write_field(&self.org_id)?;
        writer.write_field(row.model_id.hyphenated().encode_lower(&mut [0; uuid::fmt::Hyphenated::LENGTH]))?;
        writer.write_field(&self.bucket.1)?;
        writer.write_field(self.granularity)?;
        writer.write_field(scratch.whole(row.invocations))?;
        writer.write_field(scratch.whole(row.errors))?;
        let rate = (row.invocations > 0).then(|| row.errors as f64 / row.invocations as f64);
        writer.write_field(scratch.fraction(rate)?)?;
        writer.write_field(scratch.whole(row.input_tokens))?;
        writer.write_field(scratch.whole(row.output_tokens))?;
        writer.write_field(scratch.whole(row.cost))?;
        for percentile in row.latency {
            writer.write_field(scratch.fraction(percentile.map(histogram::shown))?)?;
        }
        if self.has_text {
            let text = neutral(row.text.as_deref().unwrap_or_default());
            writer.write_field(quoted(&text).as_bytes())?;
        }
        writer.write_record(None::<&[u8]>)?;
        self.rows += 1;
        self.totals.invocations += row.invocations;
        self.totals.errors += row.errors;
        self.totals.input_tokens += row.input_tokens;
        self.totals.output_tokens += row.output_tokens;
        self.totals.cost += row.cost;
        Ok(())
    }

    /// Bytes that are there to be taken, to some thousands.
    pub fn len(&self) -> usize {
        self.writer.get_ref().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what is written: the next part of the file, of whole lines.
    ///
    /// # Errors
    /// None that memory can have.
    pub fn take(&mut self) -> io::Result<Vec<u8>> {
        // As much again is likely to follow.
        let next = writer(self.writer.get_ref().len());
        mem::replace(&mut self.writer, next).into_inner().map_err(|error| error.into_error())
    }

    /// Rows so far, without the header.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Of the rows so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}

fn writer(capacity: usize) -> Writer<Vec<u8>> {
    // Of all cells only texts may need quotes, and more of them than the library would quote: see `quoted`.
    WriterBuilder::new()
        .quote_style(QuoteStyle::Never)
        .terminator(Terminator::CRLF)
        .from_writer(Vec::with_capacity(capacity))
}

/// What a spreadsheet of another locale, or of other settings, takes for the end of a cell.
const SEPARATORS: [char; 3] = [';', '\t', '|'];

/// In quotes where RFC 4180 requires it, and where the text has a separator of another kind: a program that guesses the
/// separator does not count those within quotes.
fn quoted(text: &str) -> Cow<'_, str> {
    let special = |c: char| matches!(c, ',' | '"' | '\r' | '\n') || SEPARATORS.contains(&c);
    if text.contains(special) { Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))) } else { Cow::Borrowed(text) }
}

/// A text of which no spreadsheet takes any part for a formula. It gets an apostrophe in front where it begins with `=`, `+`,
/// `-` or `@` (also in their full-width forms), whatever blank or invisible stands before, or with a tab or the end of a line.
/// The same holds behind every separator and end of a line within it, whatever quotes stand there too: a program that separates cells
/// by `;` finds the quotes of this file in the middle of a cell, where they mean nothing. A text that has an apostrophe there of
/// its own stays as it is.
pub fn neutral(text: &str) -> Cow<'_, str> {
    if !text.contains(FORMULA) && !text.starts_with(['\t', '\r', '\n']) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 1);
    // Some programs end a line at any of these.
    let ends_cell = |c: char| SEPARATORS.contains(&c) || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    for (n, part) in text.split_inclusive(ends_cell).enumerate() {
        let begins = if n == 0 {
            part.trim_start_matches(is_blank).starts_with(FORMULA) || part.starts_with(['\t', '\r', '\n'])
        } else {
            part.trim_start_matches(|c| is_blank(c) || c == '"').starts_with(FORMULA)
        };
        if begins {
            safe.push('\'');
        }
        safe.push_str(part);
    }
    if safe.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(safe) }
}

/// What formulas begin with.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// Numbers as they are written, one after the other in the same memory.
#[derive(Default)]
struct Scratch {
    text: String,
    bytes: Vec<u8>,
}

impl Scratch {
    fn whole(&mut self, number: impl std::fmt::Display) -> &[u8] {
        self.text.clear();
        // Writing to a text does not fail.
        let _ = write!(self.text, "{number}");
        self.text.as_bytes()
    }

    /// As JSON has it, hence as the API's responses do.
    fn fraction(&mut self, number: Option<f64>) -> io::Result<&[u8]> {
        self.bytes.clear();
        if let Some(number) = number {
            serde_json::to_writer(&mut self.bytes, &number)?;
        }
        Ok(&self.bytes)
    }
}

#[cfg(test)]
mod tests;
