//! `/analytics/v1/orgs/{orgId}/api-keys`: an org's API keys. A key's secret is in one response, when it is made.

use actix_web::{HttpResponse, http::StatusCode, web};
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ManageKeys},
    error::{Problem, Unaccepted},
    examples,
    idempotency::IdempotencyKey,
    json, json_at,
    json_body::JsonBody,
    params::{Checked, KeyId, NextPage, NoParams, PageOf, Params, QueryParams},
    send::send,
};
use crate::{
    actors::{
        serving::keys::{Create, GetKey, ListKeys, NewKey, Revocation, Revoke},
        supervision::actor_ref::ActorRef,
    },
    auth::{Credential, FreshKey},
    domain::api_key::{ApiKey, Created, NewApiKey, Revoked},
};

/// The actor that manages keys, by its messages.
#[derive(Clone, Default)]
pub struct KeyRefs {
    pub create: ActorRef<Create>,
    pub list: ActorRef<ListKeys>,
    pub get: ActorRef<GetKey>,
    pub revoke: ActorRef<Revoke>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeyPage)]
#[serde(rename_all = "camelCase")]
struct Page {
    api_keys: Vec<ApiKey>,
    #[serde(flatten)]
    next: NextPage,
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

/// An API key that was revoked
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RevokedApiKey {
    #[serde(flatten)]
    api_key: ApiKey,
    /// Keys that were active and that it had made, or one of these had, newest first. With cascade=true they are revoked too
    descendants: Vec<ApiKey>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RevokeParams {
    /// Whether keys that were created with it are revoked too, false without it
    cascade: Option<bool>,
}

impl QueryParams for RevokeParams {
    fn read(params: &mut Params) -> Option<Self> {
        Some(Self { cascade: params.choice_if_given("cascade") })
    }
}

/// List the API keys of an organisation, newest first
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/api-keys",
    operation_id = "listApiKeys",
    tag = "administration",
    responses((
        status = 200,
        description = "A page",
        body = Page,
        example = json!({"apiKeys": [examples::api_key(json!({"lastUsedAt": "2026-03-02T11:59:00Z"}))]})
    ))
)]
pub async fn list(
    org: Authorized<ManageKeys>,
    Checked(PageOf { limit, behind: before }): Checked<PageOf<50, 200>>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let found = send(&api.keys.list, ListKeys { org_id: org.org_id, before, limit }, api.response_timeout).await?;
    Ok(json(&Page { next: (&found).into(), api_keys: found.entries }))
}

/// Create an API key
///
/// A key that another key creates has no more rights than it and expires no later; without expiresAt it expires with it. With an
/// Idempotency-Key, the same request again is 200 with the key that it created the first time, without its secret, which
/// is kept nowhere: where the first response was lost, revoke that key and create another.
#[utoipa::path(
    post,
    path = "/analytics/v1/orgs/{orgId}/api-keys",
    operation_id = "createApiKey",
    tag = "administration",
    request_body(content = NewApiKey, description = "The key"),
    responses(
        (
            status = 200,
            description = "The key that the same request created before, without its secret",
            body = ApiKey,
            example = json!(examples::api_key(json!({})))
        ),
        (
            status = 201,
            description = "The key with its secret",
            body = Made<'static>,
            headers(("Location" = String, description = "Where the key is")),
            example = json!(examples::api_key(json!({"key": "ak_019d1f627d4a7c3b9a590f2a51c0d7e4_…"})))
        ),
        (status = 409, description = "The organisation has as many active keys as it may"),
        (status = 422, description = "The Idempotency-Key was used for another request")
    )
)]
pub async fn create(
    org: Authorized<ManageKeys>,
    api: web::Data<Api>,
    JsonBody(body): JsonBody,
    _: Checked<NoParams>,
    IdempotencyKey(idempotency_key): IdempotencyKey,
) -> Result<HttpResponse, Problem> {
    let fresh = FreshKey::make().map_err(|error| {
        tracing::error!(%error, "an API key cannot be created");
        Problem::Internal
    })?;
    let (org_id, key_id) = (org.org_id, fresh.key_id);
    let new = NewKey {
        key_id,
        org_id,
        secret_sha256: fresh.secret_sha256,
        body: body.into(),
        parent: match org.authenticated.caller.credential {
            Credential::Token | Credential::Link => None,
            Credential::ApiKey(key_id) => Some(key_id),
        },
        idempotency_key,
        act: org.authenticated.event("api_key.create").of_org(org_id).target(key_id),
        by: org.authenticated.caller.subject,
    };
    let place = |key_id: Uuid| format!("/analytics/v1/orgs/{org_id}/api-keys/{key_id}");
    match send(&api.keys.create, Create(new), api.response_timeout).await? {
        Created::New(api_key) => {
            let made = Made { api_key, key: fresh.text.expose() };
            Ok(json_at(StatusCode::CREATED, place(key_id), &made))
        }
        Created::Same(api_key) => Ok(json_at(StatusCode::OK, place(api_key.id), &api_key)),
        Created::KeyTaken => Err(Problem::KeyReused),
        Created::TooMany => Err(Problem::TooManyApiKeys),
        Created::MakerEnded => Err(Problem::Unauthorized(Unaccepted::Refused)),
        Created::Wrong(reasons) => Err(Problem::of_reasons(reasons)),
    }
}

/// Show an API key
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/api-keys/{keyId}",
    operation_id = "getApiKey",
    tag = "administration",
    responses((
        status = 200,
        description = "The key, without its secret",
        body = ApiKey,
        example = json!(examples::api_key(json!({})))
    ))
)]
pub async fn get(
    org: Authorized<ManageKeys>,
    _: Checked<NoParams>,
    KeyId(key_id): KeyId,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let key = send(&api.keys.get, GetKey { org_id: org.org_id, key_id }, api.response_timeout).await?;
    key.map(|key| json(&key)).ok_or(KeyId::MISSING)
}

/// Revoke an API key
///
/// At once in the process that handles the request, in every other within `auth.api_key_cache_seconds`. Doing so again changes
/// nothing. The response lists the active keys that were created with it; with cascade=true they are revoked with it.
#[utoipa::path(
    post,
    path = "/analytics/v1/orgs/{orgId}/api-keys/{keyId}/revoke",
    operation_id = "revokeApiKey",
    tag = "administration",
    responses((
        status = 200,
        description = "The key, revoked",
        body = RevokedApiKey,
        example = json!(examples::api_key(json!({
            "state": "revoked", "revokedAt": "2026-03-03T09:00:00Z", "revokedBy": "ann", "descendants": []
        })))
    ))
)]
pub async fn revoke(
    org: Authorized<ManageKeys>,
    Checked(RevokeParams { cascade }): Checked<RevokeParams>,
    KeyId(key_id): KeyId,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let (org_id, cascade) = (org.org_id, cascade.unwrap_or(false));
    let act = org.authenticated.event("api_key.revoke").of_org(org_id).target(key_id);
    let revocation = Revocation { org_id, key_id, cascade, by: org.authenticated.caller.subject, act };
    let revoked = send(&api.keys.revoke, Revoke(revocation), api.response_timeout).await?;
    let Revoked { key, descendants } = revoked.ok_or(KeyId::MISSING)?;
    Ok(json(&RevokedApiKey { api_key: key, descendants }))
}
