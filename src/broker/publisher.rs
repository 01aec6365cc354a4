//! Publisher: sends messages to their home partition and keeps them until the broker has confirmed them.
//! In: `publish`, in order. Out: the partition's stream; order within a partition is kept.
//! Failure: everything unconfirmed comes back in the error, to be sent again by a caller that knows that this is harmless.
//! Bound: the window of unconfirmed messages; `publish` waits while it is full.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{BrokerError, within};
use crate::{config::Broker, domain::trace::TraceParent};

/// Unconfirmed messages that keep the broker busy without making lapin's book-keeping slow, which walks all of them at
/// each confirm.
pub const WINDOW: usize = 2048;
/// The longest wait for a confirm. A broker that is short of memory or disk holds publishers back for a while.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(60);
/// Marks a message to be kept on disk; streams do it anyway.
const PERSISTENT: u8 = 2;

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub partition: u16,
    pub body: Arc<Vec<u8>>,
    /// The span that it is published by, for the header `traceparent`.
    pub span: Option<TraceParent>,
}

/// Publishing ended. The publisher is of no further use.
#[derive(Debug, thiserror::Error)]
#[error("{source}; {confirmed} messages were confirmed, {} were not", .unconfirmed.len())]
pub struct PublishError {
    pub confirmed: u64,
    /// Of these, the ones before the first that was not.
    pub confirmed_in_order: u64,
    /// In the order of publishing. Any of them may be in the stream all the same.
    pub unconfirmed: Vec<Outgoing>,
    pub source: BrokerError,
}

pub struct Publisher {
    channel: Arc<Channel>,
    exchange: ShortString,
    /// One for each partition.
    routing_keys: Vec<ShortString>,
    window: Window,
}

impl Publisher {
    /// Opens a channel with confirms. The streams have to exist.
    pub async fn open(connection: &Connection, broker: &Broker) -> Result<Self, BrokerError> {
        let channel = within(broker.connect_timeout(), connection.create_channel()).await?;
        within(broker.connect_timeout(), channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let (exchange, routing_keys) = if broker.partitions <= 1 {
            // The default exchange leads to the queue of the routing key's name.
            (ShortString::default(), vec![broker.stream.as_str().into()])
        } else {
            (broker.stream.as_str().into(), (0..broker.partitions).map(|p| p.to_string().into()).collect())
        };
        Ok(Self { channel: Arc::new(channel), exchange, routing_keys, window: Window::new(WINDOW) })
    }

    /// Messages that the broker has taken responsibility for.
    pub fn confirmed(&self) -> u64 {
        self.window.confirmed
    }

    /// Sends a message; returns before it is confirmed, but not before there is room in the window.
    ///
    /// # Errors
    /// This message or an earlier one cannot be confirmed; all that are not come back.
    pub async fn publish(&mut self, message: Outgoing) -> Result<(), PublishError> {
        let room = self.window.make_room().await;
        let Some(routing_key) = self.routing_keys.get(usize::from(message.partition)).cloned() else {
            let text = format!("there is no partition {}", message.partition);
            return Err(self.window.fail(BrokerError::Permanent(text), Some(message)));
        };
        if let Err(error) = room {
            return Err(self.window.fail(error, Some(message)));
        }
        let (channel, exchange, body) = (Arc::clone(&self.channel), self.exchange.clone(), Arc::clone(&message.body));
        let properties = properties(message.span);
        self.window.push(message, async move {
            // Mandatory: without a route the message comes back, instead of being confirmed and dropped.
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            channel.basic_publish(exchange, routing_key, options, &body, properties).await?.await
        });
        Ok(())
    }

    /// Waits until everything is confirmed.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn flush(&mut self) -> Result<(), PublishError> {
        match self.window.settle(0).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.window.fail(error, None)),
        }
    }

    /// Takes the confirms that are here without waiting for more.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn check(&mut self) -> Result<(), PublishError> {
        self.window.settle_ready().map_err(|error| self.window.fail(error, None))
    }
}

/// The header that end-to-end latency is measured from, and the one that a trace goes on by.
fn properties(span: Option<TraceParent>) -> BasicProperties {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut headers = FieldTable::default();
    headers
        .insert("timestamp_in_ms".into(), AMQPValue::LongLongInt(i64::try_from(now.as_millis()).unwrap_or(i64::MAX)));
    if let Some(span) = span {
        headers.insert(TraceParent::HEADER.into(), AMQPValue::LongString(span.to_string().into()));
    }
    BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers)
}

type Confirm = Pin<Box<dyn Future<Output = Result<Confirmation, lapin::Error>> + Send>>;

struct Pending {
    message: Outgoing,
    confirm: Confirm,
}

/// The unconfirmed messages, oldest first.
struct Window {
    pending: VecDeque<Pending>,
    capacity: usize,
    confirmed: u64,
}

impl Window {
    fn new(capacity: usize) -> Self {
        Self { pending: VecDeque::with_capacity(capacity), capacity, confirmed: 0 }
    }

    /// Puts a message behind the others. The first poll hands its frames to lapin, in the order of these calls; it
    /// needs no waker, since the window is looked through from its oldest end.
    fn push(
        &mut self,
        message: Outgoing,
        confirm: impl Future<Output = Result<Confirmation, lapin::Error>> + Send + 'static,
    ) {
        let mut confirm: Confirm = Box::pin(confirm);
        let confirm = match confirm.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            // Kept, so that the outcome is judged in its turn.
            Poll::Ready(outcome) => Box::pin(std::future::ready(outcome)),
            Poll::Pending => confirm,
        };
        self.pending.push_back(Pending { message, confirm });
    }

    /// Waits only when the window is full, and then until a quarter of it is free: waking up once for many confirms is
    /// what makes publishing quick.
    async fn make_room(&mut self) -> Result<(), BrokerError> {
        if self.pending.len() < self.capacity { Ok(()) } else { self.settle(self.capacity * 3 / 4).await }
    }

    /// Takes confirms from the oldest on until at most `left` messages are unconfirmed.
    async fn settle(&mut self, left: usize) -> Result<(), BrokerError> {
        while self.pending.len() > left {
            self.settle_ready()?;
            if self.pending.len() <= left {
                break;
            }
            let Some(oldest) = self.pending.front_mut() else { break };
            let outcome = tokio::time::timeout(CONFIRM_TIMEOUT, oldest.confirm.as_mut())
                .await
                .map_err(|_| BrokerError::Timeout(CONFIRM_TIMEOUT))?;
            // A future that is done must not be polled again.
            oldest.confirm = Box::pin(std::future::pending());
            judge(outcome)?;
            self.pending.pop_front();
            self.confirmed += 1;
        }
        Ok(())
    }

    /// Takes the confirms of the oldest messages as far as they are here.
    fn settle_ready(&mut self) -> Result<(), BrokerError> {
        while let Some(oldest) = self.pending.front_mut() {
            let Poll::Ready(outcome) = oldest.confirm.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                break;
            };
            oldest.confirm = Box::pin(std::future::pending());
            judge(outcome)?;
            self.pending.pop_front();
            self.confirmed += 1;
        }
        Ok(())
    }

    /// Ends the window: what is confirmed by now counts, the rest and the message that could not be sent go back.
    fn fail(&mut self, source: BrokerError, unsent: Option<Outgoing>) -> PublishError {
        let mut unconfirmed = Vec::with_capacity(self.pending.len() + 1);
        // The oldest pending one is what failed, or is not known to be confirmed.
        let confirmed_in_order = self.confirmed;
        for mut pending in self.pending.drain(..) {
            let outcome = pending.confirm.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if matches!(outcome.map(judge), Poll::Ready(Ok(()))) {
                self.confirmed += 1;
            } else {
                unconfirmed.push(pending.message);
            }
        }
        unconfirmed.extend(unsent);
        PublishError { confirmed: self.confirmed, confirmed_in_order, unconfirmed, source }
    }
}

fn judge(outcome: Result<Confirmation, lapin::Error>) -> Result<(), BrokerError> {
    match outcome? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => Err(BrokerError::Permanent(format!(
            "no stream takes messages of the routing key {}: {} {}",
            returned.delivery.routing_key.as_str(),
            returned.reply_code,
            returned.reply_text
        ))),
        Confirmation::Nack(None) => Err(BrokerError::Refused),
        Confirmation::NotRequested => Err(BrokerError::Permanent("confirms are not switched on".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use lapin::ErrorKind;
    use tokio::sync::oneshot;

    use super::*;

    fn message(n: u8) -> Outgoing {
        Outgoing { partition: 0, body: Arc::new(vec![n]), span: None }
    }

    fn bodies(error: &PublishError) -> Vec<u8> {
        error.unconfirmed.iter().map(|m| m.body[0]).collect()
    }

    #[tokio::test]
    async fn a_window_with_room_does_not_wait() {
        let mut window = Window::new(2);
        window.push(message(1), pending());
        window.make_room().await.unwrap();
        assert_eq!((window.pending.len(), window.confirmed), (1, 0));
    }

    #[tokio::test]
    async fn a_full_window_waits_for_its_oldest_message() {
        let mut window = Window::new(4);
        let (confirm, confirmed) = oneshot::channel();
        window.push(message(1), async move {
            confirmed.await.unwrap();
            Ok(Confirmation::Ack(None))
        });
        for n in 2..=3 {
            window.push(message(n), ready(Ok(Confirmation::Ack(None))));
        }
        window.push(message(4), pending());
        assert!(futures_util::poll!(std::pin::pin!(window.make_room())).is_pending());
        assert_eq!(window.confirmed, 0, "confirms count in order");
        confirm.send(()).unwrap();
        window.make_room().await.unwrap();
        window.settle_ready().unwrap();
        assert_eq!((window.pending.len(), window.confirmed), (1, 3));
    }

    #[tokio::test]
    async fn a_lost_connection_returns_unconfirmed_messages() {
        let mut window = Window::new(8);
        let lost = || Err(ErrorKind::MissingHeartbeatError.into());
        window.push(message(1), ready(Ok(Confirmation::Ack(None))));
        window.push(message(2), ready(lost()));
        window.push(message(3), ready(Ok(Confirmation::Ack(None))));
        window.push(message(4), ready(lost()));
        window.push(message(5), pending());
        let error = window.settle(0).await.unwrap_err();
        let error = window.fail(error, Some(message(6)));
        assert!(error.source.is_transient());
        assert_eq!((error.confirmed, error.confirmed_in_order, bodies(&error)), (2, 1, vec![2, 4, 5, 6]));
    }

    #[tokio::test]
    async fn a_nack_is_an_error_that_may_pass() {
        let mut window = Window::new(8);
        window.push(message(1), ready(Ok(Confirmation::Nack(None))));
        window.push(message(2), ready(Ok(Confirmation::Ack(None))));
        let error = window.settle(0).await.unwrap_err();
        let error = window.fail(error, None);
        assert!(matches!(error.source, BrokerError::Refused) && error.source.is_transient());
        assert_eq!((error.confirmed, bodies(&error)), (1, vec![1]));
    }
}
