//! What is shown of partitions: which process shows what, and what moves it.

use analytics_service::domain::partition::home_partition;
use chrono::Utc;
use uuid::Uuid;

use super::shown;
use crate::{
    harness::{Scrape, Service, World, bound, eventually, sent, settled},
    store_commit::{body, event},
};

/// Series of partitions that only their owner has.
const OF_OWNERS: [&str; 8] = [
    "partition_watermark_timestamp_seconds",
    "partition_lag_seconds",
    "partition_watermark_ahead_seconds",
    "partition_next_offset",
    "partition_foreign_writes",
    "dedupe_filter_keys",
    "dedupe_covered_seconds",
    "credits_in_flight",
];

/// The partitions that a process says it owns; each has a series.
fn owned(scrape: &Scrape, partitions: u16) -> Vec<u16> {
    (0..partitions).filter(|n| scrape.of("partition_owned", *n).unwrap() == 1.0).collect()
}

async fn owns(service: &Service, what: &str, partitions: u16, count: usize) -> Vec<u16> {
    let scrape = shown(service, what, |scrape| {
        let owned = owned(scrape, partitions);
        owned.len() == count && owned.iter().all(|n| OF_OWNERS.iter().all(|metric| scrape.of(metric, *n).is_some()))
    });
    owned(&scrape.await, partitions)
}

/// The first org that is at home there.
fn org_of(partition: u16, partitions: u16) -> u128 {
    (1..).find(|org| home_partition(Uuid::from_u128(*org), partitions) == partition).unwrap()
}

#[tokio::test]
async fn series_of_a_moved_partition_end() {
    let world = World::new(2).await;
    let first = world.serve().await;
    assert_eq!(first.scrape().await.get("partitions"), Some(2.0));
    owns(&first, "the first owns both", 2, 2).await;
    let report = world.publish(&["--events", "400", "--orgs", "40", "--models", "1"]).await;
    settled(&mut world.connect().await, sent(&report)).await;
    let second = world.serve().await;
    let kept = owns(&first, "the first owns one", 2, 1).await;
    let moved = owns(&second, "the second owns one", 2, 1).await;
    assert_ne!(kept, moved);
    for (service, foreign) in [(&first, moved[0]), (&second, kept[0])] {
        let scrape = service.scrape().await;
        for metric in OF_OWNERS.iter().chain(&["dedupe_filter_capacity", "stream_first_offset"]) {
            assert_eq!(scrape.of(metric, foreign), None, "{metric} of partition {foreign}");
        }
        assert_eq!(scrape.get(&format!("actor_up{{actor=\"partition/{foreign}\"}}")), None);
    }
    // Killed: the other one has both.
    second.kill();
    owns(&first, "the first owns both again", 2, 2).await;
    // Stopped in order: while it drains it says that it owns nothing, or answers no more.
    drop(first);
}

#[tokio::test]
async fn a_frozen_process_has_lost_its_partitions_series() {
    let world = World::new(2).await;
    let (frozen, other) = (world.serve().await, world.serve().await);
    let lost = owns(&frozen, "one owns one", 2, 1).await[0];
    owns(&other, "the other owns one", 2, 1).await;
    frozen.signal("STOP");
    assert_eq!(other.scrape().await.of("partition_owned", lost), Some(0.0), "nobody's partition has a series");
    owns(&other, "the other has taken it over", 2, 2).await;
    frozen.signal("CONT");
    eventually("they share them again", async || {
        let (one, two) = (owned(&frozen.scrape().await, 2), owned(&other.scrape().await, 2));
        (one.len() == 1 && two.len() == 1 && one != two).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_filter_and_other_writers_are_shown() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let (ours, theirs) = (org_of(0, 2), org_of(1, 2));
    let window = |scrape: &Scrape, n| scrape.of("dedupe_covered_seconds", n) == Some(86_400.0);
    let before = shown(&service, "the windows are loaded", |scrape| window(scrape, 0) && window(scrape, 1)).await;
    assert!(before.of("dedupe_filter_capacity", 0) > Some(1_000_000.0));
    assert_eq!((before.of("dedupe_filter_keys", 0), before.of("dedupe_suspects_total", 0)), (Some(0.0), Some(0.0)));
    let now = Utc::now();
    let events: Vec<Vec<u8>> = (0..20).map(|id| body(&event(ours, id, now))).collect();
    let mut conn = world.connect().await;
    world.send(events.clone()).await;
    settled(&mut conn, 20).await;
    shown(&service, "their keys are in the filter", |scrape| scrape.of("dedupe_filter_keys", 0) == Some(20.0)).await;
    // Sent again, each has to be looked up.
    world.send(events).await;
    settled(&mut conn, 40).await;
    let seen =
        shown(&service, "they were suspects", |scrape| scrape.of("dedupe_suspects_total", 0) >= Some(20.0)).await;
    assert_eq!(seen.of("partition_foreign_writes", 1), before.of("partition_foreign_writes", 1));
    // What is at home in partition 1 comes by partition 0: the window of partition 1 misses it.
    world.send((0..5).map(|id| body(&event(theirs, id, now)))).await;
    settled(&mut conn, 45).await;
    // Its writer learns that with its next batch.
    let elsewhere = ["--events", "400", "--orgs", "40", "--models", "1"];
    let report = world.publish(&elsewhere).await;
    settled(&mut conn, 45 + sent(&report)).await;
    shown(&service, "another writer was noticed", |scrape| {
        scrape.of("partition_foreign_writes", 1) > before.of("partition_foreign_writes", 1)
    })
    .await;
    assert_eq!(service.scrape().await.of("replayed_messages_total", 0), Some(0.0));
    world.report(&["replay", "--partition", "0", "--from", "0", "--to", "20"]).await;
    shown(&service, "they were read again", |scrape| scrape.of("replayed_messages_total", 0) == Some(20.0)).await;
    let scrape = service.scrape().await;
    assert!(scrape.get("batch_bytes_sum") > Some(1000.0) && scrape.get("batch_bytes_count") > Some(0.0));
}

#[tokio::test]
async fn retention_headroom_is_shown() {
    let mut world = World::new(1).await;
    // The smallest segments: whole ones are dropped.
    world.set("ANALYTICS__BROKER__STREAM_MAX_BYTES", "2000000");
    let before = world.publish(&["--events", "2000", "--orgs", "5", "--models", "2"]).await;
    let service = world.serve().await;
    let young = shown(&service, "a young stream was looked at", |scrape| {
        scrape.of("stream_retention_headroom_seconds", 0).is_some()
    })
    .await;
    assert_eq!(young.of("stream_first_offset", 0), Some(0.0));
    let headroom = young.of("stream_retention_headroom_seconds", 0).unwrap();
    assert!((604_700.0..=604_800.0).contains(&headroom), "seven days, and not {headroom} s");
    settled(&mut world.connect().await, sent(&before)).await;
    assert_eq!(service.terminate().await, Some(0));
    world.publish(&["--events", "40000", "--orgs", "5", "--models", "2"]).await;
    let service = world.serve().await;
    let dropping = shown(&service, "a stream that drops was looked at", |scrape| {
        scrape.of("stream_first_offset", 0) > Some(0.0) && scrape.of("stream_retention_headroom_seconds", 0).is_some()
    })
    .await;
    let headroom = dropping.of("stream_retention_headroom_seconds", 0).unwrap();
    assert!(
        (0.0..600.0).contains(&headroom),
        "it keeps messages for less than the test takes, and not for {headroom} s"
    );
}

#[tokio::test]
async fn the_lag_grows_while_the_database_is_frozen() {
    let mut world = World::new(1).await;
    let database = world.proxy_database();
    for (key, milliseconds) in [("WRITE_TIMEOUT_MS", "1000"), ("CONNECT_TIMEOUT_MS", "500")] {
        world.routes.insert(format!("ANALYTICS__DATABASE__{key}"), milliseconds.to_owned());
    }
    let service = world.serve().await;
    let report = world.publish(&["--events", "500", "--orgs", "5", "--models", "1"]).await;
    settled(&mut world.connect().await, sent(&report)).await;
    let up = |scrape: &Scrape| scrape.get(r#"dependency_up{dependency="database"}"#);
    let watermark = |scrape: &Scrape| scrape.of("partition_watermark_timestamp_seconds", 0);
    let caught_up = shown(&service, "it is caught up", |scrape| {
        up(scrape) == Some(1.0) && watermark(scrape).is_some_and(|at| Utc::now().timestamp() as f64 - at < 5.0)
    })
    .await;
    let reconnects = |scrape: &Scrape| scrape.get(r#"reconnects_total{dependency="database"}"#);
    database.stall();
    // Whoever comes without a credential is refused, which the audit log cannot have now.
    assert_eq!(service.get("/analytics/v1/me", "none").await.0, 401);
    let more = world.publish(&["--events", "500", "--orgs", "5", "--models", "1", "--seed", "2"]).await;
    let slowest = std::cell::Cell::new(std::time::Duration::ZERO);
    let stood = eventually("the lag has grown", async || {
        let asked = std::time::Instant::now();
        let scrape = service.scrape().await;
        slowest.set(slowest.get().max(asked.elapsed()));
        let grown = Utc::now().timestamp() as f64 - watermark(&scrape)? > 8.0;
        let repeated = scrape.get("batch_commit_retries_total") > Some(0.0);
        let waits = scrape.get("audit_pending") > Some(0.0);
        (grown && repeated && waits && up(&scrape) == Some(0.0)).then_some(scrape)
    })
    .await;
    assert!(slowest.get() < bound(std::time::Duration::from_secs(1)), "a scrape took {:?}", slowest.get());
    assert!(stood.of("credits_in_flight", 0) >= Some(1.0));
    database.heal();
    settled(&mut world.connect().await, sent(&report) + sent(&more)).await;
    shown(&service, "all is well again", |scrape| {
        up(scrape) == Some(1.0)
            && watermark(scrape) > watermark(&stood)
            && reconnects(scrape) > reconnects(&caught_up)
            && scrape.of("credits_in_flight", 0) == Some(0.0)
            && scrape.get("audit_pending") == Some(0.0)
    })
    .await;
}
