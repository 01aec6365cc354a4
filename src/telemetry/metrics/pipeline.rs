//! What the pipelines count.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Field, Metrics, Outcome, Partition, of, unix};
use crate::domain::{event::Normalized, ledger::Counts};

/// A committed batch.
#[derive(Clone, Copy, Debug)]
pub struct CommittedBatch {
    pub took: Duration,
    pub events: usize,
    pub bytes: usize,
    /// Events that had to be looked up.
    pub suspects: usize,
}

impl Metrics {
    /// What became of a batch's messages.
    pub fn events(&self, partition: u16, counts: &Counts) {
        for (outcome, count) in [
            (Outcome::Received, counts.received),
            (Outcome::Stored, counts.stored),
            (Outcome::Duplicate, counts.duplicates),
            (Outcome::Rejected, counts.rejected),
            (Outcome::Late, counts.late),
        ] {
            self.series.events.get_or_create(&of::events { partition: Partition(partition), outcome }).inc_by(count);
        }
    }

    /// Messages of a batch that a replay read again.
    pub fn replayed(&self, partition: u16, messages: usize) {
        let labels = of::replayed_messages { partition: Partition(partition) };
        self.series.replayed_messages.get_or_create(&labels).inc_by(messages as u64);
    }

    /// Fields that had to be normalised in a batch's events.
    pub fn normalized(&self, normalized: &Normalized) {
        for (field, count) in normalized.by_field() {
            let labels = of::events_normalized { field: Field(field) };
            self.series.events_normalized.get_or_create(&labels).inc_by(count);
        }
    }

    pub fn batch_committed(&self, partition: u16, batch: CommittedBatch) {
        self.series.batch_commit_seconds.observe(batch.took.as_secs_f64());
        self.series.batch_events.observe(batch.events as f64);
        self.series.batch_bytes.observe(batch.bytes as f64);
        let labels = of::dedupe_suspects { partition: Partition(partition) };
        self.series.dedupe_suspects.get_or_create(&labels).inc_by(batch.suspects as u64);
    }

    /// An attempt at committing a batch failed, and is repeated.
    pub fn commit_repeated(&self) {
        self.series.batch_commit_retries.inc();
    }

    /// A merge that had something to merge.
    pub fn merge_took(&self, took: Duration) {
        self.series.merge_seconds.observe(took.as_secs_f64());
    }

    pub fn end_to_end(&self, took: Duration) {
        self.series.end_to_end_seconds.observe(took.as_secs_f64());
    }

    /// A batch was merged that long after its commit.
    pub fn rollup_latency(&self, waited: Duration) {
        self.series.rollup_latency_seconds.observe(waited.as_secs_f64());
        if let Some(exported) = self.exported_latency.get() {
            exported.record(waited.as_secs_f64(), &[]);
        }
    }

    pub fn rollup_merged(&self, at: DateTime<Utc>) {
        self.series.rollup_last_success_timestamp.set(unix(at));
    }

    pub fn misrouted(&self, partition: u16, events: i64) {
        let events = u64::try_from(events).unwrap_or_default();
        let labels = of::misrouted_events { partition: Partition(partition) };
        self.series.misrouted_events.get_or_create(&labels).inc_by(events);
    }

    pub fn stream_unread(&self, partition: u16, offsets: u64) {
        self.series.stream_unread.get_or_create(&of::stream_unread { partition: Partition(partition) }).inc_by(offsets);
    }

    pub fn stream_gap(&self, partition: u16, offsets: u64) {
        self.series.stream_gap.get_or_create(&of::stream_gap { partition: Partition(partition) }).inc_by(offsets);
    }
}
