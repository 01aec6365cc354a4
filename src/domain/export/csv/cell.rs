//! Cells: texts of which a spreadsheet takes none for a formula, and numbers as they are written.

use std::{borrow::Cow, fmt::Write as _, io};

/// What a spreadsheet of another locale, or of other settings, takes for the end of a cell.
const SEPARATORS: [char; 3] = [';', '\t', '|'];

/// In quotes where RFC 4180 requires it, and where the text has a separator of another kind: a program that guesses the
/// separator does not count those within quotes.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
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
pub(super) const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// Numbers as they are written, one after the other in the same memory.
#[derive(Default)]
pub(super) struct Scratch {
    text: String,
    bytes: Vec<u8>,
}

impl Scratch {
    pub fn whole(&mut self, number: impl std::fmt::Display) -> &[u8] {
        self.text.clear();
        // Writing to a text does not fail.
        let _ = write!(self.text, "{number}");
        self.text.as_bytes()
    }

    /// As JSON has it, hence as the API's responses do.
    pub fn fraction(&mut self, number: Option<f64>) -> io::Result<&[u8]> {
        self.bytes.clear();
        if let Some(number) = number {
            serde_json::to_writer(&mut self.bytes, &number)?;
        }
        Ok(&self.bytes)
    }
}
