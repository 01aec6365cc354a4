//! What waits in the database: for metrics.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::store::StoreError;

/// How much waits, and since when the first of it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Backlog {
    /// Committed batches that are not merged.
    pub rollup: i64,
    pub rollup_since: Option<DateTime<Utc>>,
    /// Corrections that are stored and not published.
    pub corrections: i64,
    pub corrections_since: Option<DateTime<Utc>>,
    /// Exports that are to be generated.
    pub exports: i64,
    pub exports_since: Option<DateTime<Utc>>,
    /// When `verify` ended last; none: never.
    pub verified_at: Option<DateTime<Utc>>,
    /// What it found.
    pub differences: Option<i64>,
}

pub async fn read(conn: &mut PgConnection) -> Result<Backlog, StoreError> {
    Ok(sqlx::query_as(include_str!("sql/backlog.sql")).fetch_one(conn).await?)
}
