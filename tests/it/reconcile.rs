//! `verify` finds what differs and names it, and `refresh` rebuilds rollups: exactly, whatever goes on beside it.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use chrono::{NaiveDate, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    harness::{FLAWS, Load, World, assert_exact, millis, sent, settled},
    store_commit::{body, event},
};

const MORE: [&str; 8] = ["--events", "6000", "--orgs", "8", "--models", "4", "--seed", "3"];

/// Runs `verify` and gives its report. What it says on its exit is what it says in its report.
async fn verify(world: &World, more: &[&str]) -> Value {
    let output = world.run(&[&["verify", "--json"], more].concat()).await;
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(if report["holds"] == true { 0 } else { 3 }), "{report}");
    report
}

async fn refresh(world: &World, from: NaiveDate, to: NaiveDate, more: &[&str]) -> Value {
    let (from, to) = (from.to_string(), to.to_string());
    let output = world.run(&[&["refresh", "--json", "--from", &from, "--to", &to], more].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn change(conn: &mut PgConnection, statement: &str) -> u64 {
    sqlx::query(AssertSqlSafe(statement)).execute(conn).await.unwrap().rows_affected()
}

/// The days of all raw events, the end exclusive.
async fn days(conn: &mut PgConnection) -> (NaiveDate, NaiveDate) {
    sqlx::query_as(
        "SELECT (min(occurred_at) AT TIME ZONE 'UTC')::date, (max(occurred_at) AT TIME ZONE 'UTC')::date + 1
         FROM analytics.usage_events",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}

fn kinds(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn manual_changes_are_found_and_repaired() {
    let world = World::new(2).await.unchecked("the last change is not repaired");
    let mut owner = world.connect_as_owner().await;
    assert_eq!(verify(&world, &[]).await["holds"], true, "nothing is no difference");
    let service = world.serve().await;
    let report = world.publish(&[&MORE[..], &FLAWS].concat()).await;
    settled(&mut owner, sent(&report)).await;
    let (from, to) = days(&mut owner).await;
    let healthy = verify(&world, &[]).await;
    assert_eq!((&healthy["holds"], &healthy["findings"]), (&true.into(), &Value::Array(Vec::new())), "{healthy}");
    assert_eq!(healthy["events"], report["events"], "every event was counted again");
    let unchanged = refresh(&world, from, to, &[]).await;
    assert_eq!((&unchanged["put"], &unchanged["removed"]), (&0.into(), &0.into()), "{unchanged}");

    // A rollup that is changed, one that is too many, one that is missing: each by a number that adds up to nothing.
    let some = "SELECT org_id, bucket_start, model_id FROM analytics.hourly_rollups ORDER BY successes DESC LIMIT 1";
    let changed = format!(
        "UPDATE analytics.hourly_rollups SET cost_cents = cost_cents + 0.0001
         WHERE (org_id, bucket_start, model_id) = ({some})"
    );
    assert_eq!(change(&mut owner, &changed).await, 1);
    assert_eq!(
        change(
            &mut owner,
            "UPDATE analytics.daily_rollups SET org_id = gen_random_uuid() WHERE ctid =
                                   (SELECT max(ctid) FROM analytics.daily_rollups)"
        )
        .await,
        1
    );
    let found = verify(&world, &[]).await;
    assert_eq!(found["differences"], 3, "{found}");
    assert_eq!(kinds(&found), ["rollup"; 3]);
    let units: Vec<_> = found["findings"].as_array().unwrap().iter().map(|f| f["unit"].as_str().unwrap()).collect();
    assert_eq!(units.iter().filter(|unit| **unit == "daily").count(), 2, "{found}");
    let output = world.run(&["verify"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("hourly rollup of org") && text.contains("`refresh --from"), "{text}");
    let repaired = refresh(&world, from, to, &[]).await;
    assert_eq!((&repaired["put"], &repaired["removed"]), (&2.into(), &1.into()), "{repaired}");
    assert_eq!(verify(&world, &[]).await["holds"], true);

    // A latency that no sum shows.
    let histogram = format!(
        "UPDATE analytics.hourly_rollups SET latency_max = latency_max + 1 WHERE (org_id, bucket_start, model_id) = ({some})"
    );
    change(&mut owner, &histogram).await;
    let found = verify(&world, &[]).await;
    assert_eq!(found["differences"], 1, "{found}");
    assert_eq!(found["findings"][0]["columns"], serde_json::json!(["latency_max"]), "{found}");
    refresh(&world, from, to, &[]).await;

    // A raw event that is gone: its rollups, both sets of attribution, and its batch.
    change(
        &mut owner,
        "DELETE FROM analytics.usage_events WHERE event_id = (SELECT event_id FROM analytics.usage_events LIMIT 1)",
    )
    .await;
    let found = verify(&world, &[]).await;
    assert_eq!(found["differences"], 5, "{found}");
    assert_eq!(kinds(&found), ["rollup", "rollup", "attribution", "attribution", "batch"]);
    let batch = &found["findings"][4];
    assert_eq!(batch["raw"].as_i64().unwrap() + 1, batch["stored"].as_i64().unwrap());

    // A row of the ledger that is gone: a hole in the chain, raw events without a batch, and an hour that is no sum.
    let gone = "DELETE FROM analytics.ingestion_batches WHERE batch_id = (
        SELECT batch_id FROM analytics.ingestion_batches WHERE kind = 'live' AND first_offset = 0 LIMIT 1)";
    assert_eq!(change(&mut owner, gone).await, 1);
    let found = verify(&world, &[]).await;
    for kind in ["orphans", "chain", "ledger_hour"] {
        assert!(kinds(&found).contains(&kind), "{kind}: {found}");
    }
    drop(service);
}

#[tokio::test]
async fn only_the_last_days_are_verified() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let _service = world.serve().await;
    // Two days before today at least, also when midnight comes.
    let events = [(0, 0), (1, 49), (2, 50)].map(|(id, hours)| event(1, id, Utc::now() - TimeDelta::hours(hours)));
    world.send(events.iter().map(body)).await;
    settled(&mut conn, 3).await;
    for (days, counted) in [("2", 1), ("5", 3)] {
        let report = verify(&world, &["--last", days]).await;
        assert_eq!((&report["holds"], &report["events"]), (&json!(true), &json!(counted)), "{days}: {report}");
    }
    // The ledger goes by the time of the commit.
    assert_eq!(verify(&world, &["--last", "2"]).await["batches"], verify(&world, &[]).await["batches"]);
    for wrong in [&["--last", "0"][..], &["--last", "2", "--from", "2026-01-01"]] {
        assert_eq!(world.run(&[&["verify"], wrong].concat()).await.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn rebuilding_under_load_counts_events_once() {
    let world = World::new(2).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let load = Load::start(&world, "17").await;
    let (from, to) = days(&mut conn).await;
    let (first, behind) = (from.to_string(), to.to_string());
    for round in 0..8 {
        let mut command: Command = world.command(&["refresh", "--from", &first, "--to", &behind]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if round % 2 == 0 {
            millis(20..400).await;
            let _ = child.kill();
            child.wait().unwrap();
        } else {
            assert!(tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().success());
        }
    }
    let report = load.exact(&world).await;
    let healthy = verify(&world, &[]).await;
    assert_eq!(healthy["holds"], true, "{healthy}");
    assert_exact(&mut conn, &report).await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn maintenance_commands_exclude_each_other() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let mut holder = analytics_service::store::lifecycle::maintenance::TaskLock::take(
        &world.settings.database,
        "purge",
        analytics_service::store::lifecycle::maintenance::Access::Alone,
        Duration::ZERO,
    )
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    holder.begin("host/1").await.unwrap();
    let args = ["refresh", "--from", "2026-01-01", "--to", "2026-01-02", "--wait", "0"];
    let output = world.run(&args).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("another maintenance command is at work: purge by host/1"), "{error}");
    drop(holder);
    let output = world.run(&["refresh", "--from", "2026-01-01", "--to", "2026-01-02"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (task, outcome): (String, String) =
        sqlx::query_as("SELECT task, outcome FROM analytics.maintenance_runs WHERE finished_at IS NOT NULL")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert_eq!((task.as_str(), outcome.as_str()), ("refresh", "done"));

    // Raw events that are gone cannot be counted again.
    change(&mut conn, "INSERT INTO analytics.raw_horizons VALUES (NULL, '2026-01-02 00:00Z')").await;
    let output = world.run(&args[..5]).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("--from must be 2026-01-02 or later"), "{error}");
    for (args, named) in [
        (vec!["refresh", "--from", "2026-01-02", "--to", "2026-01-02"], "--to must be after --from"),
        (vec!["verify", "--from", "2026-01-03", "--to", "2026-01-02"], "--to must be after --from"),
        (vec!["refresh", "--from", "today", "--to", "2026-01-02"], "must be a day such as 2026-01-31"),
    ] {
        let output = world.run(&args).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains(named), "{error}");
    }
}
