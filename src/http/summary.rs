//! `GET /analytics/v1/summary`: every org's totals, for system administrators.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::path::{Parameter, ParameterIn},
};
use uuid::Uuid;

use super::{
    Api,
    access::{AuthorizedAnywhere, ReadSummary},
    error::Problem,
    params::{Checked, Days, Limit, Parameters, Params, cursor, parameter, uuid, words},
    report::{self, Completeness, Range},
    usage::Amounts,
};
use crate::{
    actors::serving::query::GetSummary,
    domain::{
        money::Cents,
        summary::{OrderBy, OrgSum, OrgUsage, Place, SummaryQuery},
    },
};

/// Days of the longest range.
const LONGEST: u32 = 31;

type OrgLimit = Limit<100, 1000>;

/// Which page of the orgs is requested.
pub struct OrgPage {
    order_by: OrderBy,
    limit: u16,
    after: Option<Place>,
    /// What cursors of this request begin with.
    fingerprint: String,
}

impl Parameters for OrgPage {
    fn describe() -> Vec<Parameter> {
        let order = "orgId (default), or what organisations used, largest first; equal ones by their ids";
        vec![
            parameter(ParameterIn::Query, "orderBy", order, words::<OrderBy>()).build(),
            OrgLimit::describe(),
            cursor::describe(),
        ]
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let fingerprint = params.fingerprint(&["cursor", "limit"]);
        let after = cursor::read(params, |parts| place(parts, &fingerprint));
        Some(Self { order_by: params.choice("orderBy"), limit: OrgLimit::read(params), after, fingerprint })
    }
}

fn place(parts: Vec<String>, fingerprint: &str) -> Option<Place> {
    let [request, amount, org_id]: [String; 3] = parts.try_into().ok()?;
    (request == fingerprint).then_some(Place { amount: Cents::from_text(&amount).ok()?, org_id: uuid(&org_id)? })
}

#[derive(Serialize, ToSchema)]
#[schema(as = SummaryReport)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The one that was used: on days of UTC
    range: Range,
    /// A page, in the order that is requested
    orgs: Vec<Org>,
    /// Those behind this page
    other: Other,
    /// Organisations that used anything, on this page or not
    org_count: u64,
    /// Of all of them
    totals: Amounts,
    /// Only where there are more
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    #[serde(flatten)]
    completeness: Completeness,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SummaryOrg)]
#[serde(rename_all = "camelCase")]
struct Org {
    org_id: Uuid,
    /// What people call it, where it has a name
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
    #[serde(flatten)]
    amounts: Amounts,
}

impl From<OrgUsage> for Org {
    fn from(OrgUsage { org_id, name, usage }: OrgUsage) -> Self {
        Self { org_id, name, amounts: usage.into() }
    }
}

/// Organisations behind a page
#[derive(Serialize, ToSchema)]
#[schema(as = SummaryOther)]
struct Other {
    /// How many they are
    orgs: u64,
    totals: Amounts,
}

impl From<OrgSum> for Other {
    fn from(OrgSum { orgs, usage }: OrgSum) -> Self {
        Self { orgs, totals: usage.into() }
    }
}

/// Report the totals of every organisation
///
/// `orgs` of all pages are all organisations that used anything; those of this page, of the pages before and `other` add up to `totals`.
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
                    "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10", "name": "Example Ltd", "invocations": 2,
                    "inputTokens": 30, "outputTokens": 40, "costEstimateCents": 1.5
                }],
                "other": {
                    "orgs": 0,
                    "totals": {"invocations": 0, "inputTokens": 0, "outputTokens": 0, "costEstimateCents": 0}
                },
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
    Checked((Days(days), page)): Checked<(Days<LONGEST>, OrgPage)>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let OrgPage { order_by, limit, after, fingerprint } = page;
    let range = (&days).into();
    let found =
        api.queries.send(GetSummary(SummaryQuery { days, order_by, after, limit }), api.response_timeout).await?;
    let next_cursor = found
        .next(order_by)
        .map(|Place { amount, org_id }| cursor::encode(&[&fingerprint, &amount.to_string(), &org_id.to_string()]));
    let report = Report {
        range,
        orgs: found.orgs.into_iter().map(Org::from).collect(),
        other: found.other.into(),
        org_count: found.all.orgs,
        totals: found.all.usage.into(),
        next_cursor,
        completeness: Completeness { freshness: None, as_of: found.as_of },
    };
    report::respond(&request, &report, &report.completeness)
}
