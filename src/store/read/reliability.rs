//! Reading outcomes and latencies.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    HEAD_COLUMNS, ReadError, Reader, ReportHead, StoreError, count, first,
    source::{Source, Wanted, latency_bounds, with_head},
};
use crate::domain::{
    histogram::Sum,
    reliability::{Dimension, Key, Outcomes, ReliabilityPoint, ReliabilityQuery, ReliabilityReport},
};

const OF_ROLLUPS: &str = include_str!("sql/reliability.sql");
const OF_EVENTS: &str = include_str!("sql/reliability_raw.sql");

impl Reader {
    pub async fn reliability(&self, query: &ReliabilityQuery) -> Result<ReliabilityReport, ReadError> {
        let ReliabilityQuery { org_id, buckets, models, by, fill: _ } = query;
        let wanted = Wanted { org_id: *org_id, buckets, models, by_model: *by == Dimension::Model };
        let (rows, head) = match by {
            Dimension::None | Dimension::Model => self.of_rollups(OF_ROLLUPS, &wanted).await?,
            Dimension::Client => self.of_events("client_id", &wanted).await?,
            Dimension::ErrorCode => self.of_events("error_code", &wanted).await?,
        };
        let (freshness, as_of) = self.completeness(&head.org);
        let point = |row: &PgRow| Row::read(row).map_err(StoreError::from).map(|row| row.point(*by)).transpose();
        let series = rows.iter().filter_map(|row| point(row).map(Result::flatten)).collect::<Result<Vec<_>, _>>()?;
        Ok(ReliabilityReport { series, freshness, as_of })
    }

    /// The rows of a report from raw events by a column that only they have, and what the first of them says about all.
    async fn of_events(&self, label: &str, wanted: &Wanted<'_>) -> Result<(Vec<PgRow>, ReportHead), ReadError> {
        let text = with_head(OF_EVENTS, Source::of(wanted.buckets).kind()).replace("{label}", label);
        let rows = self.report(text, wanted)?.bind(wanted.buckets.starts().to_vec()).bind(latency_bounds());
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let head = ReportHead::from_row(first(&rows)?)?;
        head.check_raw(wanted.buckets)?;
        Ok((rows, head))
    }
}

struct Row {
    /// None, as everything below it, where the series is empty.
    bucket_start: Option<DateTime<Utc>>,
    model_id: Option<Uuid>,
    label: Option<String>,
    successes: Option<i64>,
    errors: Option<i64>,
    timeouts: Option<i64>,
    throttled: Option<i64>,
    /// Histograms one behind the other: packed ones, and those of continuous aggregates.
    packed: Option<Vec<u8>>,
    entries: Option<Vec<u8>>,
    /// Buckets of the histogram, and how many latencies each has: one where there are no counts.
    latency_buckets: Option<Vec<i32>>,
    latency_counts: Option<Vec<i64>>,
}

impl Row {
    /// By the place of its columns: finding them by name costs more than reading them.
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            bucket_start: row.try_get(HEAD_COLUMNS)?,
            model_id: row.try_get(HEAD_COLUMNS + 1)?,
            label: row.try_get(HEAD_COLUMNS + 2)?,
            successes: row.try_get(HEAD_COLUMNS + 3)?,
            errors: row.try_get(HEAD_COLUMNS + 4)?,
            timeouts: row.try_get(HEAD_COLUMNS + 5)?,
            throttled: row.try_get(HEAD_COLUMNS + 6)?,
            packed: row.try_get(HEAD_COLUMNS + 7)?,
            entries: row.try_get(HEAD_COLUMNS + 8)?,
            latency_buckets: row.try_get(HEAD_COLUMNS + 9)?,
            latency_counts: row.try_get(HEAD_COLUMNS + 10)?,
        })
    }

    fn point(self, by: Dimension) -> Option<Result<ReliabilityPoint, StoreError>> {
        let bucket_start = self.bucket_start?;
        Some(self.outcomes().map(|outcomes| {
            let key = match by {
                Dimension::None => Key::None,
                Dimension::Model => self.model_id.map_or(Key::None, Key::Model),
                Dimension::Client => Key::Client(self.label),
                Dimension::ErrorCode => Key::ErrorCode(self.label),
            };
            ReliabilityPoint { bucket_start, key, outcomes }
        }))
    }

    fn outcomes(&self) -> Result<Outcomes, StoreError> {
        let by_status = [
            count("successes", self.successes)?,
            count("errors", self.errors)?,
            count("timeouts", self.timeouts)?,
            count("throttled", self.throttled)?,
        ];
        let mut latency = Sum::default();
        let read = latency.add_concatenated(self.packed.as_deref(), self.entries.as_deref());
        read.map_err(|error| StoreError::impossible(&error.to_string()))?;
        let counts = self.latency_counts.iter().flatten().copied().map(Some).chain(std::iter::repeat(None));
        for (bucket, counted) in self.latency_buckets.iter().flatten().zip(counts) {
            let bucket = usize::try_from(*bucket).map_err(|_| StoreError::impossible("latency_bucket is negative"))?;
            latency.add(bucket, counted.map_or(Ok(1), |counted| count("latency_counts", Some(counted)))?);
        }
        Ok(Outcomes { by_status, latency: latency.histogram() })
    }
}
