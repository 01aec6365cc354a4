//! Several processes on the same partitions: shares, takeovers, fencing. Each partition is worked on by one of them, and
//! a process that loses it cannot commit.

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::PgConnection;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    by_each_protocol::by_each_protocol,
    harness::{
        FLAWS, Protocol, RATE, Service, World, assert_exact, bound, double_counted, eventually, exact_with_resends,
        ledger_holes, more, not_run, number, resend, scale, sent, settled,
    },
};

by_each_protocol![a_frozen_process_is_replaced_and_fenced,];

const PARTITIONS: u16 = 4;

/// How many partitions each owner has, the most first; free ones are not counted.
async fn shares(conn: &mut PgConnection) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM analytics.partition_offsets WHERE owner IS NOT NULL GROUP BY owner ORDER BY 1 DESC",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

async fn shared_as(conn: &mut PgConnection, expected: &[i64]) {
    eventually(&format!("the partitions are shared as {expected:?}"), async || {
        (shares(conn).await == expected).then_some(())
    })
    .await;
}

/// The partitions that a process works on, by its own account.
async fn working(service: &Service) -> Vec<u16> {
    let tree = service.actors().await;
    let names = tree["actors"].as_array().unwrap().iter().filter(|actor| actor["state"] == "running");
    names.filter_map(|actor| actor["name"].as_str()?.strip_prefix("partition/")?.parse().ok()).collect()
}

/// Everything is worked on, and nothing by two.
async fn each_partition_has_one_worker(services: &[&Service]) {
    eventually("each partition is worked on by one process", async || {
        let mut all = Vec::new();
        for service in services {
            all.extend(working(service).await);
        }
        all.sort_unstable();
        (all == (0..PARTITIONS).collect::<Vec<_>>()).then_some(())
    })
    .await;
}

/// Waits until a partition has another owner and has committed under it; gives the time since `since`.
async fn taken_over(conn: &mut PgConnection, dead: Uuid, since: Instant) -> Duration {
    let before: Vec<(i32, i64)> = eventually("the process is seen to have partitions", async || {
        let held = sqlx::query_as("SELECT partition, next_offset FROM analytics.partition_offsets WHERE owner = $1");
        Some(held.bind(dead).fetch_all(&mut *conn).await.unwrap())
    })
    .await;
    eventually("its partitions go on under other owners", async || {
        let free: i64 =
            sqlx::query_scalar("SELECT count(*) FROM analytics.partition_offsets WHERE owner = $1 OR owner IS NULL")
                .bind(dead)
                .fetch_one(&mut *conn)
                .await
                .unwrap();
        (free == 0).then_some(())
    })
    .await;
    let taken = since.elapsed();
    eventually("its partitions are committed to again", async || {
        for (partition, offset) in &before {
            let now: i64 =
                sqlx::query_scalar("SELECT next_offset FROM analytics.partition_offsets WHERE partition = $1")
                    .bind(partition)
                    .fetch_one(&mut *conn)
                    .await
                    .unwrap();
            if now <= *offset {
                return None;
            }
        }
        Some(())
    })
    .await;
    eprintln!("taken over after {taken:?}, committing after {:?}", since.elapsed());
    taken
}

/// The process that works under this number.
async fn process_of(conn: &mut PgConnection, service: &Service) -> Uuid {
    let name = format!("%/{}", service.child.id());
    sqlx::query_scalar("SELECT process_id FROM analytics.processes WHERE name LIKE $1")
        .bind(name)
        .fetch_one(conn)
        .await
        .unwrap()
}

fn load(seconds: u32, seed: &str) -> Vec<String> {
    let (events, rate) = ((RATE * seconds * scale()).to_string(), RATE.to_string());
    let args = ["--events", &events, "--rate", &rate, "--orgs", "60", "--models", "5", "--seed", seed];
    args.iter().chain(&FLAWS).map(|arg| (*arg).to_owned()).collect()
}

async fn publish(world: &World, seconds: u32, seed: &str) -> Value {
    let args = load(seconds, seed);
    world.publish(&args.iter().map(String::as_str).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn changing_processes_count_everything_once() {
    let world = World::new(PARTITIONS).await;
    let mut conn = world.connect().await;
    let first = world.serve().await;
    shared_as(&mut conn, &[4]).await;
    let running = async {
        let mut conn = world.connect().await;
        more(&mut conn, RATE).await;
        let second = world.serve().await;
        shared_as(&mut conn, &[2, 2]).await;
        each_partition_has_one_worker(&[&first, &second]).await;
        let third = world.serve().await;
        shared_as(&mut conn, &[2, 1, 1]).await;
        each_partition_has_one_worker(&[&first, &second, &third]).await;
        // Killed: its session ends with it.
        let dead = process_of(&mut conn, &second).await;
        let killed = Instant::now();
        second.kill();
        let taken = taken_over(&mut conn, dead, killed).await;
        assert!(taken < bound(Duration::from_secs(2)), "{taken:?}");
        shared_as(&mut conn, &[2, 2]).await;
        // Stopped in order: it gives back what it has.
        let leaving = process_of(&mut conn, &first).await;
        let asked = Instant::now();
        let (code, taken) = tokio::join!(first.terminate(), taken_over(&mut conn, leaving, asked));
        assert_eq!(code, Some(0));
        eprintln!("a process that was stopped in order was replaced {taken:?} after the signal");
        shared_as(&mut conn, &[4]).await;
        third
    };
    let (report, third) = tokio::join!(publish(&world, 14, "41"), running);
    settled(&mut conn, sent(&report)).await;
    let resent = resend(&world, &mut conn).await;
    exact_with_resends(&mut conn, &report, resent).await;
    each_partition_has_one_worker(&[&third]).await;
    assert_eq!(third.terminate().await, Some(0));
    let left = number(&mut conn, "SELECT count(*) FROM analytics.processes WHERE expires_at > clock_timestamp()").await;
    assert_eq!(left, 0, "who ends in order leaves no lease");
}

async fn a_frozen_process_is_replaced_and_fenced(by: Protocol) {
    let world = World::new(PARTITIONS).await.read_by(by);
    let mut conn = world.connect().await;
    let (frozen, other) = (world.serve().await, world.serve().await);
    shared_as(&mut conn, &[2, 2]).await;
    let running = async {
        let mut conn = world.connect().await;
        more(&mut conn, 2 * RATE).await;
        let id = process_of(&mut conn, &frozen).await;
        let since = Instant::now();
        frozen.signal("STOP");
        let taken = taken_over(&mut conn, id, since).await;
        assert!(taken < bound(Duration::from_secs(15)), "{taken:?}");
        shared_as(&mut conn, &[4]).await;
        let resent = resend(&world, &mut conn).await;
        frozen.signal("CONT");
        // It finds that it has lost its partitions, and takes part again.
        shared_as(&mut conn, &[2, 2]).await;
        each_partition_has_one_worker(&[&frozen, &other]).await;
        resent
    };
    let (report, resent) = tokio::join!(publish(&world, 16, "42"), running);
    exact_with_resends(&mut conn, &report, resent).await;
    let events: Vec<(String, String)> =
        sqlx::query_as("SELECT what, process FROM analytics.supervision_events").fetch_all(&mut conn).await.unwrap();
    let thawed = format!("/{}", frozen.child.id());
    let lost =
        |(what, process): &(String, String)| process.ends_with(&thawed) && (what == "fenced" || what == "stopped");
    assert!(events.iter().any(lost), "{events:?}");
    assert!(!events.iter().any(|(what, _)| what == "failed"), "{events:?}");
}

#[tokio::test]
async fn briefly_lost_sessions_cause_no_takeover() {
    let mut world = World::new(PARTITIONS).await;
    // What is brief is as long as a busy machine needs.
    world.set("ANALYTICS__LEASE__GRACE_MS", "20000");
    world.set("ANALYTICS__LEASE__TTL_MS", "60000");
    let mut conn = world.connect().await;
    let (one, two) = (world.serve().await, world.serve().await);
    shared_as(&mut conn, &[2, 2]).await;
    let report = publish(&world, 1, "43").await;
    settled(&mut conn, sent(&report)).await;
    let owners = "SELECT array_agg(owner ORDER BY partition)::text || array_agg(epoch ORDER BY partition)::text
                  FROM analytics.partition_offsets";
    let before: String = sqlx::query_scalar(owners).fetch_one(&mut conn).await.unwrap();
    let cut: Vec<i32> = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity, LATERAL (SELECT pg_terminate_backend(pid)) AS cut
         WHERE datname = current_database() AND application_name LIKE 'analytics-service ________-%'",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(cut.len() > 4);
    eventually("both have their leases again", async || {
        let there: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1)")
            .bind(&cut)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        if there > 0 {
            return None;
        }
        let locks = number(
            &mut conn,
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await;
        (locks == 2).then_some(())
    })
    .await;
    // Longer than it takes to look for free partitions: nobody takes one.
    sleep(Duration::from_secs(2)).await;
    let after: String = sqlx::query_scalar(owners).fetch_one(&mut conn).await.unwrap();
    assert_eq!(after, before);
    each_partition_has_one_worker(&[&one, &two]).await;
    assert_eq!((ledger_holes(&mut conn).await, double_counted(&mut conn).await), (0, 0));
}

/// Where Debian's package `faketime` has the library that gives a process a clock of its own.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

#[tokio::test]
async fn processes_tolerate_clocks_hours_apart() {
    if !std::path::Path::new(FAKETIME).exists() {
        not_run(&format!("{FAKETIME} is not there (Debian's package faketime)"));
        return;
    }
    let mut world = World::new(PARTITIONS).await;
    let mut conn = world.connect().await;
    world.routes.insert("LD_PRELOAD".to_owned(), FAKETIME.to_owned());
    world.routes.insert("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned());
    world.routes.insert("FAKETIME".to_owned(), "+3h".to_owned());
    let ahead = world.serve().await;
    world.routes.insert("FAKETIME".to_owned(), "-3h".to_owned());
    let behind = world.serve().await;
    shared_as(&mut conn, &[2, 2]).await;
    let running = async {
        let mut conn = world.connect().await;
        more(&mut conn, 2 * RATE).await;
        let dead = process_of(&mut conn, &ahead).await;
        let killed = Instant::now();
        ahead.kill();
        taken_over(&mut conn, dead, killed).await;
        shared_as(&mut conn, &[4]).await;
    };
    let (report, ()) = tokio::join!(publish(&world, 6, "44"), running);
    settled(&mut conn, sent(&report)).await;
    assert_exact(&mut conn, &report).await;
    each_partition_has_one_worker(&[&behind]).await;
    let ahead: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM max(watermark) - clock_timestamp())::double precision FROM analytics.partition_watermarks",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert!(ahead < 1.0, "a watermark is {ahead} s ahead of the database's clock");
}
