//! Events that come by HTTP: in the stream when they are accepted, counted once however often they are sent, and with
//! the broker or the database away.

use std::time::Instant;

use analytics_service::auth::Role;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    fault_away::is_down,
    harness::{AT_ONCE, LedgerSums, Service, Stopped, Totals, World, bound, eventually, number, sent, settled},
};

const EVENTS: &str = "/analytics/v1/events";

fn event(org: Uuid, occurred_at: DateTime<Utc>) -> Value {
    json!({
        "eventId": Uuid::new_v4(), "orgId": org, "modelId": Uuid::from_u128(3), "occurredAt": occurred_at,
        "status": "success", "latencyMs": 12, "inputTokens": 3, "outputTokens": 4, "costEstimateCents": 0.0001,
    })
}

fn enabled(world: &mut World) {
    world.set("ANALYTICS__INGEST__ENABLED", "true");
}

async fn post(service: &Service, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
    service.post(path, token, body.to_string().into_bytes()).await
}

#[tokio::test]
async fn accepted_events_are_stored_once() {
    let mut world = World::new(3).await;
    enabled(&mut world);
    let service = world.serve().await;
    let orgs: Vec<Uuid> = (0..10).map(|_| Uuid::new_v4()).collect();
    let token = service.token(&orgs, &[Role::Producer]);
    let events: Vec<Value> = (0..1000).map(|n| event(orgs[n % 10], Utc::now())).collect();
    for _ in 0..2 {
        let (status, answer) = post(&service, EVENTS, &token, &json!(events)).await;
        assert_eq!((status.as_u16(), answer), (202, json!({"accepted": 1000, "rejected": 0})));
    }
    let one = post(&service, EVENTS, &token, &events[0]).await;
    assert_eq!((one.0.as_u16(), one.1), (202, json!({"accepted": 1, "rejected": 0})));
    let mut conn = world.connect().await;
    settled(&mut conn, 2001).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((ledger.stored, ledger.duplicates, ledger.rejected), (1000, 1001, 0));
    let raw = Totals::raw(&mut conn).await;
    assert_eq!(raw.values().map(|totals| totals.invocations).sum::<i64>(), 1000);
    assert_eq!(Totals::rolled_up(&mut conn, "hourly_rollups").await, raw);
    let misplaced = number(&mut conn, "SELECT sum(foreign_writes)::bigint FROM analytics.partition_offsets").await;
    assert_eq!(misplaced, 0, "each event went to the home of its org");
}

#[tokio::test]
async fn a_partly_invalid_request_publishes_nothing() {
    let mut world = World::new(1).await;
    enabled(&mut world);
    let service = world.serve().await;
    let (own, other) = (Uuid::new_v4(), Uuid::new_v4());
    let token = service.token(&[own], &[Role::Producer]);
    let mixed = json!([event(own, Utc::now()), event(other, Utc::now())]);
    assert_eq!(post(&service, EVENTS, &token, &mixed).await.0, 403);
    let early = event(own, Utc::now() + TimeDelta::hours(1));
    let (status, answer) = post(&service, EVENTS, &token, &json!([early, {}])).await;
    assert_eq!((status.as_u16(), &answer["errors"][0]["field"]), (400, &json!("[0].occurredAt")), "{answer}");
    let (status, answer) = post(&service, EVENTS, &token, &json!([early, event(own, Utc::now())])).await;
    assert_eq!((status.as_u16(), &answer["accepted"], &answer["rejected"]), (202, &json!(1), &json!(1)));
    let mut conn = world.connect().await;
    settled(&mut conn, 1).await;
    assert_eq!((world.in_streams().await, LedgerSums::of_batches(&mut conn).await.stored), (1, 1));
}

#[tokio::test]
async fn when_switched_off_events_are_only_checked() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let token = service.token(&[org], &[Role::Producer]);
    let good = event(org, Utc::now());
    assert_eq!(post(&service, "/analytics/v1/events/validate", &token, &good).await.0, 204);
    let (status, problem) = post(&service, EVENTS, &token, &good).await;
    assert_eq!((status.as_u16(), &problem["type"]), (404, &json!("/problems/not-enabled")));
    let report = world.publish(&["--events", "10"]).await;
    assert_eq!(world.in_streams().await, sent(&report), "only what came by the other way");
}

#[tokio::test]
async fn events_need_the_broker_not_the_database() {
    let mut world = World::exclusive(1).await;
    enabled(&mut world);
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let token = service.token(&[org], &[Role::Producer]);
    let send = async || post(&service, EVENTS, &token, &event(org, Utc::now())).await.0.as_u16();
    assert_eq!(send().await, 202);

    let database = Stopped::server("postgres").await;
    eventually("the database is seen to be away", async || {
        is_down(&service.readiness().await?.1, "database").then_some(())
    })
    .await;
    assert_eq!(send().await, 202);
    database.start().await;
    let mut conn = world.connect().await;
    settled(&mut conn, 2).await;

    let broker = Stopped::server("rabbitmq").await;
    let (asked, body) = (Instant::now(), event(org, Utc::now()).to_string().into_bytes());
    assert_eq!(service.try_send(Method::POST, EVENTS, &token, body).await.0, 503);
    assert!(asked.elapsed() < bound(AT_ONCE), "{:?}", asked.elapsed());
    broker.start().await;
    assert_eq!(send().await, 202);
    settled(&mut conn, world.in_streams().await).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((ledger.stored, ledger.rejected), (ledger.received, 0));
}
