//! The response: a page of groups, and where everything else is.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::params::{AttributionGranularity, next_cursor};
use crate::{
    domain::{
        attribution::{AttributionQuery, AttributionReport, Dimension, Group as Ranked, Measures, Value},
        calendar::Buckets,
        money::{self, Cents},
    },
    http::{
        names::Names,
        report::{Completeness, Range, is_final},
    },
};

#[derive(Serialize, ToSchema)]
#[schema(as = AttributionReport)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    org_id: Uuid,
    /// The one that was used: on bucket boundaries
    range: Range,
    timezone: &'static str,
    #[schema(inline)]
    granularity: AttributionGranularity,
    group_by: Vec<String>,
    /// Whether the range is final: its end is longer ago than the late threshold, by asOf
    #[serde(rename = "final")]
    is_final: bool,
    /// A page, largest first
    groups: Vec<Group>,
    other: Other,
    unattributed: Part,
    overflow: Part,
    /// Of all events of the range that pass the filters, whatever page this is
    totals: Totals,
    /// Whether no group can be larger than it says: nothing is in overflow
    ranking_exact: bool,
    /// Only where there are more groups
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    #[serde(flatten)]
    completeness: Completeness,
}

/// The events of one combination of values
#[derive(Serialize, ToSchema)]
#[schema(as = AttributionGroup)]
struct Group {
    /// The value of each dimension that is grouped by; null: these events do not have the field
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    key: BTreeMap<String, Option<String>>,
    /// What people call these values, of those that have a name
    names: BTreeMap<String, String>,
    /// Among all groups, from 1
    rank: u64,
    totals: Totals,
    /// Where a granularity is requested: buckets in which there was something
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    series: Option<Vec<Point>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AttributionPoint)]
#[serde(rename_all = "camelCase")]
struct Point {
    bucket_start: DateTime<Utc>,
    #[serde(flatten)]
    totals: Totals,
    /// Whether its end is longer ago than the late threshold, by asOf
    #[serde(rename = "final")]
    is_final: bool,
}

/// Groups beyond this page and the pages before it
#[derive(Serialize, ToSchema)]
#[schema(as = AttributionOther)]
struct Other {
    /// How many they are
    groups: u64,
    totals: Totals,
}

/// Events that are in no group. Unattributed: they have none of the fields that are grouped by. Overflow: a name that is grouped or
/// filtered by was lost beyond the cap; where it is filtered by, not all of them need pass the filter
#[derive(Serialize, ToSchema)]
#[schema(as = AttributionPart)]
struct Part {
    totals: Totals,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AttributionTotals)]
#[serde(rename_all = "camelCase")]
struct Totals {
    invocations: u64,
    /// Those that did not end in success
    errors: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// At most twelve decimals: read it as a decimal
    #[serde(serialize_with = "money::as_json_number")]
    #[schema(value_type = f64)]
    cost_estimate_cents: Cents,
}

impl From<Measures> for Totals {
    fn from(of: Measures) -> Self {
        Self {
            invocations: of.invocations,
            errors: of.errors,
            input_tokens: of.input_tokens,
            output_tokens: of.output_tokens,
            cost_estimate_cents: of.cost,
        }
    }
}

/// What the points of all series have in common.
struct Series<'r> {
    buckets: &'r Buckets,
    as_of: Option<DateTime<Utc>>,
    late_after: TimeDelta,
}

impl Series<'_> {
    fn point(&self, (bucket, measures): &(usize, Measures)) -> Option<Point> {
        let bucket_start = *self.buckets.starts().get(*bucket)?;
        let is_final = is_final(self.buckets.end_of(bucket_start), self.as_of, self.late_after);
        Some(Point { bucket_start, totals: (*measures).into(), is_final })
    }
}

impl Report {
    pub fn new(
        query: &AttributionQuery,
        granularity: AttributionGranularity,
        found: &AttributionReport,
        names: &Names,
        fingerprint: &str,
        late_after: TimeDelta,
    ) -> Self {
        let AttributionQuery { org_id, buckets, group_by, .. } = query;
        let (ranked, as_of) = (&found.ranked, found.as_of);
        let series = Series { buckets, as_of, late_after };
        let with_series = granularity != AttributionGranularity::None;
        let group = |(n, group): (usize, &Ranked)| {
            let points = found.series.get(n).map(Vec::as_slice).unwrap_or_default();
            let points = || points.iter().filter_map(|point| series.point(point)).collect();
            Group { series: with_series.then(points), ..Group::new(group_by, group, names) }
        };
        Self {
            org_id: *org_id,
            range: buckets.into(),
            timezone: buckets.zone.name(),
            granularity,
            group_by: group_by.iter().map(Dimension::to_string).collect(),
            is_final: is_final(buckets.end(), as_of, late_after),
            groups: ranked.groups.iter().enumerate().map(group).collect(),
            other: Other { groups: count(ranked.other_groups), totals: ranked.other.into() },
            unattributed: Part { totals: ranked.unattributed.into() },
            overflow: Part { totals: ranked.overflow.into() },
            totals: ranked.totals.into(),
            ranking_exact: ranked.is_exact(),
            next_cursor: ranked.next.as_ref().map(|place| next_cursor(fingerprint, place)),
            completeness: Completeness { freshness: Some(found.freshness), as_of },
        }
    }

    pub const fn completeness(&self) -> &Completeness {
        &self.completeness
    }
}

impl Group {
    fn new(group_by: &[Dimension], group: &Ranked, names: &Names) -> Self {
        let texts = || group_by.iter().map(Dimension::to_string).zip(&group.key);
        let key = texts().map(|(dimension, value)| (dimension, value.name().map(str::to_owned))).collect();
        let name_of = |(dimension, value): (String, &Value)| {
            let name = names.get(&dimension, value.name()?)?.to_owned();
            Some((dimension, name))
        };
        let names = texts().filter_map(name_of).collect();
        Self { key, names, rank: count(group.rank), totals: group.measures.into(), series: None }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
