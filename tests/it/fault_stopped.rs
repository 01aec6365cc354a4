//! Whole servers that are stopped and started again. Each test has the stack for itself meanwhile.

use crate::{
    fault_away::is_down,
    harness::{Stopped, World, assert_exact, eventually, sent, settled, stack},
};

#[tokio::test]
async fn redis_that_is_stopped_takes_nothing_from_ingest_and_is_found_again() {
    let world = World::exclusive(1).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let cache_is_down = async |down: bool| {
        let (status, readiness) = service.readiness().await?;
        assert_eq!(status, 200);
        (is_down(&readiness, "cache") == down).then_some(())
    };
    let redis = Stopped::server("redis").await;
    let report = world.publish(&["--events", "2000", "--seed", "31"]).await;
    settled(&mut conn, sent(&report)).await;
    assert_exact(&mut conn, &report).await;
    eventually("the cache is seen to be away", async || cache_is_down(true).await).await;
    redis.start().await;
    assert!(stack(&["status"]).contains("redis: answers"));
    eventually("the cache is seen to be back", async || cache_is_down(false).await).await;
}
