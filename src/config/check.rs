//! Rules over two sections, and what all checks share. Every problem is reported, not only the first.

use std::{fmt::Display, ops::RangeInclusive};

use super::Settings;
use crate::domain::retention::least_raw_days;

impl Settings {
    /// Each setting that is out of its bounds: its name, what it may be, and what it is where that is no secret.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Problems(Vec::new());
        self.check_sections(&mut found);
        if is_sound(|found| self.dedupe.check(found)) {
            let (days, hours) = (self.events.retention_days, self.dedupe.window_hours);
            let least = least_raw_days(self.dedupe.window());
            if days < least {
                found.0.push(format!(
                    "events.retention_days must be at least {least} with dedupe.window_hours = {hours}, is {days}"
                ));
            }
        }
        let (interval, ttl) = (self.freshness.interval_ms, self.cache.ttl_seconds.saturating_mul(1000));
        if !self.cache.url.is_empty() && is_sound(|found| self.cache.check(found)) && interval.saturating_mul(3) > ttl {
            found.0.push(format!(
                "freshness.interval_ms must be at most a third of cache.ttl_seconds, {}, or markers expire between: is {interval}",
                ttl / 3
            ));
        }
        found.0
    }
}

/// Whether a section's own rules hold, so that one over two sections has something to go by.
fn is_sound(check: impl FnOnce(&mut Problems)) -> bool {
    let mut found = Problems(Vec::new());
    check(&mut found);
    found.0.is_empty()
}

pub(super) struct Problems(Vec<String>);

impl Problems {
    pub(super) fn range<T: PartialOrd + Display>(&mut self, name: &str, value: T, bounds: RangeInclusive<T>) {
        if !bounds.contains(&value) {
            self.0.push(format!("{name} must be from {} to {}, is {value}", bounds.start(), bounds.end()));
        }
    }

    pub(super) fn holds(&mut self, name: &str, holds: bool, rule: &str) {
        if !holds {
            self.0.push(format!("{name} must {rule}"));
        }
    }
}

pub(super) fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
}
