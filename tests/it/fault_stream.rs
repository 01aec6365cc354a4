//! The stream itself changes: it drops what was not read yet, or is deleted and recreated.

use analytics_service::broker;
use lapin::{
    BasicProperties, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    by_each_protocol::by_each_protocol,
    harness::{LedgerSums, Protocol, Service, World, assert_exact, eventually, ledger_holes, sent, settled},
};

by_each_protocol![
    dropped_messages_are_a_ledger_gap,
    dropping_during_a_subscription_leaves_a_gap,
    a_recreated_stream_stops_the_partition,
    a_longer_recreated_stream_is_recognised,
    a_missing_stream_is_awaited,
];

async fn broker_connection(world: &World) -> Connection {
    broker::connect(&world.broker, "tests").await.unwrap()
}

async fn delete_stream(world: &World) {
    let connection = broker_connection(world).await;
    let channel = connection.create_channel().await.unwrap();
    let name = world.settings.broker.stream.as_str();
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    broker::close(&connection, &world.settings.broker).await;
}

async fn progress(conn: &mut PgConnection) -> (i64, i32) {
    sqlx::query_as("SELECT next_offset, incarnation FROM analytics.partition_offsets").fetch_one(conn).await.unwrap()
}

async fn publish(world: &World, events: &str) -> Value {
    world.publish(&["--events", events, "--orgs", "5", "--models", "2"]).await
}

/// A world whose service has read what was published, and the publisher's report.
async fn read(by: Protocol, events: &str) -> (World, PgConnection, Service, Value) {
    let world = World::new(1).await.read_by(by);
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let report = publish(&world, events).await;
    settled(&mut conn, sent(&report)).await;
    (world, conn, service, report)
}

async fn dropped_messages_are_a_ledger_gap(by: Protocol) {
    let mut world = World::new(1).await.read_by(by);
    // The smallest segments: whole ones are dropped.
    world.set("ANALYTICS__BROKER__STREAM_MAX_BYTES", "2000000");
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let before = publish(&world, "2000").await;
    settled(&mut conn, sent(&before)).await;
    let (read_to, _) = progress(&mut conn).await;
    assert_eq!(service.terminate().await, Some(0));
    // Several times what the stream keeps.
    let after = publish(&world, "40000").await;
    let service = world.serve().await;
    let gap: (i64, i64) = eventually("the gap is in the ledger", async || {
        sqlx::query_as("SELECT first_offset, next_offset FROM analytics.ingestion_batches WHERE kind = 'gap'")
            .fetch_optional(&mut conn)
            .await
            .unwrap()
    })
    .await;
    assert_eq!(gap.0, read_to);
    let more = publish(&world, "1000").await;
    let all = sent(&before) + sent(&after) + sent(&more);
    every_message_is_accounted(&mut conn, all).await;
    assert!(progress(&mut conn).await.0 > gap.1);
    let lost = all - LedgerSums::of_batches(&mut conn).await.received;
    assert!(lost > 0 && lost <= gap.1 - gap.0, "{lost} messages were lost, all of them in the gap {gap:?}");
    assert_eq!(ledger_holes(&mut conn).await, 0, "the gap is a part of the chain");
    let counted = format!(r#"analytics_stream_gap_total{{partition="0"}} {}"#, gap.1 - gap.0);
    eventually(&counted, async || service.metrics().await.contains(&counted).then_some(())).await;
    let (noted, cause): (i64, String) = eventually("the supervision log has it", async || {
        let row: (i64, Option<String>) =
            sqlx::query_as("SELECT count(*), max(cause) FROM analytics.supervision_events WHERE what = 'gap'")
                .fetch_one(&mut conn)
                .await
                .unwrap();
        row.1.map(|cause| (row.0, cause))
    })
    .await;
    assert_eq!(noted, 1);
    assert!(cause.contains(&gap.1.to_string()), "{cause}");
}

async fn dropping_during_a_subscription_leaves_a_gap(by: Protocol) {
    let mut world = World::new(1).await.read_by(by);
    world.set("ANALYTICS__BROKER__STREAM_MAX_BYTES", "2000000");
    // Few messages are sent ahead, and storing them is slow: the stream overtakes the reading.
    world.set("ANALYTICS__BROKER__PREFETCH", "200");
    world.set("ANALYTICS__BROKER__READ_AHEAD_BYTES", "1048576");
    let database = world.proxy_database();
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let before = publish(&world, "2000").await;
    settled(&mut conn, sent(&before)).await;
    database.delay(std::time::Duration::from_millis(30));
    let after = publish(&world, "40000").await;
    database.heal();
    let more = publish(&world, "500").await;
    let all = sent(&before) + sent(&after) + sent(&more);
    every_message_is_accounted(&mut conn, all).await;
    let (gaps, read, unaccounted) = accounted(&mut conn).await;
    eprintln!("{read} of {all} read, {gaps} offsets in gaps, {unaccounted} offsets without a message");
    assert!(gaps > 0, "{read} of {all} were read");
    // The broker takes an offset for itself now and then.
    assert!(unaccounted < 100, "{unaccounted} offsets are neither read nor in a gap");
    assert_eq!(ledger_holes(&mut conn).await, 0);
    drop(service);
}

/// Waits for it. Not by the offset: the broker takes some for itself, so that the last messages lie behind their number.
async fn every_message_is_accounted(conn: &mut PgConnection, all: i64) {
    eventually("every message is read or in a gap", async || {
        let (gaps, read, _) = accounted(conn).await;
        (read + gaps >= all).then_some(())
    })
    .await;
}

/// Offsets in gaps, messages that were read, and offsets without a message among these.
async fn accounted(conn: &mut PgConnection) -> (i64, i64, i64) {
    sqlx::query_as(
        "SELECT coalesce(sum(next_offset - first_offset) FILTER (WHERE kind = 'gap'), 0)::bigint,
                sum(received)::bigint,
                sum(next_offset - first_offset - received) FILTER (WHERE kind = 'live')::bigint
         FROM analytics.ingestion_batches",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}

async fn a_recreated_stream_stops_the_partition(by: Protocol) {
    let (world, mut conn, service, before) = read(by, "3000").await;
    let (read_to, incarnation) = progress(&mut conn).await;
    delete_stream(&world).await;
    // Recreated by the producer, and shorter than what was read.
    let shorter = publish(&world, "1000").await;
    let cause = service.parked("partition/0").await;
    assert!(cause.contains("was recreated") && cause.contains("partitions reset"), "{cause}");
    assert_eq!(progress(&mut conn).await, (read_to, incarnation));
    let (status, readiness) = service.readiness().await.unwrap();
    assert_eq!((status.as_u16(), &readiness["status"]), (200, &"degraded".into()));

    // The operator's way on: what is in the stream now is another incarnation.
    reset(&world, &mut conn).await;
    settled(&mut conn, sent(&before) + sent(&shorter)).await;
    let (_, now) = progress(&mut conn).await;
    assert_eq!(now, incarnation + 1);
    assert_eq!(ledger_holes(&mut conn).await, 0);
    let sums = LedgerSums::of_batches(&mut conn).await;
    assert_eq!(sums.stored, before["events"].as_i64().unwrap() + shorter["events"].as_i64().unwrap());
}

async fn a_longer_recreated_stream_is_recognised(by: Protocol) {
    let (world, mut conn, service, before) = read(by, "1000").await;
    assert_eq!(service.terminate().await, Some(0));
    delete_stream(&world).await;
    let longer = publish(&world, "4000").await;
    let service = world.serve().await;
    let cause = service.parked("partition/0").await;
    assert!(cause.contains("another message is at offset"), "{cause}");
    assert_eq!(LedgerSums::of_batches(&mut conn).await.received, sent(&before), "nothing of it is read");
    reset(&world, &mut conn).await;
    settled(&mut conn, sent(&before) + sent(&longer)).await;
    assert_eq!(ledger_holes(&mut conn).await, 0);
}

async fn a_missing_stream_is_awaited(by: Protocol) {
    let (world, mut conn, service, before) = read(by, "1000").await;
    delete_stream(&world).await;
    eventually("the broker is seen to lack it", async || {
        let (_, readiness) = service.readiness().await?;
        let words = if by == Protocol::Amqp { "NOT_FOUND" } else { "stream does not exist" };
        readiness.to_string().contains(words).then_some(())
    })
    .await;
    let connection = broker_connection(&world).await;
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let name = world.settings.broker.stream.as_str();
    assert!(channel.queue_declare(name.into(), options, FieldTable::default()).await.is_err());
    // Empty and new: it may be ours, coming back; nothing is concluded from it until it holds something.
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    channel.queue_declare(name.into(), options, arguments).await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    // Longer than it takes to look at a stream several times.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let states = service.actors().await.to_string();
    assert!(!states.contains("parked"), "{states}");
    channel
        .basic_publish("".into(), name.into(), BasicPublishOptions::default(), b"{}", BasicProperties::default())
        .await
        .unwrap()
        .await
        .unwrap();
    assert!(service.parked("partition/0").await.contains("it ends at offset 0"));
    broker::close(&connection, &world.settings.broker).await;
    assert_exact(&mut conn, &before).await;
}

/// As `partitions reset --to first` does.
async fn reset(world: &World, conn: &mut PgConnection) {
    let topology = world.settings.broker.topology();
    analytics_service::store::ingest::partitions::reset(conn, &topology, 0, 0).await.unwrap().unwrap();
}
