//! How quick the main job is, on real servers: `make bench`, or `cargo bench --bench ingest -- [EVENTS]`.
//!
//! 1. A stream is filled first, then the service started: events a second from the first batch's start to the last
//!    commit, and to the last merge, beside a bare COPY of the same rows into the same kind of table in the same run.
//! 2. At 1,000 events a second: time from an event's publishing to the API's response that counts it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark that fails stops")]
#![expect(clippy::print_stdout, reason = "its output is its result")]

#[path = "../tests/it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
mod harness;

use std::time::{Duration, Instant};

use analytics_service::auth::Role;
use futures_util::TryStreamExt;
use sqlx::PgConnection;

use harness::{World, assert_exact, eventually};

const EVENTS: u64 = 500_000;

#[tokio::main]
async fn main() {
    // Cargo passes `--bench`.
    let events = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(EVENTS);
    throughput(events).await;
    latency().await;
}

async fn throughput(events: u64) {
    let world = World::new(1).await;
    println!("publishing {events} events");
    let report = world.publish(&["--events", &events.to_string()]).await;
    // The broker has its own work after a publisher that fast, of which it shows nothing.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let sent = i64::try_from(events).unwrap();
    let deadline = Instant::now() + Duration::from_secs(600);
    while !done(&mut conn, sent).await {
        assert!(Instant::now() < deadline, "not done in ten minutes");
        // Rarely: looking takes a part of the database that is measured.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_exact(&mut conn, &report).await;
    let (batches, committed, merged): (i64, f64, f64) = sqlx::query_as(
        "SELECT count(*),
                extract(epoch FROM max(completed_at) - min(started_at))::float8,
                extract(epoch FROM (SELECT max(fresh_as_of) FROM analytics.hourly_rollups) - min(started_at))::float8
         FROM analytics.ingestion_batches",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    let (rss, cpu) = (service.rss_bytes() >> 20, cpu_seconds(service.child.id()));
    service.terminate().await;
    let stored = report["events"].as_u64().unwrap();
    let copied = bare_copy(&world, &mut conn, stored).await;
    let rate = |seconds: f64| events as f64 / seconds;
    println!("service, first batch to last commit   {:>9.0} events/s   {batches} batches", rate(committed));
    println!("service, first batch to last merge    {:>9.0} events/s   {rss} MiB resident", rate(merged));
    println!("service, processor time an event      {:>9.1} µs", cpu * 1e6 / events as f64);
    println!("bare COPY of the same rows            {:>9.0} rows/s", rate(copied));
    println!("service / COPY                        {:>9.2}", copied / merged);
}

/// Processor time that a process has used, of all its threads.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything: proc_pid_stat(5), fields 14 and 15, in hundredths of a second.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

async fn done(conn: &mut PgConnection, sent: i64) -> bool {
    sqlx::query_scalar(
        "SELECT coalesce(sum(received), 0) >= $1 AND NOT EXISTS (SELECT FROM analytics.rollup_pending)
         FROM analytics.ingestion_batches",
    )
    .bind(sent)
    .fetch_one(conn)
    .await
    .unwrap()
}

/// Seconds that one COPY of the stored rows takes into a table like theirs: same chunks, same indexes, one transaction.
async fn bare_copy(world: &World, conn: &mut PgConnection, events: u64) -> f64 {
    let parts =
        conn.copy_out_raw("COPY (SELECT * FROM analytics.usage_events) TO STDOUT (FORMAT binary)").await.unwrap();
    let rows: Vec<_> = parts.try_collect().await.unwrap();
    let mut owner = world.connect_as_owner().await;
    for statement in [
        "CREATE TABLE analytics.bare (LIKE analytics.usage_events INCLUDING ALL)",
        "SELECT create_hypertable('analytics.bare', by_range('occurred_at', INTERVAL '1 day'), create_default_indexes => false)",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    let started = Instant::now();
    let mut copy = owner.copy_in_raw("COPY analytics.bare FROM STDIN (FORMAT binary)").await.unwrap();
    for part in rows.chunks(1000) {
        copy.send(part.concat()).await.unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), events);
    started.elapsed().as_secs_f64()
}

/// Publishes at a fixed rate and queries all the while. The n-th event is counted when the count first reaches n.
async fn latency() {
    const RATE: u64 = 1000;
    const SECONDS: u64 = 20;
    let world = World::new(1).await;
    let service = world.serve().await;
    let events = (RATE * SECONDS).to_string();
    // One org: then one response counts everything.
    let args = ["--events", &events, "--rate", &RATE.to_string(), "--orgs", "1", "--models", "10"];
    let org = world.publish(&["--events", "1", "--orgs", "1"]).await["orgs"][0]["orgId"].as_str().unwrap().to_owned();
    let token = service.token(&[org.parse().unwrap()], &[Role::OrgViewer]);
    let today = chrono::Utc::now().date_naive();
    let (start, end) = (today - chrono::Days::new(1), today + chrono::Days::new(2));
    let path = format!("/analytics/v1/orgs/{org}/usage?start={start}T00:00:00Z&end={end}T00:00:00Z");
    let mut conn = world.connect().await;
    eventually("the first event is counted", async || {
        (service.get(&path, &token).await.1["totals"]["invocations"] == 1).then_some(())
    })
    .await;

    let wanted = 1 + RATE * SECONDS;
    let querying = async {
        let mut responses = Vec::new();
        loop {
            let (_, response) = service.get(&path, &token).await;
            let count = response["totals"]["invocations"].as_u64().unwrap();
            responses.push((chrono::Utc::now(), count));
            if count >= wanted {
                return responses;
            }
            // The pace of the asking, and the error of what is measured.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (report, responses) = tokio::join!(world.publish(&args), querying);
    assert_exact_sent(&report, wanted - 1);
    // The publisher stamps nothing into rows, but occurredAt lies at most 250 ms before its publishing: taking it for
    // the publishing counts up to that much against the service.
    let occurred: Vec<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("SELECT occurred_at FROM analytics.usage_events ORDER BY occurred_at")
            .fetch_all(&mut conn)
            .await
            .unwrap();
    let mut waits: Vec<f64> = occurred
        .iter()
        .zip(1..)
        .skip(1)
        .filter_map(|(at, n)| {
            let (counted, _) = responses.iter().find(|(_, count)| *count >= n)?;
            Some((*counted - *at).num_microseconds()? as f64 / 1e6)
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!(
        "published to counted at {RATE} events/s   p50 {:.3} s   p95 {:.3} s   p99 {:.3} s   max {:.3} s",
        at(50),
        at(95),
        at(99),
        at(100)
    );
}

fn assert_exact_sent(report: &serde_json::Value, sent: u64) {
    assert_eq!(report["sent"].as_u64(), Some(sent));
}
