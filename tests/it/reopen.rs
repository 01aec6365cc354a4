//! What a clock that stood ahead leaves, and the way out: closed hours, and holes that were noted meanwhile.

use analytics_service::{
    domain::{
        hole::{HoleReason, Missing},
        rollup::{hour_of, hour_start},
    },
    store::rollups::merge::{PartitionName, caught_up, merge},
};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::{
    store_commit::{CommitFixture, body, event},
    store_merge::rules,
};

/// Commits an event and merges it.
async fn count_in(fixture: &mut CommitFixture, id: u128, at: DateTime<Utc>) {
    let batch = fixture.batch([body(&event(1, id, at))]);
    assert_eq!(fixture.commit(&batch).await.unwrap().counts.stored, 1);
    let topology = fixture.claim.topology.clone();
    let name = PartitionName { stream: &topology.base, partition: 0, topology: &topology };
    merge(&mut fixture.conn, name, rules(100)).await.unwrap();
}

/// How often a change of an hour was noted.
async fn changes(conn: &mut PgConnection, hour: DateTime<Utc>) -> i64 {
    sqlx::query_scalar(
        "SELECT coalesce(sum(changes), 0)::bigint FROM analytics.rollup_revisions WHERE bucket_start = $1",
    )
    .bind(hour)
    .fetch_one(conn)
    .await
    .unwrap()
}

#[tokio::test]
async fn hours_that_have_not_begun_are_reopened() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let [running, next] = [0, 2].map(|hours| hour_start(hour_of(now) + hours));
    count_in(&mut fixture, 1, now).await;
    assert_eq!(changes(&mut fixture.conn, running).await, 0);
    // As if the clock had been a month ahead for a moment, and partitions had been changed meanwhile.
    for ahead in [
        "UPDATE analytics.partition_watermarks SET watermark = clock_timestamp() + INTERVAL '30 days'",
        "UPDATE analytics.stream_layouts SET told_to = clock_timestamp() + INTERVAL '30 days'",
    ] {
        sqlx::query(ahead).execute(&mut fixture.conn).await.unwrap();
    }
    let layout = "INSERT INTO analytics.stream_layouts (stream, partitions, changed_by, told_to)
                  VALUES ($1, 1, 'tests', clock_timestamp() + INTERVAL '30 days') ON CONFLICT DO NOTHING";
    sqlx::query(layout).bind(&fixture.claim.topology.base).execute(&mut fixture.conn).await.unwrap();
    let refused = fixture.world.run(&["partitions", "reopen", "--yes"]).await;
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && error.contains("lies ahead of the clock itself"), "{error}");

    let committed = fixture.claim.next_offset;
    let proved = now - TimeDelta::seconds(1);
    assert_eq!(caught_up(&mut fixture.conn, &fixture.claim, committed, proved).await.unwrap(), Some(proved));
    // What comes by the hour is a revision from now on.
    fixture.claim.now = next + TimeDelta::minutes(10);
    count_in(&mut fixture, 2, next).await;
    count_in(&mut fixture, 3, running).await;
    assert_eq!([changes(&mut fixture.conn, running).await, changes(&mut fixture.conn, next).await], [1, 1]);

    let reopen = async || fixture.world.report(&["partitions", "reopen", "--yes"]).await;
    let report = reopen().await;
    assert_eq!(report["reopened"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["reopened"][0]["stream"], fixture.claim.topology.base, "{report}");
    assert_eq!(reopen().await["reopened"].as_array().unwrap().len(), 0, "there is nothing left to reopen");
    let acts: Vec<String> =
        sqlx::query_scalar("SELECT detail FROM analytics.audit_events WHERE action = 'partition.reopen'")
            .fetch_all(&mut fixture.conn)
            .await
            .unwrap();
    assert!(acts.len() == 1 && acts[0].starts_with("closed to "), "{acts:?}");
    count_in(&mut fixture, 4, next + TimeDelta::minutes(1)).await;
    count_in(&mut fixture, 5, running + TimeDelta::seconds(1)).await;
    let found = [changes(&mut fixture.conn, running).await, changes(&mut fixture.conn, next).await];
    assert_eq!(found, [2, 1], "an hour that has begun stays closed");
}

#[tokio::test]
async fn a_hole_is_never_complete_past_the_clock() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    count_in(&mut fixture, 1, now).await;
    let known = "SELECT watermark FROM analytics.known_watermarks";
    let known = async |conn: &mut PgConnection| -> Option<DateTime<Utc>> {
        sqlx::query_scalar(known).fetch_one(conn).await.unwrap()
    };
    // Noted while the watermark lies ahead of a clock that was set back.
    sqlx::query("UPDATE analytics.partition_watermarks SET watermark = clock_timestamp() + INTERVAL '3 hours'")
        .execute(&mut fixture.conn)
        .await
        .unwrap();
    let mut batch = fixture.batch([body(&event(1, 2, now))]);
    let first = batch.raw.first_offset;
    batch.raw.messages[0].offset = first + 40;
    batch.raw.missing = Some(Missing { to: first + 40, why: HoleReason::LeftOut, after: None });
    fixture.claim.next_offset = batch.raw.next_offset();
    fixture.commit(&batch).await.unwrap();
    count_in(&mut fixture, 3, now).await;
    assert_eq!(
        known(&mut fixture.conn).await,
        Some(DateTime::UNIX_EPOCH),
        "nobody knows when what is missing was published"
    );
    // A build of before noted it so.
    sqlx::query("UPDATE analytics.unread_ranges SET complete_to = noted_at + INTERVAL '3 hours'")
        .execute(&mut fixture.conn)
        .await
        .unwrap();
    assert_eq!(known(&mut fixture.conn).await, Some(DateTime::UNIX_EPOCH));
    sqlx::query("UPDATE analytics.unread_ranges SET acknowledged_at = clock_timestamp(), acknowledged_by = 'tests'")
        .execute(&mut fixture.conn)
        .await
        .unwrap();
    assert!(known(&mut fixture.conn).await.unwrap() >= now);
}
