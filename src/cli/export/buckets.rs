//! `export buckets`: which organisation owns a bucket.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use uuid::Uuid;

use crate::{
    cli::{
        bad_usage, on_database, operator,
        print::{Column, harmless, json, table, text, time},
    },
    config::Settings,
    domain::audit::AuditEvent,
    store::{
        PgConnection,
        exports::buckets::{self, OrgBucket},
    },
};

const AFTER_HELP: &str = "\
Examples:
  analytics-service export buckets set --org 123e4567-e89b-12d3-a456-426614174000 --bucket tenant-a
  analytics-service export buckets list
  analytics-service export buckets clear --org 123e4567-e89b-12d3-a456-426614174000 --bucket tenant-a";

/// Set, list and clear the buckets that an organisation's exports may be delivered to
///
/// Every organisation may use objects.bucket, and of objects.allowed_buckets those that are its own.
#[derive(Subcommand)]
#[command(after_help = AFTER_HELP)]
pub enum Command {
    Set(Set),
    List(List),
    Clear(Clear),
}

/// Let an organisation have its exports delivered to a bucket, and no other organisation
#[derive(clap::Args)]
#[command(
    after_help = "Example: analytics-service export buckets set --org 123e4567-e89b-12d3-a456-426614174000 --bucket tenant-a"
)]
pub struct Set {
    /// The organisation
    #[arg(long, value_name = "UUID")]
    org: Uuid,
    /// One of objects.allowed_buckets
    #[arg(long, value_name = "NAME")]
    bucket: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// List buckets and the organisations that own them
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service export buckets list --json")]
pub struct List {
    /// Only this organisation's
    #[arg(long, value_name = "UUID")]
    org: Option<Uuid>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Revoke a bucket from an organisation; files that are there stay
#[derive(clap::Args)]
#[command(
    after_help = "Example: analytics-service export buckets clear --org 123e4567-e89b-12d3-a456-426614174000 --bucket tenant-a"
)]
pub struct Clear {
    /// The organisation
    #[arg(long, value_name = "UUID")]
    org: Uuid,
    #[arg(long, value_name = "NAME")]
    bucket: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    let objects = &settings.objects;
    if let Command::Set(Set { bucket, .. }) = &command
        && (*bucket == objects.bucket || !objects.buckets().contains(&bucket.as_str()))
    {
        return Ok(bad_usage("--bucket must be one of objects.allowed_buckets; objects.bucket is everybody's"));
    }
    on_database(&settings.database, async |conn| match command {
        Command::Set(args) => set(args, conn).await,
        Command::List(args) => list(&args, conn).await,
        Command::Clear(args) => clear(&args, conn).await,
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

fn act(action: &'static str, org_id: Uuid, bucket: &str) -> AuditEvent {
    operator::act(action).of_org(org_id).target(bucket)
}

async fn set(args: Set, conn: &mut PgConnection) -> anyhow::Result<()> {
    let act = act("export_bucket.set", args.org, &args.bucket);
    match buckets::set(conn, args.org, &args.bucket, &operator::name(), &act).await? {
        Some(set) if args.json => json(&set),
        Some(set) => text(&format!("{}: {}", set.org_id, set.bucket)),
        None => bail!("--bucket {}: it is another organisation's; clear that first", args.bucket),
    }
}

async fn list(args: &List, conn: &mut PgConnection) -> anyhow::Result<()> {
    let found = buckets::list(conn, args.org).await?;
    if args.json {
        return json(&serde_json::json!({ "buckets": found }));
    }
    let row = |one: &OrgBucket| {
        let by = harmless(&one.changed_by, false);
        [one.org_id.to_string(), harmless(&one.bucket, false), time(one.changed_at), by]
    };
    let columns = ["ORG", "BUCKET", "CHANGED", "BY"].map(Column::Text);
    text(&table(columns, &found.iter().map(row).collect::<Vec<_>>()))
}

async fn clear(args: &Clear, conn: &mut PgConnection) -> anyhow::Result<()> {
    let act = act("export_bucket.clear", args.org, &args.bucket);
    let cleared = buckets::clear(conn, args.org, &args.bucket, &act).await?;
    if args.json {
        return json(&serde_json::json!({ "orgId": args.org, "bucket": args.bucket, "cleared": cleared }));
    }
    text(&format!("{}: {}", args.org, if cleared { "cleared" } else { "the bucket is not this organisation's" }))
}
