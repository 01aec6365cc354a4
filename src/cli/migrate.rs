//! `migrate`: brings the schema up to date.

use std::process::ExitCode;

use anyhow::Context;

use crate::{config::Settings, store};

/// Bring the database schema up to date
///
/// Runs as the role of database.migration_url and grants the role of database.url what the service needs.
#[derive(clap::Args)]
#[command(after_help = "Example: analytics-service migrate")]
pub struct Args {
    /// Take migrations back down to this version (a timestamp; 0 for all). Deletes data
    #[arg(long, value_name = "VERSION")]
    down_to: Option<i64>,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let database = &settings.database;
    let url = if database.migration_url.is_empty() { &database.url } else { &database.migration_url };
    let mut conn = store::connect(url, database.connect_timeout()).await.context("database.migration_url")?;
    match args.down_to {
        Some(version) => store::schema::down(&mut conn, version).await?,
        None => {
            let service_role = store::user_of(&database.url).context("database.url")?;
            let version = store::schema::up(&mut conn, &service_role).await?;
            tracing::info!(version, "the schema is up to date");
        }
    }
    Ok(ExitCode::SUCCESS)
}
