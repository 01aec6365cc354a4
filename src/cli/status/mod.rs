//! `status`: the whole installation on one screen, from the database and the processes that respond. Its collectors and what it prints
//! are files of their own; what is not well is `domain::status::judge`.

mod database;
mod ports;
mod screen;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use chrono::Utc;
use reqwest::Url;
use serde::Serialize;

use self::ports::Ports;
use crate::{
    cli::{client::base_url, interrupt::interrupted, print},
    config::Settings,
    domain::status::{
        finding::StatusFinding,
        installation::{Installation, OperationsPort},
        judge::{Limits, judge},
    },
    store::Session,
};

const LONG_ABOUT: &str = "\
Show how the whole installation is, and what to do about what is not well

From the database: processes, partitions, what waits, dead letters, exports, replays, the last verify, maintenance, the engine of the
rollups, versions. What only a process knows, such as whether it reaches its servers, is read from its operations port: that of
ops.address, or those of --url. One of --url that does not respond is not well; that of ops.address may be anywhere. Changes
nothing, and gives up after 10 seconds.

Exit code 0 where all is well, 1 where the database cannot be read, 3 where something is not well.";

const AFTER_HELP: &str = "\
Examples:
  analytics-service status
  analytics-service status --watch
  analytics-service status --json --url http://pod-1:8081 --url http://pod-2:8081";

/// Show how the whole installation is, and what to do about what is not well
#[derive(clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub struct Args {
    /// Look again every so many seconds (2 without a number), until Ctrl-C: redraws a terminal, and prints a block each time elsewhere
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    /// Operations port of a process to read, in place of ops.address; may be given several times
    #[arg(long, value_name = "http://HOST:PORT", value_parser = base_url)]
    url: Vec<Url>,
    /// Print JSON; with --watch an object a line
    #[arg(long)]
    json: bool,
}

/// What one look found.
#[derive(Serialize)]
struct Report {
    /// None: the database cannot be read, so it is not known.
    well: Option<bool>,
    /// Why the database cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    findings: Vec<StatusFinding>,
    #[serde(flatten)]
    installation: Option<Installation>,
    operations: Vec<OperationsPort>,
}

impl Report {
    fn exit_code(&self) -> ExitCode {
        match self.well {
            Some(true) => ExitCode::SUCCESS,
            Some(false) => ExitCode::from(3),
            None => ExitCode::FAILURE,
        }
    }
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let ports = Ports::new(&settings.ops, &args.url)?;
    let mut session = Session::new(settings.database.clone());
    let Some(seconds) = args.watch else {
        let report = look(&settings, &mut session, &ports).await;
        if args.json {
            print::json(&report)?;
        } else {
            print::text(&screen::text(&report, Utc::now()))?;
        }
        return Ok(report.exit_code());
    };
    tokio::select! {
        watched = watch(&args, Duration::from_secs(seconds), &settings, &mut session, &ports) => watched,
        interrupted = interrupted() => {
            interrupted?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn look(settings: &Settings, session: &mut Session, ports: &Ports) -> Report {
    let (found, operations) = tokio::join!(database::read(settings, session), ports.read());
    let (installation, error) = match found {
        Ok(installation) => (Some(installation), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let limits = Limits {
        freshness: settings.freshness.thresholds(),
        late_after: settings.events.late_after(),
        purge_every: settings.maintenance.purge_every(),
        maintain_every: settings.maintenance.maintain_every(),
    };
    let findings = judge(installation.as_ref(), &operations, &limits);
    let well = installation.is_some().then_some(findings.is_empty());
    Report { well, error, findings, installation, operations }
}

/// Goes on until it is interrupted, whatever is away meanwhile.
async fn watch(
    args: &Args,
    every: Duration,
    settings: &Settings,
    session: &mut Session,
    ports: &Ports,
) -> anyhow::Result<ExitCode> {
    let redraws = std::io::stdout().is_terminal();
    loop {
        let report = look(settings, session, ports).await;
        if args.json {
            print::text(&serde_json::to_string(&report)?)?;
        } else {
            let text = screen::text(&report, Utc::now());
            print::text(&if redraws { screen::redrawn(&text) } else { format!("{text}\n") })?;
        }
        tokio::time::sleep(every).await;
    }
}
