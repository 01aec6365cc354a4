//! The service's metrics, by the names of the contract. A handle is cheap to clone; clones count together.
//!
//! What a metric is stands in the list of `metrics!` below and nowhere else; methods count it. Those of the two ports are in
//! `http`, those of the database's jobs in `jobs`; `labels` has the labels' values, and `declare` what follows from the list.

mod declare;
mod http;
mod jobs;
mod labels;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::text,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

pub use self::{
    declare::Declared,
    http::PermitTaken,
    jobs::JobState,
    labels::{Closing, ExportEnd, RunEnd},
};
use self::{
    declare::{Scope, metrics},
    labels::{Actor, Field, Outcome, Partition, Port, Task},
};
use crate::domain::{event::Normalized, ledger::Counts, supervision::SupervisionKind};

/// What [`Metrics::encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Seconds = Gauge<f64, AtomicU64>;

/// With so many buckets, the first up to `first` and each further one up to twice as much.
fn doubling(first: f64, buckets: u16) -> Histogram {
    Histogram::new(exponential_buckets(first, 2.0, buckets))
}

metrics! {
    /// Messages of the stream by what became of them
    events: Counter by { partition: Partition, outcome: Outcome };
    /// Events of which a field was normalised, since it could not be stored as it was
    events_normalized: Counter by { field: Field };
    /// Time that a batch transaction took
    batch_commit_seconds: Histogram = doubling(0.001, 16);
    /// Messages in a committed batch
    batch_events: Histogram = doubling(1.0, 17);
    /// Time that a merge into the rollups took
    merge_seconds: Histogram = doubling(0.001, 16);
    /// From published to queryable
    end_to_end_seconds: Histogram = doubling(0.01, 16);
    /// How far the watermark is from the database's clock: behind it, or ahead
    partition_lag_seconds: Seconds by { partition: Partition };
    /// How far the watermark is ahead of the database's clock: how complete the partition is, is not known then
    partition_watermark_ahead_seconds: Seconds by { partition: Partition };
    /// Events that came by this partition and are at home in another one
    misrouted_events: Counter by { partition: Partition };
    /// Next stream offset to commit
    partition_next_offset: Gauge by { partition: Partition };
    /// Restarts of an actor
    actor_restarts: Counter by { actor: Actor };
    /// Whether an actor is running
    actor_up: Gauge by { actor: Actor };
    /// Events of the supervision log
    supervision_events: Counter by { actor: Actor, what: SupervisionKind };
    /// Stream offsets that were dropped by the stream before they were read
    stream_gap: Counter by { partition: Partition };
    /// Stream offsets that the broker left out without a word
    stream_unread: Counter by { partition: Partition };
    /// Refusals that have no row of their own in the audit log
    audit_counted: Counter;
    /// Lag of the partition that is furthest behind
    freshness_lag_seconds: Seconds;
    /// Time to answer a request, by the route's pattern
    http_request_seconds: Histogram by { route: String, method: &'static str, status: u16 } = doubling(0.001, 14);
    /// Open connections
    http_connections: Gauge by { port: Port };
    /// Connections that the service closed, or refused, for its own protection
    http_connections_closed: Counter by { port: Port, reason: Closing };
    /// Bytes of responses that clients have not taken yet
    http_response_bytes: Gauge;
    /// Permits of the query actors that are taken
    query_permits: Gauge;
    /// When rollups were last merged, Unix seconds
    rollup_last_success_timestamp: Seconds;
    /// Attempts at exports by this process, by how they ended
    export_jobs: Counter by { status: ExportEnd };
    /// Time that a made export took
    export_seconds: Histogram = doubling(0.05, 16);
    /// Runs of maintenance tasks in this process
    maintenance_runs: Counter by { task: Task, outcome: RunEnd };
    /// When a maintenance task was last done, by this process or another, Unix seconds
    maintenance_last_success_timestamp: Seconds by { task: Task };
    /// Background jobs that the database runs for the service
    background_jobs: Gauge;
    /// When a background job of the database last succeeded by the database's word, Unix seconds
    background_job_last_success_timestamp: Seconds by { job: String };
    /// Runs of a background job that the database counts as failed
    background_job_failures: Gauge by { job: String };
    /// For how long a background job of the database has left something undone
    background_job_waiting_seconds: Gauge by { job: String };
    /// How far continuous aggregates are behind the clock, 0 where live rollups are read
    materialisation_lag_seconds: Seconds;
}

#[derive(Clone)]
pub struct Metrics {
    series: Arc<Series>,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        let series = Series::default();
        series.begin(&Scope::Process);
        Self { registry: Arc::new(series.register()), series: Arc::new(series) }
    }
}

impl Metrics {
    /// Any partition may come to this process.
    pub fn expect_partitions(&self, partitions: u16) {
        (0..partitions).for_each(|partition| self.series.begin(&Scope::Partition(partition)));
    }

    /// Of a task that this process may run.
    pub fn expect_runs(&self, task: &'static str) {
        self.series.begin(&Scope::Task(task));
    }

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

    /// Fields that had to be normalised in a batch's events.
    pub fn normalized(&self, normalized: &Normalized) {
        for (field, count) in normalized.by_field() {
            self.series.events_normalized.get_or_create(&of::events_normalized { field: Field(field) }).inc_by(count);
        }
    }

    pub fn batch_committed(&self, took: Duration, events: usize) {
        self.series.batch_commit_seconds.observe(took.as_secs_f64());
        self.series.batch_events.observe(events as f64);
    }

    /// A merge that had something to merge.
    pub fn merge_took(&self, took: Duration) {
        self.series.merge_seconds.observe(took.as_secs_f64());
    }

    pub fn end_to_end(&self, took: Duration) {
        self.series.end_to_end_seconds.observe(took.as_secs_f64());
    }

    pub fn partition_lag(&self, partition: u16, lag: Duration) {
        self.series
            .partition_lag_seconds
            .get_or_create(&of::partition_lag_seconds { partition: Partition(partition) })
            .set(lag.as_secs_f64());
    }

    pub fn watermark_ahead(&self, partition: u16, ahead: Duration) {
        self.series
            .partition_watermark_ahead_seconds
            .get_or_create(&of::partition_watermark_ahead_seconds { partition: Partition(partition) })
            .set(ahead.as_secs_f64());
    }

    pub fn misrouted(&self, partition: u16, events: i64) {
        let events = u64::try_from(events).unwrap_or_default();
        self.series
            .misrouted_events
            .get_or_create(&of::misrouted_events { partition: Partition(partition) })
            .inc_by(events);
    }

    pub fn partition_next_offset(&self, partition: u16, offset: i64) {
        self.series
            .partition_next_offset
            .get_or_create(&of::partition_next_offset { partition: Partition(partition) })
            .set(offset);
    }

    pub fn actor_restarted(&self, actor: &str) {
        self.series.actor_restarts.get_or_create(&of::actor_restarts { actor: Actor(actor.to_owned()) }).inc();
    }

    pub fn actor_up(&self, actor: &str, up: bool) {
        self.series.begin(&Scope::Actor(actor));
        self.series.actor_up.get_or_create(&of::actor_up { actor: Actor(actor.to_owned()) }).set(i64::from(up));
    }

    pub fn supervision_event(&self, actor: &str, what: SupervisionKind) {
        self.series
            .supervision_events
            .get_or_create(&of::supervision_events { actor: Actor(actor.to_owned()), what })
            .inc();
    }

    /// A refusal is counted in a row of the audit log, together with others.
    pub fn audit_counted(&self) {
        self.series.audit_counted.inc();
    }

    pub fn stream_unread(&self, partition: u16, offsets: u64) {
        self.series.stream_unread.get_or_create(&of::stream_unread { partition: Partition(partition) }).inc_by(offsets);
    }

    pub fn stream_gap(&self, partition: u16, offsets: u64) {
        self.series.stream_gap.get_or_create(&of::stream_gap { partition: Partition(partition) }).inc_by(offsets);
    }

    pub fn freshness_lag(&self, lag: Duration) {
        self.series.freshness_lag_seconds.set(lag.as_secs_f64());
    }

    /// Unix seconds.
    pub fn rollup_merged(&self, at: f64) {
        self.series.rollup_last_success_timestamp.set(at);
    }

    pub fn export_ended(&self, status: ExportEnd, took: Duration) {
        self.series.export_jobs.get_or_create(&of::export_jobs { status }).inc();
        if status == ExportEnd::Succeeded {
            self.series.export_seconds.observe(took.as_secs_f64());
        }
    }

    pub fn maintenance_run(&self, task: &'static str, outcome: RunEnd) {
        self.series.maintenance_runs.get_or_create(&of::maintenance_runs { task: Task(task), outcome }).inc();
    }

    /// Unix seconds.
    pub fn maintenance_done(&self, task: &'static str, at: f64) {
        self.series
            .maintenance_last_success_timestamp
            .get_or_create(&of::maintenance_last_success_timestamp { task: Task(task) })
            .set(at);
    }

    /// The registry in OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_have_the_names_of_the_contract() {
        let metrics = Metrics::default();
        metrics.clone().events(3, &Counts { received: 6, stored: 5, ..Counts::default() });
        metrics.events(3, &Counts { duplicates: 1, ..Counts::default() });
        metrics.batch_committed(Duration::from_millis(20), 5);
        metrics.merge_took(Duration::from_millis(500));
        metrics.end_to_end(Duration::from_millis(900));
        metrics.partition_lag(3, Duration::from_millis(250));
        metrics.partition_next_offset(3, 17);
        metrics.actor_restarted("partition/3");
        metrics.actor_up("partition/3", true);
        metrics.supervision_event("writer/3", SupervisionKind::Failed);
        metrics.stream_gap(3, 40);
        metrics.stream_unread(3, 20);
        metrics.freshness_lag(Duration::from_millis(1500));
        metrics.http_request("/readyz", "GET", 200, Duration::from_millis(2));
        metrics.rollup_merged(1_700_000_000.5);
        metrics.export_ended(ExportEnd::Succeeded, Duration::from_millis(700));
        metrics.export_ended(ExportEnd::Failed, Duration::from_millis(700));
        metrics.maintenance_run("purge", RunEnd::Done);
        metrics.maintenance_done("purge", 1_700_000_001.0);
        metrics.normalized(&Normalized { error_code: 2, ..Normalized::default() });
        let permit = metrics.query_permit();
        let text = metrics.encode().unwrap();
        for line in [
            r#"analytics_events_total{partition="3",outcome="stored"} 5"#,
            r#"analytics_events_total{partition="3",outcome="duplicate"} 1"#,
            r#"analytics_events_normalized_total{field="errorCode"} 2"#,
            r#"analytics_events_normalized_total{field="clientId"} 0"#,
            "analytics_batch_commit_seconds_count 1",
            "analytics_batch_events_sum 5.0",
            "analytics_merge_seconds_sum 0.5",
            "analytics_end_to_end_seconds_sum 0.9",
            r#"analytics_partition_lag_seconds{partition="3"} 0.25"#,
            r#"analytics_partition_next_offset{partition="3"} 17"#,
            r#"analytics_actor_restarts_total{actor="partition/3"} 1"#,
            r#"analytics_actor_up{actor="partition/3"} 1"#,
            r#"analytics_supervision_events_total{actor="writer/3",what="failed"} 1"#,
            r#"analytics_stream_gap_total{partition="3"} 40"#,
            r#"analytics_stream_unread_total{partition="3"} 20"#,
            "analytics_freshness_lag_seconds 1.5",
            r#"analytics_http_request_seconds_count{route="/readyz",method="GET",status="200"} 1"#,
            "analytics_query_permits 1",
            "analytics_rollup_last_success_timestamp 1700000000.5",
            r#"analytics_export_jobs_total{status="succeeded"} 1"#,
            r#"analytics_export_jobs_total{status="failed"} 1"#,
            "analytics_export_seconds_sum 0.7",
            r#"analytics_maintenance_runs_total{task="purge",outcome="done"} 1"#,
            r#"analytics_maintenance_last_success_timestamp{task="purge"} 1700000001.0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        drop(permit);
        assert!(metrics.encode().unwrap().contains("analytics_query_permits 0"));
    }

    #[test]
    fn counters_are_there_before_anything_is_counted() {
        let metrics = Metrics::default();
        metrics.expect_partitions(2);
        metrics.expect_runs("purge");
        metrics.actor_up("partition/1", true);
        let text = metrics.encode().unwrap();
        for line in [
            r#"analytics_events_total{partition="0",outcome="received"} 0"#,
            r#"analytics_events_total{partition="1",outcome="late"} 0"#,
            r#"analytics_stream_gap_total{partition="1"} 0"#,
            r#"analytics_stream_unread_total{partition="0"} 0"#,
            r#"analytics_misrouted_events_total{partition="1"} 0"#,
            r#"analytics_export_jobs_total{status="lost"} 0"#,
            r#"analytics_maintenance_runs_total{task="purge",outcome="failed"} 0"#,
            r#"analytics_actor_restarts_total{actor="partition/1"} 0"#,
            r#"analytics_supervision_events_total{actor="partition/1",what="parked"} 0"#,
            "analytics_audit_counted_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
