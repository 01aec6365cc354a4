//! Glancing at streams by AMQP 0.9.1: what each has first from somewhere on, by one connection that reads nothing else.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{Channel, Connection, options::BasicAckOptions};

use super::subscription::{consume, read};
use crate::{
    broker::{
        BrokerError, close, connect,
        incoming::{Incoming, Seen, StartAt},
        within,
    },
    config::Broker,
};

/// What exists comes soon; longer is waited for in vain.
const COMES_WITHIN: Duration = Duration::from_secs(3);
/// Sent ahead: a broker may begin with the whole chunk, before the offset that was requested.
const PREFETCH: u16 = 100;

/// A connection for glances.
pub struct AmqpGlance {
    broker: Broker,
    connection: Connection,
}

impl AmqpGlance {
    /// # Errors
    /// The broker is away or refuses.
    pub async fn open(broker: &Broker) -> Result<Self, BrokerError> {
        Ok(Self { broker: broker.clone(), connection: connect(broker, "glance").await? })
    }

    /// The first message of a partition's stream from somewhere on; none where nothing comes.
    ///
    /// # Errors
    /// `Unreadable` where the broker fails at what is there: the connection is gone then. Else it is away or refuses.
    pub async fn first(&self, partition: u16, from: StartAt) -> Result<Option<Seen>, BrokerError> {
        let channel = within(self.broker.connect_timeout(), self.connection.create_channel()).await?;
        let seen = self.first_by(&channel, partition, from).await;
        // Where the connection is gone, so is the channel.
        let _ = within(self.broker.connect_timeout(), channel.close(200, "done".into())).await;
        seen
    }

    async fn first_by(&self, channel: &Channel, partition: u16, from: StartAt) -> Result<Option<Seen>, BrokerError> {
        let stream = self.broker.topology().stream_of(partition);
        let mut consumer = consume(&self.broker, channel, &stream, from, PREFETCH).await?;
        let least = if let StartAt::Offset(offset) = from { offset } else { i64::MIN };
        while let Ok(delivered) = tokio::time::timeout(COMES_WITHIN, consumer.next()).await {
            let Incoming { tag, message, .. } = read(delivered)?;
            if message.offset >= least {
                return Ok(Some(Seen { offset: message.offset, published_at: message.published_at }));
            }
            channel
                .basic_ack(tag, BasicAckOptions::default())
                .await
                .map_err(|error| BrokerError::from(error).while_reading())?;
        }
        Ok(None)
    }

    pub async fn close(self) {
        close(&self.connection, &self.broker).await;
    }
}
