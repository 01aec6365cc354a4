//! Rollup rows as the columns of a statement's arrays.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{StoreError, amount::Amount, bound::bound};
use crate::domain::{
    event::Status,
    rollup::{Key, Measures},
};

bound! {
    /// Rows in the order in which they were given.
    #[derive(Debug, Default)]
    pub struct Columns {
        orgs: Vec<Uuid>, starts: Vec<DateTime<Utc>>, models: Vec<Uuid>, successes: Vec<i64>, errors: Vec<i64>,
        timeouts: Vec<i64>, throttled: Vec<i64>, input_tokens: Vec<i64>, output_tokens: Vec<i64>,
        costs: Vec<Amount>, latency_sums: Vec<i64>, latency_mins: Vec<i32>, latency_maxs: Vec<i32>,
        histograms: Vec<Vec<u8>>, last_events: Vec<Option<DateTime<Utc>>>,
    }
}

impl Columns {
    /// Adds a row, with the histogram that it shall have.
    ///
    /// # Errors
    /// A sum is larger than its column holds.
    pub fn push(
        &mut self,
        key: &Key,
        start: DateTime<Utc>,
        measures: &Measures,
        histogram: Vec<u8>,
    ) -> Result<(), StoreError> {
        let long = |sum: u64| i64::try_from(sum).map_err(overflow);
        let short = |latency: u32| i32::try_from(latency).map_err(overflow);
        self.orgs.push(key.org_id);
        self.starts.push(start);
        self.models.push(key.model_id);
        self.successes.push(long(measures.of_status(Status::Success))?);
        self.errors.push(long(measures.of_status(Status::Error))?);
        self.timeouts.push(long(measures.of_status(Status::Timeout))?);
        self.throttled.push(long(measures.of_status(Status::Throttled))?);
        self.input_tokens.push(long(measures.input_tokens)?);
        self.output_tokens.push(long(measures.output_tokens)?);
        self.costs.push(Amount(measures.cost));
        self.latency_sums.push(long(measures.latency_sum)?);
        self.latency_mins.push(short(measures.latency_min)?);
        self.latency_maxs.push(short(measures.latency_max)?);
        self.histograms.push(histogram);
        self.last_events.push(DateTime::from_timestamp_micros(measures.last_event_at));
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.orgs.len()
    }
}

pub fn overflow(error: impl std::fmt::Display) -> StoreError {
    StoreError::Permanent(format!("a sum is out of its column's range: {error}"))
}
