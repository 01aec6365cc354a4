//! Freshness markers of an erased org: those that processes remember, and those in Redis.

use std::time::{Duration, Instant};

use analytics_service::{
    domain::freshness::{Freshness, FreshnessStatus},
    store::freshness::{self, Marker},
};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Tenant, bodies, cached, count, erase};
use crate::harness::{World, eventually};

#[tokio::test]
async fn what_a_process_remembers_from_before_an_erasure_is_not_recorded() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let (org, model) = (Uuid::new_v4(), Uuid::new_v4());
    erase(&world, &["--org", &org.to_string(), "--yes"]).await;
    let [(erased, erased_at)] = freshness::erased(&mut conn, None).await.unwrap()[..] else { panic!("one erasure") };
    assert_eq!(erased, org);
    assert!(freshness::erased(&mut conn, Some(erased_at)).await.unwrap().is_empty());
    for (merged_at, recorded) in [(erased_at, 0), (erased_at + TimeDelta::microseconds(1), 1)] {
        let of = |org: Uuid, last_rollup_at: DateTime<Utc>| {
            let marker = Marker { last_event_at: last_rollup_at, last_rollup_at };
            let at = Some(last_rollup_at);
            let status = FreshnessStatus::Fresh;
            ((org, model), (marker, Freshness { last_event_at: at, last_rollup_at: at, lag_ms: Some(1), status }))
        };
        let markers = [of(org, merged_at), of(Uuid::from_u128(1), merged_at)].into();
        let keys = freshness::record(&mut conn, &markers).await.unwrap();
        assert_eq!(keys.len(), recorded + 1);
        let there = "SELECT count(*) FROM analytics.freshness_status WHERE org_id = $1";
        assert_eq!(usize::try_from(count(&mut conn, there, org).await).unwrap(), recorded);
    }
    freshness::recover(&mut conn).await.unwrap();
}

#[tokio::test]
async fn a_running_service_takes_an_erased_orgs_markers_out_of_redis_when_it_can() {
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
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(cached(&world, tenant.org).await, 4, "nobody could");
    proxy.heal();
    let healed = Instant::now();
    eventually("they are gone", async || (cached(&world, tenant.org).await == 0).then_some(())).await;
    assert!(healed.elapsed() < Duration::from_secs(20), "before they expire by themselves");
    assert_eq!(service.terminate().await, Some(0));
}
