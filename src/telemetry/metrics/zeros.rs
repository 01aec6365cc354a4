//! Counters at 0, before anything is counted: an alert on an increase misses the first one of a series that was not there.

use super::{Metrics, OfActor, OfEvent, OfPartition, OfRun, OfStatus};
use crate::domain::{ledger::Counts, supervision::What};

/// How an attempt at an export ends.
const EXPORT_ENDS: [&str; 6] = ["succeeded", "failed", "cancelled", "retried", "released", "lost"];
const RUN_ENDS: [&str; 2] = ["done", "failed"];

impl Metrics {
    /// Of what every process counts, and of each partition, since any may come to this process.
    pub fn begin(&self, partitions: u16) {
        for partition in 0..partitions {
            self.events(partition, &Counts::default());
            for family in [&self.stream_gap, &self.stream_unread, &self.misrouted_events] {
                drop(family.get_or_create(&OfPartition { partition }));
            }
        }
        for status in EXPORT_ENDS {
            drop(self.export_jobs.get_or_create(&OfStatus { status }));
        }
    }

    /// Of a task that this process may run.
    pub fn expect_runs(&self, task: &'static str) {
        for outcome in RUN_ENDS {
            drop(self.maintenance_runs.get_or_create(&OfRun { task, outcome }));
        }
    }

    /// Of an actor that is supervised.
    pub(super) fn expect_actor(&self, actor: &str) {
        drop(self.actor_restarts.get_or_create(&OfActor { actor: actor.to_owned() }));
        for what in What::ALL {
            drop(self.supervision_events.get_or_create(&OfEvent { actor: actor.to_owned(), what: what.as_str() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_there_before_anything_is_counted() {
        let metrics = Metrics::default();
        metrics.begin(2);
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
