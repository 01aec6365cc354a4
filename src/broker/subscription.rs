//! Reading one partition's stream from an offset on.

use chrono::{DateTime, Datelike, Utc};
use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};

use super::{BrokerError, close, connect, topology, within};
use crate::{config::Broker, domain::batch::Message};

/// Deliveries that one acknowledgement covers at most.
const ACK_EVERY: u64 = 500;

/// One subscription on a connection and channel of its own. It ends with its first error: subscribe again.
pub struct Subscription {
    broker: Broker,
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    /// Tag of the last delivery that was acknowledged. Tags of a channel count from 1 without a hole.
    acknowledged: u64,
}

/// A message and the tag that acknowledges it.
pub struct Incoming {
    pub tag: u64,
    pub message: Message,
}

impl Subscription {
    /// Subscribes at an offset. The broker starts there or, if that is no longer kept, at the oldest it has.
    pub async fn open(broker: &Broker, partition: u16, from_offset: i64) -> Result<Self, BrokerError> {
        let connection = connect(broker, &format!("consumer/{partition}")).await?;
        match Self::start(broker, partition, from_offset, &connection).await {
            Ok((channel, consumer)) => {
                Ok(Self { broker: broker.clone(), connection, channel, consumer, acknowledged: 0 })
            }
            Err(error) => {
                close(&connection, broker).await;
                Err(error)
            }
        }
    }

    async fn start(
        broker: &Broker,
        partition: u16,
        from_offset: i64,
        connection: &Connection,
    ) -> Result<(Channel, Consumer), BrokerError> {
        // One of the partitions makes the whole, exchange and all, so that producers find it.
        if partition == 0 {
            topology::declare(connection, broker).await?;
        } else {
            topology::declare_stream(connection, broker, partition).await?;
        }
        let timeout = broker.connect_timeout();
        let channel = within(timeout, connection.create_channel()).await?;
        within(timeout, channel.basic_qos(broker.prefetch, BasicQosOptions::default())).await?;
        let mut arguments = FieldTable::default();
        // A number is an offset; a numeric string would not be.
        arguments.insert("x-stream-offset".into(), AMQPValue::LongLongInt(from_offset));
        let stream = broker.topology().stream_of(partition);
        let consume =
            channel.basic_consume(stream.into(), "analytics".into(), BasicConsumeOptions::default(), arguments);
        let consumer = within(timeout, consume).await?;
        Ok((channel, consumer))
    }

    /// Waits for the next message. May be dropped at any time without losing one.
    pub async fn next(&mut self) -> Result<Incoming, BrokerError> {
        read(self.consumer.next().await)
    }

    /// The next message if it is here already.
    pub fn next_now(&mut self) -> Option<Result<Incoming, BrokerError>> {
        self.consumer.next().now_or_never().map(read)
    }

    /// Gives the broker credit for all deliveries up to a tag, in steps, so that it goes on sending meanwhile.
    pub async fn acknowledge(&mut self, up_to_tag: u64) -> Result<(), BrokerError> {
        let options = BasicAckOptions { multiple: true };
        while self.acknowledged < up_to_tag {
            let tag = up_to_tag.min(self.acknowledged + ACK_EVERY);
            self.channel.basic_ack(tag, options).await?;
            self.acknowledged = tag;
        }
        Ok(())
    }

    pub async fn close(self) {
        close(&self.connection, &self.broker).await;
    }
}

/// The end of lapin's stream means that the broker cancelled the consumer.
fn read(delivered: Option<Result<Delivery, lapin::Error>>) -> Result<Incoming, BrokerError> {
    let delivery = delivered.ok_or(BrokerError::Cancelled)??;
    let headers = delivery.properties.headers().as_ref();
    let header = |name: &str| headers.and_then(|headers| headers.inner().get(name)).and_then(integer);
    let offset = header("x-stream-offset").ok_or_else(|| {
        BrokerError::Permanent("a delivery has no x-stream-offset: the queue is no stream".to_owned())
    })?;
    let published_at = header("timestamp_in_ms").and_then(publish_time).or_else(|| {
        let seconds = i64::try_from((*delivery.properties.timestamp())?).ok()?;
        publish_time(seconds.checked_mul(1000)?)
    });
    let message = Message { offset, published_at, body: delivery.data };
    Ok(Incoming { tag: delivery.delivery_tag, message })
}

/// A header is hostile: what no clock would say is no time.
fn publish_time(millis: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis).filter(|at| (1970..2200).contains(&at.year()))
}

fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongLongInt(n) => Some(*n),
        AMQPValue::LongInt(n) => Some(i64::from(*n)),
        AMQPValue::LongUInt(n) => Some(i64::from(*n)),
        AMQPValue::Timestamp(n) => i64::try_from(*n).ok(),
        _ => None,
    }
}
