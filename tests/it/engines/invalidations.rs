//! What TimescaleDB notes of changes behind what it has materialised.

use chrono::{TimeDelta, Utc};
use sqlx::PgConnection;

use super::{CONTINUOUS, bodies, event, has_continuous, history, switch};
use crate::harness::{World, not_run, number, settled};

/// Ranges of raw events that TimescaleDB has noted as changed behind what is materialised.
async fn invalidations(conn: &mut PgConnection) -> i64 {
    number(
        conn,
        "SELECT (SELECT count(*) FROM _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log l
                 JOIN _timescaledb_catalog.hypertable h ON h.id = l.hypertable_id WHERE h.table_name = 'usage_events')
              + (SELECT count(*) FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log)",
    )
    .await
}

#[tokio::test]
async fn late_events_leave_no_invalidations_behind() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    if !has_continuous(&mut conn).await {
        return;
    }
    let known = "SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.skip_cagg_invalidation')";
    if !sqlx::query_scalar::<_, bool>(known).fetch_one(&mut conn).await.unwrap() {
        return not_run("TimescaleDB before 2.28 keeps invalidations always");
    }
    let service = world.serve().await;
    let now = Utc::now();
    let (orgs, events) = history(now);
    world.send(bodies(&events)).await;
    settled(&mut conn, 4000).await;
    switch(&world, CONTINUOUS).await;
    let late = |day: i64| event(orgs[0], now - TimeDelta::days(day));
    let before = invalidations(&mut conn).await;
    world.send((10..40).map(late)).await;
    settled(&mut conn, 4030).await;
    assert_eq!(invalidations(&mut conn).await, before);
    assert_eq!(service.terminate().await, Some(0));
    // Somebody else's aggregate is not left without them.
    let mut owner = world.connect_as_owner().await;
    for statement in [
        "CREATE MATERIALIZED VIEW public.others WITH (timescaledb.continuous) AS
         SELECT time_bucket(INTERVAL '1 day', occurred_at) AS day, count(*) FROM analytics.usage_events GROUP BY 1",
        "CALL public.refresh_continuous_aggregate('public.others', NULL, NULL)",
    ] {
        sqlx::raw_sql(statement).execute(&mut owner).await.unwrap();
    }
    let service = world.serve().await;
    let before = invalidations(&mut conn).await;
    world.send((10..40).map(late)).await;
    settled(&mut conn, 4060).await;
    assert_eq!(invalidations(&mut conn).await, before + 30);
    assert_eq!(service.terminate().await, Some(0));
}
