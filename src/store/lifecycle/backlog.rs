//! What waits in the database: for metrics, and for `status`.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{
    domain::status::installation::{Attribution, Backlog, Verify, Waiting},
    store::StoreError,
};

#[derive(FromRow)]
struct Row {
    rollup: i64,
    rollup_since: Option<DateTime<Utc>>,
    attribution: i64,
    attribution_since: Option<DateTime<Utc>>,
    attribution_lag: f64,
    recounts: i64,
    recounts_since: Option<DateTime<Utc>>,
    corrections: i64,
    corrections_since: Option<DateTime<Utc>>,
    exports: i64,
    exports_since: Option<DateTime<Utc>>,
    verified_at: Option<DateTime<Utc>>,
    differences: Option<i64>,
}

pub async fn read(conn: &mut PgConnection) -> Result<Backlog, StoreError> {
    let row: Row = sqlx::query_as(include_str!("sql/backlog.sql")).fetch_one(conn).await?;
    Ok(Backlog {
        rollup: Waiting { count: row.rollup, since: row.rollup_since },
        attribution: Attribution {
            batches: Waiting { count: row.attribution, since: row.attribution_since },
            days: Waiting { count: row.recounts, since: row.recounts_since },
            lag: milliseconds(row.attribution_lag),
        },
        corrections: Waiting { count: row.corrections, since: row.corrections_since },
        exports: Waiting { count: row.exports, since: row.exports_since },
        verify: Verify { at: row.verified_at, differences: row.differences },
    })
}

#[expect(clippy::cast_possible_truncation, reason = "from the database, and saturating")]
fn milliseconds(seconds: f64) -> TimeDelta {
    TimeDelta::milliseconds((seconds * 1e3) as i64)
}
