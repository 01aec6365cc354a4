//! The database, what its readers may take, and the freshness that is derived from it.

use std::{fmt, sync::Arc, time::Duration};

use super::{Secret, check::has_scheme, declare::section};
use crate::domain::freshness::Thresholds;

const POSTGRES: &[&str] = &["postgres", "postgresql"];

section! {
    pub struct Database in database {
        /// PostgreSQL with TimescaleDB, as the service's role. Holds a password: never logged. TLS: docs/security.md.
        url: Secret = "postgres://127.0.0.1:5432/analytics",
            must("be a postgres:// URL", of => has_scheme(of.url.expose(), POSTGRES));
        /// The same database as the role that owns the schema, for `migrate`; where continuous aggregates keep the rollups also for
        /// `refresh`, `rollups switch`, `erase --actor`, and for `purge` to drop their old chunks. Empty: url.
        migration_url: Secret = "",
            must("be a postgres:// URL or empty", of => of.migration_url.is_empty() || has_scheme(of.migration_url.expose(), POSTGRES));
        /// Longest wait for a connection, milliseconds.
        connect_timeout_ms: u64 = 5000, from(100..=600_000);
        /// Longest that a batch transaction or a merge may take before its connection is given up, milliseconds.
        write_timeout_ms: u64 = 60000, from(1000..=3_600_000);
        also {
            /// What the server's operators see of the connections, and what a process's connections are found by.
            #[serde(skip, default = "application_name")]
            pub application_name: String,
            /// Is called when a connection for writing that was lost is open again.
            #[serde(skip)]
            pub on_reconnect: OnReconnect,
        }
    }
}

/// What is called when a connection that was lost is open again; nothing by default.
#[derive(Clone, Default)]
pub struct OnReconnect(Option<Arc<dyn Fn() + Send + Sync>>);

impl OnReconnect {
    pub fn new(call: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(call)))
    }

    pub fn call(&self) {
        self.0.iter().for_each(|call| call());
    }
}

impl fmt::Debug for OnReconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnReconnect")
    }
}

fn application_name() -> String {
    "analytics-service".to_owned()
}

impl Database {
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    /// Longest that a piece of work takes, or fails by, when it has to connect first.
    pub fn longest_write(&self) -> Duration {
        self.connect_timeout() + self.write_timeout()
    }
}

section! {
    #[derive(Copy)]
    pub struct Query in query {
        /// Actors that run the API's queries.
        actors: u32 = 2, from(1..=64);
        /// Connections that each of them may hold.
        connections: u32 = 4, from(1..=64);
        /// Longest wait for a free connection before the response is 503, milliseconds.
        wait_ms: u64 = 500, from(1..=10_000);
        /// Longest that a statement may run, milliseconds.
        statement_timeout_ms: u64 = 5000, from(10..=600_000);
    }
}

impl Query {
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }

    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }

    /// Longest that a handler waits for a query actor; its own deadlines end sooner.
    pub fn response_timeout(&self) -> Duration {
        self.wait() + self.statement_timeout() + Duration::from_secs(1)
    }
}

section! {
    pub struct Cache in cache {
        /// Redis for freshness markers, rediss:// with TLS. One server, not a Redis Cluster. Empty: served from PostgreSQL alone. May
        /// hold a password: never logged.
        url: Secret = "",
            must("be a redis:// or rediss:// URL or empty", of => of.url.is_empty() || has_scheme(of.url.expose(), &["redis", "rediss"]));
        /// Lifetime of a marker in Redis, seconds.
        ttl_seconds: u64 = 60, from(5..=86_400);
    }
}

section! {
    #[derive(Copy)]
    pub struct Freshness in freshness {
        /// Lag up to which an org is `fresh`, seconds. A partition that is caught up is known to be so a moment ago: with less than
        /// 5, none ever would be.
        fresh_seconds: i64 = 300, from(5..=86_400);
        /// Lag up to which an org is `stale`; beyond, it is `delayed`. Seconds.
        stale_seconds: i64 = 600, within("fresh_seconds to 604_800", of => of.fresh_seconds..=604_800);
        /// How often markers are written and published, milliseconds. At most a third of cache.ttl_seconds where there is a cache.
        interval_ms: u64 = 1000, from(100..=60_000);
    }
}

impl Freshness {
    pub fn thresholds(&self) -> Thresholds {
        Thresholds {
            fresh_ms: self.fresh_seconds.saturating_mul(1000),
            stale_ms: self.stale_seconds.saturating_mul(1000),
        }
    }

    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}
