//! Processes that are asked to end while more than 5,000 events a second are published, with and without a database.

use std::time::{Duration, Instant};

use analytics_service::auth::Role;
use reqwest::{Method, StatusCode, header::CONNECTION};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    by_each_protocol::by_each_protocol,
    harness::{FLAWS, Load, Protocol, Proxy, Service, World, bound, eventually, millis, scale},
};

by_each_protocol![repeated_drains_lose_and_double_nothing,];

/// A second signal this soon is the same.
const ANOTHER_SIGNAL: Duration = Duration::from_millis(700);
/// What the end of the process takes beside the drain.
const EXIT: Duration = Duration::from_millis(1500);

/// Asks it to end and waits until it has: its exit code, and how long it took.
async fn terminate(service: Service) -> (Option<i32>, Duration) {
    let since = Instant::now();
    (service.terminate().await, since.elapsed())
}

async fn repeated_drains_lose_and_double_nothing(by: Protocol) {
    let world = World::new(2).await.read_by(by);
    let load = Load::launch(&world, "61", &FLAWS);
    let mut slowest = Duration::ZERO;
    for _ in 0..3 * scale() {
        let service = world.serve().await;
        millis(500..2500).await;
        let (code, took) = terminate(service).await;
        assert_eq!(code, Some(0));
        slowest = slowest.max(took);
    }
    eprintln!("ended within {slowest:?}");
    assert!(slowest < world.settings.drain.timeout(), "{slowest:?}");
    let service = world.serve().await;
    load.exact(&world).await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn a_database_outage_does_not_prolong_the_drain() {
    let mut world = World::new(2).await;
    world.set("ANALYTICS__DRAIN__TIMEOUT_MS", "3000");
    world.set("ANALYTICS__DRAIN__STEP_TIMEOUT_MS", "1500");
    let proxy = world.proxy_database();
    let load = Load::launch(&world, "62", &FLAWS);
    for (kind, fault) in [("stalls", Proxy::stall as fn(&Proxy)), ("is away", Proxy::cut)] {
        let service = world.serve().await;
        millis(500..2500).await;
        fault(&proxy);
        millis(0..500).await;
        let (code, took) = terminate(service).await;
        eprintln!("ended within {took:?} while the database {kind}");
        assert_eq!(code, Some(0));
        assert!(took < world.settings.drain.timeout() + bound(EXIT), "{took:?}");
        proxy.heal();
    }
    let _service = world.serve().await;
    load.exact(&world).await;
}

#[tokio::test]
async fn a_draining_process_serves_until_it_was_noticed() {
    // Long enough for what has to happen within it.
    let announced = Duration::from_secs(5);
    let mut world = World::new(1).await;
    world.set("ANALYTICS__DRAIN__ANNOUNCE_MS", &announced.as_millis().to_string());
    let mut service = world.serve().await;
    let token = service.token(&[Uuid::from_u128(1)], &[Role::OrgViewer]);
    let request = || service.request(Method::GET, "/analytics/v1/me", &token);
    let before = request().send().await.unwrap();
    assert_eq!((before.status(), before.headers().get(CONNECTION)), (StatusCode::OK, None));
    let since = Instant::now();
    service.signal("TERM");
    eventually("it says that it drains", async || {
        (service.readiness().await?.0 == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    // A new connection: it is accepted still, and is not kept for a next request.
    let during = reqwest::Client::new().execute(request().build().unwrap()).await.unwrap();
    assert_eq!((during.status(), during.headers()[CONNECTION].to_str().unwrap()), (StatusCode::OK, "close"));
    assert_eq!(service.wait_exit().await, Some(0));
    assert!(since.elapsed() >= announced, "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut world = World::new(2).await;
    let proxy = world.proxy_database();
    let mut service = world.serve().await;
    let load = Load::start(&world, "63").await;
    millis(500..1500).await;
    proxy.stall();
    millis(100..500).await;
    service.signal("TERM");
    eventually("it has heard", async || (service.readiness().await?.0 == 503).then_some(())).await;
    sleep(ANOTHER_SIGNAL).await;
    assert!(service.child.try_wait().unwrap().is_none(), "it still tries to store what is in flight");
    let since = Instant::now();
    service.signal("TERM");
    assert_eq!(service.wait_exit().await, Some(0));
    eprintln!("ended within {:?} of the second signal", since.elapsed());
    assert!(since.elapsed() < bound(EXIT), "{:?}", since.elapsed());
    proxy.heal();
    let _service = world.serve().await;
    load.exact(&world).await;
}
