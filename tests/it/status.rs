//! `status`: what it says of an installation that is well, and of each that is not.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{
    harness::{Service, World, eventually, number, output_of, settled},
    pending,
    store_commit::{body, event},
};

/// Exit code and standard output.
type Done = (Option<i32>, String);

async fn done(command: Command) -> Done {
    let output = output_of(command).await;
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// What it says of the database, and of these processes.
async fn status(world: &World, services: &[&Service]) -> (Option<i32>, Value) {
    let (code, out) = done(command(world, services, &["--json"])).await;
    (code, serde_json::from_str(&out).unwrap())
}

fn command(world: &World, services: &[&Service], args: &[&str]) -> Command {
    let mut command = world.command(&[&["status"], args].concat());
    // Otherwise what listens on the default port.
    command.env("ANALYTICS__OPS__ADDRESS", "127.0.0.1:1");
    command.args(services.iter().flat_map(|service| ["--url".to_owned(), format!("http://{}", service.ops)]));
    command
}

/// What is not well.
fn kinds(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

/// Waits until exactly these findings are reported, by `--json` and, a moment later, in the text.
async fn until_only(world: &World, services: &[&Service], expected: &[&str]) -> Value {
    let (code, starts) = match expected.len() {
        0 => (Some(0), "well (".to_owned()),
        things => (Some(3), format!("NOT WELL: {things} thing")),
    };
    let (found, text) = eventually(&format!("only {expected:?} is not well"), async || {
        let (found, report) = status(world, services).await;
        let well = expected.is_empty();
        assert!(found == Some(if kinds(&report).is_empty() { 0 } else { 3 }), "{found:?}: {report}");
        if kinds(&report) != expected || report["well"] != json!(well) {
            eprintln!("{report}");
            return None;
        }
        let (found, text) = done(command(world, services, &[])).await;
        eprintln!("{text}");
        (found == code && text.starts_with(&starts)).then_some((report, text))
    })
    .await;
    for finding in found["findings"].as_array().unwrap() {
        let page = finding["page"].as_str().unwrap();
        let why = finding["why"].as_str().unwrap();
        assert!(
            text.lines().any(|line| line.starts_with("! ") && line.contains(why) && line.ends_with(page)),
            "{text}"
        );
    }
    found
}

/// As one that runs elsewhere.
async fn enrol(conn: &mut PgConnection, world: &World) {
    sqlx::query(
        "INSERT INTO analytics.processes (process_id, stream, name, expires_at)
         VALUES (gen_random_uuid(), $1, 'elsewhere/1', clock_timestamp() + INTERVAL '1 hour')",
    )
    .bind(&world.settings.broker.stream)
    .execute(conn)
    .await
    .unwrap();
}

#[tokio::test]
async fn two_processes_with_dead_letters_are_well() {
    let world = World::new(2).await;
    let mut conn = world.connect().await;
    let (one, other) = (world.serve().await, world.serve().await);
    world.send([body(&event(1, 1, Utc::now())), b"no event".to_vec()]).await;
    settled(&mut conn, 2).await;
    eventually("each has a partition, and has read it", async || {
        let (_, report) = status(&world, &[&one, &other]).await;
        let has = |process: &Value| process["leased"] == true && process["partitions"].as_array().unwrap().len() == 1;
        let processes = report["processes"].as_array().unwrap();
        let fresh = |partition: &Value| partition["asOf"]["status"] == "fresh";
        let both = processes.len() == 2 && processes.iter().all(has);
        (both && report["partitions"].as_array().unwrap().iter().all(fresh)).then_some(())
    })
    .await;
    let report = until_only(&world, &[&one, &other], &[]).await;
    assert_eq!((&report["deadLetters"]["open"], &report["deadLetters"]["lastDay"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(report["deadLetters"]["reasons"].as_array().unwrap().len(), 1, "{report}");
    for port in report["operations"].as_array().unwrap() {
        assert_eq!(
            (&port["status"], &port["version"]),
            (&json!("ready"), &json!(env!("CARGO_PKG_VERSION"))),
            "{report}"
        );
    }
    let (_, text) = done(command(&world, &[&one, &other], &[])).await;
    let has_version = |line: &&str| line.contains(env!("CARGO_PKG_VERSION")) && line.contains("  valid  ");
    assert_eq!(text.lines().filter(has_version).count(), 2, "{text}");
    assert!(
        text.contains("1 open; 1 in 24 h (1 × message: is not valid JSON)") && text.contains("verify        never"),
        "{text}"
    );
    assert!(!text.contains(&uuid::Uuid::from_u128(1).to_string()), "no org is named: {text}");
    assert!(text.lines().count() <= 24, "one screen: {text}");
}

#[tokio::test]
async fn a_parked_partition_is_named_with_its_cause() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    let service = world.serve().await;
    world.send([body(&event(1, 1, Utc::now()))]).await;
    settled(&mut conn, 1).await;
    service.park_partition(&mut conn).await;
    let report = until_only(&world, &[&service], &["partition_parked"]).await;
    let finding = &report["findings"][0];
    assert!(finding["what"].as_str().unwrap().contains("partition 0 is parked ("), "{report}");
    assert_eq!(finding["command"], "actors log --actor partition/0");
}

#[tokio::test]
async fn a_named_process_that_hangs_is_found() {
    let world = World::new(1).await;
    let (first, second) = (world.serve().await, world.serve().await);
    until_only(&world, &[&first, &second], &[]).await;
    second.signal("STOP");
    let report = until_only(&world, &[&first, &second], &["process_silent"]).await;
    let what = report["findings"][0]["what"].as_str().unwrap();
    assert!(what.starts_with(&format!("http://{} does not respond (", second.ops)), "{what}");
    second.signal("CONT");
    until_only(&world, &[&first, &second], &[]).await;
}

#[tokio::test]
async fn partitions_that_nobody_reads_are_found() {
    let world = World::new(2).await;
    let mut conn = world.connect().await;
    until_only(&world, &[], &["no_process"]).await;
    let service = world.serve().await;
    until_only(&world, &[&service], &[]).await;
    assert_eq!(service.terminate().await, Some(0));
    until_only(&world, &[], &["no_process"]).await;
    enrol(&mut conn, &world).await;
    until_only(&world, &[], &["partition_without_owner", "partition_without_owner"]).await;
}

#[tokio::test]
async fn batches_that_wait_for_long_are_found() {
    let world = World::new(1).await.unchecked("pending rows without events are put in");
    let mut conn = world.connect().await;
    enrol(&mut conn, &world).await;
    pending::put(&mut conn, &world.settings.broker.stream, 0, &event(1, 1, Utc::now()), 60.0).await;
    until_only(&world, &[], &[]).await;
    pending::put(&mut conn, &world.settings.broker.stream, 0, &event(1, 2, Utc::now()), 900.0).await;
    let report = until_only(&world, &[], &["rollup_pending_old"]).await;
    assert_eq!(report["pending"]["count"], 2, "{report}");
}

#[tokio::test]
async fn what_verify_found_last_is_shown() {
    let world = World::new(1).await.unchecked("a rollup is changed");
    let mut conn = world.connect().await;
    let service = world.serve().await;
    world.send([body(&event(1, 1, Utc::now()))]).await;
    settled(&mut conn, 1).await;
    assert_eq!(world.run(&["verify"]).await.status.code(), Some(0));
    let report = until_only(&world, &[&service], &[]).await;
    assert_eq!(report["verify"]["differences"], 0, "{report}");
    sqlx::query("UPDATE analytics.hourly_rollups SET successes = successes + 1").execute(&mut conn).await.unwrap();
    assert_eq!(world.run(&["verify"]).await.status.code(), Some(3));
    let report = until_only(&world, &[&service], &["verify_found_difference"]).await;
    assert!(report["verify"]["differences"].as_i64().unwrap() > 0, "{report}");
}

#[tokio::test]
async fn failed_exports_count_and_cancelled_ones_do_not() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    enrol(&mut conn, &world).await;
    for (error, expected) in [("cancelled", &[][..]), ("the object store refuses", &["exports_failing"])] {
        sqlx::query(
            "INSERT INTO analytics.export_jobs (job_id, org_id, kind, status, granularity, group_by, range_start, range_end,
                                                models, initiated_by, request_sha256, completed_at, error)
             VALUES (gen_random_uuid(), gen_random_uuid(), 'demand', 'failed', 'daily', 'model', '2026-03-01', '2026-03-02',
                     '{}', 'ann', decode(repeat('00', 32), 'hex'), clock_timestamp(), $1)",
        )
        .bind(error)
        .execute(&mut conn)
        .await
        .unwrap();
        let report = until_only(&world, &[], expected).await;
        assert!(!report.to_string().contains(error), "an error may name an organisation's bucket: {report}");
    }
    assert_eq!(number(&mut conn, "SELECT count(*) FROM analytics.export_jobs").await, 2);
}

#[tokio::test]
async fn a_database_that_is_away_is_said_in_time() {
    let mut world = World::new(1).await;
    let service = world.serve().await;
    let proxy = world.proxy_database();
    for fault in ["cut", "stalled"] {
        if fault == "cut" {
            proxy.cut()
        } else {
            proxy.stall()
        }
        let away = |args: &[&str]| {
            let mut command = command(&world, &[&service], args);
            command.envs(&world.routes);
            command
        };
        let began = std::time::Instant::now();
        let (code, out) = done(away(&["--json"])).await;
        assert!(began.elapsed().as_secs() < 30, "{fault}: {:?}", began.elapsed());
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &report["well"]), (Some(1), &Value::Null), "{report}");
        assert!(report["error"].is_string() && report["partitions"].is_null(), "{report}");
        assert_eq!(report["operations"][0]["status"], "ready", "the process is shown all the same: {report}");
        let (code, text) = done(away(&[])).await;
        assert!(code == Some(1) && text.starts_with("NOT KNOWN: database"), "{text}");
        proxy.heal();
    }
}

#[tokio::test]
async fn watching_goes_on_until_it_is_interrupted() {
    let world = World::new(1).await;
    let mut conn = world.connect().await;
    enrol(&mut conn, &world).await;
    let mut child = command(&world, &[], &["--watch", "1", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let (first, second) = (next(), next());
    assert!(first["lookedAt"].as_str() < second["lookedAt"].as_str(), "{first} {second}");
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let mut child = command(&world, &[], &["--watch=1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut headline = String::new();
    while !headline.starts_with("well (") {
        headline.clear();
        assert_ne!(out.read_line(&mut headline).unwrap(), 0);
    }
    assert!(!headline.contains('\u{1b}'), "no terminal is redrawn: {headline}");
    child.kill().unwrap();
    child.wait().unwrap();
    out.read_to_string(&mut headline).unwrap();
    assert_eq!(done(command(&world, &[], &["--watch", "0"])).await.0, Some(2));
}
