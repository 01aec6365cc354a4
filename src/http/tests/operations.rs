//! The operations port: what it shows to everyone, and what it does for operators alone.

use std::time::Duration;

use actix::{Actor, Context};
use actix_web::{http::Method, test};
use serde_json::{Value, json};

use super::support::*;
use crate::{
    actors::{
        serving::error::QueryError,
        supervision::{
            group::{Exhausted, Stage},
            log::Note,
            orders::Supervise,
            single::Single,
            vitals::{Vitals, supervised},
        },
    },
    auth::Role,
    domain::{audit::Outcome, supervision::SupervisionKind},
    http::{Ops, ops},
};

struct Idle {
    vitals: Vitals,
}

supervised!(Idle);

impl Actor for Idle {
    type Context = Context<Self>;
}

/// Puts an actor under the port's supervisor.
async fn with_actor(ops: &Ops) {
    let single = Single { deadline: Duration::from_secs(60), ending: Stage::ends };
    let start = single.start("query/0", |(), vitals| Idle { vitals }, (), |_| {});
    let supervise = Supervise { name: "query/0".to_owned(), exhausted: Exhausted::Escalate, start };
    ops.supervisor.send(supervise).await.unwrap();
    until(ops, 1).await;
}

/// Waits until the actor runs in that generation.
async fn until(ops: &Ops, generation: u64) {
    loop {
        let tree = serde_json::to_value(ops.registry.tree()).unwrap();
        if tree[0]["generation"] == generation && tree[0]["state"] == "running" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn send(parts: &Ops, method: Method, path: &str, token: Option<String>) -> (u16, Value) {
    let app = test::init_service(ops(parts.clone())).await;
    let mut request = test::TestRequest::default().method(method).uri(path);
    if let Some(token) = token {
        request = request.insert_header(("authorization", format!("Bearer {token}")));
    }
    let response = read(test::call_service(&app, request.to_request()).await).await;
    (response.status.as_u16(), response.json())
}

#[actix_web::test]
async fn actors_and_partitions_are_shown_without_a_credential() {
    let ops = operations(None, false);
    with_actor(&ops).await;
    let (status, tree) = send(&ops, Method::GET, "/ops/actors", None).await;
    assert_eq!(
        (status, &tree["actors"][0]["name"], &tree["actors"][0]["inFlight"]),
        (200, &json!("query/0"), &json!(0))
    );
    let (status, partitions) = send(&ops, Method::GET, "/ops/partitions", None).await;
    assert_eq!(status, 200);
    let partition = &partitions["partitions"][0];
    assert_eq!((&partition["nextOffset"], &partition["ownerName"]), (&json!(17), &json!("host/1")));
}

#[actix_web::test]
async fn the_log_is_readable_during_a_database_outage() {
    let ops = operations(None, false);
    let (status, page) = send(&ops, Method::GET, "/ops/supervision?limit=2&actor=writer/7", None).await;
    assert_eq!((status, &page["source"]), (200, &json!("database")));
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    assert_eq!(page["events"][0]["actor"], "writer/7");
    assert_eq!(page["next"], page["events"][1]["eventId"]);
    let ops = operations(Some(QueryError::Unavailable), false);
    ops.log.note(Note::new("writer/0", SupervisionKind::Failed).cause("no luck"));
    ops.log.note(Note::new("writer/1", SupervisionKind::Failed).cause("no luck"));
    let (status, page) = send(&ops, Method::GET, "/ops/supervision?actor=writer/0", None).await;
    assert_eq!((status, &page["source"], &page["next"]), (200, &json!("memory"), &Value::Null));
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    for (query, field) in [("limit=0", "limit"), ("limit=x", "limit"), ("before=1", "before"), ("who=me", "who")] {
        let (status, problem) = send(&ops, Method::GET, &format!("/ops/supervision?{query}"), None).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!(field)));
    }
}

#[actix_web::test]
async fn only_operators_restart_actors() {
    let ops = operations(None, false);
    with_actor(&ops).await;
    let path = "/ops/actors/query/0/restart";
    assert_eq!(send(&ops, Method::POST, path, None).await.0, 401);
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Operator) {
        assert_eq!(send(&ops, Method::POST, path, Some(token(role))).await.0, 403, "{role}");
    }
    let operator = || Some(token(Role::Operator));
    assert_eq!(send(&ops, Method::GET, path, operator()).await.0, 405);
    assert_eq!(send(&ops, Method::POST, "/ops/actors/query/9/restart", operator()).await.0, 404);
    let (status, accepted) = send(&ops, Method::POST, path, operator()).await;
    assert_eq!((status, accepted), (202, json!({"actor": "query/0", "requested": "restart"})));
    until(&ops, 2).await;
    let requested = ops.log.recent().into_iter().find(|event| event.what == SupervisionKind::RestartRequested).unwrap();
    assert_eq!((requested.actor.as_str(), requested.by_whom.as_deref()), ("query/0", Some("ann")));
}

#[actix_web::test]
async fn operator_acts_are_recorded_first() {
    let ops = operations(None, true);
    with_actor(&ops).await;
    let (books, operator) = (Books::default(), token(Role::Operator));
    ops.gatekeeper.audit.set(books.clone().start().recipient());
    assert_eq!(send(&ops, Method::POST, "/ops/actors/query/0/restart", Some(operator.clone())).await.0, 202);
    until(&ops, 2).await;
    assert_eq!(send(&ops, Method::POST, "/ops/actors/query/9/drill?kind=hang", Some(operator.clone())).await.0, 404);
    let seen: Vec<_> = books.take().into_iter().map(|event| (event.action, event.target.unwrap())).collect();
    assert_eq!(seen, [("actor.restart", "query/0".to_owned()), ("actor.drill", "query/9".to_owned())]);
    let failed = ops.gatekeeper.backlog.take(9, true).rows();
    assert_eq!(failed.iter().map(|event| event.outcome).collect::<Vec<_>>(), [Outcome::Failed]);
    ops.gatekeeper.audit.set(Books { away: true, ..Books::default() }.start().recipient());
    for path in ["/ops/actors/query/0/restart", "/ops/actors/query/0/drill?kind=panic"] {
        assert_eq!(send(&ops, Method::POST, path, Some(operator.clone())).await.0, 503);
    }
    assert_eq!(ops.log.recent().iter().filter(|event| event.what == SupervisionKind::RestartRequested).count(), 1);
    assert!(ops.log.recent().iter().all(|event| event.what != SupervisionKind::Drilled));
}

#[actix_web::test]
async fn drills_are_there_only_where_they_are_allowed() {
    let path = "/ops/actors/query/0/drill?kind=panic";
    let ops = operations(None, false);
    with_actor(&ops).await;
    assert_eq!(send(&ops, Method::POST, path, Some(token(Role::Operator))).await.0, 404);
    let ops = operations(None, true);
    with_actor(&ops).await;
    assert_eq!(send(&ops, Method::POST, path, None).await.0, 401);
    let wrong = "/ops/actors/query/0/drill?kind=explode";
    assert_eq!(send(&ops, Method::POST, wrong, Some(token(Role::Operator))).await.0, 400);
    assert_eq!(send(&ops, Method::POST, path, Some(token(Role::Operator))).await.0, 202);
    until(&ops, 2).await;
    let failed = ops.log.recent().into_iter().find(|event| event.what == SupervisionKind::Failed).unwrap();
    assert!(failed.cause.is_some_and(|cause| cause.starts_with("panicked")));
}
