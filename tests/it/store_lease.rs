//! Leases in the database: what each process sees.

use std::time::Duration;

use analytics_service::{
    domain::partition::Topology,
    store::ingest::lease::{self, Identity},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::harness::World;

const TTL: Duration = Duration::from_secs(60);

fn identity(name: &str) -> Identity {
    Identity { id: Uuid::now_v7(), name: name.to_owned() }
}

async fn seen(conn: &mut PgConnection, me: &Identity, topology: &Topology) -> Vec<(Uuid, i32, bool)> {
    let view = lease::renew(conn, me, TTL, topology).await.unwrap();
    view.processes.iter().map(|process| (process.id, process.number, process.locked && !process.expired)).collect()
}

#[tokio::test]
async fn processes_see_only_their_own_stream() {
    let world = World::new(2).await;
    let (mut one, mut two, mut other) = (world.connect().await, world.connect().await, world.connect().await);
    let ours = world.settings.broker.topology();
    let theirs = Topology { base: "another".to_owned(), partitions: 1 };
    let (a, b, c) = (identity("a"), identity("b"), identity("c"));
    seen(&mut one, &a, &ours).await;
    seen(&mut two, &b, &ours).await;
    assert_eq!(seen(&mut other, &c, &theirs).await.len(), 1);
    let both = seen(&mut one, &a, &ours).await;
    assert_eq!(both.iter().map(|process| (process.0, process.2)).collect::<Vec<_>>(), [(a.id, true), (b.id, true)]);
    // The lock goes with the session, at once.
    drop(two);
    crate::harness::eventually("the lock is gone", async || {
        let both = seen(&mut one, &a, &ours).await;
        (!both[1].2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn renewing_a_lease_takes_its_lock_once() {
    let world = World::new(1).await;
    let (mut one, mut two) = (world.connect().await, world.connect().await);
    let topology = world.settings.broker.topology();
    let (a, b) = (identity("a"), identity("b"));
    for _ in 0..50 {
        seen(&mut one, &a, &topology).await;
    }
    let both = seen(&mut two, &b, &topology).await;
    assert_eq!(both[1].1, both[0].1 + 1);
    lease::leave(&mut one, a.id).await.unwrap();
    let unlocked: bool = sqlx::query_scalar("SELECT pg_advisory_unlock($1, $2)")
        .bind(0x616e_6c79)
        .bind(both[0].1)
        .fetch_one(&mut one)
        .await
        .unwrap();
    let again: bool = sqlx::query_scalar("SELECT pg_advisory_unlock($1, $2)")
        .bind(0x616e_6c79)
        .bind(both[0].1)
        .fetch_one(&mut one)
        .await
        .unwrap();
    assert_eq!((unlocked, again), (true, false));
}

#[tokio::test]
async fn a_partition_is_taken_by_one_process() {
    let world = World::new(1).await;
    let (mut one, mut two) = (world.connect().await, world.connect().await);
    let topology = world.settings.broker.topology();
    lease::enrol(&mut one, &topology).await.unwrap();
    let free = lease::holdings(&mut one, &topology).await.unwrap()[0];
    let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let taking = tokio::join!(lease::take(&mut one, &topology, &free, a), lease::take(&mut two, &topology, &free, b),);
    assert_ne!(taking.0.unwrap(), taking.1.unwrap());
}
