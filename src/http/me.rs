//! `GET /analytics/v1/me`: the caller: subject, organisations and roles of its credential.

use actix_web::HttpResponse;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    access::Authenticated,
    error::Problem,
    json,
    params::{Checked, NoParams},
};
use crate::{
    auth::{Credential, Role},
    domain::audit::CredentialKind,
};

/// A caller
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Me {
    /// The credential's subject, as in the audit log
    subject: String,
    /// token, api_key, or command_line for a link to the console that was made there
    #[schema(value_type = String, example = "token")]
    credential: CredentialKind,
    /// Only of an API key: its id
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    key_id: Option<Uuid>,
    /// Organisations that the roles apply to
    orgs: Vec<Uuid>,
    /// Whether the caller may read every other organisation too, which is recorded
    all_orgs: bool,
    #[schema(example = json!(["org_viewer"]))]
    roles: Vec<&'static str>,
    /// From when on the credential is refused; null: never
    expires_at: Option<DateTime<Utc>>,
}

/// Show who calls
///
/// For every credential that is accepted, whatever its roles.
#[utoipa::path(
    get,
    path = "/analytics/v1/me",
    operation_id = "getMe",
    tag = "service",
    responses((
        status = 200,
        description = "The caller",
        body = Me,
        example = json!({
            "subject": "ann", "credential": "token", "orgs": ["6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10"], "allOrgs": false,
            "roles": ["org_viewer", "finance"], "expiresAt": "2026-03-02T12:00:00Z"
        })
    ))
)]
pub async fn get(caller: Authenticated, _: Checked<NoParams>) -> Result<HttpResponse, Problem> {
    let caller = caller.authenticated.caller;
    let key_id = match caller.credential {
        Credential::Token | Credential::Link => None,
        Credential::ApiKey(key_id) => Some(key_id),
    };
    Ok(json(&Me {
        credential: caller.credential.kind(),
        key_id,
        all_orgs: caller.roles.contains(&Role::SystemAdmin),
        roles: caller.roles.iter().map(|role| role.as_str()).collect(),
        subject: caller.subject,
        orgs: caller.org_ids,
        expires_at: caller.expires_at,
    }))
}
