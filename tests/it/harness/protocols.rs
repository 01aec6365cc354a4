//! By which protocol a service reads.

use super::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Amqp,
    Stream,
}

impl World {
    /// What is started in it reads streams by that protocol. It is AMQP where nothing is said.
    pub fn read_by(mut self, protocol: Protocol) -> Self {
        let url = if protocol == Protocol::Stream { self.stream_url.clone() } else { String::new() };
        assert!(protocol == Protocol::Amqp || !url.is_empty(), "the stack is older than its stream_url: make stack");
        self.set("ANALYTICS__BROKER__STREAM_URL", &url);
        self
    }
}
