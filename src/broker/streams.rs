//! How this process reads streams: by which protocol.

use super::incoming::{Opening, StartAt};
use crate::config::Broker;

/// What all subscriptions of a process have in common.
#[derive(Clone)]
pub struct Streams {
    pub broker: Broker,
}

impl Streams {
    pub fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone() }
    }

    /// Reading that stream from there on, which has to exist.
    pub fn opening(&self, partition: u16, from: StartAt) -> Opening {
        Opening { partition, from, declare: false, prefetch: self.broker.prefetch }
    }
}
