//! How long data is kept, what keeps the rollups, and how often it is refreshed.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;

use super::{Settings, declare::section, one_of};
use crate::domain::retention;

impl Settings {
    /// How long everything is kept.
    pub fn retention(&self) -> retention::Retention {
        let days = TimeDelta::days;
        retention::Retention {
            raw: self.events.retention(),
            window: self.dedupe.window(),
            rollups: days(self.retention.rollup_days),
            batches: days(self.retention.batch_days),
            ledger_hours: days(self.retention.ledger_hour_days),
            dead_letters: days(self.retention.dead_letter_days),
            audit: days(self.retention.audit_days),
            supervision: days(self.retention.supervision_days),
        }
    }
}

/// What keeps the hourly and daily rollups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum EngineChoice {
    /// `Live`, and `Continuous` where that is in use already.
    Auto,
    Live,
    Continuous,
}

impl TryFrom<String> for EngineChoice {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        one_of(&word, &[("auto", Self::Auto), ("live", Self::Live), ("continuous", Self::Continuous)])
    }
}

section! {
    #[derive(Copy)]
    pub struct Rollups in rollups {
        /// What keeps the hourly and daily rollups: live (tables), continuous (what is final in continuous aggregates of TimescaleDB's
        /// Community edition), or auto: live, and continuous where that is in use already. In the median, queries take up to 1.3
        /// times as long from continuous aggregates, and a year of a busy platform is not measured, so they are used only where they
        /// are requested. A new schema begins with what is set here; one that has data is switched by `rollups switch`, never by itself.
        engine: EngineChoice = "auto";
        /// Shortest pause between two merges of a partition, milliseconds. Long merges are followed by longer pauses: of at most
        /// 800 ms, or twice as long as the merge where that is more, and never longer than 10 s.
        interval_ms: u64 = 50, from(10..=10_000);
        /// Batches that one merge takes at most. Of large ones it takes fewer, about 16 MiB.
        max_batches: i64 = 1000, from(1..=1000);
    }
}

impl Rollups {
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

section! {
    #[derive(Copy)]
    pub struct Retention in retention {
        /// How long rollups and their revisions are kept, days: thirteen months. Raw events: events.retention_days. An org can have
        /// its own of both (`retention set`) where the rollups are kept live.
        rollup_days: i64 = 396, from(1..=3650);
        /// Rows of the ledger, days; older ones are folded into one row a partition, when none of their raw events is left.
        batch_days: i64 = 400, from(1..=3650);
        /// The ledger's hours, which the API reports from, days.
        ledger_hour_days: i64 = 800, from(1..=3650);
        /// Dead letters, days.
        dead_letter_days: i64 = 90, from(1..=3650);
        /// The audit log, and jobs of exports that were requested, days. The database itself deletes no audit entry that is younger than 90.
        audit_days: i64 = 400, from(90..=3650);
        /// The supervision log, replays that are done, and processes that are gone, days.
        supervision_days: i64 = 90, from(1..=3650);
        /// Files of exports, from when they were generated, days. An org that has its own has it from its next export on.
        export_days: i64 = 90, from(1..=3650);
    }
}

impl Retention {
    /// How long the file of an export is kept, where its org has no retention of its own.
    pub fn exports(&self) -> TimeDelta {
        TimeDelta::days(self.export_days)
    }
}

section! {
    #[derive(Copy)]
    pub struct Maintenance in maintenance {
        /// Whether the service does by itself what `purge` and `maintain` do, when it was not done for so long. One process at a time does;
        /// where CronJobs run these commands more often, it has nothing to do.
        enabled: bool = true;
        /// How often a process looks whether something is due, seconds. The first time so long after its start.
        check_seconds: u64 = 60, from(1..=3600);
        /// How often `purge` is due, hours.
        purge_hours: i64 = 24, from(1..=720);
        /// How often `maintain` is due, minutes.
        maintain_minutes: i64 = 60, from(1..=1440);
        /// Days of raw events are compressed by the database when they are so old, where TimescaleDB's Community edition is; 0: never.
        /// Taken when `migrate` or `maintain` runs with database.migration_url.
        compress_after_days: i64 = 7, from(0..=3650);
        /// How often the database materialises what has become final, where continuous aggregates keep that; taken when
        /// `rollups switch` switches to them. Minutes.
        refresh_minutes: i64 = 15, from(1..=1440);
    }
}

impl Maintenance {
    pub fn check_every(&self) -> Duration {
        Duration::from_secs(self.check_seconds)
    }

    pub fn purge_every(&self) -> TimeDelta {
        TimeDelta::hours(self.purge_hours)
    }

    pub fn maintain_every(&self) -> TimeDelta {
        TimeDelta::minutes(self.maintain_minutes)
    }

    /// `None`: nothing is compressed.
    pub fn compress_after(&self) -> Option<TimeDelta> {
        (self.compress_after_days > 0).then(|| TimeDelta::days(self.compress_after_days))
    }

    pub fn refresh_every(&self) -> TimeDelta {
        TimeDelta::minutes(self.refresh_minutes)
    }
}
