//! Transactions end when their work does, also where it returned early: nobody waits for their locks.

use std::time::Duration;

use analytics_service::store::{
    Session, StoreError,
    rollups::merge::{PartitionName, ROLLUP_LOCK, merge},
    transaction::in_transaction,
};
use sqlx::PgConnection;

use crate::{
    harness::eventually,
    store_commit::{CommitFixture, event},
    store_merge::rules,
};

const LOCK_ALL: &str = "SELECT count(*) FROM (SELECT FROM analytics.partition_offsets FOR UPDATE NOWAIT) AS rows";

/// Whether another session could lock the partitions' rows now.
async fn rows_are_free(other: &mut PgConnection) -> bool {
    sqlx::query_scalar::<_, i64>(LOCK_ALL).fetch_one(other).await.is_ok()
}

#[tokio::test]
async fn a_batch_committed_before_leaves_no_lock() {
    let mut fixture = CommitFixture::new(1).await;
    let mut other = fixture.world.connect().await;
    let batch = fixture.batch([serde_json::to_vec(&event(1, 1, fixture.claim.now)).unwrap()]);
    assert!(!fixture.commit(&batch).await.unwrap().again);
    assert!(fixture.commit(&batch).await.unwrap().again);
    assert!(rows_are_free(&mut other).await, "the second attempt still holds the partition's row");
}

#[tokio::test]
async fn a_merge_of_nothing_leaves_no_lock() {
    let mut fixture = CommitFixture::new(1).await;
    let mut other = fixture.world.connect().await;
    let partition = PartitionName { stream: &fixture.claim.stream, partition: 0, topology: &fixture.claim.topology };
    let merged = merge(&mut fixture.conn, partition, rules(10)).await.unwrap();
    assert!(merged.watermark.is_none() && !merged.more);
    let free: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(ROLLUP_LOCK).fetch_one(&mut other).await.unwrap();
    assert!(free, "the merge still holds rebuilds off");
}

#[tokio::test]
async fn failed_work_leaves_no_lock() {
    let mut fixture = CommitFixture::new(1).await;
    let mut other = fixture.world.connect().await;
    let failed: Result<(), StoreError> = in_transaction(&mut fixture.conn, async |tx| {
        sqlx::query(LOCK_ALL).execute(tx).await?;
        Err(StoreError::Permanent("not this time".to_owned()))
    })
    .await;
    assert_eq!(failed.unwrap_err().to_string(), "database: not this time");
    assert!(rows_are_free(&mut other).await);
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut fixture.conn).await.unwrap();
    assert_eq!(one, 1, "the connection is of use afterwards");
}

#[tokio::test]
async fn a_deadline_releases_connection_and_locks() {
    let fixture = CommitFixture::new(1).await;
    let mut other = fixture.world.connect().await;
    let mut session = Session::new(fixture.world.settings.database.clone());
    session.run(async |_| Ok(())).await.unwrap();
    let never = async |conn: &mut PgConnection| {
        in_transaction(conn, async |tx| {
            sqlx::query(LOCK_ALL).execute(tx).await?;
            std::future::pending::<Result<(), StoreError>>().await
        })
        .await
    };
    let given_up = session.run_within(Duration::from_millis(300), never).await;
    assert!(matches!(given_up, Err(StoreError::Timeout(_))), "{given_up:?}");
    eventually("the rows to be free", async || rows_are_free(&mut other).await.then_some(())).await;
    drop(session);
}
