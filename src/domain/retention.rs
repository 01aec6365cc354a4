//! Retention: up to which moment data is purged.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::calendar::utc_day;

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events that are older are refused.
    pub raw: TimeDelta,
    /// The dedupe window.
    pub window: TimeDelta,
    pub rollups: TimeDelta,
    pub batches: TimeDelta,
    pub ledger_hours: TimeDelta,
    pub dead_letters: TimeDelta,
    pub audit: TimeDelta,
    pub supervision: TimeDelta,
}

/// What an org has in place of the settings; `None`: what the settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrgDays {
    pub org_id: Uuid,
    pub raw: Option<i32>,
    pub rollups: Option<i32>,
}

/// What lies before these moments is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// The start of a UTC day, as those of rollups are: only whole days go.
    pub raw: DateTime<Utc>,
    pub rollups: DateTime<Utc>,
    pub batches: DateTime<Utc>,
    pub ledger_hours: DateTime<Utc>,
    pub dead_letters: DateTime<Utc>,
    pub audit: DateTime<Utc>,
    pub supervision: DateTime<Utc>,
}

/// Shortest that raw events may be kept, whole days: an event of the window's far end has to be there while one of its
/// near end can still come, with a day for whatever is on its way.
pub fn least_raw_days(window: TimeDelta) -> i64 {
    (window + TimeDelta::hours(48 + 23)).num_days()
}

impl Retention {
    pub fn cutoffs(&self, now: DateTime<Utc>) -> Cutoffs {
        Cutoffs {
            raw: self.raw_cutoff(self.raw, now),
            rollups: utc_day(now - self.rollups),
            batches: now - self.batches,
            ledger_hours: now - self.ledger_hours,
            dead_letters: now - self.dead_letters,
            audit: now - self.audit,
            supervision: now - self.supervision,
        }
    }

    /// Up to where an org's raw events go, where it has a retention of its own.
    pub fn org_raw_cutoff(&self, org: &OrgDays, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Never longer than everybody's: the days that they lie in go as a whole.
        let raw = TimeDelta::days(org.raw?.into()).min(self.raw);
        Some(self.raw_cutoff(raw, now))
    }

    /// Up to where an org's rollups go, where it has a retention of its own.
    pub fn org_rollup_cutoff(&self, org: &OrgDays, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(utc_day(now - TimeDelta::days(org.rollups?.into())))
    }

    /// Events may arrive up to the retention's age, and each is compared with those up to a window before it: these stay
    /// for so much longer.
    fn raw_cutoff(&self, raw: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
        utc_day(now - raw - self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn retention() -> Retention {
        let days = TimeDelta::days;
        Retention {
            raw: days(400),
            window: TimeDelta::hours(24),
            rollups: days(396),
            batches: days(400),
            ledger_hours: days(800),
            dead_letters: days(90),
            audit: days(400),
            supervision: days(90),
        }
    }

    #[test]
    fn raw_events_outlive_intake_by_a_window() {
        let now = at("2026-03-10T05:00:00Z");
        let cutoffs = retention().cutoffs(now);
        assert_eq!(cutoffs.raw, at("2025-02-02T00:00:00Z"));
        let oldest_accepted = now - retention().raw;
        assert!(oldest_accepted - retention().window >= cutoffs.raw, "what it could repeat is there");
    }

    #[test]
    fn rollups_are_purged_by_whole_days() {
        let now = at("2026-03-10T05:00:00Z");
        let cutoffs = retention().cutoffs(now);
        assert_eq!(cutoffs.rollups, at("2025-02-07T00:00:00Z"));
        assert_eq!(cutoffs.dead_letters, at("2025-12-10T05:00:00Z"));
    }

    #[test]
    fn an_org_may_only_shorten_raw_retention() {
        let now = at("2026-03-10T05:00:00Z");
        let org = |raw, rollups| OrgDays { org_id: Uuid::nil(), raw, rollups };
        let kept = retention();
        assert_eq!(kept.org_raw_cutoff(&org(Some(30), None), now), Some(at("2026-02-07T00:00:00Z")));
        assert_eq!(kept.org_raw_cutoff(&org(Some(800), None), now), Some(kept.cutoffs(now).raw));
        assert_eq!(kept.org_raw_cutoff(&org(None, Some(30)), now), None);
        assert_eq!(kept.org_rollup_cutoff(&org(None, Some(30)), now), Some(at("2026-02-08T00:00:00Z")));
        assert_eq!(kept.org_rollup_cutoff(&org(None, Some(800)), now), Some(at("2023-12-31T00:00:00Z")));
    }

    #[test]
    fn raw_retention_has_a_lower_bound() {
        let least = |hours| least_raw_days(TimeDelta::hours(hours));
        assert_eq!((least(1), least(24), least(25), least(768)), (3, 3, 4, 34));
    }
}
