//! `GET /analytics/v1/orgs/{orgId}/usage`: invocations, tokens and spend by bucket.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
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

#[derive(Serialize)]
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
    as_of: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct RangeAnswer {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    bucket_start: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<Uuid>,
    #[serde(flatten)]
    amounts: Amounts,
    #[serde(rename = "final")]
    is_final: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Amounts {
    invocations: u64,
    input_tokens: u64,
    output_tokens: u64,
    #[serde(serialize_with = "money::as_json_number")]
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
