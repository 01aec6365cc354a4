//! The ledger: what is old and has no events any more becomes one row, and nothing that is summed or checked changes.

use sqlx::PgConnection;

use super::{assert_sound, count, day, purge, state, world};
use crate::harness::LedgerSums;

/// Of history's partition: first and next offset, stored, purged, rejected.
async fn folds(conn: &mut PgConnection) -> Vec<(i64, i64, i64, i64, i64)> {
    sqlx::query_as(
        "SELECT first_offset, next_offset, stored, purged, rejected FROM analytics.ingestion_batches WHERE kind = 'fold'",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

/// A row of a range that was read again, or that put events back, long ago.
async fn beside_the_chain(conn: &mut PgConnection, kind: &str, purged: i64) {
    let statement = sqlx::AssertSqlSafe(format!(
        "INSERT INTO analytics.ingestion_batches (batch_id, stream, incarnation, partition, kind, first_offset, next_offset,
             received, stored, duplicates, conflicts, rejected, late, orgs, retries, started_at, completed_at, purged)
         SELECT gen_random_uuid(), 'history', 1, 0, '{kind}', 0, 10, 9, 5, 3, 1, 1, 2, 4, 0, at, at, {purged}
         FROM (SELECT now() - interval '11 days' AS at) t"
    ));
    sqlx::query(statement).execute(conn).await.unwrap();
}

#[tokio::test]
async fn old_ledger_rows_are_folded_without_loss() {
    let mut world = world().await;
    world.set("ANALYTICS__RETENTION__BATCH_DAYS", "6");
    let mut conn = world.connect().await;
    beside_the_chain(&mut conn, "replay", 5).await;
    // Its events are still there, as far as the ledger knows.
    beside_the_chain(&mut conn, "replay", 0).await;
    let sums = LedgerSums::of_batches(&mut conn).await;
    beside_the_chain(&mut conn, "repair", 0).await;
    let rows = count(&mut conn, "ingestion_batches").await;

    let purged = purge(&world, &[]).await;
    assert_eq!(purged["ledger"]["repairs"], 1);
    assert_eq!(LedgerSums::of_batches(&mut conn).await, sums);
    let folded = purged["ledger"]["folded"].as_i64().unwrap();
    // Without the repair, and with the fold itself.
    assert_eq!(count(&mut conn, "ingestion_batches").await, rows - folded);
    let fold = folds(&mut conn).await;
    let [(0, next, stored, gone, rejected)] = fold[..] else { panic!("{fold:?}") };
    assert_eq!(stored, gone);
    // A batch an hour of ten offsets; the replay is no link. The one that was completed six days ago is the last.
    assert_eq!(next, (folded - 1) * 10);
    assert_eq!((stored, rejected), ((folded - 1) * 6 + 5, (folded - 1 + 4) / 5 + 1));
    let left = "ingestion_batches WHERE kind = 'live' AND completed_at < now() - interval '6 days'";
    assert_eq!(count(&mut conn, left).await, 0);
    assert_eq!(count(&mut conn, "ingestion_batches WHERE kind = 'replay'").await, 1);
    assert_eq!(crate::harness::ledger_holes(&mut conn).await, 0);

    let once = state(&mut conn).await;
    assert_eq!(purge(&world, &[]).await["ledger"]["folded"], 0);
    assert_eq!(state(&mut conn).await, once);
    // A day later the fold takes more in.
    world.set("ANALYTICS__RETENTION__BATCH_DAYS", "5");
    let more = purge(&world, &[]).await["ledger"]["folded"].as_i64().unwrap();
    assert_eq!((more, folds(&mut conn).await[0].1), (24, next + 240));
    assert_eq!(LedgerSums::of_batches(&mut conn).await, sums);
}

#[tokio::test]
async fn folding_stops_at_batches_with_events() {
    let mut world = world().await;
    world.set("ANALYTICS__RETENTION__BATCH_DAYS", "6");
    let mut conn = world.connect().await;
    // An event of the thirtieth batch came from another day, which is kept.
    let moved = format!(
        "UPDATE analytics.usage_events u SET batch_id = lpad('30', 32, '0')::uuid
         WHERE (org_id, event_id) IN (SELECT org_id, event_id FROM analytics.usage_events
                                      WHERE occurred_at >= {} ORDER BY occurred_at LIMIT 1)",
        day(1)
    );
    sqlx::query(sqlx::AssertSqlSafe(moved)).execute(&mut conn).await.unwrap();
    let give = "UPDATE analytics.ingestion_batches b SET stored = r.n, received = r.n + rejected
                FROM (SELECT batch_id, count(*) AS n FROM analytics.usage_events GROUP BY 1) r
                WHERE b.batch_id = r.batch_id";
    sqlx::query(give).execute(&mut conn).await.unwrap();
    let dry = purge(&world, &["--dry-run"]).await;
    assert_eq!(dry["ledger"]["folded"], 0, "as it is now, no batch is without events");
    let purged = purge(&world, &[]).await;
    assert_eq!(purged["ledger"]["folded"], 30);
    assert_eq!(folds(&mut conn).await[0].1, 300);
    assert_sound(&mut conn).await;
}
