//! `GET /analytics/v1/orgs/{orgId}/attribution/dimensions`: by which combinations attribution can be requested, and since when.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    actors::serving::query::GetAttributionSets,
    domain::attribution::{Dimension, SetStatus},
    http::{
        Api,
        access::{Authorized, ReadAttribution},
        error::Problem,
        json,
        params::{Checked, NoParams},
    },
};

#[derive(Serialize, ToSchema)]
#[schema(as = AttributionDimensions)]
#[serde(rename_all = "camelCase")]
struct Report {
    org_id: Uuid,
    /// A request is served by a set that has all dimensions that it groups and filters by
    sets: Vec<Set>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AttributionSet)]
#[serde(rename_all = "camelCase")]
struct Set {
    dimensions: Vec<String>,
    /// From when on it has all events; null: always
    complete_from: Option<DateTime<Utc>>,
    /// Combinations of values that keep their names on a UTC day; what is beyond them is in overflow
    max_keys_per_day: u32,
}

impl From<SetStatus> for Set {
    fn from(SetStatus { set, complete_from, max_keys }: SetStatus) -> Self {
        let dimensions = set.dimensions().iter().map(Dimension::to_string).collect();
        Self { dimensions, complete_from, max_keys_per_day: max_keys }
    }
}

/// List the combinations that attribution has
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/attribution/dimensions",
    operation_id = "listAttributionDimensions",
    tag = "attribution",
    responses((
        status = 200,
        description = "The sets of dimensions whose sums are kept",
        body = Report,
        example = json!({
            "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
            "sets": [
                {"dimensions": ["clientId", "modelId"], "completeFrom": null, "maxKeysPerDay": 10000},
                {
                    "dimensions": ["status", "errorCode", "clientId", "modelId"], "completeFrom": "2026-02-01T00:00:00Z",
                    "maxKeysPerDay": 10000
                }
            ]
        })
    ))
)]
pub async fn list(
    org: Authorized<ReadAttribution>,
    _: Checked<NoParams>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let sets = api.queries.send(GetAttributionSets { org_id: org.org_id }, api.response_timeout).await?;
    Ok(json(&Report { org_id: org.org_id, sets: sets.into_iter().map(Set::from).collect() }))
}
