//! The audit log: what is answered is recorded, what cannot be recorded is not answered, and nobody changes it.

use std::time::Instant;

use analytics_service::auth::Role;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::harness::{AT_ONCE, Service, Stopped, World, bound, eventually};

const AUDIT: &str = "/analytics/v1/audit";

/// The newest events of a kind, as a system administrator reads them.
async fn events(service: &Service, query: &str) -> Vec<Value> {
    let token = service.token(&[], &[Role::SystemAdmin]);
    let (status, page) = service.get(&format!("{AUDIT}?{query}"), &token).await;
    assert_eq!(status, 200, "{page}");
    page["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_services_role_cannot_change_the_log() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let path = format!("/analytics/v1/orgs/{org}/freshness");
    assert_eq!(service.get(&path, &service.token(&[], &[Role::SystemAdmin])).await.0, 200);
    let mut conn = world.connect().await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM analytics.audit_events WHERE org_id = $1")
        .bind(org)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(rows, 1, "it was recorded when it was answered");
    for statement in [
        "UPDATE analytics.audit_events SET outcome = 'denied'",
        "DELETE FROM analytics.audit_events",
        "TRUNCATE analytics.audit_events",
        "ALTER TABLE analytics.audit_events DISABLE TRIGGER ALL",
        "DROP TABLE analytics.audit_events",
        "INSERT INTO analytics.audit_events SELECT * FROM analytics.audit_events
         ON CONFLICT (event_id) DO UPDATE SET outcome = 'denied'",
    ] {
        let refused = sqlx::query(AssertSqlSafe(statement)).execute(&mut conn).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code()).map(String::from);
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn the_audit_log_has_pages_newest_first() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let (own, other) = (Uuid::new_v4(), Uuid::new_v4());
    let admin = service.token(&[own], &[Role::SystemAdmin]);
    for org in [own, other, other, other] {
        assert_eq!(service.get(&format!("/analytics/v1/orgs/{org}/freshness"), &admin).await.0, 200);
    }
    let viewer = service.token(&[own], &[Role::OrgViewer]);
    assert_eq!(service.get(&format!("/analytics/v1/orgs/{other}/freshness"), &viewer).await.0, 403);
    assert_eq!(service.get(&format!("/analytics/v1/orgs/{own}/freshness"), "no.such.token").await.0, 401);
    assert_eq!(service.post("/ops/no/such", "", Vec::new()).await.0, 404);
    eventually("refusals are recorded", async || (events(&service, "outcome=denied").await.len() == 2).then_some(()))
        .await;
    let denied = events(&service, "outcome=denied").await;
    assert_eq!((&denied[0]["action"], &denied[0]["subject"]), (&json!("authenticate"), &Value::Null));
    assert_eq!((&denied[1]["action"], &denied[1]["orgId"]), (&json!("freshness.read"), &json!(other)));
    assert_eq!((&denied[1]["subject"], &denied[1]["address"]), (&json!("tests"), &json!("127.0.0.1")));
    let path = format!("{AUDIT}?action=freshness.read&outcome=allowed&limit=2&orgId={other}");
    let (_, first) = service.get(&path, &admin).await;
    let (_, second) = service.get(&format!("{path}&cursor={}", first["nextCursor"].as_str().unwrap()), &admin).await;
    let ids: Vec<&str> = [&first, &second]
        .iter()
        .flat_map(|page| page["events"].as_array().unwrap())
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    assert_eq!((ids.len(), second.get("nextCursor")), (3, None));
    assert!(ids.is_sorted_by(|newer, older| newer > older));
    assert!(events(&service, &format!("orgId={own}")).await.is_empty(), "its own org is no matter for the log");
    assert_eq!(service.get(AUDIT, &viewer).await.0, 403);
    let mut service = service;
    service.signal("TERM");
    assert_eq!(service.wait_exit().await, Some(0));
}

#[tokio::test]
async fn without_the_database_recorded_acts_are_refused() {
    let world = World::exclusive(1).await;
    let service = world.serve().await;
    let (own, other) = (Uuid::new_v4(), Uuid::new_v4());
    let admin = service.token(&[own], &[Role::SystemAdmin]);
    let stopped = Stopped::server("postgres").await;
    for (path, token) in [
        (format!("/analytics/v1/orgs/{other}/freshness"), &admin),
        (AUDIT.to_owned(), &admin),
        ("/analytics/v1/dead-letters".to_owned(), &admin),
    ] {
        let since = Instant::now();
        let (status, problem) = service.try_get(&path, token).await;
        assert_eq!((status.as_u16(), &problem["type"]), (503, &json!("/problems/unavailable")), "{path}");
        assert!(since.elapsed() < bound(AT_ONCE), "{path}: {:?}", since.elapsed());
    }
    let since = Instant::now();
    for _ in 0..3 {
        assert_eq!(service.get(AUDIT, "no.such.token").await.0, 401);
    }
    assert!(since.elapsed() < bound(AT_ONCE), "a refusal waits for nothing");
    stopped.start().await;
    eventually("the first refusal is recorded", async || {
        let token = service.token(&[], &[Role::SystemAdmin]);
        let (status, page) = service.get(&format!("{AUDIT}?action=authenticate"), &token).await;
        assert_eq!(status, 200, "{page}");
        (page["events"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    let read = events(&service, &format!("orgId={other}&action=freshness.read")).await;
    assert!(read.is_empty(), "what was not done is not recorded as done: {read:?}");
    assert_eq!(service.terminate().await, Some(0));
    assert_eq!(counts(&mut world.connect().await, "subject IS NULL").await, [1, 2], "the others are counted");
}

/// How many each of these rows of the log stands for, in the order of their ids.
async fn counts(conn: &mut PgConnection, which: &str) -> Vec<i64> {
    let rows = format!("SELECT event_count FROM analytics.audit_events WHERE {which} ORDER BY event_id");
    sqlx::query_scalar(AssertSqlSafe(rows)).fetch_all(conn).await.unwrap()
}

#[tokio::test]
async fn changes_by_commands_are_recorded() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let report = world.publish(&["--events", "200", "--invalid", "0.1"]).await;
    crate::harness::settled(&mut world.connect().await, crate::harness::sent(&report)).await;
    let mut conn = world.connect().await;
    let listed = world.report(&["dead-letters", "list"]).await;
    let (letter, today) = (listed["deadLetters"][0]["id"].as_str().unwrap(), chrono::Utc::now().date_naive());
    let (from, to) = (today.to_string(), (today + chrono::TimeDelta::days(1)).to_string());
    for (command, action, rows) in [
        (vec!["dead-letters", "show", letter], "dead_letter.show", 1),
        (vec!["dead-letters", "list"], "dead_letters.read", 0),
        (vec!["replay", "--partition", "0", "--from", "0", "--to", "10"], "stream.replay", 1),
        (vec!["refresh", "--from", &from, "--to", &to], "rollups.refresh", 2),
        (vec!["purge", "--dry-run"], "data.purge", 0),
        (vec!["purge"], "data.purge", 2),
        (vec!["maintain"], "data.maintain", 2),
        (vec!["partitions", "reset", "--partition", "0", "--to", "first", "--yes"], "partition.reset", 1),
    ] {
        let output = world.run(&command).await;
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        let by: Vec<(String, Option<String>)> = sqlx::query_as(
            "SELECT outcome, subject FROM analytics.audit_events WHERE action = $1 AND credential = 'command_line'",
        )
        .bind(action)
        .fetch_all(&mut conn)
        .await
        .unwrap();
        assert_eq!(by.len(), rows, "{command:?}");
        let named = |(outcome, subject): &(String, Option<String>)| {
            outcome == "allowed" && subject.as_ref().is_some_and(|name| name.starts_with("command-line/"))
        };
        assert!(by.iter().all(named), "{command:?}: {by:?}");
    }
    drop(service);
}

#[tokio::test]
async fn a_flood_of_bad_keys_leaves_two_rows() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let (own, other) = (Uuid::new_v4(), Uuid::new_v4());
    let viewer = service.token(&[own], &[Role::OrgViewer]);
    let path = format!("/analytics/v1/orgs/{other}/freshness");
    let mut refused = 0;
    for _ in 0..20 {
        let keys = futures_util::future::join_all((0..100).map(async |_| {
            let key = format!("ak_{}_{}", Uuid::new_v4().simple(), "A".repeat(43));
            service.get_by_key(&path, &key).await.0
        }));
        // What is limited by address is not looked at, and is no refusal of a key.
        refused += keys.await.into_iter().filter(|status| *status == 401).count();
        assert_eq!(service.get(&path, &viewer).await.0, 403);
    }
    assert_eq!(service.terminate().await, Some(0));
    let mut conn = world.connect().await;
    assert_eq!(counts(&mut conn, "subject = 'tests'").await, [1; 20], "what is known is not pushed out");
    let unknown = counts(&mut conn, "action = 'authenticate'").await;
    assert_eq!((unknown.len(), unknown.iter().sum::<i64>()), (2, i64::try_from(refused).unwrap()));
    let ordered: bool = sqlx::query_scalar(
        "SELECT first_at < occurred_at AND address = '127.0.0.1' FROM analytics.audit_events WHERE event_count > 1",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert!(ordered, "the row says from when to when, and from where");
}
