//! `refresh`: rebuilds rollups from raw events.

use std::process::ExitCode;

use anyhow::bail;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    cli::{
        bad_usage, days,
        maintenance::{self, Common, Summary},
    },
    config::Settings,
    domain::revision::Reason,
    store::{maintenance::Access, rebuild, recount},
};

const LONG_ABOUT: &str = "\
Rebuild rollups from raw events

Counts the raw events of each day again and puts the result in the place of the hourly and daily rollups, where
they differ; a healthy range is left as it is. What was committed and is not merged yet is counted once. Final
buckets that change are in the organisations' revisions, with the reason rebuild. Merging waits while a day is
rebuilt, storing does not; all else goes on.";

/// Rebuild rollups from raw events
#[derive(clap::Args)]
#[command(
    long_about = LONG_ABOUT,
    after_help = "Example: analytics-service refresh --from 2026-01-30 --to 2026-02-01"
)]
pub struct Args {
    /// First day (of UTC)
    #[arg(long, value_name = "DAY", value_parser = days::day)]
    from: DateTime<Utc>,
    /// Day behind the last
    #[arg(long, value_name = "DAY", value_parser = days::day)]
    to: DateTime<Utc>,
    /// Only this organisation's
    #[arg(long, value_name = "UUID")]
    org: Option<Uuid>,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    from: DateTime<Utc>,
    /// Exclusive.
    to: DateTime<Utc>,
    days: u64,
    /// Rollups that were put in place of what was there, or was not.
    put: u64,
    /// Rollups that no raw event stands behind.
    removed: u64,
    /// Final hours that changed.
    revisions: u64,
}

impl Summary for Report {
    fn line(&self) -> String {
        let Self { from, to, days, put, removed, revisions } = self;
        let (first, last) = (from.date_naive(), (*to - TimeDelta::days(1)).date_naive());
        format!("refresh: {first} to {last}, {days} days: {put} rollups put, {removed} removed, {revisions} revisions")
    }
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let (from, to) = (days::floor(args.from), days::ceil(args.to));
    if to <= from {
        return Ok(bad_usage("--to must be after --from"));
    }
    maintenance::run(&settings, &args.common, "refresh", Access::Alone, async |turn, steps| {
        let conn = &mut turn.conn;
        if let Some(raw_from) = rebuild::raw_from(conn).await?.filter(|raw_from| from < *raw_from) {
            let first = days::ceil(raw_from).date_naive();
            bail!("--from must be {first} or later: raw events from before are past their retention");
        }
        recount::prepare(conn).await?;
        let mut report = Report { from, to, days: 0, put: 0, removed: 0, revisions: 0 };
        for day in days::between(from, to) {
            steps.tell(&format!("{}: {} rollups put so far", day.date_naive(), report.put));
            let rebuilt = rebuild::day(conn, day, args.org, Reason::Rebuild, settings.events.late_after()).await?;
            report.days += 1;
            report.put += rebuilt.put;
            report.removed += rebuilt.removed;
            report.revisions += rebuilt.revisions;
        }
        Ok(report)
    })
    .await
}
