//! The partition streams, and the super stream's exchange that leads to them.

use lapin::{
    Channel, Connection, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};

use super::{BrokerError, within};
use crate::{config::Broker, domain::partition::stream_name};

/// Largest segment file of a stream. Retention drops whole segments, so a smaller stream gets smaller ones.
const MAX_SEGMENT_BYTES: i64 = 500_000_000;
const MIN_SEGMENT_BYTES: i64 = 1_000_000;
/// Segments that a full stream is made of at least.
const SEGMENTS: i64 = 10;

/// Makes the streams of all partitions exist, and with more than one the exchange and its bindings. What exists already
/// is taken as it is: its arguments are whoever made it's choice.
///
/// # Errors
/// The broker is away or refuses.
pub async fn declare(connection: &Connection, broker: &Broker) -> Result<(), BrokerError> {
    for partition in 0..broker.partitions {
        declare_stream(connection, broker, partition).await?;
    }
    if broker.partitions > 1 {
        declare_super_stream(connection, broker).await?;
    }
    Ok(())
}

/// Makes one partition's stream exist.
pub async fn declare_stream(connection: &Connection, broker: &Broker, partition: u16) -> Result<(), BrokerError> {
    let name = stream_name(&broker.stream, partition, broker.partitions);
    let timeout = broker.connect_timeout();
    let declare = async |passive: bool| {
        let channel = within(timeout, connection.create_channel()).await?;
        let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
        let declared =
            within(timeout, channel.queue_declare(name.as_str().into(), options, stream_arguments(broker))).await;
        end(&channel, broker).await;
        declared.map(|_| ())
    };
    // A passive declare does not compare arguments. When it fails it takes its channel along.
    match declare(true).await {
        Err(error) if is_not_found(&error) => declare(false).await,
        outcome => outcome,
    }
}

async fn declare_super_stream(connection: &Connection, broker: &Broker) -> Result<(), BrokerError> {
    let timeout = broker.connect_timeout();
    let declare = async |passive: bool| {
        let channel = within(timeout, connection.create_channel()).await?;
        let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-super-stream".into(), AMQPValue::Boolean(true));
        let exchange = broker.stream.as_str().into();
        within(timeout, channel.exchange_declare(exchange, ExchangeKind::Direct, options, arguments)).await?;
        Ok::<_, BrokerError>(channel)
    };
    let channel = match declare(true).await {
        Err(error) if is_not_found(&error) => declare(false).await?,
        outcome => outcome?,
    };
    for partition in 0..broker.partitions {
        let stream = stream_name(&broker.stream, partition, broker.partitions);
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-partition-order".into(), AMQPValue::LongLongInt(i64::from(partition)));
        let bound = channel.queue_bind(
            stream.into(),
            broker.stream.as_str().into(),
            partition.to_string().into(),
            QueueBindOptions::default(),
            arguments,
        );
        within(timeout, bound).await?;
    }
    end(&channel, broker).await;
    Ok(())
}

fn stream_arguments(broker: &Broker) -> FieldTable {
    let segment = (broker.stream_max_bytes / SEGMENTS).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments.insert("x-max-age".into(), AMQPValue::LongString(broker.stream_max_age.as_str().into()));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(broker.stream_max_bytes));
    arguments.insert("x-stream-max-segment-size-bytes".into(), AMQPValue::LongLongInt(segment));
    arguments
}

fn is_not_found(error: &BrokerError) -> bool {
    let BrokerError::Transient(error) = error else { return false };
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)))
}

/// A channel that a failed declare closed cannot be closed again; there is nothing to do about either.
async fn end(channel: &Channel, broker: &Broker) {
    if channel.status().connected() {
        let _closed = within(broker.connect_timeout(), channel.close(200, "done".into())).await;
    }
}
