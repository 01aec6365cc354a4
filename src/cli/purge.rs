//! `purge`: takes away what is older than its retention.

use std::process::ExitCode;

use crate::{
    cli::maintenance::{self, Common, Summary},
    config::Settings,
    store::{
        maintenance::Access,
        purge::{self, Purged},
    },
};

/// Take away what is older than its retention
///
/// Raw events by whole days, rollups, old rows of the ledger, dead letters and logs: as [retention] and
/// events.retention_days say, and `retention set` for an organisation. The service does the same by itself
/// where nobody has for maintenance.purge_hours. It can be interrupted at any moment; running it again does the rest.
/// Rollups of continuous aggregates go by whole chunks, which takes the owner of the schema
/// (database.migration_url); without it they are left, and the summary says so.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service purge --dry-run --json")]
pub struct Args {
    /// Count what would be taken away, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

impl Summary for Purged {
    fn line(&self) -> String {
        Self::line(self)
    }
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let access = if args.dry_run { Access::Shared } else { Access::Alone };
    maintenance::run(&settings, &args.common, purge::TASK, access, async |turn, steps| {
        let (database, retention) = (&settings.database, settings.retention());
        Ok(purge::purge(&mut turn.conn, database, retention, args.dry_run, &mut |step| steps.tell(step)).await?)
    })
    .await
}
