//! `/ops/…`: the tree of actors, the supervision log, the partitions; restarts by operators. No org's data, no secret.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Ops,
    access::Operator,
    error::Problem,
    json,
    params::{Choice, Params},
};
use crate::{
    actors::{
        serving::query::{GetPartitions, GetSupervision},
        supervision::{
            exit::End,
            orders::{Drill, Restart, RestartError},
            registry::{ActorState, ActorView},
        },
    },
    domain::supervision::{LogQuery, PartitionStatus, SupervisionEvent},
};

/// Events of one page of the log.
const PAGE: u16 = 50;
const MAX_PAGE: u16 = 500;

/// Acts, as the audit log calls them.
const RESTART: &str = "actor.restart";
const DRILL: &str = "actor.drill";

#[derive(Serialize)]
struct Actors {
    actors: Vec<ActorView>,
}

/// What every actor of this process is doing.
pub async fn actors(ops: web::Data<Ops>) -> HttpResponse {
    json(&Actors { actors: ops.registry.tree() })
}

#[derive(Serialize)]
struct Partitions {
    partitions: Vec<Partition>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Partition {
    #[serde(flatten)]
    status: PartitionStatus,
    /// Of its pipeline, where that is in this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<ActorState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

/// Who works on which partition, and how far it is.
pub async fn partitions(ops: web::Data<Ops>) -> Result<HttpResponse, Problem> {
    let found = ops.queries.send(GetPartitions, ops.response_timeout).await?;
    let tree = ops.registry.tree();
    let partition = |status: PartitionStatus| {
        let name = crate::actors::pipeline::partition::group_name(status.partition);
        let here = tree.iter().find(|actor| actor.name == name);
        Partition { state: here.map(|actor| actor.state), cause: here.and_then(|actor| actor.cause.clone()), status }
    };
    Ok(json(&Partitions { partitions: found.into_iter().map(partition).collect() }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    events: Vec<SupervisionEvent>,
    /// Give it as `before` for the next page; none where this is the last one.
    next: Option<Uuid>,
    source: Source,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Database,
    /// The database is away: only what happened in this process, and not long ago.
    Memory,
}

/// The supervision log of all processes, newest first.
pub async fn supervision(request: HttpRequest, ops: web::Data<Ops>) -> Result<HttpResponse, Problem> {
    let mut params = Params::new(&request, names(["actor", "limit", "before", "after"]));
    let actor = params.text("actor", 100);
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/-".contains(&b);
    if actor.as_ref().is_some_and(|name| !name.bytes().all(is_name)) {
        params.problem("actor", "must be the name of an actor, such as writer/0");
    }
    let (before, after) = (params.id("before"), params.id("after"));
    let limit = i64::from(params.number("limit", MAX_PAGE, PAGE));
    let query = params.finish(Some(LogQuery { actor, before, after, limit }))?;
    let (events, source) = match ops.queries.send(GetSupervision(query.clone()), ops.response_timeout).await {
        Ok(events) => (events, Source::Database),
        Err(Problem::Unavailable | Problem::Busy | Problem::TooSlow) => (remembered(&ops, &query), Source::Memory),
        Err(problem) => return Err(problem),
    };
    let full = i64::try_from(events.len()).is_ok_and(|found| found == limit);
    let next = events.last().filter(|_| full).map(|event| event.event_id);
    Ok(json(&Log { events, next, source }))
}

/// The parameters of a path that no description has.
fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).into()
}

fn remembered(ops: &Ops, query: &LogQuery) -> Vec<SupervisionEvent> {
    let matches = |event: &SupervisionEvent| {
        query.actor.as_ref().is_none_or(|actor| *actor == event.actor)
            && query.before.is_none_or(|before| event.event_id < before)
            && query.after.is_none_or(|after| event.event_id > after)
    };
    ops.log.recent().into_iter().filter(matches).take(usize::try_from(query.limit).unwrap_or_default()).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    actor: String,
    requested: &'static str,
}

/// Restarts an actor, and with it those that it cannot be without: the other actors of its partition.
pub async fn restart(
    operator: Operator,
    name: web::Path<String>,
    ops: web::Data<Ops>,
) -> Result<HttpResponse, Problem> {
    let actor = name.into_inner();
    operator.record(RESTART, &actor).await?;
    let restart = Restart { actor: actor.clone(), by_whom: operator.subject() };
    let done = ops.supervisor.send(restart).await.map_err(|_| Problem::Unavailable)?;
    if done.is_err() {
        operator.failed(RESTART, &actor);
    }
    accepted(done, Accepted { actor, requested: "restart" })
}

impl Choice for End {
    fn words() -> Vec<(&'static str, Self)> {
        Self::DRILLS.into()
    }
}

/// Makes an actor fail, where drills are allowed.
pub async fn drill(
    operator: Operator,
    name: web::Path<String>,
    request: HttpRequest,
    ops: web::Data<Ops>,
) -> Result<HttpResponse, Problem> {
    if !ops.drills {
        return Err(Problem::NotFound);
    }
    let mut params = Params::new(&request, names(["kind"]));
    let end = params.choice("kind");
    let end = params.finish(Some(end))?;
    let actor = name.into_inner();
    operator.record(DRILL, &actor).await?;
    let drill = Drill { actor: actor.clone(), end, by_whom: operator.subject() };
    let done = ops.supervisor.send(drill).await.map_err(|_| Problem::Unavailable)?;
    if done.is_err() {
        operator.failed(DRILL, &actor);
    }
    accepted(done, Accepted { actor, requested: "drill" })
}

fn accepted(done: Result<(), RestartError>, accepted: Accepted) -> Result<HttpResponse, Problem> {
    match done {
        Ok(()) => Ok(HttpResponse::Accepted().json(accepted)),
        Err(RestartError::Unknown) => Err(Problem::NoSuch("this process has no actor of this name")),
        Err(RestartError::Leaving) => Err(Problem::Unavailable),
    }
}
