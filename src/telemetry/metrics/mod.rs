//! The service's metrics, by the names of the contract. A handle is cheap to clone; clones count together.

mod http;
mod jobs;
mod zeros;

pub use http::PermitTaken;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use self::jobs::JobMetrics;
pub use self::jobs::JobState;
use crate::domain::{event::Normalized, ledger::Counts, supervision::What};

/// What [`Metrics::encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Received,
    Stored,
    Duplicate,
    Rejected,
    /// Of the stored, those that came late.
    Late,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        let name = match self {
            Self::Received => "received",
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Late => "late",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    partition: u16,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPartition {
    partition: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfField {
    field: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfActor {
    actor: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEvent {
    actor: String,
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTask {
    task: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfJob {
    job: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRun {
    task: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPort {
    port: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClosing {
    port: &'static str,
    reason: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// From a millisecond to eight seconds.
#[derive(Clone)]
struct RequestBuckets;

impl MetricConstructor<Histogram> for RequestBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.001, 2.0, 14))
    }
}

#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    events: Family<OfOutcome, Counter>,
    events_normalized: Family<OfField, Counter>,
    batch_commit: Histogram,
    batch_events: Histogram,
    merge: Histogram,
    end_to_end: Histogram,
    partition_lag: Family<OfPartition, Seconds>,
    watermark_ahead: Family<OfPartition, Seconds>,
    misrouted_events: Family<OfPartition, Counter>,
    partition_next_offset: Family<OfPartition, Gauge>,
    actor_restarts: Family<OfActor, Counter>,
    actor_up: Family<OfActor, Gauge>,
    supervision_events: Family<OfEvent, Counter>,
    stream_gap: Family<OfPartition, Counter>,
    stream_unread: Family<OfPartition, Counter>,
    audit_counted: Counter,
    freshness_lag: Seconds,
    http_requests: Family<OfRequest, Histogram, RequestBuckets>,
    http_connections: Family<OfPort, Gauge>,
    http_connections_closed: Family<OfClosing, Counter>,
    response_bytes: Gauge,
    query_permits: Gauge,
    rollup_last_success: Seconds,
    export_jobs: Family<OfStatus, Counter>,
    export_seconds: Histogram,
    maintenance_runs: Family<OfRun, Counter>,
    maintenance_last_success: Family<OfTask, Seconds>,
    jobs: JobMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            events: Family::default(),
            events_normalized: Family::default(),
            batch_commit: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 17)),
            merge: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            end_to_end: Histogram::new(exponential_buckets(0.01, 2.0, 16)),
            partition_lag: Family::default(),
            watermark_ahead: Family::default(),
            misrouted_events: Family::default(),
            partition_next_offset: Family::default(),
            actor_restarts: Family::default(),
            actor_up: Family::default(),
            supervision_events: Family::default(),
            stream_gap: Family::default(),
            stream_unread: Family::default(),
            audit_counted: Counter::default(),
            freshness_lag: Seconds::default(),
            http_requests: Family::new_with_constructor(RequestBuckets),
            http_connections: Family::default(),
            http_connections_closed: Family::default(),
            response_bytes: Gauge::default(),
            query_permits: Gauge::default(),
            rollup_last_success: Seconds::default(),
            export_jobs: Family::default(),
            export_seconds: Histogram::new(exponential_buckets(0.05, 2.0, 16)),
            maintenance_runs: Family::default(),
            maintenance_last_success: Family::default(),
            jobs: JobMetrics::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics.normalized(&Normalized::default());
        metrics
    }
}

impl Metrics {
    // The encoder adds `_total` to counters and a full stop to help texts.
    fn register(&self) -> Registry {
        let mut r = Registry::with_prefix("analytics");
        r.register("events", "Messages of the stream by what became of them", self.events.clone());
        r.register(
            "events_normalized",
            "Events of which a field was normalised, since it could not be stored as it was",
            self.events_normalized.clone(),
        );
        r.register("batch_commit_seconds", "Time that a batch transaction took", self.batch_commit.clone());
        r.register("batch_events", "Messages in a committed batch", self.batch_events.clone());
        r.register("merge_seconds", "Time that a merge into the rollups took", self.merge.clone());
        r.register("end_to_end_seconds", "From published to queryable", self.end_to_end.clone());
        r.register(
            "partition_lag_seconds",
            "How far the watermark is from the database's clock: behind it, or ahead",
            self.partition_lag.clone(),
        );
        r.register(
            "partition_watermark_ahead_seconds",
            "How far the watermark is ahead of the database's clock: how complete the partition is, is not known then",
            self.watermark_ahead.clone(),
        );
        r.register(
            "misrouted_events",
            "Events that came by this partition and are at home in another one",
            self.misrouted_events.clone(),
        );
        r.register("partition_next_offset", "Next stream offset to commit", self.partition_next_offset.clone());
        r.register("actor_restarts", "Restarts of an actor", self.actor_restarts.clone());
        r.register("actor_up", "Whether an actor is running", self.actor_up.clone());
        r.register("supervision_events", "Events of the supervision log", self.supervision_events.clone());
        r.register(
            "stream_gap",
            "Stream offsets that were dropped by the stream before they were read",
            self.stream_gap.clone(),
        );
        r.register(
            "stream_unread",
            "Stream offsets that the broker left out without a word",
            self.stream_unread.clone(),
        );
        r.register(
            "audit_counted",
            "Refusals that have no row of their own in the audit log",
            self.audit_counted.clone(),
        );
        r.register("freshness_lag_seconds", "Lag of the partition that is furthest behind", self.freshness_lag.clone());
        r.register(
            "http_request_seconds",
            "Time to answer a request, by the route's pattern",
            self.http_requests.clone(),
        );
        r.register("http_connections", "Open connections", self.http_connections.clone());
        r.register(
            "http_connections_closed",
            "Connections that the service closed, or refused, for its own protection",
            self.http_connections_closed.clone(),
        );
        r.register(
            "http_response_bytes",
            "Bytes of responses that clients have not taken yet",
            self.response_bytes.clone(),
        );
        r.register("query_permits", "Permits of the query actors that are taken", self.query_permits.clone());
        r.register(
            "rollup_last_success_timestamp",
            "When rollups were last merged, Unix seconds",
            self.rollup_last_success.clone(),
        );
        r.register("export_jobs", "Attempts at exports by this process, by how they ended", self.export_jobs.clone());
        r.register("export_seconds", "Time that a made export took", self.export_seconds.clone());
        r.register("maintenance_runs", "Runs of maintenance tasks in this process", self.maintenance_runs.clone());
        r.register(
            "maintenance_last_success_timestamp",
            "When a maintenance task was last done, by this process or another, Unix seconds",
            self.maintenance_last_success.clone(),
        );
        self.jobs.register(&mut r);
        r
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
            self.events.get_or_create(&OfOutcome { partition, outcome }).inc_by(count);
        }
    }

    /// Fields that had to be normalised in a batch's events.
    pub fn normalized(&self, normalized: &Normalized) {
        for (field, count) in normalized.by_field() {
            self.events_normalized.get_or_create(&OfField { field }).inc_by(count);
        }
    }

    pub fn batch_committed(&self, took: Duration, events: usize) {
        self.batch_commit.observe(took.as_secs_f64());
        self.batch_events.observe(events as f64);
    }

    /// A merge that had something to merge.
    pub fn merge_took(&self, took: Duration) {
        self.merge.observe(took.as_secs_f64());
    }

    pub fn end_to_end(&self, took: Duration) {
        self.end_to_end.observe(took.as_secs_f64());
    }

    pub fn partition_lag(&self, partition: u16, lag: Duration) {
        self.partition_lag.get_or_create(&OfPartition { partition }).set(lag.as_secs_f64());
    }

    pub fn watermark_ahead(&self, partition: u16, ahead: Duration) {
        self.watermark_ahead.get_or_create(&OfPartition { partition }).set(ahead.as_secs_f64());
    }

    pub fn misrouted(&self, partition: u16, events: i64) {
        let events = u64::try_from(events).unwrap_or_default();
        self.misrouted_events.get_or_create(&OfPartition { partition }).inc_by(events);
    }

    pub fn partition_next_offset(&self, partition: u16, offset: i64) {
        self.partition_next_offset.get_or_create(&OfPartition { partition }).set(offset);
    }

    pub fn actor_restarted(&self, actor: &str) {
        self.actor_restarts.get_or_create(&OfActor { actor: actor.to_owned() }).inc();
    }

    pub fn actor_up(&self, actor: &str, up: bool) {
        self.expect_actor(actor);
        self.actor_up.get_or_create(&OfActor { actor: actor.to_owned() }).set(i64::from(up));
    }

    pub fn supervision_event(&self, actor: &str, what: What) {
        self.supervision_events.get_or_create(&OfEvent { actor: actor.to_owned(), what: what.as_str() }).inc();
    }

    /// A refusal is counted in a row of the audit log, together with others.
    pub fn audit_counted(&self) {
        self.audit_counted.inc();
    }

    pub fn stream_unread(&self, partition: u16, offsets: u64) {
        self.stream_unread.get_or_create(&OfPartition { partition }).inc_by(offsets);
    }

    pub fn stream_gap(&self, partition: u16, offsets: u64) {
        self.stream_gap.get_or_create(&OfPartition { partition }).inc_by(offsets);
    }

    pub fn freshness_lag(&self, lag: Duration) {
        self.freshness_lag.set(lag.as_secs_f64());
    }

    /// Unix seconds.
    pub fn rollup_merged(&self, at: f64) {
        self.rollup_last_success.set(at);
    }

    /// `status` is succeeded, failed, cancelled, retried, released (given back when the process ended) or lost (taken over).
    pub fn export_ended(&self, status: &'static str, took: Duration) {
        self.export_jobs.get_or_create(&OfStatus { status }).inc();
        if status == "succeeded" {
            self.export_seconds.observe(took.as_secs_f64());
        }
    }

    /// `outcome` is `done` or `failed`.
    pub fn maintenance_run(&self, task: &'static str, outcome: &'static str) {
        self.maintenance_runs.get_or_create(&OfRun { task, outcome }).inc();
    }

    /// Unix seconds.
    pub fn maintenance_done(&self, task: &'static str, at: f64) {
        self.maintenance_last_success.get_or_create(&OfTask { task }).set(at);
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
        metrics.supervision_event("writer/3", What::Failed);
        metrics.stream_gap(3, 40);
        metrics.stream_unread(3, 20);
        metrics.freshness_lag(Duration::from_millis(1500));
        metrics.http_request("/readyz", "GET", 200, Duration::from_millis(2));
        metrics.rollup_merged(1_700_000_000.5);
        metrics.export_ended("succeeded", Duration::from_millis(700));
        metrics.export_ended("failed", Duration::from_millis(700));
        metrics.maintenance_run("purge", "done");
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
}
