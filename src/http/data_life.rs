//! `GET /ops/data-life`: how long data is kept, how large it is, and what was done to it last. Nothing of any org.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Ops, error::Problem, json};
use crate::{
    actors::serving::query::GetDataLife,
    config::Settings,
    domain::{
        data_life::{SetLife, TableSize},
        status::installation::MaintenanceRun,
    },
};

/// How long the rows of a table are kept, by the settings of this process.
#[derive(Clone, Copy, Serialize)]
pub struct Kept {
    table: &'static str,
    days: i64,
}

impl Kept {
    pub fn of(settings: &Settings) -> Vec<Self> {
        let kept = settings.retention();
        let rows = [
            ("usage_events", kept.raw),
            ("hourly_rollups", kept.rollups),
            ("daily_rollups", kept.rollups),
            ("attribution_parts", TimeDelta::days(settings.attribution.retention_days)),
            ("ingestion_batches", kept.batches),
            ("ledger_hourly", kept.ledger_hours),
            ("dead_letters", kept.dead_letters),
            ("audit_events", kept.audit),
            ("supervision_events", kept.supervision),
        ];
        rows.into_iter().map(|(table, time)| Self { table, days: time.num_days() }).collect()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    /// Of this build.
    version: &'static str,
    schema_version: i64,
    postgresql: String,
    timescaledb: String,
    edition: &'static str,
    engine: String,
    retention: Vec<Kept>,
    runs: Vec<Run>,
    tables: Vec<TableSize>,
    attribution: Vec<SetLife>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    kind: String,
    process: String,
    started_at: DateTime<Utc>,
    /// None: it is at work, or was killed.
    finished_at: Option<DateTime<Utc>>,
    outcome: Option<String>,
    /// Why it failed.
    detail: Option<String>,
    /// When the last one began that was done.
    last_done_at: Option<DateTime<Utc>>,
}

impl From<MaintenanceRun> for Run {
    fn from(run: MaintenanceRun) -> Self {
        let MaintenanceRun { task, process, started_at, finished_at, outcome, error, last_done_at } = run;
        Self { kind: task, process, started_at, finished_at, outcome, detail: error, last_done_at }
    }
}

/// How the data lives.
pub async fn get(ops: web::Data<Ops>) -> Result<HttpResponse, Problem> {
    let found = ops.queries.send(GetDataLife, ops.response_timeout).await?;
    Ok(json(&Shown {
        version: env!("CARGO_PKG_VERSION"),
        schema_version: found.schema_version,
        postgresql: found.postgresql,
        timescaledb: found.timescaledb,
        edition: found.edition,
        engine: found.engine,
        retention: ops.retention.clone(),
        runs: found.runs.into_iter().map(Run::from).collect(),
        tables: found.tables,
        attribution: found.attribution,
    }))
}
