//! `erase` deletes an org's or a person's data everywhere, and nothing else, whatever goes on beside it.

mod continuous;
mod markers;
mod pending;

use std::{
    collections::BTreeMap,
    process::Stdio,
    time::{Duration, Instant},
};

use analytics_service::{auth::Role, domain::event::Event};
use chrono::{TimeDelta, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::{
    harness::{FLAWS, LedgerSums, Load, Service, Totals, World, eventually, millis, output_of, sent, settled},
    store_commit::{body, event},
};

/// Tables that keep an org's id: the audit log, the ledger, and the record that it was erased.
const KEEP: [&str; 3] = ["audit_events", "erasures", "ledger_hourly"];
/// Longer than until all markers are published again.
const A_WHILE: Duration = Duration::from_secs(3);

/// An org with events of several people, models and days, among them late ones that make revisions.
struct Tenant {
    org: Uuid,
    people: [Uuid; 3],
}

impl Tenant {
    fn new() -> Self {
        Self { org: Uuid::new_v4(), people: std::array::from_fn(|_| Uuid::new_v4()) }
    }

    fn events(&self, count: u32) -> Vec<Event> {
        let now = Utc::now();
        let one = |n: u32| {
            let mut event = event(0, 0, now - TimeDelta::minutes(i64::from(n) * 37 % 5000));
            event.org_id = self.org;
            event.event_id = Uuid::new_v4();
            event.model_id = Uuid::from_u128(u128::from(n % 4));
            event.actor_id = (!n.is_multiple_of(5)).then(|| self.people[n as usize % 3]);
            event.latency_ms = n % 3000;
            event
        };
        (0..count).map(one).collect()
    }

    /// Messages that are no events: one whose org can be read, and two that name the org or a person all the same.
    fn broken(&self) -> Vec<Vec<u8>> {
        let [person, ..] = self.people;
        vec![
            format!("{{\"orgId\":\"{}\",\"x\":1}}", self.org).into_bytes(),
            format!("no JSON {} \u{e9}", self.org.simple().to_string().to_uppercase()).into_bytes(),
            format!("{{\"orgId\":\"{}\",\"actorId\":\"{}\"}}", self.org, person.to_string().to_uppercase())
                .into_bytes(),
        ]
    }
}

fn bodies(events: &[Event]) -> Vec<Vec<u8>> {
    events.iter().map(body).collect()
}

/// Runs `erase` and gives its report. Its exit says whether anything is left.
async fn erase(world: &World, args: &[&str]) -> Value {
    let output = world.run(&[&["erase", "--json"], args].concat()).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{args:?}: {cause}: {error}"));
    assert_eq!(output.status.code(), Some(0), "{report} {error}");
    report
}

fn assert_nothing(counts: &Value) {
    assert!(counts.as_object().unwrap().values().all(|n| n == 0), "{counts}");
}

/// What it said that it would remove. But for what a running service changes meanwhile: it publishes markers to Redis and removes them
/// too, and folds rows of attribution into others.
fn assert_removed(report: &Value, planned: &Value) {
    let (mut removed, mut planned) = (report["removed"].clone(), planned["left"].clone());
    for counts in [&mut removed, &mut planned] {
        for changing in ["attribution", "cachedMarkers"] {
            counts.as_object_mut().unwrap().remove(changing).unwrap();
        }
    }
    assert_eq!(removed, planned);
}

async fn assert_verified(world: &World) {
    let output = world.run(&["verify", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Tables of the schema that have an id in whatever form: as text, as bytes, or as text in bytes.
async fn tables_with(conn: &mut PgConnection, id: Uuid) -> Vec<String> {
    // Every row is read as text, which takes as long as it takes.
    sqlx::query("SET statement_timeout = 0").execute(&mut *conn).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables
         WHERE table_schema = 'analytics' AND table_type = 'BASE TABLE' ORDER BY 1",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    let hex = |text: String| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let texts = [id.to_string(), id.simple().to_string()];
    let forms: Vec<String> =
        texts.iter().flat_map(|text| [text.clone(), hex(text.clone()), hex(text.to_uppercase())]).collect();
    let mut found = Vec::new();
    for table in tables {
        let any = format!(
            "SELECT EXISTS (SELECT FROM analytics.{table} t, unnest($1::text[]) AS form WHERE strpos(lower(t::text), form) > 0)"
        );
        if sqlx::query_scalar(AssertSqlSafe(any)).bind(&forms).fetch_one(&mut *conn).await.unwrap() {
            found.push(table);
        }
    }
    found
}

/// Markers of an org in Redis.
async fn cached(world: &World, org: Uuid) -> u64 {
    let mut redis = world.connect_cache().await;
    redis::cmd("HLEN").arg(format!("analytics:freshness:{org}")).query_async(&mut redis).await.unwrap()
}

async fn until_merged(conn: &mut PgConnection, org: Uuid, events: usize) {
    eventually("the org's events are merged", async || {
        let totals = Totals::rolled_up(&mut *conn, "hourly_rollups").await;
        (usize::try_from(totals.get(&org)?.invocations).unwrap() == events).then_some(())
    })
    .await;
}

/// An org's usage, as the API answers.
async fn ask_usage(service: &Service, org: Uuid) -> (u16, Value) {
    let token = service.token(&[org], &[Role::OrgViewer]);
    let at = |days: i64| (Utc::now() + TimeDelta::days(days)).format("%Y-%m-%dT00:00:00Z").to_string();
    let path = format!("/analytics/v1/orgs/{org}/usage?start={}&end={}", at(-10), at(2));
    let (status, answer) = service.get(&path, &token).await;
    (status.as_u16(), answer)
}

/// The totals of it.
async fn usage(service: &Service, org: Uuid) -> Value {
    let (status, answer) = ask_usage(service, org).await;
    assert_eq!(status, 200, "{answer}");
    answer["totals"].clone()
}

async fn name(conn: &mut PgConnection, org: Uuid, dimension: &str, id: Uuid) {
    sqlx::query("INSERT INTO analytics.names VALUES ($1, $2, $3, 'Somebody', now(), 'tests')")
        .bind(org)
        .bind(dimension)
        .bind(id.to_string())
        .execute(conn)
        .await
        .unwrap();
}

async fn count(conn: &mut PgConnection, statement: &'static str, id: Uuid) -> i64 {
    sqlx::query_scalar(statement).bind(id).fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn erasing_an_org_leaves_the_others() {
    let mut world = World::new(2).await;
    // All markers are published again every two seconds.
    world.set("ANALYTICS__CACHE__TTL_SECONDS", "6");
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let (erased, other) = (Tenant::new(), Tenant::new());
    let load = Load::start(&world, "41").await;
    let (of_erased, of_other) = (erased.events(1500), other.events(900));
    // The older half later: by then its hours are final.
    world.send(bodies(&of_erased[..750])).await;
    world.send(bodies(&of_other)).await;
    world.send(erased.broken().into_iter().chain(other.broken())).await;
    until_merged(&mut conn, erased.org, 750).await;
    world.send(bodies(&of_erased[750..])).await;
    until_merged(&mut conn, erased.org, 1500).await;
    until_merged(&mut conn, other.org, 900).await;
    let org = erased.org.to_string();
    let made = world.run(&["api-key", "create", "--org", &org, "--role", "finance", "--name", "x"]).await;
    assert!(made.status.success());
    sqlx::query("INSERT INTO analytics.org_settings (org_id, raw_days, changed_by) VALUES ($1, 30, 'tests')")
        .bind(erased.org)
        .execute(&mut conn)
        .await
        .unwrap();
    name(&mut conn, erased.org, "orgId", erased.org).await;
    name(&mut conn, erased.org, "actorId", erased.people[0]).await;
    eventually("its markers are in Redis", async || (cached(&world, erased.org).await == 4).then_some(())).await;
    let usage_of_other = usage(&service, other.org).await;

    // Markers end with their time where a busy service is late to publish them again.
    let planned = eventually("there are markers", async || {
        let planned = erase(&world, &["--org", &org, "--dry-run"]).await;
        (planned["left"]["cachedMarkers"].as_i64()? > 0).then_some(planned)
    })
    .await;
    let there = &planned["left"];
    assert_eq!((&there["rawEvents"], &there["deadLetters"]), (&1500.into(), &3.into()), "{planned}");
    for some in ["hourlyRollups", "dailyRollups", "revisions", "freshnessMarkers"] {
        assert!(there[some].as_i64().unwrap() > 0, "{some}: {planned}");
    }
    assert_nothing(&planned["removed"]);
    assert_eq!(usage(&service, erased.org).await["invocations"], 1500, "a dry run changes nothing");
    let before = LedgerSums::of_hours(&mut conn).await;

    let report = erase(&world, &["--org", &org, "--yes"]).await;
    assert_nothing(&report["left"]);
    assert_removed(&report, &planned);
    assert!(report["notes"].to_string().contains("partitions reset"), "{report}");
    let looked = Instant::now();
    while looked.elapsed() < A_WHILE {
        assert_eq!(cached(&world, erased.org).await, 0, "markers stay away");
        // The pace of the looks.
        millis(50..51).await;
    }
    assert_eq!(tables_with(&mut conn, erased.org).await, KEEP);
    for person in erased.people {
        assert_eq!(tables_with(&mut conn, person).await, Vec::<String>::new());
    }
    let (status, refused) = ask_usage(&service, erased.org).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (400, &"start".into()), "{refused}");
    assert_eq!(usage(&service, other.org).await, usage_of_other);
    let acts: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "SELECT credential, outcome, detail FROM analytics.audit_events
         WHERE action = 'org.erase' AND org_id = $1 AND target = $1::text ORDER BY event_id",
    )
    .bind(erased.org)
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(acts.len(), 2, "{acts:?}");
    assert!(acts.iter().all(|(by, outcome, _)| (by.as_str(), outcome.as_str()) == ("command_line", "allowed")));
    assert!(acts[1].2.as_ref().unwrap().starts_with("left nothing; removed 1500 raw events"), "{acts:?}");

    let published = load.stop().await;
    let messages = sent(&published) + 1500 + 900 + 6;
    settled(&mut conn, messages).await;
    let batches = LedgerSums::of_batches(&mut conn).await;
    assert_eq!(batches, LedgerSums::of_hours(&mut conn).await, "the ledger keeps its counts");
    assert!(batches.stored >= before.stored && batches.received == messages);
    assert_eq!(batches.stored, published["events"].as_i64().unwrap() + 1500 + 900);
    let purged = "SELECT sum(purged)::bigint FROM analytics.ingestion_batches WHERE $1 IS NOT NULL";
    assert_eq!(count(&mut conn, purged, erased.org).await, 1500);
    let mut raw = Totals::raw(&mut conn).await;
    assert_eq!(raw.remove(&other.org).unwrap().invocations, 900);
    assert_eq!(raw, Totals::published(&published));
    assert_verified(&world).await;

    // It comes back as one of which nothing was known.
    world.send(bodies(&erased.events(20))).await;
    until_merged(&mut conn, erased.org, 20).await;
    eventually("its new markers are in Redis", async || (cached(&world, erased.org).await == 4).then_some(())).await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn erasing_a_person_subtracts_exactly_their_usage() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let (first, mut second) = (Tenant::new(), Tenant::new());
    let person = first.people[0];
    second.people[0] = person;
    let (of_first, of_second) = (first.events(1200), second.events(800));
    let report = world.publish(&["--events", "3000", "--orgs", "5", "--models", "3", "--seed", "43"]).await;
    world.send(bodies(&of_first)).await;
    world.send(bodies(&of_second)).await;
    world.send(first.broken()).await;
    settled(&mut conn, sent(&report) + 1200 + 800 + 3).await;
    let theirs = |events: &[Event]| -> usize { events.iter().filter(|event| event.actor_id == Some(person)).count() };
    let figures = |events: &[Event]| {
        let stay = || events.iter().filter(|event| event.actor_id != Some(person));
        let cost: i64 = i64::try_from(stay().count()).unwrap() * 12_345;
        let cents = rust_decimal::Decimal::new(cost, 4).normalize();
        (stay().count(), stay().map(|event| u64::from(event.input_tokens)).sum::<u64>(), cents)
    };
    let assert_usage = |totals: &Value, events: &[Event]| {
        let (invocations, tokens, cost) = figures(events);
        assert_eq!((&totals["invocations"], &totals["inputTokens"]), (&invocations.into(), &tokens.into()));
        assert_eq!(crate::harness::decimal(&totals["costEstimateCents"]), cost);
    };
    let of_second_before = usage(&service, second.org).await;
    assert_eq!(of_second_before["invocations"], 800);
    let (id, org) = (person.to_string(), first.org.to_string());
    for named in [first.org, second.org] {
        name(&mut conn, named, "actorId", person).await;
        name(&mut conn, named, "orgId", named).await;
    }

    let planned = erase(&world, &["--actor", &id, "--dry-run"]).await;
    assert_eq!(planned["left"]["rawEvents"], theirs(&of_first) + theirs(&of_second));
    let only = erase(&world, &["--actor", &id, "--org", &org, "--yes"]).await;
    assert_eq!(
        (&only["removed"]["rawEvents"], &only["removed"]["deadLetters"]),
        (&theirs(&of_first).into(), &1.into())
    );
    assert!(only["revisionsAdded"].as_u64().unwrap() > 0 && only["daysCountedAgain"].as_u64().unwrap() > 2, "{only}");
    assert_eq!(only["removed"]["names"], 1, "{only}");
    assert_usage(&usage(&service, first.org).await, &of_first);
    assert_eq!(usage(&service, second.org).await, of_second_before, "only in that org");
    assert_verified(&world).await;
    let rest = erase(&world, &["--actor", &id, "--yes"]).await;
    assert_eq!((&rest["removed"]["rawEvents"], &rest["removed"]["names"]), (&theirs(&of_second).into(), &1.into()));
    assert_usage(&usage(&service, second.org).await, &of_second);
    assert_eq!(tables_with(&mut conn, person).await, ["audit_events"]);
    assert_verified(&world).await;

    let revised = "SELECT count(*) FROM analytics.rollup_revisions
                   WHERE org_id = $1 AND reason = 'erasure' AND before_invocations > after_invocations";
    assert_eq!(count(&mut conn, revised, first.org).await, only["revisionsAdded"].as_i64().unwrap());
    let audited = "SELECT count(*) FROM analytics.audit_events WHERE action = 'actor.erase' AND target = $1::text";
    assert_eq!(count(&mut conn, audited, person).await, 4);
    let purged = "SELECT sum(purged)::bigint FROM analytics.ingestion_batches WHERE $1 IS NOT NULL";
    assert_eq!(count(&mut conn, purged, person).await, i64::try_from(theirs(&of_first) + theirs(&of_second)).unwrap());
    assert_nothing(&erase(&world, &["--actor", &id, "--yes"]).await["removed"]);
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn a_killed_erasure_can_be_rerun() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = Load::with(&world, "47", &FLAWS).await;
    let mut others: BTreeMap<Uuid, usize> = BTreeMap::new();
    let mut messages = 0;
    for round in 0..6 {
        let tenant = Tenant::new();
        let events = tenant.events(800);
        world.send(bodies(&events)).await;
        world.send(tenant.broken()).await;
        messages += 803;
        // Some are killed while events of theirs come in still.
        if round % 2 == 0 {
            until_merged(&mut conn, tenant.org, 800).await;
        }
        let (org, person) = (tenant.org.to_string(), tenant.people[1].to_string());
        let args = if round < 3 { ["erase", "--yes", "--org", &org] } else { ["erase", "--yes", "--actor", &person] };
        world.kill(&args, 20..900).await;
        // The ledger keeps what came, whatever is deleted: 800 events, and the two others that name their org.
        eventually("all of it has come", async || {
            let received = "SELECT coalesce(sum(received), 0)::bigint FROM analytics.ledger_hourly WHERE org_id = $1";
            (count(&mut conn, received, tenant.org).await == 802).then_some(())
        })
        .await;
        let left = erase(&world, &args[1..]).await;
        assert_nothing(&left["left"]);
        others.insert(tenant.org, if round < 3 { 0 } else { stays(&events, tenant.people[1]) });
    }
    let published = load.stop().await;
    settled(&mut conn, sent(&published) + messages).await;
    assert_verified(&world).await;
    let mut raw = Totals::raw(&mut conn).await;
    for (org, stays) in others {
        let there = raw.remove(&org).map_or(0, |totals| totals.invocations);
        assert_eq!(usize::try_from(there).unwrap(), stays);
    }
    assert_eq!(raw, Totals::published(&published));
    assert_eq!(service.terminate().await, Some(0));
}

fn stays(events: &[Event], person: Uuid) -> usize {
    events.iter().filter(|event| event.actor_id != Some(person)).count()
}

#[tokio::test]
async fn nothing_is_erased_by_mistake() {
    let world = World::new(1).await;
    let id = Uuid::new_v4().to_string();
    for (args, code, named) in [
        (vec!["erase", "--org", &id], 2, "--yes is required without a terminal"),
        (vec!["erase", "--yes"], 2, "--org"),
        (vec!["erase", "--yes", "--org", "acme"], 2, "acme"),
    ] {
        let mut command = world.command(&args);
        let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap()).await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && error.contains(named), "{args:?}: {error}");
    }
    // Without Redis it says that it does not know.
    let mut command = world.command(&["erase", "--yes", "--org", &id]);
    command.env("ANALYTICS__CACHE__URL", "redis://127.0.0.1:1/0");
    let output = output_of(command).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("not checked: markers in Redis") && text.contains("run this again"), "{text}");
}
