//! Messages that cannot be stored, alone and by the thousand, among more than 5,000 events a second.

use chrono::Utc;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    fault_away::is_down,
    harness::{
        LedgerSums, Load, RATE, Service, World, assert_exact, eventually, ledger_holes, millis, more, number, scale,
        sent, settled,
    },
    store_commit::{body, event},
};

/// Oversize messages in a row, and the size of each: 134 MiB together.
const OVERSIZE: u32 = 2000;
const OVERSIZE_BYTES: usize = 70_000;
/// What the service may hold of them: as many as the broker sends ahead, and copies of a batch of 8 MiB while it is
/// stored.
const HELD_OF_THEM: u32 = 500;
const HELD_BYTES: u64 = HELD_OF_THEM as u64 * OVERSIZE_BYTES as u64 + (32 << 20);

/// Adds messages that were sent beside a load, and that are to be dead letters, to its report.
fn and_invalid(report: &Value, messages: u32) -> Value {
    let mut report = report.clone();
    for name in ["sent", "invalid"] {
        report[name] = (report[name].as_i64().unwrap() + i64::from(messages)).into();
    }
    report
}

/// Waits for all messages, and holds the outcome against what was published.
async fn exact(world: &World, report: &Value) {
    let mut conn = world.connect().await;
    settled(&mut conn, sent(report)).await;
    let ledger = assert_exact(&mut conn, report).await;
    let dead = number(&mut conn, "SELECT count(*) FROM analytics.dead_letters").await;
    assert_eq!(dead, ledger.rejected, "every rejected message is a dead letter");
}

#[tokio::test]
async fn broken_messages_do_not_affect_others() {
    let world = World::new(2).await;
    let _service = world.serve().await;
    let load = Load::with(&world, "51", &["--invalid", "0.05", "--duplicates", "0.02", "--late", "0.01"]).await;
    more(&mut world.connect().await, 4 * RATE * scale()).await;
    let report = load.stop().await;
    exact(&world, &report).await;
    let (invalid, all) = (report["invalid"].as_f64().unwrap(), report["sent"].as_f64().unwrap());
    assert!((0.04..0.06).contains(&(invalid / all)), "{invalid} of {all}");
}

#[tokio::test]
async fn oversize_messages_are_dead_letters_in_bounded_memory() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__BROKER__PREFETCH", &HELD_OF_THEM.to_string());
    let service = world.serve().await;
    let load = Load::start(&world, "52").await;
    millis(1500..2000).await;
    let (before, most) = (service.rss_bytes(), std::cell::Cell::new(0));
    let sending = async {
        world.send((0..OVERSIZE).map(|n| [vec![b'x'; OVERSIZE_BYTES], n.to_be_bytes().to_vec()].concat())).await;
        let report = and_invalid(&load.stop().await, OVERSIZE);
        exact(&world, &report).await;
    };
    highest_rss(&service, &most, sending).await;
    let grown = most.get().saturating_sub(before);
    eprintln!("{} MiB before, {} MiB more at most", before >> 20, grown >> 20);
    assert!(grown < HELD_BYTES, "{grown} bytes more");
}

/// Notes what the service holds at most until something has ended.
async fn highest_rss<T>(service: &Service, most: &std::cell::Cell<u64>, work: impl Future<Output = T>) -> T {
    let looking = async {
        loop {
            most.set(most.get().max(service.rss_bytes()));
            // The pace of the looks.
            millis(20..21).await;
        }
    };
    tokio::select! {
        never = looking => never,
        done = work => done,
    }
}

#[tokio::test]
async fn events_refused_by_the_database_become_letters() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let load = Load::start(&world, "53").await;
    let mut owner = world.connect_as_owner().await;
    let constraint = "ALTER TABLE analytics.usage_events ADD CONSTRAINT known_client CHECK (client_id <> 'refused')";
    sqlx::query(constraint).execute(&mut owner).await.unwrap();
    let mut refused = 0;
    for _ in 0..5 * scale() {
        let bodies = (0..40).map(|_| {
            let one = event(1, Uuid::new_v4().as_u128(), Utc::now());
            body(&analytics_service::domain::event::Event { client_id: Some("refused".to_owned()), ..one })
        });
        world.send(bodies).await;
        refused += 40;
        millis(300..600).await;
    }
    let report = and_invalid(&load.stop().await, refused);
    exact(&world, &report).await;
    assert_eq!(dead_letters_of_the_database(&world).await, i64::from(refused));
    assert_eq!(service.generation("partition/0").await, 1);
}

async fn dead_letters_of_the_database(world: &World) -> i64 {
    let rows = "SELECT count(*) FROM analytics.dead_letters WHERE reasons[1] = 'event: refused by the database, SQLSTATE 23514'";
    sqlx::query_scalar(rows).fetch_one(&mut world.connect().await).await.unwrap()
}

#[tokio::test]
async fn a_refusing_database_parks_the_partition() {
    let world = World::new(1).await;
    let service = world.serve().await;
    // Without duplicates: an event that was refused has no second chance.
    let load = Load::with(&world, "54", &["--late", "0.01", "--invalid", "0.005"]).await;
    millis(500..1500).await;
    let mut owner = world.connect_as_owner().await;
    let constraint = "ALTER TABLE analytics.usage_events ADD CONSTRAINT nothing CHECK (latency_ms < 0) NOT VALID";
    sqlx::query(constraint).execute(&mut owner).await.unwrap();
    let cause = service.parked("partition/0").await;
    assert!(cause.contains("the schema does not fit"), "{cause}");
    let (status, readiness) = service.readiness().await.unwrap();
    assert!(status == 200 && readiness["status"] == "degraded" && is_down(&readiness, "partition/0"), "{readiness}");
    // An operator's restart without a repair makes it no worse.
    service.restart("partition/0").await;
    eventually("the partition rests again", async || {
        let actor = service.actor("partition/0").await?;
        (actor["generation"].as_u64()? > 1 && actor["state"] == "parked").then_some(())
    })
    .await;
    let refused = dead_letters_of_the_database(&world).await;
    eprintln!("{refused} events were taken for poison");
    assert!(refused <= 500, "{refused}");

    sqlx::query("ALTER TABLE analytics.usage_events DROP CONSTRAINT nothing").execute(&mut owner).await.unwrap();
    service.restart("partition/0").await;
    service.runs_again("partition/0", 2).await;
    let report = load.stop().await;
    let mut conn = world.connect().await;
    settled(&mut conn, sent(&report)).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    let count = |name: &str| report[name].as_i64().unwrap();
    assert_eq!(ledger.received, sent(&report));
    assert_eq!(ledger.stored + refused, count("events"), "all that was not refused is stored");
    assert_eq!(ledger.rejected, count("invalid") + refused);
    let raw = number(&mut conn, "SELECT count(*) FROM analytics.usage_events").await;
    let rolled_up = number(
        &mut conn,
        "SELECT sum(successes + errors + timeouts + throttled)::bigint FROM analytics.hourly_rollups",
    )
    .await;
    assert_eq!((raw, rolled_up), (ledger.stored, ledger.stored));
    assert_eq!(ledger_holes(&mut conn).await, 0);
}
