//! Two engines, one meaning: each that the server has answers the same of the same history, and switching between them
//! under load loses and doubles nothing.

use std::collections::BTreeMap;

use analytics_service::{
    auth::Role,
    domain::histogram,
    store::{self, rollups::engine},
};
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::harness::{LedgerSums, Load, Service, World, eventually, millis, not_run, settled};

pub const LIVE: &str = "live";
pub const CONTINUOUS: &str = "continuous";
const DAYS: i64 = 399;

/// Whether the server has continuous aggregates; says so where it has not.
pub async fn has_continuous(conn: &mut PgConnection, test: &str) -> bool {
    let license: String = sqlx::query_scalar("SHOW timescaledb.license").fetch_one(conn).await.unwrap();
    if license != "timescale" {
        not_run(
            test,
            &format!("continuous aggregates need TimescaleDB's Community edition, and the licence here is {license}"),
        );
    }
    license == "timescale"
}

/// Switches to continuous aggregates. Where the edition has none, plain tables stand in for what is materialised, filled by the
/// same statements: all else is the same on both editions.
pub async fn to_continuous(world: &World) {
    let mut owner = world.connect_as_owner().await;
    let license: String = sqlx::query_scalar("SHOW timescaledb.license").fetch_one(&mut owner).await.unwrap();
    if license == "timescale" {
        return switch(world, CONTINUOUS).await;
    }
    let bounds: Vec<String> = histogram::bounds().iter().map(u32::to_string).collect();
    let counts = (bounds.len() + 2).to_string();
    let created = include_str!("../../src/store/rollups/sql/continuous_create.sql");
    let mut selects = created.split("AS\nSELECT ").skip(1).map(|part| part.split("WITH NO DATA").next().unwrap());
    let (hours, days) = (selects.next().unwrap(), selects.next().unwrap());
    let stand_in = include_str!("stand_in.sql")
        .replace("{hours}", hours)
        .replace("{days}", &days.replace("hourly_continuous", "hourly_stand_in"))
        .replace("{bounds}", &format!("{{{}}}", bounds.join(",")))
        .replace("{padded}", "512");
    sqlx::raw_sql(AssertSqlSafe(stand_in)).execute(&mut owner).await.unwrap();
    for unit in ["hourly", "daily"] {
        let view = include_str!("../../src/store/rollups/sql/materialised_view.sql")
            .replace("{unit}", unit)
            .replace("{table}", &format!("analytics.{unit}_stand_in"))
            .replace("{counts}", &counts);
        sqlx::raw_sql(AssertSqlSafe(view)).execute(&mut owner).await.unwrap();
    }
    let role = store::user_of(&world.settings.database.url).unwrap();
    sqlx::query("SELECT analytics.grant_to($1)").bind(role).execute(&mut owner).await.unwrap();
    engine::begin(&mut owner).await.unwrap();
    command(world, &["refresh", "--late"]).await;
}

/// Runs a command and gives what it says of itself.
pub async fn command(world: &World, args: &[&str]) -> Value {
    let output = world.run(&[args, &["--json"]].concat()).await;
    let said = [&output.stderr[..], &output.stdout[..]].map(String::from_utf8_lossy);
    assert!(output.status.success(), "{args:?}: {said:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Switches, and takes the database's own job off, so that tests know what is refreshed when.
pub async fn switch(world: &World, engine: &str) {
    let report = command(world, &["rollups", "switch", "--to", engine]).await;
    assert_eq!((&report["engine"], &report["switching"]), (&json!(engine), &json!(false)));
    for job in jobs(world).await {
        sqlx::query("SELECT public.delete_job($1)")
            .bind(job)
            .execute(&mut world.connect_as_owner().await)
            .await
            .unwrap();
    }
}

/// Jobs that refresh.
async fn jobs(world: &World) -> Vec<i32> {
    sqlx::query_scalar("SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'refresh_job'")
        .fetch_all(&mut world.connect().await)
        .await
        .unwrap()
}

/// Events of two orgs over the days before `now`, more of them lately; the same for the same `now`.
fn history(now: DateTime<Utc>) -> (Vec<Uuid>, Vec<Value>) {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let statuses = ["success", "success", "success", "error", "timeout", "throttled"];
    let orgs = [Uuid::from_u128(0xA), Uuid::from_u128(0xB)];
    let events = (0..4000).map(|n: i64| {
        let ago = match n % 4 {
            0 => TimeDelta::minutes(random.random_range(0..3 * 24 * 60)),
            _ => TimeDelta::seconds(random.random_range(0..DAYS * 86_400)),
        };
        json!({
            "eventId": Uuid::from_u128(n.unsigned_abs().into()),
            "orgId": orgs[usize::from(random.random_bool(0.3))],
            "modelId": Uuid::from_u128(random.random_range(0..4)),
            "clientId": format!("client-{}", random.random_range(0..3)),
            "occurredAt": now - ago,
            "status": statuses[random.random_range(0..6)],
            "errorCode": null,
            "latencyMs": (2_u64.pow(random.random_range(0..20)) + random.random_range(0..50)),
            "inputTokens": random.random_range(0..100_000),
            "outputTokens": random.random_range(0..100_000),
            "costEstimateCents": f64::from(random.random_range(0..1_000_000)) / 10_000.0,
        })
    });
    (orgs.to_vec(), events.collect())
}

/// What can be asked of the history: every kind of answer about it.
fn questions(org: Uuid, now: DateTime<Utc>) -> Vec<String> {
    let at = |ago: i64| (now - TimeDelta::days(ago)).format("%Y-%m-%dT00:00:00Z").to_string();
    let (year, month, week, end) = (at(DAYS), at(31), at(6), at(-1));
    let mut questions = vec![
        format!("/analytics/v1/summary?start={}&end={end}", at(29)),
        format!("/analytics/v1/orgs/{org}/ledger?start={}&end={end}", at(1)),
    ];
    for what in ["usage", "reliability"] {
        for more in ["", "&groupBy=model", "&timezone=Europe/Berlin", "&timezone=Asia/Kolkata", "&fill=zero"] {
            questions.push(format!("/analytics/v1/orgs/{org}/{what}?start={year}&end={end}{more}"));
        }
        for more in ["", "&groupBy=model", &format!("&modelId={}", Uuid::from_u128(2))] {
            questions.push(format!("/analytics/v1/orgs/{org}/{what}?granularity=hour&start={month}&end={end}{more}"));
        }
    }
    for by in ["client", "errorCode"] {
        questions.push(format!("/analytics/v1/orgs/{org}/reliability?start={week}&end={end}&groupBy={by}"));
    }
    questions
}

/// Answers without what moves from second to second.
async fn answers(service: &Service, orgs: &[Uuid], now: DateTime<Utc>) -> BTreeMap<String, Value> {
    let token = service.token(orgs, &[Role::SystemAdmin]);
    let mut answers = BTreeMap::new();
    for org in orgs {
        for question in questions(*org, now) {
            // Busy with other tests, a process may need a moment for its first connections.
            let mut answer = eventually(&question, async || {
                let (status, answer) = service.get(&question, &token).await;
                assert!(status == 200 || status == 503, "{question}: {status} {answer}");
                (status == 200).then_some(answer)
            })
            .await;
            for moving in ["asOf", "freshness"] {
                answer.as_object_mut().unwrap().remove(moving);
            }
            for point in answer["series"].as_array_mut().into_iter().flatten() {
                point.as_object_mut().unwrap().remove("final");
            }
            answers.insert(question, answer);
        }
    }
    answers
}

#[tokio::test]
async fn each_engine_answers_the_same_of_four_hundred_days() {
    let now = Utc::now().with_nanosecond(0).unwrap();
    let (orgs, events) = history(now);
    let mut found: Vec<(&str, BTreeMap<String, Value>)> = Vec::new();
    for engine in [LIVE, CONTINUOUS] {
        let world = World::new(1).await;
        let mut conn = world.connect().await;
        let service = world.serve().await;
        // Most of it, a part of that twice, and the rest when the most is materialised.
        let bodies = |events: &[Value]| events.iter().map(|event| event.to_string().into_bytes()).collect::<Vec<_>>();
        let (first, late) = events.split_at(3500);
        world.send(bodies(first)).await;
        world.send(bodies(&first[..300])).await;
        settled(&mut conn, 3800).await;
        if engine == CONTINUOUS {
            to_continuous(&world).await;
            assert!(tail(&mut conn).await < 1000, "most of it is materialised");
        }
        world.send(bodies(late)).await;
        settled(&mut conn, 4300).await;
        command(&world, &["refresh", "--late"]).await;
        assert_eq!(command(&world, &["verify"]).await["events"], 4000, "{engine}");
        let sums = LedgerSums::of_batches(&mut conn).await;
        assert_eq!((sums.received, sums.stored, sums.duplicates), (4300, 4000, 300));
        let mut answers = answers(&service, &orgs, now).await;
        // By the hour of the commit, which is each engine's own.
        answers.retain(|question, _| !question.contains("/ledger"));
        found.push((engine, answers));
    }
    let (_, live) = &found[0];
    let year =
        live.iter().find(|(question, _)| question.contains("/usage") && !question.contains("granularity")).unwrap();
    assert!(year.1["series"].as_array().unwrap().len() > 300, "the history is there");
    for (engine, answers) in &found[1..] {
        for (question, answer) in answers {
            assert_eq!(answer, &live[question], "{engine}: {question}");
        }
    }
}

/// Rows of hours that the table has.
async fn tail(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM analytics.hourly_rollups").fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn a_late_event_is_in_the_answers_and_the_revisions_at_once() {
    let now = Utc::now().with_nanosecond(0).unwrap();
    let (orgs, events) = history(now);
    for engine in [LIVE, CONTINUOUS] {
        let world = World::new(1).await;
        let mut conn = world.connect().await;
        let service = world.serve().await;
        world.send(events.iter().map(|event| event.to_string().into_bytes())).await;
        settled(&mut conn, 4000).await;
        if engine == CONTINUOUS {
            to_continuous(&world).await;
        }
        sqlx::query("DELETE FROM analytics.rollup_revisions").execute(&mut conn).await.unwrap();
        let before = answers(&service, &orgs, now).await;
        let mut event = events[0].clone();
        let at = now - TimeDelta::days(30);
        event["eventId"] = json!(Uuid::new_v4());
        event["orgId"] = json!(orgs[0]);
        event["occurredAt"] = json!(at);
        world.send([event.to_string().into_bytes()]).await;
        settled(&mut conn, 4001).await;
        let after = answers(&service, &orgs, now).await;
        for (question, answer) in &after {
            if question.contains("/ledger") || question.contains("/summary") {
                continue;
            }
            let differing = |side: &Value, other: &Value| {
                let points = side["series"].as_array().unwrap();
                let others = other["series"].as_array().unwrap();
                points.iter().filter(|point| !others.contains(point)).cloned().collect::<Vec<_>>()
            };
            let changed = differing(answer, &before[question]);
            let concerned = question.contains(&orgs[0].to_string())
                && !question.contains("groupBy=client")
                && !question.contains("groupBy=errorCode")
                && (!question.contains("modelId=") || event["modelId"] == json!(Uuid::from_u128(2)));
            assert_eq!(changed.len(), usize::from(concerned), "{engine}: {question}: {changed:?}");
        }
        let revisions: Vec<(Uuid, DateTime<Utc>, String, i64)> = sqlx::query_as(
            "SELECT org_id, bucket_start, reason, after_invocations - before_invocations FROM analytics.rollup_revisions",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap();
        let hour = at.with_minute(0).unwrap().with_second(0).unwrap();
        assert_eq!(revisions, [(orgs[0], hour, "late".to_owned(), 1)], "{engine}");
        command(&world, &["refresh", "--late"]).await;
        assert_eq!(answers(&service, &orgs, now).await, after, "a refresh changes no answer");
        assert_eq!(command(&world, &["verify"]).await["holds"], true);
    }
}

/// Rows that anybody has read of raw events, as the statistics have it.
async fn raw_rows_read(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "SELECT coalesce(sum(s.seq_tup_read + coalesce(s.idx_tup_fetch, 0)), 0)::bigint
         FROM timescaledb_information.chunks c
         JOIN pg_stat_user_tables s ON (s.schemaname, s.relname) = (c.chunk_schema, c.chunk_name)
         WHERE c.hypertable_schema = 'analytics' AND c.hypertable_name = 'usage_events'",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}

#[tokio::test]
async fn neither_queries_nor_a_refresh_count_raw_events() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    let now = Utc::now();
    let (orgs, events) = history(now);
    world.send(events.iter().map(|event| event.to_string().into_bytes())).await;
    settled(&mut conn, 4000).await;
    let before = shown(&mut conn).await;
    to_continuous(&world).await;
    assert_eq!(shown(&mut conn).await, before);
    // As the database plans what is large. A cut that was no join left out all that is materialised here.
    sqlx::raw_sql("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0")
        .execute(&mut conn)
        .await
        .unwrap();
    assert_eq!(shown(&mut conn).await, before);
    let mut late = events[0].clone();
    (late["eventId"], late["orgId"]) = (json!(Uuid::new_v4()), json!(orgs[0]));
    late["occurredAt"] = json!(now - TimeDelta::days(30));
    world.send([late.to_string().into_bytes()]).await;
    settled(&mut conn, 4001).await;
    assert_eq!(service.terminate().await, Some(0));
    let read = raw_rows_read(&mut conn).await;
    assert!(read > 0);
    assert_eq!(command(&world, &["refresh", "--late"]).await["hours"], 0, "the late event is in the table");
    assert_eq!(shown(&mut conn).await.values().sum::<i64>(), 4001);
    assert_eq!(raw_rows_read(&mut conn).await, read);
}

#[tokio::test]
async fn auto_begins_live_and_leaves_what_is_there() {
    let mut world = World::new(1).await;
    let mut conn = world.connect().await;
    let show = async |world: &World| {
        let report = command(world, &["rollups", "show"]).await;
        (report["engine"].clone(), report["configured"].clone())
    };
    world.set("ANALYTICS__ROLLUPS__ENGINE", "auto");
    assert_eq!(show(&world).await, (json!(LIVE), json!(LIVE)), "on either edition");
    if !has_continuous(&mut conn, "auto_begins_live_and_leaves_what_is_there").await {
        return;
    }
    switch(&world, CONTINUOUS).await;
    assert!(world.run(&["migrate"]).await.status.success());
    assert_eq!(show(&world).await, (json!(CONTINUOUS), json!(CONTINUOUS)));
    let advice = &command(&world, &["maintain"]).await["engineAdvice"];
    assert_eq!((&advice["engine"], &advice["recommended"]), (&json!(CONTINUOUS), &json!(LIVE)), "{advice}");
}

#[tokio::test]
async fn the_databases_own_job_refreshes() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    if !has_continuous(&mut conn, "the_databases_own_job_refreshes").await {
        return;
    }
    let service = world.serve().await;
    let (_, events) = history(Utc::now());
    world.send(events.iter().map(|event| event.to_string().into_bytes())).await;
    settled(&mut conn, 4000).await;
    command(&world, &["rollups", "switch", "--to", CONTINUOUS]).await;
    // Behind what the switch has materialised.
    let back = "UPDATE analytics.rollup_engine SET leaving = true";
    let mut owner = world.connect_as_owner().await;
    sqlx::query(back).execute(&mut owner).await.unwrap();
    for unit in ["daily", "hourly", "hourly", "hourly", "hourly"] {
        sqlx::query("SELECT analytics.move_cut_back($1)").bind(unit).execute(&mut owner).await.unwrap();
    }
    sqlx::query("UPDATE analytics.rollup_engine SET leaving = false").execute(&mut owner).await.unwrap();
    let [job] = jobs(&world).await[..] else { panic!("one job") };
    // The schedule may have it at work at this moment: then it leaves that one alone.
    eventually("what is final is materialised", async || {
        sqlx::query("CALL public.run_job($1)").bind(job).execute(&mut owner).await.unwrap();
        let to = "SELECT hourly_to > now() - INTERVAL '4 hours' AND daily_to > now() - INTERVAL '3 days' FROM analytics.rollup_engine";
        sqlx::query_scalar::<_, bool>(to).fetch_one(&mut conn).await.unwrap().then_some(())
    })
    .await;
    assert_eq!(command(&world, &["verify"]).await["holds"], true);
    command(&world, &["rollups", "switch", "--to", LIVE]).await;
    assert!(jobs(&world).await.is_empty());
    assert_eq!(service.terminate().await, Some(0));
}

/// Invocations that are shown, by org, hour and model.
async fn shown(conn: &mut PgConnection) -> BTreeMap<(Uuid, DateTime<Utc>, Uuid), i64> {
    let rows: Vec<(Uuid, DateTime<Utc>, Uuid, i64)> = sqlx::query_as(
        "SELECT org_id, bucket_start, model_id, sum(successes + errors + timeouts + throttled)::bigint
         FROM analytics.hourly_usage GROUP BY 1, 2, 3",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    rows.into_iter().map(|(org, hour, model, n)| ((org, hour, model), n)).collect()
}

/// Looks again and again at what is shown, until it is dropped: no number goes down.
fn watch(world: &World) -> tokio::task::JoinHandle<()> {
    let database = world.settings.database.clone();
    let watching = async move {
        let mut conn = store::connect_writer(&database).await.unwrap();
        let mut before = shown(&mut conn).await;
        loop {
            let now = shown(&mut conn).await;
            for (key, n) in &before {
                assert!(now.get(key) >= Some(n), "{key:?} went down from {n} to {:?}", now.get(key));
            }
            before = now;
            millis(20..100).await;
        }
    };
    tokio::spawn(watching)
}

#[tokio::test]
async fn killed_anywhere_a_switch_under_load_loses_and_doubles_nothing() {
    let world = World::new(2).await;
    let service = world.serve().await;
    let load = Load::start(&world, "23").await;
    let license: String =
        sqlx::query_scalar("SHOW timescaledb.license").fetch_one(&mut world.connect().await).await.unwrap();
    let community = license == "timescale";
    let watched = watch(&world);
    for engine in [CONTINUOUS, LIVE, CONTINUOUS, LIVE] {
        if engine == LIVE || community {
            for _ in 0..3 {
                let mut child = world.command(&["rollups", "switch", "--to", engine]).spawn().unwrap();
                millis(20..900).await;
                let _ = child.kill();
                child.wait().unwrap();
            }
        }
        if engine == CONTINUOUS {
            to_continuous(&world).await;
        } else {
            switch(&world, engine).await;
        }
        for _ in 0..3 {
            let mut child = world.command(&["refresh", "--late"]).spawn().unwrap();
            millis(20..500).await;
            let _ = child.kill();
            child.wait().unwrap();
        }
        command(&world, &["refresh", "--late"]).await;
        let report = command(&world, &["verify"]).await;
        assert_eq!(report["holds"], true, "{engine}: {report}");
    }
    assert!(!watched.is_finished(), "no number went down");
    watched.abort();
    load.exact(&world).await;
    assert_eq!(service.terminate().await, Some(0));
}
