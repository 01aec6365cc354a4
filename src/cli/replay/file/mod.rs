//! `replay --file`: publishes a file of events, once, however often it is interrupted.
//!
//! What the broker has confirmed is kept in a state file. A crash loses at most the last few thousand lines of it; they
//! are sent again, and the service removes the copies.

mod dry_run;
mod journal;
mod lines;
mod report;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::Context;

use crate::{
    broker,
    cli::stream::{Pace, Progress, Sender, interruption, rate},
    config::Settings,
    domain::{event, partition::home_partition},
};

use journal::{Identity, Journal};
use lines::{FileLines, Line, Lines};
use report::Report;

#[derive(clap::Args)]
#[group(id = "of_file")]
pub struct Options {
    /// Messages a second; as quick as possible when absent
    #[arg(long, value_name = "N", value_parser = rate, requires = "file", conflicts_with = "partition")]
    rate: Option<f64>,
    /// Keeps how far the file was published, in place of FILE.replay-state
    #[arg(long, value_name = "FILE", requires = "file", conflicts_with = "partition")]
    state: Option<PathBuf>,
    /// Publish from the first line on, whatever was published before
    #[arg(long, requires = "file", conflicts_with = "partition")]
    again: bool,
    /// Check every line against the event rules and publish nothing
    #[arg(long, requires = "file", conflicts_with_all = ["rate", "state", "again", "partition"])]
    dry_run: bool,
}

pub async fn run(file: &Path, options: Options, json: bool, settings: Settings) -> anyhow::Result<ExitCode> {
    let named = || file.display().to_string();
    let lines = Lines::open(file).with_context(named)?;
    if options.dry_run {
        return dry_run::run(file, lines, json, &settings.events);
    }
    let broker = settings.broker;
    let place = format!("{} at {}", broker.stream, broker::address(&broker)?);
    let state = options.state.unwrap_or_else(|| beside(file, ".replay-state"));
    let identity = Identity::of(file).with_context(named)?;
    let mut report = Report::new(file, &broker);
    let mut journal = Journal::open(state, identity, place, options.again)?;
    if journal.is_finished() {
        eprintln!("analytics-service: all of {} was published before; --again publishes it again", named());
        report.finished_before(journal.confirmed());
        report.write(json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let interrupted = interruption();
    let sender = Sender::connect(broker, Arc::clone(&interrupted)).await?;
    let started = Instant::now();
    let mut replay = Replay { lines, sender, skipped: journal.confirmed(), interrupted };
    let outcome = replay.run(options.rate, &mut journal, &mut report).await;
    // Whatever happened, what was published is remembered and said.
    let flushed = replay.sender.flush().await;
    let sender = &replay.sender;
    report.finished = matches!(outcome, Ok(End::OfFile)) && flushed.is_ok();
    report.count(&replay.lines, sender, started.elapsed());
    let saved = journal.end(replay.skipped + sender.confirmed_in_order(), report.finished);
    replay.sender.close().await;
    report.write(json)?;
    outcome.with_context(named)?;
    flushed.context("publishing")?;
    saved?;
    if !report.finished {
        eprintln!("analytics-service: stopped before the end of {}; the same command goes on from here", named());
    }
    // Who waits for the whole file must see that this was not it.
    Ok(if report.finished { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

enum End {
    OfFile,
    Interrupted,
}

struct Replay {
    lines: FileLines,
    sender: Sender,
    /// Lines that earlier runs published.
    skipped: u64,
    interrupted: Arc<AtomicBool>,
}

impl Replay {
    async fn run(&mut self, rate: Option<f64>, journal: &mut Journal, report: &mut Report) -> anyhow::Result<End> {
        let mut progress = Progress::of_file(self.lines.file_bytes());
        for _ in 0..self.skipped {
            self.lines.next()?;
        }
        report.resumed(&self.lines, self.skipped);
        let (mut sent, pace) = (0, Pace::new(rate));
        loop {
            let confirmed = self.sender.confirmed_in_order();
            journal.note(self.skipped + confirmed)?;
            progress.report(self.lines.bytes_read(), |seconds| tracing::info!(sent, confirmed, seconds, "publishing"));
            pace.wait(sent, &mut self.sender).await?;
            if self.interrupted.load(Ordering::Relaxed) {
                return Ok(End::Interrupted);
            }
            let Some(line) = self.lines.next()? else { break };
            let partition = partition_of(&line, report.partitions);
            self.sender.send(partition, line.body).await?;
            sent += 1;
        }
        progress.end(self.lines.bytes_read());
        Ok(End::OfFile)
    }
}

/// The home of the line's org; lines of no readable org take turns, the same at each run.
fn partition_of(line: &Line, partitions: u16) -> u16 {
    match event::org_of(&line.body) {
        Some(org_id) => home_partition(org_id, partitions),
        None => u16::try_from(line.number % u64::from(partitions.max(1))).unwrap_or_default(),
    }
}

/// A file of the same name with something added.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// On standard output, as JSON or as text.
fn print(json: bool, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    let printed = if json { serde_json::to_string_pretty(value)? + "\n" } else { text() };
    io::Write::write_all(&mut io::stdout().lock(), printed.as_bytes()).context("standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_their_orgs_home_partition() {
        let line = |number, body: &str| Line { number, body: body.as_bytes().to_vec() };
        // As the partition's own tests have it.
        let org = "\"orgId\":\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"";
        assert_eq!(partition_of(&line(1, &format!("{{{org},\"latencyMs\":-1}}")), 4), 0);
        for (body, number) in [("not json".to_owned(), 5), (format!("{{{org},{org}}}"), 6), ("{}".to_owned(), 7)] {
            assert_eq!(u64::from(partition_of(&line(number, &body), 4)), number % 4, "{body}");
        }
    }
}
