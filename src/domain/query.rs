//! What can be asked of the rollups, and what comes back.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{calendar::Buckets, freshness::Freshness, money::Cents};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    Hour,
    #[default]
    Day,
}

impl Granularity {
    /// Longest range that may be asked for at once.
    pub fn max_range(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::days(90),
            Self::Day => TimeDelta::days(400),
        }
    }
}

#[derive(Clone, Debug)]
pub struct UsageQuery {
    pub org_id: Uuid,
    pub buckets: Buckets,
    /// Empty: all.
    pub models: Vec<Uuid>,
    pub by_model: bool,
    /// Whether there is a point for every bucket, also where nothing happened.
    pub fill: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub invocations: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: Cents,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsagePoint {
    pub bucket_start: DateTime<Utc>,
    /// Only when grouped by model.
    pub model_id: Option<Uuid>,
    pub usage: Usage,
}

/// Everything read in one snapshot. Points are in order of (bucket, model).
#[derive(Clone, Debug)]
pub struct UsageReport {
    pub series: Vec<UsagePoint>,
    pub freshness: Freshness,
    /// The moment up to which the answer is complete; none before the first event of the org's partition.
    pub as_of: Option<DateTime<Utc>>,
}

impl UsageReport {
    /// The sum of the series, always.
    pub fn totals(&self) -> Usage {
        self.series.iter().fold(Usage::default(), |mut sum, point| {
            sum.invocations += point.usage.invocations;
            sum.input_tokens += point.usage.input_tokens;
            sum.output_tokens += point.usage.output_tokens;
            sum.cost += point.usage.cost;
            sum
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelFreshness {
    pub model_id: Uuid,
    #[serde(flatten)]
    pub freshness: Freshness,
}

/// Freshness of an org: its own, and that of each of its models in order.
#[derive(Clone, Debug)]
pub struct FreshnessReport {
    pub org: Freshness,
    pub models: Vec<ModelFreshness>,
}

/// A question would read raw events that were taken away: its answer would have too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawGone {
    /// The first start that the question has an answer for.
    pub start: DateTime<Utc>,
    /// Whether raw events are read only since buckets begin within an hour of UTC.
    pub split_hours: bool,
}

impl RawGone {
    /// Whether that is so of a question that reads raw events of the whole range of its buckets (`whole`), or only those of
    /// hours that a boundary lies within. `raw_from`: from when on there are raw events; none where all are.
    pub fn of(buckets: &Buckets, whole: bool, raw_from: Option<DateTime<Utc>>) -> Option<Self> {
        let raw_from = raw_from?;
        let read_from = if whole { buckets.start() } else { buckets.split_hours().iter().map(|part| part.0).min()? };
        let start = || buckets.first_start_from(raw_from).unwrap_or(raw_from);
        (read_from < raw_from).then(|| Self { start: start(), split_hours: !whole })
    }
}

/// Fills a series up: a point for every bucket and each of the keys, in their order. `None` where that makes more than
/// `most` points.
pub fn filled<K: Ord, P>(
    series: Vec<P>,
    buckets: &Buckets,
    keys: &BTreeSet<K>,
    most: usize,
    is_at: impl Fn(&P, DateTime<Utc>, &K) -> bool,
    empty: impl Fn(DateTime<Utc>, &K) -> P,
) -> Option<Vec<P>> {
    let points = buckets.starts().len().checked_mul(keys.len()).filter(|points| *points <= most)?;
    let mut found = series.into_iter().peekable();
    let mut all = Vec::with_capacity(points);
    for start in buckets.starts() {
        for key in keys {
            let point = found.next_if(|point| is_at(point, *start, key));
            all.push(point.unwrap_or_else(|| empty(*start, key)));
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn only_what_reads_raw_events_from_before_they_were_taken_away_is_gone() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let of = |granularity, zone, whole, raw_from: Option<&str>| {
            let (start, end) = (at("2026-03-01T00:00:00Z"), at("2026-03-05T00:00:00Z"));
            let buckets = Buckets::covering(start, end, granularity, zone).unwrap();
            RawGone::of(&buckets, whole, raw_from.map(at)).map(|gone| (gone.start, gone.split_hours))
        };
        let (day, hour) = (Granularity::Day, Granularity::Hour);
        let gone = |start, split_hours| Some((at(start), split_hours));
        for (granularity, zone, whole, raw_from, expected) in [
            (day, Tz::UTC, true, None, None),
            (day, Tz::UTC, true, Some("2026-03-01T00:00:00Z"), None),
            (day, Tz::UTC, true, Some("2026-03-02T00:00:00Z"), gone("2026-03-02T00:00:00Z", false)),
            (hour, Tz::UTC, true, Some("2026-03-02T10:20:00Z"), gone("2026-03-02T11:00:00Z", false)),
            (day, Tz::Europe__Berlin, true, Some("2026-03-02T00:00:00Z"), gone("2026-03-02T23:00:00Z", false)),
            // Of rollups alone.
            (day, Tz::UTC, false, Some("2026-03-02T00:00:00Z"), None),
            (day, Tz::Europe__Berlin, false, Some("2026-03-02T00:00:00Z"), None),
            (hour, Tz::Asia__Kolkata, false, Some("2026-03-02T00:00:00Z"), None),
            // The first day of the range begins at 18:30 the day before.
            (day, Tz::Asia__Kolkata, false, Some("2026-02-28T18:30:00Z"), None),
            (day, Tz::Asia__Kolkata, false, Some("2026-02-28T18:30:00.000001Z"), gone("2026-03-01T18:30:00Z", true)),
            (day, Tz::Asia__Kolkata, false, Some("2026-04-01T00:00:00Z"), gone("2026-04-01T18:30:00Z", true)),
        ] {
            assert_eq!(of(granularity, zone, whole, raw_from), expected, "{granularity:?} {zone} {whole} {raw_from:?}");
        }
    }

    #[test]
    fn a_filled_series_has_every_bucket_and_key_in_order_and_keeps_what_was_there() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (start, end) = (at("2026-03-01T00:00:00Z"), at("2026-03-01T03:00:00Z"));
        let buckets = Buckets::covering(start, end, Granularity::Hour, Tz::UTC).unwrap();
        let series = vec![(start, 2, 7), (start + TimeDelta::hours(2), 1, 8)];
        let fill = |most| {
            let keys = BTreeSet::from([1, 2]);
            let is_at = |point: &(_, _, _), start, key: &u32| (point.0, point.1) == (start, *key);
            filled(series.clone(), &buckets, &keys, most, is_at, |start, key| (start, *key, 0))
        };
        let values: Vec<(u32, i32)> = fill(6).unwrap().iter().map(|point| (point.1, point.2)).collect();
        assert_eq!(values, [(1, 0), (2, 7), (1, 0), (2, 0), (1, 8), (2, 0)]);
        assert_eq!(fill(5), None);
    }
}
