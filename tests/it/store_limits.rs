//! What the server does by itself when its client has given up, and which errors are not waited for.

use std::time::Duration;

use analytics_service::store::{Session, StoreError, connect_owner, connect_writer};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    harness::{World, eventually, number},
    store_commit::{CommitFixture, body, event},
};

const LOCK_ALL: &str = "SELECT count(*) FROM (SELECT FROM analytics.partition_offsets FOR UPDATE) AS rows";

/// Backends of the world that wait for a lock.
async fn waiting(conn: &mut PgConnection) -> i64 {
    number(
        conn,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .await
}

#[tokio::test]
async fn cancelled_backends_end_despite_a_lock() {
    let fixture = CommitFixture::new(1).await;
    let mut holder = fixture.world.connect().await;
    sqlx::raw_sql("BEGIN; SELECT FROM analytics.partition_offsets FOR UPDATE").execute(&mut holder).await.unwrap();
    let mut looker = fixture.world.connect().await;
    // The deadline of a session with minutes to write, cut short: only the closed connection shows it to the server.
    let mut session = Session::new(fixture.world.settings.database.clone());
    let mut most = 0;
    for _ in 0..12 {
        let locked = session
            .run_within(Duration::from_millis(400), async |conn| {
                Ok(sqlx::query(LOCK_ALL).execute(conn).await.map(|_| ())?)
            })
            .await;
        assert!(locked.unwrap_err().is_transient());
        most = most.max(waiting(&mut looker).await);
    }
    assert!(most <= 6, "{most} backends waited for nobody");
    eventually("no backend waits for a client that is gone", async || (waiting(&mut looker).await == 0).then_some(()))
        .await;
    let held = sqlx::query(AssertSqlSafe(LOCK_ALL.replace("UPDATE", "UPDATE NOWAIT"))).execute(&mut looker).await;
    assert!(held.is_err(), "the lock is held all the time");
}

#[tokio::test]
async fn a_writer_limits_its_waits_below_its_deadline() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__DATABASE__WRITE_TIMEOUT_MS", "2000");
    let mut conn = connect_writer(&world.settings.database).await.unwrap();
    let limits: (String, String, String, String) = sqlx::query_as(
        "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'),
                current_setting('client_connection_check_interval'), current_setting('tcp_keepalives_idle')",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(limits, ("1600ms".into(), "1800ms".into(), "500ms".into(), "10".into()));
}

#[tokio::test]
async fn a_stopped_command_does_not_keep_its_locks() {
    let world = World::new(1).await;
    let mut conn = connect_owner(&world.settings.database).await.unwrap();
    let limit: String = sqlx::query_scalar("SELECT current_setting('idle_in_transaction_session_timeout')")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(limit, "5min");
    // Cut short.
    sqlx::raw_sql("SET idle_in_transaction_session_timeout = '200ms'; BEGIN; SELECT pg_advisory_xact_lock(7)")
        .execute(&mut conn)
        .await
        .unwrap();
    let mut other = world.connect().await;
    eventually("the lock is given up", async || {
        let free: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(7)").fetch_one(&mut other).await.unwrap();
        free.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_lost_right_is_a_permanent_error() {
    let mut fixture = CommitFixture::new(1).await;
    let mut owner = fixture.world.connect_as_owner().await;
    sqlx::raw_sql("REVOKE INSERT ON analytics.usage_events FROM analytics_service").execute(&mut owner).await.unwrap();
    let batch = fixture.batch([body(&event(1, 1, fixture.claim.now))]);
    let error = fixture.commit(&batch).await.unwrap_err();
    assert!(!error.is_transient());
    let text = error.to_string();
    assert!(text.contains("usage_events") && text.contains("42501") && text.contains("run `migrate`"), "{text}");
    sqlx::raw_sql("GRANT INSERT ON analytics.usage_events TO analytics_service").execute(&mut owner).await.unwrap();
    assert_eq!(fixture.commit(&batch).await.unwrap().counts.stored, 1);
}

#[tokio::test]
async fn a_moved_offset_names_both_values() {
    let mut fixture = CommitFixture::new(1).await;
    let now = fixture.claim.now;
    let _first = fixture.batch([body(&event(1, 1, now))]);
    let second = fixture.batch([body(&event(1, 2, now))]);
    let error = fixture.commit(&second).await.unwrap_err();
    assert!(matches!(error, StoreError::Moved { partition: 0, expected: 1, found: 0 }), "{error}");
    assert!(!error.to_string().contains("epoch"), "{error}");
}

#[tokio::test]
async fn pending_rows_are_found_by_their_index() {
    let fixture = CommitFixture::new(1).await;
    let mut conn = fixture.world.connect_as_owner().await;
    sqlx::query(
        "INSERT INTO analytics.rollup_pending (batch_id, stream, partition, next_offset, committed_at, aggregates)
         SELECT gen_random_uuid(), 's' || n % 8, 0, n, now(), '' FROM generate_series(1, 20000) AS n",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    sqlx::raw_sql("ANALYZE analytics.rollup_pending").execute(&mut conn).await.unwrap();
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN SELECT batch_id FROM analytics.rollup_pending WHERE stream = 's1' AND partition = 0
         ORDER BY commit_no LIMIT 64 FOR UPDATE",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(plan.iter().any(|line| line.contains("Index Scan using rollup_pending_partition")), "{plan:#?}");
}

#[tokio::test]
async fn open_ranges_are_found_by_their_index() {
    let fixture = CommitFixture::new(1).await;
    let mut conn = fixture.world.connect_as_owner().await;
    sqlx::query(
        "INSERT INTO analytics.unread_ranges
                (batch_id, stream, incarnation, partition, first_offset, next_offset, reason, detail, complete_to)
         SELECT gen_random_uuid(), 's' || n % 2, 1, 0, n, n + 1, 'left_out', '', now() - n * INTERVAL '1 second'
         FROM generate_series(1, 20000) AS n",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    sqlx::query("INSERT INTO analytics.partition_watermarks (stream, partition, watermark) VALUES ('s1', 0, now())")
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::raw_sql("ANALYZE analytics.unread_ranges").execute(&mut conn).await.unwrap();
    let oldest: bool = sqlx::query_scalar(
        "SELECT watermark = (SELECT min(complete_to) FROM analytics.unread_ranges WHERE stream = 's1')
         FROM analytics.partition_completeness WHERE stream = 's1'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert!(oldest);
    for (explained, index) in [
        (
            "EXPLAIN SELECT watermark FROM analytics.partition_completeness WHERE stream = 's1' AND partition = 0",
            "unread_ranges_complete",
        ),
        (
            "EXPLAIN SELECT min(noted_at) FROM analytics.unread_ranges
             WHERE stream = 's1' AND partition = 0 AND acknowledged_at IS NULL",
            "unread_ranges_noted",
        ),
    ] {
        let plan: Vec<String> = sqlx::query_scalar(explained).fetch_all(&mut conn).await.unwrap();
        let first_alone = plan.iter().any(|line| line.contains("Limit"));
        assert!(first_alone && plan.iter().any(|line| line.contains(index)), "{plan:#?}");
    }
}
