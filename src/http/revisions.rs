//! `GET /analytics/v1/orgs/{orgId}/revisions`: closed buckets that changed, when, why, before and after.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadRevisions},
    error::Problem,
    params::{Checked, Filter, Hours, NextPage, PageOf, Params, QueryParams},
    report::{self, Completeness, Range},
    usage::Amounts,
};
use crate::{
    actors::serving::query::GetRevisions,
    domain::revision::{Reason, RevisionQuery},
};

/// Days of the longest range.
const LONGEST: u32 = 400;

/// Which revisions are requested.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct RevisionParams {
    /// Only these models; all without it
    #[param(value_type = Option<Vec<Uuid>>, max_items = 100)]
    model_id: Vec<Uuid>,
    /// Only what changed for this reason: all (default), late, replay, rebuild or erasure
    #[param(inline, required = false)]
    reason: ReasonFilter,
}

type ReasonFilter = Filter<Reason>;

impl QueryParams for RevisionParams {
    fn read(params: &mut Params) -> Option<Self> {
        Some(Self { model_id: params.models(), reason: params.choice("reason") })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = RevisionPage)]
#[serde(rename_all = "camelCase")]
struct Page {
    org_id: Uuid,
    /// The one that was used, of bucketStart: on hours
    range: Range,
    /// The newest change first
    revisions: Vec<Revision>,
    #[serde(flatten)]
    next: NextPage,
    #[serde(flatten)]
    completeness: Completeness,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Revision {
    /// Ascends with the time of the first change
    revision_id: Uuid,
    /// The bucket that changed: an hour of UTC
    bucket_start: DateTime<Utc>,
    model_id: Uuid,
    /// late: events came after it was final; replay: a range of the stream was read again; rebuild: it was counted again
    /// from raw events; erasure: events were erased
    reason: Reason,
    /// The last change
    revised_at: DateTime<Utc>,
    /// Changes for this reason within one hour of UTC, which are one revision
    changes: u64,
    /// What the bucket had before the first change
    before: Amounts,
    /// What it had after the last
    after: Amounts,
}

impl From<crate::domain::revision::Revision> for Revision {
    fn from(revision: crate::domain::revision::Revision) -> Self {
        Self {
            revision_id: revision.revision_id,
            bucket_start: revision.bucket_start,
            model_id: revision.model_id,
            reason: revision.reason,
            revised_at: revision.revised_at,
            changes: revision.changes,
            before: revision.before.into(),
            after: revision.after.into(),
        }
    }
}

/// List buckets that changed after they were final, newest change first
///
/// `start` and `end` are of bucketStart. An hour of a model that is not here has not changed since a response called it final. asOf, ETag and Analytics-As-Of as
/// with usage.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/revisions",
    operation_id = "listRevisions",
    tag = "completeness",
    responses(
        (
            status = 200,
            description = "A page",
            body = Page,
            example = json!({
                "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
                "range": {"start": "2026-02-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"},
                "revisions": [{
                    "revisionId": "019caf19-de40-7a55-93ae-2f6d51b5c0a7", "bucketStart": "2026-02-27T10:00:00Z",
                    "modelId": "184c8fba-1989-5175-9e7e-a2283132a2f9", "reason": "late",
                    "revisedAt": "2026-03-02T10:59:58.5Z", "changes": 1,
                    "before": {"invocations": 2, "inputTokens": 30, "outputTokens": 40, "costEstimateCents": 1.5},
                    "after": {"invocations": 3, "inputTokens": 45, "outputTokens": 60, "costEstimateCents": 2.25}
                }],
                "asOf": "2026-03-02T11:00:00.088Z"
            })
        ),
        (status = 304, description = "The facts are those of the ETag that was given")
    )
)]
pub async fn get(
    org: Authorized<ReadRevisions>,
    request: HttpRequest,
    Checked((Hours(hours), params, page)): Checked<(Hours<LONGEST>, RevisionParams, PageOf<100, 1000>)>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let (RevisionParams { model_id: models, reason: Filter(reason) }, PageOf { limit, behind: before }) =
        (params, page);
    let query = RevisionQuery { org_id: org.org_id, hours, models, reason, before, limit };
    let found = api.queries.send(GetRevisions(query.clone()), api.response_timeout).await?;
    let page = Page {
        org_id: query.org_id,
        range: (&query.hours).into(),
        next: (&found.page).into(),
        completeness: Completeness { freshness: None, as_of: found.as_of },
        revisions: found.page.entries.into_iter().map(Into::into).collect(),
    };
    report::respond(&request, &page, &page.completeness)
}
