//! The service: from a full stream to all committed, and to all merged, with the processor time and memory that it takes.

use std::time::Instant;

use sqlx::PgConnection;

use crate::{
    args::{By, Part},
    figures::{Figures, Unit},
    filled::Filled,
    harness::{Service, eventually, service::memory_bytes},
    processor::{Backends, Servers, of_machine, of_process},
};

pub const COMMITTED: &str = "first batch to last commit";
pub const MERGED: &str = "first batch to last merge";
/// The least that a filter may have: it is full soon, and every event is looked up from then on.
const SMALL_FILTER: &str = "1048576";
/// A run takes seconds, and a fold comes once a minute.
const FOLD_SECONDS: &str = "2";

pub async fn measure(filled: &Filled, by: By, part: Part, servers: &Servers, figures: &mut Figures) {
    let mut world = filled.database(by).await;
    match part {
        Part::Suspects => world.set("ANALYTICS__DEDUPE__MEMORY_BYTES", SMALL_FILTER),
        Part::Folds => world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", FOLD_SECONDS),
        Part::NoSets => world.set("ANALYTICS__ATTRIBUTION__SETS", ""),
        _ => {}
    }
    servers.quiet().await;
    let (own, of_servers, machine, began) =
        (of_process(std::process::id()), servers.used(), of_machine(), Instant::now());
    let service = world.serve().await;
    let from = if part == Part::Suspects { after_filter(&service).await } else { 0 };
    if from + from / 4 > filled.events {
        println!("NOT RUN: {part}: the filter is full after {from} events, which --events must exceed by a quarter");
        return;
    }
    let mut conn = world.connect().await;
    let mut backends = Backends::default();
    filled.read(&mut conn, &mut backends).await;
    let elapsed = began.elapsed().as_secs_f64();
    let (writers, mergers) = backends.used();
    let used = Used {
        service: of_process(service.child.id()),
        broker: servers.used().broker - of_servers.broker,
        database: servers.used().database - of_servers.database,
        writers,
        mergers,
    };
    let others = (of_machine() - machine - used.all() - (of_process(std::process::id()) - own)) / elapsed;
    let memory = most_resident(&service);
    let looked_up = metric(&service, "analytics_dedupe_suspects_total").await.unwrap_or_default();
    service.terminate().await;
    filled.assert_exact(&mut conn).await;

    let times = Times::from(&mut conn, from).await;
    let measured = times.messages;
    assert!(
        part != Part::Suspects || looked_up >= measured,
        "{looked_up} events were looked up, of {measured} measured"
    );
    figures.add(part, named(by, COMMITTED), Unit::PerSecond, times.messages / times.committed);
    figures.add(part, named(by, MERGED), Unit::PerSecond, times.messages / times.merged);
    if part == Part::Suspects {
        return;
    }
    figures.add(part, named(by, "batches"), Unit::Count, times.batches);
    let mut add = |what: &str, seconds: f64| {
        let what = format!("{}: processor time an event, {what}", by.name());
        figures.add(part, what, Unit::Micros, seconds * 1e6 / filled.events as f64);
    };
    add("service", used.service);
    if servers.are_known() {
        add("broker", used.broker);
        add("database, writer", used.writers);
        add("database, merger", used.mergers);
        add("database, others", used.database - used.writers - used.mergers);
        add("all of these", used.all());
        figures.add(part, named(by, "other work on the machine meanwhile"), Unit::Cores, others);
    }
    figures.add(part, named(by, "most resident memory of the service"), Unit::Mebibytes, memory);
}

/// The figure's name.
pub fn named(by: By, what: &str) -> String {
    format!("{}: {what}", by.name())
}

/// Seconds of processor time.
struct Used {
    service: f64,
    broker: f64,
    database: f64,
    writers: f64,
    mergers: f64,
}

impl Used {
    fn all(&self) -> f64 {
        self.service + self.broker + self.database
    }
}

/// By the ledger, of the batches from an offset on.
#[derive(sqlx::FromRow)]
struct Times {
    messages: f64,
    batches: f64,
    committed: f64,
    merged: f64,
}

impl Times {
    async fn from(conn: &mut PgConnection, offset: u64) -> Self {
        sqlx::query_as(
            "SELECT sum(received)::float8 AS messages, count(*)::float8 AS batches,
                    extract(epoch FROM max(completed_at) - min(started_at))::float8 AS committed,
                    extract(epoch FROM (SELECT max(fresh_as_of) FROM analytics.hourly_rollups) - min(started_at))::float8
                        AS merged
             FROM analytics.ingestion_batches WHERE first_offset >= $1",
        )
        .bind(offset.cast_signed())
        .fetch_one(conn)
        .await
        .unwrap()
    }
}

/// From which message on every event is looked up: the filter holds so many, and then is never complete again.
async fn after_filter(service: &Service) -> u64 {
    let keys =
        eventually("the filter is shown", async || metric(service, "analytics_dedupe_filter_capacity").await).await;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of keys")]
    let keys = keys as u64;
    keys + keys / 20
}

/// Of the only partition, once there is any.
async fn metric(service: &Service, name: &str) -> Option<f64> {
    let text = service.metrics().await;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// MiB that the process held at most.
fn most_resident(service: &Service) -> f64 {
    memory_bytes(service.child.id(), "VmHWM") as f64 / f64::from(1 << 20)
}
