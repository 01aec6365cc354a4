//! Retention: exactly what is older than it goes, the ledger records it, and work beside it is not disturbed.

mod beside;
mod continuous;
mod history;
mod ledger;
mod records;

use std::process::Output;

use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::harness::{LedgerSums, Totals, World, ledger_holes, number, raw_imbalance};
use history::{DAYS, ORGS, history, org};

/// Days for which this module's worlds accept events. Raw events are kept for the dedupe window, a day, on top.
const RAW_DAYS: i32 = 3;
const ROLLUP_DAYS: i32 = 6;

/// A world with history and these retentions.
async fn world() -> World {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__EVENTS__RETENTION_DAYS", &RAW_DAYS.to_string());
    world.set("ANALYTICS__RETENTION__ROLLUP_DAYS", &ROLLUP_DAYS.to_string());
    history(&mut world.connect().await).await;
    world
}

/// Runs `purge` and gives what it says of itself.
async fn purge(world: &World, args: &[&str]) -> Value {
    world.report(&[&["purge"], args].concat()).await
}

fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// All that purging may change, in an order of its own, but for the record of each run. Of a fold's id nothing depends.
async fn state(conn: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT row_to_json(x)::text FROM (SELECT occurred_at, org_id, event_id, batch_id FROM analytics.usage_events) x
         UNION ALL SELECT row_to_json(x)::text FROM analytics.hourly_rollups x
         UNION ALL SELECT row_to_json(x)::text FROM analytics.daily_rollups x
         UNION ALL SELECT row_to_json(x)::text FROM analytics.rollup_revisions x
         UNION ALL SELECT row_to_json(x)::text FROM analytics.freshness_status x
         UNION ALL SELECT row_to_json(x)::text FROM analytics.ledger_hourly x
         UNION ALL SELECT row_to_json(x)::text FROM analytics.raw_horizons x
         UNION ALL SELECT row_to_json(x)::text FROM analytics.retention_floors x
         UNION ALL SELECT (to_jsonb(x) - CASE WHEN kind = 'fold' THEN 'batch_id' ELSE '' END)::text
                   FROM analytics.ingestion_batches x
         UNION ALL SELECT row_to_json(x)::text FROM (SELECT dead_letter_id FROM analytics.dead_letters) x
         UNION ALL SELECT row_to_json(x)::text FROM analytics.audit_events x WHERE action <> 'data.purge'
         UNION ALL SELECT row_to_json(x)::text FROM analytics.supervision_events x
         UNION ALL SELECT row_to_json(x)::text FROM analytics.replays x
         ORDER BY 1",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

/// What must hold whatever was purged.
async fn assert_sound(conn: &mut PgConnection) {
    assert_eq!(raw_imbalance(conn).await, 0, "raw events of a batch are those stored and not purged");
    assert_eq!(ledger_holes(conn).await, 0, "the ledger is a chain");
}

/// Rows of a table for which something holds.
async fn count(conn: &mut PgConnection, of: &str) -> i64 {
    let statement = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM analytics.{of}"));
    sqlx::query_scalar(statement).fetch_one(conn).await.unwrap()
}

/// The start of the UTC day so many days ago, as SQL.
fn day(ago: i32) -> String {
    format!("date_trunc('day', now(), 'UTC') - interval '{} hours'", ago * 24)
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let world = world().await;
    let mut conn = world.connect().await;
    let before = state(&mut conn).await;
    let dry = purge(&world, &["--dry-run"]).await;
    assert_eq!(state(&mut conn).await, before);
    let run = purge(&world, &[]).await;
    // Day 0 is today; the days from the fifth on end before three days and a window ago.
    let days = i64::from(DAYS - 1 - (RAW_DAYS + 1));
    assert_eq!(run["raw"]["chunks"], days);
    assert!(run["raw"]["bytes"].as_i64().unwrap() > 0, "{run}");
    for step in ["raw", "rollups", "records"] {
        // A table's pages can grow when they are looked at.
        let numbers = |said: &Value| {
            let mut said = said[step].as_object().unwrap().clone();
            said.remove("bytes");
            said
        };
        assert_eq!(numbers(&run), numbers(&dry), "{step}");
    }
    assert_eq!(purge(&world, &[]).await["raw"]["events"], 0);
    assert_sound(&mut conn).await;
}

#[tokio::test]
async fn only_older_data_is_purged() {
    let world = world().await;
    let mut conn = world.connect().await;
    let (batches, hours) = (LedgerSums::of_batches(&mut conn).await, LedgerSums::of_hours(&mut conn).await);
    let kept_raw = format!("usage_events WHERE occurred_at >= {}", day(RAW_DAYS + 1));
    let kept_hourly = format!("hourly_rollups WHERE bucket_start >= {}", day(ROLLUP_DAYS));
    let kept_daily = format!("daily_rollups WHERE bucket_start >= {}", day(ROLLUP_DAYS));
    let before =
        [count(&mut conn, &kept_raw).await, count(&mut conn, &kept_hourly).await, count(&mut conn, &kept_daily).await];
    assert!(before.iter().all(|kept| *kept > 0));
    let gone = count(&mut conn, "usage_events").await - before[0];
    let purged = purge(&world, &[]).await;
    assert_eq!(purged["raw"]["events"], gone);
    let after = [
        count(&mut conn, "usage_events").await,
        count(&mut conn, "hourly_rollups").await,
        count(&mut conn, "daily_rollups").await,
    ];
    assert_eq!(after, before);
    assert_eq!(count(&mut conn, &kept_raw).await, before[0]);
    assert_eq!(LedgerSums::of_batches(&mut conn).await, batches, "the ledger says what was stored, whatever is left");
    assert_eq!(LedgerSums::of_hours(&mut conn).await, hours);
    let floor = format!("raw_horizons WHERE org_id IS NULL AND raw_from = {}", day(RAW_DAYS + 1));
    assert_eq!(count(&mut conn, &floor).await, 1);
    assert_sound(&mut conn).await;
    let state_after = state(&mut conn).await;
    purge(&world, &[]).await;
    assert_eq!(state(&mut conn).await, state_after, "again: nothing is left to do");
}

#[tokio::test]
async fn orgs_have_their_own_retention() {
    let mut world = world().await.unchecked("an org's rollups go before its raw events");
    world.set("ANALYTICS__EVENTS__RETENTION_DAYS", "8");
    let (short, long, other) = (org(0).to_string(), org(1).to_string(), org(2).to_string());
    for args in [
        &["--org", &short, "--raw-days", "3", "--rollup-days", "2"][..],
        &["--org", &long, "--rollup-days", "400", "--json"],
    ] {
        assert!(world.run(&[&["retention", "set"], args].concat()).await.status.success());
    }
    let purged = purge(&world, &[]).await;
    assert_eq!(purged["raw"]["orgs"], 1);
    let mut conn = world.connect().await;
    for (org, raw_days, rollup_days) in [(&short, 3, 2), (&long, 8, DAYS - 1), (&other, 8, ROLLUP_DAYS)] {
        let oldest = |table: &str, at: &str, days: i32| {
            format!(
                "(SELECT min(date_trunc('day', {at}, 'UTC')) AS at FROM analytics.{table} WHERE org_id = '{org}') x WHERE at = {}",
                day(days)
            )
        };
        for (table, at, days) in [
            ("usage_events", "occurred_at", raw_days + 1),
            ("hourly_rollups", "bucket_start", rollup_days),
            ("daily_rollups", "bucket_start", rollup_days),
        ] {
            let statement = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {}", oldest(table, at, days)));
            let held = number(&mut conn, statement).await;
            assert_eq!(held, 1, "{table} of {org} begin {days} days ago");
        }
    }
    let floor = format!("raw_horizons WHERE org_id = '{short}' AND raw_from = {}", day(4));
    assert_eq!(count(&mut conn, &floor).await, 1);
    assert_eq!(count(&mut conn, "raw_horizons").await, 2);
    assert_sound(&mut conn).await;
    let state_after = state(&mut conn).await;
    purge(&world, &[]).await;
    assert_eq!(state(&mut conn).await, state_after);
}

#[tokio::test]
async fn changes_of_an_orgs_retention_are_recorded() {
    let world = world().await;
    let id = org(0).to_string();
    let run = async |args: &[&str]| world.run(&[&["retention"], args].concat()).await;
    for (args, words) in [
        (&["set", "--org", &id][..], "one of --raw-days"),
        (&["set", "--org", &id, "--raw-days", "2"], "--raw-days must be from 3"),
        (&["set", "--org", &id, "--raw-days", "4"], "to 3 (events.retention_days), is 4"),
        (&["set", "--org", &id, "--rollup-days", "0"], "--rollup-days"),
    ] {
        let output = run(args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");
    }
    let set = said(&run(&["set", "--org", &id, "--raw-days", "3", "--json"]).await);
    assert_eq!((&set["rawDays"], &set["rollupDays"]), (&json!(3), &Value::Null));
    run(&["set", "--org", &id, "--rollup-days", "30"]).await;
    let list = said(&run(&["list", "--json"]).await);
    let listed = &list["orgs"][0];
    assert_eq!((&listed["orgId"], &listed["rawDays"], &listed["rollupDays"]), (&json!(id), &json!(3), &json!(30)));
    assert!(said(&run(&["clear", "--org", &id, "--json"]).await)["cleared"].as_bool().unwrap());
    assert!(!said(&run(&["clear", "--org", &id, "--json"]).await)["cleared"].as_bool().unwrap());
    let mut conn = world.connect().await;
    let acts: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT action, detail FROM analytics.audit_events WHERE org_id = $1 ORDER BY event_id")
            .bind(org(0))
            .fetch_all(&mut conn)
            .await
            .unwrap();
    let set = |detail: &str| ("retention.set".to_owned(), Some(detail.to_owned()));
    assert_eq!(acts, [set("raw_days 3"), set("rollup_days 30"), ("retention.clear".to_owned(), None)]);
    assert_eq!(Totals::raw(&mut conn).await.len(), usize::try_from(ORGS).unwrap());
}
