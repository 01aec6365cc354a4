//! The chunks of raw events, a UTC day each.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::store::StoreError;

/// The start of the oldest: no event lies before it. `None`: there are no events.
pub async fn oldest(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    let oldest = sqlx::query_scalar(
        "SELECT min(range_start) FROM timescaledb_information.chunks
         WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events'",
    );
    Ok(oldest.fetch_one(conn).await?)
}

/// Starts and ends, the end exclusive, oldest first; only of those that begin before a moment, where one is given.
pub async fn spans(
    conn: &mut PgConnection,
    before: Option<DateTime<Utc>>,
) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
    let spans = sqlx::query_as(
        "SELECT range_start, range_end FROM timescaledb_information.chunks
         WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events'
           AND ($1::timestamptz IS NULL OR range_start < $1)
         ORDER BY range_start",
    );
    Ok(spans.bind(before).fetch_all(conn).await?)
}
