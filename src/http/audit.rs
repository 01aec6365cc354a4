//! `GET /analytics/v1/audit`: who did what, for system administrators alone.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{AuthorizedAnywhere, ReadAudit},
    error::Problem,
    json,
    params::{Checked, Filter, NextPage, PageOf, Params, QueryParams},
};
use crate::{
    actors::serving::query::GetAudit,
    domain::audit::{AuditQuery, AuditRecord, Outcome},
};

/// Which events are requested.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct AuditParams {
    /// At this moment or later: a time (RFC 3339), or a date, whose day of UTC begins then
    #[param(value_type = Option<String>)]
    start: Option<DateTime<Utc>>,
    /// Before this moment
    #[param(value_type = Option<String>)]
    end: Option<DateTime<Utc>>,
    /// Only what concerns this organisation
    org_id: Option<Uuid>,
    /// Only this action, such as usage.read
    #[param(pattern = "^[a-z_.]{1,50}$")]
    action: Option<String>,
    /// Only what this subject did
    #[param(min_length = 1, max_length = 200)]
    subject: Option<String>,
    /// Only with this outcome: all (default), allowed, denied or failed
    #[param(inline, required = false)]
    outcome: OutcomeFilter,
}

type OutcomeFilter = Filter<Outcome>;

impl QueryParams for AuditParams {
    fn read(params: &mut Params) -> Option<Self> {
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
        Some(Self { start, end, org_id, action, subject, outcome: params.choice("outcome") })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditPage)]
#[serde(rename_all = "camelCase")]
struct Page {
    events: Vec<AuditRecord>,
    #[serde(flatten)]
    next: NextPage,
}

/// List audit events, newest first
///
/// Reading it is itself recorded.
#[utoipa::path(
    get,
    path = "/analytics/v1/audit",
    operation_id = "listAuditEvents",
    tag = "administration",
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
    Checked((params, page)): Checked<(AuditParams, PageOf<50, 500>)>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let AuditParams { start, end, org_id, action, subject, outcome: Filter(outcome) } = params;
    let PageOf { limit, behind: before } = page;
    let query = AuditQuery { start, end, org_id, action, subject, outcome, before, limit };
    let found = api.queries.send(GetAudit(query), api.response_timeout).await?;
    Ok(json(&Page { next: (&found).into(), events: found.entries }))
}
