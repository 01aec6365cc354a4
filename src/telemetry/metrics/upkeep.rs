//! What the other actors count: exports, maintenance, the audit log, and what waits in the database.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{ExportEnd, Metrics, RunEnd, Scope, Task, of, unix};
use crate::domain::status::installation::{Backlog, Waiting};

impl Metrics {
    pub fn backlog(&self, backlog: &Backlog) {
        let series = &self.series;
        // Unix time; 0 where nothing waits.
        let since = |waiting: Waiting| waiting.since.map_or(0.0, unix);
        series.rollup_pending.set(backlog.rollup.count);
        series.rollup_pending_oldest_timestamp_seconds.set(since(backlog.rollup));
        let attribution = backlog.attribution;
        series.attribution_pending.set(attribution.batches.count);
        series.attribution_pending_oldest_timestamp_seconds.set(since(attribution.batches));
        series.attribution_recounts.set(attribution.days.count);
        series.attribution_recounts_oldest_timestamp_seconds.set(since(attribution.days));
        series.attribution_lag_seconds.set(attribution.lag.as_seconds_f64());
        series.corrections_pending.set(backlog.corrections.count);
        series.corrections_pending_oldest_timestamp_seconds.set(since(backlog.corrections));
        series.export_queue.set(backlog.exports.count);
        series.export_queue_oldest_timestamp_seconds.set(since(backlog.exports));
        if let Some(at) = backlog.verify.at {
            series.verify_last_run_timestamp_seconds.set(unix(at));
            series.verify_differences.set(backlog.verify.differences.unwrap_or_default());
        }
    }

    pub fn freshness_lag(&self, lag: Duration) {
        self.series.freshness_lag_seconds.set(lag.as_secs_f64());
    }

    /// Markers were published to Redis, or could not be.
    pub fn cache_published(&self, done: bool) {
        let outcome = if done { RunEnd::Done } else { RunEnd::Failed };
        self.series.cache_publishes.get_or_create(&of::cache_publishes { outcome }).inc();
    }

    /// Rows that wait to be folded could not be read, and were replaced.
    pub fn attribution_unreadable(&self, rows: usize) {
        self.series.attribution_unreadable.inc_by(rows as u64);
    }

    /// A refusal is counted in a row of the audit log, together with others.
    pub fn audit_counted(&self) {
        self.series.audit_counted.inc();
    }

    /// Records of the audit log that wait for the database.
    pub fn audit_pending(&self, records: usize) {
        self.series.audit_pending.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    pub fn export_ended(&self, status: ExportEnd, took: Duration) {
        self.series.export_jobs.get_or_create(&of::export_jobs { status }).inc();
        if status == ExportEnd::Succeeded {
            self.series.export_seconds.observe(took.as_secs_f64());
        }
    }

    /// Of a task that this process may run.
    pub fn expect_runs(&self, task: &'static str) {
        self.series.begin(&Scope::Task(task));
    }

    pub fn maintenance_run(&self, task: &'static str, outcome: RunEnd) {
        self.series.maintenance_runs.get_or_create(&of::maintenance_runs { task: Task(task), outcome }).inc();
    }

    pub fn maintenance_done(&self, task: &'static str, at: DateTime<Utc>) {
        let labels = of::maintenance_last_success_timestamp { task: Task(task) };
        self.series.maintenance_last_success_timestamp.get_or_create(&labels).set(unix(at));
    }
}
