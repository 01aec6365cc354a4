//! `retention`: how long an organisation's data is kept where that differs from the settings.

use std::process::ExitCode;

use clap::Subcommand;
use uuid::Uuid;

use crate::{
    cli::{
        bad_usage, on_database, operator,
        print::{Column, absent, harmless, json, table, text, time},
    },
    config::Settings,
    domain::{audit::AuditEvent, retention::least_raw_days},
    store::{
        PgConnection,
        lifecycle::org_settings::{self, Change, OrgRetention},
        rollups::engine::{self, Engine},
    },
};

const AFTER_HELP: &str = "\
Examples:
  analytics-service retention set --org 123e4567-e89b-12d3-a456-426614174000 --raw-days 30
  analytics-service retention list
  analytics-service retention clear --org 123e4567-e89b-12d3-a456-426614174000";

/// Keep an organisation's data for another time than the settings say
#[derive(Subcommand)]
#[command(after_help = AFTER_HELP)]
pub enum Command {
    Set(Set),
    List(List),
    Clear(Clear),
}

/// Set how long an organisation's data is kept; what is not named stays as it is
///
/// It counts from the next purge on. What is gone does not come back when the time is made longer again. Of raw events and
/// rollups only where these are kept live (`rollups show`).
#[derive(clap::Args)]
#[command(
    after_help = "Example: analytics-service retention set --org 123e4567-e89b-12d3-a456-426614174000 --raw-days 30 --rollup-days 800"
)]
pub struct Set {
    /// The organisation
    #[arg(long, value_name = "UUID")]
    org: Uuid,
    /// Raw events, at most events.retention_days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i32).range(1..=3650))]
    raw_days: Option<i32>,
    /// Rollups and their revisions
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i32).range(1..=3650))]
    rollup_days: Option<i32>,
    /// Exports
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i32).range(1..=3650))]
    export_days: Option<i32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// List the organisations whose data is kept for another time
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service retention list --json")]
pub struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Keep an organisation's data as long as the settings say again
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service retention clear --org 123e4567-e89b-12d3-a456-426614174000")]
pub struct Clear {
    /// The organisation
    #[arg(long, value_name = "UUID")]
    org: Uuid,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    if let Command::Set(set) = &command
        && let Some(problem) = wrong(set, &settings)
    {
        return Ok(bad_usage(&problem));
    }
    on_database(&settings.database, async |conn| {
        match command {
            Command::Set(args) => {
                if let Some(problem) = refused(&args, conn).await? {
                    return Ok(bad_usage(&problem));
                }
                set(args, conn).await?;
            }
            Command::List(args) => list(args, conn).await?,
            Command::Clear(args) => clear(args, conn).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// What the engine that keeps the rollups, or is about to, does not allow.
async fn refused(set: &Set, conn: &mut PgConnection) -> anyhow::Result<Option<String>> {
    let option = match (set.raw_days, set.rollup_days) {
        (None, None) => return Ok(None),
        (Some(_), None) => "--raw-days",
        (None, Some(_)) => "--rollup-days",
        (Some(_), Some(_)) => "--raw-days and --rollup-days",
    };
    let state = engine::state(conn).await?;
    if state.engine == Engine::Live {
        return Ok(None);
    }
    Ok(Some(format!(
        "{option}: continuous aggregates keep the rollups of all organisations together, in chunks that are dropped whole; retention.rollup_days and events.retention_days are everybody's. For a retention of an \
         organisation's own: `rollups switch --to live` first"
    )))
}

/// What the settings do not allow.
fn wrong(set: &Set, settings: &Settings) -> Option<String> {
    if set.raw_days.or(set.rollup_days).or(set.export_days).is_none() {
        return Some("one of --raw-days, --rollup-days and --export-days is needed".to_owned());
    }
    let (least, most) = (least_raw_days(settings.dedupe.window()), settings.events.retention_days);
    let days = i64::from(set.raw_days?);
    (!(least..=most).contains(&days)).then(|| {
        format!(
            "--raw-days must be from {least} (dedupe.window_hours and two days) to {most} (events.retention_days), is {days}"
        )
    })
}

fn act(action: &'static str, org_id: Uuid) -> AuditEvent {
    operator::act(action).of_org(org_id)
}

async fn set(args: Set, conn: &mut PgConnection) -> anyhow::Result<()> {
    let change = Change {
        org_id: args.org,
        raw_days: args.raw_days,
        rollup_days: args.rollup_days,
        export_days: args.export_days,
    };
    let named = [("raw", args.raw_days), ("rollup", args.rollup_days), ("export", args.export_days)];
    let named = named.iter().filter_map(|(name, days)| Some(format!("{name}_days {}", (*days)?)));
    let act = act("retention.set", args.org).detail(named.collect::<Vec<_>>().join(", "));
    let org = org_settings::set(conn, &change, &operator::name(), &act).await?;
    if args.json { json(&org) } else { text(&shown(&[org])) }
}

async fn list(args: List, conn: &mut PgConnection) -> anyhow::Result<()> {
    let orgs = org_settings::list(conn).await?;
    if args.json { json(&serde_json::json!({ "orgs": orgs })) } else { text(&shown(&orgs)) }
}

async fn clear(args: Clear, conn: &mut PgConnection) -> anyhow::Result<()> {
    let cleared = org_settings::clear(conn, args.org, &act("retention.clear", args.org)).await?;
    if args.json {
        return json(&serde_json::json!({ "orgId": args.org, "cleared": cleared }));
    }
    text(&format!("{}: {}", args.org, if cleared { "cleared" } else { "has no retention of its own" }))
}

fn shown(orgs: &[OrgRetention]) -> String {
    let days = |days: Option<i32>| days.map_or_else(absent, |days| days.to_string());
    let row = |org: &OrgRetention| {
        let by = harmless(&org.changed_by, false);
        [
            org.org_id.to_string(),
            days(org.raw_days),
            days(org.rollup_days),
            days(org.export_days),
            time(org.changed_at),
            by,
        ]
    };
    let columns = [
        Column::Text("ORG"),
        Column::Number("RAW DAYS"),
        Column::Number("ROLLUP DAYS"),
        Column::Number("EXPORT DAYS"),
        Column::Text("CHANGED"),
        Column::Text("BY"),
    ];
    table(columns, &orgs.iter().map(row).collect::<Vec<_>>())
}
