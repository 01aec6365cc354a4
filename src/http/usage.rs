//! `GET /analytics/v1/orgs/{orgId}/usage`: invocations, tokens and spend by bucket.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadUsage},
    error::Problem,
    params::Params,
    report::{self, Completeness, REPORT, Range, ReportParams, known_models},
};
use crate::{
    actors::serving::{
        error::QueryError,
        query::{GetUsage, MAX_ROWS},
    },
    domain::{
        calendar::Granularity,
        money::{self, Cents},
        query::{Usage, UsagePoint, UsageQuery, UsageReport, filled},
    },
};

#[derive(Serialize, ToSchema)]
#[schema(as = UsageAnswer)]
struct Answer {
    #[serde(flatten)]
    facts: Facts,
    #[serde(flatten)]
    completeness: Completeness,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UsageFacts)]
#[serde(rename_all = "camelCase")]
struct Facts {
    org_id: Uuid,
    granularity: Granularity,
    timezone: &'static str,
    /// The one that was used: on bucket boundaries
    range: Range,
    /// Whether every bucket of the range is final: its end is longer ago than the late threshold, by asOf
    #[serde(rename = "final")]
    is_final: bool,
    series: Vec<Point>,
    /// The sum of the series
    totals: Amounts,
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

/// What `parse` reads beside them.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "for the API's description")]
struct UsageParams {
    /// none (default): a point for each bucket; model: one for each bucket and model
    #[param(inline)]
    group_by: Option<GroupBy>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the API's description")]
enum GroupBy {
    None,
    Model,
}

/// Report usage and spend by bucket
///
/// Ranges are half-open; start is floored and end ceiled to the bucket, and `range` says what was used. Totals are the
/// sum of the series. If-None-Match with the ETag of an earlier response is 304 while the facts are the same; Analytics-As-Of
/// says up to which moment that is so.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/usage",
    operation_id = "getUsage",
    tag = "usage",
    params(("orgId" = Uuid, Path, description = "Organisation"), ReportParams, UsageParams),
    responses(
        (
            status = 200,
            description = "The series, its totals, and how complete they are",
            body = Answer,
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
                "freshness": {
                    "lastEventAt": "2026-03-02T10:59:58.5Z", "lastRollupAt": "2026-03-02T11:00:00Z",
                    "lagSeconds": 0.412, "status": "fresh"
                },
                "asOf": "2026-03-02T11:00:00.088Z"
            })
        ),
        (status = 304, description = "The facts are those of the ETag that was given")
    )
)]
pub async fn get(
    org: Authorized<ReadUsage>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let query = parse(org.org_id, request.query_string())?;
    let mut report = api.queries.send(GetUsage(query.clone()), api.answer_within).await?;
    if query.fill {
        let found = report.series.iter().filter_map(|point| point.model_id);
        let known = if query.by_model { known_models(&api, org.org_id, &query.models, found).await? } else { vec![] };
        report.series = fill(&query, &known, report.series)?;
    }
    let completeness = Completeness { freshness: Some(report.freshness), as_of: report.as_of };
    report::answer(&request, &facts(&query, &report, &api), &completeness)
}

fn parse(org_id: Uuid, query: &str) -> Result<UsageQuery, Problem> {
    let mut params = Params::new(query, &[&REPORT[..], &["groupBy"]].concat());
    let by_model = params.choice("groupBy", [("none", false), ("model", true)]);
    let (models, fill) = (params.models(), report::fill(&mut params));
    let buckets = report::range(&mut params, Granularity::max_days);
    params.finish(buckets.map(|buckets| UsageQuery { org_id, buckets, models, by_model, fill }))
}

/// A point for every bucket; by model, for each that is there, or is asked for and known.
fn fill(query: &UsageQuery, known: &[Uuid], series: Vec<UsagePoint>) -> Result<Vec<UsagePoint>, Problem> {
    let keys: BTreeSet<Option<Uuid>> = if query.by_model {
        series.iter().map(|point| point.model_id).chain(known.iter().copied().map(Some)).collect()
    } else {
        BTreeSet::from([None])
    };
    let is_at = |point: &UsagePoint, start, key: &Option<Uuid>| point.bucket_start == start && point.model_id == *key;
    let empty = |bucket_start, key: &Option<Uuid>| UsagePoint { bucket_start, model_id: *key, usage: Usage::default() };
    filled(series, &query.buckets, &keys, MAX_ROWS, is_at, empty).ok_or_else(|| QueryError::TooLarge.into())
}

fn facts(query: &UsageQuery, report: &UsageReport, api: &Api) -> Facts {
    let buckets = &query.buckets;
    let point = |point: &UsagePoint| Point {
        bucket_start: point.bucket_start,
        model_id: point.model_id,
        amounts: point.usage.into(),
        is_final: report::is_final(buckets.end_of(point.bucket_start), report.as_of, api.late_after),
    };
    Facts {
        org_id: query.org_id,
        granularity: buckets.granularity,
        timezone: buckets.zone.name(),
        range: buckets.into(),
        is_final: report::is_final(buckets.end(), report.as_of, api.late_after),
        series: report.series.iter().map(point).collect(),
        totals: report.totals().into(),
    }
}
