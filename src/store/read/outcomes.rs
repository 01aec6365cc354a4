//! Outcomes as columns have them.

use super::{StoreError, count};

/// Counts in the order of [`Status::ALL`](crate::domain::event::Status::ALL).
pub(super) fn by_status([successes, errors, timeouts, throttled]: [Option<i64>; 4]) -> Result<[u64; 4], StoreError> {
    Ok([
        count("successes", successes)?,
        count("errors", errors)?,
        count("timeouts", timeouts)?,
        count("throttled", throttled)?,
    ])
}

pub(super) fn latency_bucket(bucket: i32) -> Result<usize, StoreError> {
    usize::try_from(bucket).map_err(|_| StoreError::impossible("latency_bucket is negative"))
}
