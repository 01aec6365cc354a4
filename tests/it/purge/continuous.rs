//! Rollups that continuous aggregates keep: whole chunks of them go, and none that is younger than the retention.

use super::{history::history_of, *};
use crate::{
    engines::{CONTINUOUS, LIVE, has_continuous, switch, to_continuous},
    harness::output_of,
};

/// More than two chunks of the aggregates, which have ten days each.
const LONG: i32 = 34;
const KEPT: i32 = 9;

/// A world with a history of many days, all of it complete.
async fn long_history() -> World {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__EVENTS__RETENTION_DAYS", &RAW_DAYS.to_string());
    world.set("ANALYTICS__RETENTION__ROLLUP_DAYS", &KEPT.to_string());
    let mut conn = world.connect().await;
    history_of(&mut conn, LONG).await;
    for stream in world.settings.broker.topology().streams() {
        sqlx::query("INSERT INTO analytics.partition_watermarks VALUES ($1, 0, clock_timestamp())")
            .bind(stream)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    world
}

/// The same, materialised, where the server can do that.
async fn materialised() -> Option<World> {
    let world = long_history().await;
    if !has_continuous(&mut world.connect().await).await {
        return None;
    }
    switch(&world, CONTINUOUS).await;
    world.report(&["refresh", "--late"]).await;
    Some(world)
}

/// What readers see from that many days ago on.
async fn shown(conn: &mut PgConnection, ago: i32) -> Vec<String> {
    let mut rows = Vec::new();
    for unit in ["hourly", "daily"] {
        let statement = format!(
            "SELECT to_jsonb(x)::text FROM (
                 SELECT org_id, bucket_start, model_id, successes, input_tokens, trim_scale(cost_cents) AS cost_cents
                 FROM analytics.{unit}_usage
                 WHERE bucket_start >= {} ORDER BY 1, 2, 3) x",
            day(ago)
        );
        let found: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_all(&mut *conn).await.unwrap();
        rows.extend(found);
    }
    rows
}

/// Chunks of both aggregates that end before a day so many days ago.
async fn old_chunks(conn: &mut PgConnection, ago: i32) -> i64 {
    let statement = format!(
        "SELECT count(*) FROM timescaledb_information.chunks
         WHERE hypertable_name LIKE '\\_materialized%' AND range_end <= {}",
        day(ago)
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn aggregates_lose_only_whole_old_chunks() {
    let Some(world) = materialised().await else { return };
    let mut conn = world.connect().await;
    let (all, kept) = (shown(&mut conn, LONG).await, shown(&mut conn, KEPT).await);
    let chunks = old_chunks(&mut conn, KEPT).await;
    assert!(chunks >= 4 && kept.len() < all.len(), "{chunks} chunks");

    let dry = purge(&world, &["--dry-run"]).await;
    assert_eq!(shown(&mut conn, LONG).await, all);
    let run = purge(&world, &[]).await;
    assert_eq!(run["rollups"]["aggregates"], dry["rollups"]["aggregates"], "what it said that it would delete");
    assert_eq!(run["left"], json!([]));
    let aggregates = &run["rollups"]["aggregates"];
    assert_eq!(aggregates["chunks"], chunks);
    assert_eq!(old_chunks(&mut conn, KEPT).await, 0);
    let gone = aggregates["hourly"].as_i64().unwrap() + aggregates["daily"].as_i64().unwrap();
    let after = shown(&mut conn, LONG).await;
    assert_eq!(i64::try_from(all.len() - after.len()).unwrap(), gone);
    assert!(after.iter().all(|row| all.contains(row)), "what is left is as it was");
    assert_eq!(shown(&mut conn, KEPT).await, kept, "nothing that is younger is gone");
    // Of most of these the raw events are gone.
    assert!(run["raw"]["chunks"].as_i64().unwrap() > i64::from(LONG - KEPT));
    let raw_days = "(SELECT DISTINCT date_trunc('day', occurred_at, 'UTC') FROM analytics.usage_events) days";
    let raw_days: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {raw_days}")))
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(raw_days < i64::from(KEPT));

    world.report(&["refresh", "--late"]).await;
    assert_eq!(shown(&mut conn, LONG).await, after);
    let again = purge(&world, &[]).await;
    assert_eq!((&again["rollups"]["aggregates"]["chunks"], &again["raw"]["chunks"]), (&json!(0), &json!(0)));
    assert_eq!(shown(&mut conn, LONG).await, after);
    // Switching back keeps them too.
    switch(&world, LIVE).await;
    assert_eq!(shown(&mut conn, LONG).await, after);
    assert_sound(&mut conn).await;
}

#[tokio::test]
async fn unmaterialised_rollups_outlive_raw_events() {
    let Some(world) = materialised().await else { return };
    let (mut conn, mut owner) = (world.connect().await, world.connect_as_owner().await);
    let all = shown(&mut conn, KEPT).await;
    for unit in ["daily", "hourly"] {
        for _ in 0..KEPT {
            let back = "SELECT analytics.move_cut_back($1)";
            sqlx::query(back).bind(unit).execute(&mut owner).await.unwrap();
        }
    }
    assert!(purge(&world, &[]).await["raw"]["chunks"].as_i64().unwrap() > 0);
    assert_eq!(shown(&mut conn, KEPT).await, all);
    world.report(&["refresh", "--late"]).await;
    assert_eq!(shown(&mut conn, KEPT).await, all);
    assert_sound(&mut conn).await;
}

#[tokio::test]
async fn purging_without_owning_aggregates_says_so() {
    let Some(world) = materialised().await else { return };
    let mut conn = world.connect().await;
    let chunks = old_chunks(&mut conn, KEPT).await;
    let url = world.variables["ANALYTICS__DATABASE__URL"].clone();
    for (owner, named) in [("", "database.migration_url is not set"), (&url, "does not own")] {
        let mut command = world.command(&["purge"]);
        command.env("ANALYTICS__DATABASE__MIGRATION_URL", owner);
        let output = output_of(command).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("left as it is: ") && text.contains(named), "{text}");
        assert!(String::from_utf8(output.stderr).unwrap().contains(named));
        assert_eq!(old_chunks(&mut conn, KEPT).await, chunks);
    }
    assert_eq!(purge(&world, &["--dry-run"]).await["raw"]["chunks"], 0, "raw events are gone");
    assert_eq!(purge(&world, &[]).await["rollups"]["aggregates"]["chunks"], chunks);
}

#[tokio::test]
async fn aggregates_allow_no_retention_by_org() {
    let Some(world) = materialised().await else { return };
    let id = org(0).to_string();
    let set = async |args: &[&str]| world.run(&[&["retention", "set", "--org", &id], args].concat()).await;
    for args in [&["--raw-days", "3"][..], &["--rollup-days", "30"], &["--raw-days", "3", "--export-days", "5"]] {
        let output = set(args).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(args[0]) && error.contains("`rollups switch --to live` first"), "{error}");
    }
    assert!(set(&["--export-days", "5"]).await.status.success());
    let listed = said(&world.run(&["retention", "list", "--json"]).await);
    let only = &listed["orgs"][0];
    assert_eq!((&only["exportDays"], &only["rawDays"], &only["rollupDays"]), (&json!(5), &Value::Null, &Value::Null));
    // One that was there all the same is not respected: a chunk that is dropped has everybody's rollups.
    let mut conn = world.connect().await;
    sqlx::query("UPDATE analytics.org_settings SET raw_days = 3, rollup_days = 1").execute(&mut conn).await.unwrap();
    let kept = shown(&mut conn, KEPT).await;
    let purged = purge(&world, &[]).await;
    assert!(purged["left"][0].as_str().unwrap().contains("retention of 1 organisations"), "{purged}");
    assert_eq!(purged["raw"]["orgEvents"], 0);
    assert_eq!(shown(&mut conn, KEPT).await, kept);
    sqlx::query("UPDATE analytics.org_settings SET raw_days = NULL, rollup_days = NULL")
        .execute(&mut conn)
        .await
        .unwrap();
    switch(&world, LIVE).await;
    assert!(set(&["--raw-days", "3", "--rollup-days", "30"]).await.status.success());
}

#[tokio::test]
async fn a_killed_purge_leaves_younger_aggregates_whole() {
    let world = long_history().await;
    let mut conn = world.connect().await;
    to_continuous(&world).await;
    let kept = shown(&mut conn, KEPT).await;
    assert!(!kept.is_empty());
    for _ in 0..8 {
        world.kill(&["purge"], 20..600).await;
        assert_eq!(shown(&mut conn, KEPT).await, kept);
        assert_sound(&mut conn).await;
    }
    purge(&world, &[]).await;
    assert_eq!(purge(&world, &[]).await["raw"]["events"], 0);
    world.report(&["refresh", "--late"]).await;
    switch(&world, LIVE).await;
    assert_eq!(shown(&mut conn, KEPT).await, kept);
    assert_sound(&mut conn).await;
}
