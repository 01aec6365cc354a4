//! Purging beside others: a service at work, late events of the day that goes, a second purge, and its own violent end.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use analytics_service::store::StoreError;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{assert_sound, count, day, history::history, purge, state, world};
use crate::{
    harness::{LedgerSums, Load, Totals, World, eventually, millis, raw_imbalance, settled},
    store_commit::{CommitFixture, body, event},
};

#[tokio::test]
async fn purging_does_not_disturb_a_busy_service() {
    let world = world().await;
    let mut conn = world.connect().await;
    // What history keeps; the load's orgs are others.
    let kept = format!(
        "SELECT org_id, count(*), sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cost_cents)
         FROM analytics.usage_events WHERE occurred_at >= {} GROUP BY org_id",
        day(super::RAW_DAYS + 1)
    );
    let kept = Totals::read(&mut conn, sqlx::AssertSqlSafe(kept)).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    let _service = world.serve().await;
    let load = Load::with(&world, "11", &[]).await;
    let purged = purge(&world, &[]).await;
    assert!(purged["raw"]["chunks"].as_i64().unwrap() > 0);
    let report = load.stop().await;
    let sent = crate::harness::sent(&report);
    settled(&mut conn, ledger.received + sent).await;
    let mut expected: BTreeMap<_, _> = Totals::published(&report);
    expected.extend(kept);
    assert_eq!(Totals::raw(&mut conn).await, expected);
    let batches = LedgerSums::of_batches(&mut conn).await;
    assert_eq!(batches.received, ledger.received + sent);
    assert_eq!(batches.stored, ledger.stored + report["events"].as_i64().unwrap());
    assert_eq!(batches, LedgerSums::of_hours(&mut conn).await);
    assert_sound(&mut conn).await;
}

/// One event of an org of the day so many days ago, as the stream has it.
fn old(fixture: &CommitFixture, id: u128, days: i64) -> Vec<u8> {
    let day: DateTime<Utc> = fixture.claim.now - TimeDelta::days(days);
    body(&event(1, id, day))
}

#[tokio::test]
async fn possible_repeats_of_purged_events_are_refused() {
    let mut fixture = CommitFixture::new(1).await;
    let bodies: Vec<_> = [(1, 20), (2, 12), (3, 10)].map(|(id, days)| old(&fixture, id, days)).into();
    let batch = fixture.batch(bodies.clone());
    assert_eq!(fixture.commit(&batch).await.unwrap().counts.stored, 3);
    fixture.world.set("ANALYTICS__EVENTS__RETENTION_DAYS", "13");
    let org = uuid::Uuid::from_u128(1).to_string();
    assert!(fixture.world.run(&["retention", "set", "--org", &org, "--raw-days", "10"]).await.status.success());
    let purged = purge(&fixture.world, &[]).await;
    // The first is older than everybody's, the second than the org's and the window behind it.
    assert_eq!((&purged["raw"]["events"], &purged["raw"]["orgEvents"]), (&Value::from(1), &Value::from(1)));
    // The window of this process knows them all; a process that has just begun knows none.
    let claim = crate::store_commit::hold(&mut fixture.conn, &fixture.world, 0).await;
    let mut fixture = fixture.again(claim);
    let batch = fixture.batch(bodies);
    let counts = fixture.commit(&batch).await.unwrap().counts;
    assert_eq!((counts.stored, counts.duplicates, counts.rejected), (0, 1, 2));
    let reasons: Vec<Vec<String>> =
        sqlx::query_scalar("SELECT reasons FROM analytics.dead_letters").fetch_all(&mut fixture.conn).await.unwrap();
    assert!(
        reasons.iter().all(|reasons| reasons[0].starts_with("occurredAt: lies before the raw events")),
        "{reasons:?}"
    );
    assert_eq!(raw_imbalance(&mut fixture.conn).await, 0);
    // Another org's event of the same day is welcome, and so is a new one of this org within its retention.
    let fresh = [body(&event(2, 9, fixture.claim.now - TimeDelta::days(12))), old(&fixture, 10, 9)];
    let batch = fixture.batch(fresh);
    assert_eq!(fixture.commit(&batch).await.unwrap().counts.stored, 2);
}

#[tokio::test]
async fn late_events_during_a_purge_are_accounted() {
    let mut fixture = CommitFixture::new(1).await;
    let mut purger = fixture.world.connect().await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let purging = async {
        let (mut events, mut days) = (0, 0);
        loop {
            let last = stop.load(std::sync::atomic::Ordering::Relaxed);
            let taken: Result<Option<(i64,)>, sqlx::Error> =
                sqlx::query_as("SELECT events FROM analytics.purge_raw_chunk(now() - interval '10 days')")
                    .fetch_optional(&mut purger)
                    .await;
            match taken {
                Ok(Some((n,))) => {
                    events += n;
                    days += 1;
                    // Whoever comes from there is welcome again, or there would be nothing more to drop.
                    sqlx::query("DELETE FROM analytics.raw_horizons").execute(&mut purger).await.unwrap();
                }
                Ok(None) if last => return (events, days),
                // The pace at which it looks for another day.
                Ok(None) => millis(5..6).await,
                Err(error) => assert!(error.to_string().contains("deadlock"), "{error}"),
            }
        }
    };
    let storing = async {
        let (mut stored, mut retries) = (0, 0);
        for n in 0..200u128 {
            // Two days that go and one that stays, some known already.
            let bodies: Vec<_> =
                (0..6).map(|m| old(&fixture, n / 2 * 6 + m, [14, 13, 2][usize::try_from(m % 3).unwrap()])).collect();
            let batch = fixture.batch(bodies);
            stored += loop {
                match fixture.commit(&batch).await {
                    Ok(committed) => break committed.counts.stored,
                    Err(error @ (StoreError::Transient(_) | StoreError::Timeout(_))) => {
                        eprintln!("{error}");
                        retries += 1;
                        fixture.conn = fixture.world.connect().await;
                    }
                    Err(error) => panic!("{error}"),
                }
            };
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (stored, retries)
    };
    let ((events, days), (stored, retries)) = tokio::join!(purging, storing);
    eprintln!("{days} days went while {stored} events were stored, {retries} of 200 batches had to try again");
    let left = count(&mut fixture.conn, "usage_events").await;
    assert_eq!(i64::try_from(stored).unwrap(), events + left);
    assert!(days > 5 && left > 0, "they did meet");
    assert_sound(&mut fixture.conn).await;
}

#[tokio::test]
async fn two_at_once_do_it_once() {
    let world = world().await;
    let mut conn = world.connect().await;
    let before = count(&mut conn, "usage_events").await;
    let (one, two) = tokio::join!(purge(&world, &[]), purge(&world, &[]));
    let gone: i64 = [&one, &two].iter().map(|said| said["raw"]["events"].as_i64().unwrap()).sum();
    assert_eq!(count(&mut conn, "usage_events").await, before - gone);
    assert!([&one, &two].iter().any(|said| said["raw"]["events"] == 0), "the second finds nothing to do");
    // A third does not wait longer than it may.
    let held = analytics_service::store::lifecycle::maintenance::TaskLock::take(
        &world.settings.database,
        "verify",
        analytics_service::store::lifecycle::maintenance::Access::Alone,
        Duration::ZERO,
    )
    .await
    .unwrap();
    let refused = world.run(&["purge", "--wait", "1"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another maintenance command is at work"), "{refused:?}");
    drop(held);
    assert_sound(&mut conn).await;
}

#[tokio::test]
async fn a_killed_purge_can_be_rerun() {
    let mut world = world().await;
    world.set("ANALYTICS__RETENTION__BATCH_DAYS", "6");
    let mut conn = world.connect().await;
    let mut killed_at_work = 0;
    for _ in 0..40 {
        let began = Utc::now();
        let mut command = world.command(&["purge"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("it is at work", async || {
            let runs = "SELECT count(*) FROM analytics.maintenance_runs WHERE started_at > $1";
            let runs: i64 = sqlx::query_scalar(runs).bind(began).fetch_one(&mut conn).await.unwrap();
            (runs > 0).then_some(())
        })
        .await;
        millis(0..80).await;
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            if killed_at_work > 0 {
                break;
            }
            // It was done before it could be killed: once more, from the beginning.
            reset(&world).await;
            conn = world.connect().await;
            history(&mut conn).await;
            continue;
        }
        killed_at_work += 1;
        assert_sound(&mut conn).await;
    }
    eprintln!("killed {killed_at_work} times");
    assert!(killed_at_work > 0, "it was killed at work");
    purge(&world, &[]).await;
    let killed = state(&mut conn).await;
    // The same history again, for a run that nobody kills.
    reset(&world).await;
    let mut conn = world.connect().await;
    history(&mut conn).await;
    purge(&world, &[]).await;
    let whole = state(&mut conn).await;
    assert_eq!(comparable(&killed), comparable(&whole));
}

/// Deletes all data.
async fn reset(world: &World) {
    let mut owner = world.connect_as_owner().await;
    let truncate = "TRUNCATE analytics.usage_events, analytics.ingestion_batches, analytics.hourly_rollups,
        analytics.daily_rollups, analytics.rollup_revisions, analytics.freshness_status, analytics.ledger_hourly,
        analytics.raw_horizons, analytics.partition_offsets, analytics.maintenance_runs";
    eventually("a killed run's transaction is over", async || sqlx::query(truncate).execute(&mut owner).await.ok())
        .await;
}

/// What differs between two histories: ids that were drawn, and when they were made.
fn comparable(state: &[String]) -> Vec<String> {
    let mut rows: Vec<String> = state
        .iter()
        .map(|row| {
            let mut row: Value = serde_json::from_str(row).unwrap();
            for drawn in ["event_id", "revision_id", "fresh_as_of", "model_id"] {
                if row.get(drawn).is_some() {
                    row[drawn] = Value::Null;
                }
            }
            row.to_string()
        })
        .collect();
    rows.sort_unstable();
    rows
}
