//! Merging: what was pending is added once, however many merge at a time.

use analytics_service::{
    domain::{freshness::Thresholds, partition::home_partition},
    store::{
        ingest::partitions::Claim,
        rollups::merge::{MergeRules, PartitionName, caught_up, merge},
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    harness::LedgerSums,
    store_commit::{CommitFixture, body, event, hold},
};

#[tokio::test]
async fn concurrent_merges_lose_nothing() {
    let mut fixture = CommitFixture::new(2).await;
    let now = fixture.claim.now;
    // About half of the orgs are at home in the other partition, and each partition gets events of all of them.
    let at_home = (0..20).filter(|org| home_partition(Uuid::from_u128(*org), 2) == 0).count();
    assert!((5..15).contains(&at_home));
    let mut id = 0;
    for round in 0..20 {
        if round == 10 {
            fixture.claim = hold(&mut fixture.conn, &fixture.world, 1).await;
        }
        let bodies: Vec<_> = (0..200)
            .map(|n| {
                id += 1;
                body(&event(n % 20, id, now - TimeDelta::minutes(i64::try_from(n).unwrap())))
            })
            .collect();
        let batch = fixture.batch(bodies);
        fixture.commit(&batch).await.unwrap();
    }
    let merging = async |partition: u16| {
        let mut conn = fixture.world.connect().await;
        let topology = fixture.world.settings.broker.topology();
        let stream = topology.stream_of(partition);
        let name = PartitionName { stream: &stream, partition, topology: &topology };
        while merge(&mut conn, name, rules(1)).await.unwrap().more {}
    };
    tokio::join!(merging(0), merging(1));
    let sums: (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT sum(successes)::bigint FROM analytics.hourly_rollups),
                (SELECT sum(successes)::bigint FROM analytics.daily_rollups),
                (SELECT count(*) FROM analytics.rollup_pending)",
    )
    .fetch_one(&mut fixture.conn)
    .await
    .unwrap();
    assert_eq!(sums, (4000, 4000, 0));
    assert_eq!(LedgerSums::of_hours(&mut fixture.conn).await, LedgerSums::of_batches(&mut fixture.conn).await);
}

#[tokio::test]
async fn the_watermark_is_now_only_without_pending_rows() {
    let mut fixture = CommitFixture::new(1).await;
    let topology = fixture.world.settings.broker.topology();
    let name = PartitionName { stream: &topology.base, partition: 0, topology: &topology };
    let published = fixture.claim.now;
    let batch = fixture.batch([body(&event(1, 1, published))]);
    fixture.commit(&batch).await.unwrap();
    let now = published + TimeDelta::milliseconds(1);
    caught_up(&mut fixture.conn, &fixture.claim, 1, now).await.unwrap();
    assert_eq!(watermark(&mut fixture).await, None, "a committed batch is not merged yet");
    merge(&mut fixture.conn, name, rules(10)).await.unwrap();
    assert_eq!(watermark(&mut fixture).await, Some(published));
    let fenced = Claim { epoch: fixture.claim.epoch - 1, ..fixture.claim.clone() };
    assert_eq!(caught_up(&mut fixture.conn, &fenced, 1, now).await.unwrap(), None, "an epoch that is over");
    assert_eq!(caught_up(&mut fixture.conn, &fixture.claim, 1, now).await.unwrap(), Some(now));
    assert_eq!(watermark(&mut fixture).await, Some(now));
}

#[tokio::test]
async fn a_merge_takes_the_oldest_rows_that_fit() {
    let fixture = CommitFixture::new(1).await;
    let mut conn = fixture.world.connect_as_owner().await;
    sqlx::query(
        "INSERT INTO analytics.rollup_pending (batch_id, stream, partition, next_offset, committed_at, aggregates)
         SELECT gen_random_uuid(), 's', 0, n, to_timestamp(n), decode(repeat('00', 100), 'hex') FROM generate_series(1, 6) AS n",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let take = async |conn: &mut sqlx::PgConnection, rows: i64, bytes: i64| -> Vec<i64> {
        let statement = include_str!("../../src/store/rollups/sql/pending_take.sql");
        let taken = sqlx::query(statement).bind("s").bind(0).bind(rows).bind(bytes).fetch_all(conn).await.unwrap();
        let mut taken: Vec<i64> =
            taken.iter().map(|row| sqlx::Row::get::<DateTime<Utc>, _>(row, "committed_at").timestamp()).collect();
        taken.sort_unstable();
        taken
    };
    assert_eq!(take(&mut conn, 10, 250).await, [1, 2, 3]);
    assert_eq!(take(&mut conn, 10, 1).await, [4], "one at least");
    assert_eq!(take(&mut conn, 1, 250).await, [5]);
}

pub fn rules(max_batches: i64) -> MergeRules {
    MergeRules {
        max_batches,
        late_after: TimeDelta::hours(1),
        freshness: Thresholds { fresh_ms: 300_000, stale_ms: 600_000 },
    }
}

async fn watermark(fixture: &mut CommitFixture) -> Option<DateTime<Utc>> {
    let statement = "SELECT watermark FROM analytics.partition_watermarks";
    sqlx::query_scalar(statement).fetch_optional(&mut fixture.conn).await.unwrap()
}
