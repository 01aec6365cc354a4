//! A file of events is published once, however often that is interrupted, and publishing it again changes nothing.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Output, Stdio},
};

use analytics_service::workload::{
    synthetic::{Plan, Synthetic},
    tally::Tally,
};
use chrono::Utc;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::harness::{LedgerSums, World, assert_exact, eventually, millis, scale, settled};

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("it-replay-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Lines of events, late ones among them, and what a publisher would report of them.
fn events(count: u32) -> (Vec<Vec<u8>>, Value) {
    let run = u64::try_from(Utc::now().timestamp_micros()).unwrap();
    let plan = Plan { seed: 41, run, orgs: 20, models: 4, duplicates: 0, late: 200_000, invalid: 0 };
    let (mut load, mut tally) = (Synthetic::new(plan), Tally::default());
    let line = |_| {
        let mut body = Vec::new();
        tally.add(&load.next(Utc::now(), &mut body).unwrap());
        body
    };
    let lines = (0..count).map(line).collect();
    let mut report = serde_json::to_value(tally.counts()).unwrap();
    let orgs = tally.orgs().iter();
    report["orgs"] = orgs.map(|(org_id, share)| json!({ "orgId": org_id, "totals": share.totals })).collect();
    report["resent"] = json!(0);
    (lines, report)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Exit code and report.
async fn replay(world: &World, args: &[&str]) -> (Option<i32>, Value) {
    outcome(&world.run(&[&["replay", "--json", "--file"], args].concat()).await)
}

fn outcome(output: &Output) -> (Option<i32>, Value) {
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

/// Waits until so many events are stored, and holds the outcome against what was expected, whatever was sent again.
async fn assert_stored_once(world: &World, events: i64, mut expected: Value) {
    let mut conn = world.connect().await;
    eventually("all of them are stored", async || {
        (LedgerSums::of_batches(&mut conn).await.stored == events).then_some(())
    })
    .await;
    let in_streams = world.in_streams().await;
    settled(&mut conn, in_streams).await;
    expected["resent"] = json!(in_streams - events);
    assert_exact(&mut conn, &expected).await;
}

#[tokio::test]
async fn a_zipped_file_is_counted_once() {
    let world = World::new(3).await;
    let _service = world.serve().await;
    let mut conn = world.connect().await;
    let folder = Folder::new();
    let (lines, expected) = events(10_000);
    let (first, second) = lines.split_at(6000);
    // Two members, as `cat a.gz b.gz` makes them.
    let members = [first, second].map(|lines| gzip(&[lines.join(&b"\r\n"[..]), b"\r\n\r\n".to_vec()].concat()));
    let file = folder.file("events.gz", &members.concat());

    let (code, report) = replay(&world, &[&file]).await;
    assert_eq!((code, &report["published"], &report["lines"]), (Some(0), &json!(10_000), &json!(10_000)), "{report}");
    assert_eq!(
        (&report["empty"], &report["resumedFrom"], &report["finished"]),
        (&json!(2), &Value::Null, &json!(true))
    );
    settled(&mut conn, 10_000).await;
    assert_exact(&mut conn, &expected).await;

    let (code, report) = replay(&world, &[&file]).await;
    assert_eq!((code, &report["published"], &report["skipped"]), (Some(0), &json!(0), &json!(10_000)), "{report}");
    let (code, report) = replay(&world, &[&file, "--again"]).await;
    assert_eq!((code, &report["published"]), (Some(0), &json!(10_000)), "{report}");
    settled(&mut conn, 20_000).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((ledger.received, ledger.stored, ledger.duplicates, ledger.conflicts), (20_000, 10_000, 10_000, 0));
}

#[tokio::test]
async fn an_interrupted_file_resumes_after_confirmed_lines() {
    let world = World::new(2).await;
    let _service = world.serve().await;
    let mut conn = world.connect().await;
    let folder = Folder::new();
    let count = 12_000 * scale();
    let (lines, expected) = events(count);
    let file = folder.file("events.ndjson", &lines.join(&b"\n"[..]));

    let args = ["replay", "--json", "--file", &file, "--rate", "1000"];
    let child = world.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    eventually("something is stored", async || (LedgerSums::of_batches(&mut conn).await.stored > 0).then_some(()))
        .await;
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    let (code, first) = outcome(&output);
    assert_eq!((code, &first["finished"], &first["unconfirmed"]), (Some(1), &json!(false), &json!(0)), "{first}");
    let published = first["published"].as_u64().unwrap();
    assert!((1..u64::from(count)).contains(&published), "{first}");

    let (code, second) = replay(&world, &[&file]).await;
    assert_eq!((code, &second["finished"]), (Some(0), &json!(true)), "{second}");
    assert_eq!((&second["skipped"], &second["resumedFrom"]), (&json!(published), &json!(published + 1)));
    assert_eq!(second["published"], json!(u64::from(count) - published));
    settled(&mut conn, i64::from(count)).await;
    let ledger = assert_exact(&mut conn, &expected).await;
    assert_eq!(ledger.duplicates, 0, "nothing was sent twice");
}

#[tokio::test]
async fn a_killed_replay_counts_lines_once() {
    let world = World::new(2).await;
    let _service = world.serve().await;
    let folder = Folder::new();
    let (lines, expected) = events(20_000);
    let file = folder.file("events.ndjson", &lines.join(&b"\n"[..]));
    let state = folder.0.join("state");
    let args = [&file, "--state", state.to_str().unwrap()];

    let mut child = world.command(&[&["replay", "--rate", "8000", "--file"], &args[..]].concat());
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the state was kept", async || {
        let kept: Value = serde_json::from_slice(&fs::read(&state).ok()?).unwrap();
        (kept["confirmed"].as_u64().unwrap() > 0).then_some(())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, report) = replay(&world, &args).await;
    assert_eq!((code, &report["finished"]), (Some(0), &json!(true)), "{report}");
    let skipped = report["skipped"].as_u64().unwrap();
    assert!(skipped >= 5000 && report["published"] == json!(20_000 - skipped), "{report}");

    assert_stored_once(&world, 20_000, expected).await;
}

#[tokio::test]
async fn a_replay_outlives_its_connections() {
    let mut world = World::new(2).await;
    let _service = world.serve().await;
    let proxy = world.proxy_broker();
    let folder = Folder::new();
    let (lines, expected) = events(12_000);
    let file = folder.file("events.ndjson", &lines.join(&b"\n"[..]));
    let mut command = world.command(&["replay", "--json", "--rate", "6000", "--file", &file]);
    command.envs(&world.routes);
    let mut replaying = tokio::task::spawn_blocking(move || command.output());
    // A command that cannot connect at first says so and ends.
    let mut conn = world.connect().await;
    eventually("it publishes", async || (LedgerSums::of_batches(&mut conn).await.received > 0).then_some(())).await;
    let mut drops = 0;
    let output = loop {
        tokio::select! {
            output = &mut replaying => break output.unwrap().unwrap(),
            // Several times while it is at work. Not for ever: on a busy machine connecting may take longer than that.
            () = millis(500..501), if drops < 8 => {
                proxy.drop_connections();
                drops += 1;
            }
        }
    };
    let (code, report) = outcome(&output);
    assert_eq!((code, &report["published"], &report["finished"]), (Some(0), &json!(12_000), &json!(true)), "{report}");
    assert_stored_once(&world, 12_000, expected).await;
}

#[tokio::test]
async fn a_dry_run_publishes_nothing() {
    let world = World::new(1).await;
    let folder = Folder::new();
    let (mut lines, _) = events(50);
    let good = folder.file("good.ndjson", &lines.join(&b"\n"[..]));
    let (code, report) = replay(&world, &[&good, "--dry-run"]).await;
    assert_eq!((code, &report["accepted"], &report["rejected"]), (Some(0), &json!(50), &json!(0)), "{report}");

    lines.insert(9, b"not json".to_vec());
    lines.insert(0, Vec::new());
    let bad = folder.file("bad.ndjson", &lines.join(&b"\n"[..]));
    let (code, report) = replay(&world, &[&bad, "--dry-run"]).await;
    assert_eq!((code, &report["accepted"], &report["rejected"]), (Some(3), &json!(50), &json!(1)), "{report}");
    let first = json!([{ "line": 11, "reasons": ["message: is not valid JSON at line 1 column 2"] }]);
    assert_eq!(report["firstRejected"], first);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "no state is kept");
}

#[tokio::test]
async fn unreplayable_files_name_line_or_state() {
    let world = World::new(1).await;
    let folder = Folder::new();
    let (lines, _) = events(3);
    let fails = async |args: &[&str]| {
        let output = world.run(&[&["replay", "--file"], args].concat()).await;
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let long = [lines[0].clone(), vec![b'x'; 2 << 20]].join(&b'\n');
    let long = folder.file("long", &long);
    let said = fails(&[&long]).await;
    assert!(said.contains("line 2 is longer than 1048576 bytes"), "{said}");
    let other = folder.file("other", &lines[1]);
    let said = fails(&[&other, "--state", &format!("{long}.replay-state")]).await;
    assert!(said.contains("is the state of another file") && said.contains("--state"), "{said}");
}
