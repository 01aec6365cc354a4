//! The two ports: where they listen, and what a client may hold of them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;

use super::declare::section;

section! {
    pub struct Http in http {
        /// Where the API listens.
        address: SocketAddr = "127.0.0.1:8080";
        /// Threads of the API.
        workers: usize = 2, from(1..=256);
        /// Largest request body, bytes.
        max_body_bytes: usize = 1_048_576, from(1024..=67_108_864);
        /// Origins whose pages may read the API in a browser (CORS). Empty: none.
        cors_origins: String = "",
            must("be origins such as https://dashboards.example.org, separated by commas", of => of.cors_origins().all(is_origin));
        /// Proxies in front of the service. Only what they say of their callers (X-Forwarded-For) is believed; without them the audit
        /// log has the peer's address.
        trusted_proxies: String = "",
            must("be addresses and networks such as 10.0.0.0/8, separated by commas", of => of.proxies().is_some());
        /// Open connections. One more has the connection closed that is needed least: of the address with most, and first one that
        /// waits for a request. One whose request is in progress is never closed for another. Each needs a file descriptor: where
        /// the system allows fewer, the limit is lowered at the start and the log says so.
        max_connections: usize = 4000, from(64..=1_000_000);
        /// Open connections of one address or IPv6 network of 64 bits; trusted_proxies are not limited by address.
        max_connections_per_address: usize = 1000, within("1 to max_connections", of => 1..=of.max_connections);
        /// Longest that a client may take for a request's head, milliseconds.
        head_timeout_ms: u64 = 5000, from(100..=60_000);
        /// Longest that it may take for the body, milliseconds; then 408.
        body_timeout_ms: u64 = 20000, from(100..=600_000);
        /// Longest that it may take to read the response, milliseconds, which has so much more time as its bytes take at
        /// response_bytes_per_second.
        response_timeout_ms: u64 = 30000, from(100..=600_000);
        /// Bytes a second.
        response_bytes_per_second: u64 = 16384, from(1..=1_000_000_000);
        /// Bytes of responses that their clients have not read yet, of all organisations. Beyond, 503 with Retry-After. The least holds
        /// the largest response, of about 20 MiB.
        max_response_bytes: usize = 268_435_456, from(33_554_432..=68_719_476_736);
        /// The same of one organisation. Beyond, 429 with Retry-After.
        max_response_bytes_per_org: usize = 67_108_864,
            within("33_554_432 to max_response_bytes", of => 33_554_432..=of.max_response_bytes);
        /// How often the process requests something small of its own API, milliseconds. Three times without a response, and /readyz is
        /// 503 until there is one.
        self_check_ms: u64 = 5000, from(100..=60_000);
    }
}

impl Http {
    pub fn cors_origins(&self) -> impl Iterator<Item = &str> {
        self.cors_origins.split(',').map(str::trim).filter(|origin| !origin.is_empty())
    }

    /// None where one of them cannot be read.
    fn proxies(&self) -> Option<Vec<IpNet>> {
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

/// A scheme and an authority, as browsers send it: no path, no wildcard.
pub(super) fn is_origin(text: &str) -> bool {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    authority.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
    })
}

section! {
    #[derive(Copy)]
    pub struct Ops in ops {
        /// Where health, readiness and metrics are served.
        address: SocketAddr = "127.0.0.1:8081";
        /// As those of http, with a table of its own. Deadlines are those of http.
        max_connections: usize = 256, from(16..=100_000);
        /// Of one address.
        max_connections_per_address: usize = 64, within("1 to max_connections", of => 1..=of.max_connections);
    }
}
