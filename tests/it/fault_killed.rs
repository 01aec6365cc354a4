//! A process that is killed as by a power cut, again and again, while more than 5,000 events a second are published.

use std::time::{Duration, Instant};

use chrono::Utc;
use sqlx::PgConnection;

use crate::{
    by_each_protocol::by_each_protocol,
    harness::{FLAWS, Load, Protocol, Service, World, bound, eventually, millis, scale},
};

by_each_protocol![random_kills_lose_and_double_nothing,];

/// From the start of a process to its first commits.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Waits until a service that is started now has stored something of each of two partitions.
async fn back_to_committing(world: &World, conn: &mut PgConnection) -> (Service, Duration) {
    // One machine, one clock: what an earlier process began lies before.
    let (since, clock) = (Instant::now(), Utc::now());
    let service = Service::launch(world);
    eventually("both partitions are stored again", async || {
        let rows = "SELECT count(DISTINCT partition) FROM analytics.ingestion_batches WHERE started_at > $1";
        let partitions: i64 = sqlx::query_scalar(rows).bind(clock).fetch_one(&mut *conn).await.unwrap();
        (partitions == 2).then_some(())
    })
    .await;
    (service, since.elapsed())
}

async fn random_kills_lose_and_double_nothing(by: Protocol) {
    let world = World::new(2).await.read_by(by);
    let mut conn = world.connect().await;
    let load = Load::launch(&world, "5", &FLAWS);
    let kills = if scale() == 1 { 6 } else { 25.max(5 * scale()) };
    let mut slowest = Duration::ZERO;
    for n in 0..kills {
        if n % 3 > 0 {
            // Some do not live long enough to do anything, or to see what they did.
            let service = Service::launch(&world);
            millis(0..1500).await;
            service.kill();
            continue;
        }
        let (service, took) = back_to_committing(&world, &mut conn).await;
        slowest = slowest.max(took);
        millis(0..600).await;
        service.kill();
    }
    let (_service, took) = back_to_committing(&world, &mut conn).await;
    load.exact(&world).await;
    slowest = slowest.max(took);
    eprintln!("killed {kills} times, back to committing {slowest:?} after a start at most");
    assert!(slowest < bound(BACK_WITHIN), "{slowest:?}");
}
