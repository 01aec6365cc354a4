//! Exports: who generates them, how many at a time, and when one that did not come off is tried again.

use std::time::Duration;

use super::declare::section;
use crate::domain::export::RetryPolicy;

section! {
    #[derive(Copy)]
    pub struct Exports in exports {
        /// Actors of this process that generate exports. Each holds one connection to the database while it is at work.
        actors: u16 = 1, from(0..=16);
        /// Exports of one org that are at work at a time, in all processes. More of them wait while other orgs' are generated.
        running_per_org: u16 = 2, from(1..=16);
        /// Exports of one org that wait or are at work. One more is 429.
        pending_per_org: u32 = 100, from(1..=10_000);
        /// How often actors that have nothing to do look for work, milliseconds.
        poll_ms: u64 = 1000, from(100..=60_000);
        /// How often an actor at work reports that it is, milliseconds.
        heartbeat_ms: u64 = 5000, from(100..=60_000);
        /// An actor that has not reported for so long has its export taken over. Milliseconds.
        takeover_ms: u64 = 30000,
            within("three times heartbeat_ms to 3_600_000", of => of.heartbeat_ms.saturating_mul(3)..=3_600_000);
        /// Attempts that an export has.
        max_attempts: u32 = 6, from(1..=100);
        /// Pause after a first attempt that failed, doubled at each further one up to the maximum. Milliseconds.
        retry_initial_ms: u64 = 2000, from(10..=3_600_000);
        /// The maximum, milliseconds.
        retry_max_ms: u64 = 300000, within("retry_initial_ms to 86_400_000", of => of.retry_initial_ms..=86_400_000);
        /// Longest that reading the rows of one export may take, milliseconds. All of it is one snapshot, and the database cleans up
        /// nothing that is younger.
        statement_timeout_ms: u64 = 3600000, from(1000..=86_400_000);
    }
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
}
