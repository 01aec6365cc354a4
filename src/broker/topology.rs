//! The partition streams, and the super stream's exchange that leads to them.

use lapin::{
    Channel, Connection, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};

use super::{BrokerError, within};
use crate::config::Broker;

/// Largest segment file of a stream. Retention drops whole segments, so a smaller stream gets smaller ones.
const MAX_SEGMENT_BYTES: i64 = 500_000_000;
const MIN_SEGMENT_BYTES: i64 = 1_000_000;
/// Segments that a full stream is made of at least.
const SEGMENTS: i64 = 10;

/// Makes the streams of all partitions exist, and with more than one the exchange and its bindings. What exists already
/// with other arguments is taken as it is: they are the choice of its creator.
///
/// # Errors
/// The broker is away or refuses, or a queue of a stream's name is no stream.
pub async fn declare(connection: &Connection, broker: &Broker) -> Result<(), BrokerError> {
    for partition in 0..broker.partitions {
        declare_stream(connection, broker, partition).await?;
    }
    if broker.partitions > 1 {
        declare_super_stream(connection, broker).await?;
    }
    Ok(())
}

/// What a partition that is about to be read needs: one of them makes the whole, exchange and all, so that producers find it.
///
/// # Errors
/// As of [`declare`].
pub async fn declare_for(connection: &Connection, broker: &Broker, partition: u16) -> Result<(), BrokerError> {
    if partition == 0 { declare(connection, broker).await } else { declare_stream(connection, broker, partition).await }
}

/// Makes one partition's stream exist.
///
/// # Errors
/// As of [`declare`].
pub async fn declare_stream(connection: &Connection, broker: &Broker, partition: u16) -> Result<(), BrokerError> {
    let name = broker.topology().stream_of(partition);
    let name = name.as_str();
    let timeout = broker.connect_timeout();
    // A channel of its own: a refused declare closes it.
    let channel = within(timeout, connection.create_channel()).await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    match within(timeout, channel.queue_declare(name.into(), options, stream_arguments(broker))).await {
        Ok(_) => end(&channel, broker).await,
        Err(error) => accept_existing(error, name)?,
    }
    Ok(())
}

async fn declare_super_stream(connection: &Connection, broker: &Broker) -> Result<(), BrokerError> {
    let timeout = broker.connect_timeout();
    let channel = within(timeout, connection.create_channel()).await?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-super-stream".into(), AMQPValue::Boolean(true));
    let name = broker.stream.as_str();
    match within(timeout, channel.exchange_declare(name.into(), ExchangeKind::Direct, options, arguments)).await {
        Ok(()) => end(&channel, broker).await,
        Err(error) => accept_existing(error, name)?,
    }
    let channel = within(timeout, connection.create_channel()).await?;
    for partition in 0..broker.partitions {
        let stream = broker.topology().stream_of(partition);
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-partition-order".into(), AMQPValue::LongLongInt(i64::from(partition)));
        let (key, options) = (partition.to_string().into(), QueueBindOptions::default());
        within(timeout, channel.queue_bind(stream.into(), name.into(), key, options, arguments)).await?;
    }
    end(&channel, broker).await;
    Ok(())
}

/// The broker refuses to declare again what has other arguments. Only another type is a reason to stop.
fn accept_existing(error: BrokerError, name: &str) -> Result<(), BrokerError> {
    let refusal = match &error {
        BrokerError::Transient(refused) => match refused.kind() {
            ErrorKind::ProtocolError(refusal)
                if matches!(refusal.kind(), AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)) =>
            {
                refusal.get_message().to_string()
            }
            _ => return Err(error),
        },
        _ => return Err(error),
    };
    if refusal.contains("'x-queue-type'") || refusal.contains("'type'") {
        return Err(BrokerError::Permanent(refusal));
    }
    tracing::info!(name, refusal, "it exists with other arguments, which are left as they are");
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

/// Nothing depends on the channel any more, so neither on how it closes.
async fn end(channel: &Channel, broker: &Broker) {
    let _closed = within(broker.connect_timeout(), channel.close(200, "done".into())).await;
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn refusal(soft: AMQPSoftError, text: &str) -> BrokerError {
        lapin::Error::from(ErrorKind::ProtocolError(AMQPError::new(soft.into(), text.into()))).into()
    }

    #[test]
    fn other_arguments_are_accepted_another_type_is_not() {
        let text = |argument| format!("PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 's' in vhost '/'");
        let accept = |argument| accept_existing(refusal(AMQPSoftError::PRECONDITIONFAILED, &text(argument)), "s");
        assert!(accept("x-max-age").is_ok());
        assert!(!accept("x-queue-type").unwrap_err().is_transient());
        assert!(!accept("type").unwrap_err().is_transient());
        assert!(accept_existing(refusal(AMQPSoftError::NOTFOUND, "no"), "s").unwrap_err().is_transient());
    }
}
