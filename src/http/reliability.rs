//! `GET /analytics/v1/orgs/{orgId}/reliability`: outcomes, error rates and latencies by bucket.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, Schema, path::Parameter},
};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadReliability},
    error::Problem,
    examples,
    names::Names,
    params::{Checked, Choice, Parameters, Params, RangeReport, ReportParams, choices, filters, words_schema},
    report::{self, Completeness, Scope, known_models},
};
use crate::{
    actors::serving::{
        error::QueryError,
        query::{GetReliability, MAX_ROWS},
    },
    domain::{
        attribution,
        calendar::Granularity,
        event::Status,
        histogram::{self, Histogram},
        names::NamePlace,
        query::filled,
        reliability::{
            Dimension, Key, Label as Labelled, Only, Outcomes, ReliabilityPoint, ReliabilityQuery, ReliabilityReport,
        },
    },
};

/// Days of the longest range of what only raw events know.
const MAX_RAW: u32 = 7;

/// What reliability reads beside the parameters of every range report.
pub struct ReliabilityParams {
    group_by: Dimension,
    percentile: Option<Percentile>,
    only: Option<Only>,
}

/// As they are described.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "the fields are the description")]
struct Described {
    /// A point for each bucket (none, the default), or for each bucket and model, client or error code. The last two read raw
    /// events: at most 7 days, and none from before raw events were purged
    #[param(inline, required = false)]
    group_by: Dimension,
    /// Adds `highlight`
    #[param(inline)]
    percentile: Option<Percentile>,
    /// Only events of these clients, with groupBy none or client; at most 7 days, as long as raw events are kept
    #[param(value_type = Option<Vec<String>>, max_items = 100)]
    client_id: Vec<String>,
    /// Only events with these codes, with groupBy none or errorCode, and not together with clientId; the same range
    #[param(value_type = Option<Vec<String>>, max_items = 100)]
    error_code: Vec<String>,
    /// Only events without this field, clientId or errorCode; with values of the same field: with one of them, or without
    #[param(value_type = Option<Vec<String>>, example = json!(["clientId"]))]
    unset: Vec<String>,
}

impl Choice for Dimension {
    fn words() -> Vec<(&'static str, Self)> {
        vec![("none", Self::None), ("model", Self::Model), ("client", Self::Client), ("errorCode", Self::ErrorCode)]
    }
}

impl PartialSchema for Dimension {
    fn schema() -> RefOr<Schema> {
        words_schema::<Self>()
    }
}

impl Parameters for ReliabilityParams {
    fn describe() -> Vec<Parameter> {
        Described::into_params(|| None)
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let group_by = params.choice("groupBy");
        let percentile = params.choice_if_given("percentile");
        Some(Self { group_by, percentile, only: only(params, group_by) })
    }
}

impl ReportParams for ReliabilityParams {
    fn longest(&self, granularity: Granularity) -> u32 {
        let is_raw = self.group_by.label().is_some() || self.only.is_some();
        if is_raw { MAX_RAW } else { granularity.max_days() }
    }
}

/// The label that is filtered by: one, by which alone may be grouped too.
fn only(params: &mut Params, group_by: Dimension) -> Option<Only> {
    const LABELS: [(&str, attribution::Dimension, Labelled); 2] = [
        ("clientId", attribution::Dimension::Client, Labelled::Client),
        ("errorCode", attribution::Dimension::ErrorCode, Labelled::ErrorCode),
    ];
    let found = filters::of(params, &LABELS.map(|(_, dimension, _)| dimension));
    let mut only = None;
    for filter in found {
        let Some((name, _, label)) = LABELS.into_iter().find(|(_, dimension, _)| *dimension == filter.dimension) else {
            params.problem("unset", "must be clientId or errorCode");
            continue;
        };
        if only.is_some() {
            params.problem(name, "must not be filtered by together with clientId");
        }
        only = Some(Only { label, values: filter.values, unset: filter.unset });
        if group_by != Dimension::None && group_by.label() != Some(label) {
            params.problem("groupBy", "must be none, or what is filtered by, where that is clientId or errorCode");
        }
    }
    only
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReliabilityReport)]
struct Report {
    #[serde(flatten)]
    scope: Scope,
    series: Vec<Point>,
    /// Of all invocations of the series: percentiles too
    totals: Figures,
    /// What people call the models or clients of the series, where one has a name
    #[serde(skip_serializing_if = "Names::are_none")]
    names: Names,
    /// Where a percentile is requested
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    highlight: Option<Highlight>,
    #[serde(flatten)]
    completeness: Completeness,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReliabilityPoint)]
#[serde(rename_all = "camelCase")]
struct Point {
    bucket_start: DateTime<Utc>,
    #[serde(flatten)]
    label: Label,
    #[serde(flatten)]
    figures: Figures,
    /// Whether its end is longer ago than the late threshold, by asOf
    #[serde(rename = "final")]
    is_final: bool,
}

/// What points are grouped by.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = ReliabilityLabel)]
#[serde(rename_all = "camelCase")]
struct Label {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    model_id: Option<Uuid>,
    /// null: events that name no client
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    client_id: Option<Option<String>>,
    /// null: events without an error code
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    error_code: Option<Option<String>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReliabilityFigures)]
#[serde(rename_all = "camelCase")]
struct Figures {
    invocations: u64,
    /// All but success
    errors: u64,
    /// From 0 to 1; null where there are no invocations
    error_rate: Option<f64>,
    by_status: ByStatus,
    latency_ms: Latencies,
}

#[derive(Serialize, ToSchema)]
struct ByStatus {
    success: u64,
    error: u64,
    timeout: u64,
    throttled: u64,
}

/// Nearest-rank percentiles, within 2.5 %; null where there are no invocations
#[derive(Serialize, ToSchema)]
struct Latencies {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Highlight {
    percentile: Percentile,
    /// Of all invocations of the range
    latency_ms: Option<f64>,
    /// The point where it is highest; null where there are no invocations
    worst: Option<Worst>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Worst {
    bucket_start: DateTime<Utc>,
    #[serde(flatten)]
    label: Label,
    latency_ms: f64,
}

choices! {
    enum Percentile { P50 = "p50", P95 = "p95", P99 = "p99" }
}

impl Percentile {
    fn of(self, latency: &Histogram) -> Option<f64> {
        let percent = match self {
            Self::P50 => 50.0,
            Self::P95 => 95.0,
            Self::P99 => 99.0,
        };
        latency.percentile(percent).map(histogram::shown)
    }
}

impl From<&Outcomes> for Figures {
    fn from(outcomes: &Outcomes) -> Self {
        let of = |percentile: Percentile| percentile.of(&outcomes.latency);
        Self {
            invocations: outcomes.invocations(),
            errors: outcomes.errors(),
            error_rate: outcomes.error_rate(),
            by_status: ByStatus {
                success: outcomes.of(Status::Success),
                error: outcomes.of(Status::Error),
                timeout: outcomes.of(Status::Timeout),
                throttled: outcomes.of(Status::Throttled),
            },
            latency_ms: Latencies { p50: of(Percentile::P50), p95: of(Percentile::P95), p99: of(Percentile::P99) },
        }
    }
}

impl From<&Key> for Label {
    fn from(key: &Key) -> Self {
        let none = Self { model_id: None, client_id: None, error_code: None };
        match key {
            Key::None => none,
            Key::Model(model_id) => Self { model_id: Some(*model_id), ..none },
            Key::Client(client_id) => Self { client_id: Some(client_id.clone()), ..none },
            Key::ErrorCode(error_code) => Self { error_code: Some(error_code.clone()), ..none },
        }
    }
}

/// Report outcomes, error rates and latencies by bucket
///
/// Ranges, totals, ETag and Analytics-As-Of as with usage. Percentiles come from mergeable histograms: those of totals are
/// those of all invocations, never a mean of percentiles.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/reliability",
    operation_id = "getReliability",
    tag = "usage",
    responses(
        (
            status = 200,
            description = "The series, its totals, and how complete they are",
            body = Report,
            example = json!({
                "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
                "granularity": "day",
                "timezone": "UTC",
                "range": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"},
                "final": true,
                "series": [{
                    "bucketStart": "2026-03-01T00:00:00Z", "invocations": 4, "errors": 1, "errorRate": 0.25,
                    "byStatus": {"success": 3, "error": 0, "timeout": 1, "throttled": 0},
                    "latencyMs": {"p50": 210.93, "p95": 3012.5, "p99": 3012.5}, "final": true
                }],
                "totals": {
                    "invocations": 4, "errors": 1, "errorRate": 0.25,
                    "byStatus": {"success": 3, "error": 0, "timeout": 1, "throttled": 0},
                    "latencyMs": {"p50": 210.93, "p95": 3012.5, "p99": 3012.5}
                },
                "freshness": examples::freshness(),
                "asOf": "2026-03-02T11:00:00.088Z"
            })
        ),
        (status = 304, description = "The facts are those of the ETag that was given")
    )
)]
pub async fn get(
    org: Authorized<ReadReliability>,
    request: HttpRequest,
    Checked(params): Checked<RangeReport<ReliabilityParams>>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let RangeReport { buckets, models, fill, own } = params;
    let query = ReliabilityQuery { org_id: org.org_id, buckets, models, by: own.group_by, only: own.only, fill };
    let mut found = api.queries.send(GetReliability(query.clone()), api.response_timeout).await?;
    if query.fill {
        let models = found.series.iter().filter_map(|point| match point.key {
            Key::Model(model_id) => Some(model_id),
            Key::None | Key::Client(_) | Key::ErrorCode(_) => None,
        });
        let by_model = query.by == Dimension::Model;
        let known = if by_model { known_models(&api, org.org_id, &query.models, models).await? } else { vec![] };
        found.series = filled_up(&query, &known, found.series)?;
    }
    let ids = found.series.iter().filter_map(|point| named_id(&point.key)).collect();
    let names = Names::of(&api, org.org_id, ids).await?;
    let report = report(&query, own.percentile, &found, names, &api);
    report::respond(&request, &report, &report.completeness)
}

/// A point for every bucket; grouped, for each key that is there, and each model that is requested and known.
fn filled_up(
    query: &ReliabilityQuery,
    known: &[Uuid],
    series: Vec<ReliabilityPoint>,
) -> Result<Vec<ReliabilityPoint>, Problem> {
    let mut keys: BTreeSet<Key> = series.iter().map(|point| point.key.clone()).collect();
    match query.by {
        Dimension::None => drop(keys.insert(Key::None)),
        Dimension::Model => keys.extend(known.iter().copied().map(Key::Model)),
        Dimension::Client | Dimension::ErrorCode => {}
    }
    let is_at = |point: &ReliabilityPoint, start, key: &Key| point.bucket_start == start && point.key == *key;
    let empty =
        |bucket_start, key: &Key| ReliabilityPoint { bucket_start, key: key.clone(), outcomes: Outcomes::default() };
    filled(series, &query.buckets, &keys, MAX_ROWS, is_at, empty).ok_or_else(|| QueryError::TooLarge.into())
}

/// What may have a name.
fn named_id(key: &Key) -> Option<NamePlace> {
    match key {
        Key::Model(model_id) => Some((attribution::Dimension::Model.to_string(), model_id.to_string())),
        Key::Client(client_id) => Some((attribution::Dimension::Client.to_string(), client_id.clone()?)),
        Key::None | Key::ErrorCode(_) => None,
    }
}

fn report(
    query: &ReliabilityQuery,
    percentile: Option<Percentile>,
    found: &ReliabilityReport,
    names: Names,
    api: &Api,
) -> Report {
    let buckets = &query.buckets;
    let totals = found.totals();
    let point = |point: &ReliabilityPoint| Point {
        bucket_start: point.bucket_start,
        label: (&point.key).into(),
        figures: (&point.outcomes).into(),
        is_final: report::is_final(buckets.end_of(point.bucket_start), found.as_of, api.late_after),
    };
    Report {
        scope: Scope::new(query.org_id, buckets, found.as_of, api.late_after),
        series: found.series.iter().map(point).collect(),
        highlight: percentile.map(|percentile| highlight(percentile, found, &totals)),
        totals: (&totals).into(),
        names,
        completeness: Completeness { freshness: Some(found.freshness), as_of: found.as_of },
    }
}

fn highlight(percentile: Percentile, report: &ReliabilityReport, totals: &Outcomes) -> Highlight {
    let worst = report.series.iter().filter_map(|point| {
        let latency_ms = percentile.of(&point.outcomes.latency)?;
        Some(Worst { bucket_start: point.bucket_start, label: (&point.key).into(), latency_ms })
    });
    Highlight {
        percentile,
        latency_ms: percentile.of(&totals.latency),
        worst: worst.max_by(|a, b| a.latency_ms.total_cmp(&b.latency_ms)),
    }
}
