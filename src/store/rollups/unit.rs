//! The two sizes of rollups.

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use crate::domain::{
    named::named,
    rollup::{day_start, hour_start},
};

/// Columns of a rollup, beside its key and when it was merged.
const MEASURES: &str = "successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents, latency_sum, \
    latency_min, latency_max, latency_histogram, last_event_at";

named! {
    /// Rollups of hours or of days.
    pub enum Unit {
        Hourly = "hourly",
        Daily = "daily",
    }
}

impl Unit {
    /// Where a bucket of that number starts.
    pub fn start_of(self, bucket: i32) -> DateTime<Utc> {
        match self {
            Self::Hourly => hour_start(bucket),
            Self::Daily => day_start(bucket),
        }
    }

    /// One statement serves hours and days; what is put in are constants.
    pub(super) fn statement(self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(text.replace("{unit}", self.as_str()).replace("{measures}", MEASURES))
    }
}
