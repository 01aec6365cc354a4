//! What commands print: JSON, and plain text in which nothing that a stranger sent can steer the terminal.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

/// A text and the end of the line. Unlike `println!`, says an error of the reader's end instead of panicking.
pub fn text(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    text(&serde_json::to_string_pretty(value)?)
}

/// A report: as JSON, or in words.
pub fn report(as_json: bool, value: &impl Serialize, words: impl FnOnce() -> String) -> anyhow::Result<()> {
    if as_json { json(value) } else { text(&words()) }
}

/// Days of UTC from a midnight to another, which is given to commands as the day after the last.
pub fn days(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    format!("{} to before {}", from.date_naive(), to.date_naive())
}

/// Escapes what a terminal would obey or would not show.
pub fn harmless(text: &str, lines: bool) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' if lines => harmless.push(c),
            '"' | '\'' | '\\' => harmless.push(c),
            c => harmless.extend(c.escape_debug()),
        }
    }
    harmless
}

pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A time span in its largest unit, rounded down. One into the future is none: clocks differ.
pub fn span(span: TimeDelta) -> String {
    match span.num_seconds().max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A span in seconds as measured, such as a lag; `-` where there is none.
pub fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(absent, |seconds| format!("{seconds:.1}s"))
}

/// What stands where there is nothing to say.
pub fn absent() -> String {
    "-".to_owned()
}

/// A column's heading.
pub enum Column {
    /// Texts, to the left.
    Text(&'static str),
    /// Numbers, to the right.
    Number(&'static str),
}

impl Column {
    const fn heading(&self) -> &'static str {
        match self {
            Self::Text(heading) | Self::Number(heading) => heading,
        }
    }
}

/// Rows under their headings, each column as wide as it has to be.
pub fn table<const N: usize>(columns: [Column; N], rows: &[[String; N]]) -> String {
    let headings = columns.each_ref().map(|column| column.heading().to_owned());
    let width = |n: usize| rows.iter().chain([&headings]).map(|row| row[n].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = columns.iter().zip(row).zip(widths).map(|((column, cell), width)| match column {
            Column::Text(_) => format!("{cell:<width$}"),
            Column::Number(_) => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    [&headings].into_iter().chain(rows).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_control_characters_are_escaped() {
        let sent = "{\"a\": \"\u{e9}\\\"}\n\u{1b}]0;x\u{7}\r\u{9b}2J\u{202e}\0";
        assert_eq!(harmless(sent, true), "{\"a\": \"\u{e9}\\\"}\n\\u{1b}]0;x\\u{7}\\r\\u{9b}2J\\u{202e}\\0");
        assert_eq!(harmless("a\nb", false), "a\\nb");
    }

    #[test]
    fn a_span_has_one_unit() {
        for (seconds, text) in [(-5, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (172_799, "47h"), (172_800, "2d")] {
            assert_eq!(span(TimeDelta::seconds(seconds)), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "10".to_owned(), "x".to_owned()], ["lon\u{e9}".to_owned(), absent(), absent()]];
        let columns = [Column::Text("NAME"), Column::Number("N"), Column::Text("CAUSE")];
        assert_eq!(table(columns, &rows), "NAME   N  CAUSE\na     10  x\nlon\u{e9}   -  -");
    }
}
