//! Reading outcomes and latencies.

use chrono::{DateTime, Utc};
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    HEAD_COLUMNS, ReadError, Reader, StoreError,
    outcomes::{by_status, latency_bucket},
    source::Wanted,
};
use crate::domain::{
    histogram::Sum,
    labelled::Labelled,
    reliability::{Dimension, Key, Outcomes, ReliabilityPoint, ReliabilityQuery, ReliabilityReport},
};

const OF_ROLLUPS: &str = include_str!("sql/reliability.sql");

impl Reader {
    pub async fn reliability(&self, query: &ReliabilityQuery) -> Result<ReliabilityReport, ReadError> {
        let ReliabilityQuery { org_id, buckets, models, by, only, fill: _ } = query;
        let wanted = Wanted { org_id: *org_id, buckets, models, by_model: *by == Dimension::Model };
        let (series, head) = match only.as_ref().map(|only| only.label).or(by.label()) {
            None => {
                let (rows, head) = self.of_rollups(OF_ROLLUPS, &wanted).await?;
                let point = |row: &PgRow| Row::read(row).map_err(StoreError::from).map(Row::point).transpose();
                (rows.iter().filter_map(|row| point(row).map(Result::flatten)).collect::<Result<Vec<_>, _>>()?, head)
            }
            Some(label) => {
                let (found, head) = self.labelled(label, only.as_ref(), &wanted).await?;
                (points(found, *by), head)
            }
        };
        let (freshness, as_of) = self.completeness(&head.org);
        Ok(ReliabilityReport { series, freshness, as_of })
    }
}

fn points(found: Labelled, by: Dimension) -> Vec<ReliabilityPoint> {
    let key: fn(Option<String>) -> Key = match by {
        Dimension::Client => Key::Client,
        Dimension::ErrorCode => Key::ErrorCode,
        Dimension::None | Dimension::Model => {
            let point = |(bucket_start, outcomes)| ReliabilityPoint { bucket_start, key: Key::None, outcomes };
            return found.into_sums().map(point).collect();
        }
    };
    let points = found.into_points();
    points.map(|(bucket_start, label, outcomes)| ReliabilityPoint { bucket_start, key: key(label), outcomes }).collect()
}

struct Row {
    /// None, as everything below it, where the series is empty.
    bucket_start: Option<DateTime<Utc>>,
    model_id: Option<Uuid>,
    by_status: [Option<i64>; 4],
    /// Histograms one behind the other: packed ones, and those of continuous aggregates.
    packed: Option<Vec<u8>>,
    entries: Option<Vec<u8>>,
    /// A bucket of the histogram for each raw event of a split hour.
    latency_buckets: Option<Vec<i32>>,
}

impl Row {
    /// By the place of its columns: finding them by name costs more than reading them.
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        let at = |place: usize| HEAD_COLUMNS + place;
        Ok(Self {
            bucket_start: row.try_get(at(0))?,
            model_id: row.try_get(at(1))?,
            by_status: [row.try_get(at(2))?, row.try_get(at(3))?, row.try_get(at(4))?, row.try_get(at(5))?],
            packed: row.try_get(at(6))?,
            entries: row.try_get(at(7))?,
            latency_buckets: row.try_get(at(8))?,
        })
    }

    fn point(self) -> Option<Result<ReliabilityPoint, StoreError>> {
        let bucket_start = self.bucket_start?;
        let key = self.model_id.map_or(Key::None, Key::Model);
        Some(self.outcomes().map(|outcomes| ReliabilityPoint { bucket_start, key, outcomes }))
    }

    fn outcomes(&self) -> Result<Outcomes, StoreError> {
        let mut latency = Sum::default();
        let read = latency.add_concatenated(self.packed.as_deref(), self.entries.as_deref());
        read.map_err(|error| StoreError::impossible(&error.to_string()))?;
        for bucket in self.latency_buckets.iter().flatten() {
            latency.add(latency_bucket(*bucket)?, 1);
        }
        Ok(Outcomes { by_status: by_status(self.by_status)?, latency: latency.histogram() })
    }
}
