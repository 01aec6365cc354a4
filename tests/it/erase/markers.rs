//! Freshness markers of an erased org: those that processes remember, and those in Redis.

use std::time::{Duration, Instant};

use analytics_service::{
    domain::freshness::FreshnessStatus,
    store::{
        self,
        rollups::freshness::{self, Heard},
    },
};
use chrono::TimeDelta;
use uuid::Uuid;

use super::{Tenant, bodies, cached, erase};
use crate::harness::{World, bound, eventually, output_of};

#[tokio::test]
async fn markers_of_what_came_after_an_erasure_stay() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let (org, [before, after]) = (Uuid::new_v4(), [(); 2].map(|()| Uuid::new_v4()));
    erase(&world, &["--org", &org.to_string(), "--yes"]).await;
    let [(erased, erased_at)] = freshness::erased(&mut conn, None).await.unwrap()[..] else { panic!("one erasure") };
    assert_eq!(erased, org);
    assert!(freshness::erased(&mut conn, Some(erased_at)).await.unwrap().is_empty());
    for (model, at) in [(before, erased_at), (after, erased_at + TimeDelta::microseconds(1))] {
        let events = [((org, model), at)].into();
        let heard = Heard { events: &events, at, lag_ms: Some(1), status: FreshnessStatus::Fresh };
        freshness::record(&mut conn, &heard).await.unwrap();
    }
    assert_eq!(store::lifecycle::erase::markers(&mut conn, org).await.unwrap(), 1);
    let stays = freshness::page(&mut conn, None, freshness::MarkerFilter::default()).await.unwrap();
    assert_eq!(stays.keys().collect::<Vec<_>>(), [&(org, after)]);
    freshness::recover(&mut conn).await.unwrap();
}

#[tokio::test]
async fn a_service_removes_erased_markers_from_redis() {
    let mut world = World::new(1).await;
    let proxy = world.proxy_cache();
    let service = world.serve().await;
    let tenant = Tenant::new();
    world.send(bodies(&tenant.events(40))).await;
    eventually("its markers are in Redis", async || (cached(&world, tenant.org).await == 4).then_some(())).await;
    proxy.cut();
    // The command itself knows of no Redis.
    let org = tenant.org.to_string();
    let mut command = world.command(&["erase", "--yes", "--org", &org]);
    command.env("ANALYTICS__CACHE__URL", "");
    let output = output_of(command).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(cached(&world, tenant.org).await, 4, "nobody could");
    proxy.heal();
    let healed = Instant::now();
    eventually("they are gone", async || (cached(&world, tenant.org).await == 0).then_some(())).await;
    assert!(healed.elapsed() < bound(Duration::from_secs(9)), "before they expire by themselves");
    assert_eq!(service.terminate().await, Some(0));
}
