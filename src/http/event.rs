//! `GET /analytics/v1/orgs/{orgId}/events/{eventId}`: what became of an event.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, SubsecRound, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema, openapi::path::Parameter};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, ReadEvents},
    error::Problem,
    examples, json,
    params::{self, Checked, Parameters, Params},
    report::Completeness,
};
use crate::{
    actors::serving::query::GetEvent,
    domain::event_fate::{Duplicates, FateQuery, RejectedEvent, StoredEvent, Verdict},
};

/// Which event is meant.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct EventParams {
    #[param(ignore)]
    event_id: Uuid,
    /// Of the copy that status is to be about; any without it. A time (RFC 3339)
    #[param(value_type = Option<String>, example = "2026-03-01T10:20:30Z")]
    occurred_at: Option<DateTime<Utc>>,
}

impl Parameters for EventParams {
    fn describe() -> Vec<Parameter> {
        let event_id = params::path_id("eventId", "The event's id, as its producer chose it");
        [vec![event_id], Self::into_params(|| None)].concat()
    }

    fn parse(params: &mut Params) -> Option<Self> {
        let event_id = params.path_id("eventId");
        // As it is stored: cut to microseconds.
        let occurred_at = params.moment_if_given("occurredAt", Tz::UTC).map(|at| at.trunc_subsecs(6));
        Some(Self { event_id: event_id?, occurred_at })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = EventReport)]
#[serde(rename_all = "camelCase")]
struct Report {
    org_id: Uuid,
    event_id: Uuid,
    /// stored: it is counted; duplicate: it is not, since another copy of it was stored first; rejected: it broke a rule;
    /// unknown: nothing is known of it up to asOf
    status: Verdict,
    /// Where the event is counted, newest first, at most 20: more than one only where the id came with moments that lie farther
    /// apart than the dedupe window
    stored: Vec<StoredEvent>,
    /// Copies that came again and were not counted, as far as they are known. Null says little: only the latest duplicates of
    /// an organisation are kept by name; the ledger counts all
    duplicates: Option<Duplicates>,
    /// Dead letters of this id, newest first, at most 20
    rejections: Vec<RejectedEvent>,
    /// From when on there are raw events: of an earlier event nothing may be known. Null where none were purged
    raw_from: Option<DateTime<Utc>>,
    #[serde(flatten)]
    completeness: Completeness,
}

/// Look up what became of an event
///
/// Says why an event is in the numbers, or is not. A message whose organisation or eventId cannot be read is not found by this.
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/events/{eventId}",
    operation_id = "getEvent",
    tag = "completeness",
    responses((
        status = 200,
        description = "What is known of it, and how complete that is",
        body = Report,
        example = json!({
            "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10", "eventId": "7c1f3c0a-8f0e-4e7e-8a3e-3f5f9b0b6c11",
            "status": "stored",
            "stored": [{
                "modelId": "184c8fba-1989-5175-9e7e-a2283132a2f9", "occurredAt": "2026-03-02T10:59:58.5Z",
                "bucketStart": "2026-03-02T10:00:00Z", "committedAt": "2026-03-02T10:59:58.9Z", "merged": true
            }],
            "duplicates": {
                "copies": 1, "conflict": false, "occurredAt": "2026-03-02T10:59:58.5Z",
                "firstAt": "2026-03-02T10:59:59.4Z", "lastAt": "2026-03-02T10:59:59.4Z"
            },
            "rejections": [], "rawFrom": null,
            "freshness": examples::freshness(),
            "asOf": "2026-03-02T11:00:00.088Z"
        })
    ))
)]
pub async fn get(
    org: Authorized<ReadEvents>,
    Checked(EventParams { event_id, occurred_at }): Checked<EventParams>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    let query = FateQuery { org_id: org.org_id, event_id, occurred_at };
    let fate = api.queries.send(GetEvent(query), api.response_timeout).await?;
    Ok(json(&Report {
        org_id: query.org_id,
        event_id: query.event_id,
        status: fate.verdict(query.occurred_at),
        stored: fate.stored,
        duplicates: fate.duplicates,
        rejections: fate.rejections,
        raw_from: fate.raw_from,
        completeness: Completeness { freshness: Some(fate.freshness), as_of: fate.as_of },
    }))
}
