//! The broker and the cache: whether they answer, and what is lost and opened again.

use super::shown;
use crate::harness::{Scrape, World, eventually};

fn up(scrape: &Scrape, dependency: &str) -> Option<f64> {
    scrape.get(&format!("dependency_up{{dependency=\"{dependency}\"}}"))
}

fn reconnects(scrape: &Scrape, dependency: &str) -> Option<f64> {
    scrape.get(&format!("reconnects_total{{dependency=\"{dependency}\"}}"))
}

#[tokio::test]
async fn a_lost_broker_is_down_and_reconnected() {
    let mut world = World::new(1).await;
    let broker = world.proxy_broker();
    let service = world.serve().await;
    let before = shown(&service, "the broker is up", |scrape| up(scrape, "broker") == Some(1.0)).await;
    assert_eq!(reconnects(&before, "broker"), Some(0.0));
    assert_eq!(up(&before, "objects"), None, "it is not configured");
    broker.cut();
    let down = shown(&service, "the broker is down", |scrape| up(scrape, "broker") == Some(0.0)).await;
    assert_eq!((up(&down, "database"), reconnects(&down, "broker")), (Some(1.0), Some(0.0)));
    broker.heal();
    shown(&service, "the broker is back", |scrape| {
        up(scrape, "broker") == Some(1.0) && reconnects(scrape, "broker") >= Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn publications_to_a_lost_cache_fail() {
    let mut world = World::new(1).await;
    let cache = world.proxy_cache();
    let service = world.serve().await;
    let published = |scrape: &Scrape, outcome: &str| {
        scrape.get(&format!("cache_publishes_total{{outcome=\"{outcome}\"}}")).unwrap()
    };
    world.publish(&["--events", "50", "--orgs", "2", "--models", "1"]).await;
    let before = shown(&service, "markers are published", |scrape| {
        up(scrape, "cache") == Some(1.0) && published(scrape, "done") > 0.0
    })
    .await;
    cache.cut();
    eventually("publications fail", async || {
        world.publish(&["--events", "10", "--orgs", "2", "--models", "1"]).await;
        let scrape = service.scrape().await;
        (published(&scrape, "failed") > published(&before, "failed") && up(&scrape, "cache") == Some(0.0)).then_some(())
    })
    .await;
    cache.heal();
    shown(&service, "markers are published again", |scrape| {
        up(scrape, "cache") == Some(1.0)
            && reconnects(scrape, "cache") > reconnects(&before, "cache")
            && published(scrape, "done") > published(&before, "done")
    })
    .await;
}
