//! `GET /analytics/v1/summary`: every org's totals, for system administrators.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{AuthorizedAnywhere, ReadSummary},
    cursor,
    error::Problem,
    params::Params,
    report::{self, Completeness, Range},
    usage::Amounts,
};
use crate::{
    actors::serving::query::GetSummary,
    domain::{
        calendar::Granularity,
        summary::{OrgUsage, SummaryQuery},
    },
};

/// Days of the longest range.
const LONGEST: u32 = 31;
const DEFAULT_LIMIT: u16 = 100;
const MAX_LIMIT: u16 = 1000;

#[derive(Serialize, ToSchema)]
#[schema(as = SummaryAnswer)]
struct Answer {
    #[serde(flatten)]
    facts: Facts,
    #[serde(flatten)]
    completeness: Completeness,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SummaryFacts)]
#[serde(rename_all = "camelCase")]
struct Facts {
    /// The one that was used: on days of UTC
    range: Range,
    /// A page, in the order of their ids
    orgs: Vec<Org>,
    /// Organisations that used anything, on this page or not
    org_count: u64,
    /// Of all of them
    totals: Amounts,
    /// Only where there are more
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SummaryOrg)]
#[serde(rename_all = "camelCase")]
struct Org {
    org_id: Uuid,
    #[serde(flatten)]
    amounts: Amounts,
}

/// What `parse` reads.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "for the API's description")]
struct SummaryParams {
    /// Inclusive; floored to the day of UTC. A time (RFC 3339), or a date
    #[param(example = "2026-03-01")]
    start: String,
    /// Exclusive; ceiled to the day of UTC; now without it. At most 31 days after start
    #[param(example = "2026-04-01T00:00:00Z")]
    end: Option<String>,
    /// Organisations of a page, 100 without it
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// nextCursor of the page before
    cursor: Option<String>,
}

/// Report the totals of every organisation
#[utoipa::path(
    get,
    path = "/analytics/v1/summary",
    operation_id = "getSummary",
    tag = "administration",
    params(SummaryParams),
    responses(
        (
            status = 200,
            description = "A page of organisations, and the sum over all; asOf is that of the partition that is farthest behind",
            body = Answer,
            example = json!({
                "range": {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"},
                "orgs": [{
                    "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10", "invocations": 2, "inputTokens": 30,
                    "outputTokens": 40, "costEstimateCents": 1.5
                }],
                "orgCount": 1,
                "totals": {"invocations": 2, "inputTokens": 30, "outputTokens": 40, "costEstimateCents": 1.5},
                "asOf": "2026-03-02T11:00:00.088Z"
            })
        ),
        (status = 304, description = "The facts are those of the ETag that was given")
    )
)]
pub async fn get(
    _reader: AuthorizedAnywhere<ReadSummary>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let query = parse(request.query_string())?;
    let summary = api.queries.send(GetSummary(query.clone()), api.answer_within).await?;
    let org = |OrgUsage { org_id, usage }: &OrgUsage| Org { org_id: *org_id, amounts: (*usage).into() };
    let next = summary.orgs.last().filter(|_| summary.more);
    let facts = Facts {
        range: (&query.days).into(),
        orgs: summary.orgs.iter().map(org).collect(),
        org_count: summary.orgs_in_all,
        totals: summary.totals.into(),
        next_cursor: next.map(|last| cursor::of(last.org_id)),
    };
    report::answer(&request, &facts, &Completeness { freshness: None, as_of: summary.as_of })
}

fn parse(query: &str) -> Result<SummaryQuery, Problem> {
    let mut params = Params::new(query, &["start", "end", "limit", "cursor"]);
    let limit = params.number("limit", MAX_LIMIT, DEFAULT_LIMIT);
    let after = cursor::read(&mut params);
    let days = report::buckets(&mut params, Granularity::Day, Tz::UTC, LONGEST);
    params.finish(days.map(|days| SummaryQuery { days, after, limit }))
}
