//! Raw events that were lost by hand, read again: put back where the ledger counts them, and counted once.

mod batches;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    harness::{
        LedgerSums, Totals, World, assert_exact, assert_totals, double_counted, eventually, ledger_holes, number, sent,
        settled,
    },
    store_commit::{body, event},
};

const LOAD: [&str; 10] =
    ["--orgs", "12", "--models", "3", "--duplicates", "0.03", "--late", "0.02", "--invalid", "0.01"];

/// Has offsets [from, to) read again and gives the report.
async fn replay(world: &World, from: i64, to: i64) -> Value {
    let (from, to) = (from.to_string(), to.to_string());
    world.report(&["replay", "--partition", "0", "--from", &from, "--to", &to]).await
}

/// Deletes raw events as only the owner may, and gives their number.
async fn lose(world: &World, which: &str) -> i64 {
    let delete = format!("DELETE FROM analytics.usage_events WHERE {which}");
    let lost = sqlx::query(AssertSqlSafe(delete)).execute(&mut world.connect_as_owner().await).await.unwrap();
    i64::try_from(lost.rows_affected()).unwrap()
}

/// Batches of which raw events hold another number than the ledger says.
async fn unequal_batches(conn: &mut PgConnection) -> i64 {
    number(
        conn,
        "SELECT count(*) FROM analytics.ingestion_batches b
         FULL JOIN (SELECT batch_id, count(*) AS n FROM analytics.usage_events GROUP BY batch_id) r USING (batch_id)
         WHERE b.kind IS DISTINCT FROM 'repair' AND coalesce(b.stored - b.purged, 0) <> coalesce(r.n, 0)",
    )
    .await
}

/// Rows of kind repair, and events that they name.
async fn repairs(conn: &mut PgConnection) -> (i64, i64) {
    sqlx::query_as(
        "SELECT count(*), coalesce(sum(received), 0)::bigint FROM analytics.ingestion_batches
         WHERE kind = 'repair' AND received = stored",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}

/// Everything is what was published; the ledger has counted `again` messages more as duplicates or rejected.
async fn assert_mended(conn: &mut PgConnection, report: &Value, before: LedgerSums, again: i64) {
    settled(conn, before.received + again).await;
    assert_totals(conn, &Totals::published(report)).await;
    let ledger = LedgerSums::of_batches(conn).await;
    assert_eq!(ledger, LedgerSums::of_hours(conn).await);
    assert_eq!((ledger.received, ledger.stored, ledger.late), (before.received + again, before.stored, before.late));
    assert_eq!((ledger_holes(conn).await, double_counted(conn).await, unequal_batches(conn).await), (0, 0, 0));
}

#[tokio::test]
async fn lost_rows_are_restored_in_place() {
    let mut world = World::new(1).await;
    // Less than the live batches hold: these are read again as wholes all the same.
    world.set("ANALYTICS__BROKER__PREFETCH", "1000");
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let report = world.publish(&[&["--events", "8000"], &LOAD[..]].concat()).await;
    let n = sent(&report);
    settled(&mut conn, n).await;
    let before = assert_exact(&mut conn, &report).await;
    assert_eq!(service.terminate().await, Some(0));
    world.set("ANALYTICS__BROKER__PREFETCH", "100");
    let world = world;
    let _service = world.serve().await;
    let lost = lose(&world, "hashtext(event_id::text) % 7 = 0").await;
    assert!(lost > 0 && unequal_batches(&mut conn).await > 0);

    let repaired = replay(&world, 0, n).await;
    let counted = (&repaired["received"], &repaired["stored"], &repaired["repaired"]);
    assert_eq!(counted, (&json!(n), &json!(0), &json!(lost)), "{repaired}");
    assert_mended(&mut conn, &report, before, n).await;
    let (rows, events) = repairs(&mut conn).await;
    let replayed = number(&mut conn, "SELECT count(*) FROM analytics.ingestion_batches WHERE kind = 'replay'").await;
    assert!(events == lost && 0 < rows && rows <= replayed, "{rows} rows of {events} events, {replayed} batches");

    // Once more: there is nothing left to do.
    assert_eq!(replay(&world, 0, n).await["repaired"], 0);
    assert_mended(&mut conn, &report, before, 2 * n).await;
    assert_eq!(repairs(&mut conn).await, (rows, lost));
}

#[tokio::test]
async fn purged_rows_stay_away() {
    let world = World::new(1).await;
    let _service = world.serve().await;
    let mut conn = world.connect().await;
    let report = world.publish(&[&["--events", "3000"], &LOAD[..]].concat()).await;
    let n = sent(&report);
    settled(&mut conn, n).await;
    // As an erasure does it.
    let org = report["orgs"][0]["orgId"].as_str().unwrap();
    let mut owner = world.connect_as_owner().await;
    let counted = format!(
        "UPDATE analytics.ingestion_batches b SET purged = b.purged + gone.n
         FROM (SELECT batch_id, count(*) AS n FROM analytics.usage_events WHERE org_id = '{org}' GROUP BY batch_id) gone
         WHERE b.batch_id = gone.batch_id"
    );
    sqlx::query(AssertSqlSafe(counted)).execute(&mut owner).await.unwrap();
    let erased = lose(&world, &format!("org_id = '{org}'")).await;
    assert!(erased > 0);
    let before = Totals::raw(&mut conn).await;
    let repaired = replay(&world, 0, n).await;
    assert_eq!((&repaired["stored"], &repaired["repaired"]), (&json!(0), &json!(0)), "{repaired}");
    assert_eq!(Totals::raw(&mut conn).await, before);
    // What lies behind the floor is not brought back by anything.
    lose(&world, "true").await;
    let floor = "INSERT INTO analytics.raw_horizons (org_id, raw_from) VALUES (NULL, '2100-01-01')";
    sqlx::query(floor).execute(&mut owner).await.unwrap();
    let repaired = replay(&world, 0, n).await;
    assert_eq!((&repaired["stored"], &repaired["repaired"]), (&json!(0), &json!(0)), "{repaired}");
    settled(&mut conn, 3 * n).await;
    assert_eq!(Totals::rolled_up(&mut conn, "hourly_rollups").await, Totals::published(&report));
    assert_eq!(repairs(&mut conn).await, (0, 0));
}

#[tokio::test]
async fn a_rejected_message_is_new_to_one_replay() {
    let world = World::new(1).await;
    let mut owner = world.connect_as_owner().await;
    let constraint = "ALTER TABLE analytics.usage_events ADD CONSTRAINT no_77 CHECK (latency_ms <> 77)";
    sqlx::query(constraint).execute(&mut owner).await.unwrap();
    let service = world.serve().await;
    let now = chrono::Utc::now();
    let events = (0..40).map(|id| {
        let mut one = event(1, id, now);
        one.latency_ms = if id < 3 { 77 } else { 12 };
        body(&one)
    });
    world.send(events).await;
    settled(&mut owner, 40).await;
    assert_eq!(number(&mut owner, "SELECT count(*) FROM analytics.dead_letters").await, 3);
    sqlx::query("ALTER TABLE analytics.usage_events DROP CONSTRAINT no_77").execute(&mut owner).await.unwrap();

    let stored = replay(&world, 0, 40).await;
    assert_eq!((&stored["stored"], &stored["repaired"]), (&json!(3), &json!(0)), "{stored}");
    settled(&mut owner, 80).await;
    // Lost since: of the replay's own, and of the live ones.
    assert_eq!(lose(&world, "latency_ms = 77 OR event_id::text LIKE '%9'").await, 5);
    let repaired = replay(&world, 0, 40).await;
    assert_eq!((&repaired["stored"], &repaired["repaired"]), (&json!(0), &json!(5)), "{repaired}");
    settled(&mut owner, 120).await;
    let raw = Totals::raw(&mut owner).await;
    assert_eq!(raw.values().next().unwrap().invocations, 40);
    assert_eq!(Totals::rolled_up(&mut owner, "hourly_rollups").await, raw);
    assert_eq!(unequal_batches(&mut owner).await, 0);
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn a_killed_repair_restores_everything_once() {
    let mut world = World::new(1).await;
    world.set("ANALYTICS__BROKER__PREFETCH", "100");
    let world = world;
    let mut service = world.serve().await;
    let mut conn = world.connect().await;
    let report = world.publish(&[&["--events", "10000"], &LOAD[..]].concat()).await;
    let n = sent(&report);
    settled(&mut conn, n).await;
    let before = assert_exact(&mut conn, &report).await;
    let lost = lose(&world, "hashtext(event_id::text) % 3 = 0").await;
    let ask = ["replay", "--partition", "0", "--from", "0", "--to", &n.to_string(), "--no-wait"];
    assert!(world.run(&ask).await.status.success());
    for part in 1..4 {
        eventually("a part of it is repaired", async || {
            let repaired = number(&mut conn, "SELECT repaired FROM analytics.replays").await;
            (repaired > lost * part / 5).then_some(())
        })
        .await;
        service.kill();
        service = world.serve().await;
    }
    eventually("the replay is done", async || {
        (number(&mut conn, "SELECT count(*) FROM analytics.replays WHERE state = 'done'").await == 1).then_some(())
    })
    .await;
    assert_mended(&mut conn, &report, before, n).await;
    assert_eq!(number(&mut conn, "SELECT repaired FROM analytics.replays").await, lost);
    assert_eq!(repairs(&mut conn).await.1, lost);
    assert_eq!(service.terminate().await, Some(0));
}
