//! `GET /analytics/v1/audit`: who did what, for system administrators alone.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{AuthorizedAnywhere, ReadAudit},
    cursor,
    error::Problem,
    json,
    params::Params,
};
use crate::{
    actors::serving::query::GetAudit,
    domain::audit::{AuditQuery, AuditRecord, Outcome},
};

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 500;

/// What `parse` reads.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "for the API's description")]
struct PageParams {
    /// At this moment or later: a time (RFC 3339), or a date, whose day of UTC begins then
    start: Option<String>,
    /// Before this moment
    end: Option<String>,
    /// Only what concerns this organisation
    org_id: Option<Uuid>,
    /// Only this action, such as usage.read
    #[param(pattern = "^[a-z_.]{1,50}$")]
    action: Option<String>,
    /// Only what this subject did
    #[param(min_length = 1, max_length = 200)]
    subject: Option<String>,
    /// Only with this outcome: all (default), allowed, denied or failed
    #[param(inline)]
    outcome: Option<OutcomeFilter>,
    /// Events of a page, 50 without it
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
    /// nextCursor of the page before
    cursor: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the API's description")]
enum OutcomeFilter {
    All,
    Allowed,
    Denied,
    Failed,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditPage)]
#[serde(rename_all = "camelCase")]
struct Page {
    events: Vec<AuditRecord>,
    /// Only where there are more
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List audit events, newest first
///
/// Reading it is itself recorded.
#[utoipa::path(
    get,
    path = "/analytics/v1/audit",
    operation_id = "listAuditEvents",
    tag = "administration",
    params(PageParams),
    responses((
        status = 200,
        description = "A page",
        body = Page,
        example = json!({"events": [{
            "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "occurredAt": "2026-03-02T11:00:00Z", "subject": "ann",
            "credential": "token", "roles": ["system_admin"], "action": "usage.read",
            "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10", "target": null, "outcome": "allowed",
            "requestId": "4f6c1f0e-6f0b-4c0e-9d5e-3c8b8a1f2d77", "address": "10.1.2.3", "detail": null, "count": 1,
            "firstAt": null
        }]})
    ))
)]
pub async fn list(
    _: AuthorizedAnywhere<ReadAudit>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let query = parse(request.query_string())?;
    let page = api.queries.send(GetAudit(query), api.answer_within).await?;
    let next_cursor = page.next().map(cursor::of);
    Ok(json(&Page { events: page.events, next_cursor }))
}

fn parse(query: &str) -> Result<AuditQuery, Problem> {
    let known = ["start", "end", "orgId", "action", "subject", "outcome", "limit", "cursor"];
    let mut params = Params::new(query, &known);
    let (start, end) = params.span_if_given();
    let org_id = params.id("orgId");
    let action = params.single("action");
    let is_action = |text: &String| {
        (1..=50).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b"_.".contains(&b))
    };
    if action.as_ref().is_some_and(|action| !is_action(action)) {
        params.problem("action", "must be the name of an action, such as usage.read");
    }
    let subject = params.text("subject", 200);
    // The one character that no stored subject has.
    if subject.as_ref().is_some_and(|subject| subject.contains('\0')) {
        params.problem("subject", "must not have a NUL");
    }
    let outcomes = Outcome::ALL.map(|outcome| (outcome.as_str(), Some(outcome)));
    let outcome = params.choice("outcome", [("all", None), outcomes[0], outcomes[1], outcomes[2]]);
    let limit = params.number("limit", MAX_LIMIT, DEFAULT_LIMIT);
    let before = cursor::read(&mut params);
    params.finish(Some(AuditQuery { start, end, org_id, action, subject, outcome, before, limit }))
}
