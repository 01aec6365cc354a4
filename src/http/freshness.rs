//! `GET /analytics/v1/orgs/{orgId}/freshness`: how far behind the numbers are, by model.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadFreshness},
    error::Problem,
    json,
    params::{Checked, Params, QueryParams},
};
use crate::{
    actors::serving::query::GetFreshness,
    domain::{freshness::FreshnessStatus, query::ModelFreshness},
};

#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct FreshnessParams {
    /// Only these models; all without it
    #[param(value_type = Option<Vec<Uuid>>, max_items = 100)]
    model_id: Vec<Uuid>,
}

impl QueryParams for FreshnessParams {
    fn read(params: &mut Params) -> Option<Self> {
        Some(Self { model_id: params.models() })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrgFreshness)]
#[serde(rename_all = "camelCase")]
struct Report {
    org_id: Uuid,
    status: FreshnessStatus,
    entries: Vec<ModelFreshness>,
}

/// Report how far behind the numbers are
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/freshness",
    operation_id = "getFreshness",
    tag = "completeness",
    responses((
        status = 200,
        description = "The organisation's status, and an entry for each of its models",
        body = Report,
        example = json!({
            "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
            "status": "fresh",
            "entries": [{
                "modelId": "0d2e7c44-2a0f-4d41-8a53-5a0a7c1be0f2", "lastEventAt": "2026-03-02T10:59:58.5Z",
                "lastRollupAt": "2026-03-02T11:00:00Z", "lagSeconds": 0.412, "status": "fresh"
            }]
        })
    ))
)]
pub async fn get(
    org: Authorized<ReadFreshness>,
    Checked(FreshnessParams { model_id: models }): Checked<FreshnessParams>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let found = api.queries.send(GetFreshness { org_id: org.org_id, models }, api.response_timeout).await?;
    Ok(json(&Report { org_id: org.org_id, status: found.org.status, entries: found.models }))
}
