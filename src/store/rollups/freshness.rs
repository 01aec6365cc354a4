//! Freshness markers: the record of what was merged when, by org and model.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{freshness::FreshnessStatus, partition::Topology},
    store::{StoreError, clock},
};

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
    /// Orgs whose events came lately by other partitions than their own, and by which.
    pub misrouted: BTreeMap<Uuid, BTreeSet<u16>>,
}

impl Watermarks {
    /// How far each partition's watermark is from the database's clock: behind it, or ahead, which is as wrong.
    pub fn distances(&self) -> impl Iterator<Item = (u16, Duration)> {
        self.by_partition
            .iter()
            .map(|(partition, at)| (*partition, (self.now - *at).abs().to_std().unwrap_or_default()))
    }

    /// How far it is ahead; nothing where it is not.
    pub fn ahead(&self) -> impl Iterator<Item = (u16, Duration)> {
        self.by_partition.iter().map(|(partition, at)| (*partition, (*at - self.now).to_std().unwrap_or_default()))
    }

    /// How far it is behind. Not of one that is ahead: that says nothing.
    pub fn lags(&self) -> impl Iterator<Item = (u16, Duration)> {
        self.by_partition.iter().filter_map(|(partition, at)| Some((*partition, (self.now - *at).to_std().ok()?)))
    }
}

pub async fn watermarks(conn: &mut PgConnection, topology: &Topology) -> Result<Watermarks, StoreError> {
    let rows: Vec<(i32, DateTime<Utc>)> =
        sqlx::query_as("SELECT partition, watermark FROM analytics.partition_completeness WHERE stream = ANY($1)")
            .bind(topology.streams())
            .fetch_all(&mut *conn)
            .await?;
    // After them: what was written up to now is behind it, unless the clock was set back.
    let now = clock::now(&mut *conn).await?;
    let by_partition = rows.into_iter().filter_map(|(n, at)| Some((u16::try_from(n).ok()?, at))).collect();
    let rows: Vec<(Uuid, i32)> = sqlx::query_as(
        "SELECT org_id, partition FROM analytics.misrouted_lately WHERE stream = ANY($1) AND home = ANY($1)",
    )
    .bind(topology.streams())
    .fetch_all(conn)
    .await?;
    let mut misrouted: BTreeMap<Uuid, BTreeSet<u16>> = BTreeMap::new();
    for (org_id, partition) in rows {
        misrouted.entry(org_id).or_default().extend(u16::try_from(partition));
    }
    Ok(Watermarks { now, by_partition, misrouted })
}

/// What a merge has heard of orgs and models: the newest event of each, merged at a moment, in a partition that lags so much.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    pub events: &'a BTreeMap<MarkerKey, DateTime<Utc>>,
    pub at: DateTime<Utc>,
    pub lag_ms: Option<i64>,
    pub status: FreshnessStatus,
}

/// Records markers in the transaction of their merge: what is in the rollups has its marker, whatever becomes of the response.
pub async fn record(conn: &mut PgConnection, heard: &Heard<'_>) -> Result<(), StoreError> {
    if heard.events.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("sql/freshness_record.sql"))
        .bind(heard.events.keys().map(|key| key.0).collect::<Vec<_>>())
        .bind(heard.events.keys().map(|key| key.1).collect::<Vec<_>>())
        .bind(heard.events.values().copied().collect::<Vec<_>>())
        .bind(heard.at)
        .bind(heard.lag_ms.map_or(f64::INFINITY, |ms| ms as f64 / 1000.0))
        .bind(heard.status.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Those of these markers that are on record: not those of an org that was erased since.
pub async fn recorded(
    conn: &mut PgConnection,
    keys: impl Iterator<Item = &MarkerKey>,
) -> Result<BTreeMap<MarkerKey, Marker>, StoreError> {
    let (orgs, models): (Vec<Uuid>, Vec<Uuid>) = keys.copied().unzip();
    let rows: Vec<MarkerRow> = sqlx::query_as(
        "SELECT org_id, model_id, last_event_at, last_rollup_at
         FROM unnest($1::uuid[], $2::uuid[]) AS m (org_id, model_id) JOIN analytics.freshness_status USING (org_id, model_id)",
    )
    .bind(orgs)
    .bind(models)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(marker).collect())
}

/// Orgs that were erased, and when: since that moment, or ever.
pub async fn erased(
    conn: &mut PgConnection,
    since: Option<DateTime<Utc>>,
) -> Result<Vec<(Uuid, DateTime<Utc>)>, StoreError> {
    let statement = "SELECT org_id, erased_at FROM analytics.erasures WHERE erased_at > coalesce($1, '-infinity')";
    Ok(sqlx::query_as(statement).bind(since).fetch_all(conn).await?)
}

/// Records what a process of an earlier version had merged but not recorded: that did so after the merge.
pub async fn recover(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query(include_str!("sql/freshness_recover.sql")).execute(conn).await?;
    Ok(())
}

/// Most markers of a page.
pub const PAGE: usize = 10_000;

/// Which markers are requested.
#[derive(Clone, Copy, Debug, Default)]
pub struct MarkerFilter {
    /// Only those of this org.
    pub org_id: Option<Uuid>,
    /// Only those that were merged then or later.
    pub merged_since: Option<DateTime<Utc>>,
}

/// The next markers on record behind one, in the order of their keys.
pub async fn page(
    conn: &mut PgConnection,
    after: Option<MarkerKey>,
    filter: MarkerFilter,
) -> Result<BTreeMap<MarkerKey, Marker>, StoreError> {
    let rows: Vec<MarkerRow> = sqlx::query_as(include_str!("sql/freshness_page.sql"))
        .bind(after.map(|key| key.0).or(filter.org_id).unwrap_or_default())
        .bind(after.map(|key| key.1).unwrap_or_default())
        .bind(after.is_none())
        .bind(filter.org_id.unwrap_or(Uuid::max()))
        .bind(filter.merged_since)
        .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(marker).collect())
}

type MarkerRow = (Uuid, Uuid, DateTime<Utc>, DateTime<Utc>);

fn marker((org_id, model_id, last_event_at, last_rollup_at): MarkerRow) -> (MarkerKey, Marker) {
    ((org_id, model_id), Marker { last_event_at, last_rollup_at })
}
