//! Reading again: partitions in a new incarnation, and ranges of one.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{answer, run, run_with, until_running};
use crate::{
    by_each_protocol::by_each_protocol,
    harness::{
        LedgerSums, Protocol, Service, Totals, World, assert_exact, assert_totals, double_counted, eventually,
        ledger_holes, number, sent, settled,
    },
};

by_each_protocol![
    reading_again_changes_no_total,
    a_time_is_found_in_the_stream,
    replays_under_load_store_nothing_twice,
    dropped_messages_are_not_replayed,
];

/// Partition 0 as `partitions list` has it.
async fn partition(world: &World, service: &Service) -> Value {
    answer(world, service, &["partitions", "list", "--json"]).await["partitions"][0].clone()
}

async fn until_at(world: &World, service: &Service, incarnation: i64, offset: i64) {
    eventually("the partition has come to its end", async || {
        let partition = partition(world, service).await;
        (partition["incarnation"] == incarnation && partition["nextOffset"] == offset).then_some(())
    })
    .await;
}

async fn reset(world: &World, service: &Service, to: &str) -> Value {
    answer(world, service, &["partitions", "reset", "--partition", "0", "--to", to, "--yes", "--json"]).await
}

/// Ranges of a partition's gaps in an incarnation.
async fn gaps(conn: &mut PgConnection, incarnation: i32) -> Vec<(i64, i64)> {
    sqlx::query_as(
        "SELECT first_offset, next_offset FROM analytics.ingestion_batches WHERE kind = 'gap' AND incarnation = $1",
    )
    .bind(incarnation)
    .fetch_all(conn)
    .await
    .unwrap()
}

async fn reading_again_changes_no_total(by: Protocol) {
    let world = World::new(1).await.read_by(by);
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = ["--events", "6000", "--orgs", "20", "--models", "4", "--late", "0.01", "--invalid", "0.01"];
    let report = world.publish(&load).await;
    let n = sent(&report);
    settled(&mut conn, n).await;
    let before = assert_exact(&mut conn, &report).await;
    let (code, table, _) = run(&world, &service, &["partitions", "list"]).await;
    assert!(code == Some(0) && table.contains(&n.to_string()) && table.contains("yes"), "{table}");

    // Everything, on a running service.
    let done = reset(&world, &service, "first").await;
    let stream = &world.settings.broker.stream;
    assert_eq!(done, json!({"partition": 0, "stream": stream, "incarnation": 2, "from": n, "to": 0}));
    until_at(&world, &service, 2, n).await;
    settled(&mut conn, 2 * n).await;
    let exact = async |conn: &mut PgConnection| {
        assert_totals(conn, &Totals::published(&report)).await;
        assert_eq!((ledger_holes(conn).await, double_counted(conn).await), (0, 0));
        let batches = LedgerSums::of_batches(conn).await;
        assert_eq!(batches, LedgerSums::of_hours(conn).await);
        batches
    };
    let again = exact(&mut conn).await;
    assert_eq!((again.stored, again.late, again.rejected), (before.stored, before.late, 2 * before.rejected));
    assert_eq!(again.duplicates, before.duplicates + n - before.rejected);
    let log = eventually("the log has it", async || {
        let (_, log, _) = run(&world, &service, &["actors", "log", "--actor", "partition/0"]).await;
        log.contains("reset").then_some(log)
    })
    .await;
    let words = format!("from offset {n} to 0, as incarnation 2, by command-line/ann");
    assert!(log.lines().any(|line| line.contains(&words)), "{log}");

    // From the middle: what lies before is a gap.
    assert_eq!(reset(&world, &service, "5000").await["to"], 5000);
    until_at(&world, &service, 3, n).await;
    settled(&mut conn, 3 * n - 5000).await;
    assert_eq!(exact(&mut conn).await.received, 3 * n - 5000);
    assert_eq!(gaps(&mut conn, 3).await, [(0, 5000)]);
    assert_eq!(gaps(&mut conn, 2).await, []);

    // From a time on which nothing was published: behind the last message.
    assert_eq!(reset(&world, &service, "2100-01-01T00:00:00Z").await["to"], n);
    until_at(&world, &service, 4, n).await;
    until_running(&world, &service, 4).await;
    let more = world.publish(&["--events", "100", "--orgs", "5", "--models", "2"]).await;
    settled(&mut conn, 3 * n - 5000 + sent(&more)).await;
    assert_eq!((ledger_holes(&mut conn).await, double_counted(&mut conn).await), (0, 0));
    assert_eq!(gaps(&mut conn, 4).await, [(0, n)]);
    assert_eq!(service.terminate().await, Some(0));
}

async fn a_time_is_found_in_the_stream(by: Protocol) {
    let world = World::new(1).await.read_by(by);
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = ["--events", "1000", "--orgs", "5", "--models", "2"];
    let first = sent(&world.publish(&load).await);
    // The broker's times are whole seconds: the time requested is of a later second than the first messages, and of an earlier one
    // than the others.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let between = chrono::Utc::now().to_rfc3339();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let n = first + sent(&world.publish(&load).await);
    settled(&mut conn, n).await;
    assert_eq!(reset(&world, &service, &between).await["to"], first);
    until_at(&world, &service, 2, n).await;
    assert_eq!(reset(&world, &service, "2000-01-01T00:00:00Z").await["to"], 0);
    until_at(&world, &service, 3, n).await;

    let behind = (n + 1).to_string();
    for (args, code, words) in [
        (vec!["--partition", "0", "--to", "-1", "--yes"], 2, "--to"),
        (vec!["--partition", "0", "--to", "soon", "--yes"], 2, "--to"),
        (vec!["--partition", "0", "--to", &behind, "--yes"], 1, "--to"),
        (vec!["--partition", "7", "--to", "first", "--yes"], 1, "--partition 7"),
        (vec!["--partition", "x", "--to", "first", "--yes"], 2, "--partition"),
        (vec!["--partition", "0", "--to", "first"], 2, "--yes"),
    ] {
        let (found, _, error) = run(&world, &service, &[&["partitions", "reset"], &args[..]].concat()).await;
        assert!(found == Some(code) && error.contains(words), "{args:?}: {found:?} {error}");
    }
    assert_eq!(partition(&world, &service).await["incarnation"], 3, "nothing of it was done");
}

async fn replays_under_load_store_nothing_twice(by: Protocol) {
    let world = World::new(1).await.read_by(by);
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = |events: &'static str| ["--events", events, "--orgs", "20", "--models", "4", "--duplicates", "0.02"];
    let first = world.publish(&load("8000")).await;
    settled(&mut conn, sent(&first)).await;
    let replay = ["replay", "--json", "--partition", "0", "--from", "0", "--to", "5000"];
    let loading = [&load("12000")[..], &["--rate", "3000", "--seed", "7"]].concat();
    let (second, report) = tokio::join!(world.publish(&loading), answer(&world, &service, &replay));
    let ranged = (&report["state"], &report["from"], &report["to"], &report["nextOffset"]);
    assert_eq!(ranged, (&json!("done"), &json!(0), &json!(5000), &json!(5000)), "{report}");
    let counted = (&report["received"], &report["stored"], &report["duplicates"]);
    assert_eq!(counted, (&json!(5000), &json!(0), &json!(5000)), "{report}");

    let live = sent(&first) + sent(&second);
    settled(&mut conn, live + 5000).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!(ledger, LedgerSums::of_hours(&mut conn).await);
    let stored = first["events"].as_i64().unwrap() + second["events"].as_i64().unwrap();
    assert_eq!((ledger.received, ledger.stored), (live + 5000, stored));
    let raw = Totals::raw(&mut conn).await;
    assert_eq!(raw.values().map(|totals| totals.invocations).sum::<i64>(), stored);
    assert_totals(&mut conn, &raw).await;
    assert_eq!((ledger_holes(&mut conn).await, double_counted(&mut conn).await), (0, 0));
    let replayed = number(
        &mut conn,
        "SELECT sum(received)::bigint FROM analytics.ingestion_batches WHERE kind = 'replay' AND next_offset <= 5000",
    )
    .await;
    assert_eq!(replayed, 5000);
    let now = partition(&world, &service).await;
    assert_eq!((&now["nextOffset"], &now["incarnation"]), (&json!(live), &json!(1)), "the live offset is untouched");

    // What was not read yet is left to the live pipeline.
    let (from, to) = ((live - 10).to_string(), (live + 1000).to_string());
    let cut = answer(&world, &service, &["replay", "--json", "--partition", "0", "--from", &from, "--to", &to]).await;
    assert_eq!((&cut["to"], &cut["received"]), (&json!(live), &json!(10)), "{cut}");
    for (args, code, words) in [
        (vec!["--partition", "0", "--from", &to, "--to", "100000000"], 1, "--from"),
        (vec!["--partition", "0", "--from", "5", "--to", "5"], 2, "--to 5 must be behind --from 5"),
        (vec!["--partition", "0", "--from", "-5", "--to", "5"], 2, "--from"),
        (vec!["--partition", "9", "--from", "0", "--to", "5"], 1, "--partition 9"),
    ] {
        let (found, _, error) = run(&world, &service, &[&["replay"], &args[..]].concat()).await;
        assert!(found == Some(code) && error.contains(words), "{args:?}: {found:?} {error}");
    }
}

#[tokio::test]
async fn a_running_replay_is_cancelled() {
    let mut world = World::new(1).await;
    // Many small batches: it is under way for a while.
    world.set("ANALYTICS__BROKER__PREFETCH", "100");
    let world = world;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let n = sent(&world.publish(&["--events", "40000", "--orgs", "5", "--models", "2"]).await);
    settled(&mut conn, n).await;
    let end = n.to_string();
    let replay = ["replay", "--json", "--partition", "0", "--from", "0", "--to", &end, "--no-wait"];
    let first = answer(&world, &service, &replay).await;
    let id = first["replayId"].as_str().unwrap();
    let row = async |conn: &mut PgConnection, id: &Value| -> (String, i64) {
        let id: uuid::Uuid = id.as_str().unwrap().parse().unwrap();
        let row = "SELECT state, received FROM analytics.replays WHERE replay_id = $1";
        sqlx::query_as(row).bind(id).fetch_one(conn).await.unwrap()
    };
    eventually("it reads", async || (row(&mut conn, &first["replayId"]).await.1 > 0).then_some(())).await;
    let cancelled = answer(&world, &service, &["replay", "--cancel", id, "--json"]).await;
    assert_eq!(cancelled["state"], "failed");
    assert_eq!(cancelled["error"], "cancelled by command-line/ann");
    // The next one has its turn, and the first reads no more.
    let from = (n - 100).to_string();
    let next = ["replay", "--json", "--partition", "0", "--from", &from, "--to", &end];
    assert_eq!(answer(&world, &service, &next).await["received"], 100);
    let (state, received) = row(&mut conn, &first["replayId"]).await;
    assert!(state == "failed" && received < n, "{state}: {received} of {n}");
    settled(&mut conn, n + received + 100).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((ledger.stored, ledger.duplicates), (n, received + 100), "what it has read stays in the ledger");
    assert_eq!((ledger_holes(&mut conn).await, double_counted(&mut conn).await), (0, 0));
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn a_replay_stores_skipped_messages() {
    let mut world = World::new(1).await;
    // Less than a batch: the broker sends no more until it is acknowledged.
    world.set("ANALYTICS__BROKER__PREFETCH", "100");
    let world = world;
    let service = world.serve().await;
    until_running(&world, &service, 1).await;
    assert_eq!(service.terminate().await, Some(0));
    let mut conn = world.connect().await;
    let report = world.publish(&["--events", "3000", "--orgs", "10", "--models", "3"]).await;
    let offline = async |args: &[&str]| run_with(&world, None, &[], args).await;
    let skip = ["partitions", "reset", "--partition", "0", "--to", "2000", "--yes"];
    let (code, _, error) = offline(&skip).await;
    assert!(code == Some(0) && error.contains("no process works on the partition"), "{error}");
    let mut service = world.serve().await;
    settled(&mut conn, 1000).await;
    assert_eq!(LedgerSums::of_batches(&mut conn).await.stored, 1000);
    let replay = ["replay", "--json", "--partition", "0", "--from", "0", "--to", "2000"];
    let stored = answer(&world, &service, &replay).await;
    assert_eq!((&stored["stored"], &stored["duplicates"]), (&json!(2000), &json!(0)), "{stored}");
    settled(&mut conn, 3000).await;
    assert_exact(&mut conn, &report).await;

    // Requested while nobody is there, and overtaken by a new incarnation.
    assert_eq!(service.terminate().await, Some(0));
    let (code, _, error) = offline(&[&replay[..], &["--no-wait"]].concat()).await;
    assert!(code == Some(0) && error.contains("waits for a running service"), "{error}");
    let waiting = async {
        let (code, out, error) = offline(&replay).await;
        assert!(code == Some(1) && error.contains("is in incarnation 3 now"), "{error}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let overtaking = async {
        eventually("both are requested", async || {
            let open = "SELECT count(*) FROM analytics.replays WHERE state = 'open'";
            (number(&mut conn, open).await == 2).then_some(())
        })
        .await;
        assert_eq!(offline(&["partitions", "reset", "--partition", "0", "--to", "first", "--yes"]).await.0, Some(0));
        world.serve().await
    };
    let (failed, started) = tokio::join!(waiting, overtaking);
    service = started;
    assert_eq!((&failed["state"], &failed["received"]), (&json!("failed"), &json!(0)), "{failed}");
    until_at(&world, &service, 3, 3000).await;
    settled(&mut conn, 6000).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((ledger.stored, ledger.duplicates), (3000, 3000));
}

async fn dropped_messages_are_not_replayed(by: Protocol) {
    let mut world = World::new(1).await.read_by(by);
    // Four segments of the smallest size, of which the broker keeps three at least.
    world.set("ANALYTICS__BROKER__STREAM_MAX_BYTES", "4000000");
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let mut n = 0;
    for _ in 0..10 {
        // About 1.1 MB, less than the stream keeps, so that nothing is dropped before it is read.
        n += sent(&world.publish(&["--events", "2000", "--orgs", "5", "--models", "2"]).await);
        settled(&mut conn, n).await;
    }
    let replay = ["replay", "--json", "--partition", "0", "--from", "0", "--to", "100"];
    let (code, out, error) = run(&world, &service, &replay).await;
    assert!(code == Some(1) && error.contains("the stream begins at offset"), "{error}");
    let failed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&failed["state"], &failed["received"]), (&json!("failed"), &json!(0)));

    let (code, _, error) =
        run(&world, &service, &["partitions", "reset", "--partition", "0", "--to", "0", "--yes"]).await;
    assert!(code == Some(1) && error.contains("--to 0 is not in the stream"), "{error}");
    // Not the number of messages: the broker's own records in the stream have offsets too.
    let end = partition(&world, &service).await["nextOffset"].as_i64().unwrap();
    let first = reset(&world, &service, "first").await["to"].as_i64().unwrap();
    assert!(0 < first && first < end);
    until_at(&world, &service, 2, end).await;
    assert_eq!(gaps(&mut conn, 2).await, [(0, first)]);
    assert_eq!(ledger_holes(&mut conn).await, 0);
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((ledger.stored, ledger.duplicates), (n, ledger.received - n));
}
