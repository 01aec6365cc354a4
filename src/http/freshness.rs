//! `GET /analytics/v1/orgs/{orgId}/freshness`: how far behind the numbers are, by model.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
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
    domain::freshness::{Freshness, FreshnessStatus},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    org_id: Uuid,
    status: FreshnessStatus,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    model_id: Uuid,
    #[serde(flatten)]
    freshness: FreshnessAnswer,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FreshnessAnswer {
    last_event_at: Option<DateTime<Utc>>,
    last_rollup_at: Option<DateTime<Utc>>,
    /// To the millisecond.
    lag_seconds: Option<f64>,
    status: FreshnessStatus,
}

impl From<Freshness> for FreshnessAnswer {
    fn from(freshness: Freshness) -> Self {
        Self {
            last_event_at: freshness.last_event_at,
            last_rollup_at: freshness.last_rollup_at,
            lag_seconds: freshness.lag_ms.map(|ms| ms as f64 / 1000.0),
            status: freshness.status,
        }
    }
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
    let entries =
        report.models.iter().map(|model| Entry { model_id: model.model_id, freshness: model.freshness.into() });
    Ok(json(&Answer { org_id: org.org_id, status: report.org.status, entries: entries.collect() }))
}
