//! `--dry-run`: what the service would say to each line, without sending any.

use std::{io::BufRead, path::Path, process::ExitCode};

use chrono::Utc;
use serde::Serialize;

use super::{
    lines::{FileLines, LineError, Lines},
    print,
};
use crate::{
    cli::stream::Progress,
    config::Events,
    domain::event::{Rules, decode},
};

/// Rejected lines that are shown with their reasons.
const SHOWN: usize = 20;
/// The check did not hold.
const NOT_HELD: u8 = 3;

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    file: String,
    /// Lines with something in them.
    lines: u64,
    empty: u64,
    accepted: u64,
    rejected: u64,
    first_rejected: Vec<Rejected>,
}

#[derive(Serialize)]
struct Rejected {
    line: u64,
    reasons: Vec<String>,
}

pub fn run(file: &Path, mut lines: FileLines, json: bool, events: &Events) -> anyhow::Result<ExitCode> {
    // The service goes by the database's clock; this machine's is near enough for a forecast.
    let rules = Rules { now: Utc::now(), max_ahead: events.max_ahead(), retention: events.retention() };
    let mut verdict = Verdict { file: file.display().to_string(), ..Verdict::default() };
    let mut progress = Progress::of_file(lines.file_bytes());
    while verdict.judge_next(&mut lines, &rules)? {
        let Verdict { lines: judged, rejected, .. } = verdict;
        progress.report(lines.bytes_read(), |seconds| tracing::info!(lines = judged, rejected, seconds, "checking"));
    }
    progress.end(lines.bytes_read());
    verdict.empty = lines.empty();
    print(json, &verdict, || verdict.text())?;
    Ok(if verdict.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::from(NOT_HELD) })
}

impl Verdict {
    /// False at the end.
    fn judge_next<R: BufRead>(&mut self, lines: &mut Lines<R>, rules: &Rules) -> Result<bool, LineError> {
        let Some(line) = lines.next()? else { return Ok(false) };
        self.lines += 1;
        match decode(&line.body, rules) {
            Ok(_) => self.accepted += 1,
            Err(rejection) => {
                self.rejected += 1;
                if self.first_rejected.len() < SHOWN {
                    let reasons = rejection.reasons.iter().map(ToString::to_string).collect();
                    self.first_rejected.push(Rejected { line: line.number, reasons });
                }
            }
        }
        Ok(true)
    }

    fn text(&self) -> String {
        let Self { lines, empty, accepted, rejected, first_rejected, .. } = self;
        let mut text = format!("lines       {lines}, not counting {empty} empty ones\naccepted    {accepted}\n");
        text += &format!("rejected    {rejected}\n");
        for Rejected { line, reasons } in first_rejected {
            text += &format!("  line {line}: {}\n", reasons.join("; "));
        }
        if *rejected > first_rejected.len() as u64 {
            text += &format!("  and {} more\n", rejected - first_rejected.len() as u64);
        }
        text
    }
}
