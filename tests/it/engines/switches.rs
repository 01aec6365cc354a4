//! Switching engines: who may, when, and killed anywhere under load.

use analytics_service::store::rollups::engine;
use chrono::{TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{
    CONTINUOUS, LIVE, assert_verified, bodies, event, has_continuous, history, is_community, jobs, materialised, shown,
    switch, to_continuous,
};
use crate::harness::{Load, World, eventually, millis, number, settled};

#[tokio::test]
async fn auto_begins_live_and_leaves_what_is_there() {
    let mut world = World::new(1).await;
    let mut conn = world.connect().await;
    let show = async |world: &World| {
        let report = world.report(&["rollups", "show"]).await;
        (report["engine"].clone(), report["configured"].clone())
    };
    world.set("ANALYTICS__ROLLUPS__ENGINE", "auto");
    assert_eq!(show(&world).await, (json!(LIVE), json!(LIVE)), "on either edition");
    if !has_continuous(&mut conn).await {
        return;
    }
    switch(&world, CONTINUOUS).await;
    assert!(world.run(&["migrate"]).await.status.success());
    assert_eq!(show(&world).await, (json!(CONTINUOUS), json!(CONTINUOUS)));
    let advice = &world.report(&["maintain"]).await["engineAdvice"];
    assert_eq!((&advice["engine"], &advice["recommended"]), (&json!(CONTINUOUS), &json!(LIVE)), "{advice}");
}

#[tokio::test]
async fn the_databases_own_job_refreshes() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    if !has_continuous(&mut conn).await {
        return;
    }
    let service = world.serve().await;
    let (_, events) = history(Utc::now());
    world.send(bodies(&events)).await;
    settled(&mut conn, 4000).await;
    world.report(&["rollups", "switch", "--to", CONTINUOUS]).await;
    // Behind what the switch has materialised.
    let back = "UPDATE analytics.rollup_engine SET leaving = true";
    let mut owner = world.connect_as_owner().await;
    sqlx::query(back).execute(&mut owner).await.unwrap();
    for unit in ["daily", "hourly", "hourly", "hourly", "hourly"] {
        sqlx::query("SELECT analytics.move_cut_back($1)").bind(unit).execute(&mut owner).await.unwrap();
    }
    sqlx::query("UPDATE analytics.rollup_engine SET leaving = false").execute(&mut owner).await.unwrap();
    let [job] = jobs(&world).await[..] else { panic!("one job") };
    // The schedule may have it at work at this moment: then it leaves that one alone.
    eventually("what is final is materialised", async || {
        sqlx::query("CALL public.run_job($1)").bind(job).execute(&mut owner).await.unwrap();
        let to = "SELECT hourly_to > now() - INTERVAL '4 hours' AND daily_to > now() - INTERVAL '3 days' FROM analytics.rollup_engine";
        sqlx::query_scalar::<_, bool>(to).fetch_one(&mut conn).await.unwrap().then_some(())
    })
    .await;
    assert_verified(&world).await;
    world.report(&["rollups", "switch", "--to", LIVE]).await;
    assert!(jobs(&world).await.is_empty());
    assert_eq!(service.terminate().await, Some(0));
}

/// Looks again and again at what is shown, until it is dropped: no number goes down.
async fn watch(world: &World) -> tokio::task::JoinHandle<()> {
    let mut conn = world.connect().await;
    let watching = async move {
        let mut before = shown(&mut conn).await;
        for look in 1.. {
            let now = shown(&mut conn).await;
            let down: Vec<_> = before.iter().filter(|(key, n)| now.get(key) < Some(n)).collect();
            if !down.is_empty() {
                let state = engine::state(&mut conn).await;
                let now: Vec<_> = down.iter().map(|(key, _)| now.get(key)).collect();
                panic!("look {look}: from {down:?} to {now:?}; a moment later: {state:?}");
            }
            before = now;
            millis(20..100).await;
        }
    };
    tokio::spawn(watching)
}

/// Kills a command three times, each somewhere in its first moments.
async fn kill(world: &World, args: &[&str], within: u64) {
    for _ in 0..3 {
        world.kill(args, 20..within).await;
    }
}

#[tokio::test]
async fn killed_switches_lose_and_double_nothing() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let load = Load::start(&world, "23").await;
    let community = is_community(&mut world.connect().await).await;
    let watched = watch(&world).await;
    for (round, engine) in [CONTINUOUS, LIVE, CONTINUOUS, LIVE].into_iter().enumerate() {
        if engine == LIVE || community {
            kill(&world, &["rollups", "switch", "--to", engine], 900).await;
        }
        if engine == CONTINUOUS {
            to_continuous(&world).await;
        } else {
            switch(&world, engine).await;
        }
        kill(&world, &["refresh", "--late"], 500).await;
        let refreshed = world.report(&["refresh", "--late"]).await;
        let report = world.report(&["verify"]).await;
        let state = engine::state(&mut world.connect().await).await;
        assert_eq!(report["holds"], true, "round {round}, to {engine}: {report}, after {refreshed}, {state:?}");
        assert!(!watched.is_finished(), "round {round}, to {engine}: a number went down, and the watcher says which");
    }
    watched.abort();
    load.exact(&world).await;
    assert_eq!(service.terminate().await, Some(0), "the service ends well");
}

/// The session of a command that was killed goes on with its statement for a moment, and its turn is another's already.
#[tokio::test]
async fn a_switch_waits_for_a_killed_refresh() {
    let (now, org) = (Utc::now(), Uuid::from_u128(1));
    // Some in each hour of four days.
    let events = (0..400).map(|n| event(org, now - TimeDelta::minutes(15 * n)));
    let (world, service, mut conn) = materialised(events.collect()).await;
    let before = shown(&mut conn).await;
    // A refresh that has materialised a day and is about to move the cut.
    let mut refresh = world.connect_as_owner().await;
    sqlx::raw_sql(
        "UPDATE analytics.rollup_engine SET leaving = true;
         SELECT analytics.move_cut_back('daily');
         SELECT analytics.move_cut_back('hourly');
         UPDATE analytics.rollup_engine SET leaving = false;
         SELECT pg_advisory_lock(x'72656672657368'::bigint)",
    )
    .execute(&mut refresh)
    .await
    .unwrap();
    // Holds the switch up where it puts rows into the table again.
    let mut other = world.connect_as_owner().await;
    sqlx::raw_sql(
        "BEGIN;
         SELECT analytics.recall_rollups('hourly', hourly_to - INTERVAL '24 hours', hourly_to, NULL) FROM analytics.rollup_engine",
    )
    .execute(&mut other)
    .await
    .unwrap();
    let mut child = world.command(&["rollups", "switch", "--to", LIVE]).spawn().unwrap();
    eventually("the switch waits", async || {
        let waits =
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut refresh).await.unwrap().then_some(())
    })
    .await;
    let released = number(
        &mut refresh,
        "SELECT analytics.move_cut('hourly', hourly_to, hourly_to + INTERVAL '12 hours', clock_timestamp())
         FROM analytics.rollup_engine",
    )
    .await;
    assert!(released > 0, "the table has less for it");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_unlock(x'72656672657368'::bigint)").execute(&mut refresh).await.unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert!(ended.success());
    let after = shown(&mut conn).await;
    let lost: Vec<_> = before.iter().filter(|(key, n)| after.get(key) != Some(n)).collect();
    assert!(lost.is_empty() && after.len() == before.len(), "{lost:?}");
    assert_eq!(service.terminate().await, Some(0));
}
