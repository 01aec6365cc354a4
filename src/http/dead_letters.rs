//! `/analytics/v1/orgs/{orgId}/dead-letters`: the org's rejected messages, and the events that take their place.
//! `/analytics/v1/dead-letters`: messages that do not name their org, for system administrators alone.

use std::borrow::Cow;

use actix_web::{HttpResponse, http::StatusCode, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};
use uuid::Uuid;

use super::{
    Api,
    access::{Authorized, AuthorizedAnywhere, ReadDeadLetters, ReadUnreadable, ReplayDeadLetters},
    error::Problem,
    examples, json,
    json_body::JsonBody,
    json_with,
    params::{Checked, Filter, LetterId, NextPage, NoParams, PageOf, Params, QueryParams},
    send::send,
};
use crate::{
    actors::serving::{
        corrections::{Correct, Correction},
        query::{GetDeadLetter, ListDeadLetters},
    },
    domain::{
        correction::Outcome,
        dead_letter::{DeadLetter, DeadLetterQuery, LetterScope, OpenedLetter, Payload, State},
        event::Event,
    },
};

const MAX_REASON_BYTES: usize = 200;

/// Which letters are requested.
#[derive(IntoParams)]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub struct DeadLetterParams {
    /// Rejected at this moment or later: a time (RFC 3339), or a date, whose day of UTC begins then
    #[param(value_type = Option<String>)]
    start: Option<DateTime<Utc>>,
    /// Rejected before this moment
    #[param(value_type = Option<String>)]
    end: Option<DateTime<Utc>>,
    /// Only those in this state: all (default), open, corrected or replayed
    #[param(inline, required = false)]
    state: StateFilter,
    /// Only those of messages with this eventId
    event_id: Option<Uuid>,
    /// Only those that have this text in one of their reasons, such as `latencyMs:` for a field or a part of a rule
    #[param(min_length = 1, max_length = 200)]
    reason: Option<String>,
}

type StateFilter = Filter<State>;

impl QueryParams for DeadLetterParams {
    fn read(params: &mut Params) -> Option<Self> {
        let (start, end) = params.span_if_given();
        let (state, event_id) = (params.choice("state"), params.id("eventId"));
        let reason = params.text("reason", MAX_REASON_BYTES);
        // The one character that no stored reason has.
        if reason.as_ref().is_some_and(|reason| reason.contains('\0')) {
            params.problem("reason", "must not have a NUL");
        }
        Some(Self { start, end, state, event_id, reason })
    }
}

type PageParams = (DeadLetterParams, PageOf<50, 200>);

#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetterPage)]
#[serde(rename_all = "camelCase")]
struct Page {
    dead_letters: Vec<DeadLetter>,
    #[serde(flatten)]
    next: NextPage,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Replayed {
    id: Uuid,
    state: State,
    event_id: Uuid,
}

/// One of two fields. That it is one of them is said in words: generators of clients do not take a choice among an object's
/// fields.
impl PartialSchema for Payload {
    fn schema() -> RefOr<Schema> {
        let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
        let payload = ObjectBuilder::new()
            .description(Some("One of the two"))
            .property("payload", text("The message, where it is text"))
            .property("payloadBase64", text("The message in Base64, where it is not"));
        payload.into()
    }
}

impl ToSchema for Payload {
    fn name() -> Cow<'static, str> {
        "DeadLetterPayload".into()
    }
}

/// List the rejected messages of an organisation, newest first
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/dead-letters",
    operation_id = "listDeadLetters",
    tag = "dead letters",
    responses((
        status = 200,
        description = "A page",
        body = Page,
        example = json!({"deadLetters": [examples::letter()]})
    ))
)]
pub async fn list(
    org: Authorized<ReadDeadLetters>,
    Checked(params): Checked<PageParams>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    page(&api, LetterScope::Org(org.org_id), params).await
}

/// List rejected messages without a readable organisation
#[utoipa::path(
    get,
    path = "/analytics/v1/dead-letters",
    operation_id = "listUnreadableDeadLetters",
    tag = "dead letters",
    responses((
        status = 200,
        description = "A page",
        body = Page,
        example = json!({"deadLetters": [examples::letter()]})
    ))
)]
pub async fn list_unreadable(
    _: AuthorizedAnywhere<ReadUnreadable>,
    Checked(params): Checked<PageParams>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    page(&api, LetterScope::Unreadable, params).await
}

/// Show a rejected message and its payload
#[utoipa::path(
    get,
    path = "/analytics/v1/orgs/{orgId}/dead-letters/{id}",
    operation_id = "getDeadLetter",
    tag = "dead letters",
    responses((
        status = 200,
        description = "The letter and its payload",
        body = OpenedLetter,
        example = json!(examples::opened_letter())
    ))
)]
pub async fn get(
    org: Authorized<ReadDeadLetters>,
    _: Checked<NoParams>,
    LetterId(id): LetterId,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    opened(&api, LetterScope::Org(org.org_id), id).await
}

/// Show a rejected message without a readable organisation
#[utoipa::path(
    get,
    path = "/analytics/v1/dead-letters/{id}",
    operation_id = "getUnreadableDeadLetter",
    tag = "dead letters",
    responses((
        status = 200,
        description = "The letter and its payload",
        body = OpenedLetter,
        example = json!(examples::opened_letter())
    ))
)]
pub async fn get_unreadable(
    _: AuthorizedAnywhere<ReadUnreadable>,
    _: Checked<NoParams>,
    LetterId(id): LetterId,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    opened(&api, LetterScope::Unreadable, id).await
}

/// Correct a dead letter
#[utoipa::path(
    post,
    path = "/analytics/v1/orgs/{orgId}/dead-letters/{id}/replay",
    operation_id = "replayDeadLetter",
    tag = "dead letters",
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
        (status = 409, description = "Another correction was first")
    )
)]
pub async fn replay(
    org: Authorized<ReplayDeadLetters>,
    api: web::Data<Api>,
    JsonBody(body): JsonBody,
    _: Checked<NoParams>,
    LetterId(dead_letter_id): LetterId,
) -> Result<HttpResponse, Problem> {
    let act = org.authenticated.event("dead_letter.correct").of_org(org.org_id).target(dead_letter_id);
    let by = org.authenticated.caller.subject;
    let correction = Correction { whose: LetterScope::Org(org.org_id), dead_letter_id, body: body.into(), by, act };
    match send(&api.corrections, Correct(correction), api.response_timeout).await? {
        Outcome::Accepted { state, event_id } => {
            Ok(json_with(StatusCode::ACCEPTED, &Replayed { id: dead_letter_id, state, event_id }))
        }
        Outcome::AlreadyCorrected => Err(Problem::Conflict),
        Outcome::Wrong(reasons) => Err(Problem::of_reasons(reasons)),
        Outcome::NotFound => Err(LetterId::MISSING),
    }
}

async fn page(api: &Api, whose: LetterScope, (params, page): PageParams) -> Result<HttpResponse, Problem> {
    let DeadLetterParams { start, end, state: Filter(state), event_id, reason } = params;
    let PageOf { limit, behind: before } = page;
    let query = DeadLetterQuery { whose, start, end, state, event_id, reason, before, limit };
    let found = api.queries.send(ListDeadLetters(query), api.response_timeout).await?;
    Ok(json(&Page { next: (&found).into(), dead_letters: found.entries }))
}

async fn opened(api: &Api, whose: LetterScope, id: Uuid) -> Result<HttpResponse, Problem> {
    let letter = api.queries.send(GetDeadLetter { whose, id }, api.response_timeout).await?;
    letter.map(|letter| json(&letter)).ok_or(LetterId::MISSING)
}
