//! What attribution reads of a request: the range, what is grouped and filtered by, and which page of the groups.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use utoipa::{IntoParams, openapi::path::Parameter};
use uuid::Uuid;

use crate::{
    domain::{
        attribution::{Dimension, Filter, OrderBy, Place, Ranking, Value},
        calendar::{self, Buckets},
    },
    http::params::{
        Parameters, Params, ZonedRange, choices, cursor,
        filters::{self, Filters, dimensions},
    },
};

/// Dimensions that are grouped by at most.
const MAX_GROUP_BY: usize = 3;
/// Most groups of a page, and how many they are where nothing is said.
const MOST: u16 = 1000;
const DEFAULT: u16 = 25;

choices! {
    pub enum AttributionGranularity { None = "none", Month = "month", Day = "day", Hour = "hour" }
}

impl From<AttributionGranularity> for calendar::Granularity {
    fn from(granularity: AttributionGranularity) -> Self {
        match granularity {
            AttributionGranularity::None => Self::None,
            AttributionGranularity::Month => Self::Month,
            AttributionGranularity::Day => Self::Day,
            AttributionGranularity::Hour => Self::Hour,
        }
    }
}

/// As they are described; what is read of them is [`AttributionRequest`].
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "the fields are the description")]
struct AttributionParams {
    /// Inclusive; floored to the bucket. A time (RFC 3339), or a date: the beginning of that day in `timezone`
    #[param(value_type = String, example = "2026-03-01")]
    start: DateTime<Utc>,
    /// Exclusive; ceiled to the bucket; now without it. A time, or a date: the beginning of that day. At most 90 days of
    /// hours, else 400, after start, counted as days of `timezone`
    #[param(value_type = Option<String>, example = "2026-03-08T00:00:00Z")]
    end: Option<DateTime<Utc>>,
    /// Whose days and months: an IANA time zone, UTC without it
    #[param(value_type = Option<String>, example = "Europe/Berlin")]
    timezone: Tz,
    /// none (default): totals alone, of hours and whole days; month, day or hour: each group has a series of such buckets too
    #[param(inline, required = false)]
    granularity: AttributionGranularity,
    /// modelId, clientId, actorId, status, errorCode, or meta. and a field of the metadata: a group for each combination of values
    #[param(value_type = Vec<String>, min_items = 1, max_items = 3, example = json!(["clientId"]))]
    group_by: Vec<Dimension>,
    /// Only events of these models
    #[param(value_type = Option<Vec<Uuid>>, max_items = 100)]
    model_id: Vec<Uuid>,
    /// What groups are ordered by, largest first; equal ones by their keys
    #[param(inline, required = false)]
    order_by: OrderBy,
    /// Groups of a page
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 25)]
    top: u16,
    /// nextCursor of the page before, of the same request
    #[param(value_type = Option<String>)]
    cursor: Option<String>,
}

/// What is requested.
pub struct AttributionRequest {
    pub buckets: Buckets,
    pub granularity: AttributionGranularity,
    pub group_by: Vec<Dimension>,
    pub filters: Vec<Filter>,
    pub ranking: Ranking,
    /// What cursors of this request begin with.
    pub fingerprint: String,
}

impl Parameters for AttributionRequest {
    fn describe() -> Vec<Parameter> {
        [AttributionParams::into_params(|| None), Filters::describe()].concat()
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let granularity: AttributionGranularity = params.choice("granularity");
        let range = ZonedRange::read(params);
        let group_by = group_by(params);
        let filters = filters::of(params, &Dimension::FIELDS);
        let (order_by, top) = (params.choice("orderBy"), params.number("top", MOST, DEFAULT));
        let fingerprint = params.fingerprint(&["cursor", "top"]);
        let width = group_by.len();
        let behind = cursor::read(params, |parts| place(parts, &fingerprint, width));
        let of_buckets = calendar::Granularity::from(granularity);
        let buckets = range?.buckets(params, of_buckets, of_buckets.max_days())?;
        let ranking = Ranking { order_by, top, behind };
        Some(Self { buckets, granularity, group_by, filters, ranking, fingerprint })
    }
}

/// A cursor's text: the request that it belongs to, the amount, and the key.
pub fn next_cursor(fingerprint: &str, place: &Place) -> String {
    let amount = place.amount.to_string();
    let values: Vec<String> = place.key.iter().map(|value| value.name().map_or_else(String::new, marked)).collect();
    let texts: Vec<&str> = [fingerprint, &amount].into_iter().chain(values.iter().map(String::as_str)).collect();
    cursor::encode(&texts)
}

/// Different from a value that is missing, also where it is empty.
fn marked(name: &str) -> String {
    format!("={name}")
}

fn place(parts: Vec<String>, fingerprint: &str, width: usize) -> Option<Place> {
    let mut parts = parts.into_iter();
    if parts.next()? != fingerprint {
        return None;
    }
    let amount = parts.next()?.parse().ok()?;
    let value = |part: String| match part.strip_prefix('=') {
        Some(name) => Some(Value::Named(name.into())),
        None => part.is_empty().then_some(Value::Missing),
    };
    let key = parts.map(value).collect::<Option<Vec<_>>>()?;
    (key.len() == width).then_some(Place { amount, key })
}

fn group_by(params: &mut Params) -> Vec<Dimension> {
    let group_by = dimensions(params, "groupBy");
    let different: BTreeSet<&Dimension> = group_by.iter().collect();
    if params.texts("groupBy").is_empty() {
        params.problem("groupBy", "is required: modelId, clientId, actorId, status, errorCode or meta.<key>");
    } else if group_by.len() > MAX_GROUP_BY || different.len() < group_by.len() {
        params.problem("groupBy", format!("must be given at most {MAX_GROUP_BY} times, each time another"));
    }
    group_by
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_belongs_to_its_request() {
        let key = vec![Value::Named("a\"🙂".into()), Value::Missing, Value::Named("".into())];
        let at = Place { amount: -(10_i128.pow(30)), key };
        let texts = |fingerprint: &str| {
            let amount = at.amount.to_string();
            [fingerprint, &amount, "=a\"🙂", "", "="].map(str::to_owned).to_vec()
        };
        assert_eq!(place(texts("x"), "x", 3), Some(at.clone()));
        assert_eq!(next_cursor("x", &at), cursor::encode(&texts("x").iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(place(texts("y"), "x", 3), None);
        assert_eq!(place(texts("x"), "x", 2), None);
        assert_eq!(place(vec!["x".to_owned(), "1".to_owned(), "b".to_owned()], "x", 1), None);
    }
}
