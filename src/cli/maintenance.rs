//! What the commands that maintain the data have in common: their turn, how they show how far they are, and how they end.

use std::{
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use chrono::TimeDelta;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    app,
    cli::{interrupt::interrupted, operator, print},
    config::Settings,
    domain::audit::{AuditEvent, Outcome},
    store::{
        access::audit,
        lifecycle::{
            maintain,
            maintenance::{Access, TaskLock},
            purge,
        },
    },
    telemetry,
};

/// How often a line is logged where there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// Longest that it takes to record that a command has failed.
const RECORD_WITHIN: Duration = Duration::from_secs(3);

/// Options of every such command.
#[derive(clap::Args)]
pub struct Common {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Longest wait while another maintenance command is at work, seconds
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub wait: u64,
}

/// What a command did, in full as JSON and in one line.
pub trait Summary: Serialize {
    fn line(&self) -> String;

    /// What the record of maintenance keeps of it: all of it, where it names no person.
    fn for_the_record(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }

    /// Whether one that changes nothing is recorded too, so that processes can report it.
    fn is_noted(&self) -> bool {
        false
    }

    /// 0, or 3 where a check did not hold.
    fn exit_code(&self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

/// Takes the turn, does the work, and prints and records what came of it.
pub async fn run<S: Summary>(
    settings: &Settings,
    common: &Common,
    task: &'static str,
    access: Access,
    work: impl AsyncFnOnce(&mut TaskLock, &mut Steps) -> anyhow::Result<S>,
) -> anyhow::Result<ExitCode> {
    let wait = Duration::from_secs(common.wait);
    let mut lock = TaskLock::take(&settings.database, task, access, wait).await.context(task)?;
    if access == Access::Alone {
        lock.begin(&app::process_name()).await?;
    }
    let action = action(task).filter(|_| access == Access::Alone);
    if let Some(action) = action {
        // That it was begun is on record whatever comes of it.
        audit::record(&mut lock.conn, &[operator::act(action).detail("begun")]).await?;
    }
    let begun = Instant::now();
    let mut steps = Steps::new();
    let done = tokio::select! {
        done = work(&mut lock, &mut steps) => done,
        interrupted = interrupted() => {
            interrupted?;
            Err(anyhow::anyhow!("interrupted; what is done is done, and running it again does the rest"))
        }
    };
    steps.end();
    // First what came of it, which processes go by; then who did it.
    if access == Access::Alone {
        match &done {
            Ok(summary) => lock.done(&summary.for_the_record()?).await?,
            // An interrupted statement is waited for no longer: then it stays a run that has not ended.
            Err(error) => {
                let _ = timeout(RECORD_WITHIN, lock.failed(&telemetry::log::in_full(error.as_ref()))).await;
            }
        }
    }
    if let Some(action) = action {
        let event = match &done {
            Ok(summary) => operator::act(action).detail(summary.line()),
            Err(error) => AuditEvent { outcome: Outcome::Failed, ..operator::act(action).detail(error) },
        };
        let recorded = audit::record(&mut lock.conn, &[event]).await;
        // Where it failed, that is what is to be said.
        if done.is_ok() {
            recorded?;
        }
    }
    let summary = done.context(task)?;
    if access == Access::Shared && summary.is_noted() {
        // Whole microseconds: the database knows no finer ones.
        let took = TimeDelta::microseconds(i64::try_from(begun.elapsed().as_micros()).unwrap_or_default());
        let noted = lock.note(&app::process_name(), took, &summary.for_the_record()?).await;
        // What was found is what matters: a role that may only read finds it too.
        if let Err(error) = noted {
            tracing::warn!(%error, task, "it is not recorded that this was done");
        }
    }
    print::report(common.json, &summary, || summary.line())?;
    Ok(summary.exit_code())
}

/// What the audit log calls it; none: it records for itself, or changes nothing.
fn action(task: &str) -> Option<&'static str> {
    match task {
        purge::TASK => Some("data.purge"),
        maintain::TASK => Some("data.maintain"),
        "refresh" | "refresh --late" => Some("rollups.refresh"),
        "rollups switch" => Some("rollups.switch"),
        _ => None,
    }
}

/// How far a command is: on a terminal one line that changes, elsewhere a log line every few seconds.
pub struct Steps {
    spinner: Option<ProgressBar>,
    logged: Instant,
}

impl Steps {
    pub fn new() -> Self {
        let spinner = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        Self { spinner, logged: Instant::now() }
    }

    pub fn report(&mut self, step: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(print::harmless(step, false));
            spinner.tick();
        } else if self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            tracing::info!(step, "at work");
        }
    }

    pub fn end(self) {
        if let Some(spinner) = self.spinner {
            spinner.finish_and_clear();
        }
    }
}
