//! Partitions by another number than the streams were written with.

use chrono::Utc;
use serde_json::Value;

use crate::{
    harness::{World, number, output_of, settled},
    store_commit::{body, event},
};

/// Runs `serve` on free ports to its end.
async fn serve_to_the_end(world: &World, partitions: &str) -> (Option<i32>, String) {
    let mut command = world.command(&["serve"]);
    command.env("ANALYTICS__BROKER__PARTITIONS", partitions);
    command.env("ANALYTICS__HTTP__ADDRESS", "127.0.0.1:0").env("ANALYTICS__OPS__ADDRESS", "127.0.0.1:0");
    let output = output_of(command).await;
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_process_with_another_layout_does_not_start() {
    let world = World::new(2).await;
    let mut service = world.serve().await;
    let mut conn = world.connect().await;
    let (code, log) = serve_to_the_end(&world, "3").await;
    assert_eq!(code, Some(1));
    assert!(log.contains("broker.partitions is 3") && log.contains("partitions layout --set 3"), "{log}");
    let streams = "SELECT array_to_string(analytics.layout_streams($1), ' ')";
    let base = &world.settings.broker.stream;
    let found: String = sqlx::query_scalar(streams).bind(base).fetch_one(&mut conn).await.unwrap();
    assert_eq!(found, format!("{base}-0 {base}-1"));
    // Changed under a process that works on it, as no command does: it ends.
    sqlx::query("UPDATE analytics.stream_layouts SET partitions = 3").execute(&mut conn).await.unwrap();
    assert_eq!(service.wait_exit().await, Some(1));
}

#[tokio::test]
async fn commands_with_another_layout_say_so() {
    let world = World::new(2).await;
    let _service = world.serve().await;
    for args in [
        &["list"][..],
        &["unread"],
        &["acknowledge", "--partition", "0", "--yes"],
        &["skip", "--partition", "0", "--dry-run"],
        &["reset", "--partition", "0", "--to", "first", "--yes"],
        &["reopen", "--yes"],
    ] {
        let mut command = world.command(&[&["partitions"], args].concat());
        command.env("ANALYTICS__BROKER__PARTITIONS", "1");
        let output = output_of(command).await;
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("broker.partitions is 1") && output.status.code() == Some(1), "{args:?}: {text}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert!(world.run(&["partitions", "list"]).await.status.success());
}

#[tokio::test]
async fn a_layout_changes_only_when_all_is_read() {
    let world = World::new(1).await;
    let change = async |more: &[&str]| {
        let output = world.run(&[&["partitions", "layout", "--set", "2", "--yes"], more].concat()).await;
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = change(&[]).await;
    assert!(code == Some(1) && text.contains("no service has worked on"), "{text}");
    let service = world.serve().await;
    let mut conn = world.connect().await;
    world.send([body(&event(1, 1, Utc::now()))]).await;
    settled(&mut conn, 1).await;
    let (code, text) = change(&[]).await;
    assert!(code == Some(1) && text.contains("stop the service first"), "{text}");
    assert_eq!(service.terminate().await, Some(0));
    world.send([body(&event(1, 2, Utc::now()))]).await;
    let (code, text) = change(&[]).await;
    assert!(code == Some(1) && text.contains("offsets 1 to 1"), "{text}");
    let told_to = "SELECT count(*) FROM analytics.stream_layouts WHERE partitions = 2 AND told_to IS NOT NULL";
    assert_eq!(number(&mut conn, told_to).await, 0);
    let (code, text) = change(&["--force"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(number(&mut conn, told_to).await, 1);
    let shown = world.run(&["partitions", "layout", "--json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["partitions"], 2);
    assert_eq!(serve_to_the_end(&world, "1").await.0, Some(1));
}
