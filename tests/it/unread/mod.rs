//! What a consumer by AMQP cannot read: messages that the broker fails at, and batches that it leaves out. Written by real
//! clients of other protocols.

use analytics_service::{
    auth::Role,
    domain::supervision::{SupervisionEvent, SupervisionKind},
    store::{self, ingest::unread::Skip},
};
use reqwest::StatusCode;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    harness::{LedgerSums, Service, World, eventually, has_foreign_clients, ledger_holes, sent, settled},
    store_commit::{CommitFixture, body, event},
};

async fn publish(world: &World, events: &str, seed: &str) -> Value {
    world.publish(&["--events", events, "--orgs", "8", "--models", "2", "--seed", seed]).await
}

async fn next_offset(conn: &mut PgConnection, partition: i32) -> i64 {
    let offset = "SELECT next_offset FROM analytics.partition_offsets WHERE partition = $1";
    sqlx::query_scalar(offset).bind(partition).fetch_one(conn).await.unwrap()
}

/// Offsets that the ledger has as unread.
async fn unread(conn: &mut PgConnection) -> Vec<(i64, i64)> {
    let rows = "SELECT first_offset, next_offset FROM analytics.ingestion_batches WHERE kind = 'unread'
                ORDER BY partition, first_offset";
    sqlx::query_as(rows).fetch_all(conn).await.unwrap()
}

async fn component(service: &Service, name: &str) -> String {
    let (_, readiness) = service.readiness().await.unwrap();
    let components = readiness["components"].as_array().unwrap();
    let found = components.iter().find(|component| component["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {readiness}"))["state"].as_str().unwrap().to_owned()
}

/// What supervision recorded of that kind: the causes.
async fn noted(conn: &mut PgConnection, what: &str) -> Vec<String> {
    eventually(&format!("{what} is in the supervision log"), async || {
        let causes = "SELECT cause FROM analytics.supervision_events WHERE what = $1 ORDER BY event_id";
        let causes: Vec<String> = sqlx::query_scalar(causes).bind(what).fetch_all(&mut *conn).await.unwrap();
        (!causes.is_empty()).then_some(causes)
    })
    .await
}

#[tokio::test]
async fn a_moved_partition_is_not_skipped() {
    let mut fixture = CommitFixture::new(1).await;
    let (topology, incarnation) = (fixture.claim.topology.clone(), fixture.claim.incarnation);
    let batch = fixture.batch([body(&event(1, 1, fixture.claim.now))]);
    fixture.commit(&batch).await.unwrap();
    let note = SupervisionEvent {
        event_id: Uuid::now_v7(),
        occurred_at: fixture.claim.now,
        process: "test/1".to_owned(),
        actor: "partition/0".to_owned(),
        generation: 0,
        what: SupervisionKind::Skipped,
        cause: Some("offsets".to_owned()),
        next_attempt_at: None,
        by_whom: Some("ann".to_owned()),
    };
    let mut skip = async |from: i64| {
        let range = Skip { partition: 0, incarnation, from, to: 5, words: "no", by_whom: "ann" };
        store::ingest::unread::skip(
            &mut fixture.conn,
            &topology,
            range,
            SupervisionEvent { event_id: Uuid::now_v7(), ..note.clone() },
        )
        .await
        .unwrap()
    };
    assert!(!skip(0).await, "the partition is at 1 by now");
    assert!(skip(1).await);
    assert!(!skip(1).await, "and at 5 by now");
    let mut conn = fixture.world.connect().await;
    assert_eq!((unread(&mut conn).await, next_offset(&mut conn, 0).await), (vec![(1, 5)], 5));
    assert_eq!((noted(&mut conn, "skipped").await.len(), ledger_holes(&mut conn).await), (1, 0));
}

#[tokio::test]
async fn an_unreadable_message_parks_its_partition_alone() {
    if !has_foreign_clients() {
        return;
    }
    let world = World::new(2).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let before = publish(&world, "600", "1").await;
    settled(&mut conn, sent(&before)).await;
    let at = next_offset(&mut conn, 0).await;
    let beside = next_offset(&mut conn, 1).await;
    // One chunk: a message that can be read, raw bytes, and again one that can.
    world.produce("mixed", 0, &["{}", "raw", "{}"]).await;
    let cause = service.parked("partition/0").await;
    assert!(cause.contains(&format!("offset {} cannot be read", at + 1)), "{cause}");
    assert!(cause.contains("INTERNAL_ERROR") && cause.contains("partitions skip --partition 0"), "{cause}");
    assert_eq!(next_offset(&mut conn, 0).await, at + 1, "what is before it in its chunk is read");
    assert_eq!(component(&service, "partition/0").await, "down");
    assert_eq!(component(&service, "broker").await, "up");
    assert!(noted(&mut conn, "parked").await[0].contains(&format!("offset {}", at + 1)));

    let more = publish(&world, "600", "2").await;
    eventually("the other partition reads on", async || (next_offset(&mut conn, 1).await > beside).then_some(())).await;
    assert_eq!(component(&service, "partition/1").await, "up");

    let skip = ["partitions", "skip", "--partition", "0"];
    let dry = world.report(&[&skip[..], &["--dry-run"]].concat()).await;
    assert_eq!((dry["from"].as_i64(), dry["to"].as_i64()), (Some(at + 1), Some(at + 2)));
    assert_eq!(next_offset(&mut conn, 0).await, at + 1, "a dry run changes nothing");
    world.report(&[&skip[..], &["--yes"]].concat()).await;
    settled(&mut conn, sent(&before) + sent(&more) + 2).await;
    assert_eq!(unread(&mut conn).await, [(at + 1, at + 2)]);
    assert_eq!(ledger_holes(&mut conn).await, 0);
    let sums = LedgerSums::of_batches(&mut conn).await;
    assert_eq!(sums.received, sent(&before) + sent(&more) + 2);
    assert_eq!(sums.rejected, 2, "the messages around it were read");
    assert!(noted(&mut conn, "skipped").await[0].contains(&format!("offsets {0} to {0}", at + 1)));
    let act: (String, String) =
        sqlx::query_as("SELECT subject, detail FROM analytics.audit_events WHERE action = 'partition.skip'")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert!(act.0.starts_with("command-line/") && act.1.contains(&(at + 1).to_string()), "{act:?}");
    let again = world.run(&[&skip[..], &["--yes"]].concat()).await;
    assert_eq!(again.status.code(), Some(1), "there is nothing to pass over any more");
    assert!(world.run(&["verify"]).await.status.success(), "an operator knows of it");
}

#[tokio::test]
async fn exactly_the_unreadable_range_is_passed_over() {
    if !has_foreign_clients() {
        return;
    }
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let before = publish(&world, "300", "1").await;
    settled(&mut conn, sent(&before)).await;
    let at = next_offset(&mut conn, 0).await;
    world.produce("uuid", 0, &["{}", "{}", "{}"]).await;
    world.produce("raw", 0, &["a", "b"]).await;
    let after = publish(&world, "300", "2").await;
    service.parked("partition/0").await;
    // What is still to come must not be passed over.
    let far = world.run(&["partitions", "skip", "--partition", "0", "--to", "1000000", "--yes"]).await;
    let error = String::from_utf8_lossy(&far.stderr).into_owned();
    assert_eq!(far.status.code(), Some(1), "{error}");
    assert!(error.contains("--to 1000000 lies behind the stream's end"), "{error}");
    assert_eq!(next_offset(&mut conn, 0).await, at);
    let skipped = world.report(&["partitions", "skip", "--partition", "0", "--yes"]).await;
    assert_eq!((skipped["from"].as_i64(), skipped["to"].as_i64()), (Some(at), Some(at + 5)));
    settled(&mut conn, sent(&before) + sent(&after)).await;
    assert_eq!(unread(&mut conn).await, [(at, at + 5)]);
    assert_eq!(ledger_holes(&mut conn).await, 0);
    assert_eq!(LedgerSums::of_batches(&mut conn).await.received, sent(&before) + sent(&after));

    // A range with them in it fails by the offset, and the next range has its turn.
    let (end, behind) = ((at + 100).to_string(), (at + 5).to_string());
    let replay = world.run(&["replay", "--partition", "0", "--from", "0", "--to", &end]).await;
    let error = String::from_utf8_lossy(&replay.stderr).into_owned();
    assert_eq!(replay.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("offset {at} cannot be read")), "{error}");
    let next = world.report(&["replay", "--partition", "0", "--from", &behind, "--to", &end]).await;
    assert_eq!((next["state"].as_str(), next["received"].as_i64()), (Some("done"), Some(95)));
    drop(service);
}

#[tokio::test]
async fn a_replay_that_waits_is_cancelled() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let report = publish(&world, "300", "1").await;
    settled(&mut conn, sent(&report)).await;
    assert_eq!(service.terminate().await, Some(0));
    let asked = ["replay", "--partition", "0", "--from", "0", "--to", "300", "--no-wait"];
    let (first, second) = (world.report(&asked).await, world.report(&asked).await);
    let id = first["replayId"].as_str().unwrap();
    let cancelled = world.report(&["replay", "--cancel", id]).await;
    assert_eq!(cancelled["state"], "failed");
    assert!(cancelled["error"].as_str().unwrap().starts_with("cancelled by command-line/"), "{cancelled}");
    let service = world.serve().await;
    let state = "SELECT state, received FROM analytics.replays WHERE replay_id = $1";
    let of = async |conn: &mut PgConnection, id: &Value| -> (String, i64) {
        let id: Uuid = id.as_str().unwrap().parse().unwrap();
        sqlx::query_as(state).bind(id).fetch_one(conn).await.unwrap()
    };
    eventually("the other replay is done", async || {
        (of(&mut conn, &second["replayId"]).await == ("done".to_owned(), 300)).then_some(())
    })
    .await;
    assert_eq!(of(&mut conn, &first["replayId"]).await, ("failed".to_owned(), 0));
    let done = second["replayId"].as_str().unwrap();
    assert_eq!(world.run(&["replay", "--cancel", done]).await.status.code(), Some(1));
    drop(service);
}

#[tokio::test]
async fn compressed_batches_are_unread_until_acknowledged() {
    if !has_foreign_clients() {
        return;
    }
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let before = publish(&world, "1000", "1").await;
    settled(&mut conn, sent(&before)).await;
    let at = next_offset(&mut conn, 0).await;
    let written: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut conn).await.unwrap();
    world.produce("gzip", 0, &["{}"; 20]).await;

    // At the end of the stream nothing shows it but the last chunk: what cannot be read is not taken for quiet.
    let cause = noted(&mut conn, "unread").await.remove(0);
    assert!(cause.contains(&format!("from offset {at} on")), "{cause}");
    eventually("the watermark stands still", async || {
        let lag =
            "SELECT extract(epoch FROM clock_timestamp() - watermark)::float8 FROM analytics.partition_watermarks";
        let lag: f64 = sqlx::query_scalar(lag).fetch_one(&mut conn).await.unwrap();
        (lag > 5.0).then_some(())
    })
    .await;

    // A message follows: now the ledger has it, and no total is called complete past it.
    let after = publish(&world, "200", "2").await;
    settled(&mut conn, sent(&before) + sent(&after)).await;
    assert_eq!(unread(&mut conn).await, [(at, at + 20)]);
    assert_eq!(ledger_holes(&mut conn).await, 0);
    let metrics = service.metrics().await;
    assert!(metrics.contains(r#"analytics_stream_unread_total{partition="0"} 20"#), "{metrics}");
    let org: Uuid = before["orgs"][0]["orgId"].as_str().unwrap().parse().unwrap();
    let token = service.token(&[org], &[Role::OrgViewer]);
    let path = format!("/analytics/v1/orgs/{org}/ledger?start=2026-01-01T00:00:00Z&end=2026-01-02T00:00:00Z");
    let (status, ledger) = service.get(&path, &token).await;
    assert_eq!(status, StatusCode::OK, "{ledger}");
    assert!(ledger["unreadSince"].is_string(), "{ledger}");
    let as_of = |answer: &Value| -> chrono::DateTime<chrono::Utc> { answer["asOf"].as_str().unwrap().parse().unwrap() };
    assert!(as_of(&ledger) <= written, "{ledger}");
    let verify = world.run(&["verify"]).await;
    assert_eq!(verify.status.code(), Some(3));
    let found = String::from_utf8_lossy(&verify.stdout).into_owned();
    assert!(found.contains(&format!("offsets {at} to {} were not read", at + 19)), "{found}");

    let listed = world.report(&["partitions", "unread"]).await;
    assert_eq!(listed["unread"][0]["firstOffset"].as_i64(), Some(at));
    world.report(&["partitions", "acknowledge", "--partition", "0", "--yes"]).await;
    assert!(world.run(&["verify"]).await.status.success());
    eventually("answers are complete past it", async || {
        let (_, ledger) = service.get(&path, &token).await;
        (ledger.get("unreadSince").is_none() && as_of(&ledger) > written).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_brokers_own_records_are_no_loss() {
    if !has_foreign_clients() {
        return;
    }
    let mut world = World::new(1).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let before = publish(&world, "100", "1").await;
    settled(&mut conn, sent(&before)).await;
    let at = next_offset(&mut conn, 0).await;
    // A consumer of the stream protocol stores an offset: the broker spends one on it.
    world.produce("track", 0, &["1"]).await;
    let after = publish(&world, "100", "2").await;
    settled(&mut conn, sent(&before) + sent(&after)).await;
    assert_eq!(next_offset(&mut conn, 0).await, at + 101, "one offset has no message");
    assert_eq!(unread(&mut conn).await, []);
    assert_eq!(service.terminate().await, Some(0));

    // Several in a row look like a compressed batch, unless the deployment knows better.
    world.set("ANALYTICS__BROKER__OWN_RECORDS", "4");
    let service = world.serve().await;
    world.produce("track", 0, &["1", "2", "3", "4"]).await;
    let more = publish(&world, "100", "3").await;
    settled(&mut conn, sent(&before) + sent(&after) + sent(&more)).await;
    let own = next_offset(&mut conn, 0).await - (at + 201);
    assert!((2..=4).contains(&own), "{own} offsets have no message");
    assert_eq!(unread(&mut conn).await, []);
    assert_eq!(LedgerSums::of_batches(&mut conn).await.stored, 300);
    drop(service);
}
