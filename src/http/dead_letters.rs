//! `/analytics/v1/orgs/{orgId}/dead-letters`: the org's rejected messages, and the events that take their place.
//! `/analytics/v1/dead-letters`: messages that do not tell their org, for system administrators alone.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, AuthorizedAnywhere, ReadDeadLetters, ReadUnreadable, ReplayDeadLetters},
    cursor,
    error::{FieldError, Problem},
    json,
    json_body::JsonBody,
    json_with,
    params::{self, Params},
    send::send,
};
use crate::{
    actors::serving::{
        corrections::Correct,
        query::{GetDeadLetter, ListDeadLetters},
    },
    domain::{
        correction::Outcome,
        dead_letter::{DeadLetter, DeadLetterQuery, OpenedLetter, State, Whose},
        event::{Event, Reason},
    },
};

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 200;
const MAX_REASON_BYTES: usize = 200;

/// What `parse` reads.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
#[expect(dead_code, reason = "for the API's description")]
struct PageParams {
    /// Rejected at this moment or later: a time (RFC 3339), or a date, whose day of UTC begins then
    start: Option<String>,
    /// Rejected before this moment
    end: Option<String>,
    /// Only those in this state: all (default), open, corrected or replayed
    #[param(inline)]
    state: Option<StateFilter>,
    /// Only those of messages with this eventId
    event_id: Option<Uuid>,
    /// Only those that have this text in one of their reasons, such as `latencyMs:` for a field or a part of a rule
    #[param(min_length = 1, max_length = 200)]
    reason: Option<String>,
    /// Letters of a page, 50 without it
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u16>,
    /// nextCursor of the page before
    cursor: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the API's description")]
enum StateFilter {
    All,
    Open,
    Corrected,
    Replayed,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetterPage)]
#[serde(rename_all = "camelCase")]
struct Page {
    dead_letters: Vec<DeadLetter>,
    /// Only where there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Replayed {
    id: Uuid,
    state: State,
    event_id: Uuid,
}

/// List the rejected messages of an organisation, newest first
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/dead-letters",
    operation_id = "listDeadLetters",
    tag = "dead letters",
    params(
        ("orgId" = Uuid, Path, description = "Organisation"),
        PageParams,
    ),
    responses((
        status = 200,
        description = "A page",
        body = Page,
        example = json!({"deadLetters": [{
                "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
                "rejectedAt": "2026-03-02T11:00:00Z", "reasons": ["status: is required"], "payloadBytes": 214,
                "payloadSha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "state": "open",
                "correctedBy": null, "correctedAt": null, "replayedAt": null
            }]})
    ))
)]
pub async fn list(
    org: Authorized<ReadDeadLetters>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    page(&api, Whose::Org(org.org_id), &request).await
}

/// List rejected messages without a readable organisation
#[utoipa::path(
    get,
    path = "/analytics/v1/dead-letters",
    operation_id = "listUnreadableDeadLetters",
    tag = "dead letters",
    params(
        PageParams,
    ),
    responses((
        status = 200,
        description = "A page",
        body = Page,
        example = json!({"deadLetters": [{
                "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
                "rejectedAt": "2026-03-02T11:00:00Z", "reasons": ["status: is required"], "payloadBytes": 214,
                "payloadSha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "state": "open",
                "correctedBy": null, "correctedAt": null, "replayedAt": null
            }]})
    ))
)]
pub async fn list_unreadable(
    _: AuthorizedAnywhere<ReadUnreadable>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    page(&api, Whose::Unreadable, &request).await
}

/// Show a rejected message and its payload
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/dead-letters/{id}",
    operation_id = "getDeadLetter",
    tag = "dead letters",
    params(
        ("orgId" = Uuid, Path, description = "Organisation"),
        ("id" = Uuid, Path, description = "The letter's id, from a list"),
    ),
    responses((
        status = 200,
        description = "The letter and its payload",
        body = OpenedLetter,
        example = json!({
                "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
                "rejectedAt": "2026-03-02T11:00:00Z", "reasons": ["status: is required"], "payloadBytes": 214,
                "payloadSha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "state": "open",
                "correctedBy": null, "correctedAt": null, "replayedAt": null, "payload": "{}",
                "payloadTruncated": false
            })
    ))
)]
pub async fn get(
    org: Authorized<ReadDeadLetters>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    opened(&api, Whose::Org(org.org_id), &request).await
}

/// Show a rejected message without a readable organisation
#[utoipa::path(
    get,
    path = "/analytics/v1/dead-letters/{id}",
    operation_id = "getUnreadableDeadLetter",
    tag = "dead letters",
    params(
        ("id" = Uuid, Path, description = "The letter's id, from a list"),
    ),
    responses((
        status = 200,
        description = "The letter and its payload",
        body = OpenedLetter,
        example = json!({
                "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "orgId": "6b1f8a52-53a4-4c1f-9d8e-0d1a3f1c7b10",
                "rejectedAt": "2026-03-02T11:00:00Z", "reasons": ["status: is required"], "payloadBytes": 214,
                "payloadSha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "state": "open",
                "correctedBy": null, "correctedAt": null, "replayedAt": null, "payload": "{}",
                "payloadTruncated": false
            })
    ))
)]
pub async fn get_unreadable(
    _: AuthorizedAnywhere<ReadUnreadable>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    opened(&api, Whose::Unreadable, &request).await
}

/// Correct a dead letter
#[utoipa::path(
    post,
    path = "/analytics/v1/orgs/{orgId}/dead-letters/{id}/replay",
    operation_id = "replayDeadLetter",
    tag = "dead letters",
    params(
        ("orgId" = Uuid, Path, description = "Organisation"),
        ("id" = Uuid, Path, description = "The letter's id, from a list"),
    ),
    request_body(content = Event, description = "The corrected event"),
    responses(
        (
            status = 202,
            description = "It is stored and will be published",
            body = Replayed,
            example = json!({
                "id": "019d1f62-7d4a-7c3b-9a59-0f2a51c0d7e4", "state": "corrected",
                "eventId": "7c1f3c0a-8f0e-4e7e-8a3e-3f5f9b0b6c11"
            })
        ),
        (status = 409, description = "Another correction was first"),
        (status = 415, description = "Not JSON")
    )
)]
pub async fn replay(
    org: Authorized<ReplayDeadLetters>,
    request: HttpRequest,
    api: web::Data<Api>,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    // The body was read after the caller was authorized: extractors run in their order.
    params::none(&request)?;
    let dead_letter_id = params::path_id(&request, "id")?;
    let act = org.authenticated.event("dead_letter.correct").of_org(org.org_id).target(dead_letter_id);
    let by = org.authenticated.caller.subject;
    let correction = Correct { org_id: org.org_id, dead_letter_id, body: body.into(), by, act };
    match send(&api.corrections, correction, api.answer_within).await? {
        Outcome::Accepted { state, event_id } => {
            Ok(json_with(StatusCode::ACCEPTED, &Replayed { id: dead_letter_id, state, event_id }))
        }
        Outcome::AlreadyCorrected => Err(Problem::Conflict),
        Outcome::Wrong(reasons) => Err(Problem::InvalidParameters(reasons.into_iter().map(FieldError::from).collect())),
        Outcome::NotFound => Err(Problem::NotFound),
    }
}

impl From<Reason> for FieldError {
    fn from(Reason { field, rule }: Reason) -> Self {
        Self { field: field.to_owned(), message: rule }
    }
}

async fn page(api: &Api, whose: Whose, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let query = parse(whose, request.query_string())?;
    let page = api.queries.send(ListDeadLetters(query), api.answer_within).await?;
    let next_cursor = page.next().map(cursor::of);
    Ok(json(&Page { dead_letters: page.letters, next_cursor }))
}

async fn opened(api: &Api, whose: Whose, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    params::none(request)?;
    let id = params::path_id(request, "id")?;
    let letter = api.queries.send(GetDeadLetter { whose, id }, api.answer_within).await?;
    letter.map(|letter| json(&letter)).ok_or(Problem::NotFound)
}

fn parse(whose: Whose, query: &str) -> Result<DeadLetterQuery, Problem> {
    let mut params = Params::new(query, &["start", "end", "state", "eventId", "reason", "limit", "cursor"]);
    let (start, end) = params.span_if_given();
    let states = State::ALL.map(|state| (state.as_str(), Some(state)));
    let state = params.choice("state", [("all", None), states[0], states[1], states[2]]);
    let event_id = params.id("eventId");
    let reason = params.text("reason", MAX_REASON_BYTES);
    // The one character that no stored reason has.
    if reason.as_ref().is_some_and(|reason| reason.contains('\0')) {
        params.problem("reason", "must not have a NUL");
    }
    let limit = params.number("limit", MAX_LIMIT, DEFAULT_LIMIT);
    let before = cursor::read(&mut params);
    params.finish(Some(DeadLetterQuery { whose, start, end, state, event_id, reason, before, limit }))
}
