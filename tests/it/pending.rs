//! What is committed and not merged: merged for a partition that does not run, and named by `verify` as long as it is not.

use analytics_service::{
    auth::Role,
    domain::{
        event::Event,
        ledger::{Fate, Ledger, Tally},
        rollup::Pending,
    },
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    harness::{World, eventually, number, settled},
    store_commit::event,
};

const ORG: u128 = 1;

/// Puts the aggregates of an event there, as its batch would have, committed so many seconds ago.
pub async fn put(conn: &mut PgConnection, stream: &str, partition: i32, event: &Event, ago: f64) -> Uuid {
    let mut ledger = Tally::default();
    ledger.count(Some(event.org_id), Fate::Stored { late: false });
    let published_to = Some(event.occurred_at.timestamp_micros());
    let aggregates = Pending::of([event].into_iter(), Ledger::from(ledger), published_to).pack().unwrap();
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO analytics.rollup_pending VALUES ($1, $2, $3, 1, clock_timestamp() - make_interval(secs => $5), $4)",
    )
    .bind(id)
    .bind(stream)
    .bind(partition)
    .bind(aggregates)
    .bind(ago)
    .execute(conn)
    .await
    .unwrap();
    id
}

async fn pending(conn: &mut PgConnection) -> i64 {
    number(conn, "SELECT count(*) FROM analytics.rollup_pending").await
}

#[tokio::test]
async fn a_parked_partition_leaves_nothing_unmerged() {
    let world = World::new(1).await.unchecked("pending rows without events are put in");
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let now = Utc::now();
    world.send([crate::store_commit::body(&event(ORG, 1, now))]).await;
    settled(&mut conn, 1).await;
    service.park_partition(&mut conn).await;
    put(&mut conn, &world.settings.broker.stream, 0, &event(ORG, 2, now), 0.0).await;
    eventually("it is merged all the same", async || (pending(&mut conn).await == 0).then_some(())).await;
    let org = Uuid::from_u128(ORG);
    let token = service.token(&[org], &[Role::OrgViewer]);
    let day = |days: i64| (now + TimeDelta::days(days)).format("%Y-%m-%dT00:00:00Z").to_string();
    let path = format!("/analytics/v1/orgs/{org}/usage?start={}&end={}", day(-1), day(2));
    let (_, answer) = service.get(&path, &token).await;
    assert_eq!(answer["totals"]["invocations"], 2, "{answer}");
    assert_eq!(service.actor("partition/0").await.unwrap()["state"], "parked");
}

#[tokio::test]
async fn unheld_partitions_are_merged_by_others() {
    let world = World::new(1).await.unchecked("pending rows without events are put in");
    let mut conn = world.connect().await;
    // Of a layout that is not any more.
    put(&mut conn, &format!("{}-7", world.settings.broker.stream), 7, &event(ORG, 1, Utc::now()), 60.0).await;
    let _service = world.serve().await;
    eventually("it is merged", async || (pending(&mut conn).await == 0).then_some(())).await;
    let rollups = number(&mut conn, "SELECT sum(successes)::bigint FROM analytics.hourly_rollups").await;
    assert_eq!(rollups, 1);
}

#[tokio::test]
async fn verify_names_pending_and_unmergeable_rows() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let stream = world.settings.broker.stream.clone();
    let verify = async || {
        let output = world.run(&["verify", "--json"]).await;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), said)
    };
    assert_eq!(verify().await.1["pending"], json!([]));
    let id = put(&mut conn, &stream, 0, &event(ORG, 1, Utc::now()), 900.0).await;
    let (code, said) = verify().await;
    let waiting = &said["pending"][0];
    assert_eq!((code, &waiting["stream"], &waiting["batches"]), (Some(0), &json!(stream), &json!(1)), "{said}");
    let since: chrono::DateTime<Utc> = waiting["since"].as_str().unwrap().parse().unwrap();
    assert!((Utc::now() - since - TimeDelta::seconds(900)).abs() < TimeDelta::seconds(60), "{said}");
    let text = world.run(&["verify"]).await.stdout;
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains(&format!("pending: 1 batches of {stream} (partition 0), committed since"))
    );
    // A process lives that has not merged it.
    sqlx::query(
        "INSERT INTO analytics.processes (process_id, stream, name, expires_at)
         VALUES (gen_random_uuid(), $1, 'tests', clock_timestamp() + INTERVAL '1 hour')",
    )
    .bind(&stream)
    .execute(&mut conn)
    .await
    .unwrap();
    let (code, said) = verify().await;
    assert_eq!((code, &said["findings"][0]["kind"]), (Some(3), &json!("pending")), "{said}");
    // Or it cannot be: of a build that is not known here.
    sqlx::query("UPDATE analytics.rollup_pending SET aggregates = '\\xff', committed_at = clock_timestamp()")
        .execute(&mut conn)
        .await
        .unwrap();
    let (code, said) = verify().await;
    assert_eq!(code, Some(3), "{said}");
    let why = said["findings"][0]["why"].as_str().unwrap();
    assert!(why.contains(&id.to_string()) && why.contains("version 255 is not known here"), "{said}");
}
