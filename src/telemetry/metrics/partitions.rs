//! What is shown of the partitions whose lease this process has. It ends when a partition leaves: another process shows it then.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use chrono::{DateTime, Utc};
use prometheus_client::metrics::gauge::Gauge;

use super::{Metrics, Owned, Partition, Scope, of, unix};

/// The partitions whose lease this process has.
#[derive(Clone, Default)]
pub struct Ownership(Arc<RwLock<BTreeSet<u16>>>);

impl Ownership {
    // Every change leaves it whole.
    fn read(&self) -> RwLockReadGuard<'_, BTreeSet<u16>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets gauges of a partition, unless it has left this process: its actors may still be ending.
macro_rules! show {
    ($metrics:ident of $partition:ident: $($name:ident = $value:expr),+) => {
        let owned = $metrics.ownership.read();
        if owned.contains(&$partition) {
            $($metrics.series.$name.get_or_create(&of::$name { partition: Owned($partition) }).set($value);)+
        }
    };
}

/// What the filter of a partition's dedupe window holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterState {
    pub keys: usize,
    pub capacity: usize,
    /// How much of the window it covers.
    pub covered: Duration,
}

impl Metrics {
    /// The partitions that are configured: any of them may come to this process.
    pub fn expect_partitions(&self, partitions: u16) {
        self.series.partitions.set(partitions.into());
        for partition in 0..partitions {
            self.series.begin(&Scope::Partition(partition));
            self.owned(partition, false);
        }
    }

    fn owned(&self, partition: u16, owned: bool) {
        let labels = of::partition_owned { partition: Partition(partition) };
        self.series.partition_owned.get_or_create(&labels).set(owned.into());
    }

    /// The partitions whose lease this process has now.
    pub fn partitions_owned(&self, now: &BTreeSet<u16>) {
        let mut owned = self.ownership.0.write().unwrap_or_else(PoisonError::into_inner);
        for left in owned.difference(now) {
            self.series.end(*left);
            self.owned(*left, false);
        }
        for partition in now {
            self.owned(*partition, true);
        }
        owned.clone_from(now);
    }

    pub fn partition_lag(&self, partition: u16, lag: Duration) {
        show!(self of partition: partition_lag_seconds = lag.as_secs_f64());
    }

    pub fn watermark_ahead(&self, partition: u16, ahead: Duration) {
        show!(self of partition: partition_watermark_ahead_seconds = ahead.as_secs_f64());
    }

    pub fn watermark(&self, partition: u16, at: DateTime<Utc>) {
        show!(self of partition: partition_watermark_timestamp_seconds = unix(at));
    }

    pub fn partition_next_offset(&self, partition: u16, offset: i64) {
        show!(self of partition: partition_next_offset = offset);
    }

    pub fn foreign_writes(&self, partition: u16, writes: i64) {
        show!(self of partition: partition_foreign_writes = writes);
    }

    pub fn dedupe_filter(&self, partition: u16, FilterState { keys, capacity, covered }: FilterState) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        show!(self of partition:
            dedupe_filter_keys = count(keys),
            dedupe_filter_capacity = count(capacity),
            dedupe_covered_seconds = covered.as_secs_f64());
    }

    pub fn stream_first_offset(&self, partition: u16, offset: i64) {
        show!(self of partition: stream_first_offset = offset);
    }

    /// Negative where what is not committed is about to be dropped, or was; none where it is unknown.
    pub fn retention_headroom(&self, partition: u16, seconds: Option<f64>) {
        match seconds {
            Some(seconds) => {
                show!(self of partition: stream_retention_headroom_seconds = seconds);
            }
            None => {
                let labels = of::stream_retention_headroom_seconds { partition: Owned(partition) };
                self.series.stream_retention_headroom_seconds.remove(&labels);
            }
        }
    }

    /// Counts a batch as in flight until the guard is dropped.
    pub fn credit(&self, partition: u16) -> CreditTaken {
        let taken = CreditTaken(self.credits(partition));
        taken.0.inc();
        taken
    }

    /// The gauge of a partition's batches in flight, which begins with 0.
    pub fn credits(&self, partition: u16) -> Gauge {
        let owned = self.ownership.read();
        match owned.contains(&partition) {
            true => self
                .series
                .credits_in_flight
                .get_or_create_owned(&of::credits_in_flight { partition: Owned(partition) }),
            false => Gauge::default(),
        }
    }
}

/// A batch in flight. It counts in the series that there was when it began, which may have ended since.
#[derive(Debug)]
pub struct CreditTaken(Gauge);

impl Drop for CreditTaken {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Format, *};

    fn text(metrics: &Metrics) -> String {
        metrics.encode(Format::Prometheus).unwrap()
    }

    #[test]
    fn series_end_when_a_partition_leaves() {
        let metrics = Metrics::default();
        metrics.expect_partitions(2);
        metrics.partition_lag(0, Duration::from_secs(1));
        assert!(!text(&metrics).contains("analytics_partition_lag_seconds{"), "it has no lease");
        metrics.partitions_owned(&[0, 1].into());
        metrics.partition_lag(0, Duration::from_secs(1));
        metrics.partition_lag(1, Duration::from_secs(1));
        let credit = metrics.credit(0);
        let shown = text(&metrics);
        assert!(shown.contains(r#"analytics_partition_owned{partition="0"} 1"#), "{shown}");
        assert!(shown.contains(r#"analytics_credits_in_flight{partition="0"} 1"#), "{shown}");
        metrics.partitions_owned(&[1].into());
        // What its actors still say while they end is of no process.
        metrics.partition_lag(0, Duration::from_secs(2));
        drop(credit);
        let shown = text(&metrics);
        let left: Vec<_> =
            shown.lines().filter(|line| line.contains(r#"partition="0""#) && !line.ends_with(" 0")).collect();
        assert_eq!(left, Vec::<&str>::new());
        assert!(shown.contains(r#"analytics_partition_owned{partition="0"} 0"#), "{shown}");
        assert!(shown.contains(r#"analytics_partition_lag_seconds{partition="1"} 1"#), "{shown}");
        assert!(!shown.contains("analytics_credits_in_flight{"), "{shown}");
    }
}
