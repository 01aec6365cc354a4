//! Care for the tables: by command, by the service itself where nobody does it, and compressed where the edition can.

use std::time::Duration;

use analytics_service::store::{
    lifecycle::maintenance::{Access, TaskLock},
    schema,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::harness::{LedgerSums, Service, World, eventually, ledger_holes, not_run, number, settled};

async fn license(conn: &mut PgConnection) -> String {
    sqlx::query_scalar("SHOW timescaledb.license").fetch_one(conn).await.unwrap()
}

async fn chunks(conn: &mut PgConnection) -> Vec<(DateTime<Utc>, bool)> {
    sqlx::query_as("SELECT range_start, is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'usage_events' ORDER BY 1")
        .fetch_all(conn)
        .await
        .unwrap()
}

fn event(org: u128, n: u64, at: DateTime<Utc>) -> Value {
    json!({
        "eventId": Uuid::from_u128(u128::from(n)), "orgId": Uuid::from_u128(org), "modelId": Uuid::from_u128(u128::from(n % 3)),
        "actorId": Uuid::from_u128(u128::from(n % 7)), "occurredAt": at, "status": "success", "latencyMs": n % 900,
        "inputTokens": n, "outputTokens": 2 * n, "costEstimateCents": 0.25,
    })
}

async fn send(world: &World, events: &[Value]) {
    world.send(events.iter().map(|event| event.to_string().into_bytes())).await;
}

#[tokio::test]
async fn days_are_created_ahead_once() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let edition = license(&mut conn).await;
    let (one, two) = tokio::join!(world.report(&["maintain"]), world.report(&["maintain"]));
    assert_eq!(one["chunksMade"].as_i64().unwrap() + two["chunksMade"].as_i64().unwrap(), 4, "{one} {two}");
    let today = Utc::now().date_naive();
    let days: Vec<_> = chunks(&mut conn).await.iter().map(|(start, _)| start.date_naive() - today).collect();
    assert_eq!(days, [0, 1, 2, 3].map(TimeDelta::days));
    let compression = match edition.as_str() {
        "timescale" => json!({ "state": "scheduled", "afterDays": 7, "overdue": 0 }),
        _ => json!({ "state": "notInThisEdition", "license": edition }),
    };
    assert_eq!(two["compression"], compression);
    // What is stored takes the day that was made.
    let service = world.serve().await;
    let at = Utc::now();
    send(&world, &[event(1, 1, at)]).await;
    settled(&mut conn, 1).await;
    assert_eq!(chunks(&mut conn).await.len(), 4);
    let (_, readiness) = service.readiness().await.unwrap();
    let database = readiness["components"].as_array().unwrap().iter().find(|part| part["name"] == "database").unwrap();
    let said = database["detail"].as_str().unwrap();
    assert_eq!(
        said.contains("Apache edition: no compression, no continuous aggregates"),
        edition == "apache",
        "{said}"
    );
    let figures = world.report(&["maintain"]).await;
    assert_eq!((&figures["chunksMade"], &figures["raw"]["chunks"]), (&json!(0), &json!(4)));
    assert!(figures["raw"]["bytes"].as_i64().unwrap() > 0);
    let tables: Vec<_> =
        figures["tables"].as_array().unwrap().iter().filter_map(|table| table["name"].as_str()).collect();
    assert!(tables.contains(&"hourly_rollups") && tables.contains(&"rollup_pending"), "{tables:?}");
    let advice = &figures["engineAdvice"];
    assert_eq!((&advice["engine"], &advice["recommended"]), (&json!("live"), &json!("live")), "on either edition");
    let shown = world.run(&["maintain"]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("compression: ") && shown.contains("hourly_rollups"), "{shown}");
}

/// How often a process did a task, as its metrics have it.
async fn runs(service: &Service, task: &str) -> u64 {
    let metric = format!("analytics_maintenance_runs_total{{task=\"{task}\",outcome=\"done\"}} ");
    let metrics = service.metrics().await;
    metrics.lines().find_map(|line| line.strip_prefix(&metric)).map_or(0, |n| n.parse().unwrap())
}

async fn knows(service: &Service, task: &str) {
    let metric = format!("analytics_maintenance_last_success_timestamp{{task=\"{task}\"}}");
    eventually(&format!("{task} is known to be done"), async || {
        service.metrics().await.contains(&metric).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rows_are_shown_once_they_are_counted() {
    let world = World::new(1).await;
    let service = world.serve().await;
    // Too few for the server to count them by itself.
    send(&world, &[event(1, 1, Utc::now()), event(1, 2, Utc::now())]).await;
    settled(&mut world.connect().await, 2).await;
    let rows = async || {
        let found = service.ops("/ops/data-life").await;
        let tables = found["tables"].as_array().unwrap();
        tables.iter().find(|table| table["name"] == "usage_events").unwrap()["rows"].clone()
    };
    assert_eq!(rows().await, Value::Null);
    sqlx::query("ANALYZE analytics.usage_events").execute(&mut world.connect_as_owner().await).await.unwrap();
    assert_eq!(rows().await, 2);
}

#[tokio::test]
async fn due_maintenance_runs_once_among_processes() {
    let mut world = World::new(2).await;
    world.set("ANALYTICS__MAINTENANCE__ENABLED", "true");
    world.set("ANALYTICS__MAINTENANCE__CHECK_SECONDS", "1");
    world.set("ANALYTICS__RETENTION__DEAD_LETTER_DAYS", "1");
    let mut conn = world.connect().await;
    sqlx::query(
        "INSERT INTO analytics.supervision_events (event_id, occurred_at, process, actor, generation, what)
         SELECT analytics.uuid_v7(at), at, 'test/1', 'lease', 1, 'started'
         FROM unnest(ARRAY[now() - INTERVAL '91 days', now() - INTERVAL '89 days']) AS at",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let services = [world.serve().await, world.serve().await];
    for task in ["purge", "maintain"] {
        for service in &services {
            knows(service, task).await;
        }
        assert_eq!(runs(&services[0], task).await + runs(&services[1], task).await, 1, "{task}");
    }
    let old = "SELECT count(*) FROM analytics.supervision_events WHERE process = 'test/1'";
    let left = number(&mut conn, old).await;
    assert_eq!(left, 1, "only what is older went");
    assert_eq!(chunks(&mut conn).await.len(), 4);
    for service in services {
        assert_eq!(service.terminate().await, Some(0));
    }
    // Where CronJobs run the commands, a process that starts has nothing to do.
    for task in ["purge", "maintain"] {
        world.report(&[task]).await;
    }
    let service = world.serve().await;
    for task in ["purge", "maintain"] {
        knows(&service, task).await;
        assert_eq!(runs(&service, task).await, 0, "{task}");
    }
}

#[tokio::test]
async fn compressed_days_take_late_events_once() {
    let mut world = World::new(1).await;
    let mut conn = world.connect().await;
    let edition = license(&mut conn).await;
    if edition != "timescale" {
        let why = format!("compression needs TimescaleDB's Community edition, and the licence here is {edition}");
        return not_run(&why);
    }
    let service = world.serve().await;
    let day = Utc::now() - TimeDelta::days(10);
    let at = |n: u64| day + TimeDelta::milliseconds(i64::try_from(n).unwrap());
    let first: Vec<_> = (0..6000).map(|n| event(1 + u128::from(n % 2), n, at(n))).collect();
    send(&world, &first).await;
    settled(&mut conn, 6000).await;
    world.report(&["maintain"]).await;
    let mut owner = world.connect_as_owner().await;
    let job: i32 = sqlx::query_scalar(
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression'
           AND hypertable_name = 'usage_events'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    sqlx::query("CALL public.run_job($1)").bind(job).execute(&mut owner).await.unwrap();
    let compressed = chunks(&mut conn).await.iter().filter(|(_, compressed)| *compressed).count();
    assert!(compressed > 0);
    // New ones, the same again, and some whose moment has changed since.
    let late: Vec<_> = (6000..7000).map(|n| event(1 + u128::from(n % 2), n, at(n))).collect();
    let again: Vec<_> = (0..500).map(|n| event(1 + u128::from(n % 2), n, at(n))).collect();
    let moved: Vec<_> = (500..1000).map(|n| event(1 + u128::from(n % 2), n, at(n) + TimeDelta::minutes(5))).collect();
    send(&world, &[late, again, moved].concat()).await;
    settled(&mut conn, 8000).await;
    let sums = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((sums.received, sums.stored, sums.duplicates), (8000, 7000, 1000));
    // Again by a process that remembers nothing of them.
    service.kill();
    let service = world.serve().await;
    send(&world, &first[..200]).await;
    settled(&mut conn, 8200).await;
    assert_eq!(LedgerSums::of_batches(&mut conn).await.stored, 7000);
    let report = world.report(&["verify"]).await;
    assert_eq!((&report["holds"], &report["events"]), (&json!(true), &json!(7000)), "{report}");
    // Lost rows are restored, and purged ones are added to the ledger, as elsewhere.
    let lost = sqlx::query("DELETE FROM analytics.usage_events WHERE event_id = ANY ($1)")
        .bind((0..40_u128).map(|n| Uuid::from_u128(n * 7)).collect::<Vec<_>>())
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(lost.rows_affected(), 40);
    let output = world.run(&["replay", "--json", "--partition", "0", "--from", "0", "--to", "6000"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let replayed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(replayed["repaired"], 40, "{replayed}");
    world.report(&["erase", "--actor", &Uuid::from_u128(3).to_string(), "--yes"]).await;
    let report = world.report(&["verify"]).await;
    assert_eq!((&report["holds"], &report["events"]), (&json!(true), &json!(6000)), "{report}");
    world.report(&["erase", "--org", &Uuid::from_u128(1).to_string(), "--yes"]).await;
    let report = world.report(&["verify"]).await;
    assert_eq!((&report["holds"], &report["events"]), (&json!(true), &json!(3000)), "{report}");
    drop(service);
    world.set("ANALYTICS__EVENTS__RETENTION_DAYS", "4");
    let purged = world.report(&["purge"]).await;
    assert_eq!(purged["raw"]["events"], 3000, "{purged}");
    assert!(chunks(&mut conn).await.iter().all(|(_, compressed)| !compressed));
    assert_eq!(world.report(&["verify"]).await["holds"], true);
    assert_eq!(ledger_holes(&mut conn).await, 0);
}

/// What is on record of a task.
async fn recorded(conn: &mut PgConnection, task: &str) -> (Option<String>, Option<Value>) {
    sqlx::query_as("SELECT outcome, summary FROM analytics.maintenance_runs WHERE task = $1")
        .bind(task)
        .fetch_one(conn)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_failed_command_leaves_its_reason() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let args = ["refresh", "--from", "2026-01-01", "--to", "2026-01-02"];
    world.report(&args).await;
    assert_eq!(recorded(&mut conn, "refresh").await.0.as_deref(), Some("done"));
    world.report(&["purge"]).await;
    // Raw events that are gone cannot be counted again, and a right that is gone cannot be used.
    let change = "INSERT INTO analytics.raw_horizons VALUES (NULL, '2026-01-02 00:00Z')";
    sqlx::query(change).execute(&mut conn).await.unwrap();
    let mut owner = world.connect_as_owner().await;
    let revoke = "REVOKE DELETE ON analytics.processes FROM analytics_service";
    sqlx::query(revoke).execute(&mut owner).await.unwrap();
    for (args, reason) in [(&args[..], "--from must be 2026-01-02 or later"), (&["purge"], "SQLSTATE 42501")] {
        let output = world.run(args).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(reason), "{said}");
        let (outcome, summary) = recorded(&mut conn, args[0]).await;
        let error = summary.unwrap()["error"].as_str().unwrap().to_owned();
        assert!(outcome.as_deref() == Some("failed") && error.contains(reason), "{error}");
    }
    let output = world.run(&["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let purge = status["maintenance"].as_array().unwrap().iter().find(|run| run["task"] == "purge").unwrap();
    assert!(purge["error"].as_str().unwrap().contains("SQLSTATE 42501") && purge["lastDoneAt"].is_string(), "{purge}");
    let output = world.run(&["status"]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("! ") && line.contains("purge failed")).unwrap_or(&text);
    assert!(line.contains("ago (") && line.contains("SQLSTATE 42501") && line.contains("and was last done "), "{text}");
    assert!(text.lines().any(|line| line.starts_with("maintenance ") && line.contains("refresh failed")), "{text}");
}

#[tokio::test]
async fn when_a_task_was_last_done_outlives_failures() {
    let world = World::new(1).await.unchecked("the schema is an earlier one at the end");
    let take = async || {
        let (database, wait) = (&world.settings.database, Duration::from_secs(5));
        TaskLock::take(database, "purge", Access::Alone, wait).await.unwrap_or_else(|error| panic!("{error}"))
    };
    let mut lock = take().await;
    lock.begin("host/1").await.unwrap();
    assert_eq!(lock.last_done(TimeDelta::hours(1)).await.unwrap(), None);
    lock.done(&json!({})).await.unwrap();
    let (began, lately) = lock.last_done(TimeDelta::hours(1)).await.unwrap().unwrap();
    assert!(lately);
    lock.begin("host/1").await.unwrap();
    lock.failed("the disk is full\0").await.unwrap();
    assert_eq!(lock.last_done(TimeDelta::hours(1)).await.unwrap(), Some((began, true)));
    lock.begin("host/1").await.unwrap();
    drop(lock);
    let mut lock = take().await;
    assert_eq!(lock.last_done(TimeDelta::zero()).await.unwrap(), Some((began, false)), "of one that was killed, too");
    // The schema before knows when the last run was done, until the next one begins.
    lock.done(&json!({})).await.unwrap();
    let mut owner = world.connect_as_owner().await;
    schema::down(&mut owner, 20_261_129_000_119).await.unwrap();
    assert!(lock.last_done(TimeDelta::hours(1)).await.unwrap().is_some_and(|(at, lately)| lately && at > began));
    lock.begin("host/1").await.unwrap();
    assert_eq!(lock.last_done(TimeDelta::hours(1)).await.unwrap(), None);
}
