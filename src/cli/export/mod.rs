//! `export`: generates files for finance, and sets which organisation owns a bucket.

mod buckets;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    actors::export_generator::{
        generate::ExportBackend,
        worker::{Looked, Worker, WorkerParts},
    },
    app,
    cli::{
        bad_usage, fitting_connection,
        interrupt::interrupted,
        maintenance::{Steps, Summary},
        operator, print,
    },
    config::Settings,
    domain::export::{ExportJob, Granularity, Month, Output, Status, request::first_boundary},
    store::{
        PgConnection, clock,
        exports::{self as table, Claimer, Created, NewMonth},
        lifecycle::floors,
    },
    telemetry::{metrics::Metrics, readiness::Readiness},
};

const AFTER_HELP: &str = "\
Examples:
  analytics-service export monthly
  analytics-service export monthly --month 2026-01 --json";

const MONTHLY: &str = "\
Generate the file of a month for every organisation with usage in it

Each organisation has analytics/exports/{orgId}/{YYYYMM}.csv, by day and model, and beside it every version of it,
{YYYYMM}.r1.csv and so on, which is never overwritten. Run again, nothing is generated where nothing has changed since;
where a month has changed, a new version is generated, and its manifest names the revisions behind it. No file is generated
for an organisation of whose month a part is purged; it is named among those that failed. Interrupted, or
run by several at once, it goes on where it was. Running services may generate some of the files.

Exit code 1 where a file could not be generated; the others are.";

/// Organisations whose jobs are created in one go.
const ORGS_AT_ONCE: u16 = 500;
/// How often is looked for jobs that others work on.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Generate files for finance, and manage buckets
#[derive(Subcommand)]
#[command(after_help = AFTER_HELP)]
pub enum Command {
    Monthly(Monthly),
    #[command(subcommand)]
    Buckets(buckets::Command),
}

/// Generate the file of a month for every organisation with usage in it
#[derive(clap::Args)]
#[command(long_about = MONTHLY, after_help = AFTER_HELP)]
pub struct Monthly {
    /// A month (of UTC) that is over; the last one without it
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<Month>,
    /// Only this organisation's
    #[arg(long, value_name = "UUID")]
    org: Option<Uuid>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    month: String,
    orgs: usize,
    /// Files that are new, or new versions.
    made: usize,
    unchanged: usize,
    failed: Vec<Failed>,
    /// Organisations whose month may still change without a revision: not all of it was final when it was read.
    not_final: usize,
    rows: u64,
    bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    org_id: Uuid,
    /// None where there is no use in a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<Uuid>,
    error: String,
}

impl Failed {
    fn purged(org_id: Uuid, from: DateTime<Utc>) -> Self {
        let from = first_boundary(from, Granularity::Monthly).date_naive();
        let error = format!(
            "a part of the month is purged: the first that can be generated is that of {}",
            from.format("%Y-%m")
        );
        Self { org_id, job_id: None, error }
    }
}

impl Summary for Report {
    fn line(&self) -> String {
        let Self { month, orgs, made, unchanged, failed, not_final, rows, bytes } = self;
        let mut line = format!(
            "export monthly: {month}: {orgs} organisations: {made} files generated, {unchanged} unchanged, {} failed, {rows} rows, \
             {bytes} bytes",
            failed.len()
        );
        if *not_final > 0 {
            line += &format!("; {not_final} were generated before the month was final: run it again later");
        }
        for Failed { org_id, error, .. } in failed.iter().take(20) {
            line += &format!("\n  {org_id}: {error}");
        }
        line
    }

    fn exit_code(&self) -> ExitCode {
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

pub async fn run(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    let args = match command {
        Command::Monthly(args) => args,
        Command::Buckets(command) => return buckets::run(command, settings).await,
    };
    let mut steps = Steps::new();
    let report = tokio::select! {
        report = monthly(&args, &settings, &mut steps) => report,
        interrupted = interrupted() => {
            interrupted?;
            bail!("interrupted; what is generated stays, and running it again does the rest")
        }
    };
    steps.end();
    let Some(report) = report? else {
        return Ok(bad_usage("--month must be over"));
    };
    print::report(args.json, &report, || report.line())?;
    Ok(report.exit_code())
}

/// None: the month is not over.
async fn monthly(args: &Monthly, settings: &Settings, steps: &mut Steps) -> anyhow::Result<Option<Report>> {
    let database = &settings.database;
    let mut conn = fitting_connection(database).await?;
    let now = clock::now(&mut conn).await?;
    let last = Month::last_over(now).context("the database's clock")?;
    let month = args.month.unwrap_or(last);
    if month > last {
        return Ok(None);
    }
    let backend = ExportBackend::new(settings).context("objects")?;
    // What is purged of a month makes no file of it, and who has nothing left in it may have had something.
    let mut purged = floors::above(&mut conn, month.range().start).await?;
    purged.retain(|(org_id, _)| args.org.is_none_or(|only| only == *org_id));
    let without: BTreeSet<Uuid> = purged.iter().map(|(org_id, _)| *org_id).collect();
    let jobs = request(&mut conn, month, args.org, &without, backend.objects.default_bucket(), steps).await?;
    if jobs.is_empty() && purged.is_empty() {
        tracing::warn!(%month, "no organisation has usage in this month");
    }
    work(&mut conn, settings, backend, &jobs, steps).await?;
    let mut report = Report {
        month: month.to_string(),
        orgs: jobs.len() + purged.len(),
        made: 0,
        unchanged: 0,
        failed: purged.into_iter().map(|(org_id, from)| Failed::purged(org_id, from)).collect(),
        not_final: 0,
        rows: 0,
        bytes: 0,
    };
    let final_at = month.range().end + settings.events.late_after();
    for (job_id, org_id) in jobs {
        // One of an org that was erased meanwhile belongs to no org.
        let Some(job) = table::get(&mut conn, org_id, job_id).await? else { continue };
        count(&mut report, &job, table::is_unchanged(&mut conn, &job).await?);
        let open = |output: &Output| output.as_of.is_none_or(|as_of| as_of < final_at);
        report.not_final += usize::from(job.output.as_ref().is_some_and(open));
    }
    Ok(Some(report))
}

/// The jobs of a month's files, each with its org: new ones, and those that are open.
async fn request(
    conn: &mut PgConnection,
    month: Month,
    only: Option<Uuid>,
    without: &BTreeSet<Uuid>,
    bucket: Option<&str>,
    steps: &mut Steps,
) -> anyhow::Result<BTreeMap<Uuid, Uuid>> {
    let (mut jobs, mut after) = (BTreeMap::new(), None);
    loop {
        let orgs = table::orgs_with_usage(conn, month, after, ORGS_AT_ONCE).await?;
        after = orgs.last().copied();
        let wanted = |org_id: &Uuid| only.is_none_or(|only| only == *org_id) && !without.contains(org_id);
        for org_id in orgs.iter().copied().filter(wanted) {
            let job_id = Uuid::now_v7();
            let by = operator::name();
            let act = operator::act("export.monthly").of_org(org_id).target(job_id).detail(month);
            let new = NewMonth { job_id, org_id, month, granularity: Granularity::Daily, bucket, by: &by, act: &act };
            match table::create_month(conn, &new).await? {
                Created::New(job) | Created::Same(job) => jobs.insert(job.id, org_id),
                Created::KeyTaken | Created::TooMany | Created::Wrong(_) => bail!("the month cannot be requested"),
            };
            steps.report(&format!("{} organisations", jobs.len()));
        }
        if orgs.len() < usize::from(ORGS_AT_ONCE) {
            return Ok(jobs);
        }
    }
}

/// Generates files until those of these jobs are done, or cannot be.
async fn work(
    conn: &mut PgConnection,
    settings: &Settings,
    backend: ExportBackend,
    jobs: &BTreeMap<Uuid, Uuid>,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    let claimer = Claimer { process: Uuid::now_v7(), name: app::process_name() };
    let parts = WorkerParts {
        settings: settings.clone(),
        claimer,
        backend,
        metrics: Metrics::default(),
        readiness: Readiness::default(),
    };
    let (mut worker, stop, beats) = (Worker::new(parts), Notify::new(), Cell::new(0_u32));
    let mut open: BTreeSet<Uuid> = jobs.keys().copied().collect();
    while !open.is_empty() {
        let looked = worker.look(|| beats.set(beats.get() + 1), &stop).await;
        let ids: Vec<Uuid> = open.iter().copied().collect();
        for ids in ids.chunks(ORGS_AT_ONCE.into()) {
            let statuses = table::statuses(conn, ids).await?;
            open.retain(|id| !ids.contains(id) || statuses.get(id).is_some_and(|status| status.is_open()));
        }
        steps.report(&format!("{} of {} files", jobs.len() - open.len(), jobs.len()));
        if looked == Looked::Nothing && !open.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

fn count(report: &mut Report, job: &ExportJob, unchanged: bool) {
    match (&job.output, job.status) {
        (Some(output), Status::Succeeded) => {
            report.made += usize::from(!unchanged);
            report.unchanged += usize::from(unchanged);
            report.rows += output.rows;
            report.bytes += output.bytes;
        }
        _ => report.failed.push(Failed {
            org_id: job.spec.org_id,
            job_id: Some(job.id),
            error: job.error.clone().unwrap_or_else(|| job.status.as_str().to_owned()),
        }),
    }
}
