//! What is known to be complete: clocks that differ or jump, events on the wrong partition.

mod layouts;
pub mod lost_commits;

use std::time::Duration;

use analytics_service::{
    auth::Role,
    domain::{freshness::Thresholds, partition::home_partition},
    store::{
        StoreError,
        ingest::partitions::reset,
        rollups::merge::{MergeRules, PartitionName, caught_up, merge},
    },
};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    by_each_protocol::by_each_protocol,
    harness::{Protocol, Service, World, assert_exact, eventually, millis, number, sent, settled},
    store_commit::{CommitFixture, body, event, hold},
};

by_each_protocol![a_future_watermark_waits_for_proof,];

const RULES: MergeRules = MergeRules {
    max_batches: 100,
    late_after: TimeDelta::hours(1),
    freshness: Thresholds { fresh_ms: 300_000, stale_ms: 600_000 },
};

/// An org that is at home in that partition.
fn org_of(partition: u16, partitions: u16) -> u128 {
    (1..).find(|org| home_partition(Uuid::from_u128(*org), partitions) == partition).unwrap()
}

#[tokio::test]
async fn rejects_by_a_wrong_clock_are_reconsidered() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    // The process's clock is ten minutes behind: what was made now lies ahead of it by more than it may.
    fixture.claim.now = now - TimeDelta::minutes(10);
    let bodies = [event(1, 1, now), event(1, 2, now - TimeDelta::minutes(10)), event(1, 3, now + TimeDelta::hours(1))];
    let batch = fixture.batch(bodies.iter().map(body).collect::<Vec<_>>());
    assert_eq!(batch.rejects.len(), 2);
    let committed = fixture.commit(&batch).await.unwrap();
    assert_eq!((committed.counts.stored, committed.counts.rejected), (2, 1));
    assert_eq!(
        number(&mut fixture.conn, "SELECT count(*) FROM analytics.dead_letters WHERE stream_offset = 2").await,
        1
    );
    assert_eq!(number(&mut fixture.conn, "SELECT count(*) FROM analytics.dead_letters").await, 1);
    // A day ahead: what is a little less than a day younger than raw events are kept is too old by it.
    fixture.claim.now = now + TimeDelta::days(1);
    let batch = fixture.batch([body(&event(1, 4, now - TimeDelta::days(399) - TimeDelta::hours(2)))]);
    assert_eq!(batch.rejects.len(), 1);
    assert_eq!(fixture.commit(&batch).await.unwrap().counts.stored, 1);
}

#[tokio::test]
async fn a_readmitted_event_is_known_to_later_batches() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    fixture.claim.now = now - TimeDelta::minutes(10);
    let batch = fixture.batch([body(&event(1, 1, now))]);
    assert_eq!(fixture.commit(&batch).await.unwrap().counts.stored, 1);
    // The window has not seen it, and calls a resend with another time new.
    fixture.claim.now = now;
    let batch = fixture.batch([body(&event(1, 1, now - TimeDelta::seconds(1)))]);
    assert_eq!(batch.fresh.len(), 1);
    let committed = fixture.commit(&batch).await.unwrap();
    assert_eq!((committed.counts.stored, committed.counts.duplicates), (0, 1));
    assert_ne!(committed.foreign_writes, batch.foreign_writes, "the window is loaded again");
}

#[tokio::test]
async fn pending_rows_are_merged_in_commit_order() {
    let mut fixture = CommitFixture::new(1).await;
    fixture.world = fixture.world.unchecked("a stream is passed over in part");
    let topology = fixture.world.settings.broker.topology();
    let now = fixture.claim.now;
    let commit_at = async |fixture: &mut CommitFixture, id, published_at: DateTime<Utc>| {
        let mut batch = fixture.batch([body(&event(1, id, now))]);
        batch.published_to = Some(published_at);
        fixture.commit(&batch).await.unwrap();
    };
    // Ten messages are in the old stream, of which the last is not merged yet.
    fixture.batch((0..9).map(|id| body(&event(2, id, now))).collect::<Vec<_>>());
    sqlx::query("UPDATE analytics.partition_offsets SET next_offset = 9").execute(&mut fixture.conn).await.unwrap();
    commit_at(&mut fixture, 1, now - TimeDelta::minutes(5)).await;
    reset(&mut fixture.conn, &topology, 0, 0).await.unwrap().unwrap();
    fixture.claim = hold(&mut fixture.conn, &fixture.world, 0).await;
    commit_at(&mut fixture, 2, now - TimeDelta::minutes(1)).await;
    let one = MergeRules { max_batches: 1, ..RULES };
    let name = PartitionName { stream: &topology.base, partition: 0, topology: &topology };
    let merged = merge(&mut fixture.conn, name, one).await.unwrap();
    assert_eq!(merged.watermark, Some(now - TimeDelta::minutes(5)), "what is older is still pending");
    let merged = merge(&mut fixture.conn, name, one).await.unwrap();
    assert_eq!(merged.watermark, Some(now - TimeDelta::minutes(1)));
}

#[tokio::test]
async fn a_misrouted_event_revises_a_final_hour() {
    let mut fixture = CommitFixture::new(2).await;
    let topology = fixture.world.settings.broker.topology();
    let now = fixture.claim.now;
    let (ours, theirs) = (org_of(0, 2), org_of(1, 2));
    // The home partition of the second org has come to now; this one is two days behind.
    let home = hold(&mut fixture.conn, &fixture.world, 1).await;
    caught_up(&mut fixture.conn, &home, 0, now).await.unwrap().unwrap();
    let old = now - TimeDelta::hours(3);
    let mut batch = fixture.batch([body(&event(ours, 1, old)), body(&event(theirs, 2, old))]);
    batch.published_to = Some(now - TimeDelta::days(2));
    let committed = fixture.commit(&batch).await.unwrap();
    assert_eq!(committed.counts.stored, 2);
    let misrouted: Vec<_> = committed.misrouted.iter().map(|org| (org.org_id, org.events, org.all_events)).collect();
    assert_eq!(misrouted, [(Uuid::from_u128(theirs), 1, 1)]);
    let name = PartitionName { stream: &topology.stream_of(0), partition: 0, topology: &topology };
    merge(&mut fixture.conn, name, RULES).await.unwrap();
    let revised: Vec<(Uuid, i64, i64)> =
        sqlx::query_as("SELECT org_id, before_invocations, after_invocations FROM analytics.rollup_revisions")
            .fetch_all(&mut fixture.conn)
            .await
            .unwrap();
    assert_eq!(revised, [(Uuid::from_u128(theirs), 0, 1)], "only its hour was final");
    // And its answers are no more complete than the partition that its events came by.
    let as_of = "SELECT analytics.org_watermark($1, $2, $3)";
    for (org, partition, expected) in
        [(theirs, 1, Some(now - TimeDelta::days(2))), (org_of(1, 2) + u128::from(u64::MAX), 1, Some(now))]
    {
        let found: Option<DateTime<Utc>> = sqlx::query_scalar(as_of)
            .bind(Uuid::from_u128(org))
            .bind(topology.stream_of(partition))
            .bind(i32::from(partition))
            .fetch_one(&mut fixture.conn)
            .await
            .unwrap();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_stuck_partition_holds_its_misrouted_orgs_back() {
    let mut fixture = CommitFixture::new(2).await;
    let topology = fixture.world.settings.broker.topology();
    let now = fixture.claim.now;
    let theirs = org_of(1, 2);
    let home = hold(&mut fixture.conn, &fixture.world, 1).await;
    caught_up(&mut fixture.conn, &home, 0, now).await.unwrap().unwrap();
    let read_to = now - TimeDelta::hours(30);
    let mut batch = fixture.batch([body(&event(theirs, 1, read_to))]);
    batch.published_to = Some(read_to);
    fixture.commit(&batch).await.unwrap();
    let name = PartitionName { stream: &topology.stream_of(0), partition: 0, topology: &topology };
    merge(&mut fixture.conn, name, RULES).await.unwrap();
    let as_of = async |conn: &mut PgConnection| {
        let as_of = sqlx::query_scalar::<_, Option<DateTime<Utc>>>("SELECT analytics.org_watermark($1, $2, 1)");
        as_of.bind(Uuid::from_u128(theirs)).bind(topology.stream_of(1)).fetch_one(conn).await.unwrap()
    };
    // It came thirty hours ago, and nothing was read of that partition since: whatever the org sent there is still there.
    sqlx::query("UPDATE analytics.misrouted_orgs SET last_seen_at = $1")
        .bind(read_to)
        .execute(&mut fixture.conn)
        .await
        .unwrap();
    assert_eq!(as_of(&mut fixture.conn).await, Some(read_to));
    // Read on for a day without anything of the org, it holds nothing back.
    caught_up(&mut fixture.conn, &fixture.claim, fixture.claim.next_offset, now - TimeDelta::hours(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(as_of(&mut fixture.conn).await, Some(now));
}

#[tokio::test]
async fn a_watermark_ahead_keeps_its_hours_closed() {
    let mut fixture = CommitFixture::new(1).await;
    let topology = fixture.world.settings.broker.topology();
    let now = fixture.claim.now;
    let batch = fixture.batch([body(&event(1, 1, now))]);
    fixture.commit(&batch).await.unwrap();
    merge(&mut fixture.conn, PartitionName { stream: &topology.base, partition: 0, topology: &topology }, RULES)
        .await
        .unwrap();
    // As if the clock had been three hours ahead for a moment.
    sqlx::query(
        "UPDATE analytics.partition_watermarks SET watermark = clock_timestamp() + INTERVAL '3 hours', told_to = NULL",
    )
    .execute(&mut fixture.conn)
    .await
    .unwrap();
    let known = "SELECT count(watermark) FROM analytics.known_watermarks";
    assert_eq!(number(&mut fixture.conn, known).await, 0);
    let proved = now - TimeDelta::seconds(1);
    assert_eq!(caught_up(&mut fixture.conn, &fixture.claim, 1, proved).await.unwrap(), Some(proved));
    assert_eq!(number(&mut fixture.conn, known).await, 1);
    // Its hour was final while the clock was ahead.
    let batch = fixture.batch([body(&event(1, 2, now))]);
    fixture.commit(&batch).await.unwrap();
    merge(&mut fixture.conn, PartitionName { stream: &topology.base, partition: 0, topology: &topology }, RULES)
        .await
        .unwrap();
    let revised =
        "SELECT count(*) FROM analytics.rollup_revisions WHERE before_invocations = 1 AND after_invocations = 2";
    assert_eq!(number(&mut fixture.conn, revised).await, 1);
}

#[tokio::test]
async fn a_database_that_lost_commits_is_not_complete() {
    let mut fixture = CommitFixture::new(1).await;
    fixture.world = fixture.world.unchecked("it loses commits for good");
    let now = fixture.claim.now;
    let batch = fixture.batch([body(&event(1, 1, now))]);
    fixture.commit(&batch).await.unwrap();
    sqlx::query("DELETE FROM analytics.rollup_pending").execute(&mut fixture.conn).await.unwrap();
    assert_eq!(caught_up(&mut fixture.conn, &fixture.claim, 1, now).await.unwrap(), Some(now));
    sqlx::query("UPDATE analytics.partition_offsets SET next_offset = 0").execute(&mut fixture.conn).await.unwrap();
    let error = caught_up(&mut fixture.conn, &fixture.claim, 1, now + TimeDelta::seconds(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::LostCommits { committed: 1, found: 0, .. }), "{error}");
    let said = "partition 0 was committed up to offset 1 in epoch 2, and the database has it up to 0 in epoch 2: commits were lost";
    assert_eq!(error.to_string(), said);
    // Neither is one that a later epoch has: that is another's, and no error of ours here.
    hold(&mut fixture.conn, &fixture.world, 0).await;
    assert_eq!(caught_up(&mut fixture.conn, &fixture.claim, 1, now + TimeDelta::seconds(1)).await.unwrap(), None);
}

/// An org's usage of yesterday and today by hour, as the API answers it.
async fn usage(service: &Service, org: u128) -> Value {
    let org = Uuid::from_u128(org);
    let token = service.token(&[org], &[Role::OrgViewer]);
    let now = Utc::now().trunc_subsecs(0);
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let (start, end) = (time(now - TimeDelta::hours(3)), time(now + TimeDelta::hours(1)));
    let path = format!("/analytics/v1/orgs/{org}/usage?start={start}&end={end}&granularity=hour");
    let (status, answer) = service.get(&path, &token).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// A gauge or counter of partition 0.
async fn metric(service: &Service, name: &str) -> f64 {
    let (metrics, prefix) = (service.metrics().await, format!("{name}{{partition=\"0\"}} "));
    metrics.lines().find_map(|line| line.strip_prefix(&prefix)?.parse().ok()).unwrap_or_default()
}

async fn a_future_watermark_waits_for_proof(by: Protocol) {
    let mut world = World::new(1).await.read_by(by);
    let broker = world.proxy_broker();
    let service = world.serve().await;
    let mut conn = world.connect().await;
    world.send((0..9).map(|id| body(&event(1, id, Utc::now())))).await;
    settled(&mut conn, 9).await;
    eventually("it is fresh", async || (usage(&service, 1).await["freshness"]["status"] == "fresh").then_some(()))
        .await;
    // Nothing can be proved now. The clock was three hours ahead for a moment.
    broker.stall();
    eventually("the clock's jump is in the watermark", async || {
        sqlx::query("UPDATE analytics.partition_watermarks SET watermark = clock_timestamp() + INTERVAL '3 hours'")
            .execute(&mut conn)
            .await
            .unwrap();
        // Nothing brings it down: a proof that was made before may still come.
        tokio::time::sleep(Duration::from_secs(3)).await;
        (number(&mut conn, "SELECT count(watermark) FROM analytics.known_watermarks").await == 0).then_some(())
    })
    .await;
    let answer = usage(&service, 1).await;
    assert_eq!(answer["freshness"]["status"], "delayed", "{answer}");
    assert!(answer["asOf"].is_null() && answer["freshness"]["lagSeconds"].is_null(), "{answer}");
    assert!(answer["series"].as_array().unwrap().iter().all(|point| point["final"] == false), "{answer}");
    eventually("the metrics show it", async || {
        let lag = metric(&service, "analytics_partition_lag_seconds").await;
        let ahead = metric(&service, "analytics_partition_watermark_ahead_seconds").await;
        (lag > 10_000.0 && ahead > 10_000.0).then_some(())
    })
    .await;
    broker.heal();
    eventually("it is fresh again", async || {
        let answer = usage(&service, 1).await;
        let as_of: DateTime<Utc> = answer["asOf"].as_str()?.parse().unwrap();
        assert!(as_of <= Utc::now());
        (answer["freshness"]["status"] == "fresh").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_misrouted_org_is_counted_and_on_record() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let (ours, theirs) = (org_of(0, 2), org_of(1, 2));
    let now = Utc::now();
    // All of it goes to partition 0.
    world.send((0..30).map(|id| body(&event(if id < 20 { theirs } else { ours }, id, now)))).await;
    settled(&mut conn, 30).await;
    eventually("they are counted", async || {
        (metric(&service, "analytics_misrouted_events_total").await == 20.0).then_some(())
    })
    .await;
    let recorded: Vec<(Uuid, i64)> =
        sqlx::query_as("SELECT org_id, events FROM analytics.misrouted_orgs").fetch_all(&mut conn).await.unwrap();
    assert_eq!(recorded, [(Uuid::from_u128(theirs), 20)]);
    assert_eq!(usage(&service, theirs).await["totals"]["invocations"], 20);
}

#[tokio::test]
async fn a_smaller_max_ahead_doubles_nothing() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__EVENTS__MAX_AHEAD_SECONDS", "3600");
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let now = Utc::now();
    world.send([body(&event(1, 1, now + TimeDelta::minutes(55)))]).await;
    settled(&mut conn, 1).await;
    assert_eq!(service.terminate().await, Some(0));
    world.set("ANALYTICS__EVENTS__MAX_AHEAD_SECONDS", "1");
    let _service = world.serve().await;
    // The window is loaded when these are stored, or they are suspects.
    for id in 2..6 {
        world.send([body(&event(1, id, now))]).await;
        settled(&mut conn, i64::try_from(id).unwrap()).await;
    }
    world.send([body(&event(1, 1, now))]).await;
    settled(&mut conn, 6).await;
    assert_eq!(number(&mut conn, "SELECT count(*) FROM analytics.usage_events").await, 5);
    assert_eq!(number(&mut conn, "SELECT sum(duplicates)::bigint FROM analytics.ingestion_batches").await, 1);
}

#[tokio::test]
async fn late_commit_responses_reject_no_event() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__EVENTS__MAX_AHEAD_SECONDS", "1");
    let proxy = world.proxy_database();
    let _service = world.serve().await;
    let mut conn = world.connect().await;
    let publishing = world.publish(&["--duration", "8s", "--rate", "300"]);
    let stalling = async {
        for _ in 0..3 {
            millis(400..401).await;
            proxy.stall();
            // Answers of whatever is under way come by so much later than they were given.
            millis(2000..2001).await;
            proxy.heal();
        }
    };
    let (report, ()) = tokio::join!(publishing, stalling);
    settled(&mut conn, sent(&report)).await;
    assert_exact(&mut conn, &report).await;
    assert_eq!(number(&mut conn, "SELECT count(*) FROM analytics.dead_letters").await, 0);
}
