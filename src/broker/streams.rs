//! How this process reads streams: by which protocol, and with how much memory.

use super::{
    incoming::{Opening, StartAt},
    stream::read_ahead::ReadAhead,
};
use crate::config::Broker;

/// What all subscriptions of a process have in common.
#[derive(Clone)]
pub struct Streams {
    pub broker: Broker,
    pub(super) read_ahead: ReadAhead,
}

impl Streams {
    pub fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone(), read_ahead: ReadAhead::new(broker.read_ahead_bytes) }
    }

    /// Whether by the stream protocol.
    pub fn are_native(&self) -> bool {
        !self.broker.stream_url.is_empty()
    }

    /// Deliveries that are sent ahead when all is well. By the stream protocol it is one: no smaller number would show more of
    /// what cannot be read.
    pub fn prefetch(&self) -> u16 {
        if self.are_native() { 1 } else { self.broker.prefetch }
    }

    /// The most deliveries that come before one is acknowledged: none by the stream protocol, where nothing is.
    pub fn sent_ahead(&self, prefetch: u16) -> usize {
        if self.are_native() { usize::MAX } else { prefetch.into() }
    }

    /// Reading that stream from there on, which has to exist.
    pub fn opening(&self, partition: u16, from: StartAt) -> Opening {
        Opening { partition, from, declare: false, prefetch: self.prefetch() }
    }
}
