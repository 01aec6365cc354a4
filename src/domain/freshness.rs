//! How fresh an org's numbers are, judged from its partition's watermark.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::named::named;

named! {
    #[derive(Deserialize, ToSchema)]
    pub enum FreshnessStatus {
        Fresh = "fresh",
        Stale = "stale",
        Delayed = "delayed",
    }
}

/// Up to which lag numbers count as fresh, and as stale. Milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    pub fresh_ms: i64,
    pub stale_ms: i64,
}

/// Its JSON form is that of the contract, in responses and in Redis alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Freshness {
    /// None before the first event.
    pub last_event_at: Option<DateTime<Utc>>,
    /// When an event was last merged into the rollups.
    pub last_rollup_at: Option<DateTime<Utc>>,
    /// How far the partition's watermark is behind the database's clock, milliseconds. Grows when the pipeline
    /// stands still, not when an org is quiet. None before the partition was first read.
    #[serde(rename = "lagSeconds", serialize_with = "as_seconds")]
    #[schema(value_type = Option<f64>)]
    pub lag_ms: Option<i64>,
    pub status: FreshnessStatus,
}

fn as_seconds<S: Serializer>(milliseconds: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    milliseconds.map(|ms| ms as f64 / 1000.0).serialize(serializer)
}

impl Thresholds {
    /// A partition that was never read is as delayed as can be.
    pub fn judge(&self, lag_ms: Option<i64>) -> FreshnessStatus {
        match lag_ms {
            Some(lag) if lag <= self.fresh_ms => FreshnessStatus::Fresh,
            Some(lag) if lag <= self.stale_ms => FreshnessStatus::Stale,
            _ => FreshnessStatus::Delayed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_changes_just_past_each_threshold() {
        let thresholds = Thresholds { fresh_ms: 300_000, stale_ms: 600_000 };
        for (lag, status) in [
            (Some(0), FreshnessStatus::Fresh),
            (Some(300_000), FreshnessStatus::Fresh),
            (Some(300_001), FreshnessStatus::Stale),
            (Some(600_000), FreshnessStatus::Stale),
            (Some(600_001), FreshnessStatus::Delayed),
            (None, FreshnessStatus::Delayed),
        ] {
            assert_eq!(thresholds.judge(lag), status, "{lag:?}");
        }
    }
}
