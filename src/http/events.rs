//! `/analytics/v1/events`: events checked, and events taken into the stream.

use std::time::Duration;

use actix_web::{HttpResponse, http::StatusCode, web};
use serde::Serialize;
use tracing::Span;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, OneOfBuilder, Ref, RefOr, Schema},
};
use uuid::Uuid;

use super::{
    Api,
    access::{AuthorizedBody, Needs, PublishEvents, ValidateEvents},
    error::{FieldError, Problem},
    json_body::JsonBody,
    json_with,
    params::{Checked, NoParams},
};
use crate::{
    actors::{
        serving::events::{Check, NotPublished, Publish},
        supervision::actor_ref::ActorRef,
    },
    domain::{
        event::{Event, Reason},
        submission::{Judgement, MAX_EVENTS, Submission},
    },
};

/// Problems that one response lists where nothing was taken.
const MAX_PROBLEMS: usize = 50;

/// The actor that checks and publishes, by its messages.
#[derive(Clone, Default)]
pub struct EventRefs {
    pub check: ActorRef<Check>,
    pub publish: ActorRef<Publish>,
    /// Longest that a handler waits for it; its own deadlines end sooner.
    pub response_timeout: Duration,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Published {
    /// Events that are in the stream
    accepted: usize,
    /// What was sent and is no event
    rejected: usize,
    /// One for each that was sent, in their order; only where some are rejected
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<EventResult>>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EventResult {
    /// Its place in the array, from 0
    index: usize,
    status: EventStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<Uuid>,
    /// Every rule that it breaks
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EventStatus {
    Accepted,
    Rejected,
}

/// Check an event against the rules, without storing it
#[utoipa::path(
    post,
    path = "/analytics/v1/events/validate",
    operation_id = "validateEvent",
    tag = "events",
    request_body(content = Event, description = "The event"),
    responses((status = 204, description = "It is an event"))
)]
pub async fn validate(
    producer: AuthorizedBody<ValidateEvents>,
    api: web::Data<Api>,
    JsonBody(body): JsonBody,
    _: Checked<NoParams>,
) -> Result<HttpResponse, Problem> {
    let submission = read(&producer, &body).await?;
    if submission.many {
        return Err(Problem::field("body", "must be one event"));
    }
    let check = Check(body.into());
    let actor = api.events.check.get().ok_or(Problem::Unavailable)?;
    match actor.send(check).timeout(api.events.response_timeout).await? {
        Ok(_) => Ok(HttpResponse::NoContent().finish()),
        Err(reasons) => Err(Problem::of_reasons(reasons)),
    }
}

/// Publish an event, or an array of up to 1,000
///
/// Off unless `ingest.enabled`. An event that is sent again is counted once, so a request without a response can be sent
/// again as it is. What breaks rules is not taken; the rest of its array is.
#[utoipa::path(
    post,
    path = "/analytics/v1/events",
    operation_id = "publishEvents",
    tag = "events",
    request_body(content = Submission, description = "One event or an array of at most 1,000"),
    responses(
        (
            status = 202,
            description = "The broker has confirmed what was accepted",
            body = Published,
            examples(
                ("all" = (summary = "Every event was accepted", value = json!({"accepted": 2, "rejected": 0}))),
                ("some" = (summary = "One of two is no event", value = json!({
                    "accepted": 1, "rejected": 1, "results": [
                        {"index": 0, "status": "accepted", "eventId": "7c1f3c0a-8f0e-4e7e-8a3e-3f5f9b0b6c11"},
                        {"index": 1, "status": "rejected", "errors": [{"field": "status", "message": "is required"}]}
                    ]
                })))
            )
        ),
        (status = 404, description = "Switched off")
    )
)]
pub async fn publish(
    producer: AuthorizedBody<PublishEvents>,
    api: web::Data<Api>,
    JsonBody(body): JsonBody,
    _: Checked<NoParams>,
) -> Result<HttpResponse, Problem> {
    let Submission { bodies, many } = read(&producer, &body).await?;
    let actor = api.events.publish.get().ok_or(Problem::Unavailable)?;
    let response = actor.send(Publish { bodies, span: Span::current() }).timeout(api.events.response_timeout).await?;
    let judged = response.map_err(|error| match error {
        NotPublished::Off => Problem::EventsOff,
        NotPublished::Failed(error) => error.into(),
    })?;
    if judged.iter().all(Result::is_err) {
        return Err(Problem::InvalidParameters(errors(judged, many)));
    }
    Ok(json_with(StatusCode::ACCEPTED, &published(judged)))
}

/// Its events are checked one by one, and so they are described.
impl PartialSchema for Submission {
    fn schema() -> RefOr<Schema> {
        let event = Ref::from_schema_name(Event::name());
        let many = ArrayBuilder::new().items(event.clone()).min_items(Some(1)).max_items(Some(MAX_EVENTS));
        OneOfBuilder::new().item(event).item(many).into()
    }
}

impl ToSchema for Submission {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Event::name().into_owned(), Event::schema()));
        Event::schemas(schemas);
    }
}

/// Parses the body, and accepts it only where the caller may do this for every org in it.
async fn read<P: Needs>(producer: &AuthorizedBody<P>, body: &[u8]) -> Result<Submission, Problem> {
    let submission = Submission::read(body).map_err(|error| Problem::field("body", error.to_string()))?;
    producer.allow(&submission.orgs()).await?;
    Ok(submission)
}

fn errors(judged: Vec<Judgement>, many: bool) -> Vec<FieldError> {
    let all = judged.into_iter().enumerate().flat_map(|(index, judgement)| {
        let reasons = judgement.err().unwrap_or_default();
        reasons.into_iter().map(move |Reason { field, rule }| {
            let field = if many { format!("[{index}].{field}") } else { field.to_owned() };
            FieldError { field, message: rule }
        })
    });
    all.take(MAX_PROBLEMS).collect()
}

fn published(judged: Vec<Judgement>) -> Published {
    let (sent, accepted) = (judged.len(), judged.iter().filter(|judgement| judgement.is_ok()).count());
    let result = |(index, judgement): (usize, Judgement)| match judgement {
        Ok(accepted) => {
            EventResult { index, status: EventStatus::Accepted, event_id: Some(accepted.event_id), errors: Vec::new() }
        }
        Err(reasons) => {
            let errors = reasons.into_iter().map(FieldError::from).collect();
            EventResult { index, status: EventStatus::Rejected, event_id: None, errors }
        }
    };
    let results = (accepted < sent).then(|| judged.into_iter().enumerate().map(result).collect());
    Published { accepted, rejected: sent - accepted, results }
}
