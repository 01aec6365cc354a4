//! A process and its actors: restarts, the lease, the orderly stop, logs and traces.

use std::time::Duration;

use super::{Secret, check::has_scheme, declare::section};

section! {
    #[derive(Copy)]
    pub struct Supervision in supervision {
        /// A group of actors that fails is restarted after a delay of at most this, doubled at each further failure up to the
        /// maximum. The delay is drawn at random from nothing to that. Milliseconds.
        backoff_initial_ms: u64 = 200, from(1..=60_000);
        /// The maximum, milliseconds.
        backoff_max_ms: u64 = 30000, within("backoff_initial_ms to 3_600_000", of => of.backoff_initial_ms..=3_600_000);
        /// Restarts that a group may have within the window. Out of restarts, a partition is parked and the others go on; without
        /// one of the other actors the process ends, for the cluster to start it again.
        max_restarts: usize = 5, from(0..=1000);
        /// The window, milliseconds.
        window_ms: u64 = 60000, from(1000..=86_400_000);
        /// How long a parked partition rests before it is tried again, milliseconds. An operator can restart it sooner.
        park_ms: u64 = 300000, from(1000..=86_400_000);
        /// An actor that is at work and makes no progress for so long beyond what it may wait for others (such as
        /// database.write_timeout_ms) is ended and restarted. Milliseconds.
        stall_ms: u64 = 30000, from(1000..=86_400_000);
        /// Whether operators may make actors fail on purpose (POST /ops/actors/{name}/drill): for drills and tests.
        drills: bool = false;
    }
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

section! {
    #[derive(Copy)]
    pub struct Lease in lease {
        /// How often a process renews its lease and looks at the others, milliseconds.
        interval_ms: u64 = 300, from(50..=10_000);
        /// A process whose session has been gone for so long is dead: its partitions are taken over. Milliseconds.
        grace_ms: u64 = 700, within("interval_ms to 60_000", of => of.interval_ms..=60_000);
        /// So is one that has not renewed its lease for so long, such as a frozen one. Milliseconds.
        ttl_ms: u64 = 8000, within("four times interval_ms to 600_000", of => of.interval_ms.saturating_mul(4)..=600_000);
    }
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

section! {
    #[derive(Copy)]
    pub struct Drain in drain {
        /// How long a process that is asked to end serves on while /readyz says that it drains, so that load balancers learn of it
        /// before its API closes. Milliseconds.
        announce_ms: u64 = 5000, from(0..=600_000);
        /// Longest that an orderly stop may take as a whole from then on, milliseconds.
        timeout_ms: u64 = 25000, from(100..=3_600_000);
        /// Longest that each of its steps may take, milliseconds.
        step_timeout_ms: u64 = 10000, from(100..=600_000);
    }
}

impl Drain {
    pub fn announce(&self) -> Duration {
        Duration::from_millis(self.announce_ms)
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub fn step_timeout(&self) -> Duration {
        Duration::from_millis(self.step_timeout_ms)
    }
}

section! {
    pub struct Log in log {
        /// What is logged: error, warn, info, debug, or per module.
        filter: String = "info,sqlx::postgres::notice=warn",
            must("be a tracing filter such as info or analytics_service=debug", of => of.filter.parse::<tracing_subscriber::EnvFilter>().is_ok());
        /// The form of the lines.
        format: String = "text", must("be text or json", of => ["text", "json"].contains(&of.format.as_str()));
    }
}

section! {
    pub struct Otlp in otlp {
        /// Where traces are sent, an OTLP receiver, such as http://collector:4317. Empty: nowhere, and none are made.
        endpoint: String = "", must("be an http:// or https:// URL without a password, or empty", of => of.endpoint.is_empty() || is_place(&of.endpoint));
        /// How they are sent: grpc (usually port 4317), or http, as protobuf to /v1/traces and /v1/metrics below the endpoint (usually
        /// port 4318).
        protocol: String = "grpc", must("be grpc or http", of => ["grpc", "http"].contains(&of.protocol.as_str()));
        /// Headers for the receiver, as `name=value,name=value`. Never logged.
        headers: Secret = "", must("be name=value, separated by commas, or empty", of => of.header_pairs().is_some());
        /// Share of the batches, requests and other work (exports, maintenance, the audit log, leases) that is recorded although no
        /// producer or caller requests it, 0 to 1. A merge is recorded where one of its batches is.
        sample_ratio: f64 = 0.01, must("be from 0 to 1", of => (0.0..=1.0).contains(&of.sample_ratio));
        /// Traces a second that producers cause by a sampled `traceparent`, and as many that callers do. Beyond it, sample_ratio
        /// decides.
        requested_per_second: u32 = 100, from(0..=100_000);
        /// Spans that wait to be sent. Further ones are dropped and counted.
        queue: usize = 4096, from(64..=1_000_000);
        /// Longest that an attempt to send takes, milliseconds. One that may succeed later is repeated twice.
        timeout_ms: u64 = 5000, from(100..=60_000);
        /// Longest that the end of the process waits for what is not sent yet, milliseconds.
        flush_ms: u64 = 3000, from(0..=60_000);
    }
}

/// Scheme, host, port and path alone: a password belongs into the headers, which no log has.
fn is_place(url: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&b);
    has_scheme(url, &["http", "https"]) && url.bytes().all(is_plain)
}

impl Otlp {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub fn flush(&self) -> Duration {
        Duration::from_millis(self.flush_ms)
    }

    /// Names and values of the headers; none where they are not of the form.
    pub fn header_pairs(&self) -> Option<Vec<(&str, &str)>> {
        fn is_name(name: &str) -> bool {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        }
        fn pair(pair: &str) -> Option<(&str, &str)> {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            let is_value = value.bytes().all(|b| (b' '..=b'~').contains(&b));
            (is_name(name) && is_value).then_some((name, value))
        }
        let text = self.headers.expose();
        if text.trim().is_empty() { Some(Vec::new()) } else { text.split(',').map(pair).collect() }
    }
}
