//! `/analytics/v1/orgs/{orgId}/exports`: CSV files of an org's usage, generated on demand, listed, fetched and checked.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, LOCATION},
    },
    web,
};
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadExports, RequestExports},
    error::Problem,
    examples,
    idempotency::IdempotencyKey,
    json, json_at,
    json_body::JsonBody,
    params::{Checked, JobId, NextPage, NoParams, PageOf, Params, QueryParams},
    send::send,
};
use crate::{
    actors::{
        serving::{
            export_requests::{
                CHECK_WITHIN, CancelExport, CreateExport, Created, Found, LinkExport, OpenDownload, VerifyExport,
            },
            query::{GetExport, ListExports},
        },
        supervision::actor_ref::ActorRef,
    },
    domain::export::{
        ExportJob, ExportQuery, Granularity, Grouping, JobForm, Status, TimeRange, verification::Verification,
    },
};

/// The actor that manages exports, by its messages.
#[derive(Clone, Default)]
pub struct ExportRefs {
    pub create: ActorRef<CreateExport>,
    pub cancel: ActorRef<CancelExport>,
    pub link: ActorRef<LinkExport>,
    pub verify: ActorRef<VerifyExport>,
    pub open: ActorRef<OpenDownload>,
}

/// What a file is to have. Read by [`crate::domain::export::request`].
#[derive(ToSchema)]
#[schema(as = ExportRequest, rename_all = "camelCase")]
#[expect(dead_code, reason = "for the API's description")]
struct RequestForm {
    /// At most 31 days, 7 with groupBy client or errorCode; on bucket boundaries of UTC; not in the future
    time_range: TimeRange,
    /// daily without it
    #[schema(nullable = false)]
    granularity: Option<Granularity>,
    /// model without it; client and errorCode, which have one column more, only with granularity hourly; or a list of one to three
    /// dimensions of attribution that a set has, whose file has other columns
    #[schema(nullable = false)]
    group_by: Option<Grouping>,
    /// Whether the file has, beside the ids of models, clients, persons and metadata, what people call them; false without it
    #[schema(nullable = false)]
    names: Option<bool>,
    /// Only these, at most 100; all without it
    #[schema(nullable = false)]
    models: Option<Vec<Uuid>>,
    #[schema(nullable = false)]
    delivery: Option<DeliveryForm>,
}

/// Where the file goes
#[derive(ToSchema)]
#[schema(as = ExportDelivery)]
#[expect(dead_code, reason = "for the API's description")]
struct DeliveryForm {
    /// s3
    #[schema(rename = "type")]
    kind: String,
    /// One of the buckets that the service may deliver to; its own without it
    #[schema(nullable = false)]
    bucket: Option<String>,
}

/// Which exports are requested.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct ExportParams {
    /// Only exports of this status
    #[param(inline)]
    status: Option<Status>,
}

impl QueryParams for ExportParams {
    fn read(params: &mut Params) -> Option<Self> {
        Some(Self { status: params.choice_if_given("status") })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = ExportPage)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[schema(value_type = Vec<JobForm>)]
    exports: Vec<ExportJob>,
    #[serde(flatten)]
    next: NextPage,
}

/// Create an export
///
/// With an `Idempotency-Key` the same request again returns the job that it created; another request by that key is 422.
#[utoipa::path(
    post,
    path = "/analytics/v1/orgs/{orgId}/exports",
    operation_id = "createExport",
    tag = "exports",
    request_body(content = RequestForm, description = "What the file is to have"),
    responses(
        (
            status = 202,
            description = "The job that generates it",
            body = JobForm,
            headers(("Location" = String, description = "Where the job is")),
            example = json!(examples::export(json!({})))
        ),
        (status = 422, description = "The Idempotency-Key was used for another request")
    )
)]
pub async fn create(
    org: Authorized<RequestExports>,
    api: web::Data<Api>,
    JsonBody(body): JsonBody,
    _: Checked<NoParams>,
    IdempotencyKey(idempotency_key): IdempotencyKey,
) -> Result<HttpResponse, Problem> {
    let (org_id, job_id) = (org.org_id, Uuid::now_v7());
    let create = CreateExport {
        job_id,
        org_id,
        idempotency_key,
        body: body.into(),
        act: org.authenticated.event("export.create").of_org(org_id).target(job_id),
        by: org.authenticated.caller.subject,
    };
    match send(&api.exports.create, create, api.response_timeout).await? {
        None => Err(Problem::ExportsOff),
        Some(Created::New(job) | Created::Same(job)) => {
            let place = format!("/analytics/v1/orgs/{org_id}/exports/{}", job.id);
            Ok(json_at(StatusCode::ACCEPTED, place, &job))
        }
        Some(Created::Wrong(reasons)) => Err(Problem::of_reasons(reasons)),
        Some(Created::KeyTaken) => Err(Problem::KeyReused),
        Some(Created::TooMany) => Err(Problem::TooManyExports),
    }
}

/// List the exports of an organisation, newest first
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/exports",
    operation_id = "listExports",
    tag = "exports",
    responses((status = 200, description = "A page", body = Page, example = json!({"exports": []})))
)]
pub async fn list(
    org: Authorized<ReadExports>,
    Checked((ExportParams { status }, page)): Checked<(ExportParams, PageOf<50, 200>)>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let query = ExportQuery { org_id: org.org_id, status, before: page.behind, limit: page.limit };
    let found = api.queries.send(ListExports(query), api.response_timeout).await?;
    Ok(json(&Page { next: (&found).into(), exports: found.entries }))
}

/// Show an export
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/exports/{jobId}",
    operation_id = "getExport",
    tag = "exports",
    responses((
        status = 200,
        description = "The job",
        body = JobForm,
        example = json!(examples::export(json!({
            "status": "succeeded", "startedAt": "2026-03-02T11:00:00.2Z", "completedAt": "2026-03-02T11:00:00.6Z",
            "expiresAt": "2026-05-31T11:00:00.6Z",
            "outputUri": "/analytics/v1/orgs/6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10/exports/019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4/download",
            "checksum": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "bytes": 9312, "rowCount": 56,
            "totals": examples::totals(), "asOf": "2026-03-02T11:00:00Z"
        })))
    ))
)]
pub async fn get(
    org: Authorized<ReadExports>,
    _: Checked<NoParams>,
    JobId(job_id): JobId,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let job = api.queries.send(GetExport { org_id: org.org_id, job_id }, api.response_timeout).await?;
    job.map(|job| json(&job)).ok_or(JobId::MISSING)
}

/// Cancel an export
///
/// One that waits fails at once, with the error `cancelled`; one that is being generated within exports.heartbeat_ms. One that
/// is generated stays.
#[utoipa::path(
    post,
    path = "/analytics/v1/orgs/{orgId}/exports/{jobId}/cancel",
    operation_id = "cancelExport",
    tag = "exports",
    responses((
        status = 200,
        description = "The job",
        body = JobForm,
        example = json!(examples::export(json!({
            "status": "failed", "completedAt": "2026-03-02T11:00:01Z", "error": "cancelled"
        })))
    ))
)]
pub async fn cancel(
    org: Authorized<RequestExports>,
    _: Checked<NoParams>,
    JobId(job_id): JobId,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let org_id = org.org_id;
    let act = org.authenticated.event("export.cancel").of_org(org_id).target(job_id);
    let job = send(&api.exports.cancel, CancelExport { org_id, job_id, act }, api.response_timeout).await?;
    job.map(|job| json(&job)).ok_or(JobId::MISSING)
}

/// Download an export
///
/// By a link that is signed now, and needs no credential for 24 hours: who has the link has the file.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/exports/{jobId}/download",
    operation_id = "downloadExport",
    tag = "exports",
    responses(
        (status = 302, description = "The link", headers(("Location" = String, description = "Where the file is"))),
        (status = 409, description = "There is no file yet, or it could not be generated"),
        (status = 410, description = "The file is not kept any more")
    )
)]
pub async fn download(
    org: Authorized<ReadExports>,
    _: Checked<NoParams>,
    JobId(job_id): JobId,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let org_id = org.org_id;
    let act = org.authenticated.event("export.download").of_org(org_id).target(job_id);
    let link = found(send(&api.exports.link, LinkExport { org_id, job_id, act }, api.response_timeout).await?)?;
    let mut response = HttpResponse::Found();
    Ok(response.insert_header((LOCATION, link)).insert_header((CACHE_CONTROL, "private, no-store")).finish())
}

/// Verify an export against the rollups and the ledger
///
/// Its checksum and its own sums against the job's, and these against what the API reports now. Where that differs, the
/// revisions since must say why.
#[utoipa::path(
    post,
    path = "/analytics/v1/orgs/{orgId}/exports/{jobId}/verify",
    operation_id = "verifyExport",
    tag = "exports",
    responses(
        (
            status = 200,
            description = "What it came to: holds says whether the file can be relied on",
            body = Verification,
            example = json!({
                "jobId": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
                "holds": true, "problems": [], "verdict": "same",
                "checksum": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "foundChecksum": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "totals": examples::totals(),
                "foundTotals": examples::totals(),
                "rollups": examples::totals(),
                "raw": examples::totals(),
                "ledgerStored": 5310,
                "difference": {"invocations": 0, "inputTokens": 0, "outputTokens": 0, "costEstimateCents": 0},
                "revisions": 0, "changes": [], "asOf": "2026-03-02T11:00:00.088Z"
            })
        ),
        (status = 409, description = "There is no file yet, or it could not be generated"),
        (status = 410, description = "The file is not kept any more")
    )
)]
pub async fn verify(
    org: Authorized<RequestExports>,
    _: Checked<NoParams>,
    JobId(job_id): JobId,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let org_id = org.org_id;
    let within = CHECK_WITHIN + api.response_timeout;
    Ok(json(&found(send(&api.exports.verify, VerifyExport { org_id, job_id }, within).await?)?))
}

fn found<T>(found: Found<T>) -> Result<T, Problem> {
    match found {
        Found::It(it) => Ok(it),
        Found::NoJob => Err(JobId::MISSING),
        Found::NoFile => Err(Problem::NoFile),
        Found::Expired => Err(Problem::FileExpired),
        Found::Off => Err(Problem::ExportsOff),
    }
}
