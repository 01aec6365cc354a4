//! Servers that are away: the service starts, says so, and still ends in order at once.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Service, World, bound, eventually};

/// Nobody listens on port 1.
const NOWHERE: &str = "127.0.0.1:1";
/// What a drain takes that waits for nothing.
const DRAINED: Duration = Duration::from_secs(4);

pub fn is_down(readiness: &Value, name: &str) -> bool {
    let components = readiness["components"].as_array().unwrap();
    components.iter().any(|component| component["name"] == name && component["state"] == "down")
}

/// Waits until the service sees Redis to be there, or not to be; it is ready all the time.
pub async fn cache_is_seen(service: &Service, up: bool) {
    eventually(&format!("the cache is seen to be there: {up}"), async || {
        let (status, readiness) = service.readiness().await?;
        assert_eq!(status, 200);
        (is_down(&readiness, "cache") != up).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_broker_it_serves_and_says_degraded() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__BROKER__URL", &format!("amqp://u:p@{NOWHERE}/%2f"));
    // A step that waited would take this.
    world.set("ANALYTICS__DRAIN__STEP_TIMEOUT_MS", "60000");
    world.set("ANALYTICS__DRAIN__TIMEOUT_MS", "120000");
    let service = world.serve().await;
    eventually("the broker is seen to be away", async || {
        let (status, readiness) = service.readiness().await?;
        (status == 200 && readiness["status"] == "degraded" && is_down(&readiness, "broker")).then_some(())
    })
    .await;
    let asked = Instant::now();
    assert_eq!(service.terminate().await, Some(0));
    assert!(asked.elapsed() < bound(DRAINED), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn without_redis_markers_come_from_the_database() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__CACHE__URL", &format!("redis://{NOWHERE}/0"));
    let service = world.serve().await;
    let report = world.publish(&["--events", "100", "--orgs", "1", "--models", "1"]).await;
    let org: uuid::Uuid = report["orgs"][0]["orgId"].as_str().unwrap().parse().unwrap();
    let token = service.token(&[org], &[analytics_service::auth::Role::OrgViewer]);
    eventually("the marker is answered and the cache seen to be away", async || {
        let (status, answer) = service.get(&format!("/analytics/v1/orgs/{org}/freshness"), &token).await;
        assert_eq!(status, 200, "{answer}");
        let (_, readiness) = service.readiness().await?;
        (answer["entries"][0]["status"] == "fresh" && is_down(&readiness, "cache")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn starting_without_a_database_waits() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__DATABASE__URL", &format!("postgres://u:p@{NOWHERE}/d"));
    let service = Service::launch(&world);
    eventually("it says that it is starting", async || {
        let (status, readiness) = service.readiness().await?;
        (status == 503 && readiness["status"] == "starting" && is_down(&readiness, "database")).then_some(())
    })
    .await;
    assert_eq!(service.terminate().await, Some(0));
}
