//! `GET /analytics/v1/summary`: every org's totals, for system administrators.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Api,
    access::{AuthorizedAnywhere, ReadSummary},
    error::Problem,
    params::{Checked, Days, NextPage, PageOf},
    report::{self, Completeness, Range},
    usage::Amounts,
};
use crate::{
    actors::serving::query::GetSummary,
    domain::summary::{OrgUsage, SummaryQuery},
};

/// Days of the longest range.
const LONGEST: u32 = 31;

#[derive(Serialize, ToSchema)]
#[schema(as = SummaryReport)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The one that was used: on days of UTC
    range: Range,
    /// A page, in the order of their ids
    orgs: Vec<Org>,
    /// Organisations that used anything, on this page or not
    org_count: u64,
    /// Of all of them
    totals: Amounts,
    #[serde(flatten)]
    next: NextPage,
    #[serde(flatten)]
    completeness: Completeness,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SummaryOrg)]
#[serde(rename_all = "camelCase")]
struct Org {
    org_id: Uuid,
    #[serde(flatten)]
    amounts: Amounts,
}

/// Report the totals of every organisation
#[utoipa::path(
    get,
    path = "/analytics/v1/summary",
    operation_id = "getSummary",
    tag = "administration",
    responses(
        (
            status = 200,
            description = "A page of organisations, and the sum over all; asOf is that of the partition that is farthest behind",
            body = Report,
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
    Checked((Days(days), page)): Checked<(Days<LONGEST>, PageOf<100, 1000>)>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let query = SummaryQuery { days, after: page.behind, limit: page.limit };
    let found = api.queries.send(GetSummary(query.clone()), api.response_timeout).await?;
    let org = |OrgUsage { org_id, usage }: &OrgUsage| Org { org_id: *org_id, amounts: (*usage).into() };
    let last = found.orgs.last().filter(|_| found.more);
    let report = Report {
        range: (&query.days).into(),
        orgs: found.orgs.iter().map(org).collect(),
        org_count: found.orgs_in_all,
        totals: found.totals.into(),
        next: last.map(|last| last.org_id).into(),
        completeness: Completeness { freshness: None, as_of: found.as_of },
    };
    report::respond(&request, &report, &report.completeness)
}
