//! `migrate`: brings the schema up to date.

use std::process::ExitCode;

use anyhow::Context;

use crate::{
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
#[command(after_help = "Example: analytics-service migrate")]
pub struct Args {
    /// Undo migrations down to this version (a timestamp; 0 for all). Deletes data
    #[arg(long, value_name = "VERSION")]
    down_to: Option<i64>,
}

pub async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let database = &settings.database;
    let mut conn = store::connect_owner(database).await.context("database.migration_url")?;
    match args.down_to {
        Some(version) => store::schema::down(&mut conn, version).await?,
        None => {
            let service_role = store::user_of(&database.url).context("database.url")?;
            let version = store::schema::up(&mut conn, &service_role).await?;
            tracing::info!(version, "the schema is up to date");
            settle(&mut conn, &settings, &service_role).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A schema without data begins with the engine that the settings ask for. One with data is switched by a command of its
/// own, which may take long. Compression is scheduled where the edition has it.
async fn settle(owner: &mut PgConnection, settings: &Settings, service_role: &str) -> anyhow::Result<()> {
    let Server { license, engine, .. } = schema::probe(owner).await?;
    let chosen = Engine::chosen(settings.rollups.engine, &license, engine).context("rollups.engine")?;
    let compress_after = settings.maintenance.compress_after();
    let compresses = !is_community(&license) || maintain::scheduled(owner).await? == compress_after;
    if engine == chosen && compresses {
        return Ok(());
    }
    // Several that start together: one chooses, the others find it done.
    let mut turn = store::connect_owner(&settings.database).await?;
    maintenance::wait_for_turn(&mut turn).await?;
    if is_community(&license) {
        maintain::schedule(owner, compress_after).await?;
    }
    let engine = engine::state(owner).await?.engine;
    if engine == chosen {
        return Ok(());
    }
    if verify::first_day(owner).await?.is_some() {
        tracing::warn!(
            engine = engine.as_str(),
            configured = chosen.as_str(),
            "rollups are kept by another engine than rollups.engine asks for: see `rollups switch`"
        );
        return Ok(());
    }
    let rules = RefreshRules::of(settings);
    let every = (chosen == Engine::Continuous).then(|| settings.maintenance.refresh_every());
    match chosen {
        Engine::Continuous => switch::to_continuous(owner, &rules, service_role, &mut |_| ()).await?,
        Engine::Live => switch::to_live(owner, &mut |_| ()).await?,
    }
    if is_community(&license) {
        engine::schedule(owner, &rules, every).await?;
    }
    tracing::info!(engine = chosen.as_str(), "rollups");
    Ok(())
}
