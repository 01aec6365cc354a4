//! Rules over two sections, and what all checks share. Every problem is reported, not only the first.

use std::{fmt::Display, ops::RangeInclusive};

use super::Settings;
use crate::domain::retention::least_raw_days;

impl Settings {
    /// Each setting that is out of its bounds: its name, what it may be, and what it is where that is no secret.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Problems(Vec::new());
        self.check_sections(&mut found);
        // Beyond its bounds, a window may be longer than a duration can be.
        if !found.names("dedupe.window_hours") {
            let (days, hours) = (self.events.retention_days, self.dedupe.window_hours);
            let least = least_raw_days(self.dedupe.window());
            if days < least {
                found.0.push(format!(
                    "events.retention_days must be at least {least} with dedupe.window_hours = {hours}, is {days}"
                ));
            }
        }
        let (interval, ttl) = (self.freshness.interval_ms, self.cache.ttl_seconds.saturating_mul(1000));
        if !self.cache.url.is_empty() && !found.names("cache.url") && interval.saturating_mul(3) > ttl {
            found.0.push(format!(
                "freshness.interval_ms must be at most a third of cache.ttl_seconds, {}, or markers expire between: is {interval}",
                ttl / 3
            ));
        }
        found.0
    }
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

    /// Whether a setting is among them.
    fn names(&self, setting: &str) -> bool {
        self.0.iter().any(|problem| problem.split(' ').next() == Some(setting))
    }
}

pub(super) fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
}
