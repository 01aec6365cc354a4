//! How long data is kept, what keeps the rollups, and how often it is refreshed.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;

use super::Settings;
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
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// `Live`, and `Continuous` where that is in use already.
    Auto,
    Live,
    Continuous,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollups {
    pub engine: EngineChoice,
    pub interval_ms: u64,
    pub max_batches: i64,
}

impl Rollups {
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub rollup_days: i64,
    pub batch_days: i64,
    pub ledger_hour_days: i64,
    pub dead_letter_days: i64,
    pub audit_days: i64,
    pub supervision_days: i64,
    pub export_days: i64,
}

impl Retention {
    /// How long the file of an export is kept, where its org has no retention of its own.
    pub fn exports(&self) -> TimeDelta {
        TimeDelta::days(self.export_days)
    }

    /// Each with the setting's name.
    pub(super) fn days(&self) -> [(&'static str, i64); 7] {
        [
            ("retention.rollup_days", self.rollup_days),
            ("retention.batch_days", self.batch_days),
            ("retention.ledger_hour_days", self.ledger_hour_days),
            ("retention.dead_letter_days", self.dead_letter_days),
            ("retention.audit_days", self.audit_days),
            ("retention.supervision_days", self.supervision_days),
            ("retention.export_days", self.export_days),
        ]
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    pub enabled: bool,
    pub check_seconds: u64,
    pub purge_hours: i64,
    pub maintain_minutes: i64,
    pub refresh_minutes: i64,
    pub compress_after_days: i64,
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
