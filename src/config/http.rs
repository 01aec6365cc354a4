//! The two ports: where they listen, and what a client may hold of them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;

use super::check::Problems;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub address: SocketAddr,
    pub workers: usize,
    pub max_body_bytes: usize,
    pub cors_origins: String,
    /// Addresses and networks, separated by commas.
    pub trusted_proxies: String,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub head_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub response_timeout_ms: u64,
    pub response_bytes_per_second: u64,
    pub max_response_bytes: usize,
    pub max_response_bytes_per_org: usize,
    pub self_check_ms: u64,
}

impl Http {
    pub fn cors_origins(&self) -> impl Iterator<Item = &str> {
        self.cors_origins.split(',').map(str::trim).filter(|origin| !origin.is_empty())
    }

    pub(super) fn check(&self, found: &mut Problems) {
        found.range("http.max_connections", self.max_connections, 64..=1_000_000);
        let all = self.max_connections;
        found.range("http.max_connections_per_address", self.max_connections_per_address, 1..=all);
        found.range("http.head_timeout_ms", self.head_timeout_ms, 100..=60_000);
        found.range("http.body_timeout_ms", self.body_timeout_ms, 100..=600_000);
        found.range("http.response_timeout_ms", self.response_timeout_ms, 100..=600_000);
        found.range("http.response_bytes_per_second", self.response_bytes_per_second, 1..=1_000_000_000);
        // One of them must hold the largest response, of about 20 MiB.
        found.range("http.max_response_bytes", self.max_response_bytes, 33_554_432..=1 << 36);
        let all = self.max_response_bytes;
        found.range("http.max_response_bytes_per_org", self.max_response_bytes_per_org, 33_554_432..=all);
        found.range("http.self_check_ms", self.self_check_ms, 100..=60_000);
    }

    /// None where one of them cannot be read.
    pub(super) fn proxies(&self) -> Option<Vec<IpNet>> {
        let parts = self.trusted_proxies.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| part.parse().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from))).collect()
    }

    pub fn head_timeout(&self) -> Duration {
        Duration::from_millis(self.head_timeout_ms)
    }

    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    pub fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.response_timeout_ms)
    }

    pub fn self_check(&self) -> Duration {
        Duration::from_millis(self.self_check_ms)
    }

    /// Whose `X-Forwarded-For` is believed.
    pub fn trusted_proxies(&self) -> Vec<IpNet> {
        self.proxies().unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    pub address: SocketAddr,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
}

impl Ops {
    pub(super) fn check(&self, found: &mut Problems) {
        found.range("ops.max_connections", self.max_connections, 16..=100_000);
        let all = self.max_connections;
        found.range("ops.max_connections_per_address", self.max_connections_per_address, 1..=all);
    }
}
