//! `GET /analytics/v1/orgs/{orgId}/usage`: invocations, tokens and spend by bucket.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadUsage},
    error::Problem,
    json,
    params::Params,
};
use crate::{
    actors::query::GetUsage,
    domain::{
        freshness::Freshness,
        money::{self, Cents},
        query::{Granularity, Range, Usage, UsageQuery, UsageReport},
    },
};

/// What `parse` reads.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "for the API's description")]
struct UsageParams {
    /// Inclusive
    #[param(example = "2026-03-01T00:00:00Z")]
    start: DateTime<Utc>,
    /// Exclusive; at most 90 days of hours, 400 of days, after start
    #[param(example = "2026-03-08T00:00:00Z")]
    end: DateTime<Utc>,
    /// Length of a bucket: day (default) or hour
    #[param(inline)]
    granularity: Option<Granularity>,
    /// Only these models; all without it
    #[param(max_items = 100)]
    model_id: Option<Vec<Uuid>>,
    /// none (default): a point for each bucket; model: one for each bucket and model
    #[param(inline)]
    group_by: Option<GroupBy>,
    /// Whose days
    #[param(example = "UTC")]
    timezone: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the API's description")]
enum GroupBy {
    None,
    Model,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
#[serde(rename_all = "camelCase")]
struct Answer {
    org_id: Uuid,
    granularity: Granularity,
    timezone: &'static str,
    /// The one that was used: on bucket boundaries.
    range: RangeAnswer,
    series: Vec<Point>,
    totals: Amounts,
    freshness: Freshness,
    /// The moment up to which the answer is complete
    as_of: Option<DateTime<Utc>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Range)]
struct RangeAnswer {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UsagePoint)]
#[serde(rename_all = "camelCase")]
struct Point {
    bucket_start: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
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
struct Amounts {
    invocations: u64,
    input_tokens: u64,
    output_tokens: u64,
    /// At most four decimals: read it as a decimal
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

/// Usage and spend by bucket
///
/// Ranges are half-open; start is floored and end ceiled to the bucket, and `range` says what was used. Totals are the
/// sum of the series.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/usage",
    operation_id = "getUsage",
    tag = "usage",
    params(
        ("orgId" = Uuid, Path, description = "Organisation"),
        UsageParams,
    ),
    responses((
        status = 200,
        description = "The series, its totals, and how complete they are",
        body = Answer,
        example = json!({
            "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
            "granularity": "day",
            "timezone": "UTC",
            "range": {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"},
            "series": [{
                "bucketStart": "2026-03-01T00:00:00Z", "invocations": 2, "inputTokens": 30, "outputTokens": 40,
                "costEstimateCents": 1.5, "final": true
            }],
            "totals": {"invocations": 2, "inputTokens": 30, "outputTokens": 40, "costEstimateCents": 1.5},
            "freshness": {
                "lastEventAt": "2026-03-02T10:59:58.5Z", "lastRollupAt": "2026-03-02T11:00:00Z", "lagSeconds": 0.412,
                "status": "fresh"
            },
            "asOf": "2026-03-02T11:00:00.088Z"
        })
    ))
)]
pub async fn get(
    org: Authorized<ReadUsage>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let query = parse(org.org_id, request.query_string())?;
    let report = api.queries.ask(GetUsage(query.clone()), api.answer_within).await?;
    Ok(json(&answer(&query, report, api.late_after)))
}

fn parse(org_id: Uuid, query: &str) -> Result<UsageQuery, Problem> {
    let mut params = Params::new(query, &["start", "end", "granularity", "modelId", "groupBy", "timezone"]);
    let granularity = params.choice("granularity", [("day", Granularity::Day), ("hour", Granularity::Hour)]);
    let by_model = params.choice("groupBy", [("none", false), ("model", true)]);
    params.choice("timezone", [("UTC", ())]);
    let models = params.models();
    let range = match (params.time("start"), params.time("end")) {
        (Some(start), Some(end)) => range(&mut params, start, end, granularity),
        _ => None,
    };
    params.finish(range.map(|range| UsageQuery { org_id, range, granularity, models, by_model }))
}

fn range(params: &mut Params, start: DateTime<Utc>, end: DateTime<Utc>, granularity: Granularity) -> Option<Range> {
    let longest = granularity.max_range();
    if end <= start {
        params.problem("end", "must be after start");
    } else if end - start > longest {
        params.problem("end", format!("must be at most {} days after start at this granularity", longest.num_days()));
    }
    Range::covering(start, end, granularity)
}

fn answer(query: &UsageQuery, report: UsageReport, late_after: TimeDelta) -> Answer {
    let bucket = query.granularity.length();
    let is_final = |start: DateTime<Utc>| report.as_of.is_some_and(|as_of| start + bucket + late_after <= as_of);
    Answer {
        org_id: query.org_id,
        granularity: query.granularity,
        timezone: "UTC",
        range: RangeAnswer { start: query.range.start, end: query.range.end },
        totals: report.totals().into(),
        series: report
            .series
            .iter()
            .map(|point| Point {
                bucket_start: point.bucket_start,
                model_id: point.model_id,
                amounts: point.usage.into(),
                is_final: is_final(point.bucket_start),
            })
            .collect(),
        freshness: report.freshness,
        as_of: report.as_of,
    }
}
