//! `GET /analytics/v1/orgs/{orgId}/attribution`: who spent it, by any of the combinations that are kept.

pub mod dimensions;
mod params;
mod report;
pub mod values;

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    Api,
    access::{Authorized, ReadAttribution},
    error::Problem,
    examples,
    names::Names,
    params::Checked,
    report::respond,
};
use crate::{actors::serving::query::GetAttribution, domain::attribution::AttributionQuery};
use params::AttributionRequest;
use report::Report;

/// Report who spent it
///
/// Groups are the combinations of values of `groupBy`, largest first. Each event is in one place: the groups of all pages, `other` of the
/// last page, `unattributed` (events that have none of the fields) and `overflow` (events whose names were lost beyond the cap) add up
/// to `totals`, which are usage's of the same range. `asOf` is up to about a minute behind usage's. If-None-Match and Analytics-As-Of as
/// with usage.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/attribution",
    operation_id = "getAttribution",
    tag = "attribution",
    responses(
        (
            status = 200,
            description = "A page of groups, where everything else is, and how complete it is",
            body = Report,
            example = json!(examples::attribution())
        ),
        (status = 304, description = "The facts are those of the ETag that was given")
    )
)]
pub async fn get(
    org: Authorized<ReadAttribution>,
    request: HttpRequest,
    Checked(params): Checked<AttributionRequest>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let AttributionRequest { buckets, granularity, group_by, filters, ranking, fingerprint } = params;
    let query = AttributionQuery { org_id: org.org_id, buckets, group_by, filters };
    let sent = api.queries.send(GetAttribution { query: query.clone(), ranking }, api.response_timeout);
    let found = sent.await?.map_err(|no_set| Problem::field("groupBy", no_set.to_string()))?;
    let names = Names::of(&api, org.org_id, found.ranked.named_ids(&query.group_by)).await?;
    let report = Report::new(&query, granularity, &found, &names, &fingerprint, api.late_after);
    respond(&request, &report, report.completeness())
}
