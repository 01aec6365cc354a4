//! Glancing at streams: what each has first from somewhere on, by the protocol that the settings choose.

use super::{
    BrokerError,
    amqp::glance::AmqpGlance,
    incoming::{Seen, StartAt},
    stream::glance::StreamGlance,
    streams::Streams,
};

/// A connection for glances.
pub enum Glance {
    Amqp(AmqpGlance),
    Stream(StreamGlance),
}

impl Glance {
    /// # Errors
    /// The broker is away or refuses.
    pub async fn open(streams: &Streams) -> Result<Self, BrokerError> {
        Ok(if streams.are_native() {
            Self::Stream(StreamGlance::new(streams))
        } else {
            Self::Amqp(AmqpGlance::open(&streams.broker).await?)
        })
    }

    /// The first message of a partition's stream from somewhere on; none where nothing comes.
    ///
    /// # Errors
    /// `Unreadable` where the broker fails at what is there: the connection is gone then. Else it is away or refuses.
    pub async fn first(&self, partition: u16, from: StartAt) -> Result<Option<Seen>, BrokerError> {
        match self {
            Self::Amqp(glance) => glance.first(partition, from).await,
            Self::Stream(glance) => glance.first(partition, from).await,
        }
    }

    pub async fn close(self) {
        match self {
            Self::Amqp(glance) => glance.close().await,
            Self::Stream(_) => {}
        }
    }
}
