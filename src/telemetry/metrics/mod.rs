//! The service's metrics, by the names of the contract. A handle is cheap to clone; clones count together.
//!
//! What a metric is stands in the list of `metrics!` below and nowhere else; methods count it, in a file for each of those who do:
//! `pipeline`, `partitions` (what ends when a partition leaves this process), `supervision`, `upkeep`, `jobs` (of the database),
//! `dependencies`, `http` (the two ports and the queries behind them), `spans` (of traces). `process` has what the system says of the process, `format`
//! the formats of a scrape; `labels` has the labels' values, and `declare` what follows from the list.
//!
//! A scrape asks no server: gauges hold what was seen last.

mod declare;
mod dependencies;
mod format;
mod http;
mod jobs;
mod labels;
mod partitions;
mod pipeline;
mod process;
mod spans;
mod supervision;
mod upkeep;

use std::{
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

use chrono::{DateTime, Utc};
use prometheus_client::{
    encoding::{prometheus_text, text},
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
    dependencies::PoolUse,
    format::Format,
    http::{PermitTaken, PortTraffic, RequestInFlight},
    jobs::JobState,
    labels::{Closing, ExportEnd, Reconnected, RunEnd, SpanEnd},
    partitions::{CreditTaken, FilterState},
    pipeline::CommittedBatch,
};
use self::{
    declare::{Scope, metrics},
    dependencies::Watched,
    labels::{Actor, Field, Outcome, Owned, Partition, PoolState, Port, Task},
    partitions::Ownership,
    process::Process,
};
use crate::domain::supervision::SupervisionKind;

type Seconds = Gauge<f64, AtomicU64>;

/// With so many buckets, the first up to `first` and each further one up to twice as much.
fn doubling(first: f64, buckets: u16) -> Histogram {
    Histogram::new(exponential_buckets(first, 2.0, buckets))
}

/// How long a request takes. Objectives are at 250 ms and 1 s.
fn of_requests() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

/// How long it takes until something can be queried. Objectives are at 1 s and 5 s, alerts at minutes.
fn until_queryable() -> Histogram {
    Histogram::new([0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0])
}

/// Seconds since 1970.
fn unix(at: DateTime<Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}

metrics! {
    /// Version and source revision of this build, always 1
    build_info: Gauge by { version: &'static str, revision: &'static str };
    /// Partitions that are configured
    partitions: Gauge;
    /// Whether this process has the partition's lease
    partition_owned: Gauge by { partition: Partition };
    /// Whether a dependency is up: 1, else 0
    dependency_up: Gauge by { dependency: &'static str };
    /// Connections that were lost and opened again
    reconnects: Counter by { dependency: Reconnected };
    /// Messages of the stream by what became of them
    events: Counter by { partition: Partition, outcome: Outcome };
    /// Events of which a field was normalised, since it could not be stored as it was
    events_normalized: Counter by { field: Field };
    /// Messages that a replay read again, which are among the events too
    replayed_messages: Counter by { partition: Partition };
    /// Time that a batch transaction took
    batch_commit_seconds: Histogram = doubling(0.001, 16);
    /// Messages in a committed batch
    batch_events: Histogram = doubling(1.0, 17);
    /// Bytes of the messages in a committed batch
    batch_bytes: Histogram = doubling(1024.0, 18);
    /// Attempts at committing a batch that failed and were repeated
    batch_commit_retries: Counter;
    /// Batches between the reader and their commit, which batch.credits bounds
    credits_in_flight: Gauge by { partition: Owned };
    /// Keys of events in the filter of the dedupe window
    dedupe_filter_keys: Gauge by { partition: Owned };
    /// Keys that the filter of the dedupe window may hold
    dedupe_filter_capacity: Gauge by { partition: Owned };
    /// How much of the dedupe window the filter covers
    dedupe_covered_seconds: Seconds by { partition: Owned };
    /// Events that had to be looked up in the database, since the filter does not show that they are fresh
    dedupe_suspects: Counter by { partition: Partition };
    /// Times that another writer changed what the dedupe window covers
    partition_foreign_writes: Gauge by { partition: Owned };
    /// Time that a merge into the rollups took
    merge_seconds: Histogram = doubling(0.001, 16);
    /// From published to queryable
    end_to_end_seconds: Histogram = until_queryable();
    /// From the commit of a batch to its merge into the rollups
    rollup_latency_seconds: Histogram = until_queryable();
    /// Committed batches that are not merged into the rollups
    rollup_pending: Gauge;
    /// When the oldest batch that is not merged was committed, Unix time; 0 where there is none
    rollup_pending_oldest_timestamp_seconds: Seconds;
    /// Committed batches that are not folded into attribution
    attribution_pending: Gauge;
    /// When the oldest batch that is not folded was committed, Unix time; 0 where there is none
    attribution_pending_oldest_timestamp_seconds: Seconds;
    /// How far attribution is behind usage, of the partition that is furthest behind
    attribution_lag_seconds: Seconds;
    /// UTC days of organisations and sets that have to be counted again
    attribution_recounts: Gauge;
    /// When the oldest of these days was noted, Unix time; 0 where there is none
    attribution_recounts_oldest_timestamp_seconds: Seconds;
    /// Rows of attribution that could not be read: their days were counted again from raw events
    attribution_unreadable: Counter;
    /// Up to when the partition is complete, Unix time
    partition_watermark_timestamp_seconds: Seconds by { partition: Owned };
    /// How far the watermark is from the database's clock: behind it, or ahead
    partition_lag_seconds: Seconds by { partition: Owned };
    /// How far the watermark is ahead of the database's clock: how complete the partition is, is not known then
    partition_watermark_ahead_seconds: Seconds by { partition: Owned };
    /// Events that came by this partition and are at home in another one
    misrouted_events: Counter by { partition: Partition };
    /// Next stream offset to commit
    partition_next_offset: Gauge by { partition: Owned };
    /// First offset that the stream still has
    stream_first_offset: Gauge by { partition: Owned };
    /// How long until the stream drops the oldest message that is not committed
    stream_retention_headroom_seconds: Seconds by { partition: Owned };
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
    /// Records of the audit log that wait for the database
    audit_pending: Gauge;
    /// Corrected dead letters that are stored and not published
    corrections_pending: Gauge;
    /// When the oldest correction that is not published was stored, Unix time; 0 where there is none
    corrections_pending_oldest_timestamp_seconds: Seconds;
    /// Publications of freshness markers to Redis
    cache_publishes: Counter by { outcome: RunEnd };
    /// Lag of the partition that is furthest behind
    freshness_lag_seconds: Seconds;
    /// Time until a request's response begins, by the route's pattern; without probes and scrapes
    http_request_seconds: Histogram by { route: String, method: &'static str, status: u16 } = of_requests();
    /// Requests whose response is not sent to its end
    http_requests_in_flight: Gauge by { port: Port };
    /// Bytes of response bodies that were sent
    http_sent_bytes: Counter by { port: Port };
    /// Open connections
    http_connections: Gauge by { port: Port };
    /// Connections that the service closed, or refused, for its own protection
    http_connections_closed: Counter by { port: Port, reason: Closing };
    /// Bytes of responses that clients have not taken yet
    http_response_bytes: Gauge;
    /// Permits of the query actors that are taken
    query_permits: Gauge;
    /// Time that a query waited for a permit
    query_wait_seconds: Histogram = doubling(0.001, 14);
    /// Connections of the query actors to the database
    database_connections: Gauge by { state: PoolState };
    /// When rollups were last merged, Unix seconds
    rollup_last_success_timestamp: Seconds;
    /// Attempts at exports by this process, by how they ended
    export_jobs: Counter by { status: ExportEnd };
    /// Time of the attempts at exports that succeeded
    export_seconds: Histogram = doubling(0.05, 16);
    /// Exports that wait to be generated
    export_queue: Gauge;
    /// When the oldest export that waits was requested, Unix time; 0 where there is none
    export_queue_oldest_timestamp_seconds: Seconds;
    /// Runs of maintenance tasks in this process
    maintenance_runs: Counter by { task: Task, outcome: RunEnd };
    /// When a maintenance task was last done, by this process or another, Unix seconds
    maintenance_last_success_timestamp: Seconds by { task: Task };
    /// When `verify` last ended, by any process or command, Unix time; 0: never
    verify_last_run_timestamp_seconds: Seconds;
    /// Differences that the last `verify` found
    verify_differences: Gauge;
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
    /// Spans of traces by what became of them
    trace_spans: Counter by { outcome: SpanEnd };
}

#[derive(Clone)]
pub struct Metrics {
    series: Arc<Series>,
    ownership: Ownership,
    watched: Watched,
    registry: Arc<Registry>,
    /// `rollup_latency_seconds` for an OTLP receiver, where there is one.
    exported_latency: Arc<OnceLock<opentelemetry::metrics::Histogram<f64>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let series = Series::default();
        series.begin(&Scope::Process);
        let mut registry = Registry::default();
        series.register(registry.sub_registry_with_prefix("analytics"));
        registry.register_collector(Box::new(Process));
        let metrics = Self {
            series: Arc::new(series),
            ownership: Ownership::default(),
            watched: Watched::default(),
            registry: Arc::new(registry),
            exported_latency: Arc::default(),
        };
        metrics.build();
        metrics
    }
}

/// What is read on a scrape.
pub fn declared() -> impl Iterator<Item = Declared> {
    DECLARED.iter().chain(process::DECLARED).copied()
}

impl Metrics {
    fn build(&self) {
        let revision = option_env!("ANALYTICS_REVISION").unwrap_or("unknown");
        let labels = of::build_info { version: env!("CARGO_PKG_VERSION"), revision };
        self.series.build_info.get_or_create(&labels).set(1);
    }

    /// All of it, as a scrape has it.
    pub fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        self.show_pools();
        let mut out = String::new();
        match format {
            Format::Prometheus => prometheus_text::encode(&mut out, &self.registry)?,
            Format::OpenMetrics => text::encode(&mut out, &self.registry)?,
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{event::Normalized, ledger::Counts};

    fn at(seconds: i64, nanos: u32) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, nanos).unwrap()
    }

    fn text(metrics: &Metrics) -> String {
        metrics.encode(Format::OpenMetrics).unwrap()
    }

    #[test]
    fn series_have_the_names_of_the_contract() {
        let metrics = Metrics::default();
        metrics.clone().events(3, &Counts { received: 6, stored: 5, ..Counts::default() });
        metrics.events(3, &Counts { duplicates: 1, ..Counts::default() });
        metrics.partitions_owned(&[3].into());
        let batch = CommittedBatch { took: Duration::from_millis(20), events: 5, bytes: 2048, suspects: 2 };
        metrics.batch_committed(3, batch);
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
        metrics.rollup_merged(at(1_700_000_000, 500_000_000));
        metrics.export_ended(ExportEnd::Succeeded, Duration::from_millis(700));
        metrics.export_ended(ExportEnd::Failed, Duration::from_millis(700));
        metrics.maintenance_run("purge", RunEnd::Done);
        metrics.maintenance_done("purge", at(1_700_000_001, 0));
        metrics.normalized(&Normalized { error_code: 2, ..Normalized::default() });
        let permit = metrics.query_permit();
        let text = text(&metrics);
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
        assert!(super::tests::text(&metrics).contains("analytics_query_permits 0"));
    }

    #[test]
    fn counters_are_there_before_anything_is_counted() {
        let metrics = Metrics::default();
        metrics.expect_partitions(2);
        metrics.expect_runs("purge");
        metrics.actor_up("partition/1", true);
        let text = text(&metrics);
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
