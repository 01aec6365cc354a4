//! Reading one partition's stream, by the protocol that the settings choose.

use super::{
    BrokerError,
    amqp::subscription::AmqpSubscription,
    incoming::{Incoming, Opening, Standing, StartAt},
    stream::subscription::StreamSubscription,
    streams::Streams,
};
use futures_util::future::{BoxFuture, FutureExt};

use crate::domain::hole::HoleReason;

/// One subscription on a connection of its own. It ends with its first error: subscribe again.
pub enum Subscription {
    Amqp(Box<AmqpSubscription>),
    Stream(Box<StreamSubscription>),
}

impl Subscription {
    /// Subscribes. At an offset that is no longer kept the broker starts at the oldest that it has.
    ///
    /// # Errors
    /// The broker is away or refuses, or the stream does not exist.
    pub async fn open(streams: &Streams, opening: Opening) -> Result<Self, BrokerError> {
        Ok(if streams.are_native() {
            Self::Stream(Box::new(StreamSubscription::open(streams, opening).await?))
        } else {
            Self::Amqp(Box::new(AmqpSubscription::open(&streams.broker, opening).await?))
        })
    }

    /// Waits for the next message. May be dropped at any time without losing one.
    pub async fn next(&mut self) -> Result<Incoming, BrokerError> {
        match self {
            Self::Amqp(subscription) => subscription.next().await,
            Self::Stream(subscription) => subscription.next().await,
        }
    }

    /// The next message if it is here already.
    pub fn next_now(&mut self) -> Option<Result<Incoming, BrokerError>> {
        match self {
            Self::Amqp(subscription) => subscription.next_now(),
            Self::Stream(subscription) => subscription.next_now(),
        }
    }

    /// Why the subscription really ended, where the first error was of something else.
    pub fn explain(&mut self, error: BrokerError) -> BrokerError {
        match self {
            Self::Amqp(subscription) => subscription.explain(error),
            Self::Stream(_) => error,
        }
    }

    /// Gives the broker credit for all deliveries up to a tag.
    pub async fn acknowledge(&mut self, up_to_tag: u64) -> Result<(), BrokerError> {
        match self {
            Self::Amqp(subscription) => subscription.acknowledge(up_to_tag).await,
            // Credit is given as chunks are taken.
            Self::Stream(_) => Ok(()),
        }
    }

    /// How far the stream goes. When the response is there, so is all that the broker had sent before it.
    pub fn standing(&self) -> BoxFuture<'static, Result<Standing, BrokerError>> {
        match self {
            Self::Amqp(subscription) => subscription.standing().boxed(),
            Self::Stream(subscription) => subscription.standing().boxed(),
        }
    }

    /// Whether everything before `expected` is all that the stream has, whose last committed chunk is that one. By AMQP that is
    /// not known.
    pub async fn is_read_to(&self, expected: i64, committed: Option<i64>) -> Result<bool, BrokerError> {
        match self {
            Self::Amqp(_) => Ok(false),
            Self::Stream(subscription) => subscription.is_read_to(expected, committed).await,
        }
    }

    /// What the offsets from `expected` to before `found` mean, the next message that came. `None`: nothing is missing.
    pub async fn hole(&self, expected: i64, found: i64) -> Result<Option<HoleReason>, BrokerError> {
        match self {
            Self::Amqp(subscription) => subscription.hole(expected, found).await,
            Self::Stream(subscription) => subscription.hole(expected).await,
        }
    }

    /// The offset of the first message from somewhere on; `None` where nothing comes for a while.
    pub async fn first_at(&self, from: StartAt) -> Result<Option<i64>, BrokerError> {
        match self {
            Self::Amqp(subscription) => subscription.first_at(from).await,
            Self::Stream(subscription) => subscription.first_at(from).await,
        }
    }

    /// The offset of the stream's last message.
    pub async fn last(&self) -> Result<Option<i64>, BrokerError> {
        match self {
            Self::Amqp(subscription) => subscription.last().await,
            Self::Stream(subscription) => subscription.last().await,
        }
    }

    pub async fn close(self) {
        match self {
            Self::Amqp(subscription) => subscription.close().await,
            Self::Stream(subscription) => subscription.close().await,
        }
    }
}
