//! How well inference went: outcomes and latencies by bucket.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    calendar::Buckets,
    event::Status,
    freshness::Freshness,
    histogram::{Histogram, Sum},
};

/// What points are grouped by, beside their bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dimension {
    #[default]
    None,
    Model,
    Client,
    ErrorCode,
}

impl Dimension {
    /// The label that it is; none where rollups know it.
    pub const fn label(self) -> Option<Label> {
        match self {
            Self::None | Self::Model => None,
            Self::Client => Some(Label::Client),
            Self::ErrorCode => Some(Label::ErrorCode),
        }
    }
}

/// What events are labelled by that rollups do not distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    Client,
    ErrorCode,
}

/// Which labels are wanted: one of the values, or where `unset` none at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only {
    pub label: Label,
    pub values: BTreeSet<String>,
    pub unset: bool,
}

impl Only {
    /// Whether events with that label are wanted.
    pub fn passes(&self, label: Option<&str>) -> bool {
        label.map_or(self.unset, |label| self.values.contains(label))
    }
}

#[derive(Clone, Debug)]
pub struct ReliabilityQuery {
    pub org_id: Uuid,
    pub buckets: Buckets,
    /// Empty: all.
    pub models: Vec<Uuid>,
    /// None, or what is filtered by, where that is anything.
    pub by: Dimension,
    /// None: all.
    pub only: Option<Only>,
    pub fill: bool,
}

/// Invocations by how they ended, and how long they took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// In the order of [`Status::ALL`].
    pub by_status: [u64; 4],
    pub latency: Histogram,
}

impl Outcomes {
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.by_status.iter_mut().zip(other.by_status) {
            *sum += count;
        }
        self.latency.merge(&other.latency);
    }

    pub fn invocations(&self) -> u64 {
        self.by_status.iter().sum()
    }

    /// All but success.
    pub fn errors(&self) -> u64 {
        self.invocations() - self.of(Status::Success)
    }

    pub fn of(&self, status: Status) -> u64 {
        Status::ALL.iter().position(|other| *other == status).map_or(0, |n| self.by_status[n])
    }

    /// Of the invocations, from 0 to 1. None where there are none.
    pub fn error_rate(&self) -> Option<f64> {
        let invocations = self.invocations();
        (invocations > 0).then(|| self.errors() as f64 / invocations as f64)
    }
}

/// The group of a point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    None,
    Model(Uuid),
    /// None: events that name no client.
    Client(Option<String>),
    /// None: events without an error code.
    ErrorCode(Option<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReliabilityPoint {
    pub bucket_start: DateTime<Utc>,
    pub key: Key,
    pub outcomes: Outcomes,
}

/// Everything read in one snapshot. Points are in order of (bucket, key).
#[derive(Clone, Debug)]
pub struct ReliabilityReport {
    pub series: Vec<ReliabilityPoint>,
    pub freshness: Freshness,
    pub as_of: Option<DateTime<Utc>>,
}

impl ReliabilityReport {
    /// The sum of the series. Percentiles are those of all its invocations, never a mean of percentiles.
    pub fn totals(&self) -> Outcomes {
        let mut by_status = [0; 4];
        let mut latency = Sum::default();
        for ReliabilityPoint { outcomes, .. } in &self.series {
            for (sum, count) in by_status.iter_mut().zip(outcomes.by_status) {
                *sum += count;
            }
            latency.add_all(&outcomes.latency);
        }
        Outcomes { by_status, latency: latency.histogram() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(by_status: [u64; 4], latencies: &[u32]) -> Outcomes {
        let mut latency = Histogram::default();
        latencies.iter().for_each(|ms| latency.record(*ms));
        Outcomes { by_status, latency }
    }

    #[test]
    fn every_outcome_but_success_is_an_error() {
        let some = outcomes([90, 5, 3, 2], &[]);
        assert_eq!((some.invocations(), some.errors(), some.error_rate()), (100, 10, Some(0.1)));
        assert_eq!((some.of(Status::Success), some.of(Status::Throttled)), (90, 2));
        assert_eq!(Outcomes::default().error_rate(), None);
    }

    #[test]
    fn overall_percentiles_are_not_mean_percentiles() {
        let point = |outcomes| ReliabilityPoint { bucket_start: DateTime::UNIX_EPOCH, key: Key::None, outcomes };
        let freshness = Freshness {
            last_event_at: None,
            last_rollup_at: None,
            lag_ms: None,
            status: crate::domain::freshness::FreshnessStatus::Fresh,
        };
        let series = vec![point(outcomes([99, 0, 0, 0], &[10; 99])), point(outcomes([1, 0, 0, 0], &[40]))];
        let totals = ReliabilityReport { series, freshness, as_of: None }.totals();
        assert_eq!((totals.invocations(), totals.latency.percentile(50.0)), (100, Some(10.0)));
        assert_eq!(totals.latency.percentile(100.0), Some(40.0));
    }
}
