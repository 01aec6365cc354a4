//! What can be asked of the rollups, and what comes back.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{freshness::Freshness, money::Cents};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    Hour,
    #[default]
    Day,
}

impl Granularity {
    pub fn length(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::hours(1),
            Self::Day => TimeDelta::days(1),
        }
    }

    /// Longest range that may be asked for at once.
    pub fn max_range(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::days(90),
            Self::Day => TimeDelta::days(400),
        }
    }
}

/// Half-open, on bucket boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

impl Range {
    /// Floors `start` and ceils `end` to the bucket. `None` where the calendar ends.
    pub fn covering(start: DateTime<Utc>, end: DateTime<Utc>, granularity: Granularity) -> Option<Self> {
        let bucket = granularity.length();
        let start = start.duration_trunc(bucket).ok()?;
        let floor = end.duration_trunc(bucket).ok()?;
        let end = if floor == end { end } else { floor.checked_add_signed(bucket)? };
        Some(Self { start, end })
    }
}

#[derive(Clone, Debug)]
pub struct UsageQuery {
    pub org_id: Uuid,
    pub range: Range,
    pub granularity: Granularity,
    /// Empty: all.
    pub models: Vec<Uuid>,
    pub by_model: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub invocations: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: Cents,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsagePoint {
    pub bucket_start: DateTime<Utc>,
    /// Only when grouped by model.
    pub model_id: Option<Uuid>,
    pub usage: Usage,
}

/// Everything read in one snapshot. Points are in order of (bucket, model).
#[derive(Clone, Debug)]
pub struct UsageReport {
    pub series: Vec<UsagePoint>,
    pub freshness: Freshness,
    /// The moment up to which the answer is complete; none before the first event of the org's partition.
    pub as_of: Option<DateTime<Utc>>,
}

impl UsageReport {
    /// The sum of the series, always.
    pub fn totals(&self) -> Usage {
        self.series.iter().fold(Usage::default(), |mut sum, point| {
            sum.invocations += point.usage.invocations;
            sum.input_tokens += point.usage.input_tokens;
            sum.output_tokens += point.usage.output_tokens;
            sum.cost += point.usage.cost;
            sum
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelFreshness {
    pub model_id: Uuid,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// Freshness of an org: its own, and that of each of its models in order.
#[derive(Clone, Debug)]
pub struct FreshnessReport {
    pub org: Freshness,
    pub models: Vec<ModelFreshness>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_widened_to_whole_buckets() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let range = Range::covering(at("2026-03-01T10:59:59Z"), at("2026-03-01T12:00:00.000001Z"), Granularity::Hour);
        assert_eq!(range, Some(Range { start: at("2026-03-01T10:00:00Z"), end: at("2026-03-01T13:00:00Z") }));
        let day = Range { start: at("2026-03-01T00:00:00Z"), end: at("2026-03-02T00:00:00Z") };
        assert_eq!(Range::covering(day.start, day.end, Granularity::Day), Some(day));
    }
}
