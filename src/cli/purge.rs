//! `purge`: deletes what is older than its retention.

use std::process::ExitCode;

use serde::Serialize;

use crate::{
    actors::export_generator::{
        generate::ExportBackend,
        sweep::{self, Swept},
    },
    cli::maintenance::{self, Common, Summary},
    config::Settings,
    store::lifecycle::{
        maintenance::Access,
        purge::{self, Rules, TASK},
    },
};

/// Delete what is older than its retention
///
/// Raw events by whole days, rollups, old rows of the ledger, dead letters, exports and logs: as [retention] and
/// events.retention_days say, and `retention set` for an organisation. The service does the same by itself
/// when it was not done for maintenance.purge_hours. It can be interrupted at any moment; running it again does the rest.
/// Rollups of continuous aggregates go by whole chunks, which takes the owner of the schema
/// (database.migration_url); without it they are left, and the summary says so.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service purge --dry-run --json")]
pub struct Args {
    /// Count what would be deleted, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

/// What was deleted from the database and from the object store.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Purged {
    #[serde(flatten)]
    stored: purge::Purged,
    #[serde(skip_serializing_if = "Option::is_none")]
    exports: Option<Swept>,
    /// Why the files of exports were not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    exports_left: Option<String>,
}

impl Summary for Purged {
    fn line(&self) -> String {
        let exports = match (&self.exports, &self.exports_left) {
            (Some(swept), _) => swept.line(),
            (None, why) => format!("files of exports are left: {}", why.as_deref().unwrap_or_default()),
        };
        format!("{}; {exports}", self.stored.line())
    }

    fn exit_code(&self) -> ExitCode {
        let failed = self.exports.as_ref().is_some_and(|swept| swept.error.is_some());
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let access = if args.dry_run { Access::Shared } else { Access::Alone };
    let backend = ExportBackend::new(&settings);
    maintenance::run(&settings, &args.common, TASK, access, async |turn, steps| {
        let conn = &mut turn.conn;
        let mut on_step = |step: &str| steps.report(step);
        let stored = purge::purge(conn, &Rules::of(&settings), args.dry_run, &mut on_step).await?;
        let (exports, exports_left) = match &backend {
            Ok(backend) => (Some(sweep::sweep(conn, backend, args.dry_run, &mut on_step).await?), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(Purged { stored, exports, exports_left })
    })
    .await
}
