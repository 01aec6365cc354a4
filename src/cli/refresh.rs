//! `refresh`: rebuilds rollups from raw events.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    cli::{
        bad_usage, days,
        maintenance::{self, Common, Summary},
        print,
    },
    config::Settings,
    domain::{
        calendar::{next_utc_day, utc_day},
        revision::Reason,
    },
    store::{
        ingest::layout,
        lifecycle::{floors, maintenance::Access},
        rollups::{
            aggregates,
            engine::{self, Engine, RefreshRules, Refreshed},
            rebuild, recount,
        },
    },
};

const LONG_ABOUT: &str = "\
Rebuild rollups from raw events, or materialise what has become final

With --from and --to: counts the raw events of each day again and puts the result in the place of the hourly and
daily rollups, where they differ; a healthy range is left as it is. What was committed and is not merged yet is
counted once. Final buckets that change are in the organisations' revisions, with the reason rebuild. Merging
waits while a day is rebuilt, storing does not; all else goes on.

With --late: where continuous aggregates keep what is final, materialises what has become so, and deletes it from
the tables; late events are in the tables at once, and need nothing, as with live rollups. Requires the schema's owner
(database.migration_url) where there is something to do.";

const AFTER_HELP: &str = "\
Examples:
  analytics-service refresh --late
  analytics-service refresh --from 2026-01-30 --to 2026-02-01";

/// Rebuild rollups from raw events, or materialise what has become final
#[derive(clap::Args)]
#[command(long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub struct Args {
    /// Materialise what has become final
    #[arg(long, conflicts_with_all = ["from", "to", "org"])]
    late: bool,
    /// First day (of UTC)
    #[arg(long, value_name = "DAY", value_parser = days::day, requires = "to")]
    from: Option<DateTime<Utc>>,
    /// Day behind the last
    #[arg(long, value_name = "DAY", value_parser = days::day, requires = "from")]
    to: Option<DateTime<Utc>>,
    /// Only this organisation's
    #[arg(long, value_name = "UUID", requires = "from")]
    org: Option<Uuid>,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rebuild {
    engine: Engine,
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
    /// What was left as it is, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

impl Summary for Rebuild {
    fn line(&self) -> String {
        let Self { from, to, days, put, removed, revisions, left_out, .. } = self;
        let range = print::days(*from, *to);
        let mut line =
            format!("refresh: {range}, {days} days: {put} rollups put, {removed} removed, {revisions} revisions");
        if let Some(left_out) = left_out {
            line += &format!("; left as it is: {left_out}");
        }
        line
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Late {
    engine: Engine,
    #[serde(flatten)]
    refreshed: Refreshed,
}

impl Summary for Late {
    fn line(&self) -> String {
        let Refreshed { hours, days, released } = self.refreshed;
        match self.engine {
            Engine::Live => "refresh --late: live rollups have everything at once: nothing to materialise".to_owned(),
            Engine::Continuous => {
                format!("refresh --late: {hours} hours and {days} days materialised, {released} rollups released")
            }
        }
    }
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let Some((from, to)) = args.from.zip(args.to) else {
        if !args.late {
            return Ok(bad_usage("either --late, or --from and --to"));
        }
        return late(&args.common, &settings).await;
    };
    let (from, to) = (utc_day(from), next_utc_day(to));
    if to <= from {
        return Ok(bad_usage("--to must be after --from"));
    }
    maintenance::run(&settings, &args.common, "refresh", Access::Alone, async |turn, steps| {
        let conn = &mut turn.conn;
        if let Some(raw_from) = recount::raw_from(conn).await?.filter(|raw_from| from < *raw_from) {
            let first = next_utc_day(raw_from).date_naive();
            bail!("--from must be {first} or later: raw events from before are past their retention");
        }
        let engine = engine::state(conn).await?.engine;
        let mut report = Rebuild { engine, from, to, days: 0, put: 0, removed: 0, revisions: 0, left_out: None };
        let (orgs, floor) = floors::purged_since(conn, from, args.org).await?;
        report.left_out = floor.map(|floor| {
            format!("rollups of {orgs} organisations from before {}, which were purged", floor.date_naive())
        });
        recount::prepare(conn).await?;
        for day in days::between(from, to) {
            steps.report(&format!("{}: {} rollups put so far", day.date_naive(), report.put));
            let late_after = settings.events.late_after();
            let rebuilt = rebuild::day(conn, day, args.org, Some(Reason::Rebuild), late_after).await?;
            report.days += 1;
            report.put += rebuilt.put;
            report.removed += rebuilt.removed;
            report.revisions += rebuilt.revisions;
        }
        Ok(report)
    })
    .await
}

async fn late(common: &Common, settings: &Settings) -> anyhow::Result<ExitCode> {
    maintenance::run(settings, common, "refresh --late", Access::Alone, async |turn, steps| {
        let engine = engine::state(&mut turn.conn).await?.engine;
        let mut refreshed = Refreshed::default();
        if engine == Engine::Continuous {
            let mut owner = aggregates::connect(&settings.database).await.context("database.migration_url")?;
            // By the streams of another layout, what is complete would be wrong.
            if let Some(mismatch) = layout::check(&mut owner, &settings.broker.topology()).await? {
                bail!(mismatch);
            }
            refreshed =
                engine::refresh(&mut owner, &RefreshRules::of(settings), &mut |step| steps.report(step)).await?;
        }
        Ok(Late { engine, refreshed })
    })
    .await
}
