//! `GET /analytics/v1/orgs/{orgId}/freshness`: how far behind the numbers are, by model.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadFreshness},
    error::Problem,
    json,
    params::Params,
};
use crate::{
    actors::query::GetFreshness,
    domain::{freshness::FreshnessStatus, query::ModelFreshness},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    org_id: Uuid,
    status: FreshnessStatus,
    entries: Vec<ModelFreshness>,
}

pub async fn get(
    org: Authorized<ReadFreshness>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let mut params = Params::new(request.query_string(), &["modelId"]);
    let models = params.models();
    let models = params.finish(Some(models))?;
    let report = api.queries.ask(GetFreshness { org_id: org.org_id, models }, api.answer_within).await?;
    Ok(json(&Answer { org_id: org.org_id, status: report.org.status, entries: report.models }))
}
