//! What `status` reads from the database, as the service's role.

use std::time::Duration;

use chrono::TimeDelta;

use crate::{
    config::Settings,
    domain::{
        partition::Topology,
        status::installation::{Exports, Installation, Job, Rollups, Versions},
    },
    store::{
        PgConnection, Session, StoreError,
        ingest::layout,
        lifecycle::backlog,
        read::status,
        rollups::{
            background_jobs::{self, BackgroundJob},
            engine::{self, RefreshRules},
            switch,
        },
        schema,
    },
};

/// Longest that all of it may take: somebody waits at a terminal.
const DEADLINE: Duration = Duration::from_secs(10);

pub async fn read(settings: &Settings, session: &mut Session) -> Result<Installation, StoreError> {
    let topology = settings.broker.topology();
    session.run_within(DEADLINE, async |conn| installation(conn, settings, &topology).await).await
}

async fn installation(
    conn: &mut PgConnection,
    settings: &Settings,
    topology: &Topology,
) -> Result<Installation, StoreError> {
    let server = schema::probe(conn).await?;
    // By the streams of another layout everything would be missing.
    if let Some(mismatch) = layout::check(conn, topology).await? {
        return Err(StoreError::Permanent(mismatch.to_string()));
    }
    let processes = status::processes(conn, topology).await?;
    let partitions = status::partitions(conn, topology, &settings.freshness.thresholds()).await?;
    let backlog = backlog::read(conn).await?;
    let counts = status::counts(conn, topology).await?;
    let maintenance = status::maintenance(conn).await?;
    let rollups = rollups(conn, settings, &server.license).await?;
    let edition = if server.is_community() { "community" } else { "apache" };
    Ok(Installation {
        looked_at: counts.looked_at,
        installed_at: counts.installed_at,
        stream: topology.base.clone(),
        processes,
        partitions,
        pending: backlog.rollup,
        attribution: backlog.attribution,
        corrections: backlog.corrections,
        dead_letters: counts.dead_letters,
        exports: Exports {
            waiting: backlog.exports,
            running: counts.exports_running,
            failed_last_hour: counts.exports_failed_hour,
            failed_last_day: counts.exports_failed_day,
        },
        replays: counts.replays,
        verify: backlog.verify,
        maintenance,
        rollups,
        versions: Versions {
            command: env!("CARGO_PKG_VERSION").to_owned(),
            schema: server.schema,
            postgresql: server.postgres,
            timescaledb: server.timescaledb,
            edition,
        },
    })
}

async fn rollups(conn: &mut PgConnection, settings: &Settings, license: &str) -> Result<Rollups, StoreError> {
    let state = engine::state(conn).await?;
    let jobs = background_jobs::read(conn, &RefreshRules::of(settings)).await?;
    let job = |job: BackgroundJob| Job {
        job: job.job,
        scheduled: job.scheduled,
        every_seconds: job.every_seconds,
        succeeded_at: job.succeeded_at,
        waits_seconds: job.waits_seconds,
    };
    Ok(Rollups {
        engine: state.engine.as_str().to_owned(),
        cut: state.hourly_to,
        switching: switch::is_unfinished(conn, license).await?,
        materialisation_lag: jobs.materialisation_lag_seconds.and_then(|lag| TimeDelta::try_seconds(whole(lag))),
        jobs: jobs.jobs.into_iter().map(job).collect(),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "from the database, and saturating")]
fn whole(seconds: f64) -> i64 {
    seconds as i64
}
