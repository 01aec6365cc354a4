//! `/analytics/v1/orgs/{orgId}/api-keys`: an org's API keys. A key's secret is in one answer, when it is made.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    access::{Authorized, ManageKeys},
    ask::ask,
    cursor,
    error::{FieldError, Problem},
    json,
    json_body::JsonBody,
    json_with,
    params::{self, Params},
};
use crate::{
    actors::{
        keys::{Create, GetKey, ListKeys, Revoke},
        supervision::line::Line,
    },
    auth::FreshKey,
    domain::api_key::{ApiKey, NewApiKey},
};

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 200;

/// The ways to the actor that keeps the keys.
#[derive(Clone, Default)]
pub struct KeysLine {
    pub create: Line<Create>,
    pub list: Line<ListKeys>,
    pub get: Line<GetKey>,
    pub revoke: Line<Revoke>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeyPage)]
#[serde(rename_all = "camelCase")]
struct Page {
    api_keys: Vec<ApiKey>,
    /// Only where there are more
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MadeApiKey)]
#[serde(rename_all = "camelCase")]
struct Made<'a> {
    #[serde(flatten)]
    api_key: ApiKey,
    /// What to send as X-API-Key. It is shown here and never again
    key: &'a str,
}

/// The organisation's API keys, newest first
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/api-keys",
    operation_id = "listApiKeys",
    tag = "administration",
    params(
        ("orgId" = Uuid, Path, description = "Organisation"),
        ("limit" = Option<u16>, Query, description = "Keys of a page, 50 without it", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
    ),
    responses((
        status = 200,
        description = "A page",
        body = Page,
        example = json!({"apiKeys": [{
            "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
            "name": "dashboard", "role": "org_viewer", "state": "active", "createdAt": "2026-03-02T11:00:00Z",
            "createdBy": "ann", "expiresAt": null, "revokedAt": null, "revokedBy": null,
            "lastUsedAt": "2026-03-02T11:59:00Z"
        }]})
    ))
)]
pub async fn list(
    org: Authorized<ManageKeys>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let mut params = Params::new(request.query_string(), &["limit", "cursor"]);
    let limit = params.number("limit", MAX_LIMIT, DEFAULT_LIMIT);
    let before = cursor::read(&mut params);
    let before = params.finish(Some(before))?;
    let page = ask(&api.keys.list, ListKeys { org_id: org.org_id, before, limit }, api.answer_within).await?;
    let next_cursor = page.next().map(cursor::of);
    Ok(json(&Page { api_keys: page.keys, next_cursor }))
}

/// Makes an API key
#[utoipa::path(
    post,
    path = "/analytics/v1/orgs/{orgId}/api-keys",
    operation_id = "createApiKey",
    tag = "administration",
    params(("orgId" = Uuid, Path, description = "Organisation")),
    request_body(content = NewApiKey, description = "The key"),
    responses(
        (
            status = 201,
            description = "The key with its secret",
            body = Made<'static>,
            headers(("Location" = String, description = "Where the key is")),
            example = json!({
                "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
                "name": "dashboard", "role": "org_viewer", "state": "active", "createdAt": "2026-03-02T11:00:00Z",
                "createdBy": "ann", "expiresAt": null, "revokedAt": null, "revokedBy": null, "lastUsedAt": null,
                "key": "ak_019d1f627d4a7c3b9a590f2a51c0d7e4_…"
            })
        ),
        (status = 415, description = "Not JSON")
    )
)]
pub async fn create(
    org: Authorized<ManageKeys>,
    request: HttpRequest,
    api: web::Data<Api>,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    params::none(&request)?;
    let fresh = FreshKey::make().map_err(|error| {
        tracing::error!(%error, "an API key cannot be made");
        Problem::Internal
    })?;
    let (org_id, key_id) = (org.org_id, fresh.key_id);
    let create = Create {
        key_id,
        org_id,
        secret_sha256: fresh.secret_sha256,
        body: body.into(),
        act: org.visit.event("api_key.create").of_org(org_id).target(key_id),
        by: org.visit.caller.subject,
    };
    match ask(&api.keys.create, create, api.answer_within).await? {
        Ok(api_key) => {
            let mut answer = json_with(StatusCode::CREATED, &Made { api_key, key: fresh.text.expose() });
            let place = format!("/analytics/v1/orgs/{org_id}/api-keys/{key_id}");
            if let Ok(place) = header::HeaderValue::from_str(&place) {
                answer.headers_mut().insert(header::LOCATION, place);
            }
            Ok(answer)
        }
        Err(reasons) => Err(Problem::InvalidParameters(reasons.into_iter().map(FieldError::from).collect())),
    }
}

/// One API key
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/api-keys/{keyId}",
    operation_id = "getApiKey",
    tag = "administration",
    params(
        ("orgId" = Uuid, Path, description = "Organisation"),
        ("keyId" = Uuid, Path, description = "The key's id"),
    ),
    responses((
        status = 200,
        description = "The key, without its secret",
        body = ApiKey,
        example = json!({
            "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
            "name": "dashboard", "role": "org_viewer", "state": "active", "createdAt": "2026-03-02T11:00:00Z",
            "createdBy": "ann", "expiresAt": null, "revokedAt": null, "revokedBy": null, "lastUsedAt": null
        })
    ))
)]
pub async fn get(
    org: Authorized<ManageKeys>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    params::none(&request)?;
    let key_id = params::path_id(&request, "keyId")?;
    let key = ask(&api.keys.get, GetKey { org_id: org.org_id, key_id }, api.answer_within).await?;
    key.map(|key| json(&key)).ok_or(Problem::NotFound)
}

/// Lets an API key count no longer
///
/// At once in the process that answers, in every other within `auth.api_key_cache_seconds`. Doing so again changes nothing.
#[utoipa::path(
    post,
    path = "/analytics/v1/orgs/{orgId}/api-keys/{keyId}/revoke",
    operation_id = "revokeApiKey",
    tag = "administration",
    params(
        ("orgId" = Uuid, Path, description = "Organisation"),
        ("keyId" = Uuid, Path, description = "The key's id"),
    ),
    responses((
        status = 200,
        description = "The key, revoked",
        body = ApiKey,
        example = json!({
            "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
            "name": "dashboard", "role": "org_viewer", "state": "revoked", "createdAt": "2026-03-02T11:00:00Z",
            "createdBy": "ann", "expiresAt": null, "revokedAt": "2026-03-03T09:00:00Z", "revokedBy": "ann",
            "lastUsedAt": null
        })
    ))
)]
pub async fn revoke(
    org: Authorized<ManageKeys>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    params::none(&request)?;
    let (org_id, key_id) = (org.org_id, params::path_id(&request, "keyId")?);
    let act = org.visit.event("api_key.revoke").of_org(org_id).target(key_id);
    let revoke = Revoke { org_id, key_id, by: org.visit.caller.subject, act };
    let key = ask(&api.keys.revoke, revoke, api.answer_within).await?;
    key.map(|key| json(&key)).ok_or(Problem::NotFound)
}
