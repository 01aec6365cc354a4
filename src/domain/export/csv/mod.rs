//! The file: RFC 4180, UTF-8, lines that end with CR LF.
//!
//! Rows are in the order of bucket, model and text, or of bucket and group, numbers exact and written in one way: the same rows are the
//! same bytes. Rates and latencies are written as the API writes them. A text cell (client, error code, a value, a name) that a spreadsheet
//! would take for a formula has an apostrophe in front, also behind what some spreadsheets take for the end of a cell, see [`neutral`].

mod cell;
mod groups;
mod names;

use std::{borrow::Cow, io, mem};

use chrono::{DateTime, SecondsFormat, Utc};
use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};
use uuid::Uuid;

use self::cell::{Scratch, quoted};
use super::{GroupBy, Grouping, Spec, Totals, column};
use crate::domain::{
    attribution::{Dimension, Value, list},
    histogram,
    money::Cents,
};

pub use self::{
    cell::neutral,
    groups::{GROUP_COLUMNS, GroupRow},
    names::Names,
};

/// The columns that every file has whose rows are by model.
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

/// The columns of a file, as they are called: those that its grouping has, then those of names.
pub fn columns(spec: &Spec) -> Vec<String> {
    let own: Vec<Cow<'static, str>> = match &spec.group_by {
        Grouping::By(group_by) => COLUMNS.into_iter().chain(group_by.column()).map(Cow::from).collect(),
        Grouping::Dimensions(dimensions) => {
            let own = GROUP_COLUMNS.into_iter().map(Cow::from).chain(dimensions.iter().map(column));
            own.chain([Cow::from("unset")]).collect()
        }
    };
    // No dimension's column begins so.
    let names = named(spec).iter().map(|dimension| format!("name.{}", column(dimension))).collect::<Vec<_>>();
    own.into_iter().map(Cow::into_owned).chain(names).collect()
}

/// What has a column of names.
fn named(spec: &Spec) -> Vec<Dimension> {
    if spec.names { spec.group_by.nameable() } else { Vec::new() }
}

/// Writes rows into memory, from where the caller takes them again and again: a file of any size needs no more
/// memory than what is not taken yet.
pub struct CsvRows {
    writer: Writer<Vec<u8>>,
    group_by: Grouping,
    org_id: String,
    granularity: &'static str,
    /// What has a column of names, and the names.
    named: Vec<Dimension>,
    names: Names,
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
    pub fn new(spec: &Spec, names: Names) -> io::Result<Self> {
        let mut rows = Self {
            writer: writer(0),
            group_by: spec.group_by.clone(),
            org_id: spec.org_id.to_string(),
            granularity: spec.granularity.as_str(),
            named: named(spec),
            names,
            bucket: (None, String::new()),
            scratch: Scratch::default(),
            rows: 0,
            totals: Totals::default(),
        };
        for column in columns(spec) {
            rows.text(&column)?;
        }
        rows.writer.write_record(None::<&[u8]>)?;
        Ok(rows)
    }

    /// Writes a row of a file by model.
    ///
    /// # Errors
    /// None that memory can have.
    pub fn write(&mut self, row: &Row) -> io::Result<()> {
        let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
        let model_id: &str = row.model_id.hyphenated().encode_lower(&mut buffer);
        self.begin(row.bucket_start);
        self.writer.write_field(&self.org_id)?;
        self.writer.write_field(model_id)?;
        self.writer.write_field(&self.bucket.1)?;
        self.writer.write_field(self.granularity)?;
        let (invocations, errors, cost) = (row.invocations, row.errors, row.cost);
        let (input_tokens, output_tokens) = (row.input_tokens, row.output_tokens);
        self.amounts(&Totals { invocations, errors, input_tokens, output_tokens, cost })?;
        for percentile in row.latency {
            self.writer.write_field(self.scratch.fraction(percentile.map(histogram::shown))?)?;
        }
        if matches!(self.group_by, Grouping::By(GroupBy::Client | GroupBy::ErrorCode)) {
            self.text(row.text.as_deref().unwrap_or_default())?;
        }
        for place in 0..self.named.len() {
            let id = if self.named[place] == Dimension::Model { Some(model_id) } else { row.text.as_deref() };
            self.name(place, id)?;
        }
        self.writer.write_record(None::<&[u8]>)?;
        Ok(())
    }

    /// Writes a row of a file by dimensions.
    ///
    /// # Errors
    /// None that memory can have.
    pub fn write_group(&mut self, row: &GroupRow) -> io::Result<()> {
        self.begin(row.bucket_start);
        self.writer.write_field(&self.org_id)?;
        self.writer.write_field(&self.bucket.1)?;
        self.writer.write_field(self.granularity)?;
        self.writer.write_field(row.kind.as_str())?;
        let measures = row.measures;
        self.amounts(&Totals {
            invocations: measures.invocations,
            errors: measures.errors,
            input_tokens: measures.input_tokens,
            output_tokens: measures.output_tokens,
            cost: measures.cost,
        })?;
        let dimensions = self.group_by.dimensions().to_vec();
        let value_of = |place: usize| row.key.get(place).and_then(Value::name);
        for place in 0..dimensions.len() {
            self.text(value_of(place).unwrap_or_default())?;
        }
        let is_unset = |(_, value): &(&Dimension, &Value)| **value == Value::Missing;
        let unset = dimensions.iter().zip(&row.key).filter(is_unset).map(|(dimension, _)| column(dimension));
        self.text(&list(unset))?;
        for place in 0..self.named.len() {
            let of = dimensions.iter().position(|dimension| *dimension == self.named[place]);
            self.name(place, of.and_then(value_of))?;
        }
        self.writer.write_record(None::<&[u8]>)?;
        Ok(())
    }

    fn begin(&mut self, bucket_start: DateTime<Utc>) {
        if self.bucket.0 != Some(bucket_start) {
            self.bucket = (Some(bucket_start), bucket_start.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        }
    }

    /// Writes what every row has, and adds it up.
    fn amounts(&mut self, of: &Totals) -> io::Result<()> {
        let (writer, scratch) = (&mut self.writer, &mut self.scratch);
        writer.write_field(scratch.whole(of.invocations))?;
        writer.write_field(scratch.whole(of.errors))?;
        let rate = (of.invocations > 0).then(|| of.errors as f64 / of.invocations as f64);
        writer.write_field(scratch.fraction(rate)?)?;
        writer.write_field(scratch.whole(of.input_tokens))?;
        writer.write_field(scratch.whole(of.output_tokens))?;
        writer.write_field(scratch.whole(of.cost))?;
        self.rows += 1;
        self.totals.invocations += of.invocations;
        self.totals.errors += of.errors;
        self.totals.input_tokens += of.input_tokens;
        self.totals.output_tokens += of.output_tokens;
        self.totals.cost += of.cost;
        Ok(())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_field(quoted(&neutral(text)).as_bytes())?;
        Ok(())
    }

    /// What an id of the column of names is called.
    fn name(&mut self, place: usize, id: Option<&str>) -> io::Result<()> {
        let name = id.and_then(|id| self.names.get(&self.named[place], id)).unwrap_or_default();
        self.writer.write_field(quoted(&neutral(name)).as_bytes())?;
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

#[cfg(test)]
mod tests;
