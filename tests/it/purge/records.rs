//! Dead letters, logs and the ledger's hours: what is old goes, what is needed stays.

use sqlx::AssertSqlSafe;

use super::{count, purge, world};

#[tokio::test]
async fn only_finished_old_records_are_purged() {
    let mut world = world().await;
    for (key, days) in [
        ("RETENTION__DEAD_LETTER_DAYS", "10"),
        ("RETENTION__AUDIT_DAYS", "90"),
        ("RETENTION__SUPERVISION_DAYS", "20"),
        ("RETENTION__LEDGER_HOUR_DAYS", "7"),
    ] {
        world.set(&format!("ANALYTICS__{key}"), days);
    }
    let mut owner = world.connect_as_owner().await;
    // One of every second day back to a hundred days ago.
    let id = "(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(n::text, 3, '0') || '8000' || lpad('', 12, '0'))::uuid";
    let days = "(SELECT n, now() - make_interval(hours => 48 * n::integer) AS at FROM generate_series(0, 50) n) d";
    for statement in [
        format!(
            "INSERT INTO analytics.dead_letters (dead_letter_id, stream, incarnation, partition, stream_offset, batch_id, reasons,
                 payload, payload_bytes, payload_sha256, rejected_at, correction, corrected_by, corrected_at, replayed_at)
             SELECT {id}, 'history', 1, 0, n, gen_random_uuid(), '{{}}', '', 0, '', at, body, 'me',
                    CASE WHEN body IS NOT NULL THEN at END, CASE WHEN n % 10 = 0 THEN at END
             FROM (SELECT n, at, CASE WHEN n % 5 = 0 THEN '\\x00'::bytea END AS body FROM {days}) d"
        ),
        format!(
            "INSERT INTO analytics.audit_events (event_id, occurred_at, credential, roles, action, outcome)
             SELECT {id}, at, 'none', '{{}}', 'old', 'allowed' FROM {days}"
        ),
        format!(
            "INSERT INTO analytics.supervision_events (event_id, occurred_at, process, actor, generation, what)
             SELECT {id}, at, 'p', 'a', 1, 'started' FROM {days}"
        ),
        format!(
            "INSERT INTO analytics.replays (replay_id, stream, partition, incarnation, from_offset, to_offset, next_offset, state,
                 requested_by, requested_at, completed_at)
             SELECT {id}, 'history', 0, 1, 0, 1, 0, CASE WHEN n = 50 THEN 'open' WHEN n % 2 = 0 THEN 'done' ELSE 'failed' END,
                    'me', at, CASE WHEN n < 50 THEN at END FROM {days}"
        ),
        format!("INSERT INTO analytics.processes (process_id, stream, name, expires_at) SELECT {id}, 's', 'p', at FROM {days}"),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut owner).await.unwrap();
    }
    let dry = purge(&world, &["--dry-run"]).await;
    let purged = purge(&world, &[]).await;
    assert_eq!(purged["records"], dry["records"]);
    // 46 of the 51 are ten days old; of every tenth day the correction is published, of every other fifth it waits.
    assert_eq!(purged["records"]["deadLetters"], 46 - 5);
    assert_eq!(purged["records"]["auditEvents"], 6);
    assert_eq!(purged["records"]["supervisionEvents"], 41);
    assert_eq!(purged["records"]["replays"], 40);
    assert_eq!(purged["records"]["processes"], 41);
    assert_eq!(count(&mut owner, "dead_letters WHERE correction IS NOT NULL AND replayed_at IS NULL").await, 5);
    assert_eq!(count(&mut owner, "replays WHERE state = 'open'").await, 1);
    assert_eq!(count(&mut owner, "ledger_hourly WHERE hour < now() - interval '7 days'").await, 0);
    assert!(count(&mut owner, "ledger_hourly WHERE org_id IS NULL").await > 0);
    assert!(purged["ledger"]["hours"].as_i64().unwrap() > 0);
}
