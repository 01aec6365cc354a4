//! Waits for the database, and says what it is.

use anyhow::bail;
use tokio::time::sleep;

use super::process_name;
use crate::{
    actors::supervision::backoff::Backoff,
    config::Settings,
    store::{
        self, StoreError,
        ingest::layout,
        probe,
        rollups::engine::Engine,
        schema::{self, Server},
    },
    telemetry::readiness::{DATABASE, Readiness},
};

/// Says what the database is, and what it cannot do.
pub fn introduce(server: &Server, settings: &Settings, readiness: &Readiness) {
    let Server { postgres, timescaledb, license, schema, engine: kept_by } = server;
    let engine = kept_by.as_str();
    tracing::info!(postgres, timescaledb, license, schema, newest_migration = schema::newest(), engine, "database");
    readiness.detail(DATABASE, server.to_string());
    match Engine::chosen(settings.rollups.engine, license, *kept_by) {
        Ok(chosen) if chosen == *kept_by => {}
        Ok(chosen) => {
            let configured = chosen.as_str();
            tracing::warn!(
                engine,
                configured,
                "rollups are kept by another engine than rollups.engine names: see `rollups switch`"
            );
        }
        Err(error) => tracing::warn!(engine, %error, "rollups.engine"),
    }
}

/// Waits until the database answers: then it has the schema that this build works on.
///
/// # Errors
/// It answers, and this build cannot work on what it has.
pub async fn wait(settings: &Settings, readiness: &Readiness) -> anyhow::Result<Server> {
    let mut attempt = 0;
    loop {
        let probed = async {
            let mut conn = store::connect_writer(&settings.database).await?;
            let server = schema::probe(&mut conn).await?;
            probe::check(&mut conn, &settings.database, &server).await?;
            let mismatch = layout::agree(&mut conn, &settings.broker.topology(), &process_name()).await?;
            Ok::<_, StoreError>((server, mismatch))
        };
        match probed.await {
            Ok((_, Some(mismatch))) => bail!(mismatch),
            Ok((server, None)) => {
                readiness.up(DATABASE);
                return Ok(server);
            }
            Err(error) if !error.ends_start() => {
                readiness.down(DATABASE, error.to_string());
                let delay = Backoff::DEPENDENCY.delay(attempt);
                tracing::warn!(%error, ?delay, "starting waits for the database");
                sleep(delay).await;
                attempt += 1;
            }
            Err(error) => bail!(error),
        }
    }
}
