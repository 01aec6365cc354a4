//! A person's events that wait to be merged while they are erased.

use analytics_service::store::rollups::merge::ROLLUP_LOCK;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{assert_nothing, assert_verified, bodies, erase};
use crate::{
    harness::{World, eventually},
    store_commit::event,
};

async fn count(conn: &mut PgConnection, table: &str) -> i64 {
    let statement = format!("SELECT count(*) FROM analytics.{table}");
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn an_erased_persons_unmerged_events_leave_no_trace() {
    let world = World::new(1).await;
    let (mut conn, mut owner) = (world.connect().await, world.connect_as_owner().await);
    let service = world.serve().await;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(ROLLUP_LOCK).execute(&mut conn).await.unwrap();
    // The person's is the later, slower and cheaper one: each extreme of the hour would be theirs.
    let hour = (Utc::now() - TimeDelta::hours(2)).duration_trunc(TimeDelta::hours(1)).unwrap();
    let mut stays = event(1, 1, hour + TimeDelta::minutes(10));
    stays.latency_ms = 40;
    let mut goes = event(1, 2, hour + TimeDelta::minutes(50));
    let person = Uuid::new_v4();
    (goes.actor_id, goes.latency_ms) = (Some(person), 900);
    let mut quick = event(1, 3, hour + TimeDelta::minutes(49));
    (quick.actor_id, quick.latency_ms) = (Some(person), 1);
    world.send(bodies(&[stays.clone(), goes, quick])).await;
    eventually("they are stored", async || (count(&mut owner, "usage_events").await == 3).then_some(())).await;
    service.kill();
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(ROLLUP_LOCK).execute(&mut conn).await.unwrap();
    assert!(count(&mut owner, "rollup_pending").await > 0, "nothing is merged yet");

    let report = erase(&world, &["--yes", "--actor", &person.to_string()]).await;
    assert_nothing(&report["left"]);
    let service = world.serve().await;
    eventually("it is merged", async || (count(&mut owner, "rollup_pending").await == 0).then_some(())).await;
    for table in ["hourly_rollups", "daily_rollups"] {
        let row = format!("SELECT latency_min, latency_max, last_event_at FROM analytics.{table}");
        let row: (i32, i32, DateTime<Utc>) = sqlx::query_as(AssertSqlSafe(row)).fetch_one(&mut owner).await.unwrap();
        assert_eq!(row, (40, 40, stays.occurred_at), "{table}");
    }
    assert_verified(&world).await;

    // What differs is named, also where all that people look at first is the same.
    sqlx::query("UPDATE analytics.hourly_rollups SET last_event_at = last_event_at + INTERVAL '40 minutes'")
        .execute(&mut owner)
        .await
        .unwrap();
    let output = world.run(&["verify", "--json"]).await;
    assert_eq!(output.status.code(), Some(3));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = &found["findings"][0];
    assert_eq!((&found["differences"], &finding["columns"]), (&1.into(), &serde_json::json!(["last_event_at"])));
    for (side, minute) in [("rollup", 50), ("raw", 10)] {
        let text = finding[side].as_str().unwrap();
        assert!(text.ends_with(&format!(":{minute}:00.000000Z")), "{found}");
    }
    assert_eq!(service.terminate().await, Some(0));
}
