//! Whole servers that are stopped and started again, while more than 5,000 events a second are published. Each test has
//! the stack for itself meanwhile.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use analytics_service::auth::Role;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    by_each_protocol::by_each_protocol,
    fault_away::{cache_is_seen, is_down},
    harness::{
        Happened, Load, Protocol, RATE, Stopped, World, assert_stored, eventually, millis, more, number, scale,
        settled, stack,
    },
};

by_each_protocol![a_broker_restart_loses_and_doubles_nothing,];

/// What the service may hold more while the database is away. It holds what the broker sends ahead, 20,000 messages;
/// they were measured to take 34 MiB, and 45 MiB
/// after a minute.
const HELD: u64 = 64 << 20;

async fn a_broker_restart_loses_and_doubles_nothing(by: Protocol) {
    let world = World::exclusive(2).await.read_by(by);
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = Load::start(&world, "31").await;
    millis(500..1000).await;
    let broker = Stopped::server("rabbitmq").await;
    eventually("the broker is seen to be away", async || {
        is_down(&service.readiness().await?.1, "broker").then_some(())
    })
    .await;
    // In a larger run it is away for longer.
    sleep(Duration::from_secs(if scale() == 1 { 0 } else { 20 })).await;
    broker.start().await;
    eprintln!("stored again {:?} after the broker answers", more(&mut conn, 1).await);
    // The publisher is back too, and makes up for it.
    more(&mut conn, RATE * scale()).await;
    let report = load.stop().await;
    let messages = world.in_streams().await;
    eprintln!("{messages} messages in the streams, {} of them sent again at most", report["resent"]);
    settled(&mut conn, messages).await;
    let ledger = assert_stored(&mut conn, &report).await;
    assert_eq!(ledger.received, messages, "every message of the streams is accounted for");
    Happened::assert_nothing_failed(&mut conn).await;
}

#[tokio::test]
async fn a_stopped_database_is_awaited() {
    let world = World::exclusive(1).await;
    let service = world.serve().await;
    let load = Load::start(&world, "32").await;
    more(&mut world.connect().await, 2 * RATE).await;
    let before = service.rss_bytes();
    let database = Stopped::server("postgres").await;
    let away = Instant::now();
    let mut most = before;
    while away.elapsed() < Duration::from_secs(if scale() == 1 { 5 } else { 60 }) {
        most = most.max(service.rss_bytes());
        // The pace of the looks.
        millis(100..101).await;
    }
    let (_, readiness) = service.readiness().await.unwrap();
    assert!(readiness["status"] == "degraded" && is_down(&readiness, "database"), "{readiness}");
    assert_eq!(service.ops("/ops/supervision").await["source"], "memory");
    database.start().await;
    let mut conn = world.connect().await;
    eprintln!("stored again {:?} after the database answers", more(&mut conn, 1).await);
    load.exact(&world).await;
    most = most.max(service.rss_bytes());
    let grown = most - before;
    eprintln!("{} MiB before, {} MiB more at most while it was away and after", before >> 20, grown >> 20);
    assert!(grown < HELD, "{grown} bytes more");
    Happened::assert_nothing_failed(&mut conn).await;
}

#[tokio::test]
async fn terminated_sessions_lose_and_double_nothing() {
    let world = World::new(2).await;
    let _service = world.serve().await;
    let mut conn = world.connect().await;
    let load = Load::start(&world, "33").await;
    let mut terminated = 0;
    for _ in 0..8 * scale() {
        millis(100..900).await;
        let sessions = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                        WHERE datname = current_database() AND application_name LIKE 'analytics-service %'";
        terminated += number(&mut conn, sessions).await;
    }
    eprintln!("{terminated} sessions were terminated");
    assert!(terminated >= i64::from(8 * scale()));
    load.exact(&world).await;
    Happened::assert_nothing_failed(&mut conn).await;
}

#[tokio::test]
async fn stopping_redis_does_not_affect_ingest() {
    let world = World::exclusive(1).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let redis = Stopped::server("redis").await;
    let load = Load::start(&world, "34").await;
    cache_is_seen(&service, false).await;
    load.exact(&world).await;
    let models = "SELECT org_id, count(DISTINCT model_id) FROM analytics.usage_events GROUP BY org_id";
    let orgs: Vec<(Uuid, i64)> = sqlx::query_as(models).fetch_all(&mut conn).await.unwrap();
    for (org, models) in &orgs {
        let token = service.token(&[*org], &[Role::OrgViewer]);
        eventually("the database has every marker", async || {
            let (status, answer) = service.get(&format!("/analytics/v1/orgs/{org}/freshness"), &token).await;
            assert!(status == 200 && answer["status"] == "fresh", "{status} {answer}");
            (answer["entries"].as_array()?.len() == usize::try_from(*models).ok()?).then_some(())
        })
        .await;
    }
    redis.start().await;
    assert!(stack(&["status"]).contains("redis: answers"));
    cache_is_seen(&service, true).await;
    let mut cache = world.connect_cache().await;
    for (org, models) in orgs {
        let key = format!("analytics:freshness:{org}");
        let markers: BTreeMap<String, String> = redis::cmd("HGETALL").arg(key).query_async(&mut cache).await.unwrap();
        assert_eq!(markers.len(), usize::try_from(models).unwrap(), "{markers:?}");
        assert!(markers.values().all(|marker| marker.contains("\"fresh\"")), "{markers:?}");
    }
}
