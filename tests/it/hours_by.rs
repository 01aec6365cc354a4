//! Hours that are summed by client and by error code: a response is the same as of raw events alone, whatever changed since they
//! were summed.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::{
    engines::to_continuous,
    harness::{World, number, settled},
    org_hours::{self, Asking, ORG, OTHER, every_few_minutes},
};

const PERSON: Uuid = Uuid::from_u128(0xF);
const MODELS: u32 = 3;
/// Days of a zone that begins within an hour of UTC among them.
const QUESTIONS: [&str; 5] = [
    "granularity=hour&groupBy=client&percentile=p95",
    "granularity=hour&groupBy=errorCode",
    "granularity=day&groupBy=client",
    "granularity=day&groupBy=client&timezone=Asia/Kolkata",
    "granularity=day&groupBy=errorCode&timezone=Europe/Berlin&percentile=p99",
];

/// An event with a client and an error code, of which some have none. A person has a client of its own.
fn event(id: u128, n: u32, occurred_at: DateTime<Utc>) -> Value {
    let mut event = org_hours::event(id, n, n % MODELS, occurred_at);
    match n % 7 {
        0 => {}
        1 => (event["clientId"], event["actorId"]) = (json!("of-one-person"), json!(PERSON)),
        k => event["clientId"] = json!(format!("client-{k}")),
    }
    if n % 5 > 1 && !n.is_multiple_of(4) {
        event["errorCode"] = json!(format!("code-{}", n % 6));
    }
    event
}

fn events(first: u128, count: u32, from: TimeDelta, to: TimeDelta) -> Vec<Vec<u8>> {
    every_few_minutes(count, from, to, |n, at| event(first + u128::from(n), n, at))
}

async fn one(asking: &Asking<'_>, question: &str) -> Value {
    let response = asking.one(&format!("reliability?{question}")).await;
    json!([response["series"], response["totals"], response["highlight"]])
}

/// The responses, each the same as that of raw events alone: sums have no models.
async fn all(asking: &Asking<'_>) -> Vec<Value> {
    let models: String = (0..MODELS).map(|model| format!("&modelId={}", Uuid::from_u128(model.into()))).collect();
    let mut responses = Vec::new();
    for question in QUESTIONS {
        let response = one(asking, question).await;
        assert_eq!(response, one(asking, &format!("{question}{models}")).await, "{question}");
        responses.push(response);
    }
    responses
}

async fn summed(asking: &Asking<'_>) -> Vec<Value> {
    asking.world.report(&["maintain"]).await;
    all(asking).await
}

async fn change(conn: &mut PgConnection, statement: &str) -> u64 {
    sqlx::query(AssertSqlSafe(statement)).execute(conn).await.unwrap().rows_affected()
}

async fn changed(conn: &mut PgConnection) -> i64 {
    number(conn, "SELECT count(*) FROM analytics.org_hours_by WHERE changed").await
}

/// Hours that name the client.
async fn naming(conn: &mut PgConnection, client: &str) -> i64 {
    let hours = format!("SELECT count(*) FROM analytics.org_hours_by WHERE position('{client}'::bytea IN clients) > 0");
    number(conn, AssertSqlSafe(hours)).await
}

/// Runs `verify` and gives the kinds of what it finds, each once.
async fn found(world: &World) -> Vec<String> {
    let output = world.run(&["verify", "--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let mut kinds: Vec<_> = findings.map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// So long ago as the hours of events that nobody expects late ones of.
const OVER: TimeDelta = TimeDelta::hours(3);

#[tokio::test]
async fn responses_by_label_are_those_of_raw_events() {
    let world = World::new(1).await;
    let asking = Asking::start(&world).await;
    let mut conn = world.connect_as_owner().await;
    let some = events(0, 900, TimeDelta::days(4), TimeDelta::zero());
    world.send(some.clone()).await;
    settled(&mut conn, 900).await;
    let before = all(&asking).await;
    assert_eq!(summed(&asking).await, before);
    assert!(naming(&mut conn, "client-3").await > 20);
    // They are what is read: what is not true shows.
    let swap = "UPDATE analytics.org_hours_by SET clients = error_codes, error_codes = clients WHERE NOT changed";
    change(&mut conn, swap).await;
    for (question, before) in QUESTIONS.iter().zip(&before) {
        assert!(one(&asking, question).await != *before, "{question}");
    }
    change(&mut conn, swap).await;
    // Late events change hours that are summed, and add hours that had nothing.
    world.send(events(10_000, 90, TimeDelta::days(5), OVER)).await;
    settled(&mut conn, 990).await;
    assert!(changed(&mut conn).await > 60);
    let late = all(&asking).await;
    assert!(late != before);
    assert_eq!(summed(&asking).await, late);
    assert_eq!(changed(&mut conn).await, 0);
    // What is read again is counted once.
    world.report(&["replay", "--partition", "0", "--from", "0", "--to", "990"]).await;
    settled(&mut conn, 2 * 990).await;
    assert_eq!(all(&asking).await, late);
    // What is rebuilt is read from raw events until it is summed again.
    let day = |days: i64| (Utc::now() - TimeDelta::days(days)).format("%F").to_string();
    world.report(&["refresh", "--from", &day(2), "--to", &day(1)]).await;
    assert!(changed(&mut conn).await > 20);
    assert_eq!(all(&asking).await, late);
    assert_eq!(summed(&asking).await, late);
    assert_eq!(found(&world).await, [""; 0]);
}

#[tokio::test]
async fn erased_names_are_gone_at_once() {
    let world = World::new(1).await.unchecked("a raw floor is put in, whose day keeps its rollups");
    let asking = Asking::start(&world).await;
    let mut owner = world.connect_as_owner().await;
    world.send(events(0, 900, TimeDelta::days(4), OVER)).await;
    settled(&mut owner, 900).await;
    let before = summed(&asking).await;
    assert!(naming(&mut owner, "of-one-person").await > 20);
    // A day of which a part was purged keeps its rollups.
    let noon = (Utc::now() - TimeDelta::days(2)).format("%FT12:00Z");
    change(&mut owner, &format!("INSERT INTO analytics.raw_horizons VALUES ('{OTHER}', '{noon}')")).await;
    let below =
        format!("SELECT count(*) FROM analytics.org_hours_by WHERE org_id = '{OTHER}' AND bucket_start < '{noon}'");
    assert_eq!(number(&mut owner, AssertSqlSafe(below)).await, 0, "what lies below the raw floor is gone");
    world.report(&["erase", "--actor", &PERSON.to_string(), "--yes"]).await;
    assert_eq!(naming(&mut owner, "of-one-person").await, 0);
    let after = all(&asking).await;
    assert!(after != before && !after[0].to_string().contains("of-one-person"));
    assert_eq!(summed(&asking).await, after);
    assert_eq!(naming(&mut owner, "of-one-person").await, 0);
    world.report(&["erase", "--org", &ORG.to_string(), "--yes"]).await;
    world.report(&["maintain"]).await;
    let left = format!("SELECT count(*) FROM analytics.org_hours_by WHERE org_id = '{ORG}'");
    assert_eq!(number(&mut owner, AssertSqlSafe(left)).await, 0);
}

#[tokio::test]
async fn repaired_rows_are_counted_again() {
    let world = World::new(1).await;
    let asking = Asking::start(&world).await;
    let mut owner = world.connect_as_owner().await;
    world.send(events(0, 600, TimeDelta::days(4), OVER)).await;
    settled(&mut owner, 600).await;
    let before = summed(&asking).await;
    let lost = [10, 11].map(|n| format!("'{}'", Uuid::from_u128(n))).join(", ");
    assert_eq!(change(&mut owner, &format!("DELETE FROM analytics.usage_events WHERE event_id IN ({lost})")).await, 2);
    assert!(found(&world).await.contains(&"hour_by".to_owned()));
    change(&mut owner, "UPDATE analytics.org_hours_by SET changed = true, clients = NULL, error_codes = NULL").await;
    assert!(summed(&asking).await != before, "without what is lost");
    world.report(&["replay", "--partition", "0", "--from", "0", "--to", "600"]).await;
    settled(&mut owner, 1200).await;
    assert_eq!(all(&asking).await, before);
    assert_eq!(summed(&asking).await, before);
    assert_eq!(found(&world).await, [""; 0]);
}

#[tokio::test]
async fn too_many_labels_are_read_from_raw_events() {
    let world = World::new(1).await;
    let asking = Asking::start(&world).await;
    let mut conn = world.connect().await;
    let at = Utc::now() - TimeDelta::hours(20);
    let hostile = (0..700).map(|n| {
        let mut event = event(u128::from(n), 1 + 3 * n, at);
        event["clientId"] = json!(format!("{n:0190}"));
        event.to_string().into_bytes()
    });
    world.send(hostile.chain(events(10_000, 300, TimeDelta::days(4), OVER))).await;
    settled(&mut conn, 1000).await;
    let before = all(&asking).await;
    assert_eq!(summed(&asking).await, before);
    let not_summed =
        "SELECT count(*) FROM analytics.org_hours_by WHERE NOT changed AND clients IS NULL AND error_codes IS NOT NULL";
    assert_eq!(number(&mut conn, not_summed).await, 1);
    assert_eq!(found(&world).await, [""; 0]);
}

#[tokio::test]
async fn wrong_sums_are_found_and_replaced() {
    let world = World::new(1).await;
    let asking = Asking::start(&world).await;
    let mut owner = world.connect_as_owner().await;
    world.send(events(0, 600, TimeDelta::days(4), OVER)).await;
    settled(&mut owner, 600).await;
    let before = summed(&asking).await;
    let day = (Utc::now() - TimeDelta::days(2)).format("%F").to_string();
    let next = (Utc::now() - TimeDelta::days(1)).format("%F").to_string();
    let of_day = format!("bucket_start >= '{day} 00:00Z' AND bucket_start < '{next} 00:00Z' AND org_id = '{ORG}'");
    for (wrong, kind) in [
        ("UPDATE analytics.org_hours SET cost_cents = cost_cents + 0.000000000001", "org_hour"),
        ("UPDATE analytics.org_hours SET latency_histogram = '\\x010101'", "org_hour"),
        ("DELETE FROM analytics.org_hours", "org_hour"),
        ("UPDATE analytics.org_hours_by SET clients = error_codes", "hour_by"),
        ("DELETE FROM analytics.org_hours_by", "hour_by"),
    ] {
        assert!(change(&mut owner, &format!("{wrong} WHERE {of_day}")).await > 10);
        assert_eq!(found(&world).await, [kind], "{wrong}");
        let text = world.run(&["verify"]).await.stdout;
        assert!(String::from_utf8_lossy(&text).contains(&format!("`refresh --from {day} --to {next}`")), "{kind}");
        world.report(&["refresh", "--from", &day, "--to", &next]).await;
        assert_eq!(found(&world).await, [""; 0], "{wrong}");
        assert_eq!(all(&asking).await, before, "{wrong}");
        assert_eq!(summed(&asking).await, before, "{wrong}");
        assert_eq!(found(&world).await, [""; 0], "{wrong}");
    }
}

#[tokio::test]
async fn moved_rollups_change_no_sum_by_label() {
    let world = World::new(1).await;
    let asking = Asking::start(&world).await;
    let mut conn = world.connect().await;
    world.send(events(0, 900, TimeDelta::days(4), TimeDelta::zero())).await;
    settled(&mut conn, 900).await;
    let before = summed(&asking).await;
    to_continuous(&world).await;
    assert_eq!(changed(&mut conn).await, 0);
    assert_eq!(all(&asking).await, before);
    world.send(events(10_000, 90, TimeDelta::days(5), OVER)).await;
    settled(&mut conn, 990).await;
    let late = all(&asking).await;
    assert!(changed(&mut conn).await > 60 && late != before);
    assert_eq!(summed(&asking).await, late);
}

#[tokio::test]
async fn killed_runs_beside_late_events_leave_no_wrong_sum() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let publishing = world.publish(&["--events", "20000", "--rate", "4000", "--late", "0.5", "--orgs", "20"]);
    let mut publishing = std::pin::pin!(publishing);
    let report = loop {
        let (kill, finish) = (async { world.kill(&["maintain"], 20..400).await }, world.report(&["maintain"]));
        tokio::select! {
            report = &mut publishing => break report,
            () = async { kill.await; finish.await; } => {}
        }
    };
    settled(&mut conn, report["sent"].as_i64().unwrap()).await;
    // The world's end compares what is summed with raw events.
    assert_eq!(found(&world).await, [""; 0]);
    world.report(&["maintain"]).await;
    assert_eq!(changed(&mut conn).await, 0);
    assert!(number(&mut conn, "SELECT count(*) FROM analytics.org_hours_by WHERE NOT changed").await > 0);
    service.terminate().await;
}
