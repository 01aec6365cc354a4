//! `GET /analytics/v1/orgs/{orgId}/usage`: invocations, tokens and spend by bucket.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema, openapi::path::Parameter};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadUsage},
    error::Problem,
    examples,
    names::Names,
    params::{
        Checked, Parameters, Params, RangeReport, ReportParams, choices,
        filters::{self, Filters},
    },
    report::{self, Completeness, Scope, known_models},
};
use crate::{
    actors::serving::{
        error::QueryError,
        query::{GetUsage, MAX_ROWS},
    },
    domain::{
        attribution::{Dimension, Filter},
        money::{self, Cents},
        query::{Usage, UsagePoint, UsageQuery, UsageReport, filled},
    },
};

/// What usage reads beside the parameters of every range report.
pub struct UsageParams {
    group_by: GroupBy,
    filters: Vec<Filter>,
}

/// As it is described.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "the field is the description")]
struct Grouping {
    /// none (default): a point for each bucket; model: one for each bucket and model
    #[param(inline, required = false)]
    group_by: GroupBy,
}

choices! {
    enum GroupBy { None = "none", Model = "model" }
}

impl Parameters for UsageParams {
    fn describe() -> Vec<Parameter> {
        [Grouping::into_params(|| None), Filters::describe()].concat()
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let group_by = params.choice("groupBy");
        Filters::parse(params).map(|Filters(filters)| Self { group_by, filters })
    }
}

impl ReportParams for UsageParams {}

#[derive(Serialize, ToSchema)]
#[schema(as = UsageReport)]
struct Report {
    #[serde(flatten)]
    scope: Scope,
    series: Vec<Point>,
    /// The sum of the series
    totals: Amounts,
    /// Only where there are filters: events of which a name that is filtered by was lost, so that it is not known whether they pass. No other
    /// number has them. Where it is nothing, the series has all that pass
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    overflow: Option<Amounts>,
    /// What people call the models of the series, where one has a name
    #[serde(skip_serializing_if = "Names::are_none")]
    names: Names,
    #[serde(flatten)]
    completeness: Completeness,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UsagePoint)]
#[serde(rename_all = "camelCase")]
struct Point {
    bucket_start: DateTime<Utc>,
    /// Where it is grouped by model
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    model_id: Option<Uuid>,
    #[serde(flatten)]
    amounts: Amounts,
    /// Whether its end is longer ago than the late threshold, by asOf
    #[serde(rename = "final")]
    is_final: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UsageAmounts)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    invocations: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// At most twelve decimals: read it as a decimal
    #[serde(serialize_with = "money::as_json_number")]
    #[schema(value_type = f64)]
    cost_estimate_cents: Cents,
}

impl From<Usage> for Amounts {
    fn from(usage: Usage) -> Self {
        Self {
            invocations: usage.invocations,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cost_estimate_cents: usage.cost,
        }
    }
}

/// Report usage and spend by bucket
///
/// Ranges are half-open; start is floored and end ceiled to the bucket, and `range` says what was used. Totals are the
/// sum of the series. Filters (clientId, actorId, status, errorCode, meta.…, unset) are served by a set of attribution that has all that is
/// filtered by, and modelId where that is requested; asOf is up to about a minute behind then. If-None-Match with the ETag of an earlier response is 304 while the facts are the same; Analytics-As-Of
/// says up to which moment that is so.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/usage",
    operation_id = "getUsage",
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
                    "bucketStart": "2026-03-01T00:00:00Z", "invocations": 2, "inputTokens": 30, "outputTokens": 40,
                    "costEstimateCents": 1.5, "final": true
                }],
                "totals": {"invocations": 2, "inputTokens": 30, "outputTokens": 40, "costEstimateCents": 1.5},
                "freshness": examples::freshness(),
                "asOf": "2026-03-02T11:00:00.088Z"
            })
        ),
        (status = 304, description = "The facts are those of the ETag that was given")
    )
)]
pub async fn get(
    org: Authorized<ReadUsage>,
    request: HttpRequest,
    Checked(params): Checked<RangeReport<UsageParams>>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let RangeReport { buckets, models, fill, own } = params;
    let by_model = own.group_by == GroupBy::Model;
    let query = UsageQuery { org_id: org.org_id, buckets, models, by_model, filters: own.filters, fill };
    let found = api.queries.send(GetUsage(query.clone()), api.response_timeout).await?;
    let filtered_by = || query.filters.first().map_or_else(String::new, filters::field);
    let mut found = found.map_err(|no_set| Problem::field(&filtered_by(), no_set.to_string()))?;
    if query.fill {
        let models = found.series.iter().filter_map(|point| point.model_id);
        let known = if by_model { known_models(&api, org.org_id, &query.models, models).await? } else { vec![] };
        found.series = filled_up(&query, &known, found.series)?;
    }
    let models = found.series.iter().filter_map(|point| point.model_id);
    let models = models.map(|model_id| (Dimension::Model.to_string(), model_id.to_string())).collect();
    let names = Names::of(&api, org.org_id, models).await?;
    let report = report(&query, &found, names, &api);
    report::respond(&request, &report, &report.completeness)
}

/// A point for every bucket; by model, for each that is there, or is requested and known.
fn filled_up(query: &UsageQuery, known: &[Uuid], series: Vec<UsagePoint>) -> Result<Vec<UsagePoint>, Problem> {
    let keys: BTreeSet<Option<Uuid>> = if query.by_model {
        series.iter().map(|point| point.model_id).chain(known.iter().copied().map(Some)).collect()
    } else {
        BTreeSet::from([None])
    };
    let is_at = |point: &UsagePoint, start, key: &Option<Uuid>| point.bucket_start == start && point.model_id == *key;
    let empty = |bucket_start, key: &Option<Uuid>| UsagePoint { bucket_start, model_id: *key, usage: Usage::default() };
    filled(series, &query.buckets, &keys, MAX_ROWS, is_at, empty).ok_or_else(|| QueryError::TooLarge.into())
}

fn report(query: &UsageQuery, found: &UsageReport, names: Names, api: &Api) -> Report {
    let buckets = &query.buckets;
    let point = |point: &UsagePoint| Point {
        bucket_start: point.bucket_start,
        model_id: point.model_id,
        amounts: point.usage.into(),
        is_final: report::is_final(buckets.end_of(point.bucket_start), found.as_of, api.late_after),
    };
    Report {
        scope: Scope::new(query.org_id, buckets, found.as_of, api.late_after),
        series: found.series.iter().map(point).collect(),
        totals: found.totals().into(),
        overflow: found.overflow.map(Amounts::from),
        names,
        completeness: Completeness { freshness: Some(found.freshness), as_of: found.as_of },
    }
}
