//! A database that lost its last commits, by a failover: what is read again, and what is complete until then.

use std::time::Instant;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::usage;
use crate::{
    by_each_protocol::by_each_protocol,
    harness::{
        LedgerSums, Protocol, Replica, Totals, World, double_counted, eventually, ledger_holes, not_run, number, sent,
        settled,
    },
};

by_each_protocol![lost_commits_are_never_called_complete,];

/// What a partition's database loses by a failover: everything of the batches after a moment, as if they had never been.
const KEEP: &str = "
    CREATE TABLE public.kept_offsets AS TABLE analytics.partition_offsets;
    CREATE TABLE public.kept_hourly AS TABLE analytics.hourly_rollups;
    CREATE TABLE public.kept_daily AS TABLE analytics.daily_rollups;
    CREATE TABLE public.kept_ledger AS TABLE analytics.ledger_hourly;
    CREATE TABLE public.kept_batches AS TABLE analytics.ingestion_batches;
    CREATE TABLE public.kept_watermarks AS TABLE analytics.partition_watermarks;
    CREATE TABLE public.kept_partials AS TABLE analytics.attribution_pending;
    CREATE TABLE public.kept_parts AS TABLE analytics.attribution_parts;
    CREATE TABLE public.kept_keys AS TABLE analytics.attribution_keys;
    CREATE TABLE public.kept_folds AS TABLE analytics.attribution_watermarks";
const LOSE: &str = "
    BEGIN;
    LOCK TABLE analytics.partition_offsets, analytics.partition_watermarks, analytics.rollup_pending, analytics.attribution_pending,
        analytics.attribution_parts IN EXCLUSIVE MODE;
    DELETE FROM analytics.usage_events WHERE batch_id NOT IN (SELECT batch_id FROM public.kept_batches);
    DELETE FROM analytics.ingestion_batches WHERE batch_id NOT IN (SELECT batch_id FROM public.kept_batches);
    DELETE FROM analytics.hourly_rollups; INSERT INTO analytics.hourly_rollups TABLE public.kept_hourly;
    DELETE FROM analytics.daily_rollups; INSERT INTO analytics.daily_rollups TABLE public.kept_daily;
    DELETE FROM analytics.ledger_hourly; INSERT INTO analytics.ledger_hourly TABLE public.kept_ledger;
    DELETE FROM analytics.attribution_pending; INSERT INTO analytics.attribution_pending TABLE public.kept_partials;
    DELETE FROM analytics.attribution_parts; INSERT INTO analytics.attribution_parts TABLE public.kept_parts;
    DELETE FROM analytics.attribution_keys; INSERT INTO analytics.attribution_keys TABLE public.kept_keys;
    DELETE FROM analytics.attribution_watermarks; INSERT INTO analytics.attribution_watermarks TABLE public.kept_folds;
    UPDATE analytics.partition_offsets o SET next_offset = k.next_offset, last_message_hash = k.last_message_hash
    FROM public.kept_offsets k WHERE k.stream = o.stream;
    UPDATE analytics.partition_watermarks w SET watermark = k.watermark, told_to = k.told_to
    FROM public.kept_watermarks k WHERE k.stream = w.stream;
    COMMIT";

/// Waits until the partition is known to be complete beyond a moment.
async fn complete_beyond(conn: &mut PgConnection, moment: DateTime<Utc>) {
    eventually("the partition is complete beyond it", async || {
        let beyond = sqlx::query_scalar("SELECT watermark > $1 FROM analytics.partition_watermarks");
        beyond.bind(moment).fetch_one(&mut *conn).await.unwrap_or(false).then_some(())
    })
    .await;
}

/// Waits until what was lost is read again: all of it is merged. Until then the partition is not called complete beyond the moment up
/// to which all was published. Nothing more is published meanwhile: only the service itself can find out.
pub async fn read_again(conn: &mut PgConnection, all: i64, published: DateTime<Utc>) {
    eventually("what was lost is read again", async || {
        let (watermark, merged): (DateTime<Utc>, i64) = sqlx::query_as(
            "SELECT watermark, (SELECT sum(received)::bigint FROM analytics.ledger_hourly)
             FROM analytics.partition_watermarks",
        )
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        assert!(merged == all || watermark <= published, "complete to {watermark} with {merged} of {all} merged");
        (merged == all).then_some(())
    })
    .await;
}

async fn lost_commits_are_never_called_complete(by: Protocol) {
    let world = World::new(1).await.read_by(by);
    let _service = world.serve().await;
    let (mut conn, mut owner) = (world.connect().await, world.connect_as_owner().await);
    let first = world.publish(&["--events", "300", "--seed", "1"]).await;
    settled(&mut conn, sent(&first)).await;
    sqlx::raw_sql(KEEP).execute(&mut owner).await.unwrap();
    let second = world.publish(&["--events", "300", "--seed", "2"]).await;
    let (all, published) = (sent(&first) + sent(&second), Utc::now());
    settled(&mut conn, all).await;
    complete_beyond(&mut conn, published).await;
    sqlx::raw_sql(LOSE).execute(&mut owner).await.unwrap();
    let lost = Instant::now();
    read_again(&mut conn, all, published).await;
    eprintln!("read again {:?} after they were lost", lost.elapsed());
    assert_eq!(LedgerSums::of_batches(&mut conn).await.received, all);
    assert_eq!((ledger_holes(&mut conn).await, double_counted(&mut conn).await), (0, 0));
    let merged = Totals::rolled_up(&mut conn, "hourly_rollups").await;
    assert_eq!(merged, Totals::raw(&mut conn).await);
    assert_eq!(merged.values().map(|totals| totals.invocations).sum::<i64>(), 600);
    let logged =
        "SELECT count(*) FROM analytics.supervision_events WHERE what = 'fenced' AND cause LIKE '%commits were lost%'";
    eventually("the log says so", async || (number(&mut conn, logged).await == 1).then_some(())).await;
}

#[tokio::test]
async fn a_replica_without_last_commits_is_recognised() {
    let mut world = World::new(1).await;
    let proxy = world.proxy_database();
    let Some(replica) = Replica::start().await else {
        return not_run("the servers run in containers");
    };
    let service = world.serve().await;
    let (mut primary, mut conn) = (world.connect().await, replica.connect(&world.settings.database.url).await);
    let first = world.publish(&["--events", "500", "--seed", "1"]).await;
    settled(&mut primary, sent(&first)).await;
    eventually("the replica has it too", async || {
        (LedgerSums::of_hours(&mut conn).await.received == sent(&first)).then_some(())
    })
    .await;
    replica.cut_off().await;
    let before = number(&mut conn, "SELECT next_offset FROM analytics.partition_offsets").await;
    let second = world.publish(&["--events", "500", "--seed", "2"]).await;
    let (all, published) = (sent(&first) + sent(&second), Utc::now());
    settled(&mut primary, all).await;
    complete_beyond(&mut primary, published).await;
    let failed = Instant::now();
    proxy.cut();
    replica.promote().await;
    assert_eq!(
        number(&mut conn, "SELECT next_offset FROM analytics.partition_offsets").await,
        before,
        "commits are lost"
    );
    let promoted = Instant::now();
    proxy.switch_to(replica.address);
    proxy.heal();
    read_again(&mut conn, all, published).await;
    eprintln!("read again {:?} after the failure, {:?} after the promotion", failed.elapsed(), promoted.elapsed());
    let orgs = Totals::raw(&mut conn).await;
    assert_eq!(Totals::rolled_up(&mut conn, "hourly_rollups").await, orgs);
    assert_eq!(orgs.values().map(|totals| totals.invocations).sum::<i64>(), 1000);
    assert_eq!((ledger_holes(&mut conn).await, double_counted(&mut conn).await), (0, 0));
    // The API reads where the service does.
    let (org, totals) = orgs.iter().next().unwrap();
    eventually("the answers are complete again", async || {
        let answer = usage(&service, org.as_u128()).await;
        (answer["totals"]["invocations"] == totals.invocations && answer["freshness"]["status"] == "fresh")
            .then_some(())
    })
    .await;
    drop(service);
}
