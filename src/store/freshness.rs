//! Freshness markers: the record of what was merged when, by org and model.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{StoreError, clock};
use crate::domain::{freshness::Freshness, partition::Topology};

/// An org and one of its models.
pub type MarkerKey = (Uuid, Uuid);

/// When a marker's model was last heard of, and last merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    pub last_event_at: DateTime<Utc>,
    pub last_rollup_at: DateTime<Utc>,
}

/// The watermarks of a stream's partitions, and the database's clock to measure them by.
#[derive(Debug)]
pub struct Watermarks {
    pub now: DateTime<Utc>,
    pub by_partition: BTreeMap<u16, DateTime<Utc>>,
}

impl Watermarks {
    /// How far each partition's watermark is behind the database's clock.
    pub fn lags(&self) -> impl Iterator<Item = (u16, Duration)> {
        self.by_partition.iter().map(|(partition, at)| (*partition, (self.now - *at).to_std().unwrap_or_default()))
    }
}

pub async fn watermarks(conn: &mut PgConnection, topology: &Topology) -> Result<Watermarks, StoreError> {
    let now = clock::now(conn).await?;
    let rows: Vec<(i32, DateTime<Utc>)> =
        sqlx::query_as("SELECT partition, watermark FROM analytics.partition_watermarks WHERE stream = ANY($1)")
            .bind(topology.streams())
            .fetch_all(conn)
            .await?;
    let by_partition = rows.into_iter().filter_map(|(n, at)| Some((u16::try_from(n).ok()?, at))).collect();
    Ok(Watermarks { now, by_partition })
}

/// Records markers, in the order of their keys, and gives the keys of those that it did: not what was merged before an
/// erasure of its org.
pub async fn record(
    conn: &mut PgConnection,
    markers: &BTreeMap<MarkerKey, (Marker, Freshness)>,
) -> Result<BTreeSet<MarkerKey>, StoreError> {
    let seconds = |freshness: &Freshness| freshness.lag_ms.map_or(f64::INFINITY, |ms| ms as f64 / 1000.0);
    let recorded: Vec<MarkerKey> = sqlx::query_as(include_str!("sql/freshness_record.sql"))
        .bind(markers.keys().map(|key| key.0).collect::<Vec<_>>())
        .bind(markers.keys().map(|key| key.1).collect::<Vec<_>>())
        .bind(markers.values().map(|(marker, _)| marker.last_event_at).collect::<Vec<_>>())
        .bind(markers.values().map(|(marker, _)| marker.last_rollup_at).collect::<Vec<_>>())
        .bind(markers.values().map(|(_, freshness)| seconds(freshness)).collect::<Vec<_>>())
        .bind(markers.values().map(|(_, freshness)| freshness.status.as_str()).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    Ok(recorded.into_iter().collect())
}

/// Orgs that were erased, and when: since that moment, or ever.
pub async fn erased(
    conn: &mut PgConnection,
    since: Option<DateTime<Utc>>,
) -> Result<Vec<(Uuid, DateTime<Utc>)>, StoreError> {
    let statement = "SELECT org_id, erased_at FROM analytics.erasures WHERE erased_at > coalesce($1, '-infinity')";
    Ok(sqlx::query_as(statement).bind(since).fetch_all(conn).await?)
}

/// Records what a process that ended without warning had merged but not recorded.
pub async fn recover(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query(include_str!("sql/freshness_recover.sql")).execute(conn).await?;
    Ok(())
}

/// All markers on record.
pub async fn all(conn: &mut PgConnection) -> Result<BTreeMap<MarkerKey, Marker>, StoreError> {
    let rows: Vec<(Uuid, Uuid, DateTime<Utc>, DateTime<Utc>)> =
        sqlx::query_as("SELECT org_id, model_id, last_event_at, last_rollup_at FROM analytics.freshness_status")
            .fetch_all(conn)
            .await?;
    let marker = |(org, model, last_event_at, last_rollup_at)| ((org, model), Marker { last_event_at, last_rollup_at });
    Ok(rows.into_iter().map(marker).collect())
}
