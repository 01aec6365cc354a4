//! What waits in the database, and since when; what `verify` found.

use sqlx::PgConnection;
use uuid::Uuid;

use super::shown;
use crate::harness::{Scrape, World};

/// Puts in what waits: a batch that cannot be merged, one that is not folded, a day that nobody may count, a correction, an export.
async fn put_in(conn: &mut PgConnection) {
    for statement in [
        "INSERT INTO analytics.rollup_pending (batch_id, stream, partition, next_offset, committed_at, aggregates)
         VALUES (gen_random_uuid(), 'elsewhere', 0, 1, to_timestamp(1700000000), '\\x00')",
        "INSERT INTO analytics.attribution_pending (batch_id, stream, partition, committed_at, partials)
         VALUES (gen_random_uuid(), 'elsewhere', 0, to_timestamp(1700000300), '\\x00')",
        // As whoever writes parts.
        "SELECT pg_advisory_lock(x'617474726962'::bigint)",
        "WITH counted AS (
             INSERT INTO analytics.attribution_sets (dimensions, max_keys, complete_from, days_to, months_to)
             VALUES ('{modelId}', 100, '1970-01-01', '2026-01-01', '2026-01-01') RETURNING set_id)
         INSERT INTO analytics.attribution_recounts (org_id, set_id, day, noted_at)
         SELECT gen_random_uuid(), set_id, '2026-01-01', to_timestamp(1700000400) FROM counted",
        "INSERT INTO analytics.dead_letters (dead_letter_id, batch_id, stream, incarnation, partition, stream_offset, rejected_at, reasons,
                payload, payload_bytes, payload_sha256, correction, corrected_by, corrected_at)
         VALUES (gen_random_uuid(), gen_random_uuid(), 'elsewhere', 1, 0, 1, now(), '{}', '', 0, '', '{}', 'ann', to_timestamp(1700000100))",
        "INSERT INTO analytics.export_jobs (job_id, org_id, kind, granularity, group_by, range_start, range_end, models, initiated_by,
                request_sha256, created_at)
         VALUES (gen_random_uuid(), gen_random_uuid(), 'demand', 'daily', 'model', '2026-01-01', '2026-02-01', '{}', 'ann',
                 decode(repeat('00', 32), 'hex'), to_timestamp(1700000200))",
    ] {
        sqlx::query(statement).execute(&mut *conn).await.unwrap();
    }
}

#[tokio::test]
async fn what_waits_is_shown_with_its_age() {
    let mut world = World::new(1).await.unchecked("what waits is put in");
    // Nothing can be published.
    world.set("ANALYTICS__BROKER__URL", "amqp://u:p@127.0.0.1:1/%2f");
    let mut conn = world.connect().await;
    put_in(&mut conn).await;
    let service = world.serve().await;
    let ages = |scrape: &Scrape| {
        let waiting =
            ["rollup_pending", "attribution_pending", "attribution_recounts", "corrections_pending", "export_queue"];
        waiting.map(|metric| {
            (scrape.get(metric).unwrap(), scrape.get(&format!("{metric}_oldest_timestamp_seconds")).unwrap())
        })
    };
    shown(&service, "what waits is shown", |scrape| {
        let since = [0.0, 300.0, 400.0, 100.0, 200.0];
        ages(scrape) == since.map(|seconds| (1.0, 1_700_000_000.0 + seconds))
    })
    .await;
    for table in ["rollup_pending", "attribution_pending", "attribution_recounts", "dead_letters", "export_jobs"] {
        let delete = format!("DELETE FROM analytics.{table}");
        sqlx::query(sqlx::AssertSqlSafe(delete)).execute(&mut conn).await.unwrap();
    }
    shown(&service, "nothing waits", |scrape| ages(scrape) == [(0.0, 0.0); 5]).await;
}

#[tokio::test]
async fn what_verify_found_is_shown() {
    let world = World::new(1).await.unchecked("a batch that cannot be merged is put in");
    let service = world.serve().await;
    assert_eq!(service.scrape().await.get("verify_last_run_timestamp_seconds"), Some(0.0));
    assert_eq!(world.run(&["verify"]).await.status.code(), Some(0));
    let found = |scrape: &Scrape| {
        (scrape.get("verify_last_run_timestamp_seconds").unwrap(), scrape.get("verify_differences").unwrap())
    };
    let clean = shown(&service, "a run is shown", |scrape| found(scrape).0 > 1_700_000_000.0).await;
    assert_eq!(found(&clean).1, 0.0);
    let mut conn = world.connect().await;
    sqlx::query(
        "INSERT INTO analytics.rollup_pending (batch_id, stream, partition, next_offset, committed_at, aggregates)
         VALUES (gen_random_uuid(), 'elsewhere', 0, 1, now(), '\\x00')",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    // Of one org: it says nothing of the others.
    let org = Uuid::from_u128(1).to_string();
    world.run(&["verify", "--org", &org]).await;
    assert_eq!(world.run(&["verify"]).await.status.code(), Some(3));
    let differs = shown(&service, "the difference is shown", |scrape| found(scrape).1 == 1.0).await;
    assert!(found(&differs).0 > found(&clean).0);
}
