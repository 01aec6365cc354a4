//! A stream that is filled once, and services that read it from its beginning, each into a database of its own.

use std::time::{Duration, Instant};

use analytics_service::config::Settings;
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    args::By,
    harness::{Service, World, assert_exact, sent},
    processor::{Backends, Servers},
};

/// Looking takes a part of the database that is measured.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const GIVEN_UP_AFTER: Duration = Duration::from_secs(900);

pub struct Filled {
    world: World,
    /// What the publisher says of the stream.
    report: Value,
    pub events: u64,
}

impl Filled {
    pub async fn publish(events: u64) -> Self {
        let world = World::new(1).await.unchecked("only its stream is used");
        let report = world.publish(&["--events", &events.to_string()]).await;
        println!("published {events} events, {} a second", report["messagesPerSecond"]);
        Self { world, report, events }
    }

    /// Settings of one that reads it.
    pub fn settings(&self, by: By) -> Settings {
        let mut settings = self.world.settings.clone();
        let url = if by == By::Stream { crate::harness::stack_variables()[STREAM_URL].clone() } else { String::new() };
        settings.broker.stream_url = analytics_service::config::Secret::new(url);
        settings
    }

    /// An empty database of a service that reads it.
    pub async fn database(&self, by: By) -> World {
        // Looked at below, more thoroughly.
        let world = World::new(1).await.unchecked("assert_exact has looked");
        let mut world = world.read_by(by.protocol());
        world.set("ANALYTICS__BROKER__STREAM", &self.world.settings.broker.stream);
        world
    }

    /// Waits until the service has stored and merged all of the stream.
    pub async fn read(&self, conn: &mut PgConnection, backends: &mut Backends) {
        let deadline = Instant::now() + GIVEN_UP_AFTER;
        while !is_done(conn, sent(&self.report)).await {
            assert!(Instant::now() < deadline, "not done within {} s", GIVEN_UP_AFTER.as_secs());
            tokio::time::sleep(LOOK_EVERY).await;
            backends.look(conn).await;
        }
    }

    /// Raw events, rollups and ledger are what was published.
    pub async fn assert_exact(&self, conn: &mut PgConnection) {
        assert_exact(conn, &self.report).await;
    }
}

const STREAM_URL: &str = "ANALYTICS__BROKER__STREAM_URL";

/// Starts a service, at a moment when the servers have nothing else to do.
pub async fn start(world: &World, servers: &Servers) -> Service {
    servers.quiet().await;
    world.serve().await
}

pub async fn is_done(conn: &mut PgConnection, sent: i64) -> bool {
    sqlx::query_scalar(
        "SELECT coalesce(sum(received), 0) >= $1 AND NOT EXISTS (SELECT FROM analytics.rollup_pending)
         FROM analytics.ingestion_batches",
    )
    .bind(sent)
    .fetch_one(conn)
    .await
    .unwrap()
}
