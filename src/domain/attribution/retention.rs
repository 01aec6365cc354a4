//! How long sums of sets are kept.

use chrono::{DateTime, TimeDelta, Utc};

use super::Set;
use crate::domain::calendar::utc_day;

/// Of all sets, and of those that have their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRetention {
    pub all: TimeDelta,
    pub own: Vec<(Set, TimeDelta)>,
}

impl SetRetention {
    pub fn of(&self, set: &Set) -> TimeDelta {
        self.own.iter().find(|(own, _)| own == set).map_or(self.all, |(_, retention)| *retention)
    }

    /// Up to where sums of sets without their own go.
    pub fn cutoff_of_all(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        utc_day(now - self.all)
    }

    /// Up to where a set's sums go: the start of a UTC day.
    pub fn cutoff(&self, set: &Set, now: DateTime<Utc>) -> DateTime<Utc> {
        utc_day(now - self.of(set))
    }
}
