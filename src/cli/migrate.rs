//! `migrate`: brings the schema up to date.

use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::{
    cli::{bad_usage, confirm},
    config::Settings,
    store::{
        self, PgConnection,
        edition::is_community,
        lifecycle::{maintain, maintenance},
        rollups::{
            engine::{self, Engine, RefreshRules},
            switch, verify,
        },
        schema::{self, Server},
    },
};

/// Bring the database schema up to date
///
/// Runs as the role of database.migration_url and grants the role of database.url what the service needs.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  analytics-service migrate
  analytics-service migrate --down-to 20261129000119")]
pub struct Args {
    /// Undo what came after this version (one of the migrations', 0 for all). Deletes data; asks first
    #[arg(long, value_name = "VERSION")]
    down_to: Option<i64>,
    /// Do not ask
    #[arg(long, requires = "down_to")]
    yes: bool,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let database = &settings.database;
    let mut conn = store::connect_owner(database).await.context("database.migration_url")?;
    match args.down_to {
        Some(version) => return undo(&mut conn, version, args.yes).await,
        None => {
            let service_role = store::user_of(&database.url).context("database.url")?;
            let version = store::schema::up(&mut conn, &service_role).await?;
            let newest = schema::newest();
            if version > newest {
                tracing::info!(
                    version,
                    newest,
                    "the schema is newer than this build, which works with it: nothing was applied"
                );
            } else {
                tracing::info!(version, "the schema is up to date");
                settle(&mut conn, &settings, &service_role).await?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes the schema back, when that is meant and no process works on it.
async fn undo(owner: &mut PgConnection, version: i64, yes: bool) -> anyhow::Result<ExitCode> {
    if version != 0 && !schema::knows(version) {
        let newest = schema::newest();
        return Ok(bad_usage(&format!(
            "--down-to must be 0 or the version of a migration, of which {newest} is the newest"
        )));
    }
    let applied = schema::applied_after(owner, version).await?;
    let (Some(first), Some(last)) = (applied.first(), applied.last()) else {
        tracing::info!(version, "nothing of the schema is newer");
        return Ok(ExitCode::SUCCESS);
    };
    if !yes && !confirm::can_ask() {
        return Ok(bad_usage(confirm::YES_IS_REQUIRED));
    }
    none_at_work(owner).await?;
    let what = if version == 0 { "and with them ALL DATA" } else { "and what only they hold" };
    let question = format!("{} migrations, {first} to {last}, {what}: undo them?", applied.len());
    confirm::agreed(yes, &question)?;
    // One may have started while somebody was thinking.
    none_at_work(owner).await?;
    schema::down(owner, version).await?;
    tracing::info!(version, undone = applied.len(), "the schema was taken back");
    Ok(ExitCode::SUCCESS)
}

/// # Errors
/// A process works on the database: names it.
async fn none_at_work(owner: &mut PgConnection) -> anyhow::Result<()> {
    let living = schema::processes(owner).await?;
    if !living.is_empty() {
        bail!("the database is worked on by {}: stop the service first", living.join(", "));
    }
    Ok(())
}

/// A schema without data begins with the engine that the settings name. One with data is switched by a command of its
/// own, which may take long. Compression is scheduled where the edition has it.
async fn settle(owner: &mut PgConnection, settings: &Settings, service_role: &str) -> anyhow::Result<()> {
    let Server { license, engine, .. } = schema::probe(owner).await?;
    let chosen = Engine::chosen(settings.rollups.engine, &license, engine).context("rollups.engine")?;
    let compress_after = settings.maintenance.compress_after();
    let compresses = !is_community(&license) || maintain::scheduled(owner).await? == compress_after;
    let refreshes = engine == Engine::Live || !is_community(&license) || engine::is_scheduled(owner).await?;
    if engine == chosen && compresses && refreshes {
        return Ok(());
    }
    // Several that start together: one chooses, the others find it done.
    let mut turn = store::connect_owner(&settings.database).await?;
    maintenance::wait_for_turn(&mut turn).await?;
    if is_community(&license) {
        maintain::schedule(owner, compress_after).await?;
    }
    let engine = engine::state(owner).await?.engine;
    let (rules, every) = (RefreshRules::of(settings), settings.maintenance.refresh_every());
    if engine == chosen {
        if !refreshes {
            engine::schedule(owner, &rules, every).await?;
        }
        return Ok(());
    }
    if verify::first_day(owner).await?.is_some() {
        tracing::warn!(
            engine = engine.as_str(),
            configured = chosen.as_str(),
            "rollups are kept by another engine than rollups.engine names: see `rollups switch`"
        );
        return Ok(());
    }
    match chosen {
        Engine::Continuous => switch::to_continuous(owner, &rules, every, service_role, &mut |_| ()).await?,
        Engine::Live => switch::to_live(owner, &mut |_| ()).await?,
    }
    tracing::info!(engine = chosen.as_str(), "rollups");
    Ok(())
}
