//! A network that fails between the service and its servers while more than 5,000 events a second are published:
//! nothing is lost, nothing is counted twice, and everything goes on by itself.

use std::{cell::Cell, ops::Range, time::Duration};

use serde_json::Value;
use sqlx::PgConnection;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    by_each_protocol::by_each_protocol,
    fault_away::{cache_is_seen, is_down},
    harness::{
        FLAWS, LedgerSums, Protocol, Proxy, RATE, Service, World, assert_exact, eventually, millis, number, rested,
        scale, sent, settled,
    },
};

by_each_protocol![
    broker_disconnects_lose_and_double_nothing,
    a_short_broker_stall_costs_its_duration,
    a_long_broker_stall_is_an_outage,
    a_broker_stall_stops_the_watermark,
    a_stalled_subscription_is_cancelled_and_renewed,
];

/// Whether messages still come.
struct Load(Cell<bool>);

impl Load {
    fn goes_on(&self) -> bool {
        self.0.get()
    }
}

/// Publishes for about four seconds while the faults go on, heals, and holds the outcome against what was published.
/// Waiting for a server must not spend restarts.
async fn exact_under_load(
    world: &World,
    service: &Service,
    proxy: &Proxy,
    seed: &str,
    faults: impl AsyncFnOnce(&Load),
) -> Value {
    let (events, rate) = ((4 * RATE * scale()).to_string(), RATE.to_string());
    let args = ["--events", &events, "--rate", &rate, "--orgs", "30", "--models", "5", "--seed", seed];
    let args = [&args[..], &FLAWS].concat();
    let load = Load(Cell::new(true));
    let publishing = async {
        let report = world.publish(&args).await;
        load.0.set(false);
        report
    };
    let (report, ()) = tokio::join!(publishing, faults(&load));
    proxy.heal();
    let reached = report["messagesPerSecond"].as_u64().unwrap();
    eprintln!("published at {reached} messages a second");
    // Other work on the machine must not fail a short run; a larger one is made to show it.
    assert!(scale() == 1 || reached >= 5000, "{reached} messages a second are not the load");
    let mut conn = world.connect().await;
    settled(&mut conn, sent(&report)).await;
    assert_exact(&mut conn, &report).await;
    assert_marked(&mut conn).await;
    let metrics = service.metrics().await;
    let restarts =
        metrics.lines().any(|line| line.starts_with("analytics_actor_restarts_total{") && !line.ends_with(" 0"));
    assert!(!restarts, "it waited in place");
    report
}

/// Ends connections again and again while messages come, with and without a moment in which there is no new one. So many milliseconds
/// lie between two of these.
async fn disconnect(proxy: &Proxy, load: &Load, apart: Range<u64>) {
    while load.goes_on() {
        millis(apart.clone()).await;
        proxy.drop_connections();
        millis(apart.clone()).await;
        proxy.cut();
        millis(10..300).await;
        proxy.heal();
    }
}

/// What is in the rollups has its marker.
async fn assert_marked(conn: &mut PgConnection) {
    let unmarked = "SELECT count(*)
         FROM (SELECT org_id, model_id, max(last_event_at) AS at FROM analytics.daily_rollups GROUP BY 1, 2) r
         FULL JOIN analytics.freshness_status f USING (org_id, model_id) WHERE r.at IS DISTINCT FROM f.last_event_at";
    assert_eq!(number(conn, unmarked).await, 0, "markers are of what is in the rollups");
}

async fn received(conn: &mut PgConnection) -> i64 {
    LedgerSums::of_batches(conn).await.received
}

/// The same, when what was on its way as the way was closed is stored.
async fn received_at_rest(conn: &mut PgConnection) -> i64 {
    rested("nothing more is received", async || received(conn).await).await
}

async fn broker_disconnects_lose_and_double_nothing(by: Protocol) {
    let mut world = World::new(2).await.read_by(by);
    let proxy = world.proxy_broker();
    let service = world.serve().await;
    exact_under_load(&world, &service, &proxy, "21", async |load| {
        disconnect(&proxy, load, 200..700).await;
    })
    .await;
}

async fn a_short_broker_stall_costs_its_duration(by: Protocol) {
    let mut world = World::new(1).await.read_by(by);
    let proxy = world.proxy_broker();
    let service = world.serve().await;
    let mut conn = world.connect().await;
    exact_under_load(&world, &service, &proxy, "22", async |_| {
        millis(300..700).await;
        proxy.stall();
        let stalled_at = received_at_rest(&mut conn).await;
        millis(2000..2001).await;
        assert_eq!(received(&mut conn).await, stalled_at, "nothing comes through");
        proxy.heal();
    })
    .await;
}

async fn a_long_broker_stall_is_an_outage(by: Protocol) {
    let mut world = World::new(1).await.read_by(by);
    let proxy = world.proxy_broker();
    // In place of five seconds; given up after twice as long.
    let url = world.reads_from();
    world.routes.get_mut(url).unwrap().push_str("?heartbeat=1");
    world.set("ANALYTICS__BROKER__CONNECT_TIMEOUT_MS", "1000");
    let service = world.serve().await;
    exact_under_load(&world, &service, &proxy, "28", async |_| {
        millis(300..700).await;
        proxy.stall();
        eventually("the broker is seen to be away", async || {
            let (_, readiness) = service.readiness().await?;
            is_down(&readiness, "broker").then_some(())
        })
        .await;
        proxy.heal();
    })
    .await;
}

async fn a_broker_stall_stops_the_watermark(by: Protocol) {
    let mut world = World::new(1).await.read_by(by);
    let proxy = world.proxy_broker();
    let _service = world.serve().await;
    let mut conn = world.connect().await;
    let watermark = "SELECT extract(epoch FROM watermark)::double precision FROM analytics.partition_watermarks";
    eventually("the empty stream is caught up", async || {
        sqlx::query_scalar::<_, f64>(watermark).fetch_optional(&mut conn).await.unwrap()
    })
    .await;
    proxy.stall();
    let stalled_at: f64 = sqlx::query_scalar("SELECT extract(epoch FROM clock_timestamp())::double precision")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    // As long as silence alone was once taken for an empty stream, several times over.
    sleep(Duration::from_secs(6)).await;
    let now: f64 = sqlx::query_scalar(watermark).fetch_one(&mut conn).await.unwrap();
    assert!(now <= stalled_at, "the watermark is {} s behind the stall", now - stalled_at);
    proxy.heal();
    eventually("the watermark moves on", async || {
        let now: f64 = sqlx::query_scalar(watermark).fetch_one(&mut conn).await.unwrap();
        (now > stalled_at).then_some(())
    })
    .await;
}

#[tokio::test]
async fn database_disconnects_lose_and_double_nothing() {
    let mut world = World::new(2).await;
    let proxy = world.proxy_database();
    let service = world.serve().await;
    exact_under_load(&world, &service, &proxy, "23", async |load| {
        disconnect(&proxy, load, 100..400).await;
    })
    .await;
}

#[tokio::test]
async fn a_database_stall_holds_back_the_intake() {
    let mut world = World::new(1).await;
    // Taken in within a second: what is prefetched, four batches in flight and the one at hand.
    world.set("ANALYTICS__BROKER__PREFETCH", "1000");
    world.set("ANALYTICS__BATCH__MAX_EVENTS", "500");
    let proxy = world.proxy_database();
    let service = world.serve().await;
    let mut conn = world.connect().await;
    exact_under_load(&world, &service, &proxy, "27", async |_| {
        millis(500..900).await;
        proxy.stall();
        let (stalled_at, memory) = (received_at_rest(&mut conn).await, service.rss_bytes());
        millis(1500..1501).await;
        assert_eq!(received(&mut conn).await, stalled_at, "nothing is stored");
        let grown = service.rss_bytes().saturating_sub(memory);
        assert!(grown < 4 << 20, "{grown} bytes more while 9,000 messages came to the stream");
        proxy.heal();
    })
    .await;
}

async fn a_stalled_subscription_is_cancelled_and_renewed(by: Protocol) {
    let mut world = World::new(1).await.read_by(by);
    world.set("ANALYTICS__BROKER__STALL_CANCEL_MS", "1500");
    let (broker, proxy) = (world.proxy_broker(), world.proxy_database());
    let service = world.serve().await;
    exact_under_load(&world, &service, &proxy, "29", async |_| {
        eventually("there is a subscription", async || (broker.connections() == 1).then_some(())).await;
        millis(300..700).await;
        proxy.stall();
        eventually("the subscription is given up", async || (broker.connections() == 0).then_some(())).await;
        proxy.heal();
        eventually("there is another one", async || (broker.connections() == 1).then_some(())).await;
    })
    .await;
}

#[tokio::test]
async fn lost_database_responses_lose_and_double_nothing() {
    let mut world = World::new(2).await;
    let proxy = world.proxy_database();
    let service = world.serve().await;
    exact_under_load(&world, &service, &proxy, "24", async |load| {
        while load.goes_on() {
            millis(50..400).await;
            proxy.swallow_answers(Duration::from_millis(60));
            millis(60..61).await;
        }
    })
    .await;
}

/// The one moment of which the service cannot know whether its work was done.
#[tokio::test]
async fn commits_with_lost_responses_count_once() {
    let mut world = World::new(2).await;
    let proxy = world.proxy_database();
    let service = world.serve().await;
    exact_under_load(&world, &service, &proxy, "25", async |load| {
        while load.goes_on() {
            millis(20..200).await;
            proxy.lose_answers_to(b"COMMIT\0", 1);
        }
    })
    .await;
    assert!(proxy.lost_answers() >= 3, "{}", proxy.lost_answers());
}

#[tokio::test]
async fn a_merge_with_lost_response_has_markers() {
    let mut world = World::new(1).await;
    let proxy = world.proxy_database();
    let service = world.serve().await;
    let mut conn = world.connect().await;
    // Of the batch, and of its merge.
    proxy.lose_answers_to(b"COMMIT\0", 2);
    let report = world.publish(&["--events", "1", "--seed", "62"]).await;
    settled(&mut conn, 1).await;
    eventually("both answers are lost", async || (proxy.lost_answers() == 2).then_some(())).await;
    assert_marked(&mut conn).await;
    let org: Uuid = report["orgs"][0]["orgId"].as_str().unwrap().parse().unwrap();
    let token = service.token(&[org], &[analytics_service::auth::Role::OrgViewer]);
    eventually("it is in the answer", async || {
        let (status, answer) = service.get(&format!("/analytics/v1/orgs/{org}/freshness"), &token).await;
        assert_eq!(status, 200, "{answer}");
        (answer["entries"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    eventually("it is in Redis", async || {
        let mut redis = world.connect_cache().await;
        let key = format!("analytics:freshness:{org}");
        let fields: usize = redis::cmd("HLEN").arg(key).query_async(&mut redis).await.unwrap();
        (fields == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn redis_has_every_marker_after_an_outage() {
    let mut world = World::new(1).await;
    let proxy = world.proxy_cache();
    let service = world.serve().await;
    let report = exact_under_load(&world, &service, &proxy, "26", async |_| {
        millis(300..700).await;
        proxy.cut();
        cache_is_seen(&service, false).await;
    })
    .await;
    cache_is_seen(&service, true).await;
    let orgs = report["orgs"].as_array().unwrap().iter();
    let orgs: Vec<Uuid> = orgs.map(|org| org["orgId"].as_str().unwrap().parse().unwrap()).collect();
    eventually("every org has its markers", async || {
        let mut redis = world.connect_cache().await;
        let keys: Vec<String> = orgs.iter().map(|org| format!("analytics:freshness:{org}")).collect();
        let present: usize = redis::cmd("EXISTS").arg(&keys).query_async(&mut redis).await.unwrap();
        (present == orgs.len()).then_some(())
    })
    .await;
}
