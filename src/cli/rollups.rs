//! `rollups`: which engine keeps the rollups, and switching to the other.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use crate::{
    cli::{
        maintenance::{self, Common, Summary},
        print,
    },
    config::{EngineChoice, Settings},
    store::{
        self, PgConnection,
        ingest::layout,
        lifecycle::maintenance::Access,
        rollups::{
            aggregates,
            engine::{self, Engine, RefreshRules},
            switch,
        },
        schema,
    },
};

const AFTER_HELP: &str = "\
Examples:
  analytics-service rollups show
  analytics-service rollups switch --to continuous";

const SWITCH: &str = "\
Switch to the other engine

While the service runs. To continuous: materialises what is final, day by day, and deletes it from the tables. To live: puts
what is materialised into the tables again, day by day, and drops the aggregates. Nothing is counted again, and readers
see the same numbers throughout. Waits for exports that are being generated. If it is interrupted, run it again. Replace all
processes of an older build first. Requires the schema's owner (database.migration_url).";

/// Show which engine keeps the rollups, and switch
#[derive(Subcommand)]
#[command(after_help = AFTER_HELP)]
pub enum Command {
    /// Show which engine keeps the rollups
    #[command(after_help = "Example: analytics-service rollups show --json")]
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Switch to the other engine
    #[command(long_about = SWITCH, after_help = "Example: analytics-service rollups switch --to continuous")]
    Switch {
        /// The engine to keep them by
        #[arg(long, value_enum)]
        to: To,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum To {
    /// Kept in tables, all of it
    Live,
    /// What is final in continuous aggregates of TimescaleDB's Community edition
    Continuous,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    engine: Engine,
    /// What `rollups.engine` makes of this server.
    configured: Engine,
    /// The server's `timescaledb.license`.
    license: String,
    /// Whether a switch has begun and not ended.
    switching: bool,
}

impl Summary for Report {
    fn line(&self) -> String {
        let Self { engine, configured, license, switching } = self;
        let mut text = format!("rollups: {} (timescaledb.license {license})", engine.as_str());
        if *switching {
            text += "; a switch has begun and not ended: run it again";
        } else if engine != configured {
            text += &format!("; the settings name {0}: `rollups switch --to {0}`", configured.as_str());
        }
        text
    }
}

pub async fn run(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    let database = &settings.database;
    match command {
        Command::Show { json } => {
            let mut conn = store::connect(&database.url, database.connect_timeout()).await.context("database.url")?;
            let report = report(&mut conn, &settings).await?;
            print::report(json, &report, || report.line())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Switch { to, common } => {
            let service_role = store::user_of(&database.url).context("database.url")?;
            let rules = RefreshRules::of(&settings);
            maintenance::run(&settings, &common, "rollups switch", Access::Alone, async |_, steps| {
                let mut owner = aggregates::connect(database).await.context("database.migration_url")?;
                let license = schema::probe(&mut owner).await?.license;
                // By the streams of another layout, what is complete would be wrong.
                if let Some(mismatch) = layout::check(&mut owner, &settings.broker.topology()).await? {
                    bail!(mismatch);
                }
                let mut on_step = |step: &str| steps.report(step);
                match to {
                    To::Continuous => {
                        Engine::chosen(EngineChoice::Continuous, &license, Engine::Continuous)?;
                        let every = settings.maintenance.refresh_every();
                        switch::to_continuous(&mut owner, &rules, every, &service_role, &mut on_step).await?;
                    }
                    To::Live => switch::to_live(&mut owner, &mut on_step).await?,
                }
                report(&mut owner, &settings).await
            })
            .await
        }
    }
}

async fn report(conn: &mut PgConnection, settings: &Settings) -> anyhow::Result<Report> {
    let license = schema::probe(conn).await?.license;
    let state = engine::state(conn).await?;
    let switching = switch::is_unfinished(conn, &license).await?;
    let configured = Engine::chosen(settings.rollups.engine, &license, state.engine).context("rollups.engine")?;
    Ok(Report { engine: state.engine, configured, license, switching })
}
