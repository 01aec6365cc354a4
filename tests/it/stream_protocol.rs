//! Streams read by their own protocol: every message in whatever form a client wrote it, and what AMQP 0.9.1 does not show.

use std::io::Write as _;

use analytics_service::broker::{incoming::StartAt, streams::Streams, subscription::Subscription};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;

use crate::{
    harness::{LedgerSums, Protocol, TlsFront, World, eventually, has_foreign_clients, ledger_holes, sent, settled},
    store_commit::{body, event},
};

/// Events that nobody else publishes, as messages.
struct Events(u128);

impl Events {
    fn next(&mut self, count: usize) -> Vec<String> {
        let mut one = || {
            self.0 += 1;
            String::from_utf8(body(&event(1, self.0, Utc::now()))).unwrap()
        };
        (0..count).map(|_| one()).collect()
    }
}

/// Messages as a batch holds them, each behind its length.
fn content(bodies: &[String]) -> Vec<u8> {
    bodies
        .iter()
        .flat_map(|body| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body.as_bytes()].concat())
        .collect()
}

/// A batch as the producer hands it to its client.
fn entry(compression: u8, count: usize, size: usize, data: &[u8]) -> String {
    json!({"compression": compression, "count": count, "size": size, "data": STANDARD.encode(data)}).to_string()
}

fn compressed(compression: u8, plain: &[u8]) -> Vec<u8> {
    match compression {
        2 => {
            let mut writer = snap::write::FrameEncoder::new(Vec::new());
            writer.write_all(plain).unwrap();
            writer.into_inner().unwrap()
        }
        3 => {
            let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            writer.write_all(plain).unwrap();
            writer.finish().unwrap()
        }
        _ => ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest),
    }
}

async fn produce(world: &World, mode: &str, bodies: &[String]) -> i64 {
    world.produce(mode, 0, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    i64::try_from(bodies.len()).unwrap()
}

async fn watermark(conn: &mut PgConnection) -> Option<DateTime<Utc>> {
    let watermark = "SELECT watermark FROM analytics.partition_watermarks";
    sqlx::query_scalar(watermark).fetch_optional(conn).await.unwrap().flatten()
}

/// Quiet is proved: the watermark passes what is now.
async fn caught_up(conn: &mut PgConnection) {
    let now = Utc::now();
    eventually("the stream is read to its end", async || (watermark(conn).await? > now).then_some(())).await;
}

#[tokio::test]
async fn every_form_of_message_is_stored_or_rejected_with_its_reason() {
    if !has_foreign_clients() {
        return;
    }
    let world = World::new(1).await.read_by(Protocol::Stream);
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let report = world.publish(&["--events", "300", "--orgs", "4", "--models", "2", "--seed", "1"]).await;
    let mut stored = report["events"].as_i64().unwrap();
    let mut events = Events(1000);
    for mode in ["raw", "plain", "mixed", "batch", "gzip", "uuid", "nan", "decimal", "char", "text", "binary"] {
        let bodies = events.next(7);
        stored += produce(&world, mode, &bodies).await;
    }
    for compression in 2..=4 {
        let bodies = events.next(5);
        let plain = content(&bodies);
        let data = compressed(compression, &plain);
        produce(&world, "entry", &[entry(compression, bodies.len(), plain.len(), &data)]).await;
        stored += 5;
    }
    settled(&mut conn, stored).await;
    assert_eq!(LedgerSums::of_batches(&mut conn).await.rejected, 0);

    // What cannot be read takes its offsets, and the rest of the stream is read.
    let plain = content(&events.next(3));
    let gzip = compressed(2, &plain);
    let broken = [
        // Cut short, of an unknown compression, and of another count.
        entry(2, 3, plain.len(), &gzip[..gzip.len() - 5]),
        entry(6, 4, plain.len(), &plain),
        entry(0, 9, plain.len(), &plain),
    ];
    produce(&world, "entry", &broken).await;
    let rejected = 3 + 4 + 9 + produce(&world, "number", &["1".to_owned(), "2".to_owned()]).await;
    let after = world.publish(&["--events", "100", "--orgs", "4", "--models", "2", "--seed", "2"]).await;
    stored += after["events"].as_i64().unwrap();
    settled(&mut conn, stored + rejected).await;
    let sums = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((sums.received, sums.stored, sums.rejected), (stored + rejected, stored, rejected));
    assert_eq!(ledger_holes(&mut conn).await, 0);
    let other: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM analytics.ingestion_batches WHERE kind <> 'live')
              + (SELECT count(*) FROM analytics.dead_letters WHERE NOT reasons[1] LIKE 'body: %')",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(other, 0, "no gap, nothing unread, and each rejected message has its reason");
    caught_up(&mut conn).await;

    // The last message that was read is recognised by another process.
    assert_eq!(service.terminate().await, Some(0));
    let _service = world.serve().await;
    caught_up(&mut conn).await;
    assert_eq!(LedgerSums::of_batches(&mut conn).await.received, stored + rejected);
}

#[tokio::test]
async fn the_brokers_records_at_the_end_are_no_message() {
    if !has_foreign_clients() {
        return;
    }
    let world = World::new(1).await.read_by(Protocol::Stream);
    let mut conn = world.connect().await;
    let _service = world.serve().await;
    caught_up(&mut conn).await;
    let report = world.publish(&["--events", "100", "--orgs", "4", "--models", "2"]).await;
    settled(&mut conn, sent(&report)).await;
    // More in a row than is taken for the broker's own by AMQP.
    world.produce("track", 0, &["1", "2", "3", "4"]).await;
    caught_up(&mut conn).await;
    let more = world.publish(&["--events", "100", "--orgs", "4", "--models", "2", "--seed", "2"]).await;
    settled(&mut conn, sent(&report) + sent(&more)).await;
    let kinds: i64 = sqlx::query_scalar("SELECT count(*) FROM analytics.ingestion_batches WHERE kind <> 'live'")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!((kinds, ledger_holes(&mut conn).await), (0, 0));
}

#[tokio::test]
async fn huge_messages_are_read_in_bounded_memory() {
    let mut world = World::new(1).await.read_by(Protocol::Stream);
    world.set("ANALYTICS__BROKER__READ_AHEAD_BYTES", "16777216");
    world.set("ANALYTICS__BATCH__MAX_BYTES", "1048576");
    let mut conn = world.connect().await;
    // 200 MiB, of which none is an event.
    world.send((0..100).map(|_| vec![b' '; 2 << 20])).await;
    let service = world.serve().await;
    let mut most = 0;
    eventually("all of it is rejected", async || {
        most = most.max(service.rss_bytes());
        (LedgerSums::of_batches(&mut conn).await.rejected == 100).then_some(())
    })
    .await;
    eprintln!("{} MiB at most", most >> 20);
    assert!(most < 200 << 20, "{} MiB", most >> 20);
}

#[tokio::test]
async fn what_was_damaged_on_its_way_is_read_again() {
    let mut world = World::new(1).await.read_by(Protocol::Stream);
    let proxy = world.proxy_broker();
    let mut conn = world.connect().await;
    let service = world.serve().await;
    world.send([b"before".to_vec()]).await;
    settled(&mut conn, 1).await;
    proxy.damage(b"damaged-1", 2);
    world.send([b"damaged-1".to_vec(), b"behind".to_vec()]).await;
    settled(&mut conn, 3).await;
    assert_eq!(service.generation("partition/0").await, 1, "it waited in place");

    // Where it is stored: it is never passed over.
    proxy.damage(b"damaged-2", usize::MAX);
    world.send([b"damaged-2".to_vec()]).await;
    let cause = service.parked("partition/0").await;
    assert!(cause.contains("cannot be read from offset 3 on") && cause.contains("chunk 3: the CRC"), "{cause}");
    assert_eq!(LedgerSums::of_batches(&mut conn).await.received, 3);
    proxy.damage(b"damaged-2", 0);
    service.restart("partition/0").await;
    settled(&mut conn, 4).await;
    assert_eq!(ledger_holes(&mut conn).await, 0);
}

#[tokio::test]
async fn what_amqp_left_out_is_read_by_a_replay() {
    if !has_foreign_clients() {
        return;
    }
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let before = world.publish(&["--events", "100", "--orgs", "4", "--models", "2", "--seed", "1"]).await;
    settled(&mut conn, sent(&before)).await;
    let at = sent(&before);
    produce(&world, "gzip", &Events(1).next(20)).await;
    let after = world.publish(&["--events", "100", "--orgs", "4", "--models", "2", "--seed", "2"]).await;
    settled(&mut conn, sent(&before) + sent(&after)).await;
    assert_eq!(service.terminate().await, Some(0));

    let world = world.read_by(Protocol::Stream);
    let service = world.serve().await;
    let (from, to) = (at.to_string(), (at + 20).to_string());
    let replay = world.report(&["replay", "--partition", "0", "--from", &from, "--to", &to]).await;
    assert_eq!((replay["state"].as_str(), replay["stored"].as_i64()), (Some("done"), Some(20)), "{replay}");
    world.report(&["partitions", "acknowledge", "--partition", "0", "--yes"]).await;
    assert!(world.run(&["verify"]).await.status.success());
    caught_up(&mut conn).await;
    drop(service);
}

#[tokio::test]
async fn a_refused_login_shows_no_secret() {
    let world = World::new(1).await.read_by(Protocol::Stream);
    let declared = world.publish(&["--events", "1", "--orgs", "1", "--models", "1"]).await;
    assert_eq!(sent(&declared), 1);
    let url = world.variables[world.reads_from()].clone();
    let (login, place) = url.split_once('@').unwrap();
    let (user, password) = login.rsplit_once(':').unwrap();
    for (wrong, words) in [
        (format!("{user}:opensesame@{place}"), "authentication failure"),
        (format!("{user}:{password}@{}", place.replace("%2f", "nowhere")), "virtual host access failure"),
    ] {
        let mut broker = world.settings.broker.clone();
        broker.stream_url = analytics_service::config::Secret::new(wrong);
        let streams = Streams::new(&broker);
        let error = Subscription::open(&streams, streams.opening(0, StartAt::First)).await.err().unwrap();
        assert!(!error.is_transient() && error.to_string().contains(words), "{error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("opensesame") && !shown.contains(password), "{shown}");
    }
}

#[tokio::test]
async fn streams_are_read_over_tls_with_a_certificate() {
    let mut world = World::new(1).await.read_by(Protocol::Stream);
    let url = world.variables[world.reads_from()].clone();
    let (login, place) = url.rsplit_once('@').unwrap();
    let front =
        TlsFront::demanding_a_certificate(place.split_once('/').unwrap().0.parse().unwrap(), "rabbitmq-stream").await;
    let login = login.replace("rabbitmq-stream://", "rabbitmq-stream+tls://");
    world.set(world.reads_from(), &format!("{login}@{}/%2f", front.address));
    let mut conn = world.connect().await;
    let certificate = front.certificate().display().to_string();
    let key = front.certificate().with_file_name("key.pem").display().to_string();
    world.set_all([
        ("ANALYTICS__BROKER__STREAM_CERTIFICATE_FILE".to_owned(), certificate.clone()),
        ("ANALYTICS__BROKER__STREAM_KEY_FILE".to_owned(), key),
    ]);
    world.routes.insert("SSL_CERT_FILE".to_owned(), certificate);
    let _service = world.serve().await;
    let report = world.publish(&["--events", "1000", "--orgs", "4", "--models", "2"]).await;
    settled(&mut conn, sent(&report)).await;
    caught_up(&mut conn).await;
}
