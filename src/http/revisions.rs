//! `GET /analytics/v1/orgs/{orgId}/revisions`: closed buckets that changed, when, why, before and after.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadRevisions},
    cursor,
    error::Problem,
    params::Params,
    report::{self, Completeness, Range},
    usage::Amounts,
};
use crate::{
    actors::serving::query::GetRevisions,
    domain::{
        calendar::Granularity,
        revision::{Reason, RevisionQuery},
    },
};

/// Days of the longest range.
const LONGEST: u32 = 400;
const DEFAULT_LIMIT: u16 = 100;
const MAX_LIMIT: u16 = 1000;

#[derive(Serialize, ToSchema)]
#[schema(as = RevisionsAnswer)]
struct Answer {
    #[serde(flatten)]
    facts: Facts,
    #[serde(flatten)]
    completeness: Completeness,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RevisionsFacts)]
#[serde(rename_all = "camelCase")]
struct Facts {
    org_id: Uuid,
    /// The one that was used, of bucketStart: on hours
    range: Range,
    /// A page, the newest change first
    revisions: Vec<Revision>,
    /// Only where there are more
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
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

/// What `parse` reads.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "for the API's description")]
struct RevisionsParams {
    /// Of bucketStart, inclusive; floored to the hour. A time (RFC 3339), or a date: the beginning of that day of UTC
    #[param(example = "2026-02-01")]
    start: String,
    /// Of bucketStart, exclusive; ceiled to the hour; now without it. At most 400 days after start
    #[param(example = "2026-03-01T00:00:00Z")]
    end: Option<String>,
    /// Only these models; all without it
    #[param(max_items = 100)]
    model_id: Option<Vec<Uuid>>,
    /// Only what changed for this reason: all (default), late, replay, rebuild or erasure
    #[param(inline)]
    reason: Option<ReasonFilter>,
    /// Revisions of a page, 100 without it
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// nextCursor of the page before
    cursor: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the API's description")]
enum ReasonFilter {
    All,
    Late,
    Replay,
    Rebuild,
    Erasure,
}

/// List buckets that changed after they were final, newest change first
///
/// An hour of a model that is not here has not changed since a response called it final. asOf, ETag and Analytics-As-Of as
/// with usage.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/revisions",
    operation_id = "listRevisions",
    tag = "completeness",
    params(("orgId" = Uuid, Path, description = "Organisation"), RevisionsParams),
    responses(
        (
            status = 200,
            description = "A page",
            body = Answer,
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
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let query = parse(org.org_id, request.query_string())?;
    let page = api.queries.send(GetRevisions(query.clone()), api.answer_within).await?;
    let completeness = Completeness { freshness: None, as_of: page.as_of };
    let facts = Facts {
        org_id: query.org_id,
        range: (&query.hours).into(),
        next_cursor: page.next().map(cursor::of),
        revisions: page.revisions.into_iter().map(Into::into).collect(),
    };
    report::answer(&request, &facts, &completeness)
}

fn parse(org_id: Uuid, query: &str) -> Result<RevisionQuery, Problem> {
    let mut params = Params::new(query, &["start", "end", "modelId", "reason", "limit", "cursor"]);
    let models = params.models();
    let [late, replay, rebuild, erasure] = Reason::ALL.map(|reason| (reason.as_str(), Some(reason)));
    let reason = params.choice("reason", [("all", None), late, replay, rebuild, erasure]);
    let limit = params.number("limit", MAX_LIMIT, DEFAULT_LIMIT);
    let before = cursor::read(&mut params);
    let hours = report::buckets(&mut params, Granularity::Hour, Tz::UTC, LONGEST);
    params.finish(hours.map(|hours| RevisionQuery { org_id, hours, models, reason, before, limit }))
}
