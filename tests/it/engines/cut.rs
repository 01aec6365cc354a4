//! The cut: each bucket counts once, whoever materialises, deletes or merges beside it, and wherever a switch ended.

use analytics_service::store::rollups::{merge::ROLLUP_LOCK, switch};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{
    assert_refused, assert_verified, begin_continuous, day, event, materialised, materialised_tables, purge_raw, shown,
    stored,
};
use crate::harness::{World, eventually, number, settled};

/// An org's events of so many days, four in each, the newest of them some hours ago.
fn days_of(org: Uuid, days: i64) -> Vec<Vec<u8>> {
    let now = Utc::now();
    (0..days * 4).map(|n| event(org, now - TimeDelta::hours(6 * n + 5))).collect()
}

/// Moves the cut back to its beginning, as a switch to live does.
async fn move_back(owner: &mut PgConnection) {
    sqlx::query("UPDATE analytics.rollup_engine SET leaving = true").execute(&mut *owner).await.unwrap();
    for unit in ["hourly", "daily"] {
        let back = "SELECT analytics.move_cut_back($1)";
        while sqlx::query_scalar::<_, Option<i64>>(back).bind(unit).fetch_one(&mut *owner).await.unwrap().is_some() {}
    }
}

#[tokio::test]
async fn rollups_of_purged_days_survive_manual_refreshes() {
    let (world, service, mut conn) = materialised(days_of(Uuid::from_u128(1), 10)).await;
    let mut owner = world.connect_as_owner().await;
    let before = shown(&mut conn).await;
    purge_raw(&mut conn, day(7)).await;
    for (from, to) in [(day(9), day(8)), (day(20), day(7))] {
        assert_refused(&world, from, to, false).await;
    }
    for change in ["UPDATE analytics.daily_materialised SET successes = 0", "DELETE FROM analytics.daily_materialised"]
    {
        sqlx::query(change).execute(&mut owner).await.unwrap_err();
    }
    assert_eq!(shown(&mut conn).await, before);
    assert_verified(&world).await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn what_an_interrupted_switch_left_counts_once() {
    let (world, service, mut conn) = materialised(days_of(Uuid::from_u128(1), 10)).await;
    let mut owner = world.connect_as_owner().await;
    let before = shown(&mut conn).await;
    // A switch to live that ended before it dropped the aggregates.
    move_back(&mut owner).await;
    let live =
        "UPDATE analytics.rollup_engine SET engine = 'live', leaving = false, continuous_from = NULL, hourly_to = NULL,
                    daily_to = NULL";
    sqlx::query(live).execute(&mut owner).await.unwrap();
    for unit in ["hourly", "daily"] {
        let view = include_str!("../../../src/store/rollups/sql/live_views.sql").replace("{unit}", unit);
        sqlx::query(AssertSqlSafe(view)).execute(&mut owner).await.unwrap();
    }
    purge_raw(&mut conn, day(7)).await;
    switch::begin(&mut owner).await.unwrap();
    assert_eq!(shown(&mut conn).await, before);
    world.report(&["refresh", "--late"]).await;
    assert_eq!(shown(&mut conn).await, before);
    assert_verified(&world).await;
    assert_eq!(service.terminate().await, Some(0));
}

/// The session of a command that was killed goes on with its statement for a moment.
#[tokio::test]
async fn a_killed_switch_brings_nothing_erased_back() {
    let (erased, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (world, service, mut conn) = materialised([days_of(erased, 10), days_of(other, 10)].concat()).await;
    assert_eq!(service.terminate().await, Some(0));
    let mut switch = world.connect_as_owner().await;
    sqlx::raw_sql("UPDATE analytics.rollup_engine SET leaving = true").execute(&mut switch).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT analytics.move_cut_back('hourly'); SELECT analytics.move_cut_back('daily')")
        .execute(&mut switch)
        .await
        .unwrap();
    let mut child = world.command(&["erase", "--org", &erased.to_string(), "--yes"]).spawn().unwrap();
    eventually("the erasure waits, or has ended", async || {
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
                                    WHERE datname = current_database() AND wait_event = 'advisory')";
        let waits: bool = sqlx::query_scalar(waits).fetch_one(&mut conn).await.unwrap();
        (waits || child.try_wait().unwrap().is_some()).then_some(())
    })
    .await;
    sqlx::raw_sql("COMMIT").execute(&mut switch).await.unwrap();
    assert!(tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().success());
    for table in ["hourly_rollups", "daily_rollups", "hourly_materialised", "daily_materialised"] {
        let orgs = format!("SELECT DISTINCT org_id FROM analytics.{table}");
        let orgs: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(orgs)).fetch_all(&mut conn).await.unwrap();
        assert_eq!(orgs, [other], "{table}");
    }
}

#[tokio::test]
async fn verify_finds_wrong_latencies_in_aggregates() {
    let (world, service, _) = materialised(days_of(Uuid::from_u128(1), 10)).await;
    let mut owner = world.connect_as_owner().await;
    assert_verified(&world).await;
    let oldest = "bucket_start = (SELECT min(bucket_start) FROM analytics.daily_materialised)";
    let next_bucket = "set_byte(latency_entries, 1, get_byte(latency_entries, 1) # 1)";
    let [hourly, daily] = materialised_tables(&world).await;
    for (table, change, unit, column) in [
        (&hourly, "latency_max = latency_max + 1", "hourly", "latency_max"),
        (&daily, &format!("latency_entries = {next_bucket}"), "daily", "latency_histogram"),
    ] {
        let [unguard, change] =
            [format!("DROP TRIGGER refuse_before_cut ON {table}"), format!("UPDATE {table} SET {change} WHERE true")];
        for statement in [unguard, change.replace("true", if unit == "daily" { oldest } else { "true" })] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut owner).await.unwrap();
        }
        let output = world.run(&["verify", "--json"]).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &report["holds"]), (Some(3), &json!(false)), "{report}");
        let found = report.to_string();
        assert!(found.contains(column) && found.contains(unit), "{found}");
    }
    assert_eq!(service.terminate().await, Some(0));
}

/// An event of a model at a moment.
fn event_of(org: Uuid, model: u128, at: DateTime<Utc>) -> Vec<u8> {
    let mut event: Value = serde_json::from_slice(&event(org, at)).unwrap();
    event["modelId"] = json!(Uuid::from_u128(model));
    event.to_string().into_bytes()
}

#[tokio::test]
async fn events_merged_after_the_cut_moved_count_once() {
    let (org, noon) = (Uuid::from_u128(1), day(2) + TimeDelta::hours(12));
    let half_hours = (0..8).map(|n| event_of(org, 1, noon + TimeDelta::minutes(30 * n)));
    let (world, service, mut conn) = stored(half_hours.collect()).await;
    let mut owner = world.connect_as_owner().await;
    begin_continuous(&world).await;
    // Two events are committed and not merged when their day is materialised: of a key that the table has, and of one that it has not.
    sqlx::query("SELECT pg_advisory_lock($1)").bind(ROLLUP_LOCK).execute(&mut owner).await.unwrap();
    world.send([1, 2].map(|model| event_of(org, model, noon))).await;
    eventually("both are committed", async || {
        let raw = number(&mut conn, "SELECT count(*) FROM analytics.usage_events").await;
        (raw == 10).then_some(())
    })
    .await;
    let (from, to) = (day(2), day(1));
    for unit in ["hourly", "daily"] {
        let since: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut owner).await.unwrap();
        let materialise = sqlx::query("CALL analytics.materialise($1, $2, $3)").bind(unit).bind(from).bind(to);
        materialise.execute(&mut owner).await.unwrap();
        let moved = "SELECT analytics.move_cut($1, $2, $3, $4)";
        let moved = sqlx::query_scalar::<_, i64>(moved).bind(unit).bind(from).bind(to).bind(since);
        let released = moved.fetch_one(&mut owner).await.unwrap();
        // Of four hours, three are the same in both.
        assert_eq!(released, if unit == "hourly" { 3 } else { 0 }, "{unit}");
    }
    assert_eq!(shown(&mut conn).await.values().sum::<i64>(), 8, "what is not merged is not shown");
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(ROLLUP_LOCK).execute(&mut owner).await.unwrap();
    settled(&mut conn, 10).await;
    let shown = shown(&mut conn).await;
    let at_noon = [1, 2].map(|model| shown[&(org, noon, Uuid::from_u128(model))]);
    assert_eq!((at_noon, shown.values().sum::<i64>()), ([3, 1], 10));
    assert_verified(&world).await;
    assert_eq!(service.terminate().await, Some(0));
}

/// How often anybody has looked into chunks of materialised hours that end before a day, as the statistics have it.
async fn scans_before(world: &World, day: DateTime<Utc>) -> i64 {
    let scans = "SELECT coalesce(sum(s.seq_scan + coalesce(s.idx_scan, 0)), 0)::bigint
                 FROM timescaledb_information.chunks c
                 JOIN pg_stat_user_tables s ON (s.schemaname, s.relname) = (c.chunk_schema, c.chunk_name)
                 WHERE format('%I.%I', c.hypertable_schema, c.hypertable_name) = $1 AND c.range_end < $2";
    let [hourly, _] = materialised_tables(world).await;
    let scans = sqlx::query_scalar(scans).bind(hourly).bind(day);
    scans.fetch_one(&mut world.connect().await).await.unwrap()
}

#[tokio::test]
async fn late_events_look_into_no_other_chunk() {
    let org = Uuid::from_u128(1);
    let (world, service, mut conn) = materialised(days_of(org, 40)).await;
    // What a session has counted is known when it ends.
    assert_eq!(service.terminate().await, Some(0));
    let before = scans_before(&world, day(15)).await;
    assert!(before > 0);
    let service = world.serve().await;
    world.send((0..9).map(|n| event(org, Utc::now() - TimeDelta::days(3) + TimeDelta::hours(n)))).await;
    settled(&mut conn, 169).await;
    assert_eq!(service.terminate().await, Some(0));
    let tail = number(
        &mut conn,
        "SELECT count(*) FROM analytics.hourly_rollups WHERE bucket_start < now() - INTERVAL '1 day'",
    )
    .await;
    assert!(tail > 0, "late events are in the table");
    assert_eq!(scans_before(&world, day(15)).await, before);
    assert_verified(&world).await;
}
