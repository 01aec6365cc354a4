//! The types of labels: what values each has, and since when. Never an organisation: a caller must not create series.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

use super::declare::{Label, Scope};
use crate::domain::{event::Normalized, supervision::SupervisionKind};

/// A label with these values and no others.
macro_rules! closed {
    ($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $value:ident = $text:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$note])* $value),+
        }

        impl $name {
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text),+
                }
            }
        }

        impl Label for $name {
            fn first(_: &Scope<'_>) -> Vec<Self> {
                vec![$(Self::$value),+]
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
                self.as_str().encode(encoder)
            }
        }
    };
}

closed! {
    /// What became of a message.
    Outcome {
        Received = "received",
        Stored = "stored",
        Duplicate = "duplicate",
        Rejected = "rejected",
        /// Of the stored, those that came late.
        Late = "late",
    }
}

closed! {
    /// How an attempt at an export ended.
    ExportEnd {
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
        Retried = "retried",
        /// Given back when the process ended.
        Released = "released",
        /// Taken over by another process, or over.
        Lost = "lost",
    }
}

closed! {
    /// How a run of a maintenance task ended, or a publication.
    RunEnd { Done = "done", Failed = "failed" }
}

closed! {
    /// Whether a connection of a pool is lent.
    PoolState { Used = "used", Idle = "idle" }
}

closed! {
    /// What a connection that was lost and opened again leads to.
    Reconnected { Database = "database", Broker = "broker", Cache = "cache" }
}

closed! {
    /// What became of a span that was recorded.
    SpanEnd {
        Exported = "exported",
        /// Too many waited.
        Dropped = "dropped",
        /// The receiver did not take it.
        Failed = "failed",
    }
}

closed! {
    /// Why the service closed a connection.
    Closing {
        /// The client took too long for a request's head.
        Head = "head",
        Idle = "idle",
        /// It took too long to read the response.
        Response = "response",
        /// It did not close the connection behind the last response.
        Closing = "closing",
        /// It made room for a new one.
        Room = "room",
        /// There was no room for it.
        Refused = "refused",
    }
}

/// A label whose values are known as soon as their scope is.
macro_rules! scoped {
    ($(#[$about:meta])* $name:ident($of:ty): $pattern:pat => $value:expr) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub $of);

        impl Label for $name {
            fn first(scope: &Scope<'_>) -> Vec<Self> {
                match *scope {
                    $pattern => vec![Self($value)],
                    _ => Vec::new(),
                }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
                self.0.encode(encoder)
            }
        }
    };
}

scoped!(Partition(u16): Scope::Partition(partition) => partition);
scoped!(
    /// An actor's address.
    Actor(String): Scope::Actor(actor) => actor.to_owned()
);
/// A partition whose lease this process has; written as any partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owned(pub u16);

impl Label for Owned {
    fn first(_: &Scope<'_>) -> Vec<Self> {
        Vec::new()
    }

    fn owned(partition: u16) -> Option<Self> {
        Some(Self(partition))
    }
}

impl EncodeLabelValue for Owned {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        self.0.encode(encoder)
    }
}

scoped!(Task(&'static str): Scope::Task(task) => task);
scoped!(Port(&'static str): Scope::Port(port) => port);

/// A field of an event that could not be stored as it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field(pub &'static str);

impl Label for Field {
    fn first(_: &Scope<'_>) -> Vec<Self> {
        Normalized::default().by_field().map(|(field, _)| Self(field)).into()
    }
}

impl EncodeLabelValue for Field {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        self.0.encode(encoder)
    }
}

impl Label for SupervisionKind {
    fn first(_: &Scope<'_>) -> Vec<Self> {
        Self::ALL.into()
    }
}

impl EncodeLabelValue for SupervisionKind {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

/// Values that are not known beforehand.
macro_rules! open {
    ($($of:ty),+) => {
        $(impl Label for $of {
            fn first(_: &Scope<'_>) -> Vec<Self> {
                Vec::new()
            }
        })+
    };
}

open!(String, &'static str, u16);
