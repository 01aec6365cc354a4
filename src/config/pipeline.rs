//! From the stream to the rows: the broker, batches, which events are accepted, duplicates.

use std::{path::PathBuf, time::Duration};

use chrono::TimeDelta;

use super::{Query, Secret, check::has_scheme, declare::section};
use crate::domain::partition::Topology;

section! {
    pub struct Broker in broker {
        /// RabbitMQ. Without a virtual host in its path, or with an empty one, the default one. Holds a password: never logged.
        url: Secret = "amqp://127.0.0.1:5672/%2f",
            must("be an amqp:// or amqps:// URL", of => has_scheme(of.url.expose(), &["amqp", "amqps"]));
        /// Reads the streams by their own protocol (port 5552, or 5551 with TLS), which RabbitMQ has by its plugin rabbitmq_stream:
        /// whole chunks, and every form of message. Empty: by AMQP 0.9.1 and the URL above, by which messages are published in
        /// any case. With ?auth_mechanism=external the client's certificate logs in. Holds a password: never logged.
        stream_url: Secret = "",
            must(
                "be a rabbitmq-stream:// or rabbitmq-stream+tls:// URL, or empty",
                of => of.stream_url.is_empty() || has_scheme(of.stream_url.expose(), &["rabbitmq-stream", "rabbitmq-stream+tls"])
            );
        /// Whether that URL leads to a load balancer, and nodes cannot be reached by the addresses that they advertise: then
        /// it is connected to until it leads to a node that has the stream.
        stream_load_balanced: bool = false;
        /// The client's certificate for rabbitmq-stream+tls://, a file in PEM; empty: none. With its key, in the file below.
        stream_certificate_file: PathBuf = "",
            must(
                "be set together with broker.stream_key_file",
                of => of.stream_certificate_file.as_os_str().is_empty() == of.stream_key_file.as_os_str().is_empty()
            );
        /// The key of that certificate, a file in PEM.
        stream_key_file: PathBuf = "";
        /// Memory for chunks that were read ahead by the stream protocol, of all partitions of a process together. Bytes.
        read_ahead_bytes: usize = 67108864, from(1_048_576..=17_179_869_184);
        /// Stream that producers publish to. With more than one partition it is a super stream of this name.
        stream: String = "analytics.usage.v1",
            must("have 1 to 200 letters, digits, dots, dashes, underscores", of => valid_stream(&of.stream));
        /// Partitions of the stream. To change their number, see docs/runbooks.md.
        partitions: u16 = 1, from(1..=256);
        /// Deliveries that the broker sends ahead of what is committed, per partition.
        prefetch: u16 = 20000, from(100..=60_000);
        /// How old messages of a stream may become that is declared by the service, since it did not exist.
        stream_max_age: String = "7D",
            must("be a number and a unit of Y, M, D, h, m, s", of => valid_age(&of.stream_max_age));
        /// How large such a stream may become, bytes.
        stream_max_bytes: i64 = 50_000_000_000, from(1_000_000..);
        /// Longest wait for a connection, milliseconds.
        connect_timeout_ms: u64 = 5000, from(100..=600_000);
        /// A subscription whose deliveries cannot be acknowledged for so long, since nothing can be stored, is given up, and begun
        /// again when storing works again. Shorter than the broker's consumer_timeout (30 minutes unless it is configured).
        /// Milliseconds.
        stall_cancel_ms: u64 = 600000, from(100..=86_400_000);
        /// The most offsets in a row without a message that are taken for the broker's own records; more are recorded as unread,
        /// since the broker leaves out compressed batches without a word. Where other consumers of these streams let the broker
        /// store their offsets (stream protocol), it spends one offset each time.
        own_records: i64 = 1, from(1..=100_000);
    }
}

impl Broker {
    pub fn topology(&self) -> Topology {
        Topology { base: self.stream.clone(), partitions: self.partitions }
    }

    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// As the broker reads it: a year has 365 days and a month 30.
    pub fn stream_max_age(&self) -> TimeDelta {
        let (number, unit) = self.stream_max_age.split_at(self.stream_max_age.len().saturating_sub(1));
        let seconds = match unit {
            "Y" => 365 * 86_400,
            "M" => 30 * 86_400,
            "D" => 86_400,
            "h" => 3600,
            "m" => 60,
            _ => 1,
        };
        TimeDelta::try_seconds(number.parse::<i64>().unwrap_or_default() * seconds).unwrap_or(TimeDelta::MAX)
    }

    /// Longest that connecting and subscribing take, or fail by: every response has its own timeout, and the streams of
    /// all partitions may have to be declared.
    pub fn longest_subscribe(&self) -> Duration {
        self.connect_timeout() * (8 + 2 * u32::from(self.partitions))
    }

    pub fn stall_cancel(&self) -> Duration {
        Duration::from_millis(self.stall_cancel_ms)
    }
}

fn valid_stream(name: &str) -> bool {
    (1..=200).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

fn valid_age(text: &str) -> bool {
    text.strip_suffix(['Y', 'M', 'D', 'h', 'm', 's']).is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n > 0))
}

section! {
    #[derive(Copy)]
    pub struct Batch in batch {
        /// A batch is handed on when it holds this many events or max_bytes, or when the pipeline has nothing to do.
        max_events: usize = 5000, from(1..=50_000);
        /// Bytes in it.
        max_bytes: usize = 8_388_608, from(65_536..=268_435_456);
        /// How long an idle pipeline waits for company of a first event, milliseconds.
        linger_ms: u64 = 20, from(0..=1000);
        /// Batches in flight per partition.
        credits: usize = 4, from(1..=16);
    }
}

section! {
    #[derive(Copy)]
    pub struct Events in events {
        /// Events that are older are refused. Raw events are kept this long and for the dedupe window on top, in whole UTC days, so
        /// that whatever still comes can be compared with what it may repeat. Days: at least two more than the dedupe window.
        retention_days: i64 = 400, from(1..=3650);
        /// How far ahead of the database's clock an event may lie, seconds. Not 0: the best of clocks differ.
        max_ahead_seconds: i64 = 300, from(1..=3600);
        /// An event that occurred longer than this before it was published, or before what its partition had reached when it came,
        /// is late, and a bucket is final this long after its end. Seconds.
        late_after_seconds: i64 = 3600, from(60..=86_400);
    }
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

section! {
    #[derive(Copy)]
    pub struct Dedupe in dedupe {
        /// A resend with another occurredAt is recognised while the two lie within this window. Hours.
        window_hours: i64 = 24, from(1..=768);
        /// Memory of the filter that spares fresh events a look-up, per partition, bytes.
        memory_bytes: usize = 67_108_864, from(1_048_576..=17_179_869_184);
    }
}

impl Dedupe {
    pub fn window(&self) -> TimeDelta {
        TimeDelta::hours(self.window_hours)
    }
}

section! {
    #[derive(Copy)]
    pub struct Ingest in ingest {
        /// Whether events are accepted over HTTP too: POST /analytics/v1/events.
        enabled: bool = false;
        /// Longest that publishing one request's events may take, milliseconds.
        timeout_ms: u64 = 5000, from(100..=60_000);
    }
}

impl Ingest {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Longest that a handler waits for events to be published.
    pub fn response_timeout(&self, query: &Query) -> Duration {
        query.wait() + self.timeout() + Duration::from_secs(1)
    }
}
