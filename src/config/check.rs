//! Bounds of the settings. Every problem is reported, not only the first.

use std::{fmt::Display, ops::RangeInclusive};

use super::Settings;
use crate::domain::retention::least_raw_days;

/// Shortest HS256 secret that is accepted: as many bytes as the hash has (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

impl Settings {
    /// Each setting that is out of its bounds: its name, what it may be, and what it is where that is no secret.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Problems(Vec::new());
        found.range("broker.partitions", self.broker.partitions, 1..=256);
        found.range("broker.prefetch", self.broker.prefetch, 100..=60_000);
        found.range("broker.stream_max_bytes", self.broker.stream_max_bytes, 1_000_000..=i64::MAX);
        found.range("broker.connect_timeout_ms", self.broker.connect_timeout_ms, 100..=600_000);
        found.range("broker.stall_cancel_ms", self.broker.stall_cancel_ms, 100..=86_400_000);
        found.range("broker.own_records", self.broker.own_records, 1..=100_000);
        found.holds(
            "broker.stream",
            valid_stream(&self.broker.stream),
            "have 1 to 200 letters, digits, dots, dashes, underscores",
        );
        found.holds(
            "broker.stream_max_age",
            valid_age(&self.broker.stream_max_age),
            "be a number and a unit of Y, M, D, h, m, s",
        );
        found.holds(
            "broker.url",
            has_scheme(self.broker.url.expose(), &["amqp", "amqps"]),
            "be an amqp:// or amqps:// URL",
        );
        found.range("batch.max_events", self.batch.max_events, 1..=50_000);
        found.range("batch.max_bytes", self.batch.max_bytes, 65_536..=268_435_456);
        found.range("batch.linger_ms", self.batch.linger_ms, 0..=1000);
        found.range("batch.credits", self.batch.credits, 1..=16);
        found.range("events.retention_days", self.events.retention_days, 1..=3650);
        // Not 0: the best of clocks differ, and an event that was made just now would lie ahead.
        found.range("events.max_ahead_seconds", self.events.max_ahead_seconds, 1..=3600);
        found.range("events.late_after_seconds", self.events.late_after_seconds, 60..=86_400);
        found.range("dedupe.window_hours", self.dedupe.window_hours, 1..=768);
        let least = least_raw_days(self.dedupe.window());
        if (1..=768).contains(&self.dedupe.window_hours) && self.events.retention_days < least {
            found.0.push(format!(
                "events.retention_days must be at least {least} with dedupe.window_hours = {}, is {}",
                self.dedupe.window_hours, self.events.retention_days
            ));
        }
        found.range("dedupe.memory_bytes", self.dedupe.memory_bytes, 1 << 20..=1 << 34);
        found.range("database.connect_timeout_ms", self.database.connect_timeout_ms, 100..=600_000);
        found.range("database.write_timeout_ms", self.database.write_timeout_ms, 1000..=3_600_000);
        let postgres = ["postgres", "postgresql"];
        found.holds("database.url", has_scheme(self.database.url.expose(), &postgres), "be a postgres:// URL");
        let migration_url = self.database.migration_url.expose();
        let migrates = migration_url.is_empty() || has_scheme(migration_url, &postgres);
        found.holds("database.migration_url", migrates, "be a postgres:// URL or empty");
        found.range("query.actors", self.query.actors, 1..=64);
        found.range("query.connections", self.query.connections, 1..=64);
        found.range("query.wait_ms", self.query.wait_ms, 1..=10_000);
        found.range("query.statement_timeout_ms", self.query.statement_timeout_ms, 10..=600_000);
        found.range("rollups.interval_ms", self.rollups.interval_ms, 10..=10_000);
        found.range("rollups.max_batches", self.rollups.max_batches, 1..=1000);
        for (name, days) in self.retention.days() {
            found.range(name, days, 1..=3650);
        }
        // The database itself keeps them so long (see purge_audit).
        found.range("retention.audit_days", self.retention.audit_days, 90..=3650);
        found.range("maintenance.check_seconds", self.maintenance.check_seconds, 1..=3600);
        found.range("maintenance.purge_hours", self.maintenance.purge_hours, 1..=720);
        found.range("maintenance.maintain_minutes", self.maintenance.maintain_minutes, 1..=1440);
        found.range("maintenance.compress_after_days", self.maintenance.compress_after_days, 0..=3650);
        found.range("maintenance.refresh_minutes", self.maintenance.refresh_minutes, 1..=1440);
        self.exports.check(&mut found);
        let cache_url = self.cache.url.expose();
        let caches = cache_url.is_empty() || has_scheme(cache_url, &["redis", "rediss"]);
        found.holds("cache.url", caches, "be a redis:// or rediss:// URL or empty");
        found.range("cache.ttl_seconds", self.cache.ttl_seconds, 5..=86_400);
        // A partition that is caught up is known to be so a moment ago: less would never be fresh.
        found.range("freshness.fresh_seconds", self.freshness.fresh_seconds, 5..=86_400);
        found.range("freshness.stale_seconds", self.freshness.stale_seconds, self.freshness.fresh_seconds..=604_800);
        found.range("freshness.interval_ms", self.freshness.interval_ms, 100..=60_000);
        let (interval, ttl) = (self.freshness.interval_ms, self.cache.ttl_seconds.saturating_mul(1000));
        if caches && !cache_url.is_empty() && interval.saturating_mul(3) > ttl {
            found.0.push(format!(
                "freshness.interval_ms must be at most a third of cache.ttl_seconds, {}, or markers expire between: is {interval}",
                ttl / 3
            ));
        }
        self.objects.problems(&mut found);
        found.range("http.workers", self.http.workers, 1..=256);
        found.range("http.max_body_bytes", self.http.max_body_bytes, 1024..=67_108_864);
        found.holds(
            "http.cors_origins",
            self.http.cors_origins().all(is_origin),
            "be origins such as https://dashboards.example.org, separated by commas",
        );
        found.holds(
            "http.trusted_proxies",
            self.http.proxies().is_some(),
            "be addresses and networks such as 10.0.0.0/8, separated by commas",
        );
        self.http.check(&mut found);
        self.ops.check(&mut found);
        found.range("ingest.timeout_ms", self.ingest.timeout_ms, 100..=60_000);
        let secret = self.auth.hs256_secret.expose();
        found.holds(
            "auth.hs256_secret",
            secret.is_empty() || secret.len() >= MIN_SECRET_BYTES,
            "have at least 32 bytes",
        );
        let (url, file) = (self.auth.jwks_url.expose(), self.auth.jwks_file.as_os_str());
        let schemes: &[&str] = if self.auth.jwks_allow_http { &["https", "http"] } else { &["https"] };
        found.holds(
            "auth.jwks_url",
            url.is_empty() || has_scheme(url, schemes),
            "be an https:// URL (http:// only with auth.jwks_allow_http) or empty",
        );
        found.holds("auth.jwks_file", url.is_empty() || file.is_empty(), "be empty where auth.jwks_url is set");
        found.range("auth.jwks_refresh_seconds", self.auth.jwks_refresh_seconds, 1..=86_400);
        let refresh = self.auth.jwks_refresh_seconds;
        found.range("auth.jwks_stale_seconds", self.auth.jwks_stale_seconds, refresh..=2_592_000);
        found.holds("auth.issuer", !self.auth.issuer.is_empty(), "not be empty");
        found.holds("auth.audience", !self.auth.audience.is_empty(), "not be empty");
        found.range("auth.leeway_seconds", self.auth.leeway_seconds, 0..=300);
        found.range("auth.api_key_cache_seconds", self.auth.api_key_cache_seconds, 1..=300);
        found.range("auth.api_keys_per_org", self.auth.api_keys_per_org, 1..=100_000);
        let limits = &self.rate_limit;
        found.range("rate_limit.org_per_second", limits.org_per_second, 0..=1_000_000);
        found.range("rate_limit.org_burst", limits.org_burst, 1..=1_000_000);
        found.range("rate_limit.credential_per_second", limits.credential_per_second, 0..=1_000_000);
        found.range("rate_limit.credential_burst", limits.credential_burst, 1..=1_000_000);
        found.range("rate_limit.refused_per_second", limits.refused_per_second, 0..=1_000_000);
        found.range("rate_limit.refused_burst", limits.refused_burst, 1..=1_000_000);
        found.range("supervision.backoff_initial_ms", self.supervision.backoff_initial_ms, 1..=60_000);
        let initial = self.supervision.backoff_initial_ms;
        found.range("supervision.backoff_max_ms", self.supervision.backoff_max_ms, initial..=3_600_000);
        found.range("supervision.max_restarts", self.supervision.max_restarts, 0..=1000);
        found.range("supervision.window_ms", self.supervision.window_ms, 1000..=86_400_000);
        found.range("supervision.park_ms", self.supervision.park_ms, 1000..=86_400_000);
        found.range("supervision.stall_ms", self.supervision.stall_ms, 1000..=86_400_000);
        found.range("lease.interval_ms", self.lease.interval_ms, 50..=10_000);
        let interval = self.lease.interval_ms;
        found.range("lease.grace_ms", self.lease.grace_ms, interval..=60_000);
        found.range("lease.ttl_ms", self.lease.ttl_ms, interval.saturating_mul(4)..=600_000);
        found.range("drain.timeout_ms", self.drain.timeout_ms, 100..=3_600_000);
        found.range("drain.step_timeout_ms", self.drain.step_timeout_ms, 100..=600_000);
        let filter = self.log.filter.parse::<tracing_subscriber::EnvFilter>().is_ok();
        found.holds("log.filter", filter, "be a tracing filter such as info or analytics_service=debug");
        found.holds("log.format", ["text", "json"].contains(&self.log.format.as_str()), "be text or json");
        found.0
    }
}

pub(super) struct Problems(Vec<String>);

impl Problems {
    pub(super) fn range<T: PartialOrd + Display>(&mut self, name: &str, value: T, bounds: RangeInclusive<T>) {
        if !bounds.contains(&value) {
            self.0.push(format!("{name} must be from {} to {}, is {value}", bounds.start(), bounds.end()));
        }
    }

    pub(super) fn holds(&mut self, name: &str, holds: bool, rule: &str) {
        if !holds {
            self.0.push(format!("{name} must {rule}"));
        }
    }
}

/// A scheme and an authority, as browsers send it: no path, no wildcard.
fn is_origin(text: &str) -> bool {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    authority.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
    })
}

fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty())
}

fn valid_stream(name: &str) -> bool {
    (1..=200).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

fn valid_age(text: &str) -> bool {
    text.strip_suffix(['Y', 'M', 'D', 'h', 'm', 's']).is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n > 0))
}
