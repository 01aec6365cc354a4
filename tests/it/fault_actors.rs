//! Actors that panic, hang, are restarted by an operator or run out of restarts while more than 5,000 events a second
//! are published: the others go on, and every count is as if nothing had happened.

use std::time::Instant;

use rand::seq::SliceRandom;
use sqlx::PgConnection;

use crate::{
    by_each_protocol::by_each_protocol,
    fault_away::is_down,
    harness::{Asking, Happened, Load, Protocol, Service, World, eventually, millis, rested, scale},
};

by_each_protocol![random_actor_restarts_lose_and_double_nothing,];

const OF_PARTITION_0: [&str; 5] = ["consumer/0", "dedupe/0", "writer/0", "rollup/0", "replay/0"];
const ALONE: [&str; 5] = ["lease", "freshness", "recorder", "corrections", "query/0"];

/// Events that the operations port gives at once.
const PAGE: usize = 500;

/// Two partitions; partition 0 is what is hit.
async fn world(settings: &[(&str, &str)]) -> World {
    let mut world = World::new(2).await;
    // The broker reads the prefetch again at each restart: less of it leaves a small machine time for the load.
    world.set("ANALYTICS__BROKER__PREFETCH", "5000");
    world.set("ANALYTICS__SUPERVISION__DRILLS", "true");
    world.set("ANALYTICS__SUPERVISION__MAX_RESTARTS", "1000");
    world.set("ANALYTICS__SUPERVISION__BACKOFF_MAX_MS", "200");
    for (key, value) in settings {
        world.set(key, value);
    }
    world
}

/// What starts and ends with an actor.
fn group(actor: &str) -> &str {
    if OF_PARTITION_0.contains(&actor) { "partition/0" } else { actor }
}

async fn ended(conn: &mut PgConnection, service: &Service, asking: &Asking, may_be_refused: u32) {
    assert_eq!(service.generation("partition/1").await, 1, "partition 1 has nothing to do with it");
    let (answered, refused) = (asking.answered.get(), asking.refused.get());
    eprintln!("the API answered {answered} requests meanwhile, and refused {refused}");
    // On a machine that is busy with other work, a query actor's new connections may take too long for a few requests.
    let may_be_refused = may_be_refused + if scale() == 1 { answered / 20 } else { 0 };
    assert!(answered > 30 && refused <= may_be_refused, "{answered} answered, {refused} refused");
    // The log is read back from the database, where it is written a moment later.
    eventually("the whole supervision log is recorded", async || {
        let log = service.ops(&format!("/ops/supervision?limit={PAGE}")).await;
        assert_eq!(log["source"], "database");
        (log["events"].as_array()?.len() == Happened::all(conn).await.len().min(PAGE)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_the_failed_actor_is_restarted() {
    let world = world(&[("ANALYTICS__SUPERVISION__STALL_MS", "8000")]).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = Load::start(&world, "41").await;
    let mut drills: Vec<(&str, &str)> = OF_PARTITION_0.iter().chain(&ALONE).map(|actor| (*actor, "panic")).collect();
    let futures = ["consumer/0", "writer/0", "rollup/0", "lease", "freshness", "query/0"];
    drills.extend(futures.map(|actor| (actor, "panic-in-future")));
    let mut drills = drills.repeat(usize::try_from(scale()).unwrap());
    drills.shuffle(&mut rand::rng());
    // Dedupe waits for nobody, so it may be without progress for no longer than the setting says. It goes on with the
    // other batches meanwhile, which must not hide it.
    drills.insert(0, ("dedupe/0", "hang"));
    let asking = Asking::default();
    let faults = async {
        for (actor, kind) in &drills {
            let before = service.generation(group(actor)).await;
            service.drill(actor, kind).await;
            service.runs_again(group(actor), before).await;
            millis(0..500).await;
        }
    };
    asking.beside(&world, &service, faults).await;
    load.exact(&world).await;
    let queries = drills.iter().filter(|(actor, _)| *actor == "query/0").count();
    ended(&mut conn, &service, &asking, u32::try_from(queries).unwrap()).await;

    let log = Happened::all(&mut conn).await;
    let count = |actor: &str, what: &str, cause: &str| {
        let with_cause = |one: &&Happened| one.cause.as_deref().unwrap_or_default().contains(cause);
        log.iter().filter(|one| one.actor == actor && one.what == what).filter(with_cause).count()
    };
    for (actor, kind) in drills.iter().filter(|(_, kind)| *kind != "hang") {
        let times = drills.iter().filter(|drill| **drill == (*actor, *kind)).count();
        let place = if *kind == "panic" { "handler" } else { "future" };
        let member = if group(actor) == *actor { String::new() } else { format!("{actor}: ") };
        let cause = format!("{member}panicked: a drill in a {place}");
        assert_eq!(count(group(actor), "failed", &cause), times, "{actor} {kind}");
    }
    assert_eq!(count("dedupe/0", "stalled", "no progress for"), 1);
    for name in ALONE.into_iter().chain(["partition/0"]) {
        assert_eq!(count(name, "failed", ""), count(name, "restarted", ""), "{name}");
    }
    let drilled: Vec<_> = log.iter().filter(|one| one.what == "drilled").collect();
    assert_eq!(drilled.len(), drills.len());
    assert!(drilled.iter().all(|one| one.by_whom.as_deref() == Some("tests")));
}

async fn random_actor_restarts_lose_and_double_nothing(by: Protocol) {
    let world = world(&[]).await.read_by(by);
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = Load::start(&world, "42").await;
    let mut actors = [OF_PARTITION_0, ALONE].concat().repeat(usize::try_from(2 * scale()).unwrap());
    actors.shuffle(&mut rand::rng());
    let asking = Asking::default();
    let restarts = async {
        for actor in &actors {
            service.restart(actor).await;
            millis(0..700).await;
        }
    };
    asking.beside(&world, &service, restarts).await;
    load.exact(&world).await;
    let queries = u32::try_from(actors.iter().filter(|actor| **actor == "query/0").count()).unwrap();
    ended(&mut conn, &service, &asking, queries).await;
    let log = Happened::all(&mut conn).await;
    for actor in OF_PARTITION_0.into_iter().chain(ALONE) {
        let asked = |one: &&Happened| one.actor == actor && one.what == "restart_requested";
        let asked: Vec<_> = log.iter().filter(asked).collect();
        assert_eq!(asked.len(), actors.iter().filter(|one| **one == actor).count(), "{actor}");
        assert!(asked.iter().all(|one| one.by_whom.as_deref() == Some("tests")));
        assert!(log.iter().any(|one| one.actor == group(actor) && one.what == "restarted"), "{actor}");
    }
    assert!(log.iter().all(|one| one.what != "failed"), "{log:?}");
}

#[tokio::test]
async fn a_parked_partition_waits_for_an_operator() {
    let world = world(&[("ANALYTICS__SUPERVISION__MAX_RESTARTS", "1")]).await;
    let service = world.serve().await;
    let mut conn = world.connect().await;
    let load = Load::start(&world, "43").await;
    service.drill("writer/0", "panic").await;
    service.runs_again("partition/0", 1).await;
    service.drill("rollup/0", "panic-in-future").await;
    let cause = service.parked("partition/0").await;
    assert!(cause.starts_with("rollup/0: panicked: a drill in a future"), "{cause}");
    let (status, readiness) = service.readiness().await.unwrap();
    assert!(status == 200 && readiness["status"] == "degraded" && is_down(&readiness, "partition/0"), "{readiness}");
    assert!(readiness.to_string().contains("a drill in a future"), "{readiness}");

    let mut received = async |partition: i32| -> i64 {
        let rows = "SELECT coalesce(sum(received), 0)::bigint FROM analytics.ingestion_batches WHERE partition = $1";
        sqlx::query_scalar(rows).bind(partition).fetch_one(&mut conn).await.unwrap()
    };
    // What was on its way to be committed is.
    let rests = rested("partition 0 rests", async || received(0).await).await;
    let goes_on = received(1).await;
    eventually("partition 1 goes on", async || (received(1).await > goes_on + 3000).then_some(())).await;
    assert_eq!(received(0).await, rests);
    // By the name in the log.
    service.restart("rollup/0").await;
    service.runs_again("partition/0", 2).await;
    load.exact(&world).await;
    assert_eq!(service.generation("partition/1").await, 1);
    let ready = async || (service.readiness().await?.1["status"] == "ready").then_some(());
    eventually("all is well again", ready).await;
    let log = Happened::all(&mut conn).await.into_iter();
    let log: Vec<_> = log.filter(|one| ["partition/0", "rollup/0", "writer/0"].contains(&one.actor.as_str())).collect();
    let what: Vec<_> = log.iter().map(|one| one.what.as_str()).collect();
    let expected = [
        "taken",
        "started",
        "drilled",
        "failed",
        "restarted",
        "drilled",
        "failed",
        "parked",
        "restart_requested",
        "restarted",
    ];
    assert_eq!(what, expected);
}

#[tokio::test]
async fn a_process_without_an_essential_actor_ends() {
    let world = world(&[("ANALYTICS__SUPERVISION__MAX_RESTARTS", "1")]).await;
    let mut service = world.serve().await;
    let load = Load::start(&world, "44").await;
    service.drill("freshness", "panic").await;
    service.runs_again("freshness", 1).await;
    service.drill("freshness", "panic-in-future").await;
    let since = Instant::now();
    assert_eq!(service.wait_exit().await, Some(1));
    assert!(since.elapsed() < world.settings.drain.step_timeout(), "it drains what is left, {:?}", since.elapsed());
    let _service = world.serve().await;
    load.exact(&world).await;
    let log = Happened::all(&mut world.connect().await).await;
    assert!(log.iter().any(|one| one.actor == "freshness" && one.what == "escalated"), "{log:?}");
}
