//! Switches beside readers: what is open keeps its numbers, nobody else waits for it, and one session moves the cut at a time.

use std::process::Child;

use analytics_service::{
    auth::Role,
    store::{
        rollups::engine::{self, Engine},
        transaction::Snapshot,
    },
};
use chrono::{TimeDelta, Utc};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{LIVE, assert_verified, begin_continuous, bodies, history, shown};
use crate::harness::{World, eventually, output_of};

const SWITCH_LIVE: [&str; 4] = ["rollups", "switch", "--to", LIVE];
const REFRESH_LOCK: &str = "x'72656672657368'::bigint";

/// Waits until a session waits for such a lock, or the command has ended without.
async fn waits(conn: &mut PgConnection, child: &mut Child, lock: &str) {
    let waits = format!(
        "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND {lock}
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    eventually("the command waits", async || {
        let waits: bool = sqlx::query_scalar(AssertSqlSafe(waits.as_str())).fetch_one(&mut *conn).await.unwrap();
        (waits || child.try_wait().unwrap().is_some()).then_some(())
    })
    .await;
}

async fn ends_well(mut child: Child) {
    let ended = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
}

/// A world whose history is materialised, and whose service has ended.
async fn materialised() -> (World, PgConnection) {
    let (_, events) = history(Utc::now());
    let (world, service, conn) = super::materialised(bodies(&events)).await;
    assert_eq!(service.terminate().await, Some(0));
    (world, conn)
}

#[tokio::test]
async fn a_switch_waits_for_open_snapshots() {
    let (world, mut conn) = materialised().await;
    let before = shown(&mut conn).await;
    let mut snapshot = Snapshot::begin(world.connect().await).await.unwrap();
    // The first statement says of which moment it is.
    sqlx::query("SELECT FROM analytics.rollup_revisions").fetch_all(snapshot.conn()).await.unwrap();
    let mut child = world.command(&SWITCH_LIVE).spawn().unwrap();
    waits(&mut conn, &mut child, "locktype = 'advisory'").await;
    assert!(shown(snapshot.conn()).await == before, "the snapshot lacks what the switch has moved");
    assert!(child.try_wait().unwrap().is_none(), "the switch waits");
    drop(snapshot);
    ends_well(child).await;
    assert_eq!(shown(&mut conn).await, before);
    assert_verified(&world).await;
}

#[tokio::test]
async fn a_switch_lets_no_query_wait() {
    let (world, mut conn) = materialised().await;
    let service = world.serve().await;
    let mut reader = world.connect_as_owner().await;
    sqlx::raw_sql("BEGIN; SELECT FROM analytics.hourly_usage LIMIT 1").execute(&mut reader).await.unwrap();
    let mut child = world.command(&SWITCH_LIVE).spawn().unwrap();
    waits(&mut conn, &mut child, "relation = 'analytics.hourly_usage'::regclass").await;
    let org = uuid::Uuid::from_u128(0xA);
    let token = service.token(&[org], &[Role::Finance]);
    let start = (Utc::now() - TimeDelta::days(3)).date_naive();
    let usage = format!("/analytics/v1/orgs/{org}/usage?granularity=hour&start={start}");
    let mut served = 0;
    for _ in 0..10 {
        let (status, response) = service.get(&usage, &token).await;
        // Busy with other tests, a process may need a moment for its connections.
        assert!(status == 200 || response["title"] == "Unavailable", "{response}");
        served += u32::from(status == 200);
    }
    assert!(served > 0);
    assert!(child.try_wait().unwrap().is_none(), "the switch waits for its reader");
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    ends_well(child).await;
    assert_eq!(engine::state(&mut conn).await.unwrap().engine, Engine::Live);
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn migrate_waits_while_the_cut_is_moved() {
    let mut world = World::new(1).await;
    let mut conn = world.connect().await;
    begin_continuous(&world).await;
    world.set("ANALYTICS__ROLLUPS__ENGINE", LIVE);
    let mut other = world.connect_as_owner().await;
    let lock = |call| AssertSqlSafe(format!("SELECT {call}({REFRESH_LOCK})"));
    sqlx::query(lock("pg_advisory_lock")).execute(&mut other).await.unwrap();
    let mut child = world.command(&["migrate"]).spawn().unwrap();
    waits(&mut conn, &mut child, "locktype = 'advisory'").await;
    assert!(child.try_wait().unwrap().is_none(), "another session has the cut");
    assert_eq!(engine::state(&mut conn).await.unwrap().engine, Engine::Continuous);
    sqlx::query(lock("pg_advisory_unlock")).execute(&mut other).await.unwrap();
    ends_well(child).await;
    assert_eq!(engine::state(&mut conn).await.unwrap().engine, Engine::Live);
}

#[tokio::test]
async fn moving_the_cut_without_owning_says_so() {
    let world = World::new(1).await;
    begin_continuous(&world).await;
    let url = world.variables["ANALYTICS__DATABASE__URL"].clone();
    for (owner, named) in [("", "database.migration_url is not set"), (&url, "does not own")] {
        for args in [&["refresh", "--late"][..], &SWITCH_LIVE] {
            let mut command = world.command(args);
            command.env("ANALYTICS__DATABASE__MIGRATION_URL", owner);
            let output = output_of(command).await;
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && error.contains(named), "{args:?}: {error}");
        }
    }
    let state = engine::state(&mut world.connect().await).await.unwrap();
    assert!(state.engine == Engine::Continuous && !state.leaving, "{state:?}");
}
