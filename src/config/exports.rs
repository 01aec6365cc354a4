//! Exports: who makes them, how many at a time, and when one that did not come off is tried again.

use std::time::Duration;

use serde::Deserialize;

use super::check::Problems;
use crate::domain::export::RetryPolicy;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exports {
    pub actors: u16,
    pub running_per_org: u16,
    pub pending_per_org: u32,
    pub poll_ms: u64,
    pub heartbeat_ms: u64,
    pub takeover_ms: u64,
    pub max_attempts: u32,
    pub retry_initial_ms: u64,
    pub retry_max_ms: u64,
    pub statement_timeout_ms: u64,
}

impl Exports {
    pub fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    pub fn takeover(&self) -> Duration {
        Duration::from_millis(self.takeover_ms)
    }

    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }

    pub fn retry(&self) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.max_attempts,
            initial: Duration::from_millis(self.retry_initial_ms),
            max: Duration::from_millis(self.retry_max_ms),
        }
    }

    pub(super) fn check(&self, found: &mut Problems) {
        found.range("exports.actors", self.actors, 0..=16);
        found.range("exports.running_per_org", self.running_per_org, 1..=16);
        found.range("exports.pending_per_org", self.pending_per_org, 1..=10_000);
        found.range("exports.poll_ms", self.poll_ms, 100..=60_000);
        found.range("exports.heartbeat_ms", self.heartbeat_ms, 100..=60_000);
        found.range("exports.takeover_ms", self.takeover_ms, self.heartbeat_ms.saturating_mul(3)..=3_600_000);
        found.range("exports.max_attempts", self.max_attempts, 1..=100);
        found.range("exports.retry_initial_ms", self.retry_initial_ms, 10..=3_600_000);
        found.range("exports.retry_max_ms", self.retry_max_ms, self.retry_initial_ms..=86_400_000);
        found.range("exports.statement_timeout_ms", self.statement_timeout_ms, 1000..=86_400_000);
    }
}
