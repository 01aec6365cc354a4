//! Reading one partition's stream from an offset on, by AMQP 0.9.1.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::time::Instant;

use crate::{
    broker::{
        BrokerError, close, connect,
        incoming::{Incoming, Opening, Standing, StartAt},
        publish_time::publish_time,
        topology, within,
    },
    config::Broker,
    domain::{
        batch::Message,
        hole::{self, HoleReason},
        trace::TraceParent,
    },
};

/// Deliveries that one acknowledgement covers at most.
const ACK_EVERY: u64 = 500;
/// A chunk is delivered as a whole: what follows its first message comes soon.
const CHUNK_COMES_WITHIN: Duration = Duration::from_millis(500);
/// More messages than a chunk has.
const CHUNK: u16 = 5000;

/// One subscription on a connection and channel of its own. It ends with its first error: subscribe again.
pub struct AmqpSubscription {
    broker: Broker,
    stream: String,
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    /// Tag of the last delivery that was acknowledged. Tags of a channel count from 1 without a hole.
    acknowledged: u64,
}

impl AmqpSubscription {
    /// Subscribes. At an offset that is no longer kept the broker starts at the oldest that it has.
    pub async fn open(broker: &Broker, opening: Opening) -> Result<Self, BrokerError> {
        let connection = connect(broker, &format!("consumer/{}", opening.partition)).await?;
        match Self::start(broker, opening, &connection).await {
            Ok((channel, consumer)) => Ok(Self {
                broker: broker.clone(),
                stream: broker.topology().stream_of(opening.partition),
                connection,
                channel,
                consumer,
                acknowledged: 0,
            }),
            Err(error) => {
                close(&connection, broker).await;
                Err(error)
            }
        }
    }

    async fn start(
        broker: &Broker,
        opening: Opening,
        connection: &Connection,
    ) -> Result<(Channel, Consumer), BrokerError> {
        if opening.declare {
            topology::declare_for(connection, broker, opening.partition).await?;
        }
        let channel = within(broker.connect_timeout(), connection.create_channel()).await?;
        let stream = broker.topology().stream_of(opening.partition);
        let consumer = consume(broker, &channel, &stream, opening.from, opening.prefetch).await?;
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

    /// Why the subscription really ended: what the broker said last waits behind the deliveries, while the first to fail may
    /// be an acknowledgement.
    pub fn explain(&mut self, error: BrokerError) -> BrokerError {
        while let Some(incoming) = self.next_now() {
            match incoming {
                Ok(_) => {}
                Err(said @ BrokerError::Unreadable(_)) => return said,
                Err(_) => break,
            }
        }
        error
    }

    /// Gives the broker credit for all deliveries up to a tag, in steps, so that it goes on sending meanwhile.
    pub async fn acknowledge(&mut self, up_to_tag: u64) -> Result<(), BrokerError> {
        let options = BasicAckOptions { multiple: true };
        while self.acknowledged < up_to_tag {
            let tag = up_to_tag.min(self.acknowledged + ACK_EVERY);
            self.channel.basic_ack(tag, options).await.map_err(|error| BrokerError::from(error).while_reading())?;
            self.acknowledged = tag;
        }
        Ok(())
    }

    /// Queries the broker on the subscription's own channel: when it is there, so is all that the broker had
    /// sent before it. Gives the number of messages that the stream is said to hold: the broker counts every few seconds,
    /// and says zero where it does not.
    pub fn standing(&self) -> impl Future<Output = Result<Standing, BrokerError>> + Send + 'static {
        let (channel, stream, timeout) = (self.channel.clone(), self.stream.clone(), self.broker.connect_timeout());
        async move {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let declared = within(timeout, channel.queue_declare(stream.into(), options, FieldTable::default())).await;
            declared.map(|queue| Standing::Counted(queue.message_count())).map_err(BrokerError::while_reading)
        }
    }

    /// What the offsets from `expected` to before `found` mean, the next message that came.
    pub async fn hole(&self, expected: i64, found: i64) -> Result<Option<HoleReason>, BrokerError> {
        let first = match self.first_at(StartAt::First).await {
            Ok(first) => Some(first.ok_or(BrokerError::Silent)?),
            // It is there, and was passed over before.
            Err(BrokerError::Unreadable(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(hole::judge(expected, found, first, self.broker.own_records))
    }

    /// The offset of the first message from somewhere on; `None` where nothing comes for a while.
    pub async fn first_at(&self, from: StartAt) -> Result<Option<i64>, BrokerError> {
        Ok(self.look(from, 1).await?.first().copied())
    }

    /// The offset of the stream's last message.
    pub async fn last(&self) -> Result<Option<i64>, BrokerError> {
        Ok(self.look(StartAt::Last, CHUNK).await?.last().copied())
    }

    /// Offsets of at most `limit` messages from somewhere on, by a connection of its own: the broker ends it where it fails
    /// at what is there.
    async fn look(&self, from: StartAt, limit: u16) -> Result<Vec<i64>, BrokerError> {
        let connection = connect(&self.broker, "look").await?;
        let looked = self.look_by(&connection, from, limit).await;
        close(&connection, &self.broker).await;
        looked
    }

    async fn look_by(&self, connection: &Connection, from: StartAt, limit: u16) -> Result<Vec<i64>, BrokerError> {
        let timeout = self.broker.connect_timeout();
        let channel = within(timeout, connection.create_channel()).await?;
        let mut consumer = consume(&self.broker, &channel, &self.stream, from, limit).await?;
        let mut offsets = Vec::new();
        let (end, mut deadline) = (Instant::now() + timeout * 2, Instant::now() + timeout);
        while offsets.len() < usize::from(limit)
            && let Ok(delivered) = tokio::time::timeout_at(deadline.min(end), consumer.next()).await
        {
            offsets.push(read(delivered)?.message.offset);
            deadline = Instant::now() + CHUNK_COMES_WITHIN;
        }
        Ok(offsets)
    }

    pub async fn close(self) {
        close(&self.connection, &self.broker).await;
    }
}

pub(in crate::broker) async fn consume(
    broker: &Broker,
    channel: &Channel,
    stream: &str,
    from: StartAt,
    prefetch: u16,
) -> Result<Consumer, BrokerError> {
    let timeout = broker.connect_timeout();
    within(timeout, channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), argument(from));
    let tag = ShortString::from("analytics");
    let consuming = channel.basic_consume(stream.into(), tag, BasicConsumeOptions::default(), arguments);
    within(timeout, consuming).await.map_err(BrokerError::while_reading)
}

fn argument(from: StartAt) -> AMQPValue {
    match from {
        StartAt::First => AMQPValue::LongString("first".into()),
        StartAt::Last => AMQPValue::LongString("last".into()),
        // A number is an offset; a numeric string would not be.
        StartAt::Offset(offset) => AMQPValue::LongLongInt(offset),
        StartAt::Time(at) => AMQPValue::Timestamp(u64::try_from(at.timestamp()).unwrap_or_default()),
    }
}

/// The end of lapin's stream means that the broker cancelled the consumer.
pub(in crate::broker) fn read(delivered: Option<Result<Delivery, lapin::Error>>) -> Result<Incoming, BrokerError> {
    let delivered = delivered.ok_or(BrokerError::Cancelled)?;
    let delivery = delivered.map_err(|error| BrokerError::from(error).while_reading())?;
    let headers = delivery.properties.headers().as_ref();
    let header = |name: &str| headers.and_then(|headers| headers.inner().get(name)).and_then(integer);
    let offset = header("x-stream-offset").ok_or_else(|| {
        BrokerError::Permanent("a delivery has no x-stream-offset: the queue is no stream".to_owned())
    })?;
    let published_at = header("timestamp_in_ms").and_then(publish_time).or_else(|| {
        let seconds = i64::try_from((*delivery.properties.timestamp())?).ok()?;
        publish_time(seconds.checked_mul(1000)?)
    });
    let producer = headers.and_then(|headers| headers.inner().get(TraceParent::HEADER)).and_then(trace_parent);
    let message = Message::new(offset, published_at, delivery.data);
    Ok(Incoming { tag: delivery.delivery_tag, begins: offset, message, producer })
}

fn trace_parent(value: &AMQPValue) -> Option<TraceParent> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.parse().ok(),
        AMQPValue::ShortString(text) => text.as_str().parse().ok(),
        _ => None,
    }
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
