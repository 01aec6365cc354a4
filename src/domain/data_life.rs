//! What an operator sees of the data's life: what keeps it, how large it is, and what was done to it last.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::status::installation::MaintenanceRun;

/// As the database has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataLife {
    pub schema_version: i64,
    pub postgresql: String,
    pub timescaledb: String,
    /// community or apache.
    pub edition: &'static str,
    /// What keeps the rollups: live or continuous.
    pub engine: String,
    /// The last run of each task.
    pub runs: Vec<MaintenanceRun>,
    /// The largest first.
    pub tables: Vec<TableSize>,
    /// The sets of dimensions that usage is summed by.
    pub attribution: Vec<SetLife>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableSize {
    pub name: String,
    /// With its indexes; of a hypertable with all its chunks.
    pub bytes: i64,
    /// As the statistics have it; none: not counted yet.
    pub rows: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetLife {
    /// Its dimensions.
    pub set: String,
    /// From when on it has all events; 1970: always.
    pub complete_from: DateTime<Utc>,
}
