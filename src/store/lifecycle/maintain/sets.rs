//! How much attribution has, by set.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use crate::{
    domain::{attribution::KnownKeys, calendar::utc_day},
    store::StoreError,
};

/// Pages of a table that are read at most: of a larger one as many are, here and there.
const MOST_PAGES: f64 = 20_000.0;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributionSizes {
    pub sets: Vec<SetSize>,
    pub values: Vec<DimensionSize>,
    /// Committed batches that are not folded, and the bytes of what they add.
    pub pending_batches: i64,
    pub pending_bytes: i64,
    /// Whether all was counted. Otherwise numbers of parts, values and their bytes are extrapolated.
    pub exact: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetSize {
    pub set: String,
    /// Rows of hours, days and months.
    pub parts: u64,
    /// What is packed in them, as it is stored; the table has beside it what rows and indexes take.
    pub bytes: u64,
    /// Combinations of values with names of the last whole day, of all organisations.
    pub keys: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DimensionSize {
    pub dimension: String,
    /// Names, of all organisations.
    pub values: u64,
}

impl AttributionSizes {
    /// For people.
    pub fn line(&self) -> String {
        let set = |of: &SetSize| {
            format!("{}: {} parts, {} bytes, {} keys in the last whole day", of.set, of.parts, of.bytes, of.keys)
        };
        let values = |of: &DimensionSize| format!("{} of {}", of.values, of.dimension);
        let sets: Vec<String> = self.sets.iter().map(set).collect();
        let values: Vec<String> = self.values.iter().map(values).collect();
        format!(
            "{}; values: {}; {} batches with {} bytes wait{}",
            sets.join("; "),
            values.join(", "),
            self.pending_batches,
            self.pending_bytes,
            if self.exact { "" } else { "; extrapolated from some of the rows" },
        )
    }
}

#[derive(FromRow)]
struct SetRow {
    dimensions: Vec<String>,
    parts: f64,
    bytes: f64,
    set_id: i32,
}

pub(super) async fn read(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<AttributionSizes, StoreError> {
    let (of_parts, of_values) = (share(conn, "attribution_parts").await?, share(conn, "attribution_values").await?);
    let rows: Vec<SetRow> =
        sqlx::query_as(include_str!("../sql/figures_sets.sql")).bind(of_parts * 100.0).fetch_all(&mut *conn).await?;
    let mut sets = Vec::new();
    for row in rows {
        let keys = keys(conn, &row, utc_day(now) - TimeDelta::days(1)).await?;
        let (parts, bytes) = (whole(row.parts / of_parts), whole(row.bytes / of_parts));
        sets.push(SetSize { set: row.dimensions.join(","), parts, bytes, keys });
    }
    let values: Vec<(String, f64)> = sqlx::query_as(
        "SELECT dimension, count(*)::float8 FROM analytics.attribution_values TABLESAMPLE SYSTEM ($1) GROUP BY 1 ORDER BY 1",
    )
    .bind(of_values * 100.0)
    .fetch_all(&mut *conn)
    .await?;
    let size = |(dimension, count): (String, f64)| DimensionSize { dimension, values: whole(count / of_values) };
    let (pending_batches, pending_bytes) = sqlx::query_as(
        "SELECT count(*), coalesce(sum(octet_length(partials)), 0)::bigint FROM analytics.attribution_pending",
    )
    .fetch_one(conn)
    .await?;
    let exact = of_parts >= 1.0 && of_values >= 1.0;
    Ok(AttributionSizes { sets, values: values.into_iter().map(size).collect(), pending_batches, pending_bytes, exact })
}

/// How much of a table is read: 0 to 1, never 0.
async fn share(conn: &mut PgConnection, table: &str) -> Result<f64, StoreError> {
    let pages: f64 = sqlx::query_scalar(
        "SELECT pg_relation_size(('analytics.' || $1)::regclass)::float8 / current_setting('block_size')::float8",
    )
    .bind(table)
    .fetch_one(conn)
    .await?;
    Ok((MOST_PAGES / pages.max(1.0)).min(1.0))
}

/// Those of a day. What cannot be read counts as none: it is replaced when something is folded.
async fn keys(conn: &mut PgConnection, set: &SetRow, day: DateTime<Utc>) -> Result<u64, StoreError> {
    let packed: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT packed FROM analytics.attribution_keys WHERE set_id = $1 AND day = $2")
            .bind(set.set_id)
            .bind(day)
            .fetch_all(conn)
            .await?;
    let count =
        |packed: &Vec<u8>| KnownKeys::unpack(packed, set.dimensions.len()).map_or(0, |keys| keys.count() as u64);
    Ok(packed.iter().map(count).sum())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "never negative, and saturating")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}
