//! `verify`: whether raw events, rollups, attribution and ledger agree.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    actors::export_generator::{check, generate::ExportBackend},
    cli::{
        bad_usage, days,
        maintenance::{self, Common, Summary},
        print,
    },
    config::Settings,
    domain::{
        calendar::{next_utc_day, utc_day},
        export::{Status, verification::Verification},
        finding::Finding,
    },
    store::{
        attribution::{
            sets,
            unreadable::{self, Unreadable},
        },
        clock, exports,
        lifecycle::{floors, maintenance::Access},
        rollups::{
            pending::{self, Waiting},
            recount,
            verify::{self, Found, MOST_NAMED},
        },
    },
};

const LONG_ABOUT: &str = "\
Check that raw events, rollups, attribution and ledger agree

Counts the raw events of each day again and compares hourly and daily rollups with them to the last decimal and
the last latency; sums of hours, over models and by client and error code, with what they are summed from; and each set of attribution:
its hours with raw events, its days with its hours, its months with its days. Then, by the ledger: each batch has as many raw events as it stored and was not purged, the rows of each partition are a chain
without a hole up to where it reads on, and the ledger's hours are the sums of its batches. What is committed and waits to be merged is named, with since when. Changes no data and may run beside everything.
When it was done and what it found is recorded, for metrics, unless it is of one organisation or a file.

Exit code 3 where something differs: the first things are named, with the command that fixes each.";

/// Check that raw events, rollups, attribution and ledger agree
#[derive(clap::Args)]
#[command(
    long_about = LONG_ABOUT,
    after_help = "Examples:\n  analytics-service verify --last 7\n  analytics-service verify --from 2026-01-01 --to 2026-02-01\n  analytics-service verify --org 123e4567-e89b-12d3-a456-426614174000 --json\n  analytics-service verify --export 019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4"
)]
pub struct Args {
    /// First day (of UTC) of the events; of the commits, for the ledger. The first that anything is kept of without it
    #[arg(long, value_name = "DAY", value_parser = days::day)]
    from: Option<DateTime<Utc>>,
    /// Day behind the last; today is the last without it
    #[arg(long, value_name = "DAY", value_parser = days::day)]
    to: Option<DateTime<Utc>>,
    /// The last so many days (of UTC), today among them
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["from", "to", "export"], value_parser = clap::value_parser!(u16).range(1..))]
    last: Option<u16>,
    /// Only the rollups of this organisation: batches hold events of many, so the ledger is not looked at
    #[arg(long, value_name = "UUID")]
    org: Option<Uuid>,
    /// Check the file of this export instead: read it again, and hold its checksum and its sums against the job, the
    /// rollups, raw events and the ledger
    #[arg(long, value_name = "JOB", conflicts_with_all = ["from", "to", "org"])]
    export: Option<Uuid>,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The only one that was looked at.
    #[serde(skip)]
    org: Option<Uuid>,
    holds: bool,
    /// The days whose rollups were compared; none where nothing is kept.
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    events: u64,
    batches: u64,
    /// Sets of attribution that were compared, each from when on it has all events.
    sets: usize,
    /// How many things differ; the first of them are named.
    differences: u64,
    findings: Vec<Finding>,
    /// What is committed and waits to be merged: it is in raw events and in the ledger, and in no rollup yet.
    pending: Vec<Waiting>,
    /// What could not be checked, and why.
    not_checked: Vec<String>,
}

impl Summary for Report {
    fn line(&self) -> String {
        let mut text: String = self.findings.iter().map(|finding| format!("{}\n", finding.text())).collect();
        let unnamed = self.differences.saturating_sub(self.findings.len() as u64);
        if unnamed > 0 {
            text += &format!("and {unnamed} more; {MOST_NAMED} at most are named\n");
        }
        for what in &self.not_checked {
            text += &format!("not checked: {what}\n");
        }
        for Waiting { stream, partition, batches, since, .. } in &self.pending {
            let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
            text +=
                &format!("pending: {batches} batches of {stream} (partition {partition}), committed since {since}\n");
        }
        let days = match (self.from, self.to) {
            (Some(from), Some(to)) => print::days(from, to),
            _ => "nothing is kept".to_owned(),
        };
        let outcome = if self.holds {
            "all that was checked agrees".to_owned()
        } else {
            format!("{} differences", self.differences)
        };
        let Self { events, batches, sets, .. } = self;
        text + &format!("verify: {days}: {events} events, {batches} batches, {sets} sets of attribution; {outcome}")
    }

    /// What was checked of one org says nothing of the others.
    fn is_noted(&self) -> bool {
        self.org.is_none()
    }

    fn exit_code(&self) -> ExitCode {
        if self.holds { ExitCode::SUCCESS } else { ExitCode::from(3) }
    }
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    if let Some(job_id) = args.export {
        return file(job_id, &args.common, &settings).await;
    }
    if args.from.zip(args.to).is_some_and(|(from, to)| to <= from) {
        return Ok(bad_usage("--to must be after --from"));
    }
    maintenance::run(&settings, &args.common, "verify", Access::Shared, async |turn, steps| {
        let conn = &mut turn.conn;
        recount::prepare(conn).await?;
        let now = clock::now(conn).await?;
        let since = args.last.map_or(args.from, |days| Some(utc_day(now) - TimeDelta::days(i64::from(days) - 1)));
        let (first, raw_from) = (verify::first_day(conn).await?, recount::raw_from(conn).await?);
        let mut report = Report {
            org: args.org,
            holds: false,
            from: None,
            to: None,
            events: 0,
            batches: 0,
            sets: sets::kept(conn).await?.len(),
            differences: 0,
            findings: Vec::new(),
            pending: Vec::new(),
            not_checked: Vec::new(),
        };
        let mut found = Found::default();
        report.pending = pending::waiting(conn).await?;
        let mut waiting: Vec<Finding> = report.pending.iter().filter_map(Waiting::finding).collect();
        waiting.extend(unreadable::find(conn).await?.iter().map(Unreadable::finding));
        let waiting_count = waiting.len() as u64;
        found.add(waiting, waiting_count);
        // Events may lie a little ahead of the clock.
        let tomorrow = next_utc_day(now + settings.events.max_ahead());
        if let Some(first) = first {
            let wanted = since.map_or(first, utc_day).max(first);
            let from = wanted.max(raw_from.unwrap_or(first));
            let to = args.to.map_or(tomorrow, next_utc_day).min(tomorrow);
            if to <= from && (args.from.is_some() || args.to.is_some()) {
                bail!(
                    "no data is kept of these days: it begins at {} and ends before {}",
                    first.date_naive(),
                    tomorrow.date_naive()
                );
            }
            if from > wanted {
                let days = format!("rollups of {} to {}", wanted.date_naive(), from.date_naive() - TimeDelta::days(1));
                report.not_checked.push(format!("{days}: their raw events are past their retention"));
            }
            let (orgs, floor) = floors::purged_since(conn, from, args.org).await?;
            if let Some(floor) = floor {
                let floor = floor.date_naive();
                report
                    .not_checked
                    .push(format!("rollups of {orgs} organisations from before {floor}: they were purged"));
            }
            for day in days::between(from, to) {
                steps.report(&format!(
                    "{}: {} events so far, {} differences",
                    day.date_naive(),
                    report.events,
                    found.all
                ));
                report.events += verify::day(conn, day, args.org, &mut found).await?;
            }
            (report.from, report.to) = (Some(from), Some(to.max(from)));
        }
        if args.org.is_some() {
            report.not_checked.push("the ledger, which is not kept by organisation and batch".to_owned());
        } else {
            let from = since.map_or(DateTime::UNIX_EPOCH, utc_day);
            let to = args.to.map_or(tomorrow, next_utc_day);
            report.batches = verify::ledger(conn, from, to, &mut found, |step| steps.report(step)).await?;
        }
        report.holds = found.all == 0;
        report.differences = found.all;
        report.findings = found.named;
        Ok(report)
    })
    .await
}

impl Summary for Verification {
    fn line(&self) -> String {
        let verdict = self.verdict.as_str();
        let holds = if self.holds { "holds" } else { "does not hold" };
        let problems: Vec<String> = self.problems.iter().map(|problem| format!("\n  {problem}")).collect();
        format!(
            "verify: export {}: {holds} ({verdict}, {} revisions, counted from five minutes before it was read){}",
            self.job_id,
            self.revisions,
            problems.concat()
        )
    }

    fn exit_code(&self) -> ExitCode {
        if self.holds { ExitCode::SUCCESS } else { ExitCode::from(3) }
    }
}

/// Checks the file of an export. Beside everything: it changes nothing, and reads one moment.
async fn file(job_id: Uuid, common: &Common, settings: &Settings) -> anyhow::Result<ExitCode> {
    let backend = ExportBackend::new(settings).context("objects")?;
    maintenance::run(settings, common, "verify", Access::Shared, async |turn, steps| {
        let job =
            exports::find(&mut turn.conn, job_id).await?.with_context(|| format!("there is no export {job_id}"))?;
        let output = job.output.clone().filter(|_| job.status == Status::Succeeded);
        let output = output.with_context(|| format!("export {job_id} has no file: it is {}", job.status.as_str()))?;
        steps.report("reading the file, and counting raw events");
        Ok(check::check(&backend, &job, &output, true, settings.events.late_after()).await?)
    })
    .await
}
