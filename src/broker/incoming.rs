//! What comes of a stream, and what is requested of it, whatever the protocol.

use chrono::{DateTime, Utc};

use crate::domain::{batch::Message, trace::TraceParent};

/// Where to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    First,
    /// At the last chunk: a few messages that end with the last one.
    Last,
    Offset(i64),
    /// The chunk that was written at that time, or the first one after it.
    Time(DateTime<Utc>),
}

/// What a subscription begins with.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    pub partition: u16,
    pub from: StartAt,
    /// Declares the stream where it does not exist; else that is an error.
    pub declare: bool,
    /// Deliveries to be sent ahead, by AMQP.
    pub prefetch: u16,
}

/// A message and the tag that acknowledges it.
pub struct Incoming {
    pub tag: u64,
    /// The first offset that it stands for: its own, unless it stands for records before it that cannot be there.
    pub begins: i64,
    pub message: Message,
    /// The producer's span, by `traceparent`.
    pub producer: Option<TraceParent>,
}

/// What the broker says of how far a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// So many messages; zero where it does not count yet.
    Counted(u32),
    /// By the stream protocol: the last chunk that is committed, named by its first offset; none where there is none.
    Committed(Option<i64>),
    /// Nobody could be queried who knows it.
    Unknown,
}

/// A message as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub offset: i64,
    /// As its producer says, or the broker where it is known; none where nobody says it.
    pub published_at: Option<DateTime<Utc>>,
}
