//! `publish --trace`: judged whole before anything is published, and no trace shares events with another.

use serde_json::Value;

use crate::harness::{LedgerSums, World, settled};

const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";

fn publish<'a>(file: &'a std::path::Path, state: &'a tempfile::TempDir) -> [&'a str; 6] {
    ["publish", "--json", "--trace", file.to_str().unwrap(), "--state-dir", state.path().to_str().unwrap()]
}

#[tokio::test]
async fn two_traces_of_one_seed_are_counted_apart() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let state = tempfile::tempdir().unwrap();
    // The second has the first one's rows, and one more.
    let rows: Vec<String> =
        (0..300).map(|n| format!("2024-05-10 10:{:02}:{:02}.5+00:00,{n},2\n", n / 60, n % 60)).collect();
    let files = [299, 300].map(|count| {
        let file = state.path().join(format!("{count}.csv"));
        std::fs::write(&file, HEADER.to_owned() + &rows[..count].concat()).unwrap();
        file
    });
    for file in [&files[0], &files[1], &files[0]] {
        let output = world.run(&publish(file, &state)).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut conn = world.connect().await;
    settled(&mut conn, 299 + 300 + 299).await;
    let sums = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((sums.stored, sums.duplicates, sums.rejected), (599, 299, 0));
    drop(service);
}

#[tokio::test]
async fn a_two_day_trace_is_published_once() {
    let world = World::new(1).await;
    let _service = world.serve().await;
    let state = tempfile::tempdir().unwrap();
    let short = state.path().join("short.csv");
    std::fs::write(&short, format!("{HEADER}2024-05-10T10:00:00Z,1,1\n")).unwrap();
    let long = state.path().join("long.csv");
    std::fs::write(&long, format!("{HEADER}2024-05-10T10:00:00Z,1,1\n2024-05-11T23:59:59Z,1,1\n")).unwrap();
    for file in [&short, &long, &long] {
        let output = world.run(&publish(file, &state)).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["sent"], report["events"]);
    }
    let mut conn = world.connect().await;
    settled(&mut conn, 5).await;
    let sums = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((sums.stored, sums.duplicates, sums.rejected), (3, 2, 0), "another date each time would double it");
}

#[tokio::test]
async fn nothing_is_published_where_a_row_cannot_be() {
    let world = World::new(1).await;
    // So that there is a stream, which holds this message and nothing else in the end.
    world.send([b"{}".to_vec()]).await;
    let state = tempfile::tempdir().unwrap();
    let yesterday = (chrono::Utc::now() - chrono::TimeDelta::days(1)).format("%Y-%m-%d").to_string();
    let good: String = (0..500).map(|n| format!("2024-05-10 10:00:00,{n},1\n")).collect();
    for (last, more, named) in [
        ("2024-05-10 10:00:00,x,1", &[][..], "line 502: ContextTokens"),
        ("2024-05-12 23:59:59,1,1", &["--base-date", yesterday.as_str()], "Nothing was published"),
        ("2024-05-10 10:00:00,1,1", &["--base-date", "2001-01-01"], "older than"),
    ] {
        let file = state.path().join("trace.csv");
        std::fs::write(&file, format!("{HEADER}{good}{last}\n")).unwrap();
        let output = world.run(&[&publish(&file, &state)[..], more].concat()).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && error.contains(named), "{error}");
    }
    assert_eq!(world.in_streams().await, 1);
}
