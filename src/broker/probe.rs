//! Probing: whether the broker can deliver by AMQP 0.9.1 what a stream has at an offset.

use super::{
    BrokerError,
    amqp::subscription::AmqpSubscription,
    incoming::{Opening, StartAt},
};
use crate::config::Broker;

/// What comes first from an offset on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message at that offset, or the first behind it.
    Message(i64),
    /// The broker fails at it, in its words.
    Unreadable(String),
    /// Nothing comes: the stream ends before it, or is empty from there on.
    Nothing,
}

/// Reads one message from an offset on, by a connection of its own, with nothing sent ahead.
///
/// # Errors
/// The broker is away or refuses.
pub async fn probe(broker: &Broker, partition: u16, offset: i64) -> Result<Found, BrokerError> {
    let opening = Opening { partition, from: StartAt::Offset(offset), declare: false, prefetch: 1 };
    let mut subscription = match AmqpSubscription::open(broker, opening).await {
        Ok(subscription) => subscription,
        Err(BrokerError::Unreadable(words)) => return Ok(Found::Unreadable(words)),
        Err(error) => return Err(error),
    };
    let found = loop {
        match tokio::time::timeout(broker.connect_timeout(), subscription.next()).await {
            // The broker may begin before the offset, with the whole of its chunk.
            Ok(Ok(incoming)) if incoming.message.offset < offset => {
                if let Err(error) = subscription.acknowledge(incoming.tag).await {
                    break Err(error);
                }
            }
            Ok(Ok(incoming)) => break Ok(Found::Message(incoming.message.offset)),
            Ok(Err(error)) => break Err(error),
            Err(_) => break Ok(Found::Nothing),
        }
    };
    let found = found.map_err(|error| subscription.explain(error));
    subscription.close().await;
    match found {
        Err(BrokerError::Unreadable(words)) => Ok(Found::Unreadable(words)),
        other => other,
    }
}
