//! Freshness markers in Redis: written where something changed, and there for as long as a service lives.

use redis::aio::MultiplexedConnection;
use uuid::Uuid;

use crate::harness::{World, eventually, number};

async fn millis_left(redis: &mut MultiplexedConnection, key: &str) -> i64 {
    redis::cmd("PTTL").arg(key).query_async(redis).await.unwrap()
}

async fn fields(redis: &mut MultiplexedConnection, key: &str) -> usize {
    redis::cmd("HLEN").arg(key).query_async(redis).await.unwrap()
}

/// Waits until the hash was given its whole lifetime again, so many times.
async fn renewed(redis: &mut MultiplexedConnection, key: &str, times: u32) {
    let (mut renewed, mut left) = (0, millis_left(redis, key).await);
    eventually("it is kept alive", async || {
        let now = millis_left(redis, key).await;
        assert!(now > 0, "it has expired");
        renewed += u32::from(now > left + 500);
        left = now;
        (renewed >= times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_idle_orgs_markers_stay_unwritten() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__CACHE__TTL_SECONDS", "15");
    let _service = world.serve().await;
    world.publish(&["--events", "200", "--orgs", "1", "--models", "5", "--seed", "71"]).await;
    let (mut conn, mut redis) = (world.connect().await, world.connect_cache().await);
    let org: Uuid = eventually("there is an org", async || {
        let found =
            sqlx::query_scalar("SELECT org_id FROM analytics.freshness_status GROUP BY org_id HAVING count(*) = 5");
        found.fetch_optional(&mut conn).await.unwrap()
    })
    .await;
    let key = format!("analytics:freshness:{org}");
    eventually("its markers are in Redis", async || (fields(&mut redis, &key).await == 5).then_some(())).await;

    eventually("everything is merged", async || {
        let open = "SELECT count(*) FROM analytics.usage_events, (SELECT count(*) AS n FROM analytics.rollup_pending) p WHERE p.n = 0";
        (number(&mut conn, open).await == 200).then_some(())
    })
    .await;
    renewed(&mut redis, &key, 2).await;
    // In place of a marker, so that whether they are written again can be seen.
    let models: Vec<String> = redis::cmd("HKEYS").arg(&key).query_async(&mut redis).await.unwrap();
    let mark = async |redis: &mut MultiplexedConnection| {
        redis::cmd("HSET").arg(&key).arg(&models[0]).arg("mine").query_async::<i64>(redis).await.unwrap()
    };
    mark(&mut redis).await;
    renewed(&mut redis, &key, 2).await;
    let kept: String = redis::cmd("HGET").arg(&key).arg(&models[0]).query_async(&mut redis).await.unwrap();
    assert_eq!(kept, "mine", "nothing changed, and it was written again");

    redis::cmd("DEL").arg(&key).query_async::<i64>(&mut redis).await.unwrap();
    eventually("what was lost is written again", async || (fields(&mut redis, &key).await == 5).then_some(())).await;
}
