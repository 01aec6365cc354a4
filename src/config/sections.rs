//! One struct per concern. Meanings, units and bounds are documented in `config.default.toml`.

use std::{fmt, path::PathBuf, time::Duration};

use chrono::TimeDelta;
use serde::Deserialize;

use crate::domain::{freshness::Thresholds, partition::Topology};

/// A text that must not be printed: a secret, or a URL that holds one.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the one place that needs it, never for a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(unset)" } else { "(hidden)" })
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    pub url: Secret,
    pub stream: String,
    pub partitions: u16,
    pub prefetch: u16,
    pub stream_max_age: String,
    pub stream_max_bytes: i64,
    pub connect_timeout_ms: u64,
    pub stall_cancel_ms: u64,
    pub own_records: i64,
}

impl Broker {
    pub fn topology(&self) -> Topology {
        Topology { base: self.stream.clone(), partitions: self.partitions }
    }

    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Longest that connecting and subscribing take, or fail by: every answer has its own timeout, and the streams of
    /// all partitions may have to be declared.
    pub fn longest_subscribe(&self) -> Duration {
        self.connect_timeout() * (8 + 2 * u32::from(self.partitions))
    }

    pub fn stall_cancel(&self) -> Duration {
        Duration::from_millis(self.stall_cancel_ms)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    pub max_events: usize,
    pub max_bytes: usize,
    pub linger_ms: u64,
    pub credits: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    pub retention_days: i64,
    pub max_ahead_seconds: i64,
    pub late_after_seconds: i64,
}

impl Events {
    pub fn retention(&self) -> TimeDelta {
        TimeDelta::days(self.retention_days)
    }

    pub fn max_ahead(&self) -> TimeDelta {
        TimeDelta::seconds(self.max_ahead_seconds)
    }

    pub fn late_after(&self) -> TimeDelta {
        TimeDelta::seconds(self.late_after_seconds)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dedupe {
    pub window_hours: i64,
    pub memory_bytes: usize,
}

impl Dedupe {
    pub fn window(&self) -> TimeDelta {
        TimeDelta::hours(self.window_hours)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: Secret,
    pub migration_url: Secret,
    /// What the server's operators see of the connections, and what a process's connections are found by.
    #[serde(skip, default = "application_name")]
    pub application_name: String,
    pub connect_timeout_ms: u64,
    pub write_timeout_ms: u64,
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

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    pub actors: u32,
    pub connections: u32,
    pub wait_ms: u64,
    pub statement_timeout_ms: u64,
}

impl Query {
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }

    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }

    /// Longest that a handler waits for a query actor; its own deadlines end sooner.
    pub fn answer_within(&self) -> Duration {
        self.wait() + self.statement_timeout() + Duration::from_secs(1)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    pub url: Secret,
    pub ttl_seconds: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    pub fresh_seconds: i64,
    pub stale_seconds: i64,
    pub interval_ms: u64,
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

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    pub enabled: bool,
    pub timeout_ms: u64,
}

impl Ingest {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Longest that a handler waits for events to be published.
    pub fn answer_within(&self, query: &Query) -> Duration {
        query.wait() + self.timeout() + Duration::from_secs(1)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub hs256_secret: Secret,
    pub jwks_url: Secret,
    pub jwks_file: PathBuf,
    pub jwks_allow_http: bool,
    pub jwks_refresh_seconds: u64,
    pub jwks_stale_seconds: u64,
    pub issuer: String,
    pub audience: String,
    pub leeway_seconds: u64,
    pub api_key_cache_seconds: u64,
    pub api_keys_per_org: u32,
}

impl Auth {
    pub fn api_key_cache(&self) -> Duration {
        Duration::from_secs(self.api_key_cache_seconds)
    }

    pub fn has_key_set(&self) -> bool {
        !self.jwks_url.is_empty() || !self.jwks_file.as_os_str().is_empty()
    }

    pub fn jwks_refresh(&self) -> Duration {
        Duration::from_secs(self.jwks_refresh_seconds)
    }

    pub fn jwks_stale(&self) -> Duration {
        Duration::from_secs(self.jwks_stale_seconds)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub org_per_second: u32,
    pub org_burst: u32,
    pub credential_per_second: u32,
    pub credential_burst: u32,
    pub refused_per_second: u32,
    pub refused_burst: u32,
}

/// So many requests a second on average, and so many at once; none a second: as many as come.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl RateLimit {
    pub fn org(&self) -> Rate {
        Rate { per_second: self.org_per_second, burst: self.org_burst }
    }

    pub fn credential(&self) -> Rate {
        Rate { per_second: self.credential_per_second, burst: self.credential_burst }
    }

    /// Of credentials that are not accepted, by address.
    pub fn refused(&self) -> Rate {
        Rate { per_second: self.refused_per_second, burst: self.refused_burst }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervision {
    pub backoff_initial_ms: u64,
    pub backoff_max_ms: u64,
    pub max_restarts: usize,
    pub window_ms: u64,
    pub park_ms: u64,
    pub stall_ms: u64,
    pub drills: bool,
}

impl Supervision {
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    pub fn park(&self) -> Duration {
        Duration::from_millis(self.park_ms)
    }

    /// Longest that an actor may be at work without progress which waits for others for at most `external` at a time.
    pub fn deadline(&self, external: Duration) -> Duration {
        external + Duration::from_millis(self.stall_ms)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    pub interval_ms: u64,
    pub grace_ms: u64,
    pub ttl_ms: u64,
}

impl Lease {
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    pub timeout_ms: u64,
    pub step_timeout_ms: u64,
}

impl Drain {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub fn step_timeout(&self) -> Duration {
        Duration::from_millis(self.step_timeout_ms)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub filter: String,
    pub format: String,
}
