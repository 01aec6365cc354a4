//! Reading outcomes and latencies.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    ReadError, Reader, ReportHead, StoreError, count, first,
    source::{Source, latency_bounds, with_head},
};
use crate::domain::{
    histogram::Sum,
    reliability::{Dimension, Key, Outcomes, ReliabilityPoint, ReliabilityQuery, ReliabilityReport},
};

const OF_ROLLUPS: &str = include_str!("sql/reliability.sql");
const OF_EVENTS: &str = include_str!("sql/reliability_raw.sql");

impl Reader {
    pub async fn reliability(&self, query: &ReliabilityQuery) -> Result<ReliabilityReport, ReadError> {
        let source = Source::of(&query.buckets);
        let of_events = with_head(OF_EVENTS, source.kind());
        let text = match query.by {
            Dimension::None | Dimension::Model => source.put_into(OF_ROLLUPS),
            Dimension::Client => of_events.replace("{label}", "client_id"),
            Dimension::ErrorCode => of_events.replace("{label}", "error_code"),
        };
        let by_model = query.by == Dimension::Model;
        let rows = self.report::<Row>(text, query.org_id, &query.buckets, &query.models, by_model)?;
        let rows = if query.by.is_raw() {
            rows.bind(query.buckets.starts().to_vec()).bind(latency_bounds())
        } else {
            source.bind(rows)
        };
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let first = first(&rows)?;
        if query.by.is_raw() {
            first.head.check_raw(&query.buckets)?;
        } else {
            first.head.check_rollups(&query.buckets)?;
        }
        let (freshness, as_of) = self.completeness(&first.head.org);
        let series = rows.into_iter().filter_map(|row| row.point(query.by)).collect::<Result<Vec<_>, _>>()?;
        Ok(ReliabilityReport { series, freshness, as_of })
    }
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    head: ReportHead,
    /// None, as everything below it, where the series is empty.
    bucket_start: Option<DateTime<Utc>>,
    model_id: Option<Uuid>,
    label: Option<String>,
    successes: Option<i64>,
    errors: Option<i64>,
    timeouts: Option<i64>,
    throttled: Option<i64>,
    histograms: Option<Vec<Vec<u8>>>,
    /// Buckets of the histogram, and how many latencies each has: one where there are no counts.
    latency_buckets: Option<Vec<i32>>,
    latency_counts: Option<Vec<i64>>,
}

impl Row {
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
        for packed in self.histograms.iter().flatten() {
            latency.add_packed(packed).map_err(|error| StoreError::impossible(&error.to_string()))?;
        }
        let counts = self.latency_counts.iter().flatten().copied().map(Some).chain(std::iter::repeat(None));
        for (bucket, counted) in self.latency_buckets.iter().flatten().zip(counts) {
            let bucket = usize::try_from(*bucket).map_err(|_| StoreError::impossible("latency_bucket is negative"))?;
            latency.add(bucket, counted.map_or(Ok(1), |counted| count("latency_counts", Some(counted)))?);
        }
        Ok(Outcomes { by_status, latency: latency.histogram() })
    }
}
