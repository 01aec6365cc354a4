//! What can be read from the rollups, and what comes back.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{
    attribution::{Dimension, Filter, Measures},
    calendar::Buckets,
    freshness::Freshness,
    money::Cents,
};

#[derive(Clone, Debug)]
pub struct UsageQuery {
    pub org_id: Uuid,
    pub buckets: Buckets,
    /// Empty: all.
    pub models: Vec<Uuid>,
    pub by_model: bool,
    /// Only events that pass all of them; attribution has their sums. Each dimension once.
    pub filters: Vec<Filter>,
    /// Whether there is a point for every bucket, also where nothing happened.
    pub fill: bool,
}

impl UsageQuery {
    /// The filters, with that of the models.
    pub fn all_filters(&self) -> Vec<Filter> {
        let mut filters = self.filters.clone();
        if self.models.is_empty() {
            return filters;
        }
        let models = self.models.iter().map(ToString::to_string);
        match filters.iter_mut().find(|filter| filter.dimension == Dimension::Model) {
            Some(filter) => filter.values.extend(models),
            None => {
                filters.push(Filter { dimension: Dimension::Model, values: models.collect(), unset: false });
            }
        }
        filters
    }
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
    /// Of events that may pass the filters or not, since a name that is filtered by is lost. They are not in the series. None without filters.
    pub overflow: Option<Usage>,
    pub freshness: Freshness,
    /// The moment up to which the response is complete; none before the first event of the org's partition.
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

impl From<Measures> for Usage {
    fn from(of: Measures) -> Self {
        let Measures { invocations, errors: _, input_tokens, output_tokens, cost } = of;
        Self { invocations, input_tokens, output_tokens, cost }
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
    use chrono::TimeDelta;
    use chrono_tz::Tz;

    use super::*;
    use crate::domain::calendar::Granularity;

    #[test]
    fn a_filled_series_has_every_bucket_and_key() {
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
